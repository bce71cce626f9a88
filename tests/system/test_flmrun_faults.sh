#!/bin/bash
# flmrun: signals at any moment, and the death of each process of the instance.
# shellcheck disable=SC2016 # CMD expands it, not we
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

runtime=$XDG_RUNTIME_DIR/flame

instances() {
    find "$runtime" -mindepth 1 -maxdepth 1 -name 'run-*' 2>/dev/null
}

# Pids of processes of the only instance; with NAME those whose program it is.
processes() {
    local process
    grep -lsz "^FLM_INSTANCE_DIR=$runtime/run-" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 |
        while read -r process; do
            [ -n "${1:-}" ] && [ "$(basename "$(readlink "/proc/$process/exe" 2>/dev/null)")" != "$1" ] && continue
            echo "$process"
        done
}
is_there() { [ -n "$(processes "$1")" ]; }
all_gone() { [ -z "$(processes)$(instances)" ]; }

# Starts flmrun with these arguments and waits until it has an executor and CMD says ready.
begin() {
    rm -f ready
    # What a script starts in the background ignores SIGINT, and that would be inherited.
    start flmrun env --default-signal=INT,QUIT flmrun "$@"
    flmrun=$pid
    wait_for 'CMD and an executor run' eval '[ -e ready ] && is_there flm-executor'
}

finish_run() { # WHAT STATUS
    wait "$flmrun"
    check_equal "$1: status" "$2" $?
    wait_for "$1: nothing is left" all_gone
}

# --- signals ---
while read -r signal status; do
    begin -n 1 sh -c 'touch ready; exec sleep 1000'
    kill -"$signal" "$flmrun"
    finish_run "SIG$signal is passed on to CMD" "$status"
done <<'TABLE'
TERM 143
INT 130
HUP 129
QUIT 131
TABLE

begin -n 1 sh -c 'trap "exit 5" TERM; touch ready; while :; do sleep 0.05; done'
kill -TERM "$flmrun"
finish_run 'CMD may end in order on SIGTERM' 5

begin -n 1 --grace 0.3 sh -c 'trap "" TERM INT; touch ready; while :; do sleep 0.05; done'
kill -TERM "$flmrun"
finish_run 'CMD that ignores signals is killed after the grace time' 137

begin -n 1 --grace 1000 sh -c 'trap "" TERM INT; touch ready; while :; do sleep 0.05; done'
kill -TERM "$flmrun"
sleep 0.2
kill -TERM "$flmrun"
finish_run 'a second signal ends everything at once' 137

check_status 'what CMD leaves in the background does not hold it up' 4 \
    flmrun -n 1 sh -c 'sleep 1000 & setsid sleep 1000 & exit 4'
wait_for 'and is ended' all_gone

wrong=0
for i in $(seq 40); do
    env --default-signal=INT,QUIT flmrun -n 2 sh -c 'sleep 0.05; exec sleep 1000' 2>>random.log &
    flmrun=$!
    sleep "0.0$((RANDOM % 90 + 10))"
    kill -INT "$flmrun"
    wait "$flmrun"
    s=$?
    [ $s = 130 ] || { wrong=$((wrong + 1)); echo "round $i: status $s" >>random.log; }
done
check_equal 'a signal at any moment: the status is 128+N' 0 $wrong
wait_for 'a signal at any moment: nothing is left' all_gone

# --- deaths ---
begin -n 2 --grace 0.5 sh -c 'touch ready; exec sleep 1000'
kill -KILL "$(processes flmd)"
finish_run 'flmd is killed' 125
check_contains 'flmrun says what happened' "$(cat flmrun.log)" \
    'the session manager was killed by signal 9 (Killed); ending the command'

begin -n 2 --grace 20 sh -c 'touch ready; while [ ! -e stop ]; do sleep 0.05; done; exit 6'
manager=$(processes flmd)
kill -KILL "$manager"
wait_for 'flmrun has seen that flmd is dead' test ! -e "/proc/$manager"
touch stop
finish_run 'CMD ends by itself after the death of flmd' 125
rm stop

begin -n 2 --grace 0.5 sh -c 'touch ready; exec sleep 1000'
kill -KILL "$(processes flm-backend)"
finish_run 'flm-backend is killed: nodes cannot be had any more' 125

begin -n 1 sh -c 'touch ready; while [ ! -e stop ]; do sleep 0.05; done; exit 6'
old=$(processes flm-executor)
kill -KILL "$old"
wait_for 'a killed executor is replaced' eval 'new=$(processes flm-executor); [ -n "$new" ] && [ "$new" != "$old" ]'
old=$(processes flm-node)
kill -KILL "$old"
wait_for 'a killed agent is replaced' eval 'new=$(processes flm-node); [ -n "$new" ] && [ "$new" != "$old" ]'
wait_for 'with its executor' is_there flm-executor
touch stop
finish_run 'CMD does not notice' 6
rm stop

begin -n 1 --grace 1 sh -c 'touch ready; exec sleep 1000'
kill -KILL "$flmrun"
wait "$flmrun" 2>/dev/null
wait_for 'flmrun is killed: all processes end by themselves' eval '[ -z "$(processes)" ]'
check 'the next start goes well' flmrun -n 1 true
check_equal 'and removes what was left' '' "$(instances)"

begin -n 1 sh -c 'touch ready; exec sleep 1000'
# shellcheck disable=SC2046
kill -STOP $(processes)
kill -KILL "$flmrun"
wait "$flmrun" 2>/dev/null
check 'the next start ends even stopped processes of a dead instance' flmrun -n 1 true
wait_for 'nothing is left of it' all_gone

# --- a session manager that cannot start ---
mkdir fake
cp "$(command -v flmrun)" fake/
cat >fake/flmd <<'END'
#!/bin/sh
echo "flmd: no luck today" >&2
exit 3
END
chmod +x fake/flmd
check_status 'flmd fails at its start: status 125' 125 fake/flmrun -n 1 touch never
check_contains 'its reason is shown' "$err" 'no luck today'
check_contains 'and its status' "$err" 'ended with status 3 before it was ready'
check_equal 'CMD was not run' no "$([ -e never ] && echo yes || echo no)"
wait_for 'nothing is left of it, too' all_gone

# --- executors that never join ---
cat >three <<'END'
#!/bin/sh
echo "no licence" >&2
exit 3
END
chmod +x three
while read -r wrapper reason; do
    run timeout 60 flmrun -n 1 --wrap "$wrapper" -- flmping -t 10
    check_equal "--wrap $wrapper: the tasks fail and so does the command" 1 "$status"
    check_match "--wrap $wrapper: the first failure is told" "$err" "^flm-node .*slot 0: .*$reason"
    check_match "--wrap $wrapper: so is the end of trying" "$err" "^flmd: no executor of node .*$reason"
    check_match "--wrap $wrapper: the client hears why" "$err" "^flmping: .*no executor can be started: .*$reason"
    check_equal "--wrap $wrapper: nobody says it again and again" 2 "$(grep -c '^flm-node\|^flmd: no exec' <<<"$err")"
done <<TABLE
false 'false' exited with status 1 .* must run the command
/nonexistent cannot start /nonexistent
$TEST_DIR/three exited with status 3 .*last line was: no licence
TABLE
run timeout 60 flmrun -n 1 --wrap false --grace 1 -- sleep 1000
check_equal 'a command that does not end is ended' 125 "$status"
check_match 'and it is said why' "$err" '^flmd: ending: no executor can be started'
run timeout 60 flmrun -n 2 --wrap false --wrap-executor 1 -- flmping -t 10
check_equal 'the others serve' 0 "$status"
wait_for 'nothing is left' all_gone
