#!/bin/bash
# Three users and twenty sessions at once on one cluster: seven jobs of one user with an instance and a session
# each, a job of the second with seven sessions, a session manager of the third on the login node with seven
# sessions in jobs that it asks for. Nobody sees or disturbs another. (One of the 21 is cancelled on the way.)
# shellcheck disable=SC2016 # what is quoted is for the shells of others
. "${FLM_SRCDIR:?run me by make check}/tests/slurm/cluster.sh"
[ -n "${FLM_TEST_OWN_SHM:-}" ] || skip 'users of our own need a mount namespace'
command -v setpriv >/dev/null || skip 'there is no setpriv'

declare -A uid=([alice]=20001 [bob]=20002 [carol]=20003)

make_users() {
    local user
    for user in passwd group; do
        cp /etc/$user $user || fail "a copy of /etc/$user"
    done
    mkdir users
    for user in "${!uid[@]}"; do
        echo "$user:x:${uid[$user]}:${uid[$user]}::$TEST_DIR/users/$user:/bin/bash" >>passwd
        echo "$user:x:${uid[$user]}:" >>group
        install -d -m 0700 -o "${uid[$user]}" -g "${uid[$user]}" "users/$user" "users/$user/run"
    done
    mount --bind passwd /etc/passwd && mount --bind group /etc/group || fail 'users of our own'
    chmod 0711 "$TEST_DIR"
    # A build tree in somebody's home is out of their reach: it is shown elsewhere, here and in the nodes.
    if ! as alice test -x "$FLM_BUILDDIR/bin/flmd" 2>/dev/null; then
        mount --bind "$FLM_BUILDDIR" /mnt || fail 'a build tree in reach of all'
        PATH=/mnt/bin:$PATH
    fi
}

becomes() { # USER: the words before a command in $become
    become=(setpriv --reuid="${uid[$1]}" --regid="${uid[$1]}" --clear-groups
        env HOME="$TEST_DIR/users/$1" XDG_RUNTIME_DIR="$TEST_DIR/users/$1/run" PATH="$PATH")
}

as() { # USER COMMAND...
    local become
    becomes "$1"
    shift
    "${become[@]}" "$@"
}

# Every session is an flmexec of five tasks, the first of which waits until all sessions are there.
cat >task <<END
#!/bin/sh
: >"\$HOME/begun-\$1"
until [ -e "$TEST_DIR/free" ]; do sleep 0.2; done
echo "\$(id -un) \$1 \$((\$2 * \$2))"
END
cat >session <<'END'
#!/bin/sh
env | grep ^FLM_ENDPOINT= >"$HOME/endpoint-$1.tmp"
mv "$HOME/endpoint-$1.tmp" "$HOME/endpoint-$1"
flmexec -j 1 -- "${0%/*}/task" "$1" {} ::: 1 2 3 4 5 >"$HOME/out-$1" 2>"$HOME/err-$1"
echo $? >"$HOME/status-$1.tmp"
mv "$HOME/status-$1.tmp" "$HOME/status-$1"
END
cat >seven <<'END'
#!/bin/sh
for i in 1 2 3 4 5 6 7; do "${0%/*}/session" $i & done
wait
END
printf '#!/bin/bash\nexec "$@"\n' >script
chmod 755 task session seven

batch() { # USER OPTION... -- COMMAND...: the job's number on stdout
    local user=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    as "$user" sbatch --parsable "${options[@]}" -D "$TEST_DIR/users/$user" \
        -o "$TEST_DIR/users/$user/job-%j.log" "$TEST_DIR/script" "$@"
}

begin() {
    local i become
    for i in 1 2 3 4 5 6 7; do
        job[i]=$(batch alice -N2 -n2 -- flmrun -- "$TEST_DIR/session" $i) || fail "sbatch takes a job of alice's"
    done
    batch bob -N3 -n9 -- flmrun -- "$TEST_DIR/seven" >/dev/null || fail "sbatch takes a job of bob's"
    becomes carol
    start flmd "${become[@]}" flmd --backend slurm --slots 4 --min-blocks 2 --max-blocks 2 -v \
        --backend-option "output=$TEST_DIR/users/carol/block-%j.log"
    flmd=$pid
    wait_for "carol's session manager answers where flmctl looks for it" as carol flmctl status
    endpoint=unix:$TEST_DIR/users/carol/run/flame/flmd.sock
    start carol "${become[@]}" FLM_ENDPOINT="$endpoint" "$TEST_DIR/seven"
    wait_for 'all sessions of all users have begun a task' \
        bash -c '[ "$(ls users/*/begun-* 2>/dev/null | wc -l)" = 21 ]'
}

of() { # USER WHO SESSION COMMAND...: what USER gets at the endpoint of that session of WHO's, on that one's node
    local user=$1 who=$2 session=$3 node=n1 become
    shift 3
    [ "$who" != alice ] || node=$(squeue -h -o %B -j "${job[$session]}")
    becomes "$user"
    run testbed exec "$node" "${become[@]}" "$(cat "users/$who/endpoint-$session")" "$@"
}

# What flmctl lists: the number of sessions, and all that run.
sees() {
    check_equal "$1" "0 $2" "$status $(jq -r 'length' <<<"$out")"
}

everybody_sees_their_own() {
    local i
    for i in 1 4 7; do
        of alice alice $i flmctl -o json list
        sees "a job of alice's has one session" 1
    done
    of bob bob 1 flmctl -o json list
    sees "bob's job has his seven" 7
    run as carol flmctl -o json list
    sees 'carol has seven' 7
    run as alice flmctl list
    check 'alice, who has no session manager here, sees none of them' test "$status" -ne 0
}

bob_has_refused() {
    of bob bob 1 flmctl -o json status
    [ "$(jq .refused <<<"$out")" = "$1" ]
}

nobody_gets_in() {
    of alice bob 1 flmctl list
    check_match "bob's endpoint refuses alice" "$status $err" '^[1-9].*another user'
    of carol bob 1 flmctl shutdown
    check_match 'and carol, who would end it' "$status $err" '^[1-9].*another user'
    of bob alice 3 flmping -t 10
    check_match "alice's refuses bob's tasks" "$status $err" '^[1-9].*another user'
    run as alice flmctl --endpoint "$endpoint" list
    check_match "carol's socket is out of reach" "$status $err" '^[1-9].*[Pp]ermission'
    wait_for 'they are counted' bob_has_refused 2
}

one_is_cancelled() {
    run as bob scancel "${job[7]}"
    wait_for "bob cannot cancel alice's job" bash -c "[ \"\$(squeue -h -o %T -j ${job[7]})\" = RUNNING ]"
    as alice scancel "${job[7]}"
    wait_for 'alice can' bash -c "! squeue -h -o %i | grep -qx ${job[7]}"
}

all_are_right() {
    local user i wrong=0 right=0
    : >free
    # The one that was cancelled may have come to write its status, too.
    wait_for 'the others all end' bash -c '[ "$(ls users/*/status-* 2>/dev/null | grep -vc alice/status-7)" = 20 ]'
    for user in "${!uid[@]}"; do
        for i in 1 2 3 4 5 6 7; do
            [ "$user$i" != alice7 ] || continue
            if [ "$(cat "users/$user/status-$i" "users/$user/out-$i" "users/$user/err-$i")" = "$(printf '0\n'; printf "$user $i %d\n" 1 4 9 16 25)" ]; then
                right=$((right + 1))
            else
                wrong=$((wrong + 1))
                tail "users/$user/"*"-$i"
            fi
        done
    done
    check_equal 'with their own results, by their own user, and no word more' '20 right, 0 wrong' "$right right, $wrong wrong"
    check_equal "no job of alice's or bob's has said anything" '' "$(cat users/alice/job-*.log users/bob/job-*.log | grep -v CANCELLED)"
}

make_users
SLURM_TESTBED_CPUS=14
export SLURM_TESTBED_CPUS
cluster 3
begin
everybody_sees_their_own
nobody_gets_in
one_is_cancelled
all_are_right
kill "$flmd"
wait "$flmd"
check_equal "carol's session manager ends well" 0 $?
wait_for 'nothing is left in the queue' bash -c '[ -z "$(squeue -h)" ]'
nothing_is_left
