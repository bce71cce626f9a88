# Cases of flmexec inside one instance; run by test_flmexec.sh inside flmrun.
# shellcheck shell=bash disable=SC1003,SC1083,SC2016,SC2046 # what is for flmexec is not for this shell
# Each is: NAME, what stdout shall be, and the command line. Standard input is
# the file $in.
cd "${FLM_CASES:?}" || exit 99
n=0 wrong=0 in=/dev/null

verdict() { # NAME EXPECTED GOT
    n=$((n + 1))
    if [ "$2" = "$3" ]; then
        echo "ok - $1"
    else
        wrong=$((wrong + 1))
        printf 'not ok - %s\n    expected: %s\n    got:      %s\n' "$1" "$2" "$3"
        head -3 err | sed 's/^/    /'
    fi
}

try() { # NAME EXPECTED [flmexec ARGUMENTS...]; fills $status
    local name=$1 expected=$2 got
    shift 2
    got=$(flmexec "$@" <"$in" 2>err)
    status=$?
    verdict "$name" "$expected" "$got"
}

status_of() { # NAME STATUS [flmexec ARGUMENTS...]
    local name=$1 expected=$2
    shift 2
    flmexec "$@" <"$in" >out 2>err
    verdict "$name" "$expected" $?
}

printf 'a b\nc\\d\n"q"\n\ntab\there\n$HOME `ls`\n*\né ü\n' >lines
printf 'new\nline\0sp ace\0-x\0' >nul
printf 'no newline at end' >nonl
printf '1,x y,3\n4,,6\n' >table

# --- places ---
try 'the argument is put at the end' $'a\nb' echo ::: a b
try 'parts of names' $'a/b b.c a b\n .bashrc . \nd.d/f f d.d f\nx.tar x.tar.gz . x.tar\n/abs abs / abs' \
    echo {.} {/} {//} {/.} ::: a/b.c .bashrc d.d/f x.tar.gz /abs
try 'several sources' $'a y x/y\nb y x/y' echo {1.} {2/} {3} {-1} ::: a.c b.c ::: x/y
try 'the last source turns fastest' $'a 1\na 2\nb 1\nb 2' echo ::: a b ::: 1 2
try 'linked sources' $'a 1 X\nb 2 X' echo {} ::: a b c :::+ 1 2 ::: X
try 'numbers' $'1 x\n2 y' echo {#} {} ::: x y
try 'several arguments in one job' $'xa by a b\nxcy c' -n2 'echo x{}y {1} {2}' ::: a b c
try 'arguments that are counted only' $'hi\nhi' -N0 echo hi ::: 1 2
try 'no place for a shell' 'a  b|c' -q printf '%s|%s' 'a  b' ::: c

# --- sources ---
in=lines
try 'lines of standard input' "$(cat lines)" echo
in=nonl
try 'a last line without newline' '[no newline at end]' echo '[{}]'
in=nul
try 'arguments with newlines' $'new\nline|sp ace|-x|' -0 printf '%s|'
in=/dev/null
try 'a file' $'1 a b\n2 c\\d' -a <(head -2 lines) echo {#} {}
try 'files behind ::::' $'x a b\nx c\\d' echo ::: x :::: <(head -2 lines)
try 'columns' $'1-x y-3\n4--6' -C , 'echo {1}-{2}-{3}' :::: table
seq 20000 >numbers
flmexec -n 100 echo <numbers >out 2>err
verdict 'many arguments' "$(cksum <numbers)" "$(tr ' ' '\n' <out | cksum)"

# --- shells ---
try 'a single word is a line for sh' 'A B' 'echo {} | tr a-z A-Z' ::: 'a b'
try 'commands as arguments' $'b\nc' ::: 'echo a | tr a b' 'echo c'
try 'words are for no shell' '; exit 3' echo ';' exit ::: 3
try 'but with --shell' $'a\nB' --shell echo a ';' echo '{} | tr b B' ::: b
try 'in quotes of the shell it prints commands' $'echo \'a b\'\necho c' --dry-run echo ::: 'a b' c

printf "it's\na b" >newline
try 'a newline in an argument stays on its line' $'echo $\'it\\\'s\\na b\' c' --dry-run -0 -a newline echo {} c

# --- outputs ---
try 'outputs are in order' $'0.3\n0.2\n0.1\n0' 'sleep {}; echo {}' ::: 0.3 0.2 0.1 0
flmexec 'printf "%s\n" {}; echo e{} >&2' ::: a b >out 2>err
verdict 'stdout' $'a\nb' "$(cat out)"
verdict 'stderr' $'ea\neb' "$(cat err)"
try 'tags' $'a\tx\na\ty\nb c\tx\nb c\ty' --tag 'printf "x\ny\n"' ::: a 'b c'
try 'any size' $'0\n1\n65536\n300000\n5000000' 'head -c {} /dev/zero | tr "\0" x | wc -c' ::: 0 1 65536 300000 5000000
flmexec 'head -c {} /dev/zero' ::: 0 1 65536 300000 5000000 2>err | wc -c >out
verdict 'all of it' 5365537 "$(cat out)"
flmexec --unordered echo ::: a b c 2>err | sort >out
verdict 'unordered' $'a\nb\nc' "$(cat out)"
mkdir work && cd work || exit 99
verdict 'jobs run where we are' "$(pwd)" "$(flmexec -n0 pwd ::: 1 2>../err)"
cd ..
export SOME_VARIABLE='x y'
try 'with our environment' 'x y 1' -n0 'echo "$SOME_VARIABLE" $FLM_TASK_ID' ::: 1
try 'a job has no standard input' 0 -n0 wc -c ::: 1
status_of 'a closed output ends it quietly' 0 true ::: 1
seq 100000 | flmexec echo 2>err | head -n 2 >out
verdict 'a closed output' $'1\n2' "$(cat out)"
verdict 'says nothing' '' "$(cat err)"

# --- statuses ---
status_of 'a missing command' 1 no-such-command ::: 1
verdict 'is named' yes "$(grep -q "no-such-command" err && echo yes)"
status_of 'a signal' 1 -n0 'kill -9 $$' ::: 1
verdict 'is told' yes "$(grep -q SIGKILL err && echo yes)"
status_of 'a time-out' 1 --timeout 0.2 sleep ::: 100
verdict 'is told, too' yes "$(grep -q 'timed out' err && echo yes)"
try 'a retry that helps' 'done' --retries 3 'test -e flag && echo done || { touch flag; exit 1; }; : {}' ::: 1
verdict 'is a success' 0 "$status"
status_of 'no try at all' 2 --retries 0 true ::: 1
status_of 'halt soon' 1 -j1 --halt soon,fail=1 'touch ran{}; exit {}' ::: 0 1 2 3 4 5 6 7 8 9
verdict 'leaves the last alone' no "$(test -e ran9 && echo yes || echo no)"
status_of 'halt now' 1 --halt now,fail=1 'test {} = 1 && exit 1; sleep 1000' ::: 1 2
status_of 'halt on success' 0 --halt now,success=1 'test {} = 1 && exit 0; sleep 1000' ::: 1 2
status_of 'too long an argument' 1 -a <(head -c 3000000 /dev/zero | tr '\0' x) true
status_of 'a zero byte in a line' 2 -a nul echo

# --- joblog and results ---
status_of 'a joblog' 1 --joblog log 'exit {}' ::: 0 3 0
verdict 'has its lines' $'Seq Exitval Signal Command\n1 0 0 exit 0\n2 3 0 exit 3\n3 0 0 exit 0' \
    "$(cut -f 1,7,8,9 log | tr '\t' ' ')"
try 'resume leaves out what is there' 4 --joblog log --resume echo ::: 1 2 3 4
try 'resume-failed tries again' 2 --joblog log --resume-failed echo ::: 1 2 3 4
verdict 'and logs it' 6 "$(wc -l <log)"
status_of 'something else is no joblog' 2 --joblog lines --resume true ::: 1
verdict 'and is left as it was' 8 "$(wc -l <lines)"
flmexec --results res 'echo {}; echo e{} >&2' ::: a/b c >out 2>err
verdict 'results' $'res/1/a\\_b/seq 1\nres/1/a\\_b/stderr ea/b\nres/1/a\\_b/stdout a/b' \
    "$(find res -type f -path '*_b*' | sort | while IFS= read -r f; do echo "$f $(cat "$f")"; done 2>/dev/null)"

echo "cases: $n, $wrong wrong"
[ $wrong -eq 0 ]
