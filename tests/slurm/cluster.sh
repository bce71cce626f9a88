# Tests on a real Slurm cluster begin with
#
#     . "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
#
# in place of lib.sh, which this reads. They then have a network of their own, and skip where there is no
# Slurm or where they are not root. Every node has a runtime directory of its own.
# There is munge, as on every cluster with Slurm.
#
#     cluster N                    starts N nodes of 4 CPUs, n1, n2, ...
#     testbed COMMAND...           what tests/slurm/testbed can do with them
#     job OPTION... -- COMMAND...  runs it as a batch job and waits; fills $status, $out, $err
#     submit OPTION... -- COMMAND  the same without waiting; the job's number in $job
#     job_end                      waits for that
#     guide_script NAME            prints the script that doc/slurm.md calls so
# shellcheck shell=bash disable=SC2034 # what `job` fills is for the tests

if [ -z "${FLM_TEST_OWN_NETWORK:-}" ] && [ "$(id -u)" = 0 ] && unshare -n ip link set lo up 2>/dev/null; then
    export FLM_TEST_OWN_NETWORK=1
    # shellcheck disable=SC2016
    exec unshare -n "$BASH" -c 'ip link set lo up && exec "$BASH" "$@"' "$0" "$0" "$@"
fi
. "$FLM_SRCDIR/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/batch.sh"
guide=slurm.md

[ -n "${FLM_TEST_OWN_NETWORK:-}" ] || skip 'a cluster of namespaces needs root'
[ -e "$FLM_BUILDDIR/lib/flame/.libs/flm-backend-slurm.so" ] || skip 'built without Slurm'
[ -e "$FLM_BUILDDIR/lib/flame/.libs/flm-fabric.so" ] || skip 'built without libfabric'
PATH=$PATH:/usr/sbin:/sbin
for tool in slurmctld slurmd munged sbatch nsenter ip; do
    command -v $tool >/dev/null || skip "there is no $tool"
done

testbed() {
    "$FLM_SRCDIR/tests/slurm/testbed" -d "$TEST_DIR/c" "$@"
}

cluster_end() {
    testbed down >"$TEST_DIR/down.log" 2>&1
}

cluster() {
    # Named network namespaces are files there: tests run side by side.
    mkdir -p /run/netns
    [ -z "${FLM_TEST_OWN_SHM:-}" ] || mount -t tmpfs tmpfs /run/netns || fail 'a folder for network namespaces'
    chmod 0711 "$TEST_DIR" # munged wants its socket to be in reach of all
    export SLURM_TESTBED_PRIVATE_DIR=$XDG_RUNTIME_DIR
    trap 'cluster_end; finish' EXIT
    testbed up "$1" >"$TEST_DIR/up.log" 2>&1 || fail 'the cluster starts' "$(tail -n 30 "$TEST_DIR/up.log")"
    eval "$(testbed env)"
    export FLM_MUNGE_SOCKET=$TEST_DIR/c/munge/socket
    mkdir -p "$TEST_DIR/jobs"
}

# What all jobs run: their command, and then a file that says that it has ended and how.
cat >"$TEST_DIR/job.sh" <<'END'
#!/bin/bash
"$@" >"$FLM_JOB.out" 2>"$FLM_JOB.err"
echo $? >"$FLM_JOB.tmp"
mv "$FLM_JOB.tmp" "$FLM_JOB.status"
END

submit() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    begin_job
    job=$(FLM_JOB=$job_file sbatch --parsable "${options[@]}" -o "$job_file.log" "$TEST_DIR/job.sh" "$@") ||
        fail "sbatch ${options[*]} takes the job"
}

# No step and no process of Flame is left on any node.
nothing_is_left() {
    # shellcheck disable=SC2016
    wait_for 'no step is left' bash -c '[ -z "$(squeue -h -s | grep -v batch)" ]'
    wait_for 'no process of Flame is left' no_process_is_left
}
