# System tests begin with:
#
#     #!/bin/bash
#     . "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
#
# They then run in a fresh folder of their own ($TEST_DIR, mode 0700, also the
# current one), with the programs of the build tree first in PATH, no endpoint or
# setting of the user's, and their own XDG_RUNTIME_DIR and HOME. Each check prints a
# line "ok - WHAT" or "not ok - WHAT" with what was expected and what came. A check
# that fails does not end the test; `fail` does. At the end, whatever happened,
# processes that the test started (they all carry FLM_TEST_ID in their environment)
# and files in /dev/shm must be gone; else the test fails, and says which were left.
#
#     check_equal WHAT EXPECTED GOT        check_match WHAT TEXT REGEX
#     check_contains WHAT TEXT PART        check_file WHAT FILE
#     check_status WHAT STATUS COMMAND...  check WHAT COMMAND...
#     wait_for WHAT COMMAND...             until it succeeds, at most $FLM_TEST_PATIENCE seconds
#     run COMMAND...                       fills $status, $out, $err; never ends the test
#     start NAME COMMAND...                in the background; pid in $pid, output in NAME.log
#     skip WHY                             ends the test as skipped
#     fail WHAT [DETAIL]                   ends it as failed
#     transports                           "ring" and the fabric providers this build can test
#     sized N SMALL                        N; SMALL in a build with sanitizers, where all takes longer
#
# FLM_TEST_KEEP=1 keeps the folder.
# shellcheck shell=bash disable=SC2034 # what `run` fills is for the tests

set -u
# Tests run side by side: where we may, each gets a /dev/shm of its own.
if [ -z "${FLM_TEST_OWN_SHM:-}" ] && [ "$(id -u)" -eq 0 ] &&
    unshare -m mount -t tmpfs -o mode=1777 tmpfs /dev/shm 2>/dev/null; then
    export FLM_TEST_OWN_SHM=1
    # shellcheck disable=SC2016
    exec unshare -m "$BASH" -c 'mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec "$BASH" "$@"' "$0" "$0" "$@"
fi
FLM_TEST_PATIENCE=${FLM_TEST_PATIENCE:-180} # a loaded machine is slow; who is done does not wait
test_name=$(basename "$0" .sh)
checks=0 failures=0 verdict=''
shm_before=$(find /dev/shm -mindepth 1 -maxdepth 1 -printf '%P\n' 2>/dev/null)

for name in $(compgen -e | grep '^FLM_'); do
    case $name in
        FLM_BUILDDIR | FLM_SRCDIR | FLM_TEST_*) ;;
        *) unset "$name" ;;
    esac
done
export FLM_MUNGE_SOCKET=/nonexistent # only tests with a munged of their own use munge
unset "${!OMPI_@}" "${!PMIX_@}" "${!SLURM_@}" "${!PBS_@}"
case $PATH in
    "$FLM_BUILDDIR/bin:"*) ;;
    *) export PATH="$FLM_BUILDDIR/bin:$PATH" ;;
esac
ulimit -S -c "${FLM_TEST_CORE:-0}" # FLM_TEST_CORE=unlimited, with FLM_TEST_KEEP=1, keeps what crashed
umask 022

TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/flm-XXXXXX") || exit 99
mkdir -m 0700 "$TEST_DIR/run" "$TEST_DIR/home" || exit 99
export FLM_TEST_ID="$test_name-$$-$RANDOM$RANDOM"
export XDG_RUNTIME_DIR="$TEST_DIR/run" HOME="$TEST_DIR/home"
unset XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME
cd "$TEST_DIR" || exit 99

# --- what a test says ---

ok() {
    checks=$((checks + 1))
    echo "ok - $1"
}

not_ok() {
    checks=$((checks + 1)) failures=$((failures + 1))
    echo "not ok - $1"
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/    /'
    return 1
}

fail() {
    not_ok "$@"
    verdict=failed
    exit 1
}

skip() {
    echo "skipped - $1"
    verdict=skipped
    exit 77
}

# --- checks ---

check_equal() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        not_ok "$1" "expected: $2"$'\n'"got:      $3"
    fi
}

check_contains() {
    case $2 in
        *"$3"*) ok "$1" ;;
        *) not_ok "$1" "expected a text with: $3"$'\n'"got: $2" ;;
    esac
}

check_match() {
    if grep -Eq -- "$3" <<<"$2"; then
        ok "$1"
    else
        not_ok "$1" "expected a line that matches: $3"$'\n'"got: $2"
    fi
}

check_file() {
    if [ -e "$2" ]; then
        ok "$1"
    else
        not_ok "$1" "there is no file $2"
    fi
}

run() {
    "$@" >"$TEST_DIR/.out" 2>"$TEST_DIR/.err" </dev/null
    status=$?
    out=$(tr -d '\0' <"$TEST_DIR/.out") err=$(tr -d '\0' <"$TEST_DIR/.err")
    return 0
}

check_status() {
    local what=$1 expected=$2
    shift 2
    run "$@"
    if [ "$status" -eq "$expected" ]; then
        ok "$what"
    else
        not_ok "$what" "command:  $*"$'\n'"expected: status $expected"$'\n'"got:      status $status"$'\n'"$out"$'\n'"$err"
    fi
}

check() {
    local what=$1
    shift
    check_status "$what" 0 "$@"
}

wait_for() {
    local what=$1 end=$((SECONDS + FLM_TEST_PATIENCE))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what" "waited $FLM_TEST_PATIENCE s for: $*"
        sleep 0.05
    done
    ok "$what"
}

# jq -e is content with no answer at all, as of an flmctl that has failed.
jq() {
    local text
    case " $* " in
        *' -e '*) text=$(cat) && [ -n "$text" ] && command jq "$@" <<<"$text" ;;
        *) command jq "$@" ;;
    esac
}
export -f jq

start() {
    local name=$1
    shift
    "$@" >"$TEST_DIR/$name.log" 2>&1 </dev/null &
    pid=$!
}

sized() {
    if [ -z "${FLM_TEST_SANITIZERS:-}" ]; then echo "$1"; else echo "$2"; fi
}

transports() {
    echo ring
    if ls "$FLM_BUILDDIR"/lib/flame/.libs/flm-fabric.so >/dev/null 2>&1; then echo 'tcp;ofi_rxm'; fi
}

# --- the end ---

# Pids of processes of this test. This shell and what it starts from `finish` on have no marker.
left_processes() {
    grep -lszx "FLM_TEST_ID=$FLM_TEST_ID" /proc/[0-9]*/environ 2>/dev/null |
        sed 's|^/proc/\([0-9]*\)/.*|\1|'
}

# New files in /dev/shm that no living process of others has open or mapped: tests run side by side.
left_shm() {
    local file
    find /dev/shm -mindepth 1 -maxdepth 1 -printf '%P\n' 2>/dev/null | while IFS= read -r file; do
        ! grep -qxF -e "$file" <<<"$shm_before" || continue
        grep -qsF -e "/dev/shm/$file" /proc/[0-9]*/maps && continue
        [ -z "$(find /proc/[0-9]*/fd -lname "/dev/shm/$file" -print -quit 2>/dev/null)" ] || continue
        echo "$file"
    done
}

# Waits until the function prints nothing; prints what it still says after a while.
settle() {
    local end=$((SECONDS + 15)) left
    while left=$("$1") && [ -n "$left" ] && [ $SECONDS -lt $end ]; do
        sleep 0.1
    done
    printf '%s' "$left"
}

say_process() {
    printf '%s: %s\n' "$1" "$(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null)"
}

finish() {
    local code=$? left pid
    trap - EXIT INT TERM HUP
    export -n FLM_TEST_ID
    echo "# took $SECONDS s"
    # shellcheck disable=SC2046
    [ -z "$(jobs -p)" ] || kill $(jobs -p) 2>/dev/null
    left=$(settle left_processes)
    if [ -n "$left" ]; then
        not_ok 'no process is left' "$(for pid in $left; do say_process "$pid"; done)"
        # shellcheck disable=SC2086
        kill -KILL $left 2>/dev/null
    fi
    left=$(settle left_shm)
    if [ -n "$left" ]; then
        not_ok 'no file is left in /dev/shm' "$left"
    fi
    if [ $failures -gt 0 ]; then
        tail -n 50 "$TEST_DIR"/*.log 2>/dev/null
    fi
    if [ -n "${FLM_TEST_KEEP:-}" ]; then
        echo "kept: $TEST_DIR"
    else
        cd / && rm -rf "$TEST_DIR"
    fi
    if [ $failures -gt 0 ]; then
        exit 1
    elif [ "$verdict" = skipped ]; then
        exit 77
    elif [ $code -ne 0 ]; then
        echo "not ok - the test itself ended with status $code"
        exit "$code"
    elif [ $checks -eq 0 ]; then
        echo "not ok - the test checked nothing"
        exit 1
    fi
    exit 0
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
