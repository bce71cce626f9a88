#!/bin/bash
# Jobs that flmd asks Slurm for while there is work, and gives back.
# shellcheck disable=SC2016,SC2031 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 3

# A session manager on the login node; what it says is in flmd.log.
login() {
    engine --backend slurm --slots 2 --backlog 2 --backend-option "output=$TEST_DIR/c/block-%j" "$@"
}

queued() { # jobs of ours in the queue
    squeue -h -o '%j %t' | grep -c "$1"
}

running_jobs() {
    squeue -h -o %i
}

queue_is_empty() {
    wait_for "the queue is empty ($1)" bash -c '[ -z "$(squeue -h)" ]'
}

comes_and_goes() {
    login --max-blocks 3 --block-time 10 --site-options '--comment=flame -p main'
    run flmctl backend --dry-run
    check_match 'a dry run shows the request' "$out" \
        '^sbatch .*--nodes=1 --time=10 --ntasks-per-node=2 --comment=flame -p main --wrap '
    check_equal 'without work there is no job' 0 "$(queued flame)"
    check_equal 'and no node' '[]' "$(flmctl -o json list -n | jq -c .)"
    start ping flmping -t 300 -d 100000 --json
    ping=$pid
    wait_for 'with work there are jobs' bash -c '[ "$(squeue -h -t R -o %j | grep -c ^flame:flmping)" = 3 ]'
    wait_for 'whose nodes join while tasks run' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 6 ]'
    check_equal 'the comment that the user gives stays' flame "$(squeue -h -o %k | sort -u)"
    wait $ping
    check_equal 'each result comes once' '0 300 0 0' "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
    queue_is_empty 'given back when the work is done'
    check_equal 'flmctl tells which jobs ran how many' "$(flmctl -o json list | jq 'last | .succeed')" \
        "$(flmctl -o json view "$(flmctl -o json list | jq -r 'last | .id')" | jq '[.places[] | select(.block | test("^[0-9]+$")) | .tasks] | add')"
    check_equal 'and nothing was said about it' '' "$(grep 'a job for more nodes' flmd.log)"
    engine_end
}

stays_within_limits() {
    login --min-blocks 1 --max-blocks 2
    wait_for 'a job says what it does' bash -c 'squeue -h -o %k | grep -qxE "flame: 0 of 0 tasks done, [0-2] executors?"'
    wait_for 'the least number of jobs is there without work' bash -c '[ "$(squeue -h -t R -o %j | grep -c ^flame)" = 1 ]'
    run flmping -t 60 -d 100000 --json
    check_equal 'tasks flow' 0 "$status"
    sleep 2
    check_equal 'and stays when the work is done' 1 "$(queued flame)"
    engine_end
    queue_is_empty 'at the end of flmd'
    check_match 'at its end a job says how much was done' "$(scontrol show jobs | grep Comment=)" \
        '^ *Comment=flame: 6[0-9] of 6[0-9] tasks done *$'
}

block_is_cancelled() {
    login --max-blocks 2
    start ping flmping -t 500 -d 100000 --json
    ping=$pid
    wait_for 'two jobs run' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" = 2 ]'
    victim=$(flmctl -o json list -n | jq -r '.[0].block')
    scancel "$victim"
    wait_for 'it says what became of it' grep -q "job $victim was cancelled" flmd.log
    wait $ping
    check_equal 'a job is cancelled: each result comes once' '0 500 0 0' \
        "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
    check_equal 'no retry was charged' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    queue_is_empty 'after that'
}

# As at the end of its time, or when Slurm preempts it: SIGTERM to the step first.
block_is_told_to_end() {
    login --max-blocks 2 --loss-time 60000
    start ping flmping -t 28 -d 1500000 --json
    ping=$pid
    wait_for 'two jobs run tasks' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 4 ]'
    sleep 1
    victim=$(flmctl -o json list -n | jq -r '.[0].block')
    scancel -s TERM "$victim.0"
    wait_for 'it ends by itself, when its tasks are done' bash -c "! squeue -h -o %i -t R | grep -qx $victim"
    check_equal 'and none of them was begun again' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    wait $ping
    check_equal 'a block is told to end: each result comes once' '0 28 0 0' \
        "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
    engine_end
    queue_is_empty 'after that'
}

# Commands that last until `release`: however late Slurm is, there is work then.
hold() {
    rm -f go
    held_tasks=$1
    start held flmexec -- sh -c 'until [ -e "$0" ]; do sleep 0.1; done; echo {}' "$PWD/go" ::: $(seq "$1")
    held=$pid
}

release() {
    touch go
    wait "$held"
    check_equal "$1: and each of a command" "0 $held_tasks" "$? $(sort held.log | uniq -u | wc -l)"
}

block_is_preempted() {
    login --max-blocks 2 --site-options '-p spot'
    hold 8
    start ping flmping -t 300 -d 100000 --json
    ping=$pid
    wait_for 'two jobs run where others go first' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" = 2 ]'
    submit -p main -N3 --exclusive -- sleep 3
    wait_for 'they make room' bash -c "squeue -h -t R -o %i | grep -qx $job"
    job_end
    wait_for 'and come again' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" -ge 1 ]'
    release preempted
    wait $ping
    check_equal 'preempted: each result comes once' '0 300 0 0' \
        "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
    check_equal 'and no retry was charged' '0 0' "$(flmctl -o json list | jq -r 'map(.retried) | join(" ")')"
    engine_end
    queue_is_empty 'after that'
}

waits_in_vain() {
    login --max-blocks 2 --site-options '--begin=now+1hour --comment=later'
    start ping flmping -t 10 --json
    ping=$pid
    wait_for 'a job that cannot start yet waits' bash -c '[ "$(squeue -h -t PD -o %r)" = BeginTime ]'
    wait_for 'it says why' grep -q 'waits: BeginTime' flmd.log
    check_equal 'flmctl shows it' "$(squeue -h -o %A)|Pending|true" \
        "$(flmctl -o json list -n | jq -r '.[] | select(.name == "") | "\(.block)|\(.state)|\(.trouble | test("BeginTime"))"')"
    check_equal 'and it is no node' 0 "$(flmctl -o json status | jq .nodes)"
    kill -INT $ping
    wait $ping
    queue_is_empty 'when the work has gone'
    engine_end
}

is_refused() {
    login --max-blocks 2 --site-options '-p nowhere'
    start ping flmping -t 10 --json
    ping=$pid
    wait_for 'a partition that is none: it says so' grep -q 'sbatch does not take the job: .*partition' flmd.log
    kill -INT $ping
    wait $ping
    engine_end
    check_equal 'it said so once' 1 "$(grep -c 'sbatch does not take the job' flmd.log)"
}

manager_is_killed() {
    login --max-blocks 3
    start ping flmping -t 1000 -d 100000 --json
    ping=$pid
    wait_for 'jobs run' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" -ge 1 ]'
    kill -KILL "$flmd"
    wait $ping 2>/dev/null
    queue_is_empty 'flmd is killed'
    rm -f "$TEST_DIR/run/flmd.sock"
}

# Slurm has taken the job, and nobody lives who knows of it.
nobody_knows_it() {
    mkdir -p half
    printf '#!/bin/sh\n%s "$@"\nexec sleep 1000\n' "$(command -v sbatch)" >half/sbatch
    chmod +x half/sbatch
    PATH=$PWD/half:$PATH login --max-blocks 1
    start ping flmping -t 10 -d 100000 --json
    ping=$pid
    wait_for 'sbatch has submitted a job and says nothing' bash -c '[ "$(squeue -h -o %j | grep -c ^flame)" = 1 ]'
    # flmd, flm-backend and sbatch at once
    kill -KILL "$flmd" $(pgrep -P "$flmd" -x flm-backend) $(pgrep -f "sleep 1000" -P "$(pgrep -P "$flmd" -x flm-backend)")
    wait $ping 2>/dev/null
    queue_is_empty 'a job that nobody knows ends by itself'
    rm -rf "$TEST_DIR/run/flmd.sock" half
}

# The work outlasts the break. A step that ends while there is no controller tries for over a minute to tell it.
controller_is_down() {
    login --max-blocks 2
    start ping flmping -t 400 -d 100000 --json
    ping=$pid
    wait_for 'two jobs run' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" = 2 ]'
    testbed stop-ctld
    sleep 5
    testbed start-ctld
    wait $ping
    check_equal 'the controller was down: each result comes once' '0 400 0 0' \
        "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
    engine_end
    queue_is_empty 'after that'
}

# A client that reads its outputs on the nodes, and has stopped meanwhile.
keeps_what_is_not_read() {
    local provider='tcp;ofi_rxm'
    login --max-blocks 1 --provider "$provider"
    rm -f log mark
    FLM_PROVIDER=$provider start client "$FLM_BUILDDIR/tests/system/outputs" "$TEST_DIR/log" "$TEST_DIR/mark"
    wait_for 'a node has its tasks' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 2 ]'
    kill -STOP "$pid"
    touch mark
    wait_for 'nobody needs it but for the outputs' \
        bash -c '[ "$(flmctl -o json list -e | jq -r "map(select(.done > 0 and .state == \"Idle\")) | map(.done) | add // 0")" = 8 ]'
    sleep 3 # else it would be given back now
    kill -CONT "$pid"
    wait "$pid"
    check_equal 'a job keeps outputs that nobody has read' '8 right, 0 gone, 8 runs' "$(cat client.log), $(wc -l <log) runs"
    queue_is_empty 'after that'
    engine_end
}

flmrun_grows() {
    run timeout 100 flmrun --max-nodes 2 --site-options '-n 2' -- flmping -t 200 -d 50000 --json
    check_equal 'flmrun on a login node: each result once' '0 200 0 0' \
        "$status $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' <<<"$out")"
    queue_is_empty 'at the end of flmrun'
    job -N1 -n2 -- flmrun --max-nodes 3 --site-options '-n 4' -- flmping -t 3000 -d 100000 --json
    check_equal 'flmrun in a job that grows: each result once' '0 3000 0 0' \
        "$status $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' <<<"$out")"
    check_equal 'on all nodes that it might have' 10 "$(jq -r .executors <<<"$out")"
    queue_is_empty 'at the end of the job'
}

comes_and_goes
keeps_what_is_not_read
flmrun_grows
stays_within_limits
block_is_cancelled
block_is_told_to_end
block_is_preempted
waits_in_vain
is_refused
manager_is_killed
nobody_knows_it
controller_is_down
nothing_is_left
outlives_flmd
is_left_alone
