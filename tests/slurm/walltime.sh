#!/bin/bash
# Jobs whose time ends while there is work: tasks that could not be done in time are not begun in them, and
# the work goes on in the next one. Takes as long as Slurm's shortest time limit, a minute.
# shellcheck disable=SC2016 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 2

# Six rounds of 10 s do not fit into it: two tasks are left for the next job.
engine --backend slurm --slots 2 --max-blocks 1 --backlog 1 --block-time 1 --backend-option "output=$TEST_DIR/c/block-%j"
start ping flmping -t 12 -d 10000000 --json
ping=$pid
wait_for 'a job runs' bash -c '[ "$(flmctl -o json list -n | jq length)" = 1 ]'
first=$(flmctl -o json list -n | jq -r '.[0].block')
wait_for 'it knows its end' bash -c '[ "$(flmctl -o json list -n | jq ".[0].time_left_s")" -gt 0 ]'
wait_for 'it comes near' bash -c 'flmctl -o json list -n | jq -e ".[0].time_left_s < 20"'
wait_for 'its executors are let go before it, and live' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Idle\")] | length")" = 2 ]'
wait_for 'the next job comes' bash -c "flmctl -o json list -n | jq -e 'length == 1 and .[0].block != \"$first\"'"
wait $ping
check_equal 'each result comes once' '0 12 0 0' "$? $(jq -r '"\(.succeeded) \(.lost) \(.duplicated)"' ping.log)"
check_equal 'no task was cut off' 0 "$(flmctl -o json list | jq -r 'last | .retried')"
check_equal 'none was lost with its executor' '' "$(flmctl -o json list | jq -r 'last | .trouble')"
engine_end
nothing_is_left
