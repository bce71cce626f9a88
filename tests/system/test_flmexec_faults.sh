#!/bin/bash
# shellcheck disable=SC1003,SC1083,SC2016,SC2046 # what is for flmexec is not for this shell
# flmexec when something ends early: itself by a signal, its reader, an executor, the manager. What has ended
# is printed and logged, what has not runs again on --resume, and no process stays (lib.sh looks for those).
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
command -v flmrun >/dev/null || skip 'there is no flmrun'

# lines_of FILE: how many jobs a joblog has.
lines_of() { sed 1d "$1" | wc -l; }
has_lines() { [ "$(lines_of "$1" 2>/dev/null || echo 0)" -ge "$2" ]; }
# Sorted numbers from 1 to N of the outputs of a run and of its resumption together.
numbers() { sort -n "$@" | tr '\n' ' '; }
expected() { seq "$1" | tr '\n' ' '; }

# --- Ctrl-C, as a terminal sends it: to all processes of the group ---

for signal in INT TERM; do
    rm -f log
    setsid env --default-signal=INT flmexec --joblog log 'sleep 0.02; echo {}' ::: $(seq 500) >out1 2>err1 </dev/null &
    pid=$!
    wait_for 'some jobs have ended' has_lines log 5
    kill -s $signal -- "-$pid"
    wait $pid
    status=$?
    check_equal "SIG$signal ends it" $((128 + $(kill -l $signal))) $status
    check_equal 'what is logged is printed' "$(lines_of log)" "$(wc -l <out1)"
    check_contains 'it says how to go on' "$(cat err1)" '--resume'
    flmexec --joblog log --resume 'echo {}' ::: $(seq 500) >out2 2>err2 </dev/null
    check_equal 'the rest runs on resume, and nothing twice' "$(expected 500)" "$(numbers out1 out2)"
done

# --- nobody reads ---

flmexec 'echo {}; sleep 0.05; test {} -lt 3 || sleep 1000' ::: 1 2 3 4 2>err | head -n 1 >out
check_equal 'a closed output ends what still runs' 1 "$(cat out)"
check_equal 'quietly' '' "$(cat err)"

# --- an executor is killed, with a job in it ---

cat >inside.sh <<'S'
flmexec --joblog log2 'sleep 0.01; echo {}' ::: $(seq 300) >out 2>err &
while [ "$(wc -l <log2 2>/dev/null || echo 0)" -lt 20 ]; do sleep 0.01; done
kill -9 "$(flmctl -o json list -e | jq '[.[].pid | select(. > 0)][0]')"
wait $!
S
check 'a run outlives an executor' flmrun -n 2 -- bash inside.sh
check_equal 'no job is lost or doubled' "$(expected 300)" "$(tr "\n" " " <out)"

# --- the manager is killed ---

cat >inside2.sh <<'S'
flmexec --joblog log3 'sleep 0.01; echo {}' ::: $(seq 300) >out3 2>err3 &
while [ "$(wc -l <log3 2>/dev/null || echo 0)" -lt 20 ]; do sleep 0.01; done
kill -9 "$(flmctl -o json status | jq .pid)"
wait $!
echo $? >status3
S
run flmrun -n 2 -- bash inside2.sh
check_equal 'a lost manager is status 3' 3 "$(cat status3)"
check_contains 'and is told' "$(cat err3)" '--resume'
flmexec --joblog log3 --resume 'echo {}' ::: $(seq 300) >out4 2>err4 </dev/null
check_equal 'the rest runs on resume' "$(expected 300)" "$(numbers out3 out4)"

# --- a slow first job: outputs wait in a file, and a small disk is told ---

run bash -c "seq 0 200 | flmexec 'test {} -gt 0 || while [ ! -e go ]; do sleep 0.01; done; echo {}
    [ {} -lt 200 ] || touch go; head -c 1000000 /dev/zero | tr \"\\0\" x; echo' | grep -v x | tr '\n' ' '"
check_equal '200 MB wait for a slow first job' "$(seq 0 200 | tr '\n' ' ')" "$out"
run env TMPDIR=/no/such/folder bash -c "seq 0 200 | flmexec 'test {} -gt 0 || while [ ! -e go2 ]; do sleep 0.01; done
    [ {} -lt 200 ] || touch go2; head -c 1000000 /dev/zero' | wc -c; exit \${PIPESTATUS[1]}"
check_equal 'no room for them is status 3' 3 "$status"
check_contains 'and is told' "$err" TMPDIR

# A disk for what is held that fills up: what could not be held is neither printed as another's nor logged.
if mkdir held && mount -t tmpfs -o size=45m none held 2>/dev/null; then
    big='case {} in 1) sleep 3;; 6) sleep 1;; 11) sleep 2;; esac; head -c 30000000 /dev/zero | tr "\0" "$(printf %x {})"'
    TMPDIR=held flmexec -j3 --joblog full.log "$big; echo" ::: $(seq 12) >full1 2>full2 </dev/null
    check_equal 'a disk for held outputs that is full' 3 $?
    umount held
    check_contains 'is told' "$(cat full2)" 'cannot hold the output of job'
    flmexec -j3 --joblog full.log --resume "$big; echo" ::: $(seq 12) >full3 2>/dev/null </dev/null
    check_equal 'the rest runs on resume' 0 $?
    check_equal 'and every output is there once, whole' "$(for i in $(seq 12); do printf '%x 30000000\n' "$i"; done | sort)" \
        "$(python3 -c 'import sys
for line in sys.stdin.buffer: print(chr(line[0]), len(set(line)) == 2 and len(line) - 1)' < <(cat full1 full3) | sort)"
    rm -f full1 full3
fi
if mkdir results && mount -t tmpfs -o size=2m none results 2>/dev/null; then
    flmexec --results results/r --joblog results.log 'head -c 700000 /dev/zero; : {}' ::: 1 2 3 4 >/dev/null 2>full2 </dev/null
    check_equal 'a disk for files of results that is full' 3 $?
    mount -o remount,size=10m results
    flmexec --results results/r --joblog results.log --resume 'head -c 700000 /dev/zero; : {}' ::: 1 2 3 4 >/dev/null 2>&1 </dev/null
    check_equal 'all of them are whole after a resume' '0 700000 700000 700000 700000' \
        "$? $(stat -c %s results/r/1/[1-4]/stdout | tr '\n' ' ' | sed 's/ $//')"
    umount results
fi

flmexec --joblog other.log 'echo {}' ::: 1 2 >/dev/null 2>&1 </dev/null
run flmexec --joblog other.log --resume 'echo other {}' ::: 1 2 3 </dev/null
check_equal 'another command with the same joblog' '0 other 3' "$status $out"
check_contains 'is told' "$err" "job 1 is 'echo other 1' now, and 'echo 1' in the joblog"
