#!/bin/bash
# The end of a job's time reaches every process of it, commands and services first of all: what it cuts off
# runs again elsewhere, is nobody's failure, and no retry is charged.
# shellcheck disable=SC2016 # what is quoted is for the shells that wait_for starts
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 2

two_blocks() {
    wait_for "$1: two jobs run tasks" bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.state == \"Bound\")] | length")" = 4 ]'
    # Which have begun: each writes a line.
    wait_for "$1: and have begun" bash -c '[ "$(wc -l <begun)" -ge 4 ]'
    victim=$(flmctl -o json list -n | jq -r '.[0].block')
}

nothing_was_charged() {
    check_equal "$1: none failed, none was charged" '0 0 0' \
        "$(flmctl -o json list | jq -r 'last | "\(.failed) \(.cancelled) \(.retried)"')"
}

commands() {
    : >begun
    rm -f go # none ends before its job has
    start exec flmexec -k 'echo {} >>begun; until test -e go; do sleep 0.2; done; echo {}' ::: {1..12}
    exec=$pid
    two_blocks commands
    scancel -s TERM "$victim.0"
    wait_for 'commands: its job ends' bash -c "! squeue -h -o %i -t R | grep -qx $victim"
    touch go
    wait "$exec"
    check_equal 'commands: flmexec ends well' 0 $?
    check_equal 'commands: each has its output once' "$(seq 12)" "$(cat exec.log)"
    check 'commands: some of them have run twice' test "$(wc -l <begun)" -gt 12
    nothing_was_charged commands
}

# One that catches the signal, and fails in its own way.
stubborn() {
    cat >stubborn.py <<'END'
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
open("begun", "a").write("x\n")
time.sleep(8)
print(sys.argv[1])
END
    : >begun
    start exec flmexec -k -- /usr/bin/python3 "$PWD/stubborn.py" ::: {1..8}
    exec=$pid
    two_blocks 'commands that catch SIGTERM'
    sleep 4 # they are looked at longer, the longer they have run
    scancel -s TERM "$victim.0"
    wait "$exec"
    check_equal 'commands that catch SIGTERM: flmexec ends well' 0 $?
    check_equal 'commands that catch SIGTERM: each has its output once' "$(seq 8)" "$(cat exec.log)"
    nothing_was_charged 'commands that catch SIGTERM'
}

services() {
    : >begun
    sed 's/^import os/import os, time/; s/^def serve.*/&\n    open("begun", "a").write("x\\n"); time.sleep(1)/' \
        "$FLM_SRCDIR/examples/services/upper.py" >slow.py
    printf '[application]\nname = slow\nshim = stdio\ncommand = /usr/bin/python3 slow.py\n' >slow.app
    start client "$client" -a slow.app -n 16 -i shout
    local client_pid=$pid
    two_blocks services
    scancel -s TERM "$victim.0"
    wait "$client_pid"
    check_equal 'services: each task has its result once' '16 x Succeed none 0 [SHOUT]' "$(cat client.log)"
    nothing_was_charged services
}

engine --backend slurm --slots 2 --max-blocks 2 --backlog 1 --backend-option "output=$TEST_DIR/c/block-%j"
commands
stubborn
services
engine_end
nothing_is_left
