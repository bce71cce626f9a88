#!/bin/bash
# A session over the pieces of a data set: executors read them themselves, what they give is in a file.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
[ -x "$FLM_BUILDDIR/tests/system/hdf5_map" ] || skip 'built without HDF5'
/usr/bin/python3 -c 'import h5py' 2>/dev/null || skip 'there is no python3-h5py'

/usr/bin/python3 - <<'PYTHON'
import h5py, numpy, os
with h5py.File("in.h5", "w") as f:
    x = numpy.arange(100 * 6, dtype="f8").reshape(100, 6)
    f["plain"] = x
    f.create_dataset("chunked", data=x, chunks=(8, 4), compression="gzip")
    f["int"] = numpy.arange(40, dtype=">i2")
    f["cube"] = numpy.arange(5 * 4 * 3, dtype="f4").reshape(5, 4, 3)
    f["empty"] = numpy.zeros((0, 3))
    f["scalar"] = 1.0
    f["text"] = numpy.array([b"a", b"b"])
with h5py.File("busy.h5", "w") as f:
    f["y"] = numpy.zeros((100, 5))
    f["int"] = numpy.zeros((100, 6), dtype="i8")
    f["float"] = numpy.zeros((100, 6), dtype="f4")
with h5py.File("old.h5", "w") as f, h5py.File("swap.h5", "w") as g:
    f["x"] = numpy.zeros((100, 6))
    g["x"] = numpy.zeros((100, 7))
with h5py.File("wide.h5", "w") as f: # rows of more than a block of the file system
    f["x"] = numpy.arange(5 * (os.stat(".").st_blksize // 8 + 1), dtype="f8").reshape(5, -1)
PYTHON

map() { # WHAT SET ARGUMENT...
    run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" "$1" in.h5 "$2" "${@:3}"
}
compare() { # EXPRESSION of f (in.h5) and g (out.h5): prints what it is
    /usr/bin/python3 -c "
import h5py, numpy
with h5py.File('in.h5') as f, h5py.File('out.h5') as g: print($1)"
}

engine -n 2
map opens plain rows=7 out=out.h5 outset=opens columns=1
check_equal 'a file is opened once by an executor, however many tasks' '0 True' "$status $(compare "(g['opens'][:] == 1).all()")"
map opens chunked rows=8 out=out.h5 outset=again columns=1
check_equal 'and data sets' '0 True' "$status $(compare "(g['again'][:] == 1).all()")"
map double plain rows=7 out=out.h5 outset=/a/b/y
check_equal 'rows' '0 15 pieces, 600 elements' "$status $out"
check_equal 'each element is there, in a group that was made' True "$(compare "(g['a/b/y'][:] == 2 * f['plain'][:]).all()")"
map double chunked chunks out=out.h5 outset=y
check_equal 'chunks' '0 26 pieces, 600 elements' "$status $out"
check_equal 'each element is there' True "$(compare "(g['y'][:] == 2 * f['chunked'][:]).all()")"
map double chunked rows=9 out=out.h5 outset=y
check_equal 'rows are rounded up to whole chunks' '0 7 pieces, 600 elements' "$status $out"
map sums plain rows=3 columns=2 out=out.h5 outset=sums
check_equal 'a few numbers for each row' '0 34 pieces, 600 elements' "$status $out"
check_equal 'they are there' True \
    "$(compare "(g['sums'][:, 0] == f['plain'][:, 0] + f['plain'][:, 1]).all() and (g['sums'][:, 1] == numpy.arange(100)).all()")"
map int int rows=11 out=out.h5 outset=int columns=1
check_equal 'a vector of other numbers' '0 4 pieces, 40 elements' "$status $out"
check_equal 'they are there' '(40,) True' "$(compare "'%s %s' % (g['int'].shape, (g['int'][:] == numpy.arange(40)).all())")"
map double cube
check_equal 'three dimensions, without an output' '0 1 pieces, 60 elements' "$status $out"
map double empty out=out.h5 outset=none
check_equal 'nothing to do' '0 0 pieces, 0 elements' "$status $out"

map fail plain rows=10 out=out.h5 outset=gaps
check_equal 'pieces that failed are told' "1 10 pieces, 60 elements
finish: FLM_ESERVICE 9 of 10 pieces of $PWD/in.h5:plain failed; the first, from row 10 on: it was to fail" "$status $out"
check_equal 'and are NaN' '60 540' "$(compare "'%d %d' % (numpy.isfinite(g['gaps'][:]).sum(), numpy.isnan(g['gaps'][:]).sum())")"
map short plain rows=50 out=out.h5 outset=gaps
check_contains 'an output of another size is told' "$out" 'its task gave 8 bytes, and not doubles of 2400 bytes'
refused() { # WHAT, PART OF THE MESSAGE, ARGUMENT...
    map double "${@:3}"
    check_contains "$1" "$status $out" "1 map: $2"
}
refused 'no such data set' 'FLM_ENOTFOUND in.h5 has no data set nothing' nothing
refused 'a number' 'FLM_EINVAL in.h5:scalar has 0 dimensions; 1 to 8' scalar
refused 'text' 'FLM_EINVAL the elements of in.h5:text are not numbers' text
refused 'no chunks' 'FLM_EINVAL in.h5:plain is not stored in chunks' plain chunks
refused 'an output of another shape' 'FLM_EINVAL busy.h5:y is there already, with another shape' plain out=busy.h5 outset=y
for type in int float; do
    refused "an output of type $type" "FLM_EINVAL busy.h5:$type is there already, with another shape or of another type" \
        plain out=busy.h5 outset=$type
done
refused 'an output in the input' 'FLM_EINVAL the output has to go into another file than in.h5' plain out=in.h5 outset=y
refused 'an output without a name' 'FLM_EINVAL an output is a file and a data set' plain out=out.h5
refused 'an output that cannot be' 'FLM_EIO cannot write no/out.h5' plain out=no/out.h5 outset=y
refused 'rows of chunks' 'FLM_EINVAL rows and output_columns do not go' chunked chunks rows=3
check_equal 'the file that was refused is as it was' 3 "$(/usr/bin/python3 -c "import h5py; print(len(h5py.File('busy.h5')))")"
run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" double none.h5 x
check_contains 'no such file' "$out" 'FLM_ENOTFOUND cannot read none.h5: No such file'
echo text >text.h5
run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" double text.h5 x
check_contains 'no HDF5 file' "$out" 'FLM_EIO text.h5 is no HDF5 file'
map double plain plain
check_contains 'a task that is no piece is told so' "$out" 'this is no task of flm_map_hdf5'

# The same name with other contents, for executors that have had it open; and one that goes away.
/usr/bin/python3 -c "
import h5py
with h5py.File('in.h5', 'w') as f: f['plain'] = [1.0, 2.0, 3.0]"
map double plain rows=1 out=out.h5 outset=other
check_equal 'a file that was written again' '0 3 pieces, 3 elements' "$status $out"
check_equal 'is read again' '[2. 4. 6.]' "$(compare "g['other'][:]")"
run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" "gate:$PWD/gate" old.h5 x rows=100 swap
check_equal 'another shape at the executor is told' "1 1 pieces, 0 elements
finish: FLM_ESERVICE 1 of 1 pieces of $PWD/old.h5:x failed; the first, from row 0 on: $PWD/old.h5:x has another shape here than where the client saw it" \
    "$status $out"
for file in blocks.h5 out.h5; do # one that is made, one that is there
    run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" double wide.h5 x rows=1 out=$file outset=blocks
    check_equal "chunks of $file begin at blocks of the file system" '0 5 0' "$status $(/usr/bin/python3 -c "
import h5py, os
with h5py.File('$file') as f:
    x = f['blocks'].id
    at = [x.get_chunk_info(i).byte_offset for i in range(x.get_num_chunks())]
    print(len(at), sum(a % os.stat('$file').st_blksize for a in at))")"
done
cp in.h5 gone.h5
run "$FLM_BUILDDIR/tests/system/hdf5_map" "$services/hdf5_map.so" double gone.h5 plain rows=1 remove
check_match 'a file that goes away: read, or told' "$out" \
    "(3 pieces, 3 elements|FLM_ESERVICE [1-3] of 3 pieces of $PWD/gone.h5:plain failed; the first, from row [0-2] on: cannot read)"
engine_end
