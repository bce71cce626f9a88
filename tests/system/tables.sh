#!/bin/bash
# The tables for operators: what the guide says of them works, and they outlive everybody.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
steady=$FLM_BUILDDIR/tests/system/steady
service=$services/steady.so
[ -x "$FLM_BUILDDIR/bin/flm-tables" ] || skip 'built without SQLite'
command -v sqlite3 >/dev/null || skip 'there is no sqlite3'

query() {
    sqlite3 -readonly "$TEST_DIR/state/flame.sqlite" ".timeout 10000" "$1"
}
export -f query
export TEST_DIR

begin() {
    engine -n 2 --state-dir "$TEST_DIR/state"
}

begin
run "$steady" -I first -l "$service" -D journal -n 100 -c
run "$steady" -I second -l "$service" -n 50 # it is not durable
wait_for 'a session is there' bash -c '[ "$(query "SELECT id, state, succeed FROM sessions WHERE id = '"'first'"'")" = "first|Closed|100" ]'
wait_for 'and its application' bash -c '[ "$(query "SELECT shim FROM applications WHERE name = '"'steady'"'")" = so ]'
check_match 'and what happened' "$(query "SELECT text FROM events WHERE session = 'first'")" '^created by steady'
check_match 'to executors, too' "$(query 'SELECT text FROM events WHERE executor IS NOT NULL')" '^entered session first'
check_equal 'others do not read it' 600 "$(stat -c %a state/flame.sqlite)"
while read -r line; do
    check_match "the guide: $line" "$(query "$line" 2>&1)" '^.*[|]'
done < <(sed -n 's/^    \(SELECT .*\)/\1/p' "$FLM_SRCDIR/doc/tables.md")
check_match 'the guide speaks of no other columns' \
    "$(query "SELECT group_concat(name) FROM pragma_table_info('sessions')")" \
    'created,id,application,state,client,slots,pending,running,succeed,failed,cancelled,retried,closed,trouble,results_file,results_rows,updated'
kill -KILL "$flmd"
wait "$flmd" 2>/dev/null
rm -f run/flmd.sock
begin
wait_for 'a session that ended with its flmd is lost' bash -c '[ "$(query "SELECT state FROM sessions WHERE id = '"'second'"'")" = Lost ]'
check_equal 'the others are not' Closed "$(query "SELECT state FROM sessions WHERE id = 'first'")"
kill -KILL "$(pgrep -P "$flmd" -x flm-tables)"
run "$steady" -I third -l "$service" -D journal -n 10 -c
wait_for 'who keeps them is replaced' bash -c '[ "$(query "SELECT succeed FROM sessions WHERE id = '"'third'"'")" = 10 ]'
run "$steady" -I fourth -l "$service" -D journal -n 10 -c
engine_end
check_equal 'when flmd has ended in order all is there' 10 "$(query "SELECT succeed FROM sessions WHERE id = 'fourth'")"
printf 'no database at all, but long enough to be looked at' | dd of=state/flame.sqlite conv=notrunc 2>/dev/null
begin
wait_for 'what is damaged is put aside' test -e state/flame.sqlite.damaged
wait_for 'and new tables begin' bash -c '[ "$(query "SELECT count(*) FROM sessions")" = 3 ]'
engine_end
