#!/bin/bash
# A run that is cut into several jobs, as doc/slurm.md shows it, gives the digits of one run. FLM_TEST_LONG=1:
# five jobs or more of one minute each, which are cut by their time limit.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
command -v h5dump >/dev/null || skip 'there is no h5dump'
cluster 2
guide_script pieces.sbatch >pieces.sbatch
check_match 'the guide has the script' "$(cat pieces.sbatch)" '--resume flm-montecarlo --resume'

digits() { h5dump -y -a /estimate -a /standard_error -a /samples "$1" | grep -vE '^HDF5|CREATE'; }
number() { h5dump -y -a "$1" pieces.h5 | grep -oE '^ +[0-9][0-9.e+-]*$' | tr -d ' '; }
complete() { h5dump -y -d /state pieces.h5 | tr -d ' \n' | grep -q 'DATA{{1,'; }
next_piece() { # OPTION...
    piece=$(sbatch --parsable -o "$TEST_DIR/piece-%j" "$@" pieces.sbatch)
    pieces=("${pieces[@]}" "$piece")
}
gone() { ! squeue -h -j "$1" -o %t | grep -q .; }
export -f gone
pieces=()

if [ -n "${FLM_TEST_LONG:-}" ]; then
    export SAMPLES=${FLM_TEST_SAMPLES:-5.2e10} FLM_TEST_PATIENCE=1200
    tasks=5200 # of about a tenth of a second, so that a cut costs something
    sed -i "s/--samples/--tasks $tasks --samples/" pieces.sbatch
    until [ ${#pieces[@]} -ge 5 ] && { [ ${#pieces[@]} -gt 12 ] || complete; }; do
        next_piece --time=1
        wait_for "piece ${#pieces[@]} is over" gone "$piece"
        echo "# $(sacct -n -X -j "$piece" -o state,elapsed 2>/dev/null) tasks $(number /tasks)"
    done
else
    SAMPLES=$(sized 1.5e9 2e8)
    export SAMPLES
    for _ in 1 2 3; do
        next_piece --time=5
    done
    wait_for 'the first piece begins' test -e pieces.h5
    scancel "${pieces[0]}"
    wait_for 'the second one goes on' grep -q 'goes on with 1 session' "piece-${pieces[1]}"
    check_equal 'after the first one was cut off' yes "$(complete && echo no || echo yes)"
    scancel "${pieces[1]}"
    wait_for 'the third one ends' gone "${pieces[2]}"
fi
check 'the run is complete' complete
check_match 'it tells what the cuts cost' "$(cat piece-*)" 'core-seconds [0-9.]+ useful, [0-9.]+ wasted'
grep -h 'core-seconds\|throughput\|estimate' piece-* | sed 's/^/# /'
next_piece --time=5
wait_for 'one more piece ends' gone "$piece"
check_match 'it finds that all is done' "$(cat "piece-$piece")" 'estimate +3\.14'
check 'the same in one piece' flmrun -n 2 --backend local flm-montecarlo -q -n "$SAMPLES" ${tasks:+-t $tasks} -o one.h5
check_equal 'has the same digits' "$(digits one.h5)" "$(digits pieces.h5)"
nothing_is_left
