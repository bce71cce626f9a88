#!/bin/bash
# No memory for the queue: the tasks that do not fit fail with a reason, those that were taken are run, the
# others of the instance go on, and afterwards all is as before.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
probe=$FLM_BUILDDIR/tests/system/probe

! sanitized || skip 'a sanitizer needs more address space than there would be'
export FLM_ENDPOINT=unix:$TEST_DIR/run/flmd.sock
start flmd flmd -v -e "$FLM_ENDPOINT" --directory "$TEST_DIR/run" -n 2
flmd=$pid
wait_for 'flmd answers' flmctl status
idle_executors 2
size=$(awk '/VmSize/ {print $2}' "/proc/$flmd/status")
prlimit --pid "$flmd" --as=$(((size + 200000) * 1024)) || skip 'prlimit cannot limit the memory of a process'

for round in 1 2 3; do
    start flood timeout 100 "$probe" flood "$services/odd.so" 12000 32000 'sleep 1'
    flood=$pid
    run flmping -t 20000 -s 100 --json
    check_equal "another client goes on meanwhile ($round)" '0 0' "$status $(jq -r .failed <<<"$out")"
    wait $flood
    check_match 'each task is answered' "$(cat flood.log)" '^12000 of 12000 answered, [0-9]+ succeeded, [0-9]+ failed: ok'
    check_match 'and those that did not fit say why' "$(cat flood.log)" 'no memory for the task'
    check_equal 'what was taken was run' 0 "$(flmctl -o json list | jq '[.[] | .pending + .running] | add')"
done
# Large inputs and outputs want memory, too, but not of flmd's address space.
run flmping -t 10 -s 100000000 -o 100000000 --json
check_equal 'payloads of 100 MB pass' '0 0' "$status $(jq -r .failed <<<"$out")"
# Results that nobody takes.
start hog "$client" -l "$services/odd.so" -i 'big 30000' -n 12000 -r 4000000000 -H 3000
hog=$pid
wait $hog
check_equal 'results for which there is no memory wait, and none is lost' '12000 x Succeed none 0 (30000 bytes)' "$(cat hog.log)"
# Clients until there is no room for the ring of another.
clients=()
for i in $(seq 120); do
    start "wait$i" "$client" -l "$services/odd.so" -i 'sleep 1000' -n 1 -m 1
    clients+=("$pid")
done
refused=0
for i in $(seq 120); do
    wait "${clients[i - 1]}" || refused=$((refused + 1))
done
check_equal "clients for which there is no memory ($refused of 120) are told so" $refused \
    "$(cat wait*.log | grep -c 'ENOMEM')"
check_match 'and there were some' $refused '^[1-9]'
check 'it works on' flmping -t 10000
engine_end
