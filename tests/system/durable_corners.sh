#!/bin/bash
# Corners of sessions that outlive their session manager; see durable.sh.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so

begin() {
    engine --state-dir "$TEST_DIR/state" "$@"
}

killed() { # flmd
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}

end() {
    engine_end
    rm -rf "$TEST_DIR/state" ./*.ids
}

client() { # ID ARGUMENT...
    local id=$1
    shift
    run "$steady" -I "$id" -l "$service" -L "$TEST_DIR/$id.ids" "$@"
}

counters() { # ID: "State Pending Succeed Failed Cancelled"
    flmctl -o json list |
        jq -r ".[] | select(.id == \"$1\") | \"\(.state) \(.pending) \(.succeed) \(.failed) \(.cancelled)\""
}

odd_sizes() {
    begin -n 2
    client odd -n 100 -D journal -d -s 21 -o 61
    wait_for 'all are done' bash -c '[ "$(flmctl -o json list | jq -r "last | .succeed")" = 100 ]'
    killed
    begin -n 2
    client odd -n 200 -D journal -s 21 -o 61 -c
    check_match 'inputs and outputs of odd sizes come back' "$status $out" '^0 delivered 200 wrong 0 failed 0'
    end
}

# More than the journal can hold at once, of any size: they wait, no task fails.
large_inputs() {
    begin -n 2
    for size in 40000 400000 3000000; do
        start large "$steady" -I "large$size" -l "$service" -D journal -n 60 -a -p -s $size -c
        large=$pid
        wait_for 'the client has stopped' grep -q '^State:.*T' "/proc/$large/status"
        kill -STOP "$flmd"
        kill -CONT "$large"
        [ "$transport" = ring ] || kill -CONT "$flmd" # which reads them
        wait_for 'it has submitted' grep -q 'has submitted' large.log
        kill -CONT "$flmd"
        wait "$large"
        check_match "inputs of $size bytes, all at once" "$? $(tail -n 1 large.log)" '^0 delivered 60 wrong 0 failed 0'
    done
    end
}

# Tasks that were cancelled, and whose client could not be told of all yet.
half_cancelled() {
    begin --backend none
    start waiting "$steady" -I half -l "$service" -D journal -n 100 -R 1
    waiting=$pid
    wait_for 'the tasks are there' bash -c '[ "$(flmctl -o json list | jq -r "last | .pending")" = 100 ]'
    kill -STOP "$waiting"
    flmctl cancel half
    check_match 'its client takes no results, so the session is not closed' "$(counters half)" '^Closing [1-9]'
    killed
    kill -KILL "$waiting"
    wait "$waiting"
    begin --backend none
    check_equal 'who comes later goes on with that' 'Closed 0 0 0 100' "$(counters half)"
    client half -n 100 -D journal -c
    check_match 'and all results come' "$out" '^delivered 0 wrong 0 failed 100'
    end
}

same_id() {
    begin -n 2
    client same -n 10 -D journal -c
    client same -n 20 -D journal -d
    killed
    begin -n 2
    check_equal 'the closed one has given up its id' 'same same~1' \
        "$(flmctl -o json list | jq -r '[.[].id] | sort | join(" ")')"
    client same -n 20 -D journal -c
    check_match 'the open one is found' "$out" '^delivered 20 wrong 0 failed 0 submitted 20'
    end
}


# A sync waits for what others have recorded, too, which nobody else may want to be synced.
beside_others() {
    begin --backend none
    client synced -n 10 -D sync -d
    client other -n 10 -D journal -d
    client synced -n 10 -D sync -d
    check_match 'what is not its own does not hold up flm_sync' "$status $out" '^0 .* durable 10$'
    end
}

for transport in $(transports); do
    odd_sizes
    large_inputs
done
transport=ring
half_cancelled
same_id
beside_others
