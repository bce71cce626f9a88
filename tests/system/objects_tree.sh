#!/bin/bash
# Objects come to many nodes by the tree by which common data come: the nodes send them to each other.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

transports | grep -q tcp || skip 'this build has no fabric provider'
transport='tcp;ofi_rxm'
size=8000000 made=9000000
export OBJECTS_MEET=$TEST_DIR/meet OBJECTS_EXECUTORS=4
declare -A agents

node() { # NAME: an agent that reads objects over the fabric, with one slot
    mkdir -m 0700 "$1"
    start "$1" flm-node --endpoint "$FLM_ENDPOINT" --provider "$transport" --name "$1" --slots 1 \
        --directory "$TEST_DIR/$1" --bind none
    agents[$1]=$pid
}
object() { # NAME, FILTER of what flmctl says of it
    flmctl -o json list -O | jq -r ".[] | select(.name == \"$1\") | $2"
}
export -f object
nodes() { # NAME, NODES that have it, or read it
    wait_for "nodes $2 have object $1" bash -c "[ \"\$(object $1 '.nodes | sort | join(\" \")')\" = '$2' ]"
}
running() { # N tasks, each on an executor of its own
    wait_for "$1 tasks run" bash -c "flmctl -o json list | jq -e 'last | .running == $1'"
}
copies() { # NAME: how many flmd has sent
    object "$1" '.sent / .size'
}
keep() { # N pieces of memory of BYTES or more each agent has
    local name
    for name in "${!agents[@]}"; do
        [ "$(stat -L -c %s /proc/"${agents[$name]}"/fd/* 2>/dev/null | awk -v size="$2" '$1 >= size' | wc -l)" = "$1" ] ||
            return 1
    done
}
settled() { # NAME: flmd knows that each node that was to read it has done so
    wait_for "nobody reads $1" bash -c "[ \"\$(object $1 .held)\" = 0 ]"
}

engine --backend none --loss-time 120000
node a
node b
idle_executors 2

# Four tasks that run when there are four nodes: two of these have the object already, and are stopped; the other two
# read it there.
start tasks "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" "fill x $size" 'submit x wait' 'submit x wait' \
    'wait 2' "make $TEST_DIR/two" "await $TEST_DIR/four" 'asking x later' 'asking x later' 'asking x later' \
    'asking x later' 'wait 4' "become y $made y" "make $TEST_DIR/made" "await $TEST_DIR/next" 'submit y wait' \
    'submit y wait' 'submit y wait' 'submit y wait' 'wait 4' "make $TEST_DIR/read" "await $TEST_DIR/patch" \
    'patch y 1 3 zzzzzz' 'submit y wait' 'submit y wait' 'submit y wait' 'submit y wait' 'wait 4' \
    "make $TEST_DIR/patched" "await $TEST_DIR/again" 'patch y 2 0 zz' "make $TEST_DIR/past" "await $TEST_DIR/end" \
    'delete x 0' 'delete y 0'
tasks=$pid
running 2
touch meet.go
wait_for 'two tasks have had an object' test -e two
nodes x 'a b'
check_match 'flmd has sent it twice at most' "$(copies x)" '^[12]$'
before=$(copies x)
rm meet.*
node c
node d
wait_for 'four executors are there' bash -c "flmctl -o json list | jq -e 'last | .slots == 4'"
touch four
running 4
kill -STOP "${agents[a]}" "${agents[b]}"
touch meet.go
nodes x 'a b c d' # so c and d have been told to read it, and those from whom they read do not answer
kill -KILL "${agents[a]}"
unset 'agents[a]'
kill -CONT "${agents[b]}"
wait_for 'all tasks have had it, though a node is lost from which it was read' test -e made
right="1 $size ffffffffffffffffffff"
check_equal 'with the right bytes' "$(printf '%s\n' 'ok 0' "$right" "$right" "$right" "$right" "$right" "$right" 'ok 1')" \
    "$(cat tasks.log)"
check_equal 'flmd has sent it no further time' "$before" "$(copies x)"

# What a task has made is read where it was made.
rm meet.*
node e
wait_for 'four executors are there again' bash -c "flmctl -o json list | jq -e 'last | .slots == 4'"
check_equal 'flmd has not sent what a task has made' 0 "$(object y '.sent')"
touch next
running 4
touch meet.go
wait_for 'four nodes have it' test -e read
check_match 'and flmd needs not, once it knows that it can be read there' "$(copies y)" '^[01]$'
right="1 $made yyyyyyyyyyyyyyyyyyyy"
check_equal 'with the right bytes' "$(printf '%s\n' "$right" "$right" "$right" "$right")" "$(tail -n 4 tasks.log)"

# A patch: what has changed is read where the version before is, which is kept for that, and then goes.
settled y
wait_for 'each node has it once' keep 1 $made
rm meet.*
touch patch
running 4
touch meet.go
wait_for 'four nodes have a patched one' test -e patched
check_match 'of which flmd has sent what has changed' "$(object y '.sent')" '^(0|6|12)$'
right="2 $made yyyzzzzzzyyyyyyyyyyy"
check_equal 'with the right bytes' "$(printf '%s\n' 'ok 2' "$right" "$right" "$right" "$right")" "$(tail -n 5 tasks.log)"
settled y
wait_for 'no node keeps the version before' keep 1 $made
touch again
wait_for 'there is a newer one, that nobody wants' test -e past
touch end
check 'they are deleted' wait "$tasks"
wait_for 'then no node keeps anything' keep 0 $size
check_equal 'no node had to read anything from elsewhere but where one was lost' '' \
    "$(grep 'could not read' flmd.log | grep -v 'from node a:')"
engine_end
