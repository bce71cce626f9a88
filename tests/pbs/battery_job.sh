# flmrun in a job of PBS, of either kind: all its nodes, the ends that a job can have, what can happen to a node.
# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # what is quoted is for shells in jobs

cat >await.sh <<'END'
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle" or .state == "Bound")] | length')" = "$1" ]; do sleep 0.05; done
END

nodes_of_a_job() {
    job -l select=3:ncpus=4:mpiprocs=4 -l place=scatter -l walltime=10:00 -- flmrun -- sh -c '
        sh await.sh 12
        flmctl -o json list -n
        pbsdsh -n 1 -- true && echo pbsdsh works'
    check_equal 'flmrun ends well in a job' 0 "$status"
    nodes=$(sed '/^\]/q' <<<"$out")
    check_equal 'all nodes of the job are there, by their names' 'n1 n2 n3' "$(jq -r '[.[].name] | sort | join(" ")' <<<"$nodes")"
    check_equal 'with an executor for each rank' '4 4 4' "$(jq -r '[.[].executors] | join(" ")' <<<"$nodes")"
    [ "$pbs" = fake ] || check_equal 'rings on the first node, libfabric between nodes' 'ring tcp;ofi_rxm tcp;ofi_rxm' \
        "$(jq -r 'sort_by(.name) | [.[].transport] | join(" ")' <<<"$nodes")"
    check_equal 'blocks are called by the job' "$job" "$(jq -r '[.[].block] | unique | join(" ")' <<<"$nodes")"
    check_equal 'they know when the job ends' true "$(jq '[.[].time_left_s | . > 500 and . <= 600] | all' <<<"$nodes")"
    check_equal 'nothing is said when all is well' '' "$err"
    nothing_is_left
}

counts() {
    job -l select=3:ncpus=4:mpiprocs=4 -l place=scatter -- flmrun -n 5 -- sh -c 'sh await.sh 5; flmctl -o json list -n'
    check_equal 'flmrun -n is the number in all' '1 2 2' "$(jq -r '[.[].slots] | sort | join(" ")' <<<"$out")"
    job -l select=3:ncpus=1 -l place=scatter -- flmrun -n 2 -- sh -c 'sh await.sh 2; flmctl -o json list -n'
    check_equal 'fewer executors than nodes' 2 "$(jq length <<<"$out")"
    job -l select=3:ncpus=2:mpiprocs=2 -l place=scatter -- flmrun --nodes 2 -- sh -c 'sh await.sh 4; flmctl -o json list -n'
    check_equal 'some nodes of the job' 2 "$(jq length <<<"$out")"
    job -l select=1:ncpus=1:mpiprocs=1+1:ncpus=3:mpiprocs=3 -l place=scatter -- flmrun -- sh -c 'sh await.sh 4; flmctl -o json list -n'
    check_equal 'ranks that are spread unevenly' '1 3' "$(jq -r '[.[].slots] | sort | join(" ")' <<<"$out")"
    job -l select=2:ncpus=2 -l place=scatter -- flmrun -- sh -c 'sh await.sh 4; flmctl -o json list -n'
    check_equal 'no ranks: an executor for each CPU of the job' '2 2' "$(jq -r '[.[].slots] | join(" ")' <<<"$out")"
    job -l select=1:ncpus=2:mpiprocs=2 -- flmrun -- sh -c 'sh await.sh 2; flmctl -o json list -n'
    check_equal 'a job of one node' "2 $job" "$(jq -r '.[] | "\(.slots) \(.block)"' <<<"$out")"
    job -l select=2:ncpus=1 -l place=scatter -- flmrun --backend local -n 1 -- sh -c 'sh await.sh 1; flmctl -o json list -n'
    check_equal 'local, as asked' local "$(jq -r '.[].block' <<<"$out")"
    job -l select=3:ncpus=1 -l place=scatter -- flmrun --nodes 4 -- flmping -t 10
    job_err=$err
    check 'more nodes than the job has: it does not end well' test "$status" -ne 0
    check_contains 'and says why' "$job_err" 'has 3 nodes, not 4'
    nothing_is_left
}

# What the script has set is there on all nodes, and so is its directory; not what is the node's own.
environment() {
    mkdir -p "$HOME/.config/flame"
    touch -d '2 hours ago' "$HOME/.config/flame/environment-left"
    job -l select=2:ncpus=2:mpiprocs=2 -l place=scatter -- sh -c "
        umask 027; mkdir -p place; cd place
        HARD='it'\\''s; a \$b
line' flmrun -- sh -c 'sh ../await.sh 4; flmexec -k \"sleep 0.2; echo \\\"\\\$HARD|\\\$(pwd)|\\\$(umask)|\\\$OMP_NUM_THREADS|\\\$PATH\\\"\" ::: 1 2 3 4 | tr \"\\n\" \"~\"'"
    check_equal 'a job whose script has set variables' 0 "$status"
    check_equal 'all executors have them, its directory, its umask and threads as they have cores' \
        "it's; a \$b~line|$TEST_DIR/place|0027|1" "$(sed "s/|[^|]*~\(it's\)/\\n\\1/g" <<<"$out" | cut -d '|' -f 1-4 | sort -u)"
    check_contains 'and the path' "$out" "$FLM_BUILDDIR/bin"
    check 'what somebody had left who was killed is gone' test ! -e "$HOME/.config/flame/environment-left"
}

work() {
    run flmrun --backend local -n 2 -- flm-montecarlo -q --seed 7 -n 3e6 --no-output
    here=$out
    job -l select=3:ncpus=4:mpiprocs=4 -l place=scatter -- flmrun -- flm-montecarlo -q --seed 7 -n 3e6 --no-output
    check_equal 'Monte Carlo has the same digits on three nodes' "0 $here" "$status $out"
    job -l select=3:ncpus=4:mpiprocs=4 -l place=scatter -- flmrun -- sh -c 'sh await.sh 12; flmping -t 100000 --json'
    check_equal 'tasks flow' '0 0 12' "$status $(jq -r '"\(.failed) \(.executors)"' <<<"$out")"
}

flood() {
    rm -f up over
    submit -l select=3:ncpus=2:mpiprocs=2 -l place=scatter -l walltime=10:00 "$@" -- flmrun -v -- sh -c '
        sh await.sh 6
        flmctl status >/dev/null && env | grep ^FLM_ENDPOINT >up.tmp && mv up.tmp up
        flmping -t 3000 -d 2000 --sleep --json
        until [ -e over ]; do sleep 0.05; done'
    wait_for 'the job is there' test -e up
    wait_for 'tasks flow' env "$(cat up)" bash -c 'flmctl -o json list | jq -e "last | .succeed > 0"'
}

all_once() {
    touch over
    job_end
    check_equal "$1: each result once, none failed" '0 3000 0 0 0' \
        "$status $(jq -r '"\(.succeeded) \(.failed) \(.lost) \(.duplicated)"' <<<"$out")"
}

executor_is_killed() {
    flood
    kill_on n2 flm-executor
    kill_on n1 flm-executor
    all_once 'an executor is killed on two nodes'
}

agent_is_killed() {
    flood
    kill_on n3 flm-node
    wait_for 'its node is asked for again, and comes back' env "$(cat up)" sh -c '[ "$(flmctl -o json list -e | jq "[.[] | select(.node == \"n3\" and .restarts == 0 and .state != \"Void\")] | length")" = 2 ]'
    all_once 'an agent is killed'
    nothing_is_left
}

launcher_is_killed() {
    flood
    kill -KILL "$(pgrep -n -f 'pbsdsh -v -n')"
    all_once 'a pbsdsh is killed'
    nothing_is_left
}

node_dies() {
    flood -W tolerate_node_failures=all
    fault kill-node n3
    all_once 'a node loses power'
    if [ "$pbs" = openpbs ]; then
        fault revive-node n3
        fault wait-node n3 free || fail 'the node comes back'
    else
        fault online n3
    fi
    nothing_is_left
}

node_is_cut_off() {
    flood
    if [ "$pbs" = openpbs ]; then
        fault cut n2
        sleep 4
        fault heal n2
    else
        fault stop-node n2
        sleep 1
        fault continue-node n2
    fi
    all_once 'a node is cut off and healed'
    nothing_is_left
}

job_is_deleted() {
    flood
    check 'qdel takes it' qdel "$job"
    nothing_is_left
}

# Told to end, its tasks are finished before it does.
server_is_down() {
    flood
    if [ "$pbs" = openpbs ]; then fault stop-server; else fault cut; fi
    if [ "$pbs" = openpbs ]; then sleep 30; else sleep 1; fi
    if [ "$pbs" = openpbs ]; then fault start-server; else fault heal; fi
    all_once 'the server was down'
    nothing_is_left
}

time_is_altered() {
    export altered=unix:$TEST_DIR/altered
    submit -l select=1:ncpus=1 -l walltime=20:00 -- flmd --private --backend pbs --backend-option ask=1 --slots 1 -e "$altered"
    wait_for 'a session manager in a job knows its end' bash -c 'flmctl --endpoint "$altered" -o json list -n | jq -e ".[0].time_left_s > 1000"'
    check 'qalter takes a shorter time' qalter -l walltime=5:00 "$job"
    wait_for 'and then knows the new one' bash -c 'flmctl --endpoint "$altered" -o json list -n | jq -e ".[0].time_left_s | . > 0 and . <= 300"'
    # As long as it is suspended its time stands still: flmd believes what has been used of it.
    if [ "$pbs" = openpbs ]; then
        # Before that its node counts what follows as used, suspended or not.
        wait_for 'its node has said what it has used' bash -c 'qstat -f -F json "$0" | jq -e ".Jobs[].resources_used.walltime > \"00:00:00\""' "$job"
        check 'it is suspended' qsig -s suspend "$job"
        wait_for 'for PBS, too' bash -c 'qstat -f -F json "$0" | jq -e ".Jobs[].job_state == \"S\""' "$job"
        sleep 20
        check 'it is resumed' qsig -s resume "$job"
        wait_for 'a suspended job has its time later' bash -c '[ "$(flmctl --endpoint "$altered" -o json list -n | jq ".[0].time_left_s + now | floor")" -gt $(($(date +%s -d "$(qstat -f -F json "$0" | jq -r ".Jobs[].stime")") + 310)) ]' "$job"
    else
        fault suspended "$job" 600
        check 'qalter takes a longer time' qalter -l walltime=15:00 "$job"
        wait_for 'a suspended job has its time later' bash -c 'flmctl --endpoint "$altered" -o json list -n | jq -e ".[0].time_left_s | . > 800 and . <= 900"'
    fi
    qdel "$job"
    nothing_is_left
}

# A job that PBS runs again, as doc/pbs.md shows it, goes on where it was.
begins_again() {
    cat >my_client <<END
#!/bin/sh
exec "$FLM_BUILDDIR/tests/system/steady" -I long -l "$services/steady.so" -L long.ids -D journal -n 2000 -c
END
    chmod +x my_client
    guide_script long.pbs >long.pbs
    check_contains 'the guide has the script' "$(cat long.pbs)" 'flmrun --state-dir "flame-$PBS_JOBID" --resume ./my_client'
    as_job long.pbs STEADY_GATE="$TEST_DIR/gate" STEADY_GATED=2 >long.job
    job=$(qsub -f -j oe -o "$TEST_DIR/long.out" long.job)
    wait_for 'results come, but for two' bash -c '[ "$(sort -un long.ids | wc -l)" -gt 500 ]'
    if [ "$pbs" = openpbs ]; then qrerun "$job"; else fault requeue "$job"; fi
    touch gate
    wait_for 'it runs again, and ends' grep -q delivered long.out
    check_match 'it went on with what there was' "$(cat long.out)" 'goes on with 1 session'
    check_match 'and ended well' "$(cat long.out)" 'delivered [0-9]+ wrong 0 failed 0 submitted 2000 durable 2000'
    nothing_is_left
}

# Whoever starts them gives up after seconds, which pass while other things are tried.
agents_never_begin() {
    submit -l select=3:ncpus=1 -l place=scatter -v FAKE_HOLD=1 -- flmrun -- true
    never=$job_file
}

flmrun_gives_up() {
    wait_for 'a job ends whose agents never begin' test -e "$never.status"
    check_equal 'and ends well' 0 "$(cat "$never.status")"
}

# What is not so on a real cluster, or cannot be had there.
fake_only() {
    fault cut-answers
    job -l select=1:ncpus=1 -- flmrun -v -- sh -c 'sh await.sh 1; flmctl -o json list -n'
    fault whole-answers
    check_equal 'an answer that is cut off is not believed' "0 $job" "$status $(jq -r '.[0].block' <<<"$out")"
    check_contains 'and it is told so' "$err" 'an answer that is not whole'
    fault server "$(printf 'h%.0s' {1..200})"
    job -l select=2:ncpus=1 -l place=scatter -- flmrun -- sh -c 'sh await.sh 2; flmctl -o json list -n'
    check_equal 'a server with a long name' "0 $job" "$status $(jq -r '[.[].block] | unique | join(" ")' <<<"$out")"
    PBS_JOBID=17.head PBS_NODEFILE=/nonexistent run timeout 100 flmrun --backend pbs --max-nodes 1 \
        --site-options '-l select=1:ncpus=1:mpiprocs=1' -- sh -c 'flmping -t 10 --json; echo "${PBS_JOBID-none}"'
    check_equal 'jobs for a shell that has variables of one that has ended' '0 10 none' \
        "$status $(jq -r '.succeeded?' <<<"${out%none}") $(tail -n 1 <<<"$out")"
    check_contains 'which is told so' "$err" 'it counts for nothing'
    fault server head
    nothing_is_left
}

wrong() {
    PBS_JOBID=17.head PBS_NODEFILE=/nonexistent run flmrun -n 1 -- sh -c 'sh await.sh 1; flmctl -o json list -n'
    check_equal 'a shell that has variables of a job that has ended: this machine' local "$(sed -n '/^\[/,/^\]/p' <<<"$out" | jq -r '.[0].block')"
    check_contains 'and it is told so' "$err" 'PBS_JOBID names the job 17.head, but its node file is not here'
    echo n1 >file
    PBS_JOBID=99999.head PBS_NODEFILE=$PWD/file PBS_ENVIRONMENT=PBS_BATCH run flmrun -- true
    check_equal 'a job that the server does not know' 125 "$status"
    check_contains 'is told so' "$err" 'does not run (any more)'
    check_contains 'and what to do' "$err" '--backend local'
    PBS_JOBID=1.head PBS_NODEFILE=/nonexistent run flmrun --backend pbs -- true
    check_contains 'asked for: no node file' "$err" 'cannot read its node file /nonexistent'
    run flmd --private --backend pbs --backend-option nonsense=1
    check_contains 'an option that is none' "$err" "has no option 'nonsense=1'"
    mkdir -p torque
    printf '#!/bin/sh\n[ "$1" = --version ] && echo "Version: 6.1.2" >&2\n' >torque/qstat
    chmod +x torque/qstat
    PATH=$PWD/torque:$PATH run flmd --private --backend pbs
    check_contains 'TORQUE is refused by name' "$err" 'this is TORQUE'
    : >torque/qstat
    PATH=$PWD/torque:$PATH run flmd --private --backend pbs
    check_contains 'a qstat that is no program' "$err" "cannot start PBS's program qstat ($PWD/torque/qstat): not permitted"
    run timeout 60 flmrun --backend pbs -- true
    check_equal 'outside a job' 2 "$status"
    check_contains 'jobs are asked for only if that is said' "$err" 'say --max-nodes'
    job -l select=1:ncpus=1 -- env SLURM_JOB_ID=4711 flmrun -- sh -c 'sh await.sh 1; flmctl -o json list -n'
    check_equal 'a PBS job with variables of Slurm is a PBS job' "0 $job" "$status $(jq -r '.[0].block' <<<"$out")"
}

battery_job() {
    cluster 3
    nodes_of_a_job
    counts
    environment
    work
    [ "$pbs" = openpbs ] || agents_never_begin
    wrong
    time_is_altered
    [ "$pbs" = openpbs ] || flmrun_gives_up
    [ "$pbs" = openpbs ] || fake_only
    begins_again
    executor_is_killed
    agent_is_killed
    launcher_is_killed
    node_is_cut_off
    server_is_down
    node_dies
    job_is_deleted
}
