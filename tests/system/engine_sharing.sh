#!/bin/bash
# Sessions share executors: a newcomer beside an endless session has its share within about one task,
# many sessions on few executors all progress, and short tasks do not wait behind long ones.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

for transport in $(transports); do
    engine -n 2
    idle_executors 2
    start endless flmping -t 100000000 -d 2000 --session-id endless
    endless=$pid
    wait_for 'the endless session has both executors' bash -c \
        '[ "$(flmctl -o json list | jq -r "last | .slots")" = 2 ]'
    run flmping -t 500 -d 1000 --json
    check_equal "a newcomer beside it runs ($transport)" "0 0" "$status $(jq -r .failed <<<"$out")"
    start second flmping -t 100000000 -d 2000 --session-id second
    second=$pid
    wait_for 'two endless sessions have one executor each' bash -c \
        '[ "$(flmctl -o json list | jq -c "[.[] | select(.state == \"Open\") | .slots]")" = "[1,1]" ]'
    kill -INT $second $endless
    wait $second $endless

    for i in $(seq 20); do
        start "s$i" flmping -t 300 -d 1000 --json
        pids[i]=$pid
    done
    bad=0
    for i in $(seq 20); do
        wait "${pids[i]}" || bad=$((bad + 1))
    done
    check_equal '20 sessions on 2 executors all end well' 0 $bad

    # One long task and, sent behind it, short ones: those move to the executor that idles.
    start long "$client" -l "$services/odd.so" -i 'sleep 3000' -I long -m 1
    long=$pid
    run flmping -t 2000 --json
    check_equal 'short tasks beside a long one' "0 0" "$status $(jq -r .failed <<<"$out")"
    wait $long

    # A client that never takes its results: the manager holds 64 MiB or so of the 572. (A sanitizer keeps 256 MiB
    # of freed memory for a while.)
    bound=$(sized 300000 450000)
    before=$(awk '/VmRSS/ {print $2}' /proc/$flmd/status)
    start hog "$client" -l "$services/odd.so" -i 'big 30000' -n 20000 -r 4000000 -H 4000
    hog=$pid
    run flmping -t 200000 --json
    check_equal 'a second session goes on beside a client that takes no results' "0 0" \
        "$status $(jq -r .failed <<<"$out")"
    after=$(awk '/VmRSS/ {print $2}' /proc/$flmd/status)
    check_equal "the manager's memory stays bounded (grew by $((after - before)) KiB)" true \
        "$([ $((after - before)) -lt "$bound" ] && echo true)"
    wait $hog
    check_equal 'and the hog gets all of them in the end' '20000 x Succeed none 0 (30000 bytes)' "$(cat hog.log)"
    check 'drain' flmctl drain "$(flmctl -o json list -n | jq -r '.[0].name')"
    check_equal 'a drained node takes nothing' 'Drained' "$(flmctl -o json list -n | jq -r '.[0].state')"
    check 'undrain' flmctl undrain "$(flmctl -o json list -n | jq -r '.[0].name')"
    check 'and works again' flmping -t 1000
    engine_end
done

# Turns with tasks that are longer than a quantum: the executor that is to leave a session is still its own.
# One that becomes free goes to the session that has none.
hold() {
    # shellcheck disable=SC2016
    start "$1" flmexec -j 1 -- sh -c ': >begun-$0-$1; until [ -e free ]; do sleep 0.1; done' "$1" {} ::: 1 2 3
}
engine --nodes 2 -n 1
idle_executors 2
second=$(flmctl -o json list -n | jq -r '.[1].name')
check 'one of two nodes is drained' flmctl drain "$second"
hold first
first=$pid
wait_for 'a session has the other executor' test -e begun-first-1
hold next
wait_for 'which is wanted back for another one' bash -c 'flmctl -o json list -e | jq -e ".[] | select(.state == \"Unbinding\")"'
check 'there are two nodes again' flmctl undrain "$second"
wait_for 'the other session runs' test -e begun-next-1
check_equal 'the first one has no second executor' 'begun-first-1 begun-next-1' "$(echo begun-*)"
: >free
check 'both end well' wait $first $pid
check_equal 'with all their tasks' 6 "$(echo begun-* | wc -w)"
engine_end
