#!/bin/bash
# A job that begins again, as doc/slurm.md shows it, goes on where it was.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
# shellcheck disable=SC2016 # what is quoted is for the shells that wait_for starts
cluster 2

guide_script long.sbatch >long.sbatch
check_match 'the guide has the script' "$(cat long.sbatch)" 'flmrun --state-dir'
export HOME=$TEST_DIR
cat >my_client <<END
#!/bin/bash
exec "$FLM_BUILDDIR/tests/system/steady" -I long -l "$services/steady.so" -L "$TEST_DIR/ids" -D journal -n 3000 -u 10000 -c
END
chmod +x my_client

job=$(sbatch --parsable -o "$TEST_DIR/long.log" long.sbatch)
wait_for 'results come' bash -c '[ "$(wc -l <ids)" -gt 300 ]'
scancel --signal=TERM --batch "$job" # as at the end of its time
wait_for 'it is in the queue again' bash -c "[ \"\$(squeue -h -j $job -o %t)\" = PD ]"
done_before=$(sort -un ids | wc -l)
[ "$done_before" -lt 3000 ] || fail 'it was not done before'
# Slurm lets two minutes pass before it begins such a job again; within a second its nodes refuse it.
scontrol update "jobid=$job" starttime=now+5seconds
FLM_TEST_PATIENCE=240
wait_for 'it begins again, with what there was' grep -q 'goes on with 1 session' long.log
wait_for 'each result comes' bash -c '[ "$(sort -un ids | wc -l)" = 3000 ]'
wait_for 'it ends' bash -c "! squeue -h -j $job -o %t | grep -q ."
check_match 'and it ended well' "$(cat long.log)" 'delivered [0-9]+ wrong 0 failed 0'
nothing_is_left
