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
        "$client" -a copy.app -i "to rank 0"
        [ ! -e "$0-mpich" ] || flmexec --ranks 2 "$0-mpich" {} ::: 4' "$program"
    check_contains 'an MPI program on two nodes is a task' "$out" $'10 of 4 ranks\n20 of 4 ranks'
    check_contains 'a rank that fails fails it' "$out" 'status 1'
    # The highest: of the rank itself, or of the one that srun ended for it with SIGTERM.
    check_match 'its exit status is told, as srun has it' "$err" '\(exit status (7|143)\)'
    check_contains 'and which rank it was' "$err" 'task 1: Exited with exit code 7'
    check_contains 'the input of a task on the stdin of rank 0' "$out" '[to rank 0 3 of 2 ranks'
    [ ! -e "$program-mpich" ] ||
        check_contains 'a program of MPICH, of which each rank would be alone, is refused' "$err" \
            "$program-mpich is compiled with MPICH, and ranks are started here by 'srun --mpi=pmix', which is of Open MPI"
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
instance_inside
a_node_is_lost
