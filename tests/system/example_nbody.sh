#!/bin/bash
# The example that gives its session new common data in each step: what it computes is the same everywhere.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
nbody=$FLM_BUILDDIR/examples/nbody/nbody
steps=$(sized 40 10)

same() { # WHAT ARGUMENT...
    check "$1" "$nbody" -n 300 -s "$steps" --check "${@:2}"
    check_match 'the positions are those of one process' "$out" '^one process alone gets the same positions'
    # half a per mille at most: the integrator keeps it
    check_match 'energy is kept' "$out" ' [+-][0-9.]+e-(0[4-9]|[1-9][0-9]) of it since the beginning'
}

same 'in one process' --inproc
for transport in $(transports); do
    engine -n 2
    same "with executors ($transport)"
    same 'in small tasks' --block=7
    same 'in one task' --block=1000
    engine_end
done
check_status 'without a session manager' 1 env -u FLM_ENDPOINT "$nbody"
check_contains 'it says what to do' "$err" '--inproc'
