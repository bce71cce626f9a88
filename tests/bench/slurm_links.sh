#!/bin/bash
# What the links of nodes carry when common data come to eight of them (tests/slurm/testbed): make bench-slurm, as root.
# RUNS runs (default 3), counted by the interfaces; the root is to send two copies at most, all together seven.
. "${FLM_SRCDIR:?run me by make bench-slurm}/tests/slurm/cluster.sh"
. "$FLM_SRCDIR/tests/bench/figures.sh"
RUNS=${RUNS:-3} words=${WORDS:-4000000}
cluster 8
. "$FLM_SRCDIR/tests/slurm/spread.sh"

for ((i = 0; i < RUNS; i++)); do
    spread_over_nodes "$words"
    check_equal 'the job ends well' 0 "$status" >&2
    root[i]=${carried[0]} other[i]=0 all[i]=0
    for n in "${!carried[@]}"; do
        all[i]=$((all[i] + carried[n]))
        [ "$n" = 0 ] || [ "${carried[n]}" -le "${other[i]}" ] || other[i]=${carried[n]}
    done
done

title
row 'common data of a session on 8 nodes' bytes $((8 * words))
row "  sent by flmd's node" bytes "${root[@]}"
row '  by the one of the others that sent most' bytes "${other[@]}"
row '  by all together' bytes "${all[@]}"
checks=1
