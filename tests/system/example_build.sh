#!/bin/bash
# The commands that the READMEs of the examples give to compile them outside of the tree work, with the
# installed headers, library and flm.pc.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

command -v pkg-config >/dev/null || skip 'pkg-config is not installed'
pkg-config --exists hdf5 openblas || skip 'HDF5 or OpenBLAS is not installed'
unset LD_PRELOAD CFLAGS

# As installed: flm.pc points there. What uses a library with sanitizers must have them too.
mkdir -p usr/include usr/lib/pkgconfig usr/share/flame copy
cp -r "$FLM_SRCDIR/include/flm" usr/include/
cp -P "$FLM_BUILDDIR"/lib/.libs/libflm.so* usr/lib/
sed -e "s|^prefix=.*|prefix=$PWD/usr|; s|^exec_prefix=.*|exec_prefix=\${prefix}|; s|^libdir=.*|libdir=\${prefix}/lib|" \
    -e "s|^includedir=.*|includedir=\${prefix}/include|" \
    -e "s|^Cflags:.*|& ${FLM_TEST_SANITIZERS:+-fsanitize=$FLM_TEST_SANITIZERS}|" "$FLM_BUILDDIR/flm.pc" >usr/lib/pkgconfig/flm.pc
cp -r "$FLM_SRCDIR/examples/common" "$FLM_SRCDIR/examples/montecarlo" "$FLM_SRCDIR/examples/matmul" \
    "$FLM_SRCDIR/examples/nbody" copy/
export PKG_CONFIG_PATH=$PWD/usr/lib/pkgconfig LD_LIBRARY_PATH=$PWD/usr/lib

for example in montecarlo matmul nbody; do
    # the indented lines of the last section
    sed -n '/^## Build/,$s/^    //p' "copy/$example/README.md" >commands
    check_match "$example: there are commands" "$(cat commands)" '^cc '
    check "$example compiles" bash -c "cd copy && set -e && . '$PWD/commands'"
done
if command -v gfortran >/dev/null; then
    cp "$FLM_SRCDIR/fortran/flm.f90" usr/share/flame/
    flags="-std=f2008 -Wall -Wextra -Werror ${FLM_TEST_SANITIZERS:+-fsanitize=$FLM_TEST_SANITIZERS}"
    for program in examples/fortran/pi tests/system/fortran_client; do
        # shellcheck disable=SC2046,SC2086
        check "${program##*/}.f90 compiles" gfortran $flags -o "${program##*/}" \
            "$(pkg-config --variable=fortran flm)" "$FLM_SRCDIR/$program.f90" $(pkg-config --libs flm)
    done
    check 'pi in Fortran runs' flmrun -n 2 -- ./pi 20
    check_match 'and is right' "$out" '^pi is 3\.14159265'
    run ./pi
    check_equal 'without a session manager it fails' 1 "$status"
    check_contains 'and says why' "$err" 'pi: no session manager answers'
    check 'a client and a service in Fortran: outputs, failures, common data, errors' flmrun -n 1 -- ./fortran_client
    check_equal 'as they are' 'sum 45, 10 succeeded|version 2 of the common data: 42|failed with 7: |left what it had entered with 1|cannot: there is no application|' \
        "$(tr '\n' '|' <<<"$out")"
fi

check 'montecarlo runs' copy/montecarlo/flm-montecarlo --inproc -q --no-output -n 1e6
check_match 'and is right' "$out" '^3\.14'
check 'matmul runs' copy/matmul/flm-matmul --inproc --size=200 --json -o c.h5
check_match 'and is right' "$out" '"check": "passed"'
check 'nbody runs' copy/nbody/nbody --inproc -n 100 -s 10 --check
check_match 'and is right' "$out" 'the same positions'
