#!/bin/bash
# The matrix multiplication example: shapes, files, the check, and what it says when something is wrong.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

command -v flm-matmul >/dev/null || skip 'built without BLAS'
flm-matmul --help | grep -q -- --output || skip 'built without HDF5'

refused() { # STATUS, PART OF THE MESSAGE, ARGUMENT...
    local expected=$1 part=$2
    shift 2
    check_status "refused: $*" "$expected" flm-matmul --inproc --no-output "$@"
    check_contains 'with its reason' "$err" "$part"
}
refused 2 'must be from 1' -m 0
refused 2 'whole number' -k x
refused 2 'must be from 1 to 8192' --block=10000
refused 2 'common, hdf5 or auto' --data=smoke
refused 2 'FILE:/dataset is needed' --a=:/A
refused 2 'cannot write missing/c.h5' --output=missing/c.h5
refused 1 'common data at most 1 GiB' --size=20000 --no-check --data=common
refused 1 'cannot read none.h5: No such file' --a=none.h5:/A
echo text >text.h5
refused 1 'text.h5 is no HDF5 file' --b=text.h5
check_status 'without a session manager' 1 flm-matmul
check_contains 'it says how to start one' "$err" 'flmrun -- flm-matmul'
check_status 'with an endpoint that is none' 1 env FLM_ENDPOINT=none flm-matmul

for transport in $(transports); do
    engine -n 2
    for shape in '1 1 1' '1 300 1' '300 1 300' '257 129 511' '64 1000 3' '700 700 700'; do
        read -r m n k <<<"$shape"
        for data in common hdf5; do
            check "$shape, $data, $transport" flm-matmul --json -m "$m" -n "$n" -k "$k" --block=100 --data=$data \
                -o $data.h5
            check_equal 'is right' "passed $m $n $k" "$(jq -r '"\(.check) \(.m) \(.n) \(.k)"' <<<"$out")"
        done
        ! command -v h5diff >/dev/null || check 'files agree' h5diff --delta=1e-10 common.h5 hdf5.h5 /C /C
    done
    engine_end
done
transport=ring
engine -n 2

# Numbers that anybody can check.
if command -v h5import >/dev/null; then
    matrix() { # NAME ROWS COLUMNS NUMBER...
        printf 'PATH %s\nINPUT-CLASS TEXTFP\nRANK 2\nDIMENSION-SIZES %s %s\nOUTPUT-CLASS FP\nOUTPUT-SIZE 32\n' \
            "$1" "$2" "$3" >"$1.conf"
        printf '%s ' "${@:4}" >"$1.txt"
        h5import "$1.txt" -c "$1.conf" -o "$1.h5"
    }
    matrix left 2 3 1 2 3 4 5 6
    matrix right 3 1 7 8 9
    for data in common hdf5; do
        check "matrices from files ($data)" flm-matmul --a=left.h5:/left --b=right.h5:/right --data=$data -o c.h5
        check_equal 'their product' '50 122 ' "$(h5dump -d /C -y c.h5 | sed -n 's/^ *\([0-9]*\),*$/\1/p' | tr '\n' ' ')"
    done
    check_equal 'no inputs are written when both are given' '' "$(ls c-inputs.h5 2>/dev/null)"
    check_status 'matrices that do not fit' 1 flm-matmul --a=left.h5:/left --b=left.h5:/left
    check_contains 'are named' "$err" 'left.h5:/left has 2 rows, but 3 are needed'
    check_status 'a size that does not fit' 1 flm-matmul --a=left.h5:/left -m 5
    check_contains 'is named' "$err" 'left.h5:/left has 2 rows, but 5 are needed'
    check_status 'a dataset that is not there' 1 flm-matmul --a=left.h5
    check_contains 'is named' "$err" "left.h5 has no dataset /A; 'h5ls -r left.h5' shows"
fi

# A disk that is full: limits of this process, and a small file system where root can make one.
check_status 'a file that may not grow' 1 bash -c 'trap "" XFSZ; ulimit -f 100; flm-matmul --size=500 -o small.h5'
check_contains 'is said' "$err" 'cannot write small.h5: File too large'
check_equal 'and leaves nothing' '' "$(ls small.h5* 2>/dev/null)"
if mkdir small && mount -t tmpfs -o size=1m none small 2>/dev/null; then
    check_status 'a full disk' 1 flm-matmul --size=500 -o small/c.h5
    full="$err" left=$(ls small)
    check_status 'a full disk for inputs' 1 flm-matmul --size=500 --data=hdf5 --inputs=small/i.h5 --no-output
    umount small
    check_contains 'is said' "$full" 'cannot write small/c.h5: No space left on device; free some space'
    check_contains 'for inputs too' "$err" 'cannot write small/i.h5: No space left on device'
    check_equal 'and nothing is left' '' "$left"
fi

check 'a large product' flm-matmul --size=1500 --block=333
for line in '\(1,500 (x|×) 1,500\) by' 'tiles +25 of 333 (x|×) 333 on 2 executors' 'throughput +[0-9.]+ GFLOP/s' \
    'of it +[0-9]+ % multiplying; reading 0.00 s, writing [0-9.]+ s' \
    'one dgemm +[0-9.]+ GFLOP/s with 2 threads: [0-9]+ % of it reached, [0-9]+ % without the files' 'check +passed' 'C +matmul\.h5:/C'; do
    check_match "says: $line" "$out" "$line"
done
check_status 'the module of another program' 1 flm-matmul --size=100 --no-output --service="$FLM_BUILDDIR/lib/flame/.libs/montecarlo.so"
check_contains 'is not believed' "$err" 'different versions'
engine_end
