#!/bin/bash
# What libflm.so shows to the programs that link with it: the public functions, and nothing else.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

library=$FLM_BUILDDIR/lib/.libs/libflm.so
[ -e "$library" ] || fail 'libflm.so is built' "there is no $library"
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort -u)
check_equal 'it exports nothing but flm_*' '' "$(grep -v '^flm_[a-z]' <<<"$exported")"

# Declarations in the headers; flm_service and flm_backend are for the user to define.
declared=$(cat "$FLM_SRCDIR"/include/flm/*.h | tr '\n' ' ' | sed 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/| |g' |
    grep -o 'FLM_API [^;(#]*(' | sed -n 's/.*[ *]\(flm_[a-z0-9_]*\)($/\1/p' | grep -v '^flm_mpi_\|^flm_hdf5_\|^flm_map_hdf5$' | sort -u)
check_contains 'the headers declare functions' "$declared" flm_connect
check_equal 'it exports every function of the headers' '' "$(comm -23 <(echo "$declared") <(echo "$exported"))"
check_equal 'and no function that they do not have' '' "$(comm -13 <(echo "$declared") <(echo "$exported"))"

needed=$(readelf -d "$library" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
check_equal 'it does not link MPI, libfabric or hwloc' '' "$(grep -E '^lib(mpi|fabric|hwloc|pmix)' <<<"$needed")"

hdf5=$FLM_BUILDDIR/lib/.libs/libflm_hdf5.so
if [ -e "$hdf5" ]; then
    check_equal 'libflm_hdf5.so exports its functions, and nothing else' \
        "$(grep -ho 'flm_\(map_hdf5\|hdf5_[a-z]*\)($' <(tr '\n' ' ' <"$FLM_SRCDIR/include/flm/hdf5.h" | grep -o 'FLM_API [^;(]*(') |
            tr -d '(' | sort)" \
        "$(nm -D --defined-only "$hdf5" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort -u)"
fi

cat >both.cc <<'C'
#include <flm/admin.h>
#include <flm/backend.h>
#include <flm/client.h>
#include <flm/service.h>
int main() { return flm_version() == nullptr; }
C
mpi_flags=$(pkg-config --cflags ompi-c 2>/dev/null || pkg-config --cflags mpich 2>/dev/null)
for header in "$FLM_SRCDIR"/include/flm/*.h; do
    name=flm/$(basename "$header")
    echo "#include <$name>" >alone.c
    [ -n "$mpi_flags" ] || [ "$name" != flm/mpi.h ] || continue
    # shellcheck disable=SC2086 # several words
    check "$name compiles alone" "${FLM_TEST_CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
        -I"$FLM_SRCDIR/include" $mpi_flags alone.c
done
if command -v c++ >/dev/null; then
    check 'the headers compile as C++' c++ -Wall -Wextra -Werror -fsyntax-only -I"$FLM_SRCDIR/include" both.cc
fi
