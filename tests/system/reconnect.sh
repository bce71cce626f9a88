#!/bin/bash
# A client outlives its session manager: its durable sessions go on with the next one, and each result comes
# once. It says so when none comes, or when the next one cannot go on.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so

begin() { engine --state-dir "$TEST_DIR/state" --segment-bytes 65536 "$@"; }

killed() { # flmd
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
}

pending() { # SESSION N: so many tasks wait
    wait_for "the tasks of $1 are with flmd" bash -c \
        "[ \"\$(flmctl -o json list | jq '.[] | select(.id == \"$1\") | .pending')\" = $2 ]"
}

some_wait() { # tasks of flmping, which keeps some on the way
    wait_for 'tasks wait' bash -c "[ \"\$(flmctl -o json list | jq 'last | .pending')\" -gt 0 ]"
}

waiting_client() { # ID N ARGUMENT...: its tasks wait, since nothing runs them
    local id=$1 n=$2
    shift 2
    begin --backend none
    start "$id" "$steady" -I "$id" -l "$service" -L "$TEST_DIR/$id.ids" -D journal -n "$n" "$@"
    client=$pid
    pending "$id" "$n"
}

ended() { # STATUS WHAT
    wait "$client"
    check_equal "$2" "$1" $?
}

goes_on() { # ID N ARGUMENT...
    waiting_client "$@" -y 300 -c
    killed
    begin -n 2
    wait_for 'results come' bash -c \
        "[ -s '$TEST_DIR/$1.ids' ] || ! kill -0 $client 2>/dev/null"
    killed
    begin -n 2
    ended 0 "$1: the client ends well"
    check_equal "$1: each result has come once" "$2 $2" \
        "$(sort -un "$1.ids" | wc -l) $(wc -l <"$1.ids")"
    check_equal "$1: and nothing is left" Closed \
        "$(flmctl -o json list | jq -r ".[] | select(.id == \"$1\") | .state")"
    engine_end
    rm -rf state
}

some_sessions() {
    begin --backend none
    start survivor "$FLM_BUILDDIR/tests/system/survivor" "$service"
    client=$pid
    wait_for 'tasks are submitted' grep -q ready survivor.log
    killed
    wait_for 'a session without durability is lost' bash -c "grep -q lost survivor.log || ! kill -0 $client"
    begin -n 1
    ended 0 'the durable one goes on' || sed 's/^/    /' survivor.log
    engine_end
    rm -rf state
}

says_so() {
    begin --backend none
    start ping flmping -t 500 --durability journal
    client=$pid
    some_wait
    killed
    wait_for 'flmping says that flmd is gone' grep -q 'trying to connect again for 30 s' ping.log
    begin -n 1
    ended 0 'flmping goes on'
    check_equal 'and says each once' '1 1' \
        "$(grep -c 'trying to connect again' ping.log) $(grep -c 'goes on with the session manager' ping.log)"
    engine_end
    rm -rf state
}

gives_up() {
    waiting_client late 10 -y 1
    killed
    ended 1 'a client gives up'
    check_match 'and says for how long it has tried' "$(<late.log)" 'none has come again within 1 s'
    rm -rf state
    waiting_client other 10 -y 300
    killed
    rm -rf state
    begin --backend none
    ended 1 'one that has another journal is refused'
    check_match 'by name' "$(<other.log)" 'does not have that session'
    killed
    rm -rf state
}

# The journal fails for ever: nobody waits for what cannot come.
bad_disk() {
    export FLM_BAD_DISK=$TEST_DIR/bad LD_PRELOAD=$FLM_BUILDDIR/tests/system/.libs/bad_disk.so
    begin --backend none
    unset LD_PRELOAD
    start doomed "$steady" -I doomed -l "$service" -D sync -n 10 -y 300
    client=$pid
    pending doomed 10
    touch bad
    run "$steady" -I late -l "$service" -D sync -n 10
    check_match 'a session is not opened on a failed journal' "$status $err" '^1 .*Input/output error'
    ended 1 'who waits is told'
    check_match 'why' "$(<doomed.log)" 'Input/output error'
    run "$steady" -I doomed -l "$service" -D sync -n 10
    check_match 'nor is one that was there' "$status $err" '^1 .*Input/output error'
    killed
    unset FLM_BAD_DISK
    rm -rf state
}

# A client that is not durable may be away for a while, if flmd is told so.
grace() {
    begin --backend none --client-grace "$1"
    start ping flmping -t 500 --session-id away
    client=$pid
    some_wait
    kill -KILL "$client"
    wait "$client" 2>/dev/null
}

grace_of_clients() {
    grace 1000
    wait_for 'flmd knows that the client is gone' bash -c \
        "flmctl view away | grep -q 'may come back for 1000 s'"
    check_match 'its session goes on meanwhile' "$(newest)" '^Open [1-9]'
    engine_end
    grace 1
    wait_for 'in the end it is cancelled' bash -c "flmctl -o csv list | grep -q ^away,Closed"
    check_match 'with all its tasks' "$(newest)" '^Closed 0 0 0 0 [1-9]'
    engine_end
}

for transport in $(transports); do
    goes_on "small-${transport%;*}" "$(sized 5000 1000)"
    goes_on "large-${transport%;*}" 60 -s 60000 -o 70000 -T
done
transport=ring
some_sessions
says_so
gives_up
[ -n "${FLM_TEST_SANITIZERS:-}" ] || bad_disk # they want to be loaded first
grace_of_clients
