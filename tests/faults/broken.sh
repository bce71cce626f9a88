#!/bin/bash
# A session manager that is broken on purpose makes the fault campaign fail, soon.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# campaign FLAW: its report in $out
campaign() {
    FLM_BROKEN=$1 run "$FLM_SRCDIR/tests/faults/campaign" --build "$FLM_BUILDDIR" --seed 1 \
        --seconds "$2" --flmd "$FLM_BUILDDIR/tests/faults/flmd_broken" --tasks 4000 --patience "$3" \
        ${FLM_TEST_SANITIZERS:+--no-preload}
    report=${out%%$'\n'*}
    [ -n "$report" ] || report='{}'
}

campaign none 3 120
check_equal 'the flmd that can be broken is good as long as it is told nothing' '0 true' "$status $(jq .good <<<"$report")"
campaign dropped 6 4
check_equal 'a result that is dropped is found' '1 false true' "$status $(jq -r '"\(.good) \(.lost > 0)"' <<<"$report")" ||
    printf '%s\n' "$out" "$err"
campaign doubled 6 4
# The client may hear it twice; or one of the two notices that the numbers do not agree, on the ring or in a sync.
check_equal 'a result that comes twice is found' '1 false true' \
    "$status $(jq -r '"\(.good) \(.duplicated > 0 or (.failure // "" | test("malformed|acknowledged")))"' <<<"$report")" || printf '%s\n' "$out" "$err"
campaign torn 12 30
check_equal 'a torn record that is believed is found' '1 false' "$status $(jq -r .good <<<"$report")" ||
    printf '%s\n' "$out" "$err"
# by the end of flmd, or by what a service says of its input
check_match 'and that was it' "$(jq -r .failure <<<"$report")" 'torn end|flipped bit|flmd ended|Failed service|wrong'
