# Worlds of MPI ranks on several nodes of a batch system: where the ranks are, and what a rank, or a node, costs that
# dies. For tests/slurm/worlds.sh and tests/pbs, which say how to ask for three nodes with two ranks each (three_by_two),
# the same as a job that outlives a node (that_outlives_a_node), and how one loses power (kill_node).
# shellcheck shell=bash disable=SC2016,SC2154 # what is quoted is for shells in jobs
export services client

# Open MPI 4.1.4 over tcp now and then crashes in MPI_Init where much else runs (doc/facts.md, section B): a rank that dies,
# as here others do. A sanitizer that has nothing else to say is not to say that.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:handle_segv=0

cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = "$1" ]; do sleep 0.05; done
END

places() {
    job "${three_by_two[@]}" -- flmrun --nodes 3 -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 4 -n 50 -i "#1"
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 4 -i w
        "$client" -l "$services/allreduce.so" -k 2 -i w
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 3 -S -i w
        "$client" -l "$services/allreduce.so" -k 6 -n 50 -i "#1"
        "$client" -l "$services/allreduce.so" -k 6 -S -n 3 -c "of all" -i e
        "$client" -l "$services/allreduce.so" -k 7 -i w
        "$client" -l "$services/allreduce.so" -k 4 -i k
        "$client" -l "$services/allreduce.so" -k 4 -n 20 -i "#2"'
    check_contains 'a group that no node has room for is on two' "$out" '50 x Succeed none 0 [10 of 4 ranks]'
    check_match 'it fills them one after the other' "$(sed -n 2p <<<"$out")" '\[(n[123]) \1 (n[123]) \2\]$'
    check_match 'one that fits is on one node' "$(sed -n 3p <<<"$out")" '\[(n[123]) \1\]$'
    check_equal 'ranks that are spread are each on a node' 'n1 n2 n3' \
        "$(sed -n '4s/.*\[\(.*\)\]$/\1/p' <<<"$out" | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//')"
    check_contains 'a group of all slots' "$out" '50 x Succeed none 0 [21 of 6 ranks]'
    check_contains 'common data reach all nodes' "$out" '3 x Succeed none 0 [of all]'
    check_contains 'more ranks than the job has slots' "$out$err" 'no job has more than 6'
    check_contains 'a rank that dies costs its group' "$out" '1 x Failed retry limit'
    check_contains 'which is started again' "$out" '20 x Succeed none 0 [20 of 4 ranks]'
    nothing_is_left
}

# A node of a world loses power: the task runs again where there are enough slots, and is not charged.
a_node_is_lost() {
    submit "${that_outlives_a_node[@]}" -- flmrun -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 3 -S -R 1 -I spread -i W &
        until [ "$(flmctl -o json list | jq "[.[] | select(.running == 1)] | length")" = 1 ]; do sleep 0.05; done
        flmctl -o json list -e | jq -r ".[] | select(.state == \"Lent\") | .node" | grep -v "${PBS_FAKE_NODE:-$(hostname)}" | head -n 1 >node.tmp
        mv node.tmp node
        wait
        timeout 100 "$client" -l "$services/allreduce.so" -k 4 -i "#1"'
    wait_for 'a task runs on three nodes' test -e node
    kill_node "$(cat node)"
    job_end
    check_match 'a node of a world is lost: its task runs on the others' "$out" '^1 x Succeed none 0 \[n[123] n[123] n[123]\]'
    check_equal 'without the lost one' 0 "$(grep -c "$(cat node)" <<<"$out")"
    check_contains 'and so does a group that one node has no room for' "$out" '1 x Succeed none 0 [10 of 4 ranks]'
    nothing_is_left
}
