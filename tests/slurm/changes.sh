#!/bin/bash
# What administrators do while tasks run in jobs: nodes are drained, and time limits are moved. Every result
# comes once, no retry is charged, and the work goes on elsewhere or for as long as there is time.
# shellcheck disable=SC2016,SC2031 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 3

login() {
    engine --backend slurm --slots 2 --backlog 2 "$@"
}

all_once() { # WHAT FILE N
    check_equal "$1: each result once" "$3 0 0 0" "$(jq -r '"\(.succeeded) \(.failed) \(.lost) \(.duplicated)"' "$2")"
}

no_retry() {
    check_equal "$1" '0 ' "$(flmctl -o json list | jq -r 'last | "\(.retried) \(.trouble)"')"
}

nodes() { # of our blocks, and the seconds that each has
    flmctl -o json list -n | jq -r '.[] | "\(.name) \(.block) \(.time_left_s)"'
}

queue_is_empty() {
    wait_for "the queue is empty ($1)" bash -c '[ -z "$(squeue -h)" ]'
}

# A block goes elsewhere: the administrator waits for the node.
node_of_a_block_is_drained() {
    login --max-blocks 1
    start ping flmping -t 120 -d 300000 --json
    ping=$pid
    wait_for 'a job runs tasks' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 2 ]'
    read -r node block _ <<<"$(nodes)"
    scontrol update nodename="$node" state=drain reason=test
    wait_for 'its node is drained: it says so' grep -q "node $node is being drained: job $block begins no more tasks" flmd.log
    wait_for 'the job is given back, and the node has nothing to do' \
        bash -c "sinfo -h -N -n $node -o %T | grep -qx drained"
    wait_for 'the work goes on in another' bash -c \
        "flmctl -o json list -n | jq -e '.[0] | .name != \"$node\" and .block != \"$block\"'"
    scontrol update nodename="$node" state=resume
    wait $ping
    all_once 'a drained node' ping.log 120
    no_retry 'no retry was charged, and nothing lost'
    engine_end
    queue_is_empty 'after that'
}

# One's own job has its nodes until it ends, and its tasks run on them.
our_job_is_changed() {
    echo "FLM_ENDPOINT=unix:$TEST_DIR/run/flmd.sock" >endpoint # in the first node's own folder
    submit -N3 --ntasks-per-node=2 -t 10 -- env "$(cat endpoint)" sh -c '
        flmd --backend slurm --backend-option ask=1 -e "$FLM_ENDPOINT" -e "tcp:*:0" >/dev/null &
        until [ "$(flmctl -o json list -e 2>/dev/null | jq "[.[] | select(.state == \"Idle\")] | length")" = 6 ] 2>/dev/null; do sleep 0.05; done
        : >up
        until [ -e free ]; do flmping -t 300 -d 2000 --json || break; done | jq -c "[.succeeded, .failed, .lost, .duplicated]"
        flmctl -o json list | jq "[.[].retried] | add"
        flmctl -o json list -n | jq length
        flmctl shutdown
        wait'
    wait_for 'tasks flow in a job of three nodes' test -e up
    scontrol update nodename=n2 state=drain reason=test
    scontrol update jobid="$job" timelimit=30
    wait_for 'it has 30 minutes now' testbed exec n1 env "$(cat endpoint)" PATH="$PATH" \
        bash -c 'flmctl -o json list -n | jq -e "[.[].time_left_s > 1200] | all"'
    scontrol update jobid="$job" timelimit=5
    wait_for 'and now 5' testbed exec n1 env "$(cat endpoint)" PATH="$PATH" \
        bash -c 'flmctl -o json list -n | jq -e "[.[].time_left_s < 300] | all"'
    : >free
    job_end
    scontrol update nodename=n2 state=resume
    check_equal 'each result came once, no retry is charged, and the node stays' '[300,0,0,0] 3 0' \
        "$(sort -u <<<"$out" | sort -r | tr '\n' ' ' | sed 's/ $//')"
    check_equal 'and nothing is said of it' '0 ' "$status $err"
}

time_of_a_block_is_moved() {
    login --max-blocks 1 --block-time 10
    start ping flmping -t 220 -d 300000 --json
    ping=$pid
    wait_for 'a job of ten minutes knows its end' bash -c 'flmctl -o json list -n | jq -e ".[0].time_left_s | . > 300 and . <= 600"'
    read -r _ block _ <<<"$(nodes)"
    scontrol update jobid="$block" timelimit=30
    wait_for 'of thirty, too' bash -c 'flmctl -o json list -n | jq -e ".[0].time_left_s > 1200"'
    scontrol update jobid="$block" timelimit=1
    wait_for 'and of one: what is left of it' bash -c 'flmctl -o json list -n | jq -e ".[0].time_left_s < 60"'
    scontrol update jobid="$block" endtime="$(date -d 'now + 15 seconds' +%Y-%m-%dT%H:%M:%S)"
    wait_for 'the next job takes over at its end' bash -c "flmctl -o json list -n | jq -e '[.[] | select(.block != \"$block\")] | length == 1'"
    wait $ping
    all_once 'a limit that moves' ping.log 220
    no_retry 'nothing was cut off, no retry charged'
    engine_end
    queue_is_empty 'after that'
}

node_of_a_block_is_drained
our_job_is_changed
time_of_a_block_is_moved
nothing_is_left
