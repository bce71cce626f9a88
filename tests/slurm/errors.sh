#!/bin/bash
# flmrun where there is no job, no Slurm, or not what was asked for.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"

run flmrun --backend pbss -- true
check_equal 'a backend that is none' 2 "$status"
run env SLURM_JOB_ID=17 SLURM_CONF=/nonexistent flmrun -- true
check_equal 'a job, but no slurm.conf' 125 "$status"

cluster 2
job -N1 -- true
run env SLURM_JOB_ID="$job" SLURM_JOB_NUM_NODES=1 flmrun -- true
check_equal 'a shell that has variables of a job that has ended' 125 "$status"
check_contains 'is told so' "$err" 'does not run (any more)'
check_contains 'and what to do' "$err" '--backend local'
run env SLURM_JOB_ID=999999 SLURM_JOB_NUM_NODES=1 flmrun -- true
check_contains 'a job that never was' "$err" 'knows no job 999999'
run env SLURM_JOB_ID=many flmrun -- true
check_contains 'a job id that is none' "$err" 'SLURM_JOB_ID is a number'
job -N2 -n2 -- env PATH="$FLM_BUILDDIR/bin" flmrun -- flmping -t 10
check 'no srun: it does not end well' test "$status" -ne 0
check_contains 'it says what is missing' "$(cat "$job_file.err")" "is Slurm's bin directory in PATH?"
job -N2 -n2 -- flmd --backend slurm --backend-option nonsense=1 --private
check_contains 'an option that is none' "$err" "has no option 'nonsense=1'"
job -N2 -n2 -- flmd --backend slurm --backend-option srun=--nonsense --private -e "unix:$TEST_DIR/s"
check_contains 'an option that srun does not know' "$err" "unrecognized option '--nonsense'"
