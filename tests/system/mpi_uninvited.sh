#!/bin/bash
# A service that calls MPI in an executor that is no rank of anything: MPI ends it, and its task says so.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"

engine -n 2
for each in $mpis; do
    find_mpi "$each"
    run timeout 60 "$client" -l "$services/uninvited$under.so" -R 1 -i x
    check_match "$mpi: MPI is called without ranks: its words, and what to do" "$out" \
        '^1 x Failed retry limit .*lost with its executor.*without ranks \(see ranks_per_task\): .*Comm_size.* before'
    run timeout 60 "$client" -l "$services/odd.so" -i fine
    check_equal "$mpi: the slot serves others" '1 x Succeed none 0 [fine]' "$out"
done
engine_end
