#!/bin/bash
# shellcheck disable=SC1003,SC1083,SC2016,SC2046 # what is for flmexec is not for this shell
# flmexec in a private instance and inside flmrun: commands, arguments, outputs,
# statuses. What is expected of places and sources is what GNU parallel prints.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
command -v flmrun >/dev/null || skip 'there is no flmrun'

# --- on its own ---

run flmexec echo {} ::: 'a b' "it's" 'c"d' '$x' 'é' '' '*' ';' '\'
check_equal 'a private instance runs jobs, arguments unchanged' \
    $'a b\nit\'s\nc"d\n$x\né\n\n*\n;\n\\' "$out"
check_equal 'and succeeds' 0 "$status"
check_equal 'and says nothing more' '' "$err"
run flmexec -j 2 'exit {}' ::: 0 3 0
check_equal 'a failed job is status 1' 1 "$status"
check_contains 'and is named' "$err" '1 of 3 jobs failed; it was job 2 (exit status 3)'
check_status 'no arguments are a success' 0 flmexec false :::
check_status 'nor on standard input' 0 flmexec -j 1 false
check_equal 'which ran nothing' '' "$out$err"
run flmexec -j 1 echo {} '>' ::: 1
check_equal 'an operator is warned of once' 1 "$(grep -c "'>' is given" <<<"$err")"
check_status '-j 0 is refused' 2 flmexec -j 0 true ::: 1
check_status 'an unknown option' 2 flmexec --no-such-option true ::: 1
check_status 'a file that is not there' 2 flmexec -a no-such-file echo
check_contains 'which is named' "$err" no-such-file
(FLM_ENDPOINT=unix:$TEST_DIR/nobody flmexec true ::: 1 2>no.err)
check_equal 'an instance that is not there' 3 $?

# --- the rest in one instance: this script again, inside flmrun ---

flmrun -n 2 -- env FLM_CASES="$TEST_DIR" bash "$FLM_SRCDIR/tests/system/flmexec_cases.sh" </dev/null 2>&1 | tee cases.log
check_equal 'flmrun passes its status' 0 "${PIPESTATUS[0]}"
check_match 'all cases have run' "$(tail -n 1 cases.log)" '^cases: [0-9]+, 0 wrong$'
