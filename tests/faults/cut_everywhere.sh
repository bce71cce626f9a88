#!/bin/bash
# The journal of a scripted session, cut at every record boundary and in the middle of every record: flmd
# has then what the whole frames before the cut say.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

script() { # DURABILITY: 20 tasks, two clients, results acknowledged, the session closed
    local steady=$FLM_BUILDDIR/tests/system/steady
    rm -rf state
    engine -n 1 --state-dir "$TEST_DIR/state"
    run "$steady" -I cut -l "$services/steady.so" -D "$1" -n 10 -s 20 -o 45 -m 2 -k 4
    check_equal 'the first client dies after four results' 137 "$status"
    wait_for 'it is forgotten' bash -c "$steady -I cut -l $services/steady.so -D $1 -n 20 -s 20 -o 45 -m 3"
    check 'flmctl closes the session' flmctl close cut
    wait_for 'it is closed' bash -c "flmctl -o json list | jq -e '.[0].state == \"Closed\"'"
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    wait_for 'the executor is gone' bash -c "! grep -lszx FLM_TEST_ID=$FLM_TEST_ID /proc/[0-9]*/environ | xargs -rn1 dirname | xargs -rI{} cat {}/comm | grep -E 'flm-(node|exec|back)'"
}

for durability in journal sync; do
    script $durability
    run "$FLM_SRCDIR/tests/faults/cut_everywhere" state "$FLM_BUILDDIR/bin/flmd" "$FLM_BUILDDIR/bin/flmctl" "$TEST_DIR/cut"
    check_equal "flmd and the model agree wherever the journal ends ($durability)" '0 0 wrong' \
        "$status ${out##*, }" || printf '%s\n' "$out" "$err"
    echo "    $out"
    # 11, what was spent, is recorded from time to time.
    check_match 'and the script has it all' "$out" 'types \[1, 3, 5, 6, 7(, 11)?\]'
done
