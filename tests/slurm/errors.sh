#!/bin/bash
# flmrun where there is no job, no Slurm, or not what was asked for.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"

run flmrun --backend pbss -- true
check_equal 'a backend that is none' 2 "$status"
run env SLURM_JOB_ID=17 SLURM_CONF=/nonexistent flmrun -- true
check_equal 'a job, but no slurm.conf' 125 "$status"
check_contains 'is told so' "$err" 'cannot read /nonexistent, which SLURM_CONF names'

# A plugin for sbatch that was built for another Slurm, 9.9.9.
spank=$FLM_BUILDDIR/lib/flame/.libs/spank_flame.so
if [ -e "$spank" ]; then
    cp "$spank" other_flame.so
    printf '\11\11\11\0' | dd of=other_flame.so bs=1 conv=notrunc status=none \
        seek=$((0x$(objdump -T "$spank" | awk '/ plugin_version$/ { print $1 }')))
    echo "optional $PWD/other_flame.so" >plugstack
    export SLURM_TESTBED_PLUGSTACK=$PWD/plugstack
fi
echo 'PartitionName=closed Nodes=ALL AllowGroups=root' >conf
export SLURM_TESTBED_EXTRA_CONF=$PWD/conf
cluster 2
if [ -e "$spank" ]; then
    run sbatch --flame -N1 -o /dev/null --wrap true
    check_match 'a plugin for another version of Slurm: Slurm says so' "$err" 'other_flame.so.*[Ii]ncompatible.*version|[Ii]ncompatible.*version.*other_flame.so'
    job -N1 -- echo works
    check_equal 'and jobs that do not use it run' '0 works' "$status $out"
    : >"$TEST_DIR/c/etc/plugstack.conf.d/extra.conf"
fi
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

# The backend, where there is another libslurm than it was built for.
mkdir modules
LC_ALL=C sed 's/libslurm\.so\.[0-9][0-9]/libslurm.so.99/' "$FLM_BUILDDIR/lib/flame/.libs/flm-backend-slurm.so" >modules/flm-backend-slurm.so
run env FLM_MODULE_DIR="$PWD/modules" timeout 60 flmd --backend slurm -e "unix:$TEST_DIR/s"
check_match 'another libslurm than the backend was built for' "$status $err" '^1.*libslurm\.so\.99|libslurm\.so\.99'

# What becomes of jobs that flmd asks for: what Slurm says reaches the user.
asks() { # TEXT OPTION...: flmd with these options says so while there is work
    local text=$1
    shift
    engine --backend slurm --slots 1 --max-blocks 1 "$@"
    start ping flmping -t 10 --json
    wait_for "flmd says: $text" grep -q "$text" flmd.log
    kill -INT "$pid"
    wait "$pid"
    engine_end
}

asks 'waits: PartitionTimeLimit' --block-time 30 --site-options '-p short'
asks 'sbatch does not take the job: .*node' --site-options '-w n99'
asks 'sbatch does not take the job: .*feature' --site-options '-C none-has-this'
asks "sbatch does not take the job: .*unrecognized option '--nonsense'" --site-options '--nonsense'
mkdir fake
printf '#!/bin/sh\necho "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified" >&2\nexit 1\n' >fake/sbatch
chmod 755 fake/sbatch
PATH=$PWD/fake:$PATH asks 'sbatch does not take the job: .*Invalid account' --site-options '-A nobodys'

# Another user, where the build tree is in reach of all.
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env "HOME=$PWD/nobody" "XDG_RUNTIME_DIR=$PWD/nobody")
if [ -n "${FLM_TEST_OWN_SHM:-}" ] && "${nobody[@]}" test -x "$FLM_BUILDDIR/bin/flmd" 2>/dev/null; then
    install -d -m 0700 -o 65534 -g 65534 nobody
    chmod 0711 .
    start flmd "${nobody[@]}" flmd -v -e "unix:$PWD/nobody/s" --directory "$PWD/nobody" --backend slurm --slots 1 --max-blocks 1 --site-options '-p closed'
    flmd=$pid
    wait_for 'its session manager answers' "${nobody[@]}" flmctl --endpoint "unix:$PWD/nobody/s" status
    start ping "${nobody[@]}" FLM_ENDPOINT="unix:$PWD/nobody/s" flmping -t 10
    wait_for 'a partition that is closed to one: flmd says so' grep -qi 'sbatch does not take the job: .*permi' flmd.log
    kill -INT "$pid"
    wait "$pid"
    kill "$flmd"
    wait "$flmd"
fi
wait_for 'no job is left' bash -c '[ -z "$(squeue -h)" ]'

# Slurm is away: tasks wait, and flmd says why.
testbed stop-ctld
asks 'sbatch does not take the job: .*controller'
