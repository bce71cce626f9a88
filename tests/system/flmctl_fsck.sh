#!/bin/bash
# flmctl fsck: clean journals, torn ends, damage, journals in use, and its words.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

journal=$FLM_BUILDDIR/tests/system/journal

# json EXPRESSION: of d, the JSON in $out
json() {
    python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$out"
}
last_segment() {
    find "$1" -name '*.flj' | sort | tail -n 1
}
# damage FILE BYTE: another value there
damage() {
    local old
    old=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf '%b' "\\x$(printf %x $(((old + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

run flmctl fsck nowhere
check_equal 'no folder: status 1' 1 "$status"
check_match 'no folder: it is said' "$err" '^flmctl: .*nowhere.*No such file'
mkdir empty
run flmctl fsck empty
check_match 'no journal: it is said' "$status $err" '^1 flmctl: empty has no journal'
run flmctl fsck
check_equal 'no argument: status 2' 2 "$status"

check 'a journal is written' "$journal" one 10 3
check 'and goes on' "$journal" one 10 3
run flmctl -o json fsck one
check_equal 'clean: status 0' 0 "$status"
check_equal 'clean: all is counted' '2 6 60 0' \
    "$(json '"%(segments)s %(frames)s %(records)s %(damages)s" % d["journal"]')"
run flmctl fsck one
check_match 'clean: a table for people' "$out" 'Records'

mkdir state
cp -r one state/journal
run flmctl -o json fsck state
check_equal 'in a state directory it is found' 60 "$(json 'd["journal"]["records"]')"

# a torn end
cp -r one torn
file=$(last_segment torn)
truncate -s -5 "$file"
run flmctl -o json fsck torn
check_equal 'torn: status 1' 1 "$status"
check_equal 'torn: the file is named' "$(basename "$file")" "$(json 'd["damages"][0]["file"]')"
check_match 'torn: what it is' "$(json 'd["damages"][0]["what"]')" 'crash in the middle of a write'
check_equal 'torn: nothing is changed without --repair' False "$(json 'd["damages"][0]["repaired"]')"
run flmctl -o json fsck --repair torn
check_equal 'torn: repaired: status 0' 0 "$status"
check_equal 'torn: repaired: it is said' True "$(json 'd["damages"][0]["repaired"]')"
run flmctl -o json fsck torn
check_equal 'torn: clean afterwards' '0 50' "$status $(json 'd["journal"]["records"]')"
check 'torn: it goes on' "$journal" torn 10 1

# damage in the middle
cp -r one bad
file=$(find bad -name '*.flj' | sort | head -n 1)
damage "$file" 200
run flmctl -o csv fsck --repair bad
check_equal 'damaged: status 1, also with --repair' 1 "$status"
check_contains 'damaged: file, offset and length' "$out" "$(basename "$file"),64,1240,"
check_contains 'damaged: the rest is still read' "$out" '50'
run "$journal" bad 1 1
check_match 'damaged: nobody starts with it; where, and what to do' "$status $err" \
    "^1 journal: the journal is damaged: $file at byte 64: .*flmctl fsck bad"

# of another version
cp -r one newer
damage "$(last_segment newer)" 8
run flmctl fsck newer
check_equal 'another version: status 1' 1 "$status"
check_contains 'another version: it is said' "$out" 'the segment is of version 3 of the journal'
run "$journal" newer 1 1
check_match 'another version: nobody starts with it' "$status $err" '^1 .*is of version 3 of the journal.*version 2'

# in use
exec 9>>one/lock
flock -n 9
run flmctl fsck one
check_match 'in use: it is said' "$status $err" '^1 flmctl: the journal in one is in use by process [0-9]+'
exec 9>&-
