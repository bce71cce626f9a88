#!/bin/bash
# A small disk for the journal: many times as much flows through it as it holds, since what is dead goes in
# time; when others fill it tasks wait, with a reason, and nothing is lost.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so

if ! mkdir small || ! mount -t tmpfs -o size=32m none small 2>/dev/null; then
    echo 'skipped - a small disk: needs root to make one'
    exit 0
fi
trap 'umount "$TEST_DIR/small" 2>/dev/null; finish' EXIT

begin() {
    engine -n 2 --state-dir "$TEST_DIR/small/state"
}

flow() { # TASKS
    run flmping -s 1024 -t "$1" -w 1000 --durability journal --json
}

begin
run "$steady" -I waits -l "$service" -D journal -n 2000 -o 1000 -d
check_equal 'results that wait for their client' 0 "$status"
flow 120000
check_equal 'four times the disk flows through it' 0 "$status"
check_equal 'nothing is said of it' '' "$(grep -i 'room' flmd.log)"

cat /dev/zero >small/filler 2>/dev/null
start flow flmping -s 1024 -t 20000 -w 10000 --durability journal
wait_for 'others fill it: what to do is said' \
    grep -q 'No space left on device: make room on that disk; what was taken waits meanwhile' flmd.log
rm small/filler
wait "$pid"
check_equal 'a task that was not taken was refused' '' \
    "$(grep 'executor.*: ' flow.log | grep -v 'refused.*No space left\|refused.*a task before it')"
flows() { # the journal looks each second whether there is room
    flow 1000
    [ "$status" = 0 ]
}
wait_for 'once there is room again tasks flow' flows

kill -KILL "$flmd"
wait "$flmd" 2>/dev/null
rm -f run/flmd.sock
begin
run "$steady" -I waits -l "$service" -D journal -n 2000 -o 1000 -r 60 -c
check_match 'and what waited has come through all of it' "$status $out" '^0 delivered 2000 wrong 0 '
engine_end
