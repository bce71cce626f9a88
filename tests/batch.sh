# What the tests of batch systems share; their cluster.sh reads it. That defines submit, which sets $job and
# runs $TEST_DIR/job.sh with FLM_JOB=$job_file, and says in $guide which page of doc/ has the scripts.
# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # what `job` fills is for the tests, and cluster.sh sets the rest

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

# A job of flmd's goes on when that is killed, with what it runs, and is the next session manager's. The test says
# what login, running_jobs and queue_is_empty are.
outlives_flmd() {
    local job steady=$FLM_BUILDDIR/tests/system/steady service=$services/steady.so
    local -x STEADY_TRACE=$TEST_DIR/trace STEADY_GATE=$TEST_DIR/gate STEADY_GATED=1000
    login --max-blocks 1 --state-dir "$TEST_DIR/state"
    check 'tasks are submitted' "$steady" -I outlives -l "$service" -L outlives.ids -D journal -d -n 100
    wait_for 'two tasks run in a job' bash -c '[ "$(grep -c begin "$STEADY_TRACE")" = 2 ]'
    job=$(running_jobs)
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    rm -f "$TEST_DIR/run/flmd.sock"
    login --max-blocks 1 --state-dir "$TEST_DIR/state"
    wait_for 'its node is back' bash -c '[ "$(flmctl -o json list | jq "last | .running")" = 2 ]'
    check_equal 'with the job that it was' "$job $job" "$(running_jobs) $(flmctl -o json list -n | jq -r '.[0].block')"
    touch "$STEADY_GATE"
    check 'the results are taken' "$steady" -I outlives -l "$service" -L outlives.ids -D journal -n 100 -c
    check_equal 'each has come once' '100 100' "$(sort -un outlives.ids | wc -l) $(wc -l <outlives.ids)"
    check_equal 'each task ran once' 100 "$(grep -c begin "$STEADY_TRACE")"
    queue_is_empty 'given back by the next session manager'
    engine_end
}

# When there is no next one, it ends.
is_left_alone() {
    local backend steady=$FLM_BUILDDIR/tests/system/steady service=$services/steady.so
    local -x STEADY_TRACE=$TEST_DIR/alone STEADY_GATE=$TEST_DIR/never STEADY_GATED=1000
    login --max-blocks 1 --state-dir "$TEST_DIR/state" --rejoin-time 2
    check 'tasks are submitted' "$steady" -I stranded -l "$service" -L stranded.ids -D journal -d -n 10
    wait_for 'two tasks run in a job' bash -c '[ "$(grep -c begin "$STEADY_TRACE")" = 2 ]'
    backend=$(sed -n 's/^backend \([0-9]*\) .*/\1/p' state/flmd)
    kill -KILL "$flmd"
    wait "$flmd" 2>/dev/null
    queue_is_empty 'when nobody comes'
    wait_for 'and the backend has ended' bash -c "! grep -q . /proc/$backend/cmdline"
    rm -f "$TEST_DIR/run/flmd.sock"
}

# Tiles on several nodes, which read A and B from the file that they share, make the product that one machine makes.
# Which nodes get tasks is not ours to say: a run in which one was quick enough for all is followed by another.
multiplies_on_nodes() { # OPTION of submit...
    cat >matmul.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = 6 ]; do sleep 0.05; done
for ((i = 0; i < 30; i++)); do
    flm-matmul --json --no-progress --size=1000 --block=100 --data=hdf5 --inputs=shared.h5 --check -o nodes.h5 >nodes.json || exit
    flmctl -o json view "$(flmctl -o json list -s | jq -r 'last.id')" >nodes.view || exit
    jq -e '[.places[] | select(.tasks > 0)] | length > 1' <nodes.view && exit
done
END
    job "$@" -- flmrun -n 6 -- bash matmul.sh
    check_equal 'tiles are multiplied on nodes' '0 true' "$status $out"
    check_equal 'the product is right, of files' 'passed hdf5 100' "$(jq -r '"\(.check) \(.data) \(.tasks)"' <nodes.json)"
    check_equal 'all its tiles are from them' 100 "$(jq '[.places[].tasks] | add' <nodes.view)"
    check 'one machine multiplies the same files' \
        flmrun --backend local -n 1 flm-matmul --no-progress --a=shared.h5:/A --b=shared.h5:/B --data=hdf5 -o one.h5
    ! command -v h5diff >/dev/null || check 'and gets the same' h5diff --delta=1e-10 one.h5 nodes.h5 /C /C
}

guide_script() {
    awk -v name="# $1" '/^```/ { inside = !inside; n = 0; next } inside && ++n == 1 { first = $0 }
        inside && n == 2 && $0 == name { print first; on = 1 } !inside { on = 0 } on' "$FLM_SRCDIR/doc/$guide"
}
