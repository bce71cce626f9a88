#!/bin/bash
# Tasks whose input names objects: they run where these are, if that costs nobody much, and share them there.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

transports | grep -q tcp || skip 'this build has no fabric provider'
transport='tcp;ofi_rxm'
export OBJECTS_MEET=$TEST_DIR/meet OBJECTS_EXECUTORS=2

node() { # NAME, SLOTS, ARGUMENT...: an agent that reads objects over the fabric
    mkdir -m 0700 "$1"
    start "$1" flm-node --endpoint "$FLM_ENDPOINT" --provider "$transport" --name "$1" --slots "$2" \
        --directory "$TEST_DIR/$1" --bind none "${@:3}"
}

two_nodes() {
    engine --backend none
    node one 1
    node two 1
    idle_executors 2
}

# Each of two tasks waits for the other, so one object comes to each node; then a's tasks are run on one, b's on
# the other, though both have nothing to do.
two_nodes
steps 'two objects come to two nodes' $'ok 0\nok 0' 'fill a 20000001' 'fill b 20000002'
run "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'submit a meet' 'submit b meet' 'wait 2' \
    'submit a' 'where 1' 'submit b' 'where 1' 'submit b' 'where 1' 'submit a' 'where 1' 'submit b,a' 'where 1'
read -r -d '' -a at <<<"$(sed 1,2d <<<"$out")"
check_equal 'each is on one' 1 "$((${at[0]} != ${at[1]}))"
check_equal 'tasks run where their objects are, or the larger one is' "${at[1]} ${at[0]} ${at[1]}" "${at[*]:2}"
rm -f meet.*

# The node that has the object is busy for long: the other one takes its tasks, and then has it, too.
steps 'nobody waits for long for a node that is busy' '1 20000001 ffffffffffffffffffff
1 20000001 ffffffffffffffffffff
1 20000001 ffffffffffffffffffff' 'submit a wait' "await $TEST_DIR/meet.begun" 'submit a' 'submit a' 'wait 2' "make $TEST_DIR/meet.go" 'wait 1'
engine_end

# A node that keeps 50 MiB: two of three objects, those that were named last; and its executor has no other.
has() { # SIZES in the node's memory, PAGES that its executor has mapped
    local files maps range
    files=$(stat -L -c %s /proc/"$node"/fd/* 2>/dev/null | awk '$1 >= 20000000' | sort -n | xargs)
    maps=$(grep memfd /proc/"$executor"/maps | while IFS=' -' read -r -a range; do
        echo $(((0x${range[1]} - 0x${range[0]}) / 4096))
    done | awk '$1 > 4800' | sort -n | xargs)
    [ "$files / $maps" = "$1" ]
}
view() { # NAME: as flmctl shows it
    flmctl -o json list -O | jq -r --arg name "$1" \
        '.[] | select(.name == $name) | "version \(.version), \(.size) bytes, on \(.nodes | join(","))"'
}
engine --backend none --object-memory 70
export OBJECTS_EXECUTORS=1
node small 1 --object-memory 50
node=$pid
idle_executors 1
executor=$(executors)
start steps "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'fill a 20000000' 'fill b 20004096' \
    'fill c 20008192' 'fill d 20000000' 'input a' 'input b' 'input a' 'input c' 'input c' "make $TEST_DIR/kept" "await $TEST_DIR/seen" \
    'update c 0 new' "make $TEST_DIR/past" "await $TEST_DIR/end" 'input c' 'input a'
steps=$pid
wait_for 'three objects are used' test -e kept
wait_for 'the node and its executor keep the two that were named last' has '20000000 20008192 / 4883 4885'
check_equal 'flmctl tells where an object is' 'version 1, 20000000 bytes, on small' "$(view a)"
check_equal 'and that a node keeps it no more' 'version 1, 20004096 bytes, on ' "$(view b)"
check_equal 'and how much memory they have, of how much' '3 60012288 73400320' \
    "$(flmctl -o json status | jq -r '"\(.objects) \(.object_bytes) \(.object_limit)"')"
check_equal 'there are no more than the session manager may keep' "FLM_EFULL objects have 57 MiB in the session \
manager, and may have 70, which is too little for 19532 KiB more: delete some, or start flmd with another \
--object-memory" "$(sed -n 4p steps.log)"
touch seen
wait_for 'one of them gets another version' test -e past
wait_for 'nobody keeps the one that is past' has '20000000 / 4883'
check_equal 'and flmd knows that' 'version 2, 3 bytes, on ' "$(view c)"
touch end
check 'tasks go on' wait "$steps"
check_equal 'with the new version' $'2 3 new\n1 20000000 ffffffffffffffffffff' "$(tail -n 2 steps.log)"
engine_end

# A node that has no memory for an object: it is not given a task that names it again, even if it has nothing to do and
# the other one is busy, and it is not taken for one that has it. The first of two tasks waits, so each node tries one.
if sanitized; then
    exit
fi
rm -f meet.*
export OBJECTS_EXECUTORS=2
engine --backend none
node poor 1
poor=$pid
node rich 1
idle_executors 2
space=$(awk '/^VmSize/ { print $2 * 1024 }' /proc/"$poor"/status)
check 'a node has no more memory' prlimit --pid "$poor" --as=$((space + 8000000))
start tasks "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'fill a 20000000' 'submit a wait' \
    'submit a wait' 'wait 2' 'input a'
tasks=$pid
wait_for 'it cannot read an object' bash -c \
    "flmctl -o json list -e | jq -e '.[] | select(.node == \"poor\") | .restarts > 0 and .state == \"Bound\"'"
touch meet.go
check 'its tasks go on' wait "$tasks"
one='1 20000000 ffffffffffffffffffff'
check_equal 'on another node' "ok 0"$'\n'"$one"$'\n'"$one"$'\n'"$one" "$(cat tasks.log)"
check_equal 'which alone is known to have it' 'version 1, 20000000 bytes, on rich' "$(view a)"
check_equal 'after one attempt' 'Closed 0 0 3 0 0 1' "$(newest)"
engine_end
