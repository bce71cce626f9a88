#!/bin/bash
# Figures of Flame on an OpenPBS of namespaces on this machine (tests/pbs/testbed): make bench-pbs, as root; where
# there is no OpenPBS it says so. Medians of RUNS runs (default 5), in about a minute:
#
#   in a job of 3 nodes     pbsdsh hostname on all of them; flmrun to its first task done; to all 12 executors there
#   a job that flmd adds    qsub of a script with pbsdsh hostname, until that has run; with flmd on the login node,
#                           a task from its submission, for which flmd asks for a job, until it is done
#   throughput              no-op tasks, 64 B, 3 nodes x 4 executors, tcp;ofi_rxm between nodes
#
# What it is to be: the first task within 3 s beyond pbsdsh hostname. All nodes share the cores of this machine. It
# is no test: no figure makes it fail.
# shellcheck disable=SC2016,SC2154 # what is quoted is for the shells of others
pbs=openpbs
. "${FLM_SRCDIR:?run me by make bench-pbs}/tests/pbs/cluster.sh"
. "$FLM_SRCDIR/tests/bench/figures.sh"
RUNS=${RUNS:-5} TASKS=${TASKS:-3000000}
cluster 3

cat >in-job.sh <<'END'
a=$(date +%s%N)
pbsdsh -- hostname >/dev/null
b=$(date +%s%N)
c=$(flmrun -- sh -c 'flmping -t 1 >/dev/null && date +%s%N')
d=$(date +%s%N)
e=$(flmrun -- sh -c 'until [ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Idle\")] | length")" = 12 ]; do :; done
    date +%s%N
    flmping -t "$1" --json | jq -r ".tasks_per_second | floor"' sh "$1")
echo "$(((b - a) / 1000000)) $(((c - b) / 1000000)) $((($(echo "$e" | head -n 1) - d) / 1000000)) $(echo "$e" | tail -n 1)"
END
printf '#!/bin/sh\n%s -- hostname\ndate +%%s%%N >"$DONE.tmp" && mv "$DONE.tmp" "$DONE"\n' "$(command -v pbsdsh)" >hostname.sh

for ((i = 0; i < RUNS; i++)); do
    job -l select=3:ncpus=4:mpiprocs=4 -l place=scatter -- bash in-job.sh "$TASKS"
    read -r "dsh[i]" "first[i]" "all[i]" "rate[i]" <<<"$out"
    until [ -z "$(jobs_of QRHWES)" ]; do sleep 0.1; done

    begin=$(now)
    qsub -f -l select=1:ncpus=4 -v DONE="$TEST_DIR/done-$i" -j oe -o "$TEST_DIR/hostname.log" hostname.sh >/dev/null
    until [ -s "done-$i" ]; do sleep 0.005; done
    batch[i]=$(ms "$begin" "$(cat "done-$i")")
    until [ -z "$(jobs_of QRHWES)" ]; do sleep 0.1; done

    engine --backend pbs --slots 4 --max-blocks 1 >/dev/null
    begin=$(now)
    flmping -t 1 >/dev/null
    block[i]=$(ms "$begin" "$(now)")
    engine_end >/dev/null
    until [ -z "$(jobs_of QRHWES)" ]; do sleep 0.1; done
done

title
row 'in a job of 3 nodes: pbsdsh hostname' ms "${dsh[@]}"
row '  flmrun, to its first task done' ms "${first[@]}"
row '  flmrun, to all 12 executors' ms "${all[@]}"
row 'on the login node: qsub, to pbsdsh hostname done' ms "${batch[@]}"
row '  flmd, task submitted without a node, to task done' ms "${block[@]}"
row 'no-op tasks over 3 nodes x 4 executors' tasks/s "${rate[@]}"
checks=1
