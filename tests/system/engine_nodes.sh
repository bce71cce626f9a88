#!/bin/bash
# Several nodes on this machine: agents that are told so, and, as root, agents in network namespaces of
# their own that reach the session manager over TCP and its tasks over tcp;ofi_rxm.

# As root in a network of its own: tests run side by side, and libfabric takes any address that it finds
# in the machine, also one that goes away with this test.
if [ -z "${FLM_TEST_OWN_NETWORK:-}" ] && [ "$(id -u)" = 0 ] && unshare -n ip link set lo up 2>/dev/null; then
    export FLM_TEST_OWN_NETWORK=1
    # shellcheck disable=SC2016
    exec unshare -n "$BASH" -c 'ip link set lo up && exec "$BASH" "$@"' "$0" "$0" "$@"
fi
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

[ "$(transports | wc -l)" -gt 1 ] || skip 'built without libfabric'
odd=$services/odd.so

# An agent in a network namespace: node NAME NUMBER
node() {
    ip netns add "$1" && namespaces+=("$1")
    ip link add "v$2-$$" type veth peer name eth0 netns "$1"
    ip link set "v$2-$$" master "$bridge"
    ip link set "v$2-$$" up
    ip -n "$1" addr add "10.213.$net.$2/24" dev eth0
    ip -n "$1" link set eth0 up
    ip -n "$1" link set lo up
    mkdir -m 0700 "$TEST_DIR/$1"
    start "$1" ip netns exec "$1" flm-node --endpoint "$tcp" --secret-file "$TEST_DIR/secret" --name "$1" \
        --slots 2 --directory "$TEST_DIR/$1"
}

namespaces=()
cleanup() {
    for n in "${namespaces[@]}"; do ip netns del "$n" 2>/dev/null; done
    [ -z "${bridge:-}" ] || ip link del "$bridge" 2>/dev/null
    return 0 # what is gone already is no failure
}

two_agents_on_this_machine() {
    engine --nodes 2 -n 2 --provider 'tcp;ofi_rxm'
    idle_executors 4
    check_equal 'two agents are two nodes' 2 "$(flmctl -o json list -n | jq length)"
    run flmping -t 50000 -d 20 --json
    check_equal 'tasks flow to both' "0 0 4" "$status $(jq -r '"\(.failed) \(.executors)"' <<<"$out")"
    run "$client" -l "$odd" -c 'shared by all' -i common -n 400
    check_equal 'common data reach both' '400 x Succeed none 0 [shared by all v1]' "$out"
    run flmping -t 40 -s 500000 -o 500000 --json
    check_equal 'large payloads too' "0 0" "$status $(jq -r .failed <<<"$out")"
    engine_end
}

network_namespaces() {
    bridge=fb$$
    net=$(($$ % 250))
    trap 'cleanup; finish' EXIT
    ip link add "$bridge" type bridge && ip addr add "10.213.$net.254/24" dev "$bridge" && ip link set "$bridge" up ||
        fail 'a bridge can be made'
    engine --backend none -e "tcp:10.213.$net.254:0" --secret-file "$TEST_DIR/secret" --loss-time 2000
    tcp=$(flmctl -o json status | jq -r .endpoint | tr , '\n' | grep tcp:)
    node "na$$" 1
    node "nb$$" 2
    nb=$pid
    idle_executors 4
    run flmping -t 100000 -d 10 --json
    check_equal 'tasks flow to two namespaces' "0 0 4" "$status $(jq -r '"\(.failed) \(.executors)"' <<<"$out")"
    run flmping -t 20 -s 3000000 -o 3000000 --json
    check_equal 'large payloads, by RMA' "0 0" "$status $(jq -r .failed <<<"$out")"
    start ping flmping -t 30000 -d 500 --json
    ping=$pid
    sleep 1
    ip -n "nb$$" link set eth0 down # a node that is cut off sends no FIN
    wait $ping
    check_equal 'a node that is cut off: its tasks run elsewhere, each once' 0 $?
    check_equal 'it was given up' 1 "$(flmctl -o json list -n | jq length)"
    wait_for 'its agent ends by itself' bash -c "! kill -0 $nb 2>/dev/null"
    engine_end
    cleanup
}

two_agents_on_this_machine
if [ -n "${FLM_TEST_OWN_NETWORK:-}" ] && ip netns add "probe$$" 2>/dev/null; then
    ip netns del "probe$$"
    network_namespaces
else
    echo 'skipped - network namespaces: needs root and ip netns'
fi
