#!/bin/bash
# Groups of ranks on several nodes: two agents of this machine, and a launcher that is told where the ranks are to
# be and starts them all here. (tests/slurm/worlds.sh is the same on nodes of their own.)
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"
find_mpi "$(head -n 1 <<<"$mpis")"
allreduce=$services/allreduce$under.so

cat >launch <<END
#!/bin/sh
n=\$1 nodes=\$2
shift 2
echo "\$nodes" >>"\${0%/*}/nodes"
exec $launcher -n "\$n" "\$@"
END
chmod +x launch

placed() { # how many ranks the last world had on each node: "2 2"
    tail -n 1 nodes | tr ',' '\n' | uniq -c | awk '{printf "%s%s", s, $1; s = " "}'
}

engine -n 2 --backend-option nodes=2
idle_executors 4
run "$client" -l "$allreduce" -k 3 -i '#1'
check_match 'a launcher for one node: no more ranks than it has' "$out" '^FLM_EINVAL: .*no node has more than 2'
run "$client" -l "$allreduce" -k 2 -S -i '#1'
check_match 'and they cannot be spread' "$out" '^FLM_ENOTSUP: .*cannot be spread'
engine_end

engine -n 2 --nodes 2 --backend-option nodes=2 --backend-option world="$PWD/launch {n} {nodes}"
idle_executors 4
run "$client" -l "$allreduce" -k 3 -n 20 -i '#1'
check_equal 'three ranks on nodes of two slots' '20 x Succeed none 0 [6 of 3 ranks]' "$out"
check_equal 'fill the first' '2 1' "$(placed)"
idle_executors 4
run "$client" -l "$allreduce" -k 2 -n 20 -i '#1'
check_equal 'two ranks' '20 x Succeed none 0 [3 of 2 ranks]' "$out"
check_equal 'are on one node' 2 "$(placed)"
idle_executors 4
run "$client" -l "$allreduce" -k 2 -S -n 20 -i '#1'
check_equal 'two that are to be spread' '20 x Succeed none 0 [3 of 2 ranks]' "$out"
check_equal 'are on two' '1 1' "$(placed)"
run "$client" -l "$allreduce" -k 5 -i '#1'
check_match 'more ranks than all nodes have slots' "$out" '^FLM_EINVAL: .*no job has more than 4'

# Those that do not fit beside each other take turns, and so does one that needs all slots of all nodes.
for i in 1 2; do
    "$client" -l "$allreduce" -k 3 -n 10 -i '#1' >"turn$i.out" &
    turns[i]=$!
done
"$client" -l "$allreduce" -k 2 -S -n 10 -i '#2' >turn3.out &
turns[3]=$!
wait "${turns[@]}"
check_equal 'groups of three and spread ones of two on four slots' \
    '10 x Succeed none 0 [6 of 2 ranks] 10 x Succeed none 0 [6 of 3 ranks]' "$(sort -u turn?.out | tr '\n' ' ' | sed 's/ $//')"
flmping -q -t 1e7 -d 1ms --sleep --session-id flood >flood.out 2>&1 &
flood=$!
wait_for 'single executors have all slots' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 4 ]'
run "$client" -l "$allreduce" -k 4 -n 5 -i '#1'
check_equal 'a group of all slots gets them from single ones' '5 x Succeed none 0 [10 of 4 ranks]' "$out"
flmctl cancel flood >/dev/null
wait "$flood"

# The agent of a node dies while a group on both runs a task: the group ends and nobody is charged.
"$client" -l "$allreduce" -k 3 -R 1 -I torn -i W >torn.out &
torn=$!
wait_for 'its task runs' bash -c 'flmctl -o json list | jq -e ".[] | select(.id == \"torn\" and .running == 1)"'
leader=$(flmctl -o json list -e | jq -r '.[] | select(.state == "Bound") | .node')
lent=$(flmctl -o json list -e | jq -r --arg n "$leader" '.[] | select(.state == "Lent" and .node != $n) | .pid')
kill -KILL "$(awk '{print $4}' "/proc/$lent/stat")"
wait "$torn"
check_equal 'a node of a group is lost: its task runs again, and is not charged' \
    '1 x Succeed none 0 [here here here]' "$(cat torn.out)"
engine_end
