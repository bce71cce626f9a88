#!/bin/bash
# shellcheck disable=SC2016 # what is for flmexec is not for this shell
# Why tasks fail, as flmctl tells it: by name, with what their processes have used, also after a restart of the
# session manager. A task that kills its executors ends after so many losses, though the session manager dies
# in between; what is not its fault is not charged.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
export HERE=$TEST_DIR
begin() { engine -n 1 --state-dir "$TEST_DIR/state"; }
flmd_dies() {
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}
told_of() { # TASK: reason, how it ended, losses, whether the rest is known
    flmctl -o json view flmexec "$1" | jq -r '.task // . | "\(.reason)|\(.ended_by)|\(.attempts)|\(.node != "")|\(.user_s != null)"'
}

begin
run flmexec --state-dir state 'case {} in
    exit) exit 3 ;;
    signal) kill -SEGV $$ ;;
    poison) kill -KILL $PPID; sleep 100 ;;
    esac' ::: exit signal poison fine
check_equal 'some fail' 1 "$status"
check_equal 'an exit status' 'exit|exit status 3|0|true|true' "$(told_of 1)"
check_equal 'a signal' 'signal|SIGSEGV|0|true|true' "$(told_of 2)"
check_equal 'the limit of losses, and the signal that ended the executor' 'retry limit|SIGKILL|3|true|true' "$(told_of 3)"
reasons() { flmctl -o json view flmexec | jq -c '[.reasons[] | [.reason, .tasks, .lost]] | sort'; }
counts=$(reasons)
check_equal 'each reason is counted' '[["exit",1,0],["retry limit",1,0],["signal",1,3]]' "$counts"
check_equal 'lost attempts are wasted time' true "$(flmctl -o json view flmexec | jq '.session // . | .wasted_s > 0 and .useful_s > 0')"
flmd_dies
begin
check_equal 'a restart forgets no reason' "$counts" "$(reasons)"
check_match 'nor what became of a task' "$(told_of 2) $(told_of 3)" '^signal\|SIGSEGV.* retry limit\|'

# Each attempt waits until it may kill its executor.
export POISON='n=$(grep -c . $HERE/tried); echo begun >>$HERE/tried
    while [ ! -e $HERE/go$n ]; do sleep 0.02; done; kill -KILL $PPID; sleep 100'
: >tried
lost() { # N: lets the attempts that have begun do it, until N are charged
    [ "$(flmctl -o json list | jq -r '[.[] | select(.id == "poison") | .retried + .failed] | last')" = "$1" ] && return
    for i in $(seq 0 $(($(wc -l <tried) - 1))); do
        touch "go$i"
    done
    false
}
begun() { [ "$(wc -l <tried)" -ge "$1" ]; }
start poison bash -c 'exec flmexec --state-dir "$HERE/state" --session poison --resume "$POISON" ::: a'
wait_for 'the first loss' lost 1
wait_for 'it runs again' begun 2
kill -KILL "$pid"
flmd_dies
begin
check_equal 'the loss is not forgotten, the end of flmd is none' 1 \
    "$(flmctl -o json list | jq -r '[.[] | select(.id == "poison")] | last | .retried')"
check_equal 'of the task, too' 1 "$(flmctl -o json view poison 1 | jq '.task // . | .attempts')"
wait_for 'the second loss' lost 2
flmd_dies
begin
wait_for 'the third one is the last' lost 3
[ "$(flmctl -o json list | jq -r '[.[] | select(.id == "poison")] | last | .failed')" = 1 ] || fail 'the task has failed'
run flmexec --state-dir state --session poison --resume "$POISON" ::: a
check_match 'and it fails' "$status $err" '^1 .*lost with its executor 3 times'
engine_end
