#!/bin/bash
# sbatch --flame: a batch script that calls nothing of Flame but its clients finds an instance on all nodes.
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
plugin=$FLM_BUILDDIR/lib/flame/.libs/spank_flame.so
[ -e "$plugin" ] || skip 'built without spank.h'

echo "optional $plugin instance=$FLM_BUILDDIR/bin/flm-instance" >plugstack
SLURM_TESTBED_PLUGSTACK=$PWD/plugstack
export SLURM_TESTBED_PLUGSTACK
cluster 3

cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = "$1" ]; do sleep 0.05; done
END
printf '[application]\nname = upper\nshim = exec\ncommand = tr a-z A-Z\n' >upper.app

options() {
    for tool in sbatch salloc srun; do
        run $tool --help
        check_contains "$tool --help lists it" "$out" '--flame'
    done
    refused '--flame takes the number of executors on each node, 1 to 4096' --flame=many
    refused '--flame takes the number of executors' --flame=0
    refused 'cannot read missing.app' --flame --flame-app=upper.app,missing.app
    refused "has a character that no option of flmd has" --flame --flame-opts='--bind $(id)'
    refused 'takes options of flmd' --flame --flame-opts='l3 --bind'
    refused '--endpoint=tcp:*:1 is not for a job to choose' --flame --flame-opts='--bind l3 --endpoint=tcp:*:1'
}

refused() { # TEXT OPTION...
    local text=$1
    shift
    run sbatch -N1 "$@" -o /dev/null --wrap true
    check_equal "sbatch $*: not taken" '' "$out"
    check_contains 'and says why' "$err" "$text"
}

script() {
    job -N3 --ntasks-per-node=4 --flame -- sh -c '
        sh await.sh 12
        flmctl -o json list -n
        flmping -t 100000 --json
        srun -N3 -n3 --ntasks-per-node=1 sh -c "echo \$FLM_JOB_INSTANCE"'
    check_equal 'a script that starts nothing ends well' 0 "$status"
    check_equal 'all nodes of its job work for it' 'n1 n2 n3 4' \
        "$(jq -rs '.[0] | "\([.[].name] | sort | join(" ")) \([.[].executors] | unique | join(" "))"' <<<"$(sed '/^run-job/d' <<<"$out")")"
    check_equal 'its tasks flow' '0 12' "$(jq -rs '.[1] | "\(.failed) \(.executors)"' <<<"$(sed '/^run-job/d' <<<"$out")")"
    check_equal 'its steps have the same instance' "3 run-job-$job-0" "$(grep ^run-job <<<"$out" | sort | uniq -c | sed 's/^ *//')"
    check_equal 'nothing is said when all is well' '' "$err"
    nothing_is_left
    job -N2 -n2 --flame=2 --flame-app=upper.app --flame-opts='--bind none --quantum 20' -- sh -c '
        flmctl -o json list -a | jq -r ".[].name" | tr "\n" " "
        echo
        sh await.sh 4
        flmctl -o json list -n'
    check_contains 'applications are there before the first client' "$(head -n 1 <<<"$out")" upper
    check_equal 'so many executors on each node' '2 2' "$(jq -r '[.[].slots] | join(" ")' <<<"$(sed 1d <<<"$out")")"
    nothing_is_left
    printf '[application]\nname = x\nnonsense = 1\n' >wrong.app
    job -N1 -n1 --flame-app=wrong.app,upper.app -- flmctl status
    check 'an application that is wrong is told in the log of the job, too' \
        grep -q "wrong.app:3: there is no key 'nonsense'" "$job_file.log"
    job -N1 -n1 --flame-opts=--nonsense -- flmctl status
    check 'an option that flmd does not know' grep -q 'unrecognized option.*nonsense' "$job_file.log"
    check_contains 'is told in the log of the job, whose script goes on' "$(cat "$job_file.log")" 'the job goes on without it'
}

# A step of the user's on another node than the script's.
elsewhere() {
    # shellcheck disable=SC2016
    job -N3 --ntasks-per-node=2 --flame -- sh -c '
        ask="flmping -t 1000 --json | jq .failed; echo \${FLM_ENDPOINT%%:*}"
        srun -N1 -n1 -w n3 --overlap sh -c "$ask"
        srun -N1 -n1 -w n1 --overlap sh -c "$ask"
        sh await.sh 6
        srun -N1 -n1 -w n2 --overlap env FLM_MUNGE_SOCKET=/nonexistent sh -c "$ask"'
    check_equal 'clients on other nodes find the instance, also before it is there, and by the secret' \
        '0 tcp 0 unix 0 tcp' "$(echo $out)"
    check_equal 'and nothing is said' '0 ' "$status $err"
    nothing_is_left
}

others() {
    job -N2 -n2 -- sh -c 'env | grep FLM_ENDPOINT; srun -n2 sh -c "env | grep FLM_ENDPOINT || true"'
    check_equal 'a job that does not ask for it has nothing of it' '0  ' "$status $out $err"
    job -N1 -n2 --flame -- flmrun --backend local -n 1 -- sh -c 'sh await.sh 1; srun -n1 env | grep ^FLM_ENDPOINT= | grep -c run-job'
    check_equal 'flmrun in such a job is an instance of its own' 0 "$out"
    job -N1 -n1 --flame --flame-app=upper.app -- sh -c '
        sbatch -W -N1 -n1 -o inner --export=ALL --wrap "echo \$FLM_JOB_INSTANCE"'
    check_equal 'a job that is submitted in such a job has none of its own' "run-job-$job-0" "$(cat inner)"
    submit -N1 -n1 --array=0-1 --flame -- sh -c 'flmctl status >/dev/null && echo "$FLM_JOB_INSTANCE" >>array'
    wait_for 'both tasks of an array have an instance' bash -c '[ "$(sort -u array 2>/dev/null | wc -l)" = 2 ]'
    nothing_is_left
    submit -N1 -n1 --requeue --flame -- sh -c 'flmctl status >/dev/null && echo "$FLM_JOB_INSTANCE" >>lives; [ "$(wc -l <lives)" = 2 ] || sleep 1000'
    wait_for 'a job has an instance' test -s lives
    scontrol requeue "$job"
    wait_for 'and another one after it was requeued' grep -q "run-job-$job-1" lives
    job_end
    nothing_is_left
}

# A job of three nodes in which tasks flow for long; they have begun when it returns.
flood() {
    rm -f up
    submit -N3 --ntasks-per-node=2 --flame -- sh -c '
        sh await.sh 6
        echo $PPID >up.tmp && mv up.tmp up
        flmping -t 1000000 -d 2000 --json'
    wait_for 'tasks flow' test -s up
    sleep 0.3
}

job_is_gone() {
    wait_for "$1: the job is gone" bash -c "[ -z \"\$(squeue -h -j $job 2>/dev/null)\" ]"
    nothing_is_left
}

ends() {
    flood
    scancel "$job"
    job_is_gone 'scancel'
    flood
    testbed exec n1 kill -KILL "$(cat up)"
    job_is_gone 'the script is killed'
    flood
    testbed exec n1 pkill -KILL -x flm-instance
    job_end
    nothing_is_left
    check 'flm-instance is killed: the client is told' test "$status" -ne 0
}

shells() {
    # shellcheck disable=SC2016
    run timeout 60 salloc -Q -N3 --ntasks-per-node=4 --flame sh -c '
        srun -N1 -n1 --overlap -r0 sh -c "sh await.sh 12; flmping -t 10000 --json"
        x=$(srun -N1 -n1 --overlap -r0 flmctl -o json list -n)
        echo "$x" | jq -c "[.[].slots]"'
    check_equal 'salloc ends well' 0 "$status"
    check_equal 'its first step finds an instance' '0 12' "$(head -n -1 <<<"$out" | jq -r '"\(.failed) \(.executors)"')"
    check_equal 'the next one finds the same' '[4,4,4]' "$(tail -n 1 <<<"$out")"
    nothing_is_left
    run timeout 60 srun -Q -N2 -n2 --flame=3 sh -c '[ "$SLURM_NODEID" = 1 ] || { sh await.sh 6; flmping -t 10000 --json; }'
    check_equal 'srun alone' '0 0 6' "$status $(jq -r '"\(.failed) \(.executors)"' <<<"$out")"
    nothing_is_left
}

# None of it runs as root, when the user is another one.
user() {
    setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$FLM_BUILDDIR/bin/flmd" 2>/dev/null || return
    mkdir -m 0777 nobody
    setpriv --reuid=65534 --regid=65534 --clear-groups env -u XDG_RUNTIME_DIR HOME="$PWD/nobody" sbatch -Q -N2 -n2 --flame -o "$PWD/nobody/log" -D "$PWD/nobody" \
        --wrap "sh $PWD/await.sh 2"'; flmping -t 1000; ps -A -o uid=,comm= | grep "flm" | sort -u >ps.tmp; mv ps.tmp ps'
    wait_for 'the job of another user runs' test -e nobody/ps
    check_match 'its tasks flow' "$(cat nobody/log)" '1,000 tasks'
    check_equal 'all is of that user' '65534 flm-backend 65534 flm-executor 65534 flm-instance 65534 flm-node 65534 flmd' \
        "$(echo $(cat nobody/ps))"
    nothing_is_left
}

not_there() {
    local lines=$TEST_DIR/c/etc/plugstack.conf.d/extra.conf
    echo "optional $plugin instance=/nonexistent/flm-instance" >"$lines"
    job -N1 -n1 --flame -- sh -c 'flmctl status; echo goes on'
    check_equal 'without flm-instance the job goes on' 'goes on' "$out"
    check_contains 'and its client says what is not there' "$err" 'no session manager answers'
    cat >other.c <<'END'
const char plugin_name[] = "spank_flame", plugin_type[] = "spank";
const unsigned plugin_version = 0x0e0b00, spank_plugin_version = 1;
END
    for file in missing other; do
        echo "optional $PWD/$file.so" >"$lines"
        [ $file = missing ] || "${FLM_TEST_CC:-cc}" -shared -fPIC -o other.so other.c || break
        run sbatch --flame -o /dev/null --wrap true
        check_contains "a plugin file that is $file: there is no such option" "$err" "unrecognized option '--flame'"
        job -N1 -n1 -- echo goes on
        check_equal 'jobs without it go on' '0 goes on' "$status $out"
    done
}

options
script
elsewhere
others
ends
shells
user
not_there
