#!/bin/bash
# What can happen to a job, its nodes and its steps while tasks flow: every result comes exactly once.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 3

cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle" or .state == "Bound")] | length')" = "$1" ]; do sleep 0.05; done
END

# A job of three nodes with two executors each in which tasks flow; they have begun when it returns.
flood() {
    rm -f up
    submit -N3 --ntasks-per-node=2 --no-kill -t 10 -- flmrun -v -- sh -c '
        sh await.sh 6
        flmctl status >/dev/null && env | grep ^FLM_ENDPOINT >up.tmp && mv up.tmp up
        flmping -t 24000 -d 2000 --json'
    wait_for 'tasks flow' test -e up
    sleep 0.5
}

all_once() {
    job_end
    check_equal "$1: each result once, none failed" '0 24000 0 0 0' \
        "$status $(jq -r '"\(.succeeded) \(.failed) \(.lost) \(.duplicated)"' <<<"$out")"
}

on() { # NODE COMMAND...: in that node, with the instance's endpoint
    local node=$1
    shift
    testbed exec "$node" env "$(cat up)" PATH="$PATH" "$@"
}

pid_on() { # NODE NAME: of the first such process in the node
    testbed exec "$1" pgrep -o -x "$2"
}

executor_is_killed() {
    flood
    testbed exec n2 kill -KILL "$(pid_on n2 flm-executor)"
    testbed exec n1 kill -KILL "$(pid_on n1 flm-executor)"
    all_once 'an executor is killed on two nodes'
    check_equal 'no rank of the step has died of it' '' "$(grep -i 'srun: error' <<<"$err")"
}

agent_is_killed() {
    flood
    testbed exec n3 kill -KILL "$(pid_on n3 flm-node)"
    # shellcheck disable=SC2016
    wait_for 'its node is asked for again, and comes back' on n1 sh -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.node == \"n3\" and .restarts == 0 and .state != \"Void\")] | length")" = 2 ]'
    all_once 'an agent is killed'
    nothing_is_left
}

launcher_is_killed() {
    flood
    testbed exec n1 kill -KILL "$(pid_on n1 srun)"
    all_once 'the srun of the step is killed'
    nothing_is_left
}

node_dies() {
    flood
    testbed kill-node n3
    all_once 'a node loses power'
    testbed revive-node n3
    testbed wait-node n3 idle || fail 'the node comes back'
    nothing_is_left
}

node_is_cut_off() {
    flood
    testbed cut n2
    sleep 4
    testbed heal n2
    all_once 'a node is cut off and healed'
    nothing_is_left
}

job_is_cancelled() {
    flood
    scancel "$job"
    wait_for 'the cancelled job is gone' bash -c "[ -z \"\$(squeue -h -j $job 2>/dev/null)\" ]"
    nothing_is_left
}

executor_is_killed
agent_is_killed
launcher_is_killed
node_dies
node_is_cut_off
job_is_cancelled
