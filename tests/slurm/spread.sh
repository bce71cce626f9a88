# For tests and figures after cluster.sh and `cluster 8`: how common data come to eight nodes.
# shellcheck shell=bash disable=SC2034,SC2154 # what is filled is for who reads this; cluster.sh sets the rest

# A session of which all nodes have the data, as flmctl shows it; it ends with flmd.
cat >spread-job.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = 8 ]; do sleep 0.05; done
"$1" -a updates.app -I tree -D journal -c "$2" -r 0 >&2
until flmctl -o json view tree | jq -e '.slots == 8 and ([.common_nodes[] | select(.state == "has")] | length) == 7' >&2; do
    sleep 0.05
done
flmctl -o json view tree
END

sent() { # NODE: bytes, since it was started
    testbed exec "$1" ip -s -j link show | jq '[.[] | select(.ifname != "lo") | .stats64.tx.bytes] | add'
}
all_sent() {
    local n
    for n in 1 2 3 4 5 6 7 8; do sent n$n; done
}

# Fills $status, $out (that view) and ${carried[@]}: what each node's interface has sent meanwhile.
spread_over_nodes() { # WORDS of 8 bytes
    local before after n
    printf '[application]\nname = updates\nshim = so\ncommand = %s\nmin_instances = 8\n' "$services/updates.so" >updates.app
    rm -rf state
    mapfile -t before < <(all_sent)
    job -N8 --ntasks-per-node=1 -t 10 -- flmrun --state-dir "$TEST_DIR/state" -- sh spread-job.sh "$FLM_BUILDDIR/tests/system/updates" "$1"
    mapfile -t after < <(all_sent)
    carried=()
    for n in "${!after[@]}"; do carried+=($((after[n] - before[n]))); done
}
