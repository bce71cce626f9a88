#!/bin/bash
# Executors, clients and agents are killed and stopped at random moments: what is left goes on, and every
# living client gets each result exactly once.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

# A thousand stops take some five minutes for each transport with FLM_TEST_STOPS=1000 FLM_TEST_LOSS_MS=200
# FLM_TEST_SLOTS=4 FLM_TEST_TASK_US=100.
rounds=${FLM_TEST_ROUNDS:-$(sized 40 15)}
stops_wanted=${FLM_TEST_STOPS:-$((rounds / 4))}
loss_ms=${FLM_TEST_LOSS_MS:-1000}
slots=${FLM_TEST_SLOTS:-2}
RANDOM=${FLM_TEST_SEED:-$$}

nap() { # at most $1 ms
    sleep "0.$(printf %03d $((RANDOM % $1)))"
}

one_of() {
    shift $((RANDOM % $#))
    echo "$1"
}

for transport in $(transports); do
    engine -n "$slots" --loss-time "$loss_ms"
    idle_executors "$slots"
    start ping flmping -t 100000000 -d 3 --json
    ping=$pid
    for ((i = 0; i < rounds; i++)); do
        nap 60
        # shellcheck disable=SC2046
        victim=$(one_of $(executors) 0)
        [ "$victim" = 0 ] || kill -KILL "$victim" 2>/dev/null
    done
    kill -INT $ping
    wait $ping
    check_equal "executors killed $rounds times ($transport): Ctrl-C still ends the client as asked" 130 $?
    check_equal 'no wrong, lost or doubled result' 'true 0 0 0' \
        "$(jq -r '"\(.interrupted) \(.failed) \(.wrong) \(.duplicated)"' <ping.log)"
    run flmping -t 100000 --json
    check_equal 'everything works as before' "0 0" "$status $(jq -r .failed <<<"$out")"

    # A stopped one is replaced after the loss time.
    start ping flmping -t 100000000 -d "${FLM_TEST_TASK_US:-0}" --json
    ping=$pid
    for ((stops = 0; stops < stops_wanted; )); do
        kill -0 $ping 2>/dev/null || break
        nap 200
        # shellcheck disable=SC2046
        victim=$(one_of $(executors) 0)
        if [ "$victim" != 0 ] && ! grep -qs '^State:.T' "/proc/$victim/status" && kill -STOP "$victim" 2>/dev/null; then
            stops=$((stops + 1))
        fi
    done
    kill -INT $ping
    wait $ping
    check_equal "executors stopped $stops times ($transport): no wrong, lost or doubled result" 'true 0 0 0' \
        "$(jq -r '"\(.interrupted) \(.failed) \(.wrong) \(.duplicated)"' <ping.log)"

    for ((i = 0; i < rounds; i++)); do
        start flood flmping -t 100000000
        nap 50
        kill -"$(one_of KILL STOP)" $pid 2>/dev/null
        nap 50
        kill -KILL $pid 2>/dev/null
        wait $pid 2>/dev/null
    done
    ok "clients killed or stopped $rounds times in a flood"
    start stopped flmping -t 100000000
    stopped=$pid
    sleep 0.3
    kill -STOP $stopped
    run flmping -t 200000 --json
    check_equal 'a stopped client costs nobody else anything' "0 0" "$status $(jq -r .failed <<<"$out")"
    kill -KILL $stopped
    wait $stopped 2>/dev/null
    wait_for 'sessions of dead clients end' bash -c \
        '[ -z "$(flmctl -o json list | jq -r ".[] | select(.state != \"Closed\") | .id")" ]'

    start ping flmping -t 2000000 -d 1 --json
    ping=$pid
    for ((i = 0; i < 3; i++)); do
        nap 300
        kill -KILL "$(flmctl -o json list -n | jq -r '.[0].pid // empty')" 2>/dev/null
    done
    wait $ping
    check_equal "an agent that is killed comes back, and nothing is lost ($transport)" 0 $?
    check_equal 'and its successor has cleared up after it' 1 "$(find run -name 'node-*' | wc -l)"

    start ping flmping -t 100000000
    ping=$pid
    nap 500
    kill -KILL "$flmd"
    wait $ping
    check_equal 'flmd is killed: the client ends with an error' true "$([ $? -ne 0 ] && echo true)"
    check_match 'and says what happened' "$(cat ping.log)" 'session manager'
    wait "$flmd" 2>/dev/null
    wait_for 'executors and agents end by themselves' bash -c \
        "! grep -lszx FLM_TEST_ID=$FLM_TEST_ID /proc/[0-9]*/environ | xargs -rn1 dirname | xargs -rI{} cat {}/comm | grep -E 'flm-(node|exec|back)'"
done

# Without -v the log has a line for each executor that was lost, and not for each of very many.
export FLM_ENDPOINT=unix:$TEST_DIR/run/quiet.sock
start quiet flmd -e "$FLM_ENDPOINT" --directory "$TEST_DIR/run" -n 1
quiet=$pid
wait_for 'a session manager without -v' flmctl status
run "$client" -l "$services/odd.so" -i segv -n 1
check_match 'says which executor was lost, and how' "$(cat quiet.log)" \
    '^flmd: executor 0 of node .* in session .* is lost: process .*(signal|exited)'
run "$client" -l "$services/odd.so" -i segv -n 20
check_equal 'but not too often' 1 "$(($(grep -c 'is lost' quiet.log) <= 20))"
kill "$quiet"
wait "$quiet"
check_equal 'and ends in order' 0 $?
