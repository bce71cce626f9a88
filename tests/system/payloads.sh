#!/bin/bash
# Large payloads: their memory is used again, and what somebody still looks at is not touched.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

payloads() { # WHAT, EXPECTED, CASE
    run "$FLM_BUILDDIR/tests/system/payloads" "${@:3}"
    check_equal "$1" "$2" "$out$err"
}

for transport in $(transports); do
    engine -n 2
    payloads "results that are held stay ($transport)" unchanged held
    [ "$transport" != ring ] || payloads 'outputs lie where others have lain' 'again and again' reused
    payloads "inputs lie where others have lain ($transport)" 'again and again' inputs
    # between nodes each attempt has memory of its own
    [ "$transport" != ring ] || payloads 'but not where an executor was lost' 'never again' lost "$TEST_DIR/mark"
    engine_end
done
