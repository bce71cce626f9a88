#!/bin/bash
# The Monte Carlo example: its digits, its files, and what it says when something is wrong.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

digits() { # what must not depend on executors
    jq -r '"\(.estimate) \(.standard_error) \(.samples) \(.tasks)"'
}

# Every mistake is refused before anything is computed.
refused() { # PART OF THE MESSAGE, ARGUMENT...
    local part=$1
    shift
    check_status "refused: $*" 2 flm-montecarlo --inproc "$@"
    check_contains 'with its reason' "$err" "$part"
}
refused 'whole number' --samples=1.5
refused 'must be from 1' --samples=0
refused 'must be from 1' --tasks=0
refused 'more than --samples' --samples=5 --tasks=6
refused 'pi, call or put' --payoff=asian
refused 'belong to --payoff' --strike=100
refused 'number is needed' --payoff=call --rate=nan
refused 'spot price is 0' --payoff=call --spot=0
refused 'volatility is -1' --payoff=put --volatility=-1
refused 'must be above 0' --error=0
refused 'No such file' --output=missing/folder.h5
refused 'Is a directory' --output=.
refused 'must end in .svg or .png' --plot=x.jpeg
refused 'unrecognized option' --nonsense
refused 'Too many arguments' more
check_equal 'and nothing was written' '' "$(ls -- *.h5 *.svg 2>/dev/null)"

check_status 'without a session manager' 1 flm-montecarlo
check_contains 'it says how to start one' "$err" 'flmrun -- flm-montecarlo'
check_status 'with an endpoint that is none' 1 env FLM_ENDPOINT=none flm-montecarlo
check_status 'a module that is not there' 1 flm-montecarlo --inproc --service=none.so
check_contains 'is named' "$err" 'none.so: No such file'

check 'inside the program' flm-montecarlo --inproc --json --no-output -n 3e6 --seed=7
inproc=$(digits <<<"$out")
for n in 1 2 7; do
    engine -n "$n"
    check "pi on $n" flm-montecarlo --json --no-output -n 3e6 --seed=7
    check_equal "has the same digits on $n" "$inproc" "$(digits <<<"$out")"
    check "a put on $n" flm-montecarlo --json -n 2e6 --tasks=300 --payoff=put -o "put$n.h5"
    put[n]=$(digits <<<"$out")
    check "until the error is small, on $n" flm-montecarlo --json --no-output --payoff=call --error=0.02
    call[n]=$(digits <<<"$out")
    check_equal 'it is, and not much too small' true "$(jq '.standard_error < 0.02 and .standard_error > 0.015' <<<"$out")"
    check_equal 'the estimate is near the price' true "$(jq '.difference_in_standard_errors | fabs < 4' <<<"$out")"
    [ "$n" = 7 ] || engine_end
done
check_equal 'a put has the same digits on 1, 2 and 7' "${put[1]} ${put[1]}" "${put[2]} ${put[7]}"
check_equal 'and where a run ends does not depend on it' "${call[1]} ${call[1]}" "${call[2]} ${call[7]}"
check 'another seed' flm-montecarlo --json --no-output -n 3e6 --seed=8
check_equal 'gives other digits' false "$([ "$inproc" = "$(digits <<<"$out")" ] && echo true || echo false)"

# What a person sees.
check 'a run with files' flm-montecarlo -n 2e6 --plot=pi.svg
for line in 'estimate +3\.14[0-9]+ (\+-|±) 0\.001' 'exact +3\.141' 'difference +[+-].*standard errors' \
    'samples +2,000,000 in 8 tasks on [1-7] executors?, seed 1' 'throughput .* samples/s, .* tasks/s' \
    'results +montecarlo-pi\.h5' 'look at it +h5ls -d montecarlo-pi\.h5/convergence' 'plot +pi\.svg'; do
    check_match "says: $line" "$out" "$line"
done
check_equal 'no progress without a terminal' '' "$err"
check 'the plot is XML' python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' pi.svg
check_match 'and has its axes labelled' "$(cat pi.svg)" 'error of the estimate'
if command -v h5ls >/dev/null; then
    check_match 'the file has the last row' "$(h5ls -d montecarlo-pi.h5/convergence)" '\{2000000, 3\.14'
    check_match 'and the parameters' "$(h5dump -a /strike put2.h5)" ': 105'
fi
if command -v rsvg-convert >/dev/null; then
    check 'a picture' flm-montecarlo -q --no-output -n 1e6 --plot=pi.png
    check_match 'is one' "$(file pi.png)" 'PNG image data, 1600 x 1040'
fi
check_status 'without the converter' 2 env PATH="$FLM_BUILDDIR/bin" flm-montecarlo --plot=no.png
check_contains 'it tells what to install' "$err" librsvg2-bin
check 'CSV' flm-montecarlo -q -n 1e6 -o pi.csv
check_match 'as asked' "$(tail -1 pi.csv)" '^1000000,3\.1'
check_match '--quiet prints the estimate alone' "$out" '^3\.1[0-9]+$'

# Faults.
check_status 'a full disk' 1 flm-montecarlo -n 1e6 -o /dev/full
check_contains 'is said' "$err" 'cannot write /dev/full: No space left'
check_match 'the estimate all the same' "$out" 'estimate +3\.1'
check_status 'a file that may not grow' 1 bash -c 'trap "" XFSZ; ulimit -f 1; flm-montecarlo -n 1e6 -o small.h5'
check_equal 'leaves nothing' '' "$(ls small.h5* 2>/dev/null)"
check_status 'the module of another program' 1 flm-montecarlo -n 1e6 --no-output --service="$FLM_BUILDDIR/lib/flame/.libs/flmping.so"
check_equal 'is not believed' '' "$out"

many=$(sized 1e9 5e7)
check 'undisturbed' flm-montecarlo --json --no-output -n "$many" --tasks=1000 --payoff=put
calm=$(digits <<<"$out")
start storm flm-montecarlo --json --no-output -n "$many" --tasks=1000 --payoff=put
for _ in 1 2 3 4 5; do
    sleep 0.2
    executors | shuf -n 2 | xargs -r kill -KILL 2>/dev/null
done
wait "$pid"
check_equal 'executors that are killed do not change a digit' "0 $calm" "$? $(digits <storm.log)"

start interrupted setsid flm-montecarlo --json --no-output -n 1e15
sleep 1.5
kill -INT "$pid"
wait "$pid"
check_equal 'Ctrl-C ends it' 130 $?
check_equal 'and shows what there is' 'true true' "$(jq -r '"\(.interrupted) \(.samples > 0)"' <interrupted.log)"
engine_end

# In pieces: killed, killed with its session manager, ended in order; what is acknowledged is in the file.
piece() {
    start piece flm-montecarlo --resume --json -n 40e6 -t 400 --payoff=call -o whole.h5
}
done_tasks() { flmctl -o json list | jq -r '[.[] | select(.id == "montecarlo").succeed] | last // 0'; }
export -f done_tasks
slowly() { # one executor, at a tenth of its speed, so that the run is not over before it is cut
    engine -n 1 --state-dir "$TEST_DIR/state"
    wait_for 'the executor is there' bash -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.pid > 0)] | length")" = 1 ]'
    slow=$(executors)
    (while kill -STOP "$slow" && sleep 0.05 && kill -CONT "$slow"; do sleep 0.005; done) 2>/dev/null &
    brake=$!
}
if h5dump --version >/dev/null 2>&1; then
    export FLM_STATE_DIR=$TEST_DIR/state
    slowly
    piece
    wait_for 'some tasks are done' bash -c '[ "$(done_tasks)" -gt 40 ]'
    kill -KILL "$pid"
    piece
    wait_for 'more are done' bash -c '[ "$(done_tasks)" -gt 100 ]'
    kill -KILL "$pid" $brake "$flmd"
    wait 2>/dev/null
    rm -f run/flmd.sock
    slowly
    piece
    wait_for 'still more are done' bash -c '[ "$(done_tasks)" -gt 150 ]'
    kill "$pid"
    wait "$pid"
    check_equal 'SIGTERM ends a piece, and shows what there is' '130 true' "$? $(jq .interrupted <piece.log)"
    check_status 'a run is not begun over an earlier one' 1 flm-montecarlo -n 40e6 -t 400 --payoff=call -o new.h5
    check_contains 'it says what to do' "$err" '--resume goes on with it'
    check_status 'another run is refused' 1 flm-montecarlo --resume -n 40e6 -t 400 --payoff=call --seed=2 -o whole.h5
    check_contains 'by name' "$err" 'whole.h5 is of another run: it computes call, seed 1'
    check_status 'a file of another session is, too' 1 flm-montecarlo --resume -n 40e6 -t 400 --payoff=call -o new.h5
    check_status 'so is what is no HDF5' 1 flm-montecarlo --resume -n 40e6 -t 400 --payoff=call -o piece.log
    kill $brake
    kill -KILL "$slow" # in the middle of a task
    piece
    wait "$pid"
    check_equal 'the last piece ends well' 0 $?
    pieces=$(digits <piece.log)
    # how many were cut off is luck: tests/system/failures.sh has one that is
    check_equal 'core-seconds are told' true "$(jq '.useful_core_seconds > 0 and .wasted_core_seconds >= 0' <piece.log)"
    check 'a run that is complete' flm-montecarlo --resume --json -n 40e6 -t 400 --payoff=call -o whole.h5
    check_equal 'is shown again' "$pieces" "$(digits <<<"$out")"
    check_status '--resume without a file' 2 flm-montecarlo --resume --no-output
    engine_end
    unset FLM_STATE_DIR FLM_ENDPOINT
    check 'the same in one piece' flm-montecarlo --inproc --json -n 40e6 -t 400 --payoff=call -o one.h5
    check_equal 'has the same digits' "$pieces" "$(digits <<<"$out")"
    check_equal 'and the same history' "$(h5dump -y -d convergence one.h5 | tail -n +2)" "$(h5dump -y -d convergence whole.h5 | tail -n +2)"
fi

unset FLM_ENDPOINT
check 'as a user runs it' flmrun -n 2 -- flm-montecarlo --json --no-output -n 3e6 --seed=7
check_equal 'it has the same digits' "$inproc" "$(digits <<<"$out")"
