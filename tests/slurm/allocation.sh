#!/bin/bash
# flmrun in a Slurm job: all its nodes, the ends that a job can have, and what can happen to a node.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 3

# FLM_WAIT N: until so many executors are idle. For commands that run in jobs.
cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = "$1" ]; do sleep 0.05; done
END

nodes_of_a_job() {
    job -N3 --ntasks-per-node=4 -t 10 -- flmrun -- sh -c '
        sh await.sh 12
        flmctl -o json list -n
        srun -N3 -n3 --ntasks-per-node=1 hostname | sort | tr "\n" " "'
    check_equal 'flmrun ends well in a job' 0 "$status"
    nodes=$(sed '/^\]/q' <<<"$out")
    check_equal 'all nodes of the job are there, by their names' 'n1 n2 n3' "$(jq -r '[.[].name] | sort | join(" ")' <<<"$nodes")"
    check_equal 'with an executor for each task' '4 4 4' "$(jq -r '[.[].executors] | join(" ")' <<<"$nodes")"
    check_equal 'rings on the first node, libfabric between nodes' 'ring tcp;ofi_rxm tcp;ofi_rxm' \
        "$(jq -r 'sort_by(.name) | [.[].transport] | join(" ")' <<<"$nodes")"
    check_equal 'blocks are called by the job' "$job" "$(jq -r '[.[].block] | unique | join(" ")' <<<"$nodes")"
    check_equal 'they know when the job ends' true "$(jq '[.[].time_left_s | . > 500 and . <= 600] | all' <<<"$nodes")"
    check_contains "the user's own srun works beside it" "$out" 'n1 n2 n3 '
    check_equal 'nothing is said when all is well' '' "$err"
    nothing_is_left
}

counts() {
    job -N3 --ntasks-per-node=4 -- flmrun -n 5 -- sh -c 'sh await.sh 5; flmctl -o json list -n'
    check_equal 'flmrun -n is the number in all' '1 2 2' "$(jq -r '[.[].slots] | sort | join(" ")' <<<"$out")"
    job -N3 --ntasks-per-node=4 -- flmrun -n 2 -- sh -c 'sh await.sh 2; flmctl -o json list -n'
    check_equal 'fewer executors than nodes' 2 "$(jq length <<<"$out")"
    job -N3 --ntasks-per-node=4 -- flmrun --nodes 2 -- sh -c 'sh await.sh 8; flmctl -o json list -n'
    check_equal 'some nodes of the job' 2 "$(jq length <<<"$out")"
    job -N2 -n3 -- flmrun -- sh -c 'sh await.sh 3; flmctl -o json list -n'
    check_equal 'tasks that are spread unevenly' '1 2' "$(jq -r '[.[].slots] | sort | join(" ")' <<<"$out")"
    job -N1 -n2 -- flmrun -- sh -c 'sh await.sh 2; flmctl -o json list -n'
    check_equal 'a job of one node' "2 $job" "$(jq -r '.[] | "\(.slots) \(.block)"' <<<"$out")"
    job -N2 -n4 -- flmrun --backend local -n 1 -- sh -c 'sh await.sh 1; flmctl -o json list -n'
    check_equal 'local, as asked' local "$(jq -r '.[].block' <<<"$out")"
    job -N3 -n 3 -- flmrun --nodes 4 -- flmping -t 10
    job_err=$err
    check 'more nodes than the job has: it does not end well' test "$status" -ne 0
    check_contains 'and says why' "$job_err" 'has 3 nodes, not 4'
}

work() {
    run flmrun --backend local -n 2 -- flm-montecarlo -q --seed 7 -n 3e6 --no-output
    here=$out
    job -N3 --ntasks-per-node=4 -- flmrun -- flm-montecarlo -q --seed 7 -n 3e6 --no-output
    check_equal 'Monte Carlo has the same digits on three nodes' "0 $here" "$status $out"
    job -N3 --ntasks-per-node=4 -- flmrun -- sh -c 'sh await.sh 12; flmping -t 300000 --json'
    check_equal 'tasks flow over libfabric' '0 0 12 tcp;ofi_rxm' "$status $(jq -r '"\(.failed) \(.executors) \(.provider)"' <<<"$out")"
    job -N3 --ntasks-per-node=2 -- flmrun -- sh -c 'sh await.sh 6; flmping -t 40 -s 3000000 -o 3000000 --json'
    check_equal 'large payloads, by RMA' '0 0' "$status $(jq -r .failed <<<"$out")"
    run salloc -Q -N2 --ntasks-per-node=2 flmrun -- sh -c 'sh await.sh 4; flmping -t 100000 --json'
    check_equal 'a shell of salloc' '0 0 4' "$status $(jq -r '"\(.failed) \(.executors)"' <<<"$out")"
}

world() {
    service=$services/allreduce.so
    [ -e "$service" ] || return
    printf '[application]\nname = allreduce\nshim = so\ncommand = %s\nranks_per_task = 2\n' "$service" >world.app
    # shellcheck disable=SC2016
    job -N2 --ntasks-per-node=2 -- flmrun -- sh -c '
        "$1" -a world.app -n 50 -m 3 -i "$2"
        "$1" -a world.app -n 1 -m 1 -i k
        "$1" -a world.app -n 20 -m 1 -i "$2"' sh "$client" '+.......!!!!!!!!'
    check_contains 'a service in worlds of two ranks by srun' "$out" '50 x Succeed none 0 [cccccccc'
    check_contains 'the death of a rank ends its world' "$out" '1 x Failed retry limit'
    check_contains 'which is started again' "$out" '20 x Succeed none 0 [cccccccc'
    nothing_is_left
}

nodes_of_a_job
counts
work
world
