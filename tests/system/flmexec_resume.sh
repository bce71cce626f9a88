#!/bin/bash
# shellcheck disable=SC2016,SC2046 # what is for flmexec is not for this shell
# flmexec with a state directory: what ended is printed once and not run again, whoever dies; what another
# run has left is not mistaken for it.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
export HERE=$TEST_DIR

# Each job notes that it ran; job 1 waits for the file first, those from 31 on for the file go.
job='n={}; [ $n != 1 ] || while [ ! -e $HERE/first ]; do sleep 0.02; done
    [ $n -le 30 ] || while [ ! -e $HERE/go ]; do sleep 0.02; done
    echo $n >>$HERE/ran; echo "output $n"; [ $n != 7 ] || exit 3'
expected() { seq -f 'output %g' "$1" "$2"; }
runs_of() { sort -n ran | uniq -c | awk -v a="$1" -v b="$2" '$2 >= a && $2 <= b { print $1 }' | sort -u | tr '\n' ' '; }
begin() { engine -n 2 --state-dir "$TEST_DIR/state"; }
flmd_dies() {
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}
again() { # NAME: its output is added to `printed`
    start "$1" bash -c 'exec flmexec --state-dir "$HERE/state" --resume "$0" ::: $(seq 40) >>printed' "$job"
}
counter() { flmctl -o json list | jq -r "[.[] | select(.id == \"flmexec\").$1] | last // 0"; }
export -f counter

# --- flmexec is killed with outputs that wait for their turn; jobs go on without it ---

begin
again one
one=$pid
wait_for 'jobs end behind the first one' bash -c '[ "$(counter succeed)" -ge 20 ]'
check_equal 'whose turn it is' '' "$(cat printed)"
kill -KILL $one
wait $one 2>/dev/null
touch first
wait_for 'they go on without flmexec' bash -c '[ "$(counter succeed)" = 29 ]'
again two
two=$pid
wait_for 'their outputs are printed' bash -c '[ "$(wc -l <printed)" = 30 ]'
check_equal 'in order' "$(expected 1 30)" "$(cat printed)"
check_equal 'and none ran twice' '1 ' "$(runs_of 1 30)"
run flmexec --state-dir state --resume "$job" ::: $(seq 40)
check_match 'a second flmexec is refused' "$status $err" '^3 .*another flmexec works'

# --- flmexec and the session manager are killed ---

kill -KILL $two
flmd_dies
wait $two 2>/dev/null
begin
again three
three=$pid
touch go
wait $three
check_equal 'the run ends; one job had failed' 1 $?
check_equal 'all is printed once, in order' "$(expected 1 40)" "$(cat printed)"
check_equal 'and what had ended did not run again' '1 ' "$(runs_of 1 30)"
check_contains 'it tells what the cut cost' "$(cat three.log)" 'wasted on attempts that were cut off'
check_match 'the session is closed' "$(flmctl -o csv list)" '^flmexec,Closed,'

# --- and again, when all is done ---

run flmexec --state-dir state --resume "$job" ::: $(seq 40)
check_equal 'nothing runs when all is done, and the status says that one failed' '1 ' "$status $out"
run flmexec --state-dir state --resume-failed "$job" ::: $(seq 40)
check_equal 'what failed runs again' '1 output 7' "$status $out"
run flmexec --state-dir state --resume "$job" ::: $(seq 42)
check_equal 'more arguments may follow' "$(expected 41 42)" "$out"

# --- another run ---

run flmexec --state-dir state "$job" ::: $(seq 42)
check_match 'a run is not begun over an earlier one' "$status $err" '^2 .*--resume goes on'
run flmexec --state-dir state --resume 'echo {}' ::: $(seq 42)
check_match 'another command is refused' "$status $err" '^2 .*of another command'
run flmexec --state-dir state --resume "$job" ::: $(seq 2 43)
check_match 'other arguments are refused' "$status $err" '^2 .*job 1 is'
run flmexec --state-dir state --resume "$job" ::: $(seq 41)
check_match 'fewer are, too' "$status $err" '^2 .*42 jobs before'
run flmexec --state-dir state --session other 'echo {}' ::: a b
check_equal 'another session is another run' '0 a b' "$status ${out//$'\n'/ }"
run env FLM_ENDPOINT="unix:$PWD/nobody" flmexec --state-dir state --session early 'echo {}' ::: a
check_match 'a run that could not begin' "$status $err" '^3 .*no session manager'
run flmexec --state-dir state --session early 'echo {}' ::: b
check_equal 'is none to resume' '0 b' "$status $out"
printf 'x' | dd of=state/flmexec-other.jobs conv=notrunc status=none
run flmexec --state-dir state --session other --resume 'echo {}' ::: a b
check_match 'a file that is none of its is refused' "$status $err" '^2 .*is not the file of a run'
engine_end

# --- tries, and a session that was cancelled by somebody ---

run flmrun -n 1 --state-dir once -- flmexec --retries 2 'echo {} >>tried; false' ::: a
check_equal 'flmrun says where the state is, tries count' '1 2' "$status $(wc -l <tried)"
check_file 'and it is there' once/flmexec-flmexec.jobs
begin
run flmexec --state-dir none/such echo ::: 1
check_match 'a state directory that is not there' "$status $err" '^3 .*none/such'
rm -f go
start gone bash -c 'exec flmexec --state-dir "$HERE/state" --session gone "$0" ::: $(seq 29 32)' "$job"
gone=$pid
wait_for 'jobs run' bash -c '[ "$(flmctl -o json list | jq -r ".[] | select(.id == \"gone\").succeed")" = 2 ]'
check 'the session is cancelled' flmctl cancel gone
wait $gone
touch go
run flmexec --state-dir state --session gone --resume "$job" ::: $(seq 29 32)
check_equal 'what was not run runs in another one' "0 $(expected 31 32)" "$status $out"
engine_end
