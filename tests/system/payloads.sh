#!/bin/bash
# Large payloads: their memory is used again, and what somebody still looks at is not touched.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

payloads() { # WHAT, EXPECTED, CASE
    run "$FLM_BUILDDIR/tests/system/payloads" "${@:3}"
    check_equal "$1" "$2" "$out$err"
}

for transport in $(transports); do
    engine -n 2 --state-dir "$TEST_DIR/state-${transport%;*}"
    payloads "memory of the library's is shared with the node ($transport)" \
        "$([ "$transport" = ring ] && echo 'the very memory' || echo elsewhere)" shared
    payloads "but not in a session with durability ($transport)" elsewhere shared journal
    payloads "nor in one that goes on without its client ($transport)" elsewhere shared detached
    payloads "results that are held stay ($transport)" unchanged held
    [ "$transport" != ring ] || payloads 'outputs lie where others have lain' 'again and again' reused
    payloads "inputs lie where others have lain ($transport)" 'again and again' inputs
    # between nodes each attempt has memory of its own
    [ "$transport" != ring ] || payloads 'but not where an executor was lost' 'never again' lost "$TEST_DIR/mark"
    run "$FLM_BUILDDIR/tests/system/pieces"
    check_equal 'inputs lie in pieces, outputs come into memory of the client' right "$out$err"
    engine_end
done

# Between nodes an input stays with its client until the node that runs the task reads it there.
read_by_flmd() { # how many pieces of memory flmd has for inputs; it keeps them for some seconds
    find "/proc/$flmd/fd" -lname '/memfd:flm-blob*' | wc -l
}
[ -n "$(transports | tail -n +2)" ] || exit 0
transport='tcp;ofi_rxm'
engine -n 2
payloads 'inputs go from the client to the node' 'again and again' inputs
check_equal 'and not through flmd' 0 "$(read_by_flmd)"
payloads 'of a session that is cancelled, too' 'gone and well' cancel
check_equal 'and none went while a node read it' 0 "$(grep -c 'cannot read large inputs' "$TEST_DIR/flmd.log")"
payloads 'a client that no node reaches is read by flmd' 'again and again' deaf
check_match 'which says so' "$(cat "$TEST_DIR/flmd.log")" 'cannot read large inputs'
payloads 'others are not' 'again and again' inputs
engine_end

# As if the client, from which a node reads, did not answer any more.
node() { # NAME [OPTION]...
    mkdir -m 700 "$TEST_DIR/$1"
    start "$1" flm-node --endpoint "$FLM_ENDPOINT" --name "$1" --slots 1 --directory "$TEST_DIR/$1" "${@:2}"
    agent=$pid
}
stalled_client() {
    rm -f "$TEST_DIR/go"
    touch "$TEST_DIR/stall"
    FLM_PROVIDER=$transport FLM_STALL=$TEST_DIR/stall LD_PRELOAD=$FLM_BUILDDIR/tests/system/.libs/stall.so \
        start client "$FLM_BUILDDIR/tests/system/payloads" wait "$TEST_DIR/go"
    client=$pid
    wait_for 'a node has to read an input' bash -c "[ \"\$(flmctl -o json list | jq 'last | .running')\" -ge 1 ]"
}
answers() { # WHAT
    rm "$TEST_DIR/stall"
    touch "$TEST_DIR/go"
    wait "$client"
    check_equal "$1" 'all as sent' "$(cat "$TEST_DIR/client.log")"
}
if [ -z "${FLM_TEST_SANITIZERS:-}" ]; then # they want to be loaded first
    transport=$transport engine --backend none
    node killed --provider "$transport"
    stalled_client
    kill -KILL "$agent"
    wait_for 'its agent is killed' bash -c "[ \"\$(flmctl -o json list -n | jq length)\" = 0 ]"
    node next --provider "$transport"
    wait_for 'another has to read it' bash -c "[ \"\$(flmctl -o json list | jq 'last | .running')\" -ge 1 ]"
    answers 'then all inputs are read there'
    check_equal 'and not through flmd' 0 "$(grep -c 'cannot read large inputs' "$TEST_DIR/flmd.log")"
    stalled_client
    wait_for 'a client of which nothing comes is given up' grep -q 'node next cannot read large inputs' "$TEST_DIR/flmd.log"
    answers 'when it answers again all is well'
    engine_end
fi

# Executors on flmd's own node come later: flmd reads what they get.
transport=ring engine --backend none
rm -f "$TEST_DIR/go"
FLM_PROVIDER='tcp;ofi_rxm' start client "$FLM_BUILDDIR/tests/system/payloads" wait "$TEST_DIR/go"
client=$pid
wait_for 'the client is there before them' bash -c "[ \"\$(flmctl -o json list | jq '[last | .pending? // 0] | add')\" -ge 1 ]"
node far --provider 'tcp;ofi_rxm'
wait_for 'the far one has a task' bash -c "[ \"\$(flmctl -o json list | jq '[last | .running? // 0] | add')\" -ge 1 ]"
node near
wait_for 'the near one has, too' bash -c "[ \"\$(flmctl -o json list -e | jq '[.[] | select(.state == \"Bound\")] | length')\" = 2 ]"
touch "$TEST_DIR/go"
wait "$client"
check_equal 'both got what was sent' 'all as sent' "$(cat "$TEST_DIR/client.log")"
check_equal 'and the far one found the client' 0 "$(grep -c 'cannot read large inputs' "$TEST_DIR/flmd.log")"
engine_end
