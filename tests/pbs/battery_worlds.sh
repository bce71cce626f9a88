# MPI in jobs of PBS of either kind: tasks of several ranks on several nodes, started through PBS; what ends them; MPI
# programs as tasks; in a job of one's own, and in one that flmd asks for.
# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # what is quoted is for shells in jobs

three_by_two=(-l select=3:ncpus=2:mpiprocs=2 -l place=scatter)
that_outlives_a_node=("${three_by_two[@]}" -W tolerate_node_failures=all)

kill_node() {
    fault kill-node "$1"
}

# Neither ranks nor their launchers, which the others do not look for.
nothing_of_mpi_is_left() {
    local file name
    for file in $(grep -lszx "FLM_TEST_ID=$FLM_TEST_ID" /proc/[0-9]*/environ); do
        { read -r name <"${file%environ}comm"; } 2>/dev/null || continue
        case $name in mpirun* | mpiexec* | orted | hydra* | mpi_task) return 1 ;; esac
    done
}

all_is_gone() {
    export -f nothing_of_mpi_is_left
    wait_for "no rank and no launcher is left ($1)" nothing_of_mpi_is_left
    nothing_is_left
}

# The processes of a world on a node, which are no children of anything of ours there.
ranks_on() {
    if [ "$pbs" = fake ]; then
        for pid in $(pids_of "$1" flm-executor); do
            grep -qsz -x -e --world "/proc/$pid/cmdline" && echo "$pid"
        done
    else
        on "$1" pgrep -f 'flm-executor --world'
    fi
}

has_ranks() {
    [ "$(ranks_on "$1" | wc -l)" = "$2" ]
}

kill_rank_on() {
    if [ "$pbs" = fake ]; then
        kill -KILL "$(ranks_on "$1" | head -n 1)"
    else
        on "$1" sh -c "kill -KILL \$(pgrep -o -f 'flm-executor --world')"
    fi
}

# Four ranks on two nodes run a task as long as nobody cancels it.
running_world() {
    rm -f up
    submit "${three_by_two[@]}" -- flmrun -- sh -c '
        sh await.sh 6
        "$client" -l "$services/allreduce.so" -k 4 -R 5 -I wide -i c &
        until [ "$(flmctl -o json list | jq "[.[] | select(.running == 1)] | length")" = 1 ]; do sleep 0.05; done
        env | grep ^FLM_ENDPOINT >up.tmp && mv up.tmp up
        "$client" -l "$services/allreduce.so" -k 2 -i "#1"
        wait'
    wait_for 'a world on two nodes runs a task' test -e up
}

rank_is_killed() {
    running_world
    leader=$(env "$(cat up)" flmctl -o json list -e | jq -r '.[] | select(.state == "Bound" and .session == "wide") | .node')
    other=$(env "$(cat up)" flmctl -o json list -e | jq -r --arg n "$leader" '[.[] | select(.state == "Lent" and .node != $n)][0].node')
    wait_for 'two of its ranks are where it has borrowed' has_ranks "$other" 2
    kill_rank_on "$other"
    wait_for 'a rank that is killed on the other node: its task is tried again' env "$(cat up)" bash -c \
        '[ "$(flmctl -o json list | jq ".[] | select(.id == \"wide\") | .retried")" = 1 ]'
    wait_for 'by a world that is started again' env "$(cat up)" bash -c \
        '[ "$(flmctl -o json list | jq ".[] | select(.id == \"wide\") | .running")" = 1 ]'
    env "$(cat up)" flmctl cancel wide >/dev/null
    job_end
    check_contains 'another group has been served meanwhile' "$out" '1 x Succeed none 0 [3 of 2 ranks]'
    all_is_gone 'a rank was killed'
}

world_is_deleted() {
    running_world
    check 'qdel takes it' qdel "$job"
    all_is_gone 'the job was deleted'
}

# At once, when perhaps one node is there.
programs() {
    job "${three_by_two[@]}" -- sh -c '
        export NOTE="it'\''s set"
        flmrun -- sh -c '\''
            flmexec --ranks 4 "$0" {} ::: 1 2
            flmexec --ranks 4 "$0" {} fail ::: 3
            echo "status $?"
            [ ! -e "$0-mpich" ] || flmexec --ranks 4 "$0-mpich" {} ::: 5
            flmexec --ranks 4 sh -c "echo \"\$NOTE\"" ::: 1 | sort | uniq -c
            "$client" -a copy.app -i "to rank 0"'\'' "$0"' "$program"
    check_contains 'an MPI program on two nodes is a task' "$out" $'10 of 4 ranks\n20 of 4 ranks'
    [ ! -e "$program-mpich" ] || check_contains 'and one of MPICH' "$out" '50 of 4 ranks'
    check_contains 'a rank that fails fails it' "$out" 'status 1'
    check_contains 'its exit status is told' "$err" '(exit status 7)'
    check_match 'ranks on all nodes have the variables of the script' "$out" "^ *4 it's set$"
    check_contains 'the input of a task on the stdin of rank 0' "$out" '[to rank 0 10 of 4 ranks'
    all_is_gone 'programs'
}

in_a_job_of_flmds() {
    engine --backend pbs --slots 2 --backlog 2 --max-blocks 1 --block-nodes 2
    run "$client" -l "$services/allreduce.so" -k 4 -n 20 -i '#1'
    check_equal 'groups in a job of two nodes that flmd asks for' '20 x Succeed none 0 [10 of 4 ranks]' "$out"
    run "$client" -l "$services/allreduce.so" -k 2 -S -i w
    check_match 'spread there' "$out" '\[n([123]) n[123]\]$'
    engine_end
    all_is_gone 'a job of flmd'
}

wrong() {
    run flm-pbs-rsh n1 true
    check_equal 'outside a job flm-pbs-rsh fails' '255 flm-pbs-rsh: this is no PBS job: PBS_NODEFILE is not set' "$status $err"
    job -l select=1:ncpus=1 -- sh -c '
        flm-pbs-rsh n9 true; echo "status $?"
        flm-pbs-rsh -x n1 exit 7; echo "status $?"
        flm-pbs-rsh n1 "kill -KILL \$\$"; echo "status $?"
        flm-pbs-world 2 n1,n9 nosuchmpirun true; echo "status $?"'
    check_equal 'what it returns is the status of the command, as a shell has it' 'status 255 status 7 status 137 status 127' \
        "$(tr '\n' ' ' <<<"$out" | sed 's/ $//')"
    check_contains 'a host that is no node is told' "$err" 'flm-pbs-rsh: n9: is no node of this PBS job'
    check_contains 'and an mpirun that is not there' "$err" 'flm-pbs-world: nosuchmpirun: there is no such program in PATH'
}

battery_worlds() {
    [ -e "$services/allreduce.so" ] || skip 'built without Open MPI'
    command -v mpirun >/dev/null || skip 'mpirun is not installed'
    ranks_are_launched=1
    cluster 3
    . "$FLM_SRCDIR/tests/worlds.sh"
    # Ranks on pretended nodes would share memory by the same names.
    [ "$pbs" = openpbs ] || export OMPI_MCA_btl=self,tcp
    sed -i "2i export services='$services' client='$client' ${OMPI_MCA_btl:+OMPI_MCA_btl=$OMPI_MCA_btl}" "$TEST_DIR/job.sh"
    program=$FLM_BUILDDIR/tests/system/mpi_task
    printf '[application]\nname = copy\nshim = mpi\ncommand = %s 1 copy\nranks_per_task = 4\n' "$program" >copy.app
    wrong
    places
    rank_is_killed
    programs
    in_a_job_of_flmds
    a_node_is_lost
    if [ "$pbs" = openpbs ]; then
        node=$(cat node)
        fault revive-node "$node"
        fault wait-node "$node" free || fail 'the node comes back'
    else
        fault online "$(cat node)"
    fi
    world_is_deleted
}
