#!/bin/bash
# flmping: what it checks, what it prints, how it ends.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# field NAME: of the JSON object in $out
field() {
    python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[sys.argv[1]]))' "$1" <<<"$out"
}

# --- without a session manager ---

run flmping --endpoint "unix:$TEST_DIR/nobody" -t 10
check_equal 'an endpoint where nobody answers: status 1' 1 "$status"
check_contains 'and it is said' "$err" "$TEST_DIR/nobody"

for bad in '-t 0' '-t x' '-t 1.5' '-s 2G' '-s -1' '-o 1x' '-w 0' '-d fast' '--mix 100' '--mix 5:x' '-t 5 --mix 6:1s' \
    '--pause 1ms' '--deadline 0' '-n 0' '--fail-every 0' 'word' '--no-such-option'; do
    # shellcheck disable=SC2086
    run flmping $bad
    check_equal "flmping $bad: status 2" 2 "$status"
    check_match "flmping $bad: it is said" "$err" '^flmping: '
done

run flmping --endpoint inproc: -t 1 -d 1s
check_match 'a long duration and a single task, in words' "$out" '^1 task, .*, 1000000 us each: '
run flmping --endpoint inproc: -t 5000 --json
check_equal 'inproc: runs without a session manager' 0 "$status"
check_equal 'inproc: all succeed' 5000 "$(field succeeded)"

run flmping --endpoint inproc: -t 10 --results lost.h5
check_equal 'inproc: a file of results that nobody would write: status 1' 1 "$status"
check_match 'and it is said' "$err" '^flmping: .*inproc:.*lost\.h5$'

# --- with one ---

start flmd flmd -n 2 --endpoint "unix:$TEST_DIR/flmd.sock"
flmd=$pid
export FLM_ENDPOINT=unix:$TEST_DIR/flmd.sock
wait_for 'flmd is ready' flmctl status

run flmping -t 20000
check_equal 'text: status 0' 0 "$status"
check_match 'text: tasks and rate' "$out" '^20,000 tasks, 64 B in, 8 B out: .* tasks/s$'
check_match 'text: percentiles' "$out" '^round trip in us: p50 [0-9.]+  p90 [0-9.]+  p99 [0-9.]+  max [0-9.]+'
check_equal 'text: nothing on standard error when it is no terminal' '' "$err"

run flmping -t 30000 --json -s 100 -o 50
check_equal 'json: status 0' 0 "$status"
for want in tasks=30000 succeeded=30000 failed=0 wrong=0 duplicated=0 lost=0 cancelled=0 input_bytes=100 \
    output_bytes=50 window=4096 executors=2 interrupted=false error=null; do
    check_equal "json: $want" "${want#*=}" "$(field "${want%=*}")"
done
for name in seconds tasks_per_second p50_us p90_us p99_us max_us; do
    check_match "json: $name is a number above 0" "$(field $name)" '^[0-9.e+-]*[1-9]'
done
check_match 'json: percentiles are in order' \
    "$(python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["p50_us"]<=d["p90_us"]<=d["p99_us"]<=d["max_us"])' <<<"$out")" True

for transport in $(transports); do
    provider=()
    [ "$transport" = ring ] || provider=(--provider "$transport")
    for sizes in '0 0' '1 1' '7 8' '8 9' '9 0' '0 23' '24 24' '4096 4097' '4097 4096' '32768 32768' '32769 40000' \
        '1M 1M' '3M 5'; do
        read -r in out_size <<<"$sizes"
        run flmping -t 100 -s "$in" -o "$out_size" "${provider[@]}" --json
        check_equal "$transport, $in in, $out_size out: status 0" 0 "$status"
        check_equal "$transport, $in in, $out_size out: every output right" '100 0' "$(field succeeded) $(field wrong)"
        [ "$status" -eq 0 ] || echo "$err"
    done
    check "$transport, one in flight" flmping -t 300 -w 1 "${provider[@]}"
    check "$transport, all in flight" flmping -t 200000 -w 1M "${provider[@]}"
    run flmping -t 200 --latency --json "${provider[@]}"
    check_equal "$transport, --latency measures each" '0 200 1' "$status $(field sampled) $(field window)"
    run flmping -t 20 --latency --pause 1ms --json "${provider[@]}"
    check_equal "$transport, --pause" '0 20' "$status $(field sampled)"
done

run flmping -t 1000 --fail-every 10 --json
check_equal '--fail-every: status 1' 1 "$status"
check_equal '--fail-every: exactly these fail' '100 900 0' "$(field failed) $(field succeeded) $(field wrong)"
check_equal '--fail-every: the rate is of those that succeed' True \
    "$(python3 -c 'import json, sys; d = json.loads(sys.argv[1][sys.argv[1].index("{"):]); print(abs(d["tasks_per_second"] * d["seconds"] - 900) < 1)' "$out")"
check_match '--fail-every: the reason is told' "$out" 'task [0-9]*0 '
check_contains '--fail-every: with what the service said' "$out" 'failed as asked'

run flmping -t 4 -d 5s --sleep --deadline 200ms --json
check_equal 'a deadline: status 1' 1 "$status"
check_equal 'a deadline: all fail' 4 "$(field failed)"
check_contains 'a deadline: is the reason' "$(field failures)" deadline
check_equal 'a deadline: is no loss' 0 "$(field retried)"

run flmping -t 1000 --mix 10:1ms --json
check_equal '--mix: status 0' 0 "$status"
check_equal '--mix: at least the time that two executors need' True \
    "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["seconds"] >= 10 * 0.001 / 2)' <<<"$out")"

check 'a session of a given name' flmping -t 10 --session-id named
check_contains 'is listed under it' "$(flmctl list -s)" named

run flmping -t 10 --session-id 'no good'
check_equal 'a name that is none: status 1' 1 "$status"
check_match 'a name that is none: it is said' "$err" '^flmping: '

flmping -t 100 >/dev/full 2>full.err
check_equal 'a full disk: status 1' 1 $?
check_contains 'a full disk: it is said' "$(cat full.err)" 'standard output'
flmping -t 100 --json | true
check_equal 'a reader that is gone: no signal' 1 "${PIPESTATUS[0]}"

# --- interrupts ---

start long flmping -t 1G -d 1ms --session-id interrupted --json
long=$pid
running() { flmctl list -s -o json | grep -q '"interrupted"' && [ "$(tasks_done interrupted)" -gt 3 ]; }
tasks_done() {
    flmctl list -s -o json |
        python3 -c 'import json, sys; print(sum(s["succeed"] for s in json.load(sys.stdin) if s["id"] == sys.argv[1]))' "$1"
}
wait_for 'a long run is under way' running
kill -INT "$long"
wait "$long"
check_equal 'an interrupt: status 130' 130 $?
out=$(cat long.log)
check_equal 'an interrupt: told' true "$(field interrupted)"
check_equal 'an interrupt: every task is accounted for' True \
    "$(python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["succeeded"] > 3 and d["lost"] == d["wrong"] == d["duplicated"] == 0)' <<<"$out")"
check 'and the instance goes on' flmping -t 1000

kill "$flmd"
wait "$flmd"
check_equal 'flmd ends in order' 0 $?
run flmping -t 10
check_equal 'afterwards: status 1' 1 "$status"
