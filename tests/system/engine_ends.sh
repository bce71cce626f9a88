#!/bin/bash
# The ends of an instance: services get their time to leave, and nothing survives who watched over it.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

# An application whose service takes half a second to leave its session, and then says that it did.
cat >leaves.app <<END
[application]
name = leaves
shim = so
command = $services/odd.so
environment = ODD_LEAVE=$TEST_DIR/left
delay_release_ms = 60000
END

printf '[application]\nname = naps\nshim = exec\ncommand = sh %s\n' "$TEST_DIR/naps.sh" >naps.app
cat >naps.sh <<END
sleep 1000 &
echo \$! >>$TEST_DIR/started
echo \$\$ >>$TEST_DIR/started
wait
END

left() { # how many sessions were left in order; once more from none
    local n=0
    [ ! -e left ] || n=$(wc -l <left)
    rm -f left
    echo "$n"
}

# A client that keeps its session open on both executors.
hold_session() {
    start client "$client" -a leaves.app -i ok -n 20 -m 1 -C 1000000
    holder=$pid
    wait_for 'the session is entered' bash -c \
        "[ \"\$(flmctl -o json list -e | jq '[.[] | select(.state == \"Bound\")] | length')\" -ge 1 ]"
}

is_gone() { # or dead, and not reaped by who adopted it
    ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status"
}

let_go() {
    kill -KILL "$holder" 2>/dev/null
    wait "$holder" 2>/dev/null
}

bound() {
    flmctl -o json list -e | jq '[.[] | select(.state == "Bound")] | length'
}

for transport in $(transports); do
    engine -n 2
    idle_executors 2
    hold_session
    n=$(bound)
    engine_end
    check_equal "flmd is told to end: services leave their session in their own time ($transport)" "$n" "$(left)"
    let_go

    engine -n 2
    idle_executors 2
    hold_session
    n=$(bound)
    kill "$(flmctl -o json list -n | jq '.[0].pid')"
    wait_for 'services leave their session also when their agent is told to end' test -e left
    wait_for 'all of them' bash -c "[ \$(wc -l <left) = $n ]"
    rm -f left
    engine_end
    let_go
    rm -f left

    # Applications that clients registered for themselves go with them, however they end.
    engine -n 2
    start killed flmexec -- sleep ::: 1000
    killed=$pid
    start ping flmping -t 100000000
    ping=$pid
    wait_for 'two clients have registered their applications' bash -c \
        '[ "$(flmctl -o json list -a | jq length)" = 2 ]'
    run timeout 60 flmping -t 1000
    check_equal 'another client that uses the same and ends does not take it along' '0 2' \
        "$status $(flmctl -o json list -a | jq length)"
    kill -KILL $killed $ping
    wait $killed $ping 2>/dev/null
    wait_for 'both are killed: nothing is registered any more' bash -c '[ "$(flmctl -o json list -a)" = "[]" ]'
    engine_end

    # What an executor has started goes with it, though the agent that would see to it is gone as well.
    engine -n 2
    idle_executors 2
    start naps "$client" -a naps.app -n 2 -C 1000000
    holder=$pid
    # (That both run also shows that the second task does not stay behind the first, which never ends.)
    wait_for 'two commands run' bash -c "[ \$(wc -l <started) = 4 ]"
    all="$(executors) $(cat started)"
    rm started
    kill -STOP "$(executors | head -n 1)"
    kill -KILL "$(flmctl -o json list -n | jq '.[0].pid')"
    for pid in $all; do
        wait_for "an agent is killed: its executors and what they started go, too (process $pid)" is_gone "$pid"
    done
    let_go
    engine_end
    rm -f started

    [ "$transport" = ring ] && more=() || more=(--provider "$transport")
    run flmrun -n 2 "${more[@]}" -- "$client" -a leaves.app -i ok
    check_equal 'the end of a run: the same' '1 x Succeed none 0 [ok] left 1' "$out left $(left)"
done
