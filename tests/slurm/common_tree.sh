#!/bin/bash
# Common data come to eight nodes by a tree: what the interfaces of the nodes have sent is counted.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 8
words=4000000 size=32000000
printf '[application]\nname = updates\nshim = so\ncommand = %s\nmin_instances = 8\n' "$services/updates.so" >updates.app

# A session of which all nodes have the data, as flmctl shows it; it ends with flmd.
cat >spread.sh <<'END'
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

mapfile -t before < <(all_sent)
job -N8 --ntasks-per-node=1 -t 10 -- flmrun --state-dir "$TEST_DIR/state" -- sh spread.sh "$FLM_BUILDDIR/tests/system/updates" $words
mapfile -t after < <(all_sent)
check_equal 'the job ends well' 0 "$status"
check_equal 'seven nodes have read the data once, the first one has them' "$((7 * size))" "$(jq '[.common_nodes[].bytes] | add' <<<"$out")"
check_match 'two of them from flmd at most' "$(jq '.common[0].sent / .common[0].bytes' <<<"$out")" '^[12]$'
check_equal 'executors have entered with the right bytes' '' "$(jq -r .trouble <<<"$out")"

copies=() all=0
for n in 0 1 2 3 4 5 6 7; do
    bytes=$((after[n] - before[n]))
    copies+=("n$((n + 1)): $((bytes / 1000000)) MB")
    all=$((all + bytes))
done
echo "# sent: ${copies[*]}"
root=$((after[0] - before[0]))
check "the link of flmd's node has carried two copies at most, and some control" test $root -lt $((size * 5 / 2))
check 'all links together have carried seven, no more' test $all -lt $((size * 15 / 2))
nothing_is_left
