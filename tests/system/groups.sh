#!/bin/bash
# Sessions whose tasks take several slots at once (ranks_per_task): groups are whole or not there, sessions of
# different sizes share the slots, and a group that dies costs itself alone.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"
find_mpi "$(head -n 1 <<<"$mpis")"
allreduce=$services/allreduce$under.so

states() { # of all executors: "2 Idle 1 Lent"
    flmctl -o json list -e | jq -r '[group_by(.state)[] | "\(length) \(.[0].state)"] | join(" ")'
}
restarts() {
    flmctl -o json list -e | jq '[.[].restarts] | add'
}

wait_for_states() {
    wait_for "the executors are: $1" bash -c "$(declare -f states); [ \"\$(states)\" = '$1' ]"
}
export -f states

engine -n 4
run "$client" -l "$allreduce" -k 5 -i '#1'
check_match 'more ranks than slots: refused, and why' "$out" \
    '^FLM_EINVAL: each task needs 5 ranks, which are slots of one node, and no node has more than 4'
run "$client" -l "$allreduce" -i '#1'
check_match 'a service that needs a communicator, in a session without' "$out" \
    'Failed bind .*needs an MPI communicator: give its application or session ranks_per_task'
run "$client" -l "$allreduce" -k 3 -n 5 -i '#1'
check_equal 'three ranks' '5 x Succeed none 0 [6 of 3 ranks]' "$out"

# A group of three is held by a task that waits: one slot is left.
"$client" -l "$allreduce" -k 3 -I held -i c >held.out &
held=$!
wait_for_states '1 Bound 1 Idle 2 Lent'
check_equal 'lent slots are told with their session' 3 \
    "$(flmctl -o json list -e | jq '[.[] | select(.session == "held")] | length')"
run "$client" -l "$services/odd.so" -n 20 -i plain
check_equal 'what fits beside it runs' '20 x Succeed none 0 [plain]' "$out"
"$client" -l "$allreduce" -k 2 -I waits -n 3 -i '#1' >waits.out &
waits=$!
wait_for 'a group of two waits' bash -c 'flmctl -o json list | jq -e ".[] | select(.id == \"waits\" and .pending == 3)"'
check_match 'and takes no part of what it needs' "$(states | tr ' ' '\n' | sort | tr '\n' ' ')" \
    '^1 1 2 (Bound Idle Lent|Idle Lent Unbinding) $'
flmctl cancel held >/dev/null
wait "$waits" "$held"
check_equal 'it gets its slots when they are free' '3 x Succeed none 0 [3 of 2 ranks]' "$(cat waits.out)"

# Single executors take every slot that comes free, as long as there is work, and there is.
flmping -q -t 1e7 -d 1ms --sleep --session-id flood >flood.out 2>&1 &
flood=$!
wait_for_states '4 Bound'
run "$client" -l "$allreduce" -k 4 -n 50 -i '#1'
check_equal 'a group of all slots gets them from a session of single ones' '50 x Succeed none 0 [10 of 4 ranks]' "$out"
run "$client" -l "$allreduce" -k 3 -n 50 -i '#1'
check_equal 'and one of three' '50 x Succeed none 0 [6 of 3 ranks]' "$out"
flmctl cancel flood >/dev/null
wait "$flood"
check_match 'while those went on' "$(cat flood.out)" '[1-9][0-9,]* cancelled, 0 with wrong content'

# Two that do not fit beside each other take turns.
for i in 1 2; do
    "$client" -l "$allreduce" -k 3 -n 50 -i '#1' >"turn$i.out" &
    turns[i]=$!
done
wait "${turns[@]}"
check_equal 'two groups of three on four slots' '50 x Succeed none 0 [6 of 3 ranks]' "$(sort -u turn1.out turn2.out)"

# One of two groups dies.
"$client" -l "$allreduce" -k 2 -I held2 -i c >held2.out &
held=$!
wait_for_states '1 Bound 2 Idle 1 Lent'
run "$client" -l "$allreduce" -k 2 -i k
check_match 'a rank that dies costs its group' "$out" '^1 x Failed retry limit -?[0-9]+ .*lost with its executor 3 times'
check_equal 'and no other' '0 1' "$(flmctl -o json list | jq -r '.[] | select(.id == "held2") | "\(.retried) \(.running)"')"
flmctl cancel held2 >/dev/null
wait "$held"
engine_end

engine -n 2
run flmping --ranks-per-task 2 -t 200 -q
check_match 'flmping --ranks-per-task' "$out" '^200 tasks, 64 B in, 8 B out, 2 ranks a task:'
cat >sum.app <<END
[application]
name = sum
shim = so
command = $allreduce
END
flmctl register sum.app >/dev/null
run flmctl create --ranks-per-task 3 sum
check_contains 'flmctl create: more ranks than slots' "$err$out" 'no node has more than 2'
engine_end
