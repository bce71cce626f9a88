#!/bin/bash
# Large outputs that a client reads on the node where they were made: who goes meanwhile, and who cannot.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

[ -n "$(transports | tail -n +2)" ] || skip 'libfabric has no provider here'
transport='tcp;ofi_rxm'
outputs=$FLM_BUILDDIR/tests/system/outputs
all='8 right, 0 gone'
cd "$TEST_DIR" || exit 1

executors_have_done() {
    flmctl -o json list -e | jq '[.[].done] | add // 0'
}
export -f executors_have_done

begin() { # WHAT: a client that has 8 outputs to read, all made, and does not
    local before
    before=$(executors_have_done)
    rm -f log mark
    start client "$outputs" "$TEST_DIR/log" "$TEST_DIR/mark"
    client=$pid
    wait_for "$1: a client has sent tasks" bash -c "[ \"\$(flmctl -o json list | jq 'last | .pending + .running')\" = 8 ]"
    kill -STOP "$client"
    touch mark
    wait_for "$1: all have been made" bash -c "[ \"\$(executors_have_done)\" = $((before + 8)) ]"
    check_equal 'they are not over before they were read' 'Open 0 8 0 0 0 0' "$(newest)"
}

goes_on() { # EXPECTED, RUNS
    kill -CONT "$client"
    wait "$client"
    check_equal 'then each is there once' "$1" "$(cat client.log)"
    check_equal "and there were $2 runs" "$2" "$(wc -l <log)"
}

all_is_well() { # WHAT
    rm -f log
    touch mark
    run "$outputs" "$TEST_DIR/log" "$TEST_DIR/mark"
    check_equal "$1" "$all, 8 runs" "$out$err, $(wc -l <log) runs"
}

memory_of_flmd() { # pieces, for payloads; it keeps them for some seconds
    find "/proc/$flmd/fd" -lname '/memfd:flm-blob*' | wc -l
}

node() { # NAME [OPTION]...: with one executor
    mkdir -m 700 "$1"
    start "$1" flm-node --endpoint "$FLM_ENDPOINT" --name "$1" --slots 1 --directory "$TEST_DIR/$1" \
        --provider "$transport" "${@:2}"
    agent=$pid
    wait_for "node $1 is there" bash -c "flmctl -o json list -e | jq -e '.[] | select(.node == \"$1\" and .state != \"Void\")' >/dev/null"
}

engine -n 2
all_is_well 'outputs go from the node to the client'
check_equal 'and not through flmd' 0 "$(memory_of_flmd)"

begin 'executors that are killed'
for pid in $(executors); do
    kill -KILL "$pid"
done
wait_for 'flmd knows' bash -c "[ \"\$(flmctl -o json list -e | jq '[.[].restarts] | min')\" -ge 1 ]"
goes_on "$all" 8

begin 'a client that is killed'
kill -KILL "$client"
wait_for 'its session is over' bash -c "[ \"\$(flmctl -o json list | jq -r 'last.state')\" = Closed ]"
check_equal 'and its tasks are' 'Closed 0 0 0 0 8 0' "$(newest)"
all_is_well 'others have their outputs'

begin 'a session that is deleted'
flmctl delete --force "$(flmctl -o json list | jq -r last.id)" >/dev/null
wait_for 'it is gone before its client looks' bash -c "[ -z \"\$(flmctl -o json list | jq -r '.[] | select(.running > 0)')\" ]"
goes_on '0 right, 8 gone' 8
all_is_well 'the next one has its outputs'

begin 'flmd ends'
engine_end
goes_on '0 right, 8 gone' 8

engine --backend none
node first
begin 'a node that is lost'
kill -KILL "$agent"
wait_for 'flmd knows' bash -c "[ \"\$(flmctl -o json list -n | jq length)\" = 0 ]"
node second
goes_on "$all" 16
all_is_well 'its client reads on other nodes'
check_equal 'and not through flmd' 0 "$(memory_of_flmd)"
kill "$agent"

wait_for 'no node is left' bash -c "[ \"\$(flmctl -o json list -n | jq length)\" = 0 ]"

node finishes --grace 60
begin 'a node that is told to end'
kill "$agent"
wait_for 'flmd knows' bash -c "flmctl -o json list -n | jq -e '.[] | select(.state == \"Drained\")' >/dev/null"
sleep 2
goes_on "$all" 8
wait_for 'then it ends' bash -c "! kill -0 $agent 2>/dev/null"
wait_for 'no node is left' bash -c "[ \"\$(flmctl -o json list -n | jq length)\" = 0 ]"

# A node that lives, and from which nothing comes.
if [ -z "${FLM_TEST_SANITIZERS:-}" ]; then # they want to be loaded first
    export LD_PRELOAD=$FLM_BUILDDIR/tests/system/.libs/stall.so FLM_STALL=$TEST_DIR/stall
    node slow
    unset LD_PRELOAD
    begin 'a client that does not look'
    touch stall
    kill -CONT "$client"
    sleep 1 # it reads
    kill -STOP "$client"
    sleep 12
    kill -CONT "$client"
    sleep 0.5
    rm stall
    goes_on "$all" 8
    begin 'a node of which nothing comes'
    touch stall
    kill -CONT "$client"
    wait_for 'its client gives it up' grep -q 'cannot read large outputs on node slow itself' flmd.log
    rm stall
    goes_on "$all" 16
    all_is_well 'from then on that client has them through flmd, others on the node'
    check_equal 'which kills nobody' '' "$(kill -0 "$agent" 2>&1)"
fi
engine_end
