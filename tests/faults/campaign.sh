#!/bin/bash
# A short fault campaign for each transport. An hour of it: tests/faults/campaign --build BUILD --seconds 3600.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

seed=${FLM_TEST_SEED:-$(date +%j)} # another each day
for transport in $(transports); do
    run "$FLM_SRCDIR/tests/faults/campaign" --build "$FLM_BUILDDIR" --transport "$transport" \
        --seconds "${FLM_TEST_FAULT_SECONDS:-10}" --seed "$seed" --tasks "$(sized 20000 2000)" \
        --patience "$(sized 120 400)" ${FLM_TEST_SANITIZERS:+--no-preload}
    check_equal "nothing is lost, nothing comes twice, nothing is wrong ($transport)" '0 true 0 0 0' \
        "$status $(jq -r '"\(.good) \(.lost) \(.duplicated) \(.wrong)"' <<<"${out%%$'\n'*}")" ||
        printf '%s\n' "$out" "$err" | sed 's/^/    /'
    check_equal 'and something was done' true \
        "$(jq '.tasks > 100 and .lives_of_flmd > 2 and ([.kills[]] | add) > 10' <<<"${out%%$'\n'*}")"
done
