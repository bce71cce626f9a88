# Tests of the engine source this after lib.sh.
# shellcheck shell=bash disable=SC2034
services=$FLM_BUILDDIR/tests/system/services/.libs
client=$FLM_BUILDDIR/tests/system/client

# engine ARGUMENT...: a session manager with executors, at a socket of this test. FLM_ENDPOINT is set.
# The transport is the variable `transport` (default ring).
engine() {
    local more=()
    [ "${transport:-ring}" = ring ] || more=(--provider "$transport")
    export FLM_ENDPOINT=unix:$TEST_DIR/run/flmd.sock
    start flmd flmd -v -e "$FLM_ENDPOINT" --directory "$TEST_DIR/run" "${more[@]}" "$@"
    flmd=$pid
    wait_for "flmd answers (${transport:-ring})" flmctl status
}

engine_end() {
    kill "$flmd"
    wait_for 'flmd has ended' bash -c "! kill -0 $flmd"
    wait "$flmd"
}

# Counters of the newest session: "State Pending Running Succeed Failed Cancelled Retried"
newest() {
    flmctl -o json list | jq -r 'last | "\(.state) \(.pending) \(.running) \(.succeed) \(.failed) \(.cancelled) \(.retried)"'
}

executors() { # pids
    flmctl -o json list -e | jq -r '.[].pid | select(. > 0)'
}

idle_executors() { # waits until N are idle
    wait_for "$1 executors are there" bash -c "[ \"\$(flmctl -o json list -e | jq '[.[] | select(.state == \"Idle\")] | length')\" = $1 ]"
}

# A client that does things with objects (tests/system/objects.c), in the steps given.
steps() { # WHAT, EXPECTED, STEP...
    run "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" "${@:3}"
    check_equal "$1" "$2" "$out"
}

sanitized() { # flmd was built with a sanitizer, which wants much address space
    grep -q '__asan_init\|__tsan_init' "$FLM_BUILDDIR/bin/flmd"
}
