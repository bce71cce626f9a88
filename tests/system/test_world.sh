#!/bin/bash
# Services that ask for MPI: each executor is a world of two ranks whose tasks allreduce.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

[ -e "$services/allreduce.so" ] || skip 'built without Open MPI'
command -v mpirun >/dev/null || skip 'mpirun is not installed'

cat >world.app <<END
[application]
name = world
shim = so
command = $services/allreduce.so
ranks_per_task = 2
END
for transport in $(transports); do
    engine -n 2
    run "$client" -a world.app -n 200 -i '#21'
    check_equal "all ranks run each task together ($transport)" '200 x Succeed none 0 [63 of 2 ranks]' "$out"
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
done

# The same under flmrun, with two slots. '!' is 0x21, 'c' is 0x63, three times that: each rank adds the number
# times its rank plus one.
export client services sum=$'+.......!!!!!!!!'
for transport in $(transports); do
    [ "$transport" = ring ] && more=() || more=(--provider "$transport")
    # shellcheck disable=SC2016
    run flmrun -n 2 "${more[@]}" -- sh -c '
        "$client" -a world.app -n 100 -i "$sum"
        "$client" -a world.app -i k
        "$client" -a world.app -n 20 -i "$sum"
        "$client" -l "$services/odd.so" -n 5 -i plain'
    check_contains "100 tasks are summed over both ranks (flmrun, $transport)" "$out" '100 x Succeed none 0 [cccccccc'
    check_match 'a rank that dies: how it ended' "$out" '^1 x Failed retry limit 9 '
    check_contains 'and the world is started again' "$out" '20 x Succeed none 0 [cccccccc'
    check_contains 'and gives way to an executor without MPI' "$out" '5 x Succeed none 0 [plain]'
done
