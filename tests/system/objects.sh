#!/bin/bash
# Objects: named data with versions, for clients and tasks.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

export OBJECTS_MEET=$TEST_DIR/meet

for transport in $(transports); do
    engine -n 2
    steps "an object is made, got, changed and deleted ($transport)" 'ok 0
1 5 hello
1 0 -
ok 2
2 7 goodbye
FLM_ESTALE object a has version 2, not 1
FLM_ESTALE object a has version 2, not 7
ok 3
3 7 gOODbye
FLM_ESTALE object a has version 3, not 2
ok 0
FLM_ENOTFOUND there is no object '"'a'" \
        'put a hello' 'get a 0' 'get a 1' 'update a 1 goodbye' 'get a 1' 'update a 1 again' 'delete a 7' \
        'patch a 2 1 OOD' 'get a 0' 'delete a 2' 'delete a 3' 'get a 0'
    steps 'tasks get what clients put' 'ok 0
4 5 hello
4 0 -
ok 5
5 3 new
ok 0
FLM_ENOTFOUND there is no object '"'a'" \
        'put a hello' 'task a 0' 'task a 4' 'update a 0 new' 'task a 4' 'delete a 0' 'task a 0'
    steps 'what is wrong is said' "FLM_EINVAL data of object a: there are 0 bytes of them
FLM_EINVAL '!' is no name of an object: 1 to 127 letters, digits and . _ - : @ +
FLM_ENOTFOUND there is no object 'a'
ok 0
FLM_EEXIST there is an object 'a' already
FLM_EINVAL object a has 5 bytes: 3 from 3 on do not fit
FLM_EINVAL object a has 5 bytes: 1 from 6 on do not fit
ok 7" 'put a' 'get ! 0' 'update a 0 x' 'put a hello' 'put a again' 'patch a 0 3 xyz' 'patch a 0 6 x' 'patch a 0 2 xyz'
    steps 'another client has it, too' '7 5 hexyz' 'get a 0'
    steps 'the input of a task names objects' 'ok 0
6 1 A
7 5 hexyz, 6 1 A, 7 5 hexyz
7 5 hexyz, 6 1 A
object FLM_ESTALE object a has version 7, not 6
object FLM_ENOTFOUND there is no object '"'nobody'"'
ok 7
7 1 B
7 1 B
object FLM_ESTALE object c has version 7, not 6
FLM_EINVAL
FLM_EINVAL
ok 0
object FLM_ENOTFOUND there is no object '"'c'" \
        'put c A' 'input c' 'input a,c=6,a=7' 'input a,c large' 'input c,a=6' 'input c,nobody' 'update c 0 B' 'input c' \
        'input c=7' 'input c=6' 'input !' 'input a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a' 'delete c 0' 'input c'
    steps 'large ones' 'ok 0
ok 9
9 20000001 fffffffffffffffffffg
9 20000001 fffffffffffffffffffg' 'fill b 20000001' 'patch b 0 19 g' 'get b 0' 'task b 0'
    steps 'executors of a node share one copy' '1 copies shared' 'share b 2'
    rm meet.*
    steps 'so do those whose tasks name it' '1 copies shared' 'share b 2 inputs'
    rm meet.*
    # Patches of two clients at once: none is lost.
    start one "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'patches b 0 30'
    one=$pid
    start two "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'patches b 4 30'
    check 'one client patches an object' wait "$one"
    check 'another does' wait "$pid"
    steps 'each patch has made a version' '69 20000001 00300030fffffffffffg' 'get b 0'
    steps 'older versions stay as long as somebody has them' 'many' 'many a 200'
    engine_end
done

# A node that keeps 50 MiB: two of three objects, those that were asked for last.
kept() {
    stat -L -c %s /proc/"$node"/fd/* 2>/dev/null | awk '$1 >= 20000000' | sort -n | xargs
}
node_with_little_memory() {
    transport='tcp;ofi_rxm'
    engine --backend none
    mkdir -m 0700 node
    start node flm-node --endpoint "$FLM_ENDPOINT" --provider "$transport" --slots 1 --directory "$TEST_DIR/node" \
        --object-memory 50
    node=$pid
    steps 'a node gets objects' "ok 0
ok 0
ok 0
1 20000001 ffffffffffffffffffff
1 20000002 ffffffffffffffffffff
1 20000001 ffffffffffffffffffff
1 20000003 ffffffffffffffffffff" \
        'fill a 20000001' 'fill b 20000002' 'fill c 20000003' 'task a 0' 'task b 0' 'task a 0' 'task c 0'
    check_equal 'it keeps what was asked for last' '20000001 20000003' "$(kept)"
    steps 'an object that is deleted goes there, too' "ok 0
FLM_ENOTFOUND there is no object 'a'
1 20000002 ffffffffffffffffffff" 'delete a 0' 'task a 0' 'task b 0'
    check_equal 'and makes room' '20000002 20000003' "$(kept)"
    engine_end
}
transports | grep -q tcp && node_with_little_memory

# Objects go with flmd, and a task that asks for one while there is none hears that.
export OBJECTS_DURABLE=1
flmd_is_lost() { # while a task runs
    wait_for 'a task runs' test -e meet.begun
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    wait_for 'its agent knows that flmd is gone' grep -q 'waiting 30 s for the next' flmd.log
    touch meet.go
}
maps() { # sizes of large files in memory that the executor has mapped
    local range
    grep memfd /proc/"$1"/maps | while IFS=' -' read -r -a range; do
        echo $((0x${range[1]} - 0x${range[0]}))
    done | awk '$1 > 16000000' | xargs
}
maps_none() {
    [ -e /proc/"$1" ] && [ -z "$(maps "$1")" ]
}
flmd_is_back() {
    rm -f "$TEST_DIR/run/flmd.sock"
    engine -n 1 --state-dir "$TEST_DIR/state"
    check 'its session goes on' wait "$late"
}
nonsense() { # to a session manager that records tasks
    local text='service FLM_EPROTO the input is malformed'
    engine -n 1 --state-dir "$TEST_DIR/state"
    steps "a task whose objects make no sense fails alone ($transport)" "$text
$text
$text
object ${text#* }" 'nonsense 4064 100000' 'nonsense 2008 100000' 'nonsense 16 100000' 'nonsense 4064 100'
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
    engine -n 1 --state-dir "$TEST_DIR/state"
    check_match 'and what was recorded can be read' \
        "$("$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'put a hello' 'input a')" '^[0-9]+ 5 hello$'
    engine_end
    rm -rf state
}
for transport in $(transports); do
    nonsense
    engine -n 1 --state-dir "$TEST_DIR/state"
    start late "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'put a hello' 'task a later'
    late=$pid
    flmd_is_lost
    wait_for "a task asks for an object while there is no flmd ($transport)" test -e meet.answered
    flmd_is_back
    check_equal 'and it is told' $'ok 0\nFLM_EDISCONNECTED the session manager is gone' "$(cat late.log)"
    rm meet.*
    start late "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'fill a 20000001' 'submit a wait' \
        'submit a large' 'wait 2'
    late=$pid
    wait_for 'a task runs' test -e meet.begun
    executor=$(executors)
    check_equal 'and its executor has its object' 20000768 "$(maps "$executor")"
    flmd_is_lost
    wait_for 'which goes with flmd, once the task is over' maps_none "$executor"
    flmd_is_back
    check_match 'a task that runs has what it has named' "$(sed -n 2p late.log)" '^[0-9]+ 20000001 f+$'
    # It was sent ahead, and may have begun before its executor had heard that flmd was gone.
    check_match 'one that waited is told, or has it still' "$(sed -n 3p late.log)" \
        "^(object FLM_ENOTFOUND there is no object 'a'|[0-9]+ 20000001 f+)$"
    engine_end
    rm -rf state meet.*
done
