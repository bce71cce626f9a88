#!/bin/bash
# Every program has a manual page; the page and --help speak of the same options; no page has a mistake
# that mandoc sees.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

command -v mandoc >/dev/null || skip 'mandoc is not installed'
pages=$FLM_SRCDIR/doc/man

# The options at the beginning of lines, one a line: what stands before two blanks. --help, --usage and
# --version are everybody's.
options() {
    sed -nE 's/^ {1,8}(-.*)$/\1/p' <<<"$1" | sed -E 's/ {2,}.*//' | grep -oE '(^|[ ,])--?[A-Za-z0-9?][a-z0-9-]*' |
        tr -d ' ,' | grep -vxE -e '--(help|usage|version)|-[?V]' | sort -u
}

render() {
    mandoc -T ascii -O width=200 "$1" | col -bx
}

# compare HELP PAGE: prints what one of the two lacks.
compare() {
    comm -23 <(options "$1") <(options "$2") | sed 's/^/not in the manual page: /'
    comm -13 <(options "$1") <(options "$2") | sed 's/^/not in --help: /'
}

# The comparison itself.
help=$'Usage: x [OPTION...]\n\n  -a, --all                  all of it\n  -n, --slots=N     how many\n      --json\n  -?, --help  '
page=$'OPTIONS\n     -a, --all\n             All.  See --other.\n     -n, --slots=N  How many.\n     --json\n'
check_equal 'a page that fits is found to fit' '' "$(compare "$help" "$page")"
check_equal 'an option that the page lacks is found' 'not in the manual page: --json' \
    "$(compare "$help" "${page/     --json/}")"
check_equal 'an option that --help lacks is found' 'not in --help: --json' "$(compare "${help/--json/}" "$page")"

for program in ${FLM_TEST_PROGRAMS:?}; do
    name=$(basename "$program")
    page=$pages/$name.1
    if [ ! -e "$page" ]; then
        not_ok "$name has a manual page" "there is no doc/man/$name.1"
        continue
    fi
    run "$FLM_BUILDDIR/$program" --help
    check_equal "$name --help ends well" 0 "$status"
    check_equal "$name: --help and the manual page have the same options" '' "$(compare "$out" "$(render "$page")")"
    run "$FLM_BUILDDIR/$program" --version
    check_match "$name --version: the name and the version" "$status $out" "^0 $name .*[0-9]+\\.[0-9]+"
    if [ "$name" != flm-executor ]; then
        check_equal "$name -V: the same" "$out" "$("$FLM_BUILDDIR/$program" -V 2>&1)"
    fi
done

for page in "$pages"/*.[1-8]; do
    [ -e "$page" ] || fail 'there are manual pages'
    check_equal "$(basename "$page") has no mistakes" '' "$(mandoc -T lint -W warning "$page" 2>&1)"
    check_equal "$(basename "$page") shows no macro as text" '' "$(render "$page" | grep -wE 'Ns|Ar|Fl|Cm|Ic')"
done

# The pages of the library and the headers.
documented=$(sed -n 's/^\.Nm \(flm_[a-z0-9_]*\).*/\1/p' "$pages"/*.3 | sort -u)
declared=$(cat "$FLM_SRCDIR"/include/flm/*.h | tr '\n' ' ' | grep -oE '(FLM_API|static inline) [^;(#]*\(' |
    sed -n 's/.*[ *]\(flm_[a-z0-9_]*\)($/\1/p' | sort -u)
check_equal 'every function has a manual page' '' \
    "$(comm -13 <(echo "$documented") <(echo "$declared"))"
check_equal 'every function of a manual page is in a header' flm_service \
    "$(comm -23 <(echo "$documented") <(echo "$declared"))"

# members STRUCT HEADER: those of a public structure.
members() {
    sed -n "/^struct $1 {/,/^}/p" "$2" | tr '\n' ' ' | sed -E 's|/\*([^*]\|\*[^/])*\*/||g; s/^[^{]*\{//; s/\}.*//' |
        tr ';' '\n' | sed -E 's/.*\(\*([a-z_]+)\)\(.*/\1/; s/\[[^]]*\]//g' | tr ',' '\n' |
        grep -oE '[a-z_0-9]+ *$' | tr -d ' ' | sort -u
}
mentioned=$(grep -hE '^\.(It )?(Va|Fa|Fn)' "$pages"/*.3 | tr -s ' ,()' '\n' | sort -u)
for header in "$FLM_SRCDIR"/include/flm/{client,service,admin,object,hdf5,mpi}.h; do
    for name in $(sed -n 's/^struct \(flm_[a-z0-9_]*\) {.*/\1/p' "$header"); do
        [ "$name" != flm_exec_output ] || continue # of flm-application(5)
        list=$(members "$name" "$header")
        check_match "$name has members" "$list" '.'
        check_equal "the manual pages tell of each member of struct $name" '' \
            "$(comm -13 <(echo "$mentioned") <(grep -vx reserved <<<"$list"))"
    done
done

# Fields of the structure, but its size and `temporary` (who registers a file does not stay connected); keys
# of the file.
fields=$(sed -n '/^struct flm_application {/,/^}/p' "$FLM_SRCDIR/include/flm/admin.h" | tr '\n' ' ' |
    sed 's|/\*[^*]*\*/||g' | grep -oE '[a-z_]+[,;]' | tr -d ',;' | grep -vxE 'size|temporary' | sort)
keys=$(sed -n 's/^\.It Cm \([a-z_]*\)\(.*\)/\1\2/p' "$pages/flm-application.5" | tr -d ' ' | tr ',' '\n' |
    grep -vxE 'so|exec|stdio|self|mpi|stdin|args|capture' | sort)
check_equal 'flm-application(5) has the fields of the structure' "$fields" "$keys"

# Programs in the pages compile, those with MPI where it is.
mpi_flags=$(pkg-config --cflags ompi-c 2>/dev/null || pkg-config --cflags mpich 2>/dev/null)
for page in "$pages"/*.[37]; do
    sed -n '/^\.Bd -literal -offset/,/^\.Ed/p' "$page" | grep -v '^\.' | sed 's/\\e/\\/g' >example.c
    [ -n "$mpi_flags" ] || ! grep -q '^#include <flm/mpi.h>' example.c || continue
    if grep -q '^#include' example.c; then
        # shellcheck disable=SC2086 # several words
        check "the example in $(basename "$page") compiles" "${FLM_TEST_CC:-cc}" -std=gnu11 -Wall -Wextra -Werror \
            -fsyntax-only -I"$FLM_SRCDIR/include" $mpi_flags example.c
    fi
done
