#!/bin/bash
# SIGINT and SIGTERM at any moment of any program: it ends, and nothing of it is left.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

rounds=${FLM_TEST_ROUNDS:-50}
RANDOM=${FLM_TEST_SEED:-$$}

of_this_test() { # processes
    (
        export -n FLM_TEST_ID
        left_processes
    )
}

# begin NAME COMMAND...: as start, but with signals as a terminal's programs have them.
begin() {
    local name=$1
    shift
    start "$name" env --default-signal=INT,TERM "$@"
}

# Ends $pid by a random signal after at most $1 ms; fails when it does not end.
interrupt() { # MS WHAT
    local signal=INT end
    [ $((RANDOM % 2)) = 0 ] || signal=TERM
    sleep "0.$(printf %03d $((RANDOM % $1)))"
    kill -$signal "$pid" 2>/dev/null
    end=$((SECONDS + FLM_TEST_PATIENCE))
    while kill -0 "$pid" 2>/dev/null && [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" != Z ]; do
        [ $SECONDS -lt $end ] || fail "SIG$signal ends $2" "it still runs after $FLM_TEST_PATIENCE s"
        sleep 0.01
    done
    wait "$pid"
    last=$?
    case $last in
        0 | 1 | 130 | 143) ;;
        *) not_ok "SIG$signal ends $2 in order" "status $last: $(tail -5 "$3.log")" ;;
    esac
}

nothing_left() { # WHAT
    local left end=$((SECONDS + FLM_TEST_PATIENCE))
    while left=$(of_this_test) && [ -n "$left" ]; do
        # shellcheck disable=SC2086
        [ $SECONDS -lt $end ] || fail "no process of $1 is left" "$(for p in $left; do say_process "$p"; done)"
        sleep 0.02
    done
    left=$(find "$TEST_DIR/run" -mindepth 1 \( -type s -o -name 'node-*' -o -name 'run-*' \) )
    [ -z "$left" ] || fail "no file of $1 is left" "$left"
}

for transport in $(transports); do
    provider=()
    [ "$transport" = ring ] || provider=(--provider "$transport")
    for ((i = 0; i < rounds; i++)); do
        begin hand flmd -e "unix:$TEST_DIR/run/flmd.sock" --directory "$TEST_DIR/run" -n 2 "${provider[@]}"
        interrupt 300 flmd hand
        nothing_left flmd
    done
    ok "flmd by hand, $rounds times ($transport)"
    for ((i = 0; i < rounds; i++)); do
        begin private flmrun -n 2 "${provider[@]}" -- flmping -t 100000000
        interrupt 500 flmrun private
        nothing_left flmrun
    done
    ok "flmrun, $rounds times ($transport)"

    engine -n 2
    idle_executors 2
    "$client" -l "$services/odd.so" -i 'print hello' -n 5 >/dev/null
    begin endless flmping -t 100000000 --session-id endless
    endless=$pid
    wait_for 'a session to look at' bash -c 'flmctl -o json list | grep -q endless'
    for ((i = 0; i < rounds; i++)); do
        case $((RANDOM % 6)) in
            0) begin program flmping -t 100000000 ;;
            1) begin program flmping -t 100000000 -s 100000 -o 100000 ;;
            2) begin program flmexec -- sleep 0.05 ::: {1..1000} ;;
            3) begin program flmctl watch endless ;;
            4) begin program flmctl logs --follow ;;
            5) begin program flmctl list -s ;;
        esac
        interrupt 400 "$(tr '\0' ' ' <"/proc/$pid/cmdline")" program
    done
    ok "flmping, flmexec and flmctl, $rounds times ($transport)"
    kill -INT $endless
    wait $endless
    wait_for 'all their sessions end' bash -c \
        '[ -z "$(flmctl -o json list | jq -r ".[] | select(.state != \"Closed\") | .id")" ]'
    check 'the session manager works on' flmping -t 1000
    # Its own end, while somebody is at work.
    start flood flmping -t 100000000
    flood=$pid
    kill -INT "$flmd"
    wait "$flmd"
    check_equal 'and ends in order' 0 $?
    wait $flood
    nothing_left 'the instance'
done
