#!/bin/bash
# flmctl: every command, in every format, and its errors.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# json EXPRESSION: of d, the JSON in $out
json() {
    python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$out"
}
# csv EXPRESSION: of rows, the CSV in $out
csv() {
    python3 -c 'import csv, io, sys; rows = list(csv.reader(io.StringIO(sys.stdin.read(), newline="")))
print(eval(sys.argv[1]))' "$1" <<<"$out"
}

# --- without a session manager ---

run flmctl list -s --endpoint "unix:$TEST_DIR/nobody"
check_equal 'nobody answers: status 1' 1 "$status"
check_contains 'nobody answers: where' "$err" "no session manager answers at unix:$TEST_DIR/nobody"
check_contains 'nobody answers: what to do' "$err" 'flmrun'
check_equal 'nobody answers: it is said once' 1 "$(wc -l <<<"$err")"

for bad in '' 'nonsense' 'list x' 'list -z' 'view' 'view a b c' 'view a x' 'register' 'create' 'close' 'cancel' \
    'drain' '-o xml list' 'list -o' 'logs -e x' 'create --weight 5000 a' \
    'create --weight 0 a' 'list -a -e' 'create --deadline x a' \
    'create --durability maybe a' 'status x'; do
    # shellcheck disable=SC2086
    run flmctl --endpoint "unix:$TEST_DIR/nobody" $bad
    case $bad in
        'view a x') check_equal "flmctl $bad: fails" 1 "$status" ;; # it connects first
        *) check_equal "flmctl $bad: status 2" 2 "$status" ;;
    esac
    check_match "flmctl $bad: it is said" "$err" '^flmctl'
done

run flmctl version -o json
check_equal 'version' True "$(json '"version" in d')"
check_status 'delete of what is not there' 1 flmctl delete x

run flmctl doctor -o json
check_equal 'doctor: the states are ok, warn and FAIL' True "$(json 'all(c["state"] in ("ok", "warn", "FAIL") for c in d)')"
check_equal 'doctor: finds the programs' ok "$(json '[c["state"] for c in d if c["check"] == "flm-node"][0]')"
check_equal 'doctor: advice for what is not ok' True "$(json 'all(bool(c["advice"]) == (c["state"] != "ok") for c in d)')"
out=$(ulimit -n 64; flmctl doctor -o json)
check_equal 'doctor: few files: status 1' 1 $?
check_equal 'doctor: few files: FAIL' FAIL "$(json '[c["state"] for c in d if c["check"] == "open files"][0]')"
out=$(TMPDIR=/nonexistent flmctl doctor -o json)
check_equal 'doctor: no TMPDIR: FAIL' FAIL "$(json '[c["state"] for c in d if c["check"] == "disk (TMPDIR)"][0]')"
sleep 0.01 &
gone=$!
wait $gone
if (: >"/dev/shm/$gone:$(id -u):7") 2>/dev/null; then
    : >"/dev/shm/$$:$(id -u):7" # of a process that lives
    run flmctl doctor -o json
    check_match 'doctor: what libfabric left' "$(json '[c["state"] + " " + c["found"] for c in d if c["check"] == "left in /dev/shm"][0]')" \
        '^warn [0-9]+ files like /dev/shm/[0-9]+:'
    rm "/dev/shm/$gone:$(id -u):7" "/dev/shm/$$:$(id -u):7"
fi
mkdir -m 700 xdg
out=$(XDG_RUNTIME_DIR=$PWD/xdg flmctl doctor -o json)
check_match 'doctor: the runtime folder can be made' "$(json '[c["state"] + " " + c["found"] for c in d if c["check"] == "runtime folder"][0]')" \
    '^ok .*/'
check_equal 'doctor: leaves nothing there' '' "$(ls xdg)"
touch xdg/flame
out=$(XDG_RUNTIME_DIR=$PWD/xdg flmctl doctor -o json)
check_equal 'doctor: the runtime folder cannot be made: status 1' 1 $?
check_equal 'doctor: the runtime folder cannot be made: FAIL' FAIL "$(json '[c["state"] for c in d if c["check"] == "runtime folder"][0]')"
rm xdg/flame
if [ "$(id -u)" != 0 ]; then
    chmod 500 xdg
    out=$(XDG_RUNTIME_DIR=$PWD/xdg flmctl doctor -o json)
    check_equal 'doctor: a runtime folder with mode 0500: FAIL' FAIL "$(json '[c["state"] for c in d if c["check"] == "runtime folder"][0]')"
    chmod 700 xdg
fi
out=$(taskset -c "$(taskset -cp $$ | grep -oE '[0-9]+' | tail -1)" flmctl doctor -o json)
check_match 'doctor: fewer cores are seen' "$(json '[c["found"] for c in d if c["check"] == "cores"][0]')" '^1 '

# --- with one ---

start flmd flmd -n 2 --endpoint "unix:$TEST_DIR/flmd.sock"
flmd=$pid
wait_for 'flmd is ready' flmctl --endpoint "unix:$TEST_DIR/flmd.sock" status
export FLM_ENDPOINT=unix:$TEST_DIR/flmd.sock

run flmctl status -o json
check_equal 'status: the process' "$flmd" "$(json 'd["pid"]')"
check_contains 'status: the endpoint' "$(json 'd["endpoint"]')" "$TEST_DIR/flmd.sock"
run flmctl list -o csv
check_equal 'no sessions: the headings' "ID,State,App,Slots,Pending,Running,Succeed,Failed,Created,Cancelled"$'\r' "$out"
run flmctl list
check_match 'no sessions: the headings' "$out" '^ID +State +App +Slots +Pending +Running +Succeed +Failed +Created +Cancelled$'
run flmctl list -o json
check_equal 'no sessions: an empty list' 0 "$(json 'len(d)')"
executors() { flmctl list -e -o json | grep -q '"id": 1'; }
wait_for 'two executors' executors
run flmctl list -e -o json
check_equal 'executors: they have cores, a process, a node' True \
    "$(json 'len(d) == 2 and all(e["pid"] > 0 and e["node"] and "cpus" in e and e["transport"] == "ring" for e in d)')"
run flmctl list -n -o csv
check_equal 'nodes: one with two executors' True \
    "$(csv 'len(rows) == 2 and dict(zip(rows[0], rows[1]))["Executors"] == "2"')"
node=$(csv 'rows[1][0]')
run flmctl backend -o json
check_equal 'backend' local "$(json 'd[0]["backend"]')"
run flmctl backend --dry-run
check_match 'backend: what it would start' "$out" 'flm-node .*--name'

# --- applications ---

cat >talk.c <<'C'
#include <flm/service.h>
#include <stdio.h>
static int enter(const struct flm_session_info *info, void **state)
{
    (void)state;
    printf("entered %s\n", info->session);
    fprintf(stderr, "trouble, \"quoted\" \x1b[31m\xff\n");
    fflush(stdout);
    return 0;
}
static int invoke(struct flm_task_context *task, void *state)
{
    (void)task;
    (void)state;
    return 0;
}
FLM_SERVICE = {.abi = FLM_SERVICE_ABI, .name = "talk", .on_session_enter = enter, .on_task_invoke = invoke};
C
check 'a service compiles' "${FLM_TEST_CC:-cc}" -shared -fPIC -I"$FLM_SRCDIR/include" -o talk.so talk.c
cat >talk.ini <<'INI'
[application]
name = talk
description = says, "something"; that is all
shim = so
command = ./talk.so
working_directory = .
INI
run flmctl register talk.ini
check_equal 'register: prints the name' '0 talk' "$status $out"
check 'register: the same again' flmctl register talk.ini
sed -i 's/is all/was all/' talk.ini
run flmctl register talk.ini
check_equal 'register: something else of that name: status 1' 1 "$status"
check_contains 'register: something else of that name: what to do' "$err" '--replace'
check 'register --replace' flmctl register --replace talk.ini
run flmctl list -a -o json
check_equal 'list -a: json' "['talk', 'so', ['./talk.so']]" \
    "$(json '[[a["name"], a["shim"], a["command"]] for a in d if a["name"] == "talk"][0]')"
run flmctl list -a -o csv
check_equal 'list -a: csv quotes' 'says, "something"; that was all' \
    "$(csv '[dict(zip(rows[0], r))["Description"] for r in rows if r[0] == "talk"][0]')"
run flmctl list -a
check_match 'list -a: table' "$out" '^talk +so +\./talk\.so'
printf '[application]\nname = x\nshim = so\ncommnd = y\n' >bad.ini
run flmctl register bad.ini none.ini
check_equal 'register: mistakes: status 1' 1 "$status"
check_contains 'register: mistakes: file and line' "$err" "bad.ini:4: there is no key 'commnd'"
check_contains 'register: a file that is not there' "$err" 'none.ini: cannot read this file'

# --- sessions ---

printf 'common data' >common
run flmctl create talk --id mine --common common --deadline 10s --min-instances 1 --weight 3
check_equal 'create: prints the id' '0 mine' "$status $out"
run flmctl create talk --id mine
check_equal 'create: the id is taken: status 1' 1 "$status"
check_contains 'create: the id is taken: said' "$err" mine
check_status 'create: no such application' 1 flmctl create nothing
check_status 'create: no such file of common data' 1 flmctl create talk --common nothing
check_status 'create: a folder as common data' 1 flmctl create talk --common .
run flmctl list -o json
check_equal 'list: the session' "[('mine', 'Open', 'talk', 0)]" \
    "$(json '[(s["id"], s["state"], s["application"], s["failed"]) for s in d]')"
check_equal 'list: created today' True \
    "$(json '__import__("datetime").datetime.fromisoformat(d[0]["created"].rstrip("Z")).year >= 2024')"
run flmctl list
check_match 'list: a line' "$out" '^mine +Open +talk +[0-9]+ +0 +0 +0 +0 +20[0-9-]+ [0-9:]+ +0$'
run flmctl view mine -o json
check_equal 'view: options' '3 1' "$(json 'd["weight"]') $(json 'd["min_instances"]')"
check_equal 'view: events have time and text' True "$(json 'all(e["time"] and e["text"] for e in d["events"])')"
run flmctl view mine
check_match 'view: for people' "$out" '^State +Open$'
check_status 'view: no such session' 1 flmctl view nothing
check_status 'view: no such task' 1 flmctl view mine 5
check_status 'view: what is no task' 2 flmctl view mine x

# --- tasks, logs ---

check_status 'tasks that fail' 1 flmping -t 20 --fail-every 7 --session-id pings
run flmctl list -o json
check_equal 'list: they are counted' '[(18, 2)]' \
    "$(json '[(s["succeed"] - 1, s["failed"]) for s in d if s["id"] == "pings"]')"
run flmctl view pings --tasks -o json
check_equal 'view --tasks: the failed ones' "[('Failed', 'service', 7), ('Failed', 'service', 7)]" \
    "$(json '[(t["state"], t["reason"], t["code"]) for t in d["tasks"]]')"
task=$(json 'd["tasks"][0]["id"]')
run flmctl view pings "$task" -o json
check_equal 'view SESSION TASK: what the service said' True "$(json '"failed as asked" in d["message"]')"
check_equal 'view SESSION TASK: the input of what has ended is not known' None "$(json 'd["input_bytes"]')"
check_equal 'view SESSION TASK: where it ran' 'local True' "$(json '"%s %s" % (d["block"], d["node"] == "'"$(uname -n)"'")')"
run flmctl view pings -o json
check_equal 'view: where its tasks ran' "$(uname -n | cut -d. -f1) True" \
    "$(json '"%s %s" % (" ".join(p["node"].split(".")[0] for p in d["places"] if p["block"] == "local"), sum(p["tasks"] for p in d["places"]) == d["succeed"] + d["failed"])')"
run flmctl view pings
check_match 'view: where its tasks ran, for people' "$out" '^Block +Node +Executors now +Tasks done'
run flmctl view pings "$task"
check_match 'view SESSION TASK: for people' "$out" '^Reason +service$'
run flmctl view pings 2
check_equal 'view: a task that went well: status 1' 1 "$status"

logged() { flmctl logs mine | grep -q 'entered mine' && flmctl logs mine | grep -q 'trouble'; }
wait_for 'logs: what the service wrote when it entered' logged
run flmctl logs mine
check_contains 'logs: no escape sequences for the terminal' "$out" '\x1b[31m'
run flmctl logs -o csv mine
check_equal 'logs: csv' True "$(csv 'any(r[3] == "stderr" and r[4].startswith("trouble, \"quoted\"") for r in rows[1:])')"
out=$(flmctl logs -o json mine | grep trouble | tail -1)
check_equal 'logs: json' "('stderr', 'mine')" "$(json '(d["stream"], d["session"])')"
run flmctl logs nothing
check_equal 'logs: of nobody: nothing, status 1' '1 ' "$status $out"
check_contains 'logs: of nobody: it is said' "$err" "there is no session 'nothing'"
start follow flmctl logs -f mine
follow=$pid
followed() { grep -q 'entered mine' follow.log; }
wait_for 'logs -f: prints' followed
kill -0 "$follow"
check_equal 'logs -f: goes on' 0 $?
kill "$follow"
wait "$follow" 2>/dev/null

# --- ends ---

start watch flmctl watch mine
watch=$pid
check 'close' flmctl close mine
wait "$watch"
check_equal 'watch: ends with the session' 0 $?
check_match 'watch: printed events' "$(cat watch.log)" '^20[0-9-]+ [0-9:.]+  '
closed() { flmctl list -o json | grep -A1 '"mine"' | grep -q Closed; }
wait_for 'the session is Closed' closed
check_status 'close: no such session' 1 flmctl close nothing
check 'a session to cancel' flmctl create talk --id other
check 'cancel' flmctl cancel other
check_status 'cancel: no such session' 1 flmctl cancel nothing
check_status 'cancel: no such task' 2 flmctl cancel other x

start busy flmping -t 1M -d 10ms --session-id busy -q
busy=$pid
is_busy() { flmctl list -o json | grep -A3 '"busy"' | grep -q Open; }
wait_for 'a busy session' is_busy
check 'cancel under way' flmctl cancel busy
wait "$busy"
check_equal 'its client is told' 1 $?

# --- what runs, what waits ---

start long flmping -t 30 -d 20s --sleep -w 30 --deadline 60s --session-id long -q
long=$pid
both_run() { [ "$(flmctl list -o json | jq -r '.[] | select(.id == "long") | "\(.running) \(.pending)"')" = '2 28' ]; }
wait_for 'list: as many run as there are executors, what was sent ahead to them waits' both_run
run flmctl view long --tasks -o json
check_equal 'view --tasks: the same' '2 28' \
    "$(json 'len([t for t in d["tasks"] if t["state"] == "Running"])') $(json 'len([t for t in d["tasks"] if t["state"] == "Pending"])')"
task=$(json '[t["id"] for t in d["tasks"] if t["state"] == "Running"][0]')
run flmctl view long "$task" -o json
check_equal 'view SESSION TASK: of one that runs the start and the deadline' 'Running True 60000' \
    "$(json 'd["state"]') $(json 'd["started"] > "2024" and d["executor"] >= 0') $(json 'd["deadline_ms"]')"
run flmctl cancel long "$((task + 20))"
check_equal 'cancel: of a task that waits nothing is to be told' '0 ' "$status $err"
check_equal 'list: the column Cancelled' 1 \
    "$(flmctl list -o csv | python3 -c 'import csv, sys; print([r["Cancelled"] for r in csv.DictReader(sys.stdin) if r["ID"] == "long"][0])')"
check 'cancel the session' flmctl cancel long
wait "$long"
start deaf "$FLM_BUILDDIR/tests/system/client" -l "$FLM_BUILDDIR/tests/system/services/.libs/odd.so" -i 'sleep 600000' \
    -n 1 -I deaf
deaf=$pid
deaf_runs() { flmctl -o json view deaf 1 | grep -q Running; }
wait_for 'a task that heeds nothing runs' deaf_runs
run flmctl cancel deaf 1
check_equal 'cancel: that is no failure' 0 "$status"
check_match 'it is told that it runs on' "$err" "task 1 .*still runs.*flmctl cancel deaf"
check 'to cancel its session ends it' flmctl cancel deaf
wait "$deaf"

# --- an id again ---

check 'an id that a closed session had is free' flmctl create talk --id mine
check_match 'the closed one stays to be looked at' "$(flmctl list)" '^mine~1 +Closed'
check_status 'an id that an open one has is not' 1 flmctl create talk --id mine
check 'so often as one likes' flmctl close mine
check 'again' flmctl create talk --id mine
check_match 'both closed ones are there' "$(flmctl list)" '^mine~2 +Closed'
check 'and closed' flmctl close mine

check 'drain' flmctl drain "$node"
check_match 'drain: shown' "$(flmctl list -n)" "[Dd]rain"
check 'undrain' flmctl undrain "$node"
check 'undrained: tasks run' flmping -t 100
check_status 'drain: no such node' 1 flmctl drain nowhere

check 'unregister' flmctl unregister talk
check_status 'unregister: no such application' 1 flmctl unregister talk
run flmctl list -a -o json
check_equal 'unregistered' '[]' "$(json '[a for a in d if a["name"] == "talk"]')"

flmctl list -s >/dev/full 2>full.err
check_equal 'a full disk: status 1' 1 $?
check_contains 'a full disk: it is said' "$(cat full.err)" 'standard output'

check 'shutdown' flmctl shutdown
wait "$flmd"
check_equal 'flmd ends in order' 0 $?
check_status 'nobody is left' 1 flmctl status
