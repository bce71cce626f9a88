# Jobs that flmd asks PBS for while there is work, and gives back; PBS of either kind.
# shellcheck shell=bash disable=SC2016,SC2031,SC2154 # what is quoted is for the shells that wait_for starts

export -f jobs_of

# A session manager on the login node; what it says is in flmd.log.
login() {
    engine --backend pbs --slots 2 --backlog 2 --backend-option "output=$TEST_DIR/blocks" --backend-option look=1 "$@"
}

nodes_are() { # WHAT N: nodes of jobs that run
    wait_for "$1" bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" = '"$2 ]"
}

running_jobs() {
    jobs_of R
}

queue_is_empty() {
    wait_for "the queue is empty ($1)" bash -c '[ -z "$(jobs_of QRHWES)" ]'
}

work() { # N MICROSECONDS
    start ping flmping -t "$1" -d "$2" --sleep --json
    ping=$pid
}

# Commands that last until they are let go, and then each gives its number.
hold() { # N
    start held flmexec -- sh -c 'until [ -e "$0" ]; do sleep 0.1; done; echo {}' "$PWD/go" ::: $(seq "$1")
    held=$pid
}

let_go() { # WHAT N
    touch go
    wait "$held"
    check_equal "$1: each of a command" "0 $2" "$? $(sort held.log | uniq -u | wc -l)"
    rm go
}

asked_again() { # it answers the first question that comes now
    local before
    before=$(fake-pbs asked)
    wait_for "$1" bash -c '[ "$(fake-pbs asked)" -gt '"$before ]"
}

comes_and_goes() {
    login --max-blocks 3 --block-time 10 --site-options '-p 100'
    run flmctl backend --dry-run
    check_match 'a dry run shows the request' "$out" \
        'qsub -f -r n .*-l select=1:ncpus=2:mpiprocs=2 -l walltime=600 -p 100 SCRIPT'
    check_equal 'without work there is no job' '' "$(jobs_of QRHWES)"
    check_equal 'and no node' '[]' "$(flmctl -o json list -n | jq -c .)"
    hold 12
    wait_for 'with work there are jobs' bash -c '[ "$(jobs_of R | wc -l)" = 3 ]'
    check_match 'by readable names' "$(qstat -f -F json | jq -r '.Jobs[].Job_Name' | head -n 1)" '^flame_flmexec'
    wait_for 'whose nodes join while tasks run' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 6 ]'
    wait_for 'they know when they end' bash -c 'flmctl -o json list -n | jq -e "[.[].time_left_s | select(. > 500 and . <= 600)] | length == 3"'
    let_go 'jobs come and go' 12
    queue_is_empty 'given back when the work is done'
    check_equal 'flmctl tells which jobs ran how many' "$(flmctl -o json list | jq 'last | .succeed')" \
        "$(flmctl -o json view "$(flmctl -o json list | jq -r 'last | .id')" | jq '[.places[].tasks] | add')"
    check_equal 'and nothing was said about it' '' "$(grep 'a job for more nodes' flmd.log)"
    engine_end
    check_equal 'no script is left' '' "$(find "$HOME/.config/flame" -name 'environment-*')"
}

# One agent that dies is one node less, also the one beside the job's script.
several_nodes() {
    login --max-blocks 1 --block-nodes 3 --block-time 10
    run flmctl backend --dry-run
    check_match 'a job of several nodes is asked for' "$out" \
        '-l select=3:ncpus=2:mpiprocs=2 -l place=scatter -W tolerate_node_failures=all -l walltime=600 SCRIPT'
    hold 9
    wait_for 'all its nodes join' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 6 ]'
    check_equal 'they are one block, the job' "n1 n2 n3 $(jobs_of R)" \
        "$(flmctl -o json list -n | jq -r '[.[].name] + ([.[].block] | unique) | sort_by(.[0:1] != "n", .) | join(" ")')"
    kill_on n2 flm-node
    nodes_are 'an agent that is killed is one node less' 2
    kill_on n1 flm-node
    nodes_are 'the first one, too' 1
    check_equal 'and the job goes on' 1 "$(jobs_of R | wc -l)"
    let_go 'a job of several nodes' 9
    queue_is_empty 'given back when the work is done'
    check_equal 'no retry was charged' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    nothing_is_left
}

# Not the one with the job's script: the others go on.
one_of_several_dies() {
    login --max-blocks 1 --block-nodes 3
    hold 9
    nodes_are 'all nodes of a job join' 3
    fault kill-node n3
    nodes_are 'one that loses power is one node less' 2
    let_go 'a node of a job loses power' 9
    check_equal 'it was one job all the time' 1 "$(flmctl -o json view "$(flmctl -o json list | jq -r 'last | .id')" | jq '[.places[].block] | unique | length')"
    check_equal 'and no retry was charged' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    queue_is_empty 'a node is dead'
    if [ "$pbs" = openpbs ]; then
        fault revive-node n3
        fault wait-node n3 free || fail 'the node comes back'
    else
        fault online n3
    fi
    nothing_is_left
}

several_nodes_are_deleted() {
    login --max-blocks 1 --block-nodes 2 --site-options '-l select=2:ncpus=3:mpiprocs=3 -r n'
    hold 7
    nodes_are 'options of the site that say the same' 2
    wait_for 'and run it' bash -c '[ "$(flmctl -o json list | jq "last | .running")" -ge 4 ]'
    victim=$(jobs_of R)
    check 'qdel takes it' qdel "$victim"
    wait_for 'another takes its place' bash -c "flmctl -o json list -n | jq -e 'map(select(.name != \"\")) | length == 2 and .[0].block != \"$victim\"'"
    let_go 'a job of several nodes is deleted' 7
    engine_end
    queue_is_empty 'after that'
    nothing_is_left
}

stays_within_limits() {
    login --min-blocks 1 --max-blocks 2
    wait_for 'the least number of jobs is there without work' bash -c '[ "$(jobs_of R | wc -l)" = 1 ]'
    run flmping -t 20 -d 50000 --sleep --json
    check_equal 'tasks flow' 0 "$status"
    wait_for 'and one stays when the work is done' bash -c '[ "$(jobs_of R | wc -l)" = 1 ]'
    engine_end
    queue_is_empty 'at the end of flmd'
}

job_is_deleted() {
    login --min-blocks 2 --max-blocks 2
    hold 7
    nodes_are 'two jobs run' 2
    wait_for 'and run it' bash -c '[ "$(flmctl -o json list | jq "last | .running")" = 4 ]'
    victim=$(flmctl -o json list -n | jq -r '.[0].block')
    check 'qdel takes it' qdel "$victim"
    wait_for 'it is gone' bash -c "flmctl -o json list -n | jq -e 'map(select(.block == \"$victim\")) == []'"
    let_go 'a job is deleted' 7
    check_equal 'no retry was charged' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    queue_is_empty 'after that'
}

# What it has begun is run again by the next one.
time_is_over() {
    login --max-blocks 1 --block-time 10
    hold 5
    wait_for 'a job runs two' bash -c '[ "$(flmctl -o json list | jq "last | .running")" = 2 ]'
    first=$(jobs_of R)
    check 'its walltime is cut to what it has used' qalter -l walltime=1 "$first"
    wait_for 'the next job comes' bash -c "flmctl -o json list -n | jq -e 'map(select(.name != \"\")) | length == 1 and .[0].block != \"$first\"'"
    let_go 'the time of a job is over' 5
    check_equal 'and no retry was charged for it' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    queue_is_empty 'after that'
}

waits_in_vain() {
    login --max-blocks 1 --site-options "$1"
    work 10 0
    wait_for "flmd says why a job waits ($2)" grep -q "waits: $2" flmd.log
    check_equal 'flmctl shows it' "$(jobs_of Q)|Pending|true" \
        "$(flmctl -o json list -n | jq -r --arg why "$2" '.[] | select(.name == "") | "\(.block)|\(.state)|\(.trouble | test($why))"')"
    check_equal 'and it is no node' 0 "$(flmctl -o json status | jq .nodes)"
    kill -INT "$ping"
    wait "$ping"
    queue_is_empty 'when the work has gone'
    engine_end
}

is_refused() { # OPTIONS WHY [OPTION...]
    login --max-blocks 1 --site-options "$1" "${@:3}"
    work 10 0
    wait_for "flmd says why a job is refused ($2)" grep -q "$2" flmd.log
    kill -INT "$ping"
    wait "$ping"
    engine_end
    check_equal 'it said so once' 1 "$(grep -c "$2" flmd.log)"
    check_equal 'no script is left' '' "$(find "$HOME/.config/flame" -name 'environment-*')"
}

manager_is_killed() {
    login --max-blocks 3
    work 1000 100000
    wait_for 'jobs run' bash -c '[ "$(flmctl -o json list -n | jq "map(select(.name != \"\")) | length")" -ge 1 ]'
    kill -KILL "$flmd"
    wait "$ping" 2>/dev/null
    queue_is_empty 'flmd is killed'
    rm -f "$TEST_DIR/run/flmd.sock"
}

# Where the server forgets jobs at once.
no_history() {
    if [ "$pbs" = openpbs ]; then qmgr -c 'set server job_history_enable=False'; else fault no-history; fi
    login --min-blocks 2 --max-blocks 2
    hold 7
    wait_for 'two jobs run, and are known to' bash -c 'flmctl -o json list -n | jq -e "map(select(.state == \"Up\")) | length == 2"'
    victim=$(flmctl -o json list -n | jq -r '.[0].block')
    check 'qdel takes one' qdel "$victim"
    wait_for 'flmd says that nobody knows it' grep -q "PBS knows no job $victim any more" flmd.log
    let_go 'a server without a history' 7
    engine_end
    queue_is_empty 'after that'
}

# Its answers are cut short, and then there are none.
server_is_down() {
    login --min-blocks 2 --max-blocks 2
    hold 7
    nodes_are 'two jobs run' 2
    jobs=$(jobs_of R)
    if [ "$pbs" = openpbs ]; then
        fault stop-server
        sleep 30
        fault start-server
    else
        fault cut-answers
        asked_again 'it is asked meanwhile'
        fault cut
        asked_again 'and again'
        fault whole-answers
        fault heal
    fi
    wait_for 'the jobs are the same' bash -c '[ "$(jobs_of R)" = "$0" ]' "$jobs"
    let_go 'the server was down' 7
    check_equal 'no job was taken for one that has ended' '' "$(grep 'has ended' flmd.log)"
    check_equal 'and no retry was charged' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
    engine_end
    queue_is_empty 'after that'
}

node_is_offlined() {
    login --max-blocks 1
    hold 6
    nodes_are 'a job runs' 1
    node=$(flmctl -o json list -n | jq -r '.[0].name') first=$(flmctl -o json list -n | jq -r '.[0].block')
    fault offline "$node"
    wait_for 'flmd says so' grep -q "node $node is being drained: job $first begins no more" flmd.log
    let_go 'a node is taken out of service' 6
    fault online "$node"
    engine_end
    queue_is_empty 'after that'
}

flmrun_grows() {
    PATH=$1:$PATH run timeout 100 flmrun --backend pbs --max-nodes 2 --site-options '-l select=1:ncpus=2:mpiprocs=2' -- flmping -t 20 -d 50000 --sleep --json
    check_equal 'flmrun on a login node: each result once' '0 20 0 0' \
        "$status $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' <<<"$out")"
    queue_is_empty 'at the end of flmrun'
    job -l select=1:ncpus=2:mpiprocs=2 -- flmrun --max-nodes 2 --site-options '-l select=1:ncpus=4:mpiprocs=4' -- sh -c '
        flmexec -- sh -c "until [ -e grown ]; do sleep 0.1; done; echo {}" ::: $(seq 100) &
        until [ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 6 ]; do sleep 0.05; done
        touch grown
        wait $!'
    check_equal 'flmrun in a job that grows to all nodes that it might have: each of a command' '0 100' \
        "$status $(sort <<<"$out" | uniq -u | wc -l)"
    queue_is_empty 'at the end of the job'
}

battery_blocks() {
    cluster 3
    comes_and_goes
    several_nodes
    one_of_several_dies
    several_nodes_are_deleted
    flmrun_grows "$TEST_DIR"
    stays_within_limits
    job_is_deleted
    time_is_over
    waits_in_vain '-q stopped' 'Queue not started'
    waits_in_vain '-l select=1:ncpus=5' 'Insufficient amount of resource: ncpus'
    is_refused '-q nowhere' 'qsub does not take the job: qsub: Unknown queue'
    is_refused '-l select=1:nosuch=1' 'qsub does not take the job: qsub: Unknown resource'
    is_refused '-l select=1:ncpus=2' "the site's options ask for 1 chunk, but a job is to have 2 nodes" --block-nodes 2
    is_refused '-l select=1:ncpus=2+2:ncpus=1' "ask for 3 chunks, but a job is to have 1 node: say the same"
    is_refused '-I' 'jobs that are submitted with -I cannot be followed'
    server_is_down
    node_is_offlined
    manager_is_killed
    outlives_flmd
    is_left_alone
    no_history
    nothing_is_left
}
