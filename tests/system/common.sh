#!/bin/bash
# Common data that change while a session goes on.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
updates=$FLM_BUILDDIR/tests/system/updates
service=$services/updates.so
export UPDATES_GATE=$TEST_DIR/gate

# Whether a process holds that much shared memory in one piece.
holds() { # PID BYTES
    local size
    for size in $(stat -L -c %s /proc/"$1"/fd/* 2>/dev/null); do
        [ "$size" -lt "$2" ] || return 0
    done
    return 1
}

# An executor dies while the agent reads a version for it that is not the newest any more.
lose_reader() {
    local agent
    engine -n 1
    idle_executors 1
    agent=$(flmctl -o json list -n | jq '.[0].pid')
    start reader "$updates" -l "$service" -r 2 -n 1 -s 20000000
    until holds "$agent" 100000000 || ! kill -0 "$pid" 2>/dev/null; do :; done
    kill -STOP "$agent"
    wait_for 'there is a newer version' bash -c '[ "$(flmctl -o json list | jq ".[-1] | .pending + .running")" = 2 ]'
    executors | xargs kill -KILL
    kill -CONT "$agent"
    check 'the session goes on with another executor' wait "$pid"
    check_match 'with every version' "$(cat reader.log)" '^versions 0\.\.2 tasks 2 wrong 0 '
    check_equal 'and the same agent' "$agent" "$(flmctl -o json list -n | jq '.[0].pid')"
    engine_end
}

# Nobody is shown a version that the disk does not have yet: the next flmd may know nothing of it.
slow_disk() {
    local executor shown=0
    export FLM_SLOW_DISK=$TEST_DIR/go LD_PRELOAD=$FLM_BUILDDIR/tests/system/.libs/bad_disk.so
    engine -n 2 --state-dir "$TEST_DIR/state"
    unset LD_PRELOAD
    start slow "$updates" -l "$service" -I slow -D sync -r 1 -n 1 -s 5000000 -G
    slow=$pid
    wait_for 'flmd has a new version' holds "$flmd" 40000000
    for _ in 1 2 3; do # executors would be told at once
        flmctl status >/dev/null
        for executor in $(executors); do
            ! holds "$executor" 40000000 || shown=1
        done
    done
    check_equal 'a version is not shown while it is not durable' 0 $shown
    touch go
    check 'it is then' wait "$slow"
    check_match 'and the tasks after that see it' "$(cat slow.log)" '^versions 1\.\.2 tasks 2 wrong 0 .* gated 1$'
    engine_end
    rm -rf state gate gate.begun
    unset FLM_SLOW_DISK
}

for transport in $(transports); do
    engine -n 2
    run "$updates" -l "$service" -r 100 -n 30
    check_match "tasks see the version that was there when they were submitted, or a newer one ($transport)" "$out" \
        '^versions 0\.\.100 tasks 3000 wrong 0 '
    check_match 'an executor maps one version, and the next at most' "$out" ' maps [12] '
    check_equal 'nothing is said of it' '' "$err"
    run "$updates" -l "$service" -r 4 -n 4 -s 3000000
    check_match 'large ones' "$out" '^versions 0\.\.4 tasks 16 wrong 0 '
    run "$updates" -l "$service" -r 8 -n 10 -G
    check_match 'a task that runs keeps what it began with, the others go on without it' "$out" \
        '^versions 1\.\.9 tasks 81 wrong 0 .* gated 1$'
    rm gate gate.begun
    # shellcheck disable=SC2016
    printf '[application]\nname = exec\nshim = exec\ncommand = bash -c "cat $FLM_COMMON; printf /$FLM_COMMON_VERSION/$FLM_COMMON_SIZE"\n' >exec.app
    run "$updates" -a exec.app -r 3 -t data
    check_equal 'commands get the newest' $'Succeed [data 1/1/6] \nhalf\nSucceed [data 2/2/6] \nSucceed [data 3/3/6] ' "$out"
    # shellcheck disable=SC2016
    printf '[application]\nname = print\nshim = exec\ncommand = bash -c "head -c 96 $FLM_COMMON"\n' >print.app
    run "$FLM_BUILDDIR/tests/system/patches" print.app 0
    check_equal 'threads patch at the same time, one after the other' "version 241: $(printf %s 0010{,}{,,}{,}{,})" "$out$err"
    engine_end

    # flmd is killed: the newest version is in the journal, and executors that survive have that or get it. Over
    # libfabric with patches.
    how=(-c 1000)
    [ "$transport" = ring ] || how+=(-P)
    engine -n 2 --state-dir "$TEST_DIR/state"
    rm -f rounds.log
    start rounds "$updates" -l "$service" -I keep -D journal -r 1000 -n 3 "${how[@]}"
    rounds=$pid
    wait_for 'it is in the middle' grep -q half rounds.log
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
    engine -n 2 --state-dir "$TEST_DIR/state"
    check "a client goes on with another flmd ($transport)" wait "$rounds"
    check_match 'with every version' "$(cat rounds.log)" '^versions 1\.\.[0-9]+ tasks 3000 wrong 0 '
    last=$(sed -n 's/^versions 1\.\.\([0-9]*\) .*/\1/p' rounds.log)
    run "$FLM_BUILDDIR/tests/system/patches" print.app 1
    check_equal 'in a durable session, too' "version 241: $(printf %s 0010{,}{,,}{,}{,})" "$out$err"
    run "$updates" -l "$service" -I keep -D journal -r 2 -n 10 "${how[@]}"
    check_match 'another client is told the newest' "$out$err" "^versions $last\\.\\.$((last + 2)) tasks 20 wrong 0 "
    engine_end
    rm -rf state
    [ "$transport" = ring ] || lose_reader
done
transport=ring
[ -n "${FLM_TEST_SANITIZERS:-}" ] || slow_disk # they want to be loaded first
