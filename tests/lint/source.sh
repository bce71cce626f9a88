#!/bin/bash
# The rules of doc/style.md that a program can check, on every file of the project.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

# Files of the project, also where it was unpacked from an archive.
project_files() {
    if [ -e "$FLM_SRCDIR/.git" ] && git -C "$FLM_SRCDIR" rev-parse >/dev/null 2>&1; then
        git -C "$FLM_SRCDIR" ls-files -co --exclude-standard | while IFS= read -r name; do
            [ ! -e "$FLM_SRCDIR/$name" ] || echo "$name"
        done
    else
        (cd "$FLM_SRCDIR" && find include src plugins mpi-shim examples tests doc scripts -type f ! -name '*.o')
    fi
}
mapfile -t files < <(project_files)
lint=("$FLM_SRCDIR/tests/lint/check_source.py")
command -v python3 >/dev/null || skip 'python3 is not installed'

run python3 "${lint[@]}" "$FLM_SRCDIR" "${files[@]}"
check_equal 'the source keeps the rules' '' "$out$err"

# Each rule, broken once: what is written into FILE must be found.
breaks() {
    local what=$1 file=$2 text=$3
    mkdir -p "tree/$(dirname "$file")"
    printf '%b\n' "$text" >"tree/$file"
    run python3 "${lint[@]}" tree "$file"
    check_contains "$what is found" "$out" "$file:"
    rm -rf tree
}
keeps() {
    local what=$1 file=$2 text=$3
    mkdir -p "tree/$(dirname "$file")"
    printf '%b\n' "$text" >"tree/$file"
    run python3 "${lint[@]}" tree "$file"
    check_equal "$what is not" '' "$out$err"
    rm -rf tree
}
breaks 'wire that includes net' src/wire/a.c '#include "net/link.h"'
breaks 'the library that includes the manager' src/libflm/a.c '#include "manager/session.h"'
breaks 'the manager that includes the node agent' src/manager/a.c '# include "node/placement.h"'
breaks 'the node agent that includes the manager' src/node/a.h '#include "manager/session.h"'
breaks 'a tool that includes what is inside' src/tools/a.c '#include "libflm/client.h"'
breaks 'a plugin that includes what is inside' plugins/a/a.c '#include "base/error.h"'
breaks 'an example that reaches up' examples/a/a.c '#include "../../src/base/error.h"'
breaks 'a public header that includes another wrongly' include/flm/a.h '#include "error.h"'
breaks 'libfabric outside fabric' src/net/ring.c '#include <rdma/fabric.h>'
breaks 'hwloc outside placement' src/node/node.c '#include <hwloc.h>'
breaks 'MPI outside the shim' src/executor/a.c '#include <mpi.h>'
breaks 'strcpy' src/base/a.c 'int f(void) { return strcpy (a, b); }'
breaks 'system' src/tools/a.c 'x = system("ls");'
breaks 'rand' examples/a/a.c 'x = rand();'
breaks 'a file named utils' src/base/string_utils.c 'int x;'
breaks 'a file named helpers' src/node/helpers.h 'int x;'
breaks 'a file that is too long' src/base/a.c "$(printf 'int x;\\n%.0s' {1..701})"
breaks 'a path of a home' doc/a.md 'see /ho''me/somebody/flame'
breaks 'blanks at the end' src/base/a.c 'int x; '
keeps 'a library that includes the executor' src/libflm/a.c '#include "executor/run.h"'
keeps 'libfabric in fabric' src/net/fabric_read.c '#include <rdma/fabric.h>'
keeps 'hwloc in placement' src/node/placement.c '#include <hwloc.h>'
keeps 'a tool with its own header' src/tools/a.c '#include "a.h"\n#include <flm/client.h>'
keeps 'an example with what examples share' examples/a/a.c '#include "../common/report.h"'
keeps 'a banned word in a comment' src/base/a.c '/* not strcpy() */ // or rand()\nchar *s = "system()";'
keeps 'a function with a longer name' src/base/a.c 'int x = my_rand() + p->system(1) + snprintf(a, 1, "b");'

if command -v clang-format-14 >/dev/null; then
    cd "$FLM_SRCDIR" || exit 1
    # the public headers are laid out by hand, to be read
    run clang-format-14 --dry-run -Werror $(printf '%s\n' "${files[@]}" | grep '\.[ch]$' | grep -v '^include/')
    check_equal 'clang-format changes nothing (else: make format)' '' \
        "$(grep -o '^[^ ]*:[0-9]*:[0-9]*: error' <<<"$err" | cut -d: -f1 | uniq -c)"
    cd "$TEST_DIR" || exit 1
fi
if command -v shellcheck >/dev/null; then
    cd "$FLM_SRCDIR" || exit 1
    run shellcheck -S warning -e SC1091,SC2154,SC2046 $(printf '%s\n' "${files[@]}" |
        grep -E '\.sh$|^(quickstart|run-tests|\.ci/run|scripts/[^.]*)$')
    check_equal 'shellcheck has nothing to say' '' "$out"
    cd "$TEST_DIR" || exit 1
fi
