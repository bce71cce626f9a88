# Tests of PBS begin with
#
#     pbs=fake
#     . "${FLM_SRCDIR:?run me by make check}/tests/pbs/cluster.sh"
#
# in place of lib.sh, which this reads, with pbs=fake for tests/pbs/fake_pbs.py or pbs=openpbs for a real cluster
# of namespaces (tests/pbs/testbed; skipped where there is no OpenPBS or where they are not root).
#
# A function before_cluster DIR of theirs is called before it starts, in a mount namespace of the test's own.
#
#     cluster N                    starts N nodes of 4 CPUs, n1, n2, ...
#     job OPTION... -- COMMAND...  runs it as a job, in this folder, and waits; fills $status, $out, $err
#     submit OPTION... -- COMMAND  the same without waiting; the job's id in $job
#     job_end                      waits for that
#     state_of JOB                 its letter
#     jobs_of LETTERS              ids of the jobs in these states
#     fault VERB ARGUMENT...       kill-node, offline, stop-server, ... on either kind
#     on NODE COMMAND...           runs it there
#     kill_on NODE NAME            kills the first process of that name there
#     guide_script NAME            prints the script that doc/pbs.md calls so
#     as_job FILE [NAME=VALUE...]  prints it as one that a job of the test can run
# shellcheck shell=bash disable=SC2034,SC2154 # what `job` fills is for the tests, and they say which pbs

no_openpbs() {
    echo "skipped: no OpenPBS ($1)"
    exit 77
}

# The cluster is outside: in its network, and where its names are known, the test runs once more.
if [ "$pbs" = openpbs ] && [ -z "${FLM_TEST_TESTBED:-}" ]; then
    [ -x "${PBS_EXEC:-/opt/pbs}/sbin/pbs_server" ] || no_openpbs 'there is none in /opt/pbs'
    [ "$(id -u)" = 0 ] || no_openpbs 'a cluster of namespaces needs root'
    if [ -z "${FLM_TEST_OWN_NETWORK:-}" ]; then
        unshare -n ip link set lo up 2>/dev/null || no_openpbs 'there are no network namespaces'
        # shellcheck disable=SC2016
        FLM_TEST_OWN_NETWORK=1 exec unshare -n -m "$BASH" -c \
            'ip link set lo up && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && exec "$BASH" "$@"' "$0" "$0" "$@"
    fi
    FLM_TEST_TESTBED=$(mktemp -d "${TMPDIR:-/tmp}/flm-pbs-XXXXXX") || exit 99
    export FLM_TEST_TESTBED
    chmod 0711 "$FLM_TEST_TESTBED"
    mkdir -m 0700 "$FLM_TEST_TESTBED/run"
    export PBS_TESTBED_PRIVATE_DIR=$FLM_TEST_TESTBED/run
    if declare -F before_cluster >/dev/null; then
        before_cluster "$FLM_TEST_TESTBED" || exit 99
    fi
    testbed=$FLM_SRCDIR/tests/pbs/testbed
    # shellcheck disable=SC2154
    trap '"$testbed" -d "$FLM_TEST_TESTBED/c" down --purge >/dev/null 2>&1; rm -rf "$FLM_TEST_TESTBED"' EXIT
    "$testbed" -d "$FLM_TEST_TESTBED/c" up "${pbs_nodes:-3}" >"$FLM_TEST_TESTBED/log" 2>&1 ||
        { sed 's/^/    /' "$FLM_TEST_TESTBED/log"; no_openpbs 'the cluster does not start'; }
    "$testbed" -d "$FLM_TEST_TESTBED/c" run "$BASH" "$0" "$@"
    exit $?
fi
. "$FLM_SRCDIR/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
. "$FLM_SRCDIR/tests/batch.sh"
guide=pbs.md
[ -e "$FLM_BUILDDIR/lib/flame/.libs/flm-backend-pbs.so" ] || skip 'built without PBS'
[ -e "$FLM_BUILDDIR/lib/flame/.libs/flm-fabric.so" ] || skip 'built without libfabric'

cluster() {
    mkdir -p "$TEST_DIR/jobs" "$TEST_DIR/bin"
    chmod 0711 "$TEST_DIR"
    if [ "$pbs" = openpbs ]; then
        export XDG_RUNTIME_DIR=$FLM_TEST_TESTBED/run # each node has its own
        PATH=$PATH:${PBS_EXEC:-/opt/pbs}/bin
        return
    fi
    local name
    if declare -F before_cluster >/dev/null; then
        [ -n "${FLM_TEST_OWN_SHM:-}" ] || skip 'what the cluster needs has to be mounted'
        before_cluster "$TEST_DIR" || fail 'what the cluster needs'
    fi
    for name in fake-pbs qsub qstat qselect qdel qalter pbsnodes pbsdsh; do
        ln -sf "$FLM_SRCDIR/tests/pbs/fake_command.py" "$TEST_DIR/bin/$name"
    done
    ln -sf "$FLM_SRCDIR/tests/pbs/fake_pbs.py" "$TEST_DIR/bin/pbs_mom"
    export FAKE_PBS=$TEST_DIR/pbs PBS_EXEC=$TEST_DIR
    mkdir -p "$FAKE_PBS"
    PATH=$TEST_DIR/bin:$PATH
    start pbs_mom pbs_mom "$FAKE_PBS" "$1" 4
    trap 'fake-pbs end 2>/dev/null || true; finish' EXIT
    wait_for 'the fake PBS answers' qstat -B
}

# What all jobs run: their command with the environment of the test, and then a file that says how it has ended.
cat >"$TEST_DIR/job.sh" <<END
#!/bin/bash
export PATH="$PATH:\$PATH" HOME="$HOME"
export XDG_RUNTIME_DIR="${FLM_TEST_TESTBED:-$TEST_DIR}/run" PATH="$TEST_DIR/bin:\$PATH:${PBS_EXEC:-/opt/pbs}/bin"
$(export -p | grep -E '^declare -x (FLM_(TEST_|BUILDDIR|SRCDIR|MUNGE)|[AUTL]*SAN_OPTIONS|FAKE_PBS)')
cd "$TEST_DIR" || exit
"\$@" >"\$FLM_JOB.out" 2>"\$FLM_JOB.err"
echo \$? >"\$FLM_JOB.tmp"
mv "\$FLM_JOB.tmp" "\$FLM_JOB.status"
END
chmod 755 "$TEST_DIR/job.sh"

submit() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    begin_job
    job=$(qsub -f -N "test$jobs_begun" "${options[@]}" -v FLM_JOB="$job_file" -j oe -o "$job_file.log" -- "$TEST_DIR/job.sh" "$@") ||
        fail "qsub ${options[*]} takes the job"
}

# A script as it stands there, but for programs and home, which are those of the test; its directives come first.
as_job() { # FILE [NAME=VALUE...]
    local script=$1
    shift
    head -n 1 "$script"
    grep '^#PBS' "$script"
    echo "export PATH='$PATH':\$PATH HOME='$HOME' XDG_RUNTIME_DIR='$XDG_RUNTIME_DIR' FLM_TEST_ID='$FLM_TEST_ID' $*"
    sed 1d "$script"
}

state_of() {
    qstat -x -f -F json "$1" 2>/dev/null | jq -r '.Jobs[].job_state'
}

jobs_of() {
    qselect -s "$1" 2>/dev/null
}

fault() {
    if [ "$pbs" = openpbs ]; then
        case $1 in
            offline) pbsnodes -o "$2" ;;
            online) pbsnodes -r "$2" ;;
            start-queue) qmgr -c "set queue $2 started=true" ;;
            stop-queue) qmgr -c "set queue $2 started=false" ;;
            *) env -u FLM_TEST_ID nsenter -t "$PPID" -m "$FLM_SRCDIR/tests/pbs/testbed" -d "$FLM_TEST_TESTBED/c" "$@" ;;
        esac
    else
        fake-pbs "$@"
    fi
}

pids_of() { # NODE NAME: of the processes of the job that are there
    local pid
    for pid in $(pgrep -x "$2"); do
        grep -qsz "^FLM_TEST_ID=$FLM_TEST_ID\$" "/proc/$pid/environ" || continue
        tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "PBS_FAKE_NODE=$1" && echo "$pid"
    done
}

on() { # NODE COMMAND...: in that node
    local node=$1
    shift
    if [ "$pbs" = fake ]; then
        PBS_FAKE_NODE=$node "$@"
    else
        fault exec "$node" env PATH="$PATH" "$@"
    fi
}

kill_on() { # NODE NAME: the first such process there
    if [ "$pbs" = fake ]; then
        kill -KILL "$(pids_of "$1" "$2" | head -n 1)"
    else
        on "$1" sh -c "kill -KILL \$(pgrep -o -x $2)"
    fi
}

# No job runs, and no process of Flame is there, nor a file with an environment.
nothing_is_left() {
    # shellcheck disable=SC2016
    wait_for 'no job is left' bash -c 'jobs=$(qselect) && [ -z "$jobs" ]'
    wait_for 'no process of Flame is left' no_process_is_left
    # A launcher of ranks that is killed with its job, before the other node has read its file, leaves that to be swept.
    [ -n "${ranks_are_launched:-}" ] || check_equal 'no file of an environment is left' '' "$(find "$HOME/.config/flame" -name 'environment-*' 2>/dev/null)"
}
