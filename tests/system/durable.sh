#!/bin/bash
# Sessions that outlive their clients and their session manager: no result is lost, none comes twice to one
# client, and who comes later goes on where the last one was.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so

begin() { # segments are small, so that they roll and are written again
    engine -n 2 --state-dir "$TEST_DIR/state" --segment-bytes 65536
}

killed() { # flmd
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}

client() { # ID ARGUMENT...
    local id=$1
    shift
    run "$steady" -I "$id" -l "$service" -L "$TEST_DIR/$id.ids" "$@"
}

all_there() { # ID N: each id at least once in what its clients have written
    check_equal "$1: each result has come" "$2" "$(sort -un "$TEST_DIR/$1.ids" | wc -l)"
}

once_each() { # ID N
    check_equal "$1: each result has come once" "$2 $2" \
        "$(sort -un "$TEST_DIR/$1.ids" | wc -l) $(wc -l <"$TEST_DIR/$1.ids")"
}

events_of() {
    flmctl view "$1" | grep -o 'taken up from the journal.*'
}

without_state_dir() {
    engine -n 1
    client none -n 10 -D journal
    check_match 'without --state-dir there is no durability' "$err" '--state-dir'
    client detached -n 1000 -d
    check_equal 'a client submits and leaves' '0 1000' "$status $(sed 's/.*submitted \([0-9]*\).*/\1/' <<<"$out")"
    : >detached.ids
    client detached -n 1500 -c
    check_equal 'another takes the rest and goes on' 0 "$status"
    check_equal 'the session is closed' Closed "$(flmctl -o json list | jq -r '.[] | select(.id == "detached").state')"
    client killed -n 2000 -k 300
    client killed -n 2000 -c
    all_there killed 2000
    client taking -n 3000 -T -c
    once_each taking 3000
    engine_end
}

comes_back() { # DURABILITY: after SIGKILL of flmd and of its client
    begin
    client "$1" -n 3000 -D "$1" -k 1000
    client "$1" -n 5000 -D "$1" -d -s 200
    killed
    begin
    check_match "$1: the session is there again" "$(flmctl -o csv list)" "^$1,Open,"
    check_match "$1: and says so" "$(events_of "$1")" 'results wait'
    client "$1" -n 6000 -D "$1" -c
    check_equal "$1: its tasks are done" '0 6000' "$status $(sed 's/.*submitted \([0-9]*\).*/\1/' <<<"$out")"
    kill "$flmd"
    wait "$flmd"
    begin
    check_equal "$1: and it is closed, with all its numbers" "Closed 0 6000 0" \
        "$(flmctl -o json list | jq -r ".[] | select(.id == \"$1\") | \"\(.state) \(.pending) \(.succeed) \(.failed)\"")"
    engine_end
    run flmctl fsck "$TEST_DIR/state"
    check_equal "$1: fsck finds nothing" 0 "$status"
    rm -rf "$TEST_DIR/state"
}

# A client that goes on with whatever session manager there is, while that is killed again and again.
killed_again_and_again() { # NAME ARGUMENT...
    local name=$1
    shift
    begin
    start again "$steady" -I again -l "$service" -L "$TEST_DIR/again.ids" -D journal -r 60 -c "$@"
    again=$pid
    for _ in 1 2 3 4 5 6; do
        wait_for "$name: results come" bash -c \
            "[ \"\$(flmctl -o json list | jq -r '[.[] | .succeed] | add // 0')\" -gt $((RANDOM % 400)) ] || ! kill -0 $again 2>/dev/null"
        killed
        begin
    done
    wait $again
    check_equal "$name: the client ended well" 0 $?
    all_there again "$(sed 's/.*submitted \([0-9]*\).*/\1/' again.log | tail -n 1)"
    engine_end
    rm -rf "$TEST_DIR/state" again.ids
}

# What the session manager is told to end is not cancelled.
ended_in_order() {
    begin
    start slow "$steady" -I slow -l "$service" -L "$TEST_DIR/slow.ids" -D sync -n 400 -u 20000
    slow=$pid
    wait_for 'tasks run' bash -c '[ "$(flmctl -o json list | jq -r "last | .succeed")" -gt 20 ]'
    kill "$flmd"
    wait "$flmd"
    check_equal 'flmd ends well' 0 $?
    wait $slow
    begin
    check_equal 'nothing was cancelled, nothing was charged' '0 0 0' \
        "$(flmctl -o json list | jq -r 'last | "\(.cancelled) \(.failed) \(.retried)"')"
    client slow -n 400 -D sync -c
    all_there slow 400
    engine_end
    rm -rf "$TEST_DIR/state"
}

one_at_a_time() {
    begin
    run flmd -e "unix:$TEST_DIR/run/other.sock" --directory "$TEST_DIR/run" --backend none --state-dir "$TEST_DIR/state"
    check_match 'a second session manager with the same state is refused' "$status $err" "^1 .*in use by process $flmd"
    engine_end
    rm -rf "$TEST_DIR/state"
}

damaged() {
    begin
    client damaged -n 3000 -D journal
    killed
    segment=$(find state/journal -name '*.flj' | sort | head -n 1)
    printf 'x' | dd of="$segment" bs=1 seek=3000 conv=notrunc 2>/dev/null
    run flmd -e "$FLM_ENDPOINT" --directory "$TEST_DIR/run" --backend none --state-dir "$TEST_DIR/state"
    check_match 'damage is refused by name' "$status $err" "^1 .*$(basename "$segment")"
    rm -rf "$TEST_DIR/state"
}

by_flmrun() {
    run flmrun -n 1 --state-dir "$TEST_DIR/state" -- "$steady" -I r -l "$service" -L "$TEST_DIR/r.ids" -D journal -n 1000 -k 200
    run flmrun -n 1 --state-dir "$TEST_DIR/state" -- true
    check_match 'flmrun does not go on by mistake' "$status $err" '^2 .*--resume'
    run flmrun -n 1 --state-dir "$TEST_DIR/state" --resume -- "$steady" -I r -l "$service" -L "$TEST_DIR/r.ids" -D journal -n 1000 -c
    check_equal 'flmrun --resume goes on' 0 "$status"
    all_there r 1000
    rm -rf "$TEST_DIR/state"
    run env -u FLM_ENDPOINT flmping -n 1 -t 2000 --durability sync --state-dir "$TEST_DIR/state" --json
    check_equal 'flmping --durability' '0 0 2000' "$status $(jq -r '"\(.failed) \(.succeeded)"' <<<"$out")"
    rm -rf "$TEST_DIR/state"
}

for transport in $(transports); do
    without_state_dir
    comes_back journal
    rm -f ./*.ids
    killed_again_and_again 'small tasks' -n 20000
    killed_again_and_again 'large payloads' -n 300 -s 60000 -o 70000
    rm -f ./*.ids
done
transport=ring
comes_back sync
ended_in_order
one_at_a_time
damaged
by_flmrun
