#!/bin/bash
# Tasks of every size flow, each exactly once and with the right content, over each transport.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

ping() { # WHAT ARGUMENT...
    local what=$1
    shift
    run flmping --json "$@"
    check_equal "$what" "0 0 0" "$status $(jq -r '"\(.failed) \(.wrong)"' <<<"$out")"
    [ "$status" = 0 ] || echo "$err"
}

for transport in $(transports); do
    engine -n 2
    ping "no-op tasks ($transport)" -t 200000
    ping 'one at a time' -t 300 --latency
    ping 'a window of 1' -t 300 -w 1
    ping 'a wide window' -t 100000 -w 100000
    for size in 0 1 7 8 9 63 1000 32767 32768 32769 100000; do
        ping "$size bytes in" -t 200 -s $size -o 8
        ping "$size bytes out" -t 200 -s 8 -o $size
    done
    ping '30 MB both ways' -t 4 -s 30000000 -o 30000001
    ping 'tasks that take some time' -t 3000 -d 100
    for i in 1 2 3 4; do
        start "ping$i" flmping -t 50000 -s $((i * 100))
        pids[i]=$pid
    done
    for i in 1 2 3 4; do
        wait "${pids[i]}"
        check_equal "client $i of four at once" 0 $?
    done
    run flmping -t 1 -s 1073741825
    check_equal 'an input beyond the limit is refused' true "$([ "$status" -ne 0 ] && echo true)"
    check_match 'and the message names the limit' "$out $err" '1 ?Gi?B?|limit'
    run "$client" -l "$services/odd.so" -i 'sleep 1000' -n 100 -s 1000 -q 10000 -N -C 1
    check_match 'a full queue does not block who asked not to wait' "$out" 'would wait after some'
    run "$client" -l "$services/odd.so" -i hello -n 20000 -q 65536
    check_equal 'a small queue makes the submitter wait, and nothing is lost' '20000 x Succeed none 0 [hello]' "$out"
    engine_end
done
