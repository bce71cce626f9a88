#!/bin/bash
# Who comes in on a cluster: agents and clients of other nodes by munge, and those who should not.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
grep -q 'libmunge\.so' "$FLM_BUILDDIR/bin/flmd" || skip 'built without munge'
cluster 3
secrets() { find "$HOME" -name secret; }

# A job of three nodes with two executors each that is there until `let_go`.
hold() { # COMMAND...
    rm -f up free
    submit -N3 --ntasks-per-node=2 -t 10 -- "$@" sh -c '
        until [ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Idle\")] | length")" = 6 ]; do sleep 0.05; done
        env | grep ^FLM_ENDPOINT= >up.tmp && mv up.tmp up
        until [ -e free ]; do sleep 0.05; done'
}

let_go() {
    : >free
    job_end
    check_equal 'the job ends well' '0 ' "$status $err"
    nothing_is_left
}

on() { # NODE COMMAND...: in that node, with the instance's endpoint
    local node=$1
    shift
    testbed exec "$node" env "$(cat up)" PATH="$PATH" "$@"
}
refused() { on n1 flmctl -o json status | jq .refused; }
is_refused() { [ "$(refused)" = "$1" ]; }

by_munge() {
    hold flmrun --
    wait_for 'the agents of all nodes come in by munge' test -e up
    check_equal 'with no secret made, and nobody refused' '0 ' "$(refused) $(secrets)"
    run on n3 flmping -t 1000 --json
    check_equal 'so does a client on another node' '0 tcp;ofi_rxm' "$(jq -r '"\(.failed) \(.provider)"' <<<"$out")"
    install -m 755 "$FLM_BUILDDIR/bin/flmctl" flmctl-copy
    run on n2 setpriv --reuid 12345 --regid 12345 --clear-groups env HOME=/nonexistent "$TEST_DIR/flmctl-copy" status
    check_match 'another user of the cluster does not' "$status $err" '^[1-9].*for another user'
    wait_for 'and is counted' is_refused 1
    run on n3 env FLM_MUNGE_SOCKET=/nonexistent flmping -t 1000 --json
    check_equal 'a client without munge comes in by the secret, made for it' '0 1' \
        "$(jq -r .failed <<<"$out") $(secrets | wc -l)"
    run on n3 env FLM_MUNGE_SOCKET=/nonexistent FLM_SECRET_FILE=/nonexistent flmping -t 1000
    check_match 'without either it is told of both' "$status $err" '^[1-9].*/nonexistent.*munged does not answer'
    let_go
    rm -rf "$HOME/.config"
}

# A secret is made where munge would do.
by_secret() {
    hold flmrun --auth secret --
    wait_for 'flmrun --auth secret: the agents of all nodes come in' test -e up
    check_equal 'by a secret that was made for them' '0 1' "$(refused) $(secrets | wc -l)"
    let_go
    rm -rf "$HOME/.config"
    run flmrun --auth sideways true
    check_match 'an --auth that is none' "$status $err" '^2 .*--auth takes auto, munge or secret'
}

# Each node has a socket of munged, but n2, where it has died.
a_node_without() {
    local node munged=$FLM_MUNGE_SOCKET
    export FLM_MUNGE_SOCKET=$XDG_RUNTIME_DIR/munge # each node's own
    for node in n1 n3; do
        testbed exec $node ln -s "$munged" "$FLM_MUNGE_SOCKET"
    done
    hold flmrun --
    wait_for 'a node where munged has died is there, too' test -e up
    check_equal 'by the secret' '0 1' "$(refused) $(secrets | wc -l)"
    let_go
    rm -rf "$HOME/.config"

    submit -N3 --ntasks-per-node=2 -t 10 -- sh -c '
        flmd --backend slurm --auth munge --private -v -e tcp:*:0 -e "unix:$1" &
        until [ "$(flmctl -o json --endpoint "unix:$1" status | jq .refused)" -gt 0 ] 2>/dev/null; do sleep 0.05; done
        until [ "$(flmctl -o json --endpoint "unix:$1" list -e | jq "[.[] | select(.state == \"Idle\")] | length")" = 4 ]; do sleep 0.05; done
        flmctl --endpoint "unix:$1" shutdown
        wait' sh "$TEST_DIR/run/flmd.sock"
    job_end
    check_contains 'where nothing but munge is allowed it is not, and why is said' "$out$err" 'has munge (its --auth=munge) (munge here: munged does not answer'
    check_equal 'a secret is not made' '' "$(secrets)"
    nothing_is_left
    export FLM_MUNGE_SOCKET=$munged
}

by_munge
by_secret
a_node_without
