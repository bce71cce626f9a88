#!/bin/bash
# Common data come to many nodes by a tree: flmd sends two copies, the nodes send the others to each other.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

transports | grep -q tcp || skip 'this build has no fabric provider'
transport='tcp;ofi_rxm'
words=1000000 size=8000000
printf '[application]\nname = updates\nshim = so\ncommand = %s\nmin_instances = 9\n' "$services/updates.so" >updates.app
declare -A agents
export id=tree # of the session

nodes() { # NAME...: agents that relay
    local name
    for name in "$@"; do
        mkdir -m 0700 "$name"
        start "$name" flm-node --endpoint "$FLM_ENDPOINT" --provider "$transport" --name "$name" --slots 1 \
            --directory "$TEST_DIR/$name" --bind none
        agents[$name]=$pid
    done
}

session() { # ARGUMENT...: of the client; the session goes on without it
    run "$FLM_BUILDDIR/tests/system/updates" -a updates.app -I "$id" -D journal "$@"
}

view() { # FILTER of what flmctl says of the session
    flmctl -o json view "$id" | jq -r "$1"
}
export -f view

spread() { # N nodes have it, and run executors of the session with it
    wait_for "$1 nodes have it" bash -c \
        "[ \"\$(view '[.slots, ([.common_nodes[] | select(.state == \"has\")] | length)] | join(\" \")')\" = '$1 $1' ]"
}

copies() { # how many flmd has sent, of the version that is there
    view '(.common[0].sent / .common[0].bytes)'
}

reading() { # N nodes read
    wait_for "$1 nodes read" bash -c \
        "[ \"\$(view '[.common_nodes[] | select(.state == \"reads\")] | length')\" = $1 ]"
}

keeps_none() { # no agent has such memory any more
    local name
    for name in "${!agents[@]}"; do
        [ -z "$(stat -L -c %s /proc/"${agents[$name]}"/fd/* 2>/dev/null | awk -v size=$size '$1 >= size')" ] || return 1
    done
}

engine --backend none --state-dir "$TEST_DIR/state" --loss-time 120000
nodes a b c d e
idle_executors 5
session -c $words -r 0
spread 5
check_equal 'each has read it once' "$((5 * size))" "$(view '[.common_nodes[].bytes] | add')"
check_equal 'two of them from flmd at most' yes "$(view 'if [.common_nodes[] | select(.from == "flmd")] | length <= 2 then "yes" else . end')"
check_match 'which has sent no more' "$(copies)" '^[12]$'
check_equal 'all executors have entered with the right bytes' '' "$(view .trouble)"

session -r 5 -n 20 -s $words
check_match 'newer versions come while others are on their way' "$out" '^versions 1\.\.6 tasks 100 wrong 0 '
spread 5
check_match 'flmd sends two copies of the newest, too' "$(copies)" '^[12]$'
check_equal 'no node had to read anything twice' '' "$(grep 'could not read' flmd.log)"

# Patches: a node that has the version before reads what has changed.
flmctl cancel tree
id=patched
session -c $words -r 0
spread 5
session -c $words -P -r 1
wait_for 'a patch comes to all nodes' bash -c '[ "$(view ".common[0].version, ([.common_nodes[].bytes] | add)" | xargs)" = "2 4000" ]'
check_match 'flmd sends that twice' "$(view '.common[0].sent')" '^(800|1600)$'
session -c $words -P -r 12 -n 10
check_match 'tasks see patch upon patch' "$out$err" '^versions 2\.\.14 tasks 120 wrong 0 '
nodes late
spread 6
check_equal 'a node that has no older version reads all' $size "$(view '.common_nodes[] | select(.node == "late") | .bytes')"
check_equal 'and enters with the right bytes' '' "$(view .trouble)"

# A node that is stopped gives nothing, and is not given up: those that read there wait.
source() { # the node from which the node NAME reads
    view ".common_nodes[] | select(.node == \"$1\") | .from"
}
for name in "${!agents[@]}"; do kill -STOP "${agents[$name]}"; done
nodes f
reading 1
from=$(source f)
check_match 'a node that comes later reads from another' "$from" '^([a-e]|late)$'
kill -KILL "${agents[$from]}"
unset "agents[$from]"
for name in "${!agents[@]}"; do kill -CONT "${agents[$name]}"; done
spread 6
check_match 'when that one is lost, from a third' "$(source f)" '^([a-e]|late)$'
check_equal 'with the right bytes' '' "$(view .trouble)"

# The session ends while a node reads.
for name in "${!agents[@]}"; do kill -STOP "${agents[$name]}"; done
nodes g
reading 1
flmctl cancel patched
for name in "${!agents[@]}"; do kill -CONT "${agents[$name]}" 2>/dev/null; done
wait_for 'a session ends while a node reads' bash -c '[ "$(view .state)" = Closed ]'
wait_for 'then no node keeps its data' keeps_none
engine_end

# A node that lives, and from which nothing comes: who reads there is told to read elsewhere.
slow_source() {
    export LD_PRELOAD=$FLM_BUILDDIR/tests/system/.libs/stall.so FLM_STALL=$TEST_DIR/stall
    nodes slow
    unset LD_PRELOAD
    id=slow
    session -c 100000 -r 0
    spread 1
    touch stall
    nodes reader
    spread 2
    check_equal 'a node reads from flmd when another is too slow' 800000 \
        "$(view '.common_nodes[] | select(.node == "reader" and .from == "flmd") | .bytes')"
    check_match 'which is said' "$(grep 'could not read' flmd.log)" 'node reader could not read .* from node slow: '
    check_equal 'that one lives, and all have entered with the right bytes' '' "$(view .trouble; kill -0 "${agents[slow]}" 2>&1)"
    rm stall
}
agents=()
engine --backend none --state-dir "$TEST_DIR/slow-state" --loss-time 3000
[ -n "${FLM_TEST_SANITIZERS:-}" ] || slow_source # they want to be loaded first
engine_end
