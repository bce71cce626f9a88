# What the tests of batch systems share; their cluster.sh reads it. That defines submit, which sets $job and
# runs $TEST_DIR/job.sh with FLM_JOB=$job_file, and says in $guide which page of doc/ has the scripts.
# shellcheck shell=bash disable=SC2034,SC2154 # what `job` fills is for the tests, and cluster.sh sets the rest

jobs_begun=0
begin_job() {
    jobs_begun=$((jobs_begun + 1))
    job_file=$TEST_DIR/jobs/$jobs_begun
    : >"$job_file.out"
    : >"$job_file.err"
}

take_job() {
    status=$(cat "$job_file.status") out=$(cat "$job_file.out") err=$(cat "$job_file.err")
}

job_end() {
    wait_for "job $job ends" test -e "$job_file.status"
    take_job
}

# Only says something when it takes too long.
job() {
    local end=$((SECONDS + FLM_TEST_PATIENCE))
    submit "$@"
    until [ -e "$job_file.status" ]; do
        [ $SECONDS -lt $end ] || fail "the job ends: $*" "$(cat "$job_file".* 2>/dev/null)"
        sleep 0.05
    done
    take_job
}

# On none of the nodes, which are all on this machine. One look of one process: others run beside us.
no_process_is_left() {
    local file name
    for file in $(grep -lszx "FLM_TEST_ID=$FLM_TEST_ID" /proc/[0-9]*/environ); do
        { read -r name <"${file%environ}comm"; } 2>/dev/null || continue
        case $name in flmd | flm-*) return 1 ;; esac
    done
}

guide_script() {
    awk -v name="# $1" '/^```/ { inside = !inside; n = 0; next } inside && ++n == 1 { first = $0 }
        inside && n == 2 && $0 == name { print first; on = 1 } !inside { on = 0 } on' "$FLM_SRCDIR/doc/$guide"
}
