#!/bin/bash
# Tasks that take longer than any job's time: that is said. Takes as long as Slurm's shortest time limit, a
# minute, and until it looks at that.
# shellcheck disable=SC2016 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 2

engine --backend slurm --slots 1 --max-blocks 1 --block-time 1 --backend-option "output=$TEST_DIR/c/block-%j"
start exec flmexec sleep ::: 300 301
exec=$pid
# In a job that ends while there is work: the second task takes 20 s, too, and then there is no time.
submit -N1 -n1 -t 1 -- flmrun -- sh -c '
    flmping -t 5 -d 20000000 &
    until flmctl -o json list | jq -r "last | .trouble // empty" | grep .; do sleep 0.2; done'
job_end
check_match 'in a job that ends: it says that the tasks wait' "$out" \
    '^its tasks take about 2[0-9] s, and no node has that much time left: they wait$'
check_equal 'and says so in its log' 1 "$(grep -c 'no node has that much time left' <<<"$err")"
wait_for 'in jobs of its own: it says that a task was cut off' grep -q 'a task was cut off by the end of a job' flmd.log
check_match "it is the session's trouble" "$(flmctl -o json list | jq -r 'last | .trouble')" '^a task was cut off'
kill -TERM $exec
wait $exec
engine_end
nothing_is_left
