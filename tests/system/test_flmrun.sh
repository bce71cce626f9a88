#!/bin/bash
# flmrun: exit statuses, what CMD finds, signals, what is left behind.
# shellcheck disable=SC2016 # CMD expands it, not we
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

runtime=$XDG_RUNTIME_DIR/flame

# Directories of instances.
instances() {
    find "$runtime" -mindepth 1 -maxdepth 1 -name 'run-*' 2>/dev/null
}

nothing_left() {
    check_equal "$1: no directory is left" '' "$(instances)"
    check_equal "$1: no process is left" '' "$(grep -lsz "^FLM_INSTANCE_DIR=$runtime/" /proc/[0-9]*/environ | tr '\n' ' ')"
}

# --- exit statuses ---
while read -r status command; do
    # shellcheck disable=SC2086
    check_status "flmrun $command: status $status" "$status" flmrun $command
done <<'TABLE'
0 true
0 -n 2 true
0 -n 2 -- true
1 -n 1 false
0 -n 1 --bind none --spread --cores-per-slot 1 -- true
127 -n 1 no-such-command-anywhere
127 -n 1 ./no-such-file
126 -n 1 /etc/passwd
126 -n 1 /
2 -n 0 true
2 -n -1 true
2 -n two true
2 -n 99999 true
2 -n 1
2
2 --bind moon true
2 --timeout -1 true
2 --timeout soon true
2 --grace 0 true
2 --nodes 0 true
2 --no-such-option true
TABLE
check_status 'a status goes through' 77 flmrun -n 1 sh -c 'exit 77'
check_status 'a signal that kills CMD is 128+N' 137 flmrun -n 1 sh -c 'kill -KILL $$'
check_status 'an abort of CMD is 134' 134 flmrun -n 1 sh -c 'ulimit -c 0; kill -ABRT $$'
run flmrun -n 0 true
check_contains 'a bad number is named' "$err" "not '0'"
run flmrun -n 1 --interface=none0 true
check_match 'a network interface that is not there is named' "$status $err" "^125 .*no network interface 'none0'"
run flmrun -n 1 no-such-command-anywhere
check_equal 'a command that is not found is named in one line' \
    'flmrun: no-such-command-anywhere: not found' "$err"
nothing_left 'after these'

# --- what CMD finds ---
run flmrun -n 2 -- sh -c 'echo "$FLM_ENDPOINT"; echo "$FLM_INSTANCE_DIR"; echo "$FLM_SLOTS"; stat -c "%a %F" "$FLM_INSTANCE_DIR" "${FLM_ENDPOINT#unix:}"'
check_match 'FLM_ENDPOINT is a socket of this instance' "$(sed -n 1p <<<"$out")" "^unix:$runtime/run-[^/]*/"
check_equal 'FLM_INSTANCE_DIR is its directory' "$(sed -n '1s/^unix:\(.*\)\/[^/]*$/\1/p' <<<"$out")" \
    "$(sed -n 2p <<<"$out")"
check_equal 'FLM_SLOTS is the number of executors' 2 "$(sed -n 3p <<<"$out")"
check_equal 'directory and socket are ours alone' $'700 directory\n600 socket' "$(sed -n 4,5p <<<"$out")"
check_equal 'nothing else is written' '' "$err"
check_equal 'stdin is the command'\''s' 'hello' "$(echo hello | flmrun -n 1 cat)"
check_equal 'arguments are not changed' 'a b|*|-n|' "$(flmrun -n 1 -- printf '%s|' 'a b' '*' -n)"
check_equal 'PATH is not changed' "$PATH" "$(flmrun -n 1 sh -c 'echo "$PATH"')"
check_equal 'two at a time are two instances' 2 \
    "$( (flmrun -n 1 sh -c 'echo $FLM_ENDPOINT; sleep 0.3' & flmrun -n 1 sh -c 'echo $FLM_ENDPOINT; sleep 0.3'; wait) | sort -u | wc -l)"
unset_runtime() {
    env -u XDG_RUNTIME_DIR flmrun -n 1 sh -c 'echo "$FLM_ENDPOINT"'
}
check_match 'without XDG_RUNTIME_DIR it is a directory in /tmp' "$(unset_runtime)" "^unix:/tmp/flame-$(id -u)/run-"
check_match 'an XDG_RUNTIME_DIR that others can read is not used' \
    "$(mkdir -m 755 open && XDG_RUNTIME_DIR=$PWD/open flmrun -n 1 sh -c 'echo "$FLM_ENDPOINT"')" '^unix:/tmp/flame-'

# --- executors ---
cat >executors.sh <<'END'
# Waits until N executors are there, prints their affinities.
for i in $(seq 200); do
    pids=$(grep -lszx "FLM_INSTANCE_DIR=$FLM_INSTANCE_DIR" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
    n=0 all=
    for pid in $pids; do
        case $(readlink /proc/$pid/exe 2>/dev/null) in
        */flm-executor) n=$((n + 1)) all="$all $(sed -n 's/^Cpus_allowed_list:\t//p' /proc/$pid/status)" ;;
        esac
    done
    [ $n -lt $1 ] || break
    sleep 0.05
done
echo $n; printf '%s\n' $all
END
if [ "$(nproc)" -ge 2 ]; then
    run flmrun -n 2 sh ./executors.sh 2
    check_equal 'two executors, each on a core of its own' '2 2' \
        "$(sed -n 1p <<<"$out") $(sed 1d <<<"$out" | sort -u | wc -l)"
    check_match 'bound to one core' "$(sed -n 2p <<<"$out")" '^[0-9]+$'
    run flmrun sh ./executors.sh 2
    check_equal 'without -n one executor per core that may be used' "$(nproc)" "$(sed -n 1p <<<"$out")"
fi
allowed=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
run taskset -c "$allowed" flmrun sh ./executors.sh 1
check_equal 'of one core that may be used there is one executor, on it' "1 $allowed" "$(tr '\n' ' ' <<<"$out" | sed 's/ $//')"
run flmrun -n 3 --bind none sh ./executors.sh 3
check_equal '--bind none: as many as asked for, anywhere' "3 $(taskset -cp $$ | sed 's/.*: //; s/-/,/')" \
    "$(uniq <<<"$out" | tr '\n' ' ' | sed 's/ $//; s/-/,/')"

# --- time limit and logs ---
check_status '--timeout ends CMD with status 124' 124 flmrun -n 1 --timeout 0.3 sleep 100
check_contains 'and says so' "$err" 'has run for 0.3 s'
check_status 'a CMD that ends before is not touched' 3 flmrun -n 1 --timeout 50 sh -c 'exit 3'
check_status '--keep-logs keeps a log' 0 flmrun -n 1 --keep-logs true
check_file 'the log that it names is there' "$(sed -n 's/.* is in //p' <<<"$err")"
nothing_left 'after these'

# --- a terminal ---
if command -v script >/dev/null; then
    cat >count.sh <<'END'
n=0
trap 'n=$((n + 1))' INT
echo ready
i=0
while [ $i -lt 20 ]; do sleep 0.05; i=$((i + 1)); done
echo "got $n"
END
    mkfifo keys
    # What a script starts in the background ignores SIGINT, and that would be inherited. The shell
    # has a trap since some shells would die of the same Ctrl-C before they print the status.
    env --default-signal=INT,QUIT script -qefc 'trap : INT; flmrun -n 1 sh ./count.sh; echo "status $?"' /dev/null <keys >terminal.log 2>&1 &
    terminal=$!
    exec 5>keys
    wait_for 'the command runs on a terminal' grep -q ready terminal.log
    printf '\003' >&5
    wait_for 'the command on the terminal ends' grep -q 'status' terminal.log
    exec 5>&-
    wait $terminal
    check_contains 'Ctrl-C reaches CMD once' "$(cat terminal.log)" 'got 1'
    check_contains 'CMD decides about its status' "$(cat terminal.log)" 'status 0'
    nothing_left 'after Ctrl-C'
fi
