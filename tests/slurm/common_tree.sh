#!/bin/bash
# Common data come to eight nodes by a tree: what the interfaces of the nodes have sent is counted.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 8
. "$FLM_SRCDIR/tests/slurm/spread.sh"
words=4000000 size=32000000
spread_over_nodes $words
check_equal 'the job ends well' 0 "$status"
check_equal 'seven nodes have read the data once, the first one has them' "$((7 * size))" "$(jq '[.common_nodes[].bytes] | add' <<<"$out")"
check_match 'two of them from flmd at most' "$(jq '.common[0].sent / .common[0].bytes' <<<"$out")" '^[12]$'
check_equal 'executors have entered with the right bytes' '' "$(jq -r .trouble <<<"$out")"

copies=() all=0
for n in 0 1 2 3 4 5 6 7; do
    copies+=("n$((n + 1)): $((carried[n] / 1000000)) MB")
    all=$((all + carried[n]))
done
echo "# sent: ${copies[*]}"
check "the link of flmd's node has carried two copies at most, and some control" test ${carried[0]} -lt $((size * 5 / 2))
check 'all links together have carried seven, no more' test $all -lt $((size * 15 / 2))
nothing_is_left
