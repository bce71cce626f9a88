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

    [ "$transport" = ring ] && more=() || more=(--provider "$transport")
    run flmrun -n 2 "${more[@]}" -- "$client" -a leaves.app -i ok
    check_equal 'the end of a run: the same' '1 x Succeed none 0 [ok] left 1' "$out left $(left)"
done
