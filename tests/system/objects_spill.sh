#!/bin/bash
# Objects beyond the memory that they may have go to files, and come back.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

export OBJECTS_MEET=$TEST_DIR/meet
mkdir spill
directory=$TEST_DIR/spill
client=("$FLM_BUILDDIR/tests/system/objects" "$services/objects.so")

for wrong in nowhere "$FLM_SRCDIR/README.md" /proc; do
    run flmd -e "unix:$TEST_DIR/wrong" --directory "$TEST_DIR" --backend none --object-spill "$wrong"
    check_equal "flmd does not start with --object-spill $wrong" 1 "$status"
    check_match 'and says why' "$err" "^flmd: .*$wrong.* \(?(of )?--object-spill.*: [A-Z]"
done

for wrong in '--object-spill-limit 3' '--object-spill='; do
    # shellcheck disable=SC2086
    run flmd --backend none $wrong
    check_equal "flmd refuses $wrong" 2 "$status"
    check_match 'and says why' "$err" "^flmd: --object-spill"
    # shellcheck disable=SC2086
    run flmrun -n 1 $wrong -- true
    check_equal "flmrun refuses $wrong" 2 "$status"
    check_match 'and says why' "$err" "^flmrun: --object-spill"
done

spilled() { # names of objects in files alone
    flmctl -o json list -O | jq -r '.[] | select(.place == "file") | .name' | xargs
}
status_of() { # FIELD
    flmctl -o json status | jq -r ".$1"
}
file_of() { # BYTES: of flmd's, which has no name
    find -L /proc/"$flmd"/fd -size "$1"c -printf '%p\n' 2>/dev/null | while read -r fd; do
        [[ $(readlink "$fd") != "$directory"/* ]] || echo "$fd"
    done
}

# Three times what there is memory for: 4 of 12.
names=(a b c d e f g h i j k l)
fills=() wholes=() inputs=() puts='' gets='' seen=''
for i in "${!names[@]}"; do
    name=${names[i]} bytes=$((1000000 + i))
    fills+=("fill $name $bytes $name") wholes+=("whole $name") inputs+=("input $name whole")
    puts+=$'ok 0\n' gets+="1 $bytes of $bytes are $name"$'\n' seen+="$bytes of $bytes are $name"$'\n'
done
for transport in $(transports); do
    engine -n 2 --object-memory 4 --object-spill spill
    steps "three times as many objects as there is memory for ($transport)" "${puts%$'\n'}" "${fills[@]}"
    check_equal 'the last ones are in memory' 'a b c d e f g h' "$(spilled)"
    check_equal 'flmctl says how much memory they have, and what is in files' '4000038 8000028' \
        "$(status_of object_bytes) $(status_of object_file_bytes)"
    steps 'a client gets them all' "${gets%$'\n'}" "${wholes[@]}"
    steps 'tasks see them all' "${seen%$'\n'}" "${inputs[@]}"
    check_equal 'the files have no name' '' "$(ls -A spill)"
    steps 'those in files are changed and deleted' '1 0 -
FLM_ESTALE object a has version 1, not 2
ok 2
2 1000000 aZaaaaaaaaaaaaaaaaaa
ok 2
2 5 small
FLM_EEXIST there is an object '"'c'"' already
ok 0
FLM_ENOTFOUND there is no object '"'d'" \
        'get a 1' 'update a 2 x' 'patch a 1 1 Z' 'get a 0' 'update b 1 small' 'get b 0' 'put c x' 'delete d 0' 'get d 0'
    steps 'outputs become objects' "$(printf 'ok %s\n' 2 2 2 2 2 2)"$'\n2 1200000 of 1200000 are p
1200000 of 1200000 are q' 'becoming p 1200000 p' 'becoming q 1200000 q' 'becoming r 1200000 r' \
        'becoming s 1200000 s' 'becoming t 1200000 t' 'becoming u 1200000 u' 'wait 6' 'whole p' 'input q whole'
    for one in 1 2 3 4; do # clients at once
        start "client$one" "${client[@]}" "fill $one.a 2000000 1" "fill $one.b 2000000 2" "fill $one.c 2000000 3" \
            "whole $one.a" "whole $one.b" "whole $one.c" "delete $one.a 0" "delete $one.b 0" "delete $one.c 0"
        clients[one]=$pid
    done
    for one in 1 2 3 4; do
        check "client $one of four at once" wait "${clients[one]}"
        check_equal 'has got what it has put' '1 2 3' "$(sed -n 's/.* 2000000 of 2000000 are //p' "client$one.log" | xargs)"
    done
    engine_end
done

# Executors on flmd's node look at its memory, and let go of what goes to a file.
transport=ring
maps() { # BYTES: how many executors have mapped so many
    local range n=0 pid
    for pid in $(executors); do
        while IFS=' -' read -r -a range; do
            [ $((0x${range[1]} - 0x${range[0]})) -ne "$1" ] || n=$((n + 1))
        done < <(grep memfd /proc/"$pid"/maps)
    done
    echo "$n"
}
maps_are() {
    [ "$(maps "$1")" = "$2" ]
}
engine -n 1 --object-memory 4 --object-spill spill
start steps "${client[@]}" 'fill a 2000000 a' 'input a whole' "make $TEST_DIR/used" "await $TEST_DIR/seen" 'fill b 2400000' \
    "make $TEST_DIR/gone" "await $TEST_DIR/end" 'input a whole'
steps=$pid
wait_for 'a task has seen an object' test -e used
check 'its executor keeps it' maps_are 2002944 1
touch seen
wait_for 'it goes to a file' test -e gone
check_equal 'to which nobody else has a name' 1 "$(file_of 2000000 | wc -l)"
wait_for 'and the executor does not keep it' maps_are 2002944 0
touch end
check 'the next task' wait "$steps"
check_equal 'sees it again' '2000000 of 2000000 are a' "$(tail -n 1 steps.log)"

# A file that cannot be read back.
steps 'another object goes to a file' $'ok 0\nok 0' 'fill c 3000001 c' 'fill d 3000000 d'
truncate -s 1000 "$(file_of 3000001)"
lost="FLM_EIO object c: it cannot be read back from $directory (--object-spill): Input/output error"
steps 'one that cannot be read back fails those who ask for it, and nothing else' "$lost
$lost
object $lost
$lost
3000000 of 3000000 are d
ok 2
2 5 again" 'get c 0' 'patch c 0 0 x' 'input c' 'task c 0' 'input d whole' 'update c 0 again' 'get c 0'
check_equal 'no executor has ended for that' 0 "$(flmctl -o json list -e | jq 'map(.restarts) | add')"

# A kill leaves nothing.
node=$(flmctl -o json list -n | jq -r '.[0].pid')
kill -KILL "$flmd"
wait "$flmd" 2>/dev/null
check_equal 'a kill leaves nothing in the directory' '' "$(ls -A spill)"
wait_for 'its agent ends' bash -c "! kill -0 $node 2>/dev/null"
rm "$TEST_DIR/run/flmd.sock"

# What cannot be written stays in memory, and there is no room for more; what is in files can be read.
put_another() {
    run "${client[@]}" 'fill d 1500000 d'
    [ "$out" = 'ok 0' ]
}
cannot_write() { # WHAT, DIRECTORY, NAME-OF-ERROR, TEXT, COMMAND-THEN, COMMAND-THAT-ENDS-IT, ARGUMENT...
    engine -n 1 --object-memory 2 --object-spill "$2" "${@:7}"
    steps "two of three objects go to files ($transport)" $'ok 0\nok 0\nok 0' 'fill a 1500000 a' 'fill b 1500000 b' 'fill c 1500000 c'
    $5
    steps "$1" "$3 $4
object $3 $4
1 1500000 of 1500000 are a
1500000 of 1500000 are b
1 1500000 of 1500000 are c" 'fill d 1500000 d' 'become d 1500000 d' 'whole a' 'input b whole' 'whole c'
    check_equal 'the third one is in memory' 'a b' "$(spilled)"
    $6
    wait_for 'there is room again' put_another
    steps 'and all are there' '1500000 of 1500000 are c
1500000 of 1500000 are a
1500000 of 1500000 are d' 'input c whole' 'input a whole' 'input d whole'
    engine_end
}
delete_one() {
    steps 'one is deleted' 'ok 0' 'delete b 0'
}
no_room='(--object-spill), make room there or delete some'
for transport in $(transports | tail -n 1); do
    cannot_write 'nothing goes to a directory that is gone' spill FLM_EIO "no object can be written to $directory $no_room: \
No such file or directory" 'rmdir spill' 'mkdir spill'
done
transport=ring
cannot_write 'no more goes to files than may' spill FLM_EFULL "objects have 2 MiB in $directory, and may have 3, which is \
too little for 1465 KiB more: delete some, or start flmd with another --object-spill-limit" true delete_one --object-spill-limit 3
engine -n 1 --object-memory 2 --object-spill spill
steps 'one that is larger than the memory cannot be put' 'FLM_EFULL objects have 0 MiB in the session manager, and may have 2, '\
'which is too little for 2930 KiB more: delete some, or start flmd with another --object-memory' 'fill d 3000000 d'
engine_end
if mkdir small && mount -t tmpfs -o size=3200k none small 2>/dev/null; then
    cannot_write 'nothing goes to a disk that is full' small FLM_EFULL "no object can be written to $TEST_DIR/small $no_room: \
No space left on device" true delete_one
    umount small
fi
