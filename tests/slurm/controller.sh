#!/bin/bash
# slurmctld is away for 30 s while tasks run in jobs that flmd has asked for, and flmd is told to end meanwhile:
# nobody can cancel the jobs, so they end by themselves. Slurm's own processes try for over a minute to tell
# slurmctld of it, so this takes its time.
# shellcheck disable=SC2016 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
# A step's process that still tries is no task that cannot be killed: Slurm would drain the node for that.
echo UnkillableStepTimeout=300 >conf
SLURM_TESTBED_EXTRA_CONF=$PWD/conf
export SLURM_TESTBED_EXTRA_CONF
cluster 2

no_agent() {
    local n
    for n in n1 n2; do
        ! testbed exec $n pgrep -x 'flm-node|flm-executor' || return 1
    done
}

engine --backend slurm --slots 2 --backlog 2 --max-blocks 2
start ping flmping -t 100000 -d 100000 --json
ping=$pid
wait_for 'two jobs run' bash -c '[ "$(flmctl -o json list -n | jq length)" = 2 ]'
testbed stop-ctld
gone=$SECONDS
kill "$flmd"
wait_for 'flmd ends without the controller' bash -c "! kill -0 $flmd"
wait $ping
check 'its client is told' test $? -ne 0
wait_for 'the agents and executors end without either' no_agent
until [ $((SECONDS - gone)) -ge 30 ]; do sleep 1; done
testbed start-ctld
wait_for 'the queue is empty when it is back' bash -c '[ -z "$(squeue -h)" ]'
wait_for 'and the nodes are free' bash -c '[ "$(sinfo -h -N -p main -o %T | sort -u)" = idle ]'
nothing_is_left
