#!/bin/bash
# Every command that README.md, doc/objects.md and doc/hdf5.md show works as shown. Blocks that begin with ```sh are run, in
# order, one shell each, in one folder; files that the text shows are written first: a block ```c, ```ini or ```python
# whose first line names a file in a comment ("/* square.c */", "# app.ini") is that file. What begins
# with ./quickstart, ./run-tests, git clone, cd flame or sudo is for other tests.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# blocks FILE: writes block-N.KIND for each fenced block with a kind.
blocks() {
    awk '/^```/ { if (inside) { close(file); inside = 0; next }
                  kind = substr($0, 4); inside = 1; file = sprintf("block-%03d.%s", ++n, kind); next }
         inside { print > file }' "$1"
}

# The file that a block stands for, if its first line says one.
named_file() {
    head -n 1 "$1" | sed -nE 's|^(/\*\|//\|#\|;) *([A-Za-z0-9_.-]+\.[a-z]+)( \*/)?$|\2|p'
}

mkdir work
guides=("$FLM_SRCDIR/README.md" "$FLM_SRCDIR/doc/objects.md")
[ ! -e "$FLM_BUILDDIR/lib/libflm_hdf5.la" ] || ! /usr/bin/python3 -c 'import h5py' 2>/dev/null ||
    guides+=("$FLM_SRCDIR/doc/hdf5.md")
cat "${guides[@]}" >all.md
blocks all.md
export PKG_CONFIG_PATH="$TEST_DIR/pkgconfig" LD_LIBRARY_PATH="$FLM_BUILDDIR/lib/.libs"
mkdir pkgconfig
cat >pkgconfig/flm.pc <<P
Name: flm
Description: Flame in its build tree
Version: 0
Libs: -L$FLM_BUILDDIR/lib/.libs -lflm
Cflags: -I$FLM_SRCDIR/include ${FLM_TEST_SANITIZERS:+-fsanitize=$FLM_TEST_SANITIZERS}
P

ran=0
for block in block-*; do
    [ -e "$block" ] || break
    file=$(named_file "$block")
    case $block in
        *.sh)
            grep -vE '^ *(\./quickstart|\./run-tests|git clone|cd flame|sudo|export PATH=)' "$block" >run.sh
            grep -qE '^[^#]' run.sh || continue
            ran=$((ran + 1))
            cd work || exit 1
            run timeout 300 bash -eu ../run.sh
            cd ..
            if [ "$status" -eq 0 ]; then
                ok "block $ran: $(head -n 1 run.sh)"
            else
                not_ok "block $ran works" "$(cat run.sh)"$'\n'"status $status"$'\n'"$out"$'\n'"$err"
            fi
            ;;
        *) [ -z "$file" ] || cp "$block" "work/$file" ;;
    esac
done
[ $ran -gt 0 ] || skip 'README.md shows no commands'
