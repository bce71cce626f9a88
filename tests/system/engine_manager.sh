#!/bin/bash
# The session manager's books: room that is promised and given back, requests that meet tasks on the way,
# sessions that end under their client, nodes that do not answer.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
probe=$FLM_BUILDDIR/tests/system/probe

descriptors() { find "/proc/$flmd/fd" -mindepth 1 | wc -l; }

for transport in $(transports); do
    engine -n 2
    idle_executors 2
    run "$probe" reattach "$services/odd.so"
    check_equal "a client that comes back gets the room that is left ($transport)" \
        $'the first client had room: as much as it asked for\nfive later ones had room for one each at most' "$out"
    run timeout 100 "$probe" room "$services/odd.so" closed
    check_equal 'refused tasks give their room back' \
        '2000 of 2000 answered, 0 succeeded, FLM_ECLOSED, many at a time' "$out"
    run timeout 100 "$probe" room "$services/no_symbol.so" trouble
    check_equal 'tasks that no executor can run give their room back' \
        '2000 of 2000 answered, 0 succeeded, FLM_EBIND, many at a time' "$out"
    run timeout 100 "$probe" room "$services/odd.so" plain
    check_equal 'and so do those that are run' \
        '2000 of 2000 answered, 2000 succeeded, FLM_OK, many at a time' "$out"
    run timeout 100 "$probe" large-and-sync "$services/odd.so"
    check_equal 'requests right behind large tasks' '1250 of 1250 answered, 0 failed' "$out"
    clients=()
    for k in $(seq 12); do
        start "large$k" timeout 100 "$probe" large-and-sync "$services/odd.so"
        clients+=("$pid")
    done
    wait "${clients[@]}"
    check_equal 'inputs that are read when their task is cancelled' '12 1250 of 1250 answered, 0 failed' \
        "$(cat large*.log | sort | uniq -c | sed 's/^ *//')"
    before=$(descriptors)
    run timeout 100 "$probe" cancel-large "$services/odd.so"
    check_equal 'large inputs that wait are cancelled' '100 answered' "$out"
    wait_for 'and nothing of them stays open' bash -c "[ \$(find /proc/$flmd/fd -mindepth 1 | wc -l) -le $before ]"
    run timeout 100 "$probe" many-sessions "$services/odd.so"
    check_equal 'an old session ends after 300 younger ones' '1 succeeded' "$out"
    run timeout 100 "$probe" ended-by-others "$services/odd.so"
    check_equal 'a session that others ended answers what is sent to it' \
        '310 of 310 answered, the late ones: the session is closed' "$out"
    run timeout 100 "$probe" clever-id "$services/odd.so"
    check_equal 'ids that look like ours are in nobody'\''s way' 'all could be created' "$out"
    start many "$client" -l "$services/odd.so" -i 'sleep 100000' -n 100000 -r 200000 -I many -H 1500
    many=$pid
    wait_for 'a hundred thousand tasks wait' bash -c \
        '[ "$(flmctl -o json list -s | jq "[.[] | select(.id == \"many\") | .pending + .running] | add")" = 100000 ]'
    check 'they are cancelled' flmctl cancel many
    wait $many
    check_equal 'each is answered once, to a client that takes them late, too' 100000 \
        "$(sed -n 's/^\([0-9]*\) x Cancelled.*/\1/p' many.log | awk '{ n += $1 } END { print n }')"
    check 'the session manager works on' flmping -t 1000
    engine_end
done

# A node agent that is stopped, and one that dies, while somebody wants its logs.
transport=ring engine -n 1 --nodes 2
idle_executors 2
run "$client" -l "$services/odd.so" -i 'print hello' -n 20
nodes=$(flmctl -o json list -n)
agent=$(jq '.[0].pid' <<<"$nodes") name=$(jq -r '.[0].name' <<<"$nodes")
kill -STOP "$agent"
run flmctl logs
check_equal 'logs are shown although a node is stopped' '0 ' "$status $err"
check_contains 'which is named' "$out" "node $name does not answer"
start logs flmctl logs
logs=$pid
wait_for 'they have been asked for' bash -c "ls -l /proc/$logs/fd | grep -q socket && grep -qx 'State:.*sleeping.*' /proc/$logs/status"
sleep 0.5
kill -KILL "$agent"
wait $logs
check_equal 'logs are shown although a node dies meanwhile' 0 $?
check_contains 'which is named, too' "$(cat logs.log)" "node $name is lost"
engine_end

# Executors that cannot be started: a shared session manager says so, waits, and tries again when told.
printf '#!/bin/sh\n[ -e %s/mended ] && exec "$@"\necho broken >&2\nexit 7\n' "$TEST_DIR" >wrapper
chmod +x wrapper
transport=ring engine -n 1 --executor-wrapper "$TEST_DIR/wrapper"
start waits "$client" -l "$services/odd.so" -i 'print hello' -n 20 -I waits
waits=$pid
node_state() { [ "$(flmctl -o json list -n | jq -r '.[0].state')" = "$1" ]; }
wait_for 'the node is shown as failed' node_state Failed
check_equal 'and so is its executor, with the reason' 'Failed true' \
    "$(flmctl -o json list -e | jq -r '.[] | "\(.state) \(.trouble | contains("status 7") and contains("broken"))"')"
wait_for 'the session that waits has an event' bash -c "flmctl view waits | grep -q 'no executor can be started'"
check_match 'the log says it, and what to do' "$(cat flmd.log)" 'flmctl undrain .*status 7'
touch mended
check 'once it is mended' flmctl undrain "$(flmctl -o json list -n | jq -r '.[0].name')"
wait $waits
check_match 'the tasks that waited are run' "$(cat waits.log)" '^20 x Succeed'
check_equal 'and all is well' 'Up "" Idle ""' \
    "$(flmctl -o json list -n | jq -r '.[0] | "\(.state) \(.trouble | tojson)"') $(flmctl -o json list -e | jq -r '.[0] | "\(.state) \(.trouble | tojson)"')"
engine_end
