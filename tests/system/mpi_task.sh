#!/bin/bash
# Tasks that are MPI programs which know nothing of Flame (shim mpi, flmexec --ranks): their outputs and ends,
# and that nothing of them stays, whoever is killed.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"

are_gone() { # FILE with numbers of processes
    wait_for "the ranks in $1 are gone" bash -c 'for p in $(cat "$1"); do ! kill -0 "$p" 2>/dev/null || exit 1; done' - "$1"
}
lines() { # FILE N
    wait_for "$2 ranks have begun" bash -c '[ "$(cat "$1" 2>/dev/null | wc -l)" -ge "$2" ]' - "$1" "$2"
}
gone() { # PID
    wait_for "process $1 is gone" bash -c "! kill -0 $1 2>/dev/null"
}

outcomes() {
    run flmexec --ranks 2 "$program" {} ::: 1 2 3
    check_equal "$mpi: each task is one program of two ranks" '0 3 of 2 ranks 6 of 2 ranks 9 of 2 ranks' \
        "$status $(tr '\n' ' ' <<<"$out" | sed 's/ $//')"
    run flmexec --ranks 2 "$program" 1 fail ::: ''
    check_equal "$mpi: a rank that fails, fails its job" 1 "$status"
    # Of hydra it is that of the ranks together, with the signal by which it ended the others.
    check_match "$mpi: its exit status is told" "$err" "exit status $([ "$mpi" = openmpi ] && echo 7 || echo '[1-9]')"
    run flmexec --ranks 2 "$program" 1 kill ::: ''
    check_equal "$mpi: a rank that is killed fails its job" 1 "$status"
    run flmexec --ranks 2 "$program" 1 err ::: ''
    check_equal "$mpi: stdout and stderr are kept apart" '0 3 of 2 ranks on stderr' "$status $out $err"
    printf '[application]\nname = copy\nshim = mpi\ncommand = %s 1 copy\nranks_per_task = 2\n' "$program" >copy.app
    run timeout 60 "$client" -a copy.app -i 'to rank 0'
    check_contains "$mpi: the input of a task on the stdin of rank 0" "$out" '1 x Succeed none 0 [to rank 0 3 of 2 ranks'
}

ends() {
    rm -f timed cancelled
    run flmexec --ranks 2 --timeout 1s "$program" 1 pids "$PWD/timed" hang ::: ''
    check_contains "$mpi: a deadline ends it" "$err" 'timed out'
    [ ! -e timed ] || are_gone timed
    ok "$mpi: with all its ranks"
    flmexec --ranks 2 "$program" 1 pids "$PWD/cancelled" hang ::: '' >/dev/null 2>cancel.err &
    job=$!
    lines cancelled 2
    check_equal "$mpi: it has its slots" '1 Bound 1 Idle 1 Lent' \
        "$(flmctl -o json list -e | jq -r '[group_by(.state)[] | "\(length) \(.[0].state)"] | join(" ")')"
    kill "$job"
    wait "$job"
    are_gone cancelled
    ok "$mpi: who cancels it ends all its ranks"
}

kills() {
    rm -f launched lost
    flmexec --ranks 2 "$program" 1 pids "$PWD/launched" hang ::: '' >/dev/null 2>launched.err &
    job=$!
    lines launched 2
    executor=$(flmctl -o json list -e | jq '.[] | select(.state == "Bound") | .pid')
    read -r launcher _ <"/proc/$executor/task/$executor/children"
    kill -KILL "$launcher"
    wait "$job"
    are_gone launched
    check_match "$mpi: a launcher that is killed fails the job, and leaves no rank" "$(cat launched.err)" 'signal 9'
    flmexec --ranks 2 "$program" 1 pids "$PWD/lost" hang ::: '' >/dev/null 2>&1 &
    job=$!
    lines lost 2
    head -n 2 lost >first
    executor=$(flmctl -o json list -e | jq '.[] | select(.state == "Bound") | .pid')
    kill -KILL "$executor"
    lines lost 4
    are_gone first
    ok "$mpi: an executor that is killed takes its ranks along, and the job begins again"
    kill "$job"
    wait "$job"
    are_gone lost
}

mistakes() {
    run flmexec --ranks 4 "$program" ::: 1
    check_contains "$mpi: more ranks than slots" "$err" 'no node has more than 3'
    run flmexec --ranks 2 "$PWD/nosuch" ::: 1
    check_contains "$mpi: no such program" "$err" "cannot run '$PWD/nosuch': No such file"
}

# A program and a service of one MPI, and the launcher of the other.
mismatch() { # WHAT IT IS CALLED, WHAT THE LAUNCHER'S IS
    run flmexec --ranks 2 "$program" ::: 1
    check_contains "$mpi: a launcher of another MPI is refused" "$err" \
        "$program is compiled with $1, and ranks are started here by '${launcher##*/}', which is of $2"
    run "$client" -l "$services/allreduce$under.so" -k 2 -i '#1'
    check_contains "$mpi: for a service, too" "$out" "is compiled with $1, and ranks are started here by '${launcher##*/}'"
}

for each in $mpis; do
    find_mpi "$each"
    program=$FLM_BUILDDIR/tests/system/mpi_task$dash
    engine -n 3
    outcomes
    FLM_MPI=$mpi run flmexec --ranks 2 sh -c "exec $program {}" ::: 1
    check_equal "$mpi: FLM_MPI says what a script does not tell" '3 of 2 ranks' "$out"
    ends
    kills
    mistakes
    engine_end
done

if [ "$(wc -l <<<"$mpis")" = 2 ]; then
    find_mpi mpich && others=$launcher
    find_mpi openmpi
    program=$FLM_BUILDDIR/tests/system/mpi_task
    ours=$launcher launcher=$others
    engine -n 2 --backend-option world="${launcher##*/} -n {n}"
    mismatch 'Open MPI' MPICH
    engine_end
    find_mpi mpich
    program=$FLM_BUILDDIR/tests/system/mpi_task$dash launcher=$ours
    engine -n 2 --backend-option world="${launcher##*/} -n {n}"
    mismatch MPICH 'Open MPI'
    engine_end
fi

engine -n 1 --backend-option world='nosuch -n {n}'
run flmexec --ranks 1 true ::: 1
check_contains 'a launcher that is not there' "$err" "cannot run 'nosuch', which is to start the MPI ranks of"
engine_end
