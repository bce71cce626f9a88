#!/bin/bash
# Tasks whose output becomes a version of an object, which stays where it was made.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

export OBJECTS_MEET=$TEST_DIR/meet

printf '#!/bin/sh\nhead -c 100000 /dev/zero | tr "\\0" e\n' >large
printf '#!/bin/sh\nexec python3 "%s/examples/services/upper.py"\n' "$FLM_SRCDIR" >upper
chmod +x large upper
full='objects have 38 MiB in the session manager, and may have 60, which is too little for 29297 KiB more: delete some, '
full+='or start flmd with another --object-memory'
for transport in $(transports); do
    engine -n 2 --object-memory 60
    steps "the output of a task becomes an object, and its newest version ($transport)" 'ok 1
1 5 aaaaa
ok 2
2 7 bbbbbbb
ok 3
ok 4
4 3 ddd' 'become x 5 a' 'get x 0' 'become x 7 b' 'get x 0' 'update x 0 third' 'become x=3 3 d' 'input x'
    steps 'what cannot become one is said' "object FLM_ESTALE object x has version 4, not 3
object FLM_ENOTFOUND there is no object 'y'
object FLM_EINVAL the output is empty, and object x would be
service FLM_E? as it was told
4 3 ddd
FLM_ENOTFOUND there is no object 'y'
FLM_EINVAL" 'become x=3 5 e' 'become y=3 5 e' 'become x 0' 'become x 5 e fails' 'get x 0' 'get y 0' 'become ! 5 e'
    steps 'a large one, too' "ok 5
5 20000001 ffffffffffffffffffff
5 20000001 ffffffffffffffffffff
ok 6
6 20000001 gggggggggggggggggggg
6 20000001 gggggggggggggggggggg
object FLM_ESTALE object x has version 6, not 5
service FLM_E? as it was told
6 20000001 gggggggggggggggggggg" 'become x 20000001 f' 'get x 0' 'input x' 'become x=5 20000001 g' 'input x' 'get x 0' \
        'become x=5 20000001 h' 'become x 20000001 h fails' 'get x 0'
    # The executor writes its next outputs elsewhere.
    steps 'no later output is in its place' "ok 7
ok 1
7 20000001 iiiiiiiiiiiiiiiiiiii
1 20000001 jjjjjjjjjjjjjjjjjjjj
7 20000001 iiiiiiiiiiiiiiiiiiii
7 20000001 iiiiiiiiiiiiiiiiiiii" 'become x 20000001 i' 'become z 20000001 j' 'get x 0' 'get z 0' 'input x' \
        'task x 0'
    steps 'one for which there is no room fails its task' "object FLM_EFULL $full
object FLM_EFULL $full
7 20000001 iiiiiiiiiiiiiiiiiiii
ok 0
ok 2" 'become y 30000000 k' 'become y 30000000 k' 'get x 0' 'delete x 0' 'become z 30000000 k'
    # What commands print is an output as any.
    run env OBJECTS_SHIM=2 "$FLM_BUILDDIR/tests/system/objects" "$TEST_DIR/large" 'become e 1' 'get e 0'
    check_equal 'that of a command becomes an object' $'ok 8\n8 100000 eeeeeeeeeeeeeeeeeeee' "$out"
    run env OBJECTS_SHIM=3 "$FLM_BUILDDIR/tests/system/objects" "$TEST_DIR/upper" 'become e=8 1' 'get e 0'
    check_equal 'that of a service over pipes, too' $'ok 9\n9 10 OUTPUT 1  ' "$out"
    if [ -e "$services/allreduce.so" ] && command -v mpirun >/dev/null; then
        OBJECTS_RANKS=2 steps 'that of the first of two ranks' $'ok 10\n10 100000 rrrrrrrrrrrrrrrrrrrr\nok 11\n11 5 sssss' \
            'become e 100000 r' 'get e 0' 'become e 5 s' 'get e 0'
    fi
    engine_end
done

# Where it was made it stays: who names it next runs there, and sees the very memory.
node() { # NAME, ARGUMENT...: an agent that reads objects over the fabric, with one slot
    mkdir -m 0700 "$1"
    start "$1" flm-node --endpoint "$FLM_ENDPOINT" --provider "$transport" --name "$1" --slots 1 \
        --directory "$TEST_DIR/$1" --bind none "${@:2}"
}
view() { # NAME: as flmctl shows it
    flmctl -o json list -O | jq -r --arg name "$1" \
        '.[] | select(.name == $name) | "version \(.version), \(.size) bytes, on \(.nodes | join(","))"'
}
views() {
    [ "$(view "$1")" = "$2" ]
}
keeps() { # SIZES of large files that the node has
    [ "$(stat -L -c %s /proc/"$node"/fd/* 2>/dev/null | awk '$1 >= 20000000' | sort -n | xargs)" = "$1" ]
}
stays_where_it_was_made() {
    transport='tcp;ofi_rxm'
    engine --backend none
    node one --object-memory 50
    node=$pid
    idle_executors 1
    node two --object-memory 50
    idle_executors 2
    run env OBJECTS_EXECUTORS=2 "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'becoming a 20000001 f map' \
        'where 1' 'submit a' 'where 1' 'submit a file' 'wait 1' 'get a 0' 'becoming b 20000002 g' 'where 1'
    readarray -t at <<<"$out"
    check_equal 'a task runs where its object was made' "${at[0]}" "${at[1]}"
    check_equal 'in the memory in which it was made' "$(cat meet.file)" "${at[2]}"
    check_equal 'flmd has it, too' '1 20000001 ffffffffffffffffffff' "${at[3]}"
    check_match 'flmctl tells where it is' "$(view a)" '^version 1, 20000001 bytes, on (one|two)$'
    engine_end
    engine --backend none
    rm -rf one two
    node one --object-memory 50
    node=$pid
    steps 'a node makes objects' $'ok 1\nok 1\nok 1\n1 5 aaaaa\nok 1' 'become a 20000001 f' 'become b 20000002 g' \
        'become c 5 a' 'input c' 'become d 20000003 h'
    wait_for 'it keeps those that were made last' keeps '20000002 20000003'
    check_equal 'flmd knows that' 'version 1, 20000002 bytes, on one' "$(view b)"
    wait_for 'and that it keeps one no more' views a 'version 1, 20000001 bytes, on '
    steps 'all are what they were made as' "1 20000001 ffffffffffffffffffff
1 20000002 gggggggggggggggggggg
1 20000003 hhhhhhhhhhhhhhhhhhhh
ok 0
ok 2" 'get a 0' 'input b' 'get d 0' 'delete d 0' 'become b 5 i'
    wait_for 'what is past goes there' keeps ''
    engine_end
}
transports | grep -q tcp && stays_where_it_was_made

# A task that is run twice makes one version.
transport=ring
engine -n 1
start twice "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'become x 5 a' 'become x 7 b wait' 'get x 0'
twice=$pid
wait_for 'a task runs' test -e meet.begun
kill -KILL "$(executors)"
touch meet.go
check 'its executor is lost, and it is run again' wait "$twice"
check_equal 'which makes one version' $'ok 1\nok 2\n2 7 bbbbbbb' "$(cat twice.log)"
check_equal 'of the task that was run twice' 1 "$(flmctl -o json list | jq 'last | .retried')"
rm meet.*
engine_end

# A task that is cancelled makes none.
engine -n 1
steps 'an object' 'ok 1' 'become y 5 a'
start cancelled "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'become y 7 b wait'
cancelled=$pid
wait_for 'a task runs whose output is to become its next version' test -e meet.begun
flmctl cancel "$(flmctl -o json list | jq -r 'last.id')"
wait "$cancelled"
check_match 'it is cancelled' "$(cat cancelled.log)" '^cancelled '
wait_for 'its executor is back' bash -c '[ "$(flmctl -o json list -e | jq -r ".[].state")" = Idle ]'
touch meet.go
steps 'which makes no version' $'1 5 aaaaa\nok 2' 'get y 0' 'become y 6 c wait'
rm meet.*

# flmd is killed while an output is to become one.
start orphan "$FLM_BUILDDIR/tests/system/objects" "$services/objects.so" 'become z 20000000 a wait'
orphan=$pid
wait_for 'a task makes an object' test -e meet.begun
executor=$(executors)
kill -KILL "$flmd"
touch meet.go
wait "$orphan"
check_match 'flmd is killed: its client is told' "$(cat orphan.log)" '^disconnected FLM_EDISCONNECTED '
wait_for 'and the executor ends' bash -c "! kill -0 $executor 2>/dev/null"
rm meet.*

# Objects go with flmd, so what a client of a durable session waits for could be gone.
engine -n 1 --state-dir "$TEST_DIR/state"
OBJECTS_DURABLE=1 steps 'a durable session takes no such task' "FLM_ENOTSUP
object FLM_ENOTSUP objects go with the session manager, so the output of a task of a session with durability cannot \
become one" 'become x 5 a' 'nonsense 32 10 x'
steps 'nor one whose object makes no sense' 'service FLM_EPROTO the record of the task makes no sense
service FLM_EPROTO the input is malformed
service FLM_EPROTO the record of the task makes no sense' 'nonsense 24 10 x' 'nonsense 31 100000 x' 'nonsense 4096 10 x'
engine_end
