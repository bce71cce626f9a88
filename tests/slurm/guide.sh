#!/bin/bash
# The scripts that doc/slurm.md shows, and those of the examples, as they stand there.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
cluster 3

awk '/^```bash/ { inside = 1; n++; next } /^```/ { inside = 0 } inside { print > "script-" n }' "$FLM_SRCDIR/doc/slurm.md"
cp "$FLM_SRCDIR"/examples/*/*.sbatch .
for script in script-* *.sbatch; do
    case $script in
        script-*) name=$(sed -nE '2s/^# //p' "$script") ;;
        *) name=example-$script ;;
    esac
    run timeout 120 sbatch -W -o "$TEST_DIR/$name.out" "$script"
    check_equal "$name ends well" 0 "$status"
    sed 's/^/    /' "$TEST_DIR/$name.out"
done
check_file 'the example has written its file' pi.h5
check_match 'the example of matmul has read its files' "$(cat example-matmul.sbatch.out)" 'read by the executors from'
check_match 'and its product is right' "$(cat example-matmul.sbatch.out)" 'check +passed'
check_match 'and says what it found' "$(cat pi.sbatch.out)" '3\.14[0-9]+'
check_match 'nodes are shown by name' "$(cat look.sbatch.out)" '^n2 +Up +[0-9]+ +2 +2 '
multiplies_on_nodes -N3 --ntasks-per-node=2 -t 10
nothing_is_left
