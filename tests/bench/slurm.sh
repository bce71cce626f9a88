#!/bin/bash
# Figures of Flame on a Slurm cluster of namespaces on this machine (tests/slurm/testbed): make bench-slurm, as
# root. Medians of RUNS runs (default 5), in about half a minute:
#
#   in a job of 3 nodes     srun hostname on all of them; flmrun to its first task done; to all 12 executors there
#   a job that flmd adds    sbatch of a script with srun hostname, until that has run; with flmd on the login node,
#                           a task from its submission, for which flmd asks for a job, until it is done
#   throughput              no-op tasks, 64 B, 3 nodes x 4 executors, tcp;ofi_rxm between nodes
#
# What it is to be: the first task within 3 s beyond srun hostname; 1 million tasks/s. All nodes share the cores of
# this machine. It is no test: no figure makes it fail.
# shellcheck disable=SC2016 # what is quoted is for the shells of others
. "${FLM_SRCDIR:?run me by make bench-slurm}/tests/slurm/cluster.sh"
. "$FLM_SRCDIR/tests/bench/figures.sh"
RUNS=${RUNS:-5} TASKS=${TASKS:-3000000}
cluster 3

cat >in-job.sh <<'END'
a=$(date +%s%N)
srun -N3 -n3 --ntasks-per-node=1 hostname >/dev/null
b=$(date +%s%N)
c=$(flmrun -- sh -c 'flmping -t 1 >/dev/null && date +%s%N')
d=$(date +%s%N)
e=$(flmrun -- sh -c 'until [ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Idle\")] | length")" = 12 ]; do :; done
    date +%s%N
    flmping -t "$1" --json | jq -r ".tasks_per_second | floor"' sh "$1")
echo "$(((b - a) / 1000000)) $(((c - b) / 1000000)) $((($(echo "$e" | head -n 1) - d) / 1000000)) $(echo "$e" | tail -n 1)"
END

for ((i = 0; i < RUNS; i++)); do
    job -N3 --ntasks-per-node=4 -- bash in-job.sh "$TASKS"
    read -r "srun[i]" "first[i]" "all[i]" "rate[i]" <<<"$out"

    begin=$(now)
    sbatch -Q -N1 -o "$TEST_DIR/hostname.log" --wrap "srun hostname; date +%s%N >$TEST_DIR/done-$i"
    until [ -s "done-$i" ]; do sleep 0.005; done
    batch[i]=$(ms "$begin" "$(cat "done-$i")")

    engine --backend slurm --slots 4 --max-blocks 1 >/dev/null
    begin=$(now)
    flmping -t 1 >/dev/null
    block[i]=$(ms "$begin" "$(now)")
    engine_end >/dev/null
    until [ -z "$(squeue -h)" ]; do sleep 0.1; done
done

title
row 'in a job of 3 nodes: srun hostname' ms "${srun[@]}"
row '  flmrun, to its first task done' ms "${first[@]}"
row '  flmrun, to all 12 executors' ms "${all[@]}"
row 'on the login node: sbatch, to srun hostname done' ms "${batch[@]}"
row '  flmd, task submitted without a node, to task done' ms "${block[@]}"
row 'no-op tasks over 3 nodes x 4 executors' tasks/s "${rate[@]}"
checks=1
