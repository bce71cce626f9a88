#!/bin/bash
# MPI under srun: tasks of several ranks on several nodes, where the ranks are and what a rank, or a node, costs
# that dies; MPI programs as tasks; and one with an instance inside.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
[ -e "$services/allreduce.so" ] || skip 'built without Open MPI'
cluster 3
export services client

cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = "$1" ]; do sleep 0.05; done
END

places() {
    # shellcheck disable=SC2016
    job -N3 --ntasks-per-node=2 -- flmrun --nodes 3 -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 4 -n 50 -i "#1"
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
    # shellcheck disable=SC2016
    submit -N3 --ntasks-per-node=2 --no-kill -- flmrun -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 3 -S -R 1 -I spread -i W &
        until [ "$(flmctl -o json list | jq "[.[] | select(.running == 1)] | length")" = 1 ]; do sleep 0.05; done
        flmctl -o json list -e | jq -r ".[] | select(.state == \"Lent\") | .node" | grep -v "$(hostname)" | head -n 1 >node.tmp
        mv node.tmp node
        wait
        timeout 100 "$client" -l "$services/allreduce.so" -k 4 -i "#1"'
    wait_for 'a task runs on three nodes' test -e node
    testbed kill-node "$(cat node)"
    job_end
    check_match 'a node of a world is lost: its task runs on the others' "$out" '^1 x Succeed none 0 \[n[123] n[123] n[123]\]'
    check_equal 'without the lost one' 0 "$(grep -c "$(cat node)" <<<"$out")"
    check_contains 'and so does a group that one node has no room for' "$out" '1 x Succeed none 0 [10 of 4 ranks]'
    nothing_is_left
}

# At once, when perhaps one node is there.
programs() {
    # shellcheck disable=SC2016
    job -N3 --ntasks-per-node=2 -- flmrun -- sh -c '
        flmexec --ranks 4 "$0" {} ::: 1 2
        flmexec --ranks 2 "$0" {} fail ::: 3
        echo "status $?"
        "$client" -a copy.app -i "to rank 0"' "$program"
    check_contains 'an MPI program on two nodes is a task' "$out" $'10 of 4 ranks\n20 of 4 ranks'
    check_contains 'a rank that fails fails it' "$out" 'status 1'
    # The highest: of the rank itself, or of the one that srun ended for it with SIGTERM.
    check_match 'its exit status is told, as srun has it' "$err" '\(exit status (7|143)\)'
    check_contains 'and which rank it was' "$err" 'task 1: Exited with exit code 7'
    check_contains 'the input of a task on the stdin of rank 0' "$out" '[to rank 0 3 of 2 ranks'
    nothing_is_left
}

# The session manager, agents and guests are children of its ranks.
instance_inside() {
    job -N3 --ntasks-per-node=2 -- srun --mpi=pmix "$FLM_BUILDDIR/tests/system/mpi_program" twice clients nodes
    check_equal 'flm_mpi_init under srun' '0 3' "$status $(grep -cxF 'twice: sum 999000, 1 failed (service: no number)' <<<"$out")"
    nothing_is_left
}

program=$FLM_BUILDDIR/tests/system/mpi_task
printf '[application]\nname = copy\nshim = mpi\ncommand = %s 1 copy\nranks_per_task = 2\n' "$program" >copy.app
places
programs
instance_inside
a_node_is_lost
