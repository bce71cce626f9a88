#!/bin/bash
# MPI under srun: tasks of several ranks on several nodes, where the ranks are and what a rank, or a node, costs
# that dies; MPI programs as tasks; and one with an instance inside.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
[ -e "$services/allreduce.so" ] || skip 'built without Open MPI'
cluster 3
. "$FLM_SRCDIR/tests/worlds.sh"
three_by_two=(-N3 --ntasks-per-node=2) that_outlives_a_node=(-N3 --ntasks-per-node=2 --no-kill)

kill_node() {
    testbed kill-node "$1"
}

# At once, when perhaps one node is there.
programs() {
    # shellcheck disable=SC2016
    job "${three_by_two[@]}" -- flmrun -- sh -c '
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

# Its worlds are started by hydra. An MPI program of its own stays on one node here: MPI_Finalize on several hangs now and
# then (doc/facts.md, section B), which ends a world of the engine's late, and a program never.
mpich() {
    if [ ! -e "$program-mpich" ] || ! command -v mpiexec.hydra >/dev/null; then
        return
    fi
    # shellcheck disable=SC2016
    job "${three_by_two[@]}" -- flmrun --nodes 3 -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce_mpich.so" -k 2 -n 50 -i "#1"
        "$client" -l "$services/allreduce_mpich.so" -k 2 -R 1 -i k
        "$client" -l "$services/allreduce_mpich.so" -k 2 -n 20 -i "#2"
        sh await.sh 6
        "$client" -l "$services/allreduce_mpich.so" -k 3 -S -i w
        "$client" -l "$services/allreduce_mpich.so" -k 4 -R 1 -i k
        "$client" -l "$services/allreduce_mpich.so" -k 4 -n 20 -i "#2"
        "$client" -l "$services/allreduce.so" -k 4 -n 20 -i "#3"
        flmexec --ranks 2 "$0-mpich" {} ::: 4
        flmexec --ranks 2 "$0-mpich" {} kill ::: 5
        echo "status $?"' "$program"
    check_contains 'MPICH: a group on one node' "$out" '50 x Succeed none 0 [3 of 2 ranks]'
    check_equal 'a rank that dies costs its group, on one node and on two' 2 "$(grep -c '^1 x Failed retry limit' <<<"$out")"
    check_contains 'which is started again' "$out" '20 x Succeed none 0 [6 of 2 ranks]'
    check_match 'ranks that are spread are where they are to be' "$out" '\[(n1 n2|n1 n3|n2 n1|n2 n3|n3 n1|n3 n2) n[123]\]'
    check_equal 'each on a node' 'n1 n2 n3' \
        "$(sed -n 's/^1 x Succeed none 0 \[\(n.*\)\]$/\1/p' <<<"$out" | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//')"
    check_contains 'the one on two, too' "$out" '20 x Succeed none 0 [20 of 4 ranks]'
    check_contains 'Open MPI beside it' "$out" '20 x Succeed none 0 [30 of 4 ranks]'
    check_contains 'an MPI program' "$out" '12 of 2 ranks'
    check_contains 'a rank that is killed fails it' "$out" 'status 1'
    nothing_is_left
}

# The session manager, agents and guests are children of its ranks.
instance_inside() {
    for _ in 1 2 3; do
        job "${three_by_two[@]}" -- srun --mpi=pmix "$FLM_BUILDDIR/tests/system/mpi_program" twice clients nodes
        [ "$status" = 139 ] && [ -z "$out" ] || break # in MPI_Init, see tests/worlds.sh: nobody starts that again
    done
    check_equal 'flm_mpi_init under srun' '0 3' "$status $(grep -cxF 'twice: sum 999000, 1 failed (service: no number)' <<<"$out")"
    nothing_is_left
}

program=$FLM_BUILDDIR/tests/system/mpi_task
printf '[application]\nname = copy\nshim = mpi\ncommand = %s 1 copy\nranks_per_task = 2\n' "$program" >copy.app
places
programs
mpich
instance_inside
a_node_is_lost
