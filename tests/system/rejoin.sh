#!/bin/bash
# Agents and executors outlive flmd: what they run goes on, what they hold arrives, and when nobody comes they
# end.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so
export STEADY_TRACE=$TEST_DIR/trace STEADY_GATE=$TEST_DIR/gate STEADY_GATED=0

begin() { # ARGUMENT...
    engine -n 2 --state-dir "$TEST_DIR/state" "$@"
}

killed() { # flmd
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}

submit() { # ID ARGUMENT...: to a durable session, and leave
    local id=$1
    shift
    check "$id: tasks are submitted" "$steady" -I "$id" -l "$service" -L "$TEST_DIR/$id.ids" -D journal -d "$@"
}

take_all() { # ID N ARGUMENT...
    local id=$1 n=$2
    shift 2
    check "$id: another client takes the results" "$steady" -I "$id" -l "$service" -L "$TEST_DIR/$id.ids" -D journal -n "$n" -c "$@"
    check_equal "$id: each result has come once" "$n $n" "$(sort -un "$id.ids" | wc -l) $(wc -l <"$id.ids")"
}

traced() { # TEXT N: at least so many lines say so
    [ "$(grep -c "$1" trace)" -ge "$2" ]
}

agents() {
    grep -lszx "FLM_TEST_ID=$FLM_TEST_ID" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 |
        while read -r p; do [ "$(cat "/proc/$p/comm" 2>/dev/null)" != flm-node ] || echo "$p"; done
}

no_agent() {
    [ -z "$(agents)" ]
}

counts() { # "Pending Running Succeed Failed Retried" of a session
    flmctl -o json list | jq -r ".[] | select(.id == \"$1\") | \"\(.pending) \(.running) \(.succeed) \(.failed) \(.retried)\""
}

clean() {
    engine_end
    rm -rf state trace gate ./*.ids
}

long_tasks() {
    STEADY_GATED=1000 begin
    submit long -n 300
    wait_for 'two tasks run' traced begin 2
    before=$(executors | sort)
    agent=$(agents)
    killed
    STEADY_GATED=1000 begin
    check_equal 'the agent is the same' "$agent" "$(agents)"
    check_equal 'the executors are the same' "$before" "$(executors | sort)"
    check_equal 'what they run counts as running' '298 2 0 0 0' "$(counts long)"
    killed # twice in a row
    STEADY_GATED=1000 begin
    touch gate
    take_all long 300
    check_equal 'each task ran once' 300 "$(grep -c begin trace)"
    check_equal 'sessions were entered once' 2 "$(grep -c enter trace)"
    clean
}

held_results() { # ARGUMENT...
    begin
    submit held -n 2000 "$@"
    wait_for 'tasks run' traced begin 50
    kill -STOP "$flmd" # what was sent ahead is run, and nobody takes the results
    sleep 0.2
    killed
    begin
    take_all held 2000 "$@"
    clean
}

# Of each executor that was killed meanwhile another takes the place, and the task runs again.
executor_killed() {
    STEADY_GATED=1000 begin
    submit lost -n 20
    wait_for 'two tasks run' traced begin 2
    victim=$(executors | head -n 1)
    killed
    kill -KILL "$victim"
    STEADY_GATED=1000 begin
    touch gate
    take_all lost 20
    check_equal 'one of the two ran twice' 21 "$(grep -c begin trace)"
    clean
}

not_durable() {
    STEADY_GATED=1000 begin
    start volatile "$steady" -I volatile -l "$service" -L volatile.ids -n 10
    wait_for 'a task runs' traced begin 1
    agent=$(agents) busy=$(sed -n 's/begin \([0-9]*\) .*/\1/p' trace | head -n 1)
    killed
    wait_for 'its executor ends' bash -c "! kill -0 $busy"
    begin
    check_equal 'the agent is the same' "$agent" "$(agents)"
    touch gate
    submit other -n 10
    take_all other 10
    clean
}

nobody_comes() {
    STEADY_GATED=1000 begin --rejoin-time 1
    submit nobody -n 10
    wait_for 'two tasks run' traced begin 2
    killed
    wait_for 'all end when the time is over' no_agent
    rm -rf state trace ./*.ids
}

other_settings() {
    begin
    agent=$(agents)
    killed
    engine -n 1 --state-dir "$TEST_DIR/state"
    idle_executors 1
    check 'with other settings there is another agent' [ "$agent" != "$(agents)" ]
    clean
}

for transport in $(transports); do
    long_tasks
    held_results
done
transport=ring
held_results -o 60000
executor_killed
not_durable
other_settings
nobody_comes
