#!/bin/bash
# A full disk, or a limit on the size of files, under the engine: an error that says so.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

# Rings and large payloads are files to the kernel, in memory.
export FLM_ENDPOINT=unix:$TEST_DIR/run/flmd.sock
start flmd bash -c "ulimit -f 64; exec flmd -e $FLM_ENDPOINT --directory $TEST_DIR/run -n 1"
flmd=$pid
wait_for 'flmd listens although no file may be large' test -S "$TEST_DIR/run/flmd.sock"
run timeout 30 flmctl status
check_match 'a client that gets no ring is told why' "$status $err" '^1 .*ring.*File too large'
engine_end

if ! mkdir small || ! mount -t tmpfs -o size=64k,nr_inodes=4 none small 2>/dev/null; then
    echo 'skipped - a full disk: needs root to make one'
    exit 0
fi
trap 'umount "$TEST_DIR/small" 2>/dev/null; finish' EXIT
head -c 100000 /dev/zero >small/full 2>/dev/null
run timeout 30 flmd -e "tcp:127.0.0.1:0" --secret-file "$TEST_DIR/small/secret" -n 1
check_match 'no room for the secret' "$status $err" '^1 flmd: .*secret.*small/secret'
check_equal 'and no half of one stays' '' "$(ls small/secret 2>/dev/null)"
rm small/full
touch small/1 small/2 small/3
run timeout 30 flmd -e "unix:$TEST_DIR/small/flmd.sock" --directory "$TEST_DIR/run" -n 1
check_match 'no room for the socket' "$status $err" '^1 flmd: .*small/flmd.sock.*No space left'
rm small/3
run timeout 60 flmd -e "unix:$TEST_DIR/small/flmd.sock" --directory "$TEST_DIR/small" -n 1
check_match "no room for the directory of a node" "$status $err" 'cannot make a directory in .*/small: No space left'
check_match 'and flmd ends, since it gets no node' "$status $err" 'no node can be had'
check_equal 'with status 1, and nothing stays' $'1 1\n2' "$status $(ls small)"
rm small/*
export FLM_ENDPOINT=unix:$TEST_DIR/run/flmd.sock
engine -n 1
head -c 100000 /dev/zero >small/full 2>/dev/null
run flmexec --joblog "$TEST_DIR/small/log" -- echo {} ::: $(seq 2000)
check_equal 'results that find no room' true "$([ "$status" -ne 0 ] && echo true)"
check_match 'say so' "$err" 'No space left'
flmexec -- echo {} ::: $(seq 100) >small/results 2>err
check_equal 'and so do outputs' true "$([ $? -ne 0 ] && grep -q 'No space left\|annot write' err && echo true)"
check 'the session manager works on' flmping -t 1000
engine_end
touch small/log 2>/dev/null
(cd small && rm -f results log && exec flmrun -n 1 --keep-logs -- flmping -t 100 >/dev/null 2>"$TEST_DIR/err")
check_equal 'logs that find no room are not the run'\''s failure' 0 $?
check_match 'but it is said' "$(cat err)" 'not all in flmrun-.*No space left'
