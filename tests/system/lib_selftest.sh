#!/bin/bash
# The library of the system tests finds what it is there to find.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# Runs its argument as a test of its own, which does not wait for what is left unless it is `patient`: fills
# $status and $out.
try() {
    {
        echo ". '$FLM_SRCDIR/tests/system/lib.sh'"
        # shellcheck disable=SC2016
        [ -n "${patient:-}" ] || echo 'settle() { "$1"; }'
        echo "$1"
    } >inner.sh
    run env -u FLM_TEST_ID bash inner.sh
    out=$(grep -v '^# took [0-9]* s$' <<<"$out")
}

try 'check_equal same a a'
check_equal 'a good test passes' 0 "$status"
check_equal 'and says what it checked' 'ok - same' "$out"

try 'check_equal same a b; ok after'
check_equal 'a check that fails fails the test' 1 "$status"
check_contains 'which says what was expected' "$out" 'expected: a'
check_contains 'and what came' "$out" 'got:      b'
check_contains 'and goes on' "$out" 'ok - after'

try 'fail broken; ok after'
check_equal 'fail ends the test' 'not ok - broken' "$out"

try 'skip "no such thing here"'
check_equal 'a skipped test' 77 "$status"

try ':'
check_equal 'a test without a check fails' 1 "$status"

try 'ok fine; exit 3'
check_equal 'a test that ends early fails' 3 "$status"

# Until it has its own name, it has not its own environment either, and cannot be told.
# shellcheck disable=SC2016
try 'ok fine; (setsid sh -c "echo \$\$ >there; exec sleep 100" & )
    until [ -s there ] && [ "$(cat /proc/"$(cat there)"/comm)" = sleep ]; do sleep 0.01; done'
check_equal 'a process that is left fails the test' 1 "$status"
check_contains 'which says which' "$out" 'sleep 100'
sleeper=$(sed -n 's/^ *\([0-9]*\): sleep 100.*/\1/p' <<<"$out")
wait_for 'and ends it' test ! -e "/proc/$sleeper/cmdline"

patient=yes try 'ok fine; start sleeper sleep 100'
check_equal 'a process in the background is ended' 0 "$status"

leftover=flm-selftest-$$
try "ok fine; touch /dev/shm/$leftover"
check_equal 'a file that is left in /dev/shm fails the test' 1 "$status"
check_contains 'which says which' "$out" "$leftover"
rm -f "/dev/shm/$leftover"

try 'touch here; pwd; ok fine'
check_equal 'the folder of the test is gone' '' "$(ls -d "$(head -1 <<<"$out")" 2>/dev/null)"

# shellcheck disable=SC2016
FLM_ENDPOINT=tcp:nowhere:1 try 'check_equal "no endpoint" "" "${FLM_ENDPOINT-}"'
check_equal 'settings of the user do not reach the test' 0 "$status"
