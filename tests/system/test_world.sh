#!/bin/bash
# Services that ask for MPI: each executor is a world of two ranks whose tasks allreduce.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

. "$FLM_SRCDIR/tests/system/mpi.sh"

# '!' is 0x21, 'c' is 0x63, three times that: each rank adds the number times its rank plus one.
export client services allreduce sum=$'+.......!!!!!!!!'

application() {
    cat >world.app <<END
[application]
name = world
shim = so
command = $allreduce
ranks_per_task = 2
END
}

session_manager() { # TRANSPORT
    transport=$1 engine -n 2
    run "$client" -a world.app -n 200 -i '#21'
    check_equal "$mpi: all ranks run each task together ($1)" '200 x Succeed none 0 [63 of 2 ranks]' "$out"
    run "$client" -a world.app -n 2 -i f
    check_equal 'an error of any rank fails the task' '2 x Failed service 6 rank 1 does not like it' "$out"
    run "$client" -a world.app -c 'shared by all' -i e -n 3
    check_equal 'all ranks have the common data' '3 x Succeed none 0 [shared by all]' "$out"
    run timeout 60 "$client" -a world.app -i c -C 1000
    check_equal 'all ranks see that a task is cancelled, and return' '1 x Succeed none 0' "$out"
    run "$client" -l "$services/odd.so" -n 10 -i plain
    check_equal 'a service without MPI, in the same slot' '10 x Succeed none 0 [plain]' "$out"
    run "$client" -a world.app -i k
    check_match 'a rank that dies costs its world, and the task is retried' "$out" \
        '^1 x Failed retry limit -?[0-9]+ .*lost with its executor 3 times'
    run "$client" -a world.app -n 20 -i '#1'
    check_equal 'and the world is started again' '20 x Succeed none 0 [3 of 2 ranks]' "$out"
    engine_end
}

# The same with two slots.
under_flmrun() { # TRANSPORT
    local more=(--provider "$1")
    [ "$1" != ring ] || more=()
    # shellcheck disable=SC2016
    run flmrun -n 2 "${more[@]}" -- sh -c '
        "$client" -a world.app -n 100 -i "$sum"
        "$client" -a world.app -i k
        "$client" -a world.app -n 20 -i "$sum"
        "$client" -l "$services/odd.so" -n 5 -i plain'
    check_contains "$mpi: 100 tasks are summed over both ranks (flmrun, $1)" "$out" '100 x Succeed none 0 [cccccccc'
    # What its launcher ends with: hydra with the status, or the signal, of any of the ranks.
    check_match 'a rank that dies: how it ended' "$out" "^1 x Failed retry limit $([ "$mpi" = openmpi ] && echo 9 || echo '[1-9]')"
    check_contains 'and the world is started again' "$out" '20 x Succeed none 0 [cccccccc'
    check_contains 'and gives way to an executor without MPI' "$out" '5 x Succeed none 0 [plain]'
}

among=$(transports)
for each in $mpis; do
    find_mpi "$each"
    allreduce=$services/allreduce$under.so
    application
    for by in $among; do
        session_manager "$by"
        under_flmrun "$by"
    done
    among=ring # of a second MPI: how they are told of tasks does not depend on it
done

# Services of both in one instance: each gets its own ranks, in the same slots.
if [ "$(wc -l <<<"$mpis")" = 2 ]; then
    # shellcheck disable=SC2016
    run flmrun -n 2 -- sh -c 'for under in _mpich ""; do "$client" -l "$services/allreduce$under.so" -k 2 -n 5 -i "#1"; done'
    check_equal 'both MPIs in the same slots' 2 "$(grep -cxF '5 x Succeed none 0 [3 of 2 ranks]' <<<"$out")"
fi

# A Flame with one MPI: what needs none gets the ranks that there are, whosever mpirun comes first in PATH.
for each in $mpis; do
    find_mpi "$each"
    mkdir "only_$mpi"
    ln -s "$FLM_BUILDDIR"/lib/flame/.libs/*.so "only_$mpi/"
    find "only_$mpi" -name 'flm-mpi-*' ! -name "*-$mpi.so" -delete
    FLM_MODULE_DIR=$PWD/only_$mpi run flmrun -n 2 -- flmping --ranks-per-task 2 -t 20 -q
    check_match "built with $mpi alone: flmping --ranks-per-task" "$out" '^20 tasks, .* 2 ranks a task:'
done
