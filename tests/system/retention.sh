#!/bin/bash
# Closed sessions: deleted by hand, by age, by size; they do not come back, and the store shrinks.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so

begin() {
    engine -n 2 --state-dir "$TEST_DIR/state" --segment-bytes 65536 "$@"
}

client() { # ID ARGUMENT...
    local id=$1
    shift
    run "$steady" -I "$id" -l "$service" -D journal "$@"
}

again() { # the session manager is killed, and started again
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
    begin "$@"
}

sessions() {
    flmctl -o json list | jq -r '[.[].id] | sort | join(" ")'
}

journal_bytes() {
    cat state/journal/*.flj | wc -c
}

# A session of N tasks that is closed, and whose results nobody has taken.
left_behind() { # ID N
    client "$1" -n "$2" -o 1000 -d
    flmctl close "$1"
    wait_for "$1 is closed" bash -c "flmctl -o json view $1 | jq -r .state | grep -q Closed"
}

by_hand() {
    begin
    client open -n 10
    client taken -n 10 -c
    left_behind waits 200
    run flmctl delete open waits
    check_match 'an open session is not deleted' "$status $err" '^1 .*open.* is Open: close or cancel it'
    check_equal 'closed ones are' 'open taken' "$(sessions)"
    start holder "$steady" -I held -l "$service" -D journal -n 1000000 -u 1000
    local holder=$pid
    wait_for 'a client works' bash -c 'flmctl list | grep -q held'
    run flmctl delete held
    check_match 'one that a client has open is not' "$status $err" '^1 .*held is Open'
    run flmctl delete --force held open
    check_equal 'by force all are' 0 "$status"
    wait_for 'the client ends' bash -c "! kill -0 $holder 2>/dev/null"
    wait $holder
    wait_for 'and its session goes with it' bash -c \
        '[ "$(flmctl -o json list | jq -r ".[].id")" = taken ]'
    again
    check_equal 'they do not come back' taken "$(sessions)"
    run flmctl delete taken
    again
    check_equal 'nor does this one' '' "$(sessions)"
    client works -n 4 -u 3000000 -d
    run flmctl delete --force works
    again
    wait_for 'nor one that was still to end when its session manager died' bash -c \
        '[ "$(flmctl -o json list)" = "[]" ]'
    engine_end
}

shrinks() {
    begin
    left_behind large 3000
    local before
    before=$(journal_bytes)
    run flmctl delete large
    client more -n 3000 -c # new segments
    wait_for 'the store is smaller than what was deleted' bash -c \
        "[ \"\$(cat state/journal/*.flj | wc -c)\" -lt $((before / 2)) ]"
    engine_end
    rm -rf state
}

by_limits() {
    begin
    left_behind first 1500
    left_behind second 200
    again --keep-size 1
    wait_for 'the oldest goes when all are too large' bash -c \
        '[ "$(flmctl -o json list | jq -r ".[].id")" = second ]'
    check_match 'which is said' "$(cat flmd.log)" 'first, which is closed, is deleted \(--keep-size\); 1500 results were not taken'
    client open -n 10
    again --keep-closed 0:01
    wait_for 'and by and by the rest' bash -c '[ "$(flmctl -o json list | jq -r ".[].id")" = open ]'
    check_match 'which is said, too' "$(cat flmd.log)" 'second, .*--keep-closed'
    engine_end
    run flmd --keep-closed soon
    check_match 'a time that is none is refused' "$status $err" '^2 .*--keep-closed reads'
}

by_hand
shrinks
by_limits
