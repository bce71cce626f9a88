#!/bin/bash
# A service in a world of two MPI ranks, from client to allreduce and back.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

client=$FLM_BUILDDIR/tests/system/client
service=$FLM_BUILDDIR/tests/system/services/.libs/allreduce.so
[ -e "$service" ] || skip 'built without Open MPI'
command -v mpirun >/dev/null || skip 'there is no mpirun'
cat >world.app <<END
[application]
name = allreduce
shim = so
command = $service
ranks_per_task = 2
END

# '!' is 0x21, 'c' is 0x63, three times that: each rank adds the number times its rank plus one.
sum=$'+.......!!!!!!!!'
transports | while read -r transport; do
    [ "$transport" = ring ] && more=() || more=(--provider "$transport")
    # shellcheck disable=SC2016
    run flmrun -n 2 "${more[@]}" -- sh -c '
        client=$1 sum=$2
        "$client" -a world.app -n 100 -m 1 -i "$sum"
        "$client" -a world.app -n 10 -m 1 -i "e" -c "common data"
        "$client" -a world.app -n 1 -m 1 -i "f"
        "$client" -a world.app -n 1 -m 1 -i "k"
        "$client" -a world.app -n 20 -m 1 -i "$sum"
        "$client" -l "$3" -n 5 -i "e"
        flmctl -o json list -e' sh "$client" "$sum" "$FLM_BUILDDIR/tests/unit/.libs/executor_service.so"
    check_contains "$transport: 100 tasks are summed over both ranks" "$out" '100 x Succeed none 0 [cccccccc'
    check_contains "$transport: all ranks have the common data" "$out" '10 x Succeed none 0 [common data]'
    check_contains "$transport: an error of one rank fails the task" "$out" '1 x Failed service 6 rank 1 does not like it'
    check_match "$transport: the death of one rank is the end of its world, and the task is tried again" "$out" \
        '^1 x Failed retry limit 9 '
    check_contains "$transport: the world was started again" "$out" '20 x Succeed none 0 [cccccccc'
    check_contains "$transport: and gives way to an executor without MPI" "$out" '5 x Succeed none 0 [e]'
    [ $failures = 0 ] || { printf '%s\n' "$out" "$err"; exit 1; }
done || failures=$((failures + 1))
ok 'all transports'
