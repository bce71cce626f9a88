#!/bin/bash
# MPI programs whose ranks are clients and executors of an instance in their own job (flm_mpi_init).
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export XDG_RUNTIME_DIR=$TEST_DIR/x
mkdir -m 700 "$XDG_RUNTIME_DIR" outside

launch() { # RANKS PROGRAM ARGUMENT...
    run timeout 120 "$launcher" -n "$@"
}

left() { # processes and directories of ours
    find "$XDG_RUNTIME_DIR" -mindepth 1 ! -path "$XDG_RUNTIME_DIR/flame"
    grep -lsF "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" /proc/[0-9]*/environ | sed 's/environ$/comm/' |
        xargs -r cat 2>/dev/null | grep -E '^(flmd|flm-node|flm-guest|flm-executor)$'
}
export -f left

nothing_left() {
    wait_for "nothing is left ($1)" bash -c '[ -z "$(left)" ]' || left
}

times() { # N LINE: it is so often in $out
    check_equal "$1 times: $2" "$1" "$(grep -cxF -- "$2" <<<"$out")"
}

# What differs between MPIs.
try_mpi() { # NAME
    launch 3 "$pi" 200
    check_contains "pi ($1)" "$out" 'pi is 3.14159265'
    launch 4 "$program" twice clients nodes
    times 3 'twice: sum 999000, 1 failed (service: no number)'
    times 1 'again: sum 999000, 1 failed (service: no number)'
    check_equal "and nothing else ($1)" '0 4' "$status $(grep -c . <<<"$out")"
    nothing_left "$1"
    launch 4 "$program" halves
    times 1 'twice: sum 999000, 1 failed (service: no number)'
    times 1 'again: sum 999000, 1 failed (service: no number)'
    check_equal "two instances in one job ($1)" '0 2' "$status $(grep -c . <<<"$out")"
    OUTSIDE=$services/odd.so XDG_RUNTIME_DIR=$TEST_DIR/outside run timeout 120 flmrun -n 1 -- "$launcher" -n 3 "$program" outside
    times 3 'outside: 1000 of 1000 are right'
    check_equal "ranks are clients of an instance outside ($1)" '0 3' "$status $(grep -c . <<<"$out")"
    nothing_left "$1, two of them, and one outside"
    launch 3 "$program" dies
    check "an executor that dies ends the job ($1)" [ "$status" -ne 0 ]
    launch 2 "$program" unknown # removes what that has left
    nothing_left "$1, a rank died"
}

# What does not. One instance after the other, in the same job.
try_all() {
    launch 3 "$program" nobody one nameless unknown groups stubborn
    times 1 'rank 0: rank 1: there is no role 7'
    times 1 'rank 1: there is no role 7'
    times 1 'rank 2: rank 1: there is no role 7'
    check_contains 'no client' "$out" 'rank 2: rank 0: no rank is a client'
    check_contains 'a service without a name' "$out" 'rank 0: a service without a name'
    check_contains 'an application that is not there' "$out" "there is no application 'thrice'"
    check_match 'tasks of several ranks' "$out" 'bind: .* tasks of one rank only'
    check_contains 'a task that does not heed its deadline' "$out" 'stubborn: 1 failed (deadline: '
    times 1 'again: sum 999000, 1 failed (service: no number)' # by the same rank, after a cancelled session, too
    launch 1 "$program" twice
    check_contains 'a rank alone' "$out" 'no rank is an executor: run at least two ranks'
    launch 2 "$program" single
    [[ "$out" = *'sum 999000'* ]] || # some MPIs give more than was asked for
        check_contains 'a thread level that does not do' "$out" 'MPI_THREAD_FUNNELED at least'
    launch 2 "$program" lost
    check_contains 'the session manager is killed' "$out" 'lost: the connection to the session manager is lost'
    check_contains 'finalize says so' "$out" 'finalize: the session manager of this job had ended too early'
    nothing_left 'the session manager was killed'
}

first=yes
for each in $mpis; do
    find_mpi "$each"
    program=$FLM_BUILDDIR/tests/system/mpi_program$dash pi=$FLM_BUILDDIR/examples/mpi/pi$dash
    try_mpi "$mpi"
    [ -z "$first" ] || try_all
    first=
done
