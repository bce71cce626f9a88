#!/bin/bash
# Files of results: read while they are written, by who knows HDF5 only; every task once, whatever is killed.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so
[ -x "$FLM_BUILDDIR/bin/flm-results" ] || skip 'built without HDF5'
/usr/bin/python3 -c 'import h5py' 2>/dev/null || skip 'there is no python3-h5py'
command -v h5dump >/dev/null || skip 'there is no h5dump'

begin() { # segments are small, so that they roll and are dropped
    engine -n 2 --state-dir "$TEST_DIR/state" --segment-bytes 65536 "$@"
}

application() { # OUTPUT-TYPE
    printf '[application]\nname = steady\nshim = so\ncommand = %s\noutput_type = %s\n' "$service" "$1" >steady.app
    flmctl register --replace steady.app >/dev/null
}

client() { # ID ARGUMENT...
    local id=$1
    shift
    run "$steady" -I "$id" -l "$service" -D journal "$@"
}

there() { # FILE N
    /usr/bin/python3 "$FLM_SRCDIR/tests/system/results_check.py" "$1" rows "$2"
}

some() { # FILE
    /usr/bin/python3 "$FLM_SRCDIR/tests/system/results_check.py" "$1" some
}

rows() { # ID: as flmctl tells
    flmctl -o json view "$1" | jq -r '.results[0].rows'
}

# Pid of the process that writes for this flmd; it may end at any time.
writer() {
    pgrep -P "$flmd" -x flm-results | head -n 1
}

kill_flmd() {
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}

refused() {
    engine -n 1
    application bytes
    run flmctl create --id none --results none.h5 steady
    check_match 'without --state-dir there are no files of results' "$status $err" '^1 .*--state-dir'
    check_equal 'and none is made' '' "$(ls none.h5 2>/dev/null)"
    engine_end
    begin
    application bytes
    echo mine >there.h5
    run flmctl create --results there.h5 steady
    check_match 'a file that is there is not touched' "$status $err $(cat there.h5)" '^1 .*there already.* mine'
    run flmctl create --results no/such/folder.h5 steady
    check_match 'a folder that is missing is said' "$status $err" '^1 .*no/such/folder.h5'
    for type in float65 'x:' 'x:int8, x:int8' 'int32[0]' 'int8,int8' 'int8[9999999999]' 'a:uint8 b'; do
        application "$type" 2>err
        check_match "output_type $type" "$(cat err)" 'steady.app.*output_type'
    done
    engine_end
    rm -rf state
}

while_it_runs() {
    begin
    application 'number:uint64, mix:uint64'
    flmctl create --id typed --results typed.h5 steady >/dev/null
    application bytes
    flmctl create --id bytes --results bytes.h5 steady >/dev/null
    client typed -n 3000
    client bytes -n 3000 -o 100
    wait_for 'h5dump reads all rows while the session runs' bash -c \
        'h5dump -H -d results typed.h5 | grep -q "( 3000 ) /"'
    wait_for 'so does h5py' there typed.h5 3000
    wait_for 'and outputs that are bytes' there bytes.h5 3000
    check_match 'there are durations and nodes' "$(some typed.h5)" '^3000 rows, 3000 with durations, 3000 with nodes'
    wait_for 'flmctl view tells' bash -c "[ \"\$(flmctl -o json view typed | jq -c '.results[0] | [.rows, .trouble]')\" = '[3000,\"\"]' ]"
    client typed -n 3500 -c
    check 'when its session is closed the file is complete' there typed.h5 3500
    check_match 'h5dump shows the columns' "$(h5dump -d results -s 3499 -c 1 typed.h5)" 'Succeed'
    wait_for 'its process has ended' bash -c "[ \"\$(pgrep -c -P $flmd -x flm-results)\" = 1 ]"
    engine_end
    check 'a file is complete when flmd has ended, too' there bytes.h5 3000
    rm -rf state
}

writer_killed() {
    begin
    application bytes
    flmctl create --id killed --results killed.h5 steady >/dev/null
    start client "$steady" -I killed -l "$service" -D journal -n "$(sized 30000 10000)" -u 100 -c
    local pid_client=$pid
    run /usr/bin/python3 "$FLM_SRCDIR/tests/system/results_kill.py" "$flmd" killed.h5 4
    check_equal "its writer was killed while it wrote, $out times" true "$([ "${out:-0}" -gt 1 ] && echo true)"
    wait "$pid_client"
    check_equal 'the session has gone on' 0 $?
    wait_for 'each task is in the file once' there killed.h5 "$(sized 30000 10000)"
    check_equal 'no file had to be given up' '' "$(ls killed.h5.damaged-* 2>/dev/null)"
    engine_end
    rm -rf state
}

flmd_killed() {
    begin
    application bytes
    flmctl create --id again --results again.h5 steady >/dev/null
    start client "$steady" -I again -l "$service" -D journal -r 100 -n 8000 -u 200 -c
    local pid_client=$pid
    for n in 500 2000 4000 6000; do
        wait_for 'results come' bash -c \
            "[ \"\$(flmctl -o json list | jq '[.[] | .succeed] | add // 0')\" -gt $n ] || ! kill -0 $pid_client"
        [ $((RANDOM % 2)) = 0 ] || kill -KILL "$(writer)" 2>/dev/null
        kill_flmd
        begin
    done
    wait $pid_client
    check_equal 'a client has gone on while flmd was killed' 0 $?
    check 'each task is in the file once' there again.h5 8000
    engine_end
    rm -rf state
}

damaged() {
    begin
    application bytes
    flmctl create --id damaged --results damaged.h5 steady >/dev/null
    client damaged -n 5000 -d
    wait_for 'all are in the file' bash -c '[ "$(flmctl -o json view damaged | jq ".results[0].rows")" = 5000 ]'
    kill_flmd
    dd if=/dev/urandom of=damaged.h5 bs=1 seek=100 count=600 conv=notrunc 2>/dev/null
    begin
    wait_for 'what is still in the journal is written anew' there damaged.h5 5000
    check_file 'the damaged file is kept' damaged.h5.damaged-1
    check_match 'and people are told' "$(cat flmd.log)" 'damaged.h5.damaged-1'
    rm damaged.h5
    kill_flmd
    begin
    wait_for 'a file that was removed is written anew' there damaged.h5 5000
    client damaged -n 5500 -c
    check 'and gone on with' there damaged.h5 5500
    engine_end
    rm -rf state
}

full_disk() {
    if ! mkdir small || ! mount -t tmpfs -o size=24m none small 2>/dev/null; then
        echo 'skipped - a full disk: needs root to make one'
        return
    fi
    trap 'umount -l "$TEST_DIR/small" 2>/dev/null; finish' EXIT
    begin --results-lag 1
    application bytes
    flmctl create --id full --results small/full.h5 steady >/dev/null
    client full -n 1000
    head -c 20M /dev/zero >small/filler
    client full -n 2000
    check_equal 'tasks run while the disk of the file is full' 0 "$status"
    wait_for 'it is said' bash -c 'flmctl -o json view full | jq -r ".results[0].trouble" | grep -q "disk is full"'
    # more than the bound is kept when the next segment begins: a frame of its own for each task
    wait_for 'beyond the bound tasks are refused with the reason' bash -c \
        "! $steady -I full -l $service -D journal -s 4096 -n \$((\$(flmctl -o json view full | jq .succeed) + 100)) 2>err && grep -q 'its disk is full' err"
    rm small/filler
    wait_for 'with room again it is written' bash -c '[ "$(flmctl -o json view full | jq -r ".results[0].trouble")" = "" ]'
    wait_for 'and there is nothing behind' bash -c \
        '[ "$(flmctl -o json view full | jq ".results[0].rows == .succeed")" = true ]'
    local n
    n=$(flmctl -o json view full | jq .succeed)
    client full -n $((n + 500)) -c
    check_equal 'tasks are taken again' 0 "$status"
    check 'each task that ran is in the file once' some small/full.h5
    engine_end
    rm -rf state
}

refused
while_it_runs
writer_killed
flmd_killed
damaged
full_disk
