# Several users at once, with PBS of either kind: two jobs of alice's with an instance each, one of bob's with two
# sessions, a session manager of carol's on the login node with jobs that it asks for. Nobody sees or disturbs
# another. It is read before cluster.sh: their names have to be known when the cluster starts.
# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # what is quoted is for the shells of others

declare -A uid=([alice]=20001 [bob]=20002 [carol]=20003)

# In a mount namespace of ours. A build tree in somebody's home is out of their reach: it is shown elsewhere.
before_cluster() { # DIR
    local user
    for user in passwd group; do
        cp /etc/$user "$1/$user" || return
    done
    mkdir -m 0711 "$1/users"
    for user in "${!uid[@]}"; do
        echo "$user:x:${uid[$user]}:${uid[$user]}::$1/users/$user:/bin/bash" >>"$1/passwd"
        echo "$user:x:${uid[$user]}:" >>"$1/group"
        install -d -m 0700 -o "${uid[$user]}" -g "${uid[$user]}" "$1/users/$user" "$1/users/$user/run"
    done
    mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group &&
        mount --bind "$FLM_BUILDDIR" /mnt
}

becomes() { # USER: the words before a command in $become
    become=(setpriv --reuid="${uid[$1]}" --regid="${uid[$1]}" --clear-groups
        env HOME="$homes/$1" XDG_RUNTIME_DIR="$homes/$1/run" PATH="$PATH")
}

as() { # USER COMMAND...
    local become
    becomes "$1"
    shift
    "${become[@]}" "$@"
}

# Every session is an flmexec of five tasks, the first of which waits until all sessions are there.
make_scripts() {
    cat >task <<END
#!/bin/sh
: >"$homes/\$(id -un)/begun-\$1"
until [ -e "$TEST_DIR/free" ]; do sleep 0.1; done
echo "\$(id -un) \$1 \$((\$2 * \$2))"
END
    cat >session <<END
#!/bin/sh
mine=$homes/\$(id -un)
echo "\$FLM_ENDPOINT" >"\$mine/endpoint-\$1.tmp"
mv "\$mine/endpoint-\$1.tmp" "\$mine/endpoint-\$1"
flmexec -j 1 -- "$TEST_DIR/task" "\$1" {} ::: 1 2 3 4 5 >"\$mine/out-\$1" 2>"\$mine/err-\$1"
echo \$? >"\$mine/status-\$1.tmp"
mv "\$mine/status-\$1.tmp" "\$mine/status-\$1"
END
    cat >two <<END
#!/bin/sh
"$TEST_DIR/session" 1 & "$TEST_DIR/session" 2 & wait
END
    cat >script <<END
#!/bin/bash
export PATH="$PATH" FLM_TEST_ID="$FLM_TEST_ID" XDG_RUNTIME_DIR="$homes/\$(id -un)/run"
cd "$homes/\$(id -un)" || exit
exec "\$@"
END
    chmod 755 task session two script
}

batch() { # USER SELECT COMMAND...: the job's id on stdout
    as "$1" qsub -f -N "${1}s" -l "select=$2" -l place=scatter -j oe -o "$homes/$1/log-$3" -- \
        "$TEST_DIR/script" flmrun -- "${@:4}"
}

begin() {
    local i
    for i in 1 2; do
        job[i]=$(batch alice 2:ncpus=1 $i "$TEST_DIR/session" $i) || fail "qsub takes a job of alice's"
    done
    batch bob 3:ncpus=1 1 "$TEST_DIR/two" >/dev/null || fail "qsub takes a job of bob's"
    becomes carol
    start flmd "${become[@]}" flmd --backend pbs --slots 2 --min-blocks 1 --max-blocks 1 --backend-option look=1
    flmd=$pid
    wait_for "carol's session manager answers where flmctl looks for it" as carol flmctl status
    endpoint=unix:$homes/carol/run/flame/flmd.sock
    start carol "${become[@]}" FLM_ENDPOINT="$endpoint" "$TEST_DIR/two"
    wait_for 'all sessions of all users have begun a task' \
        bash -c '[ "$(ls "$0"/*/begun-* 2>/dev/null | wc -l)" = 6 ]' "$homes"
}

of() { # USER WHO SESSION COMMAND...: what USER gets at the endpoint of that session of WHO's
    local user=$1 where
    where=$(cat "$homes/$2/endpoint-$3")
    shift 3
    run as "$user" env FLM_ENDPOINT="$where" "$@"
}

everybody_sees_their_own() {
    of alice alice 1 flmctl -o json list
    check_equal "a job of alice's has one session" '0 1' "$status $(jq length <<<"$out")"
    of bob bob 1 flmctl -o json list
    check_equal "bob's has his two" '0 2' "$status $(jq length <<<"$out")"
    run as carol flmctl -o json list
    check_equal 'carol has two' '0 2' "$status $(jq length <<<"$out")"
    run as alice flmctl list
    check 'alice, who has no session manager here, sees none of them' test "$status" -ne 0
}

nobody_gets_in() {
    of alice bob 1 flmctl list
    check_match "bob's endpoint refuses alice" "$status $err" '^[1-9].*(another user|[Pp]ermission)'
    of carol bob 1 flmctl shutdown
    check_match 'and carol, who would end it' "$status $err" '^[1-9].*(another user|[Pp]ermission)'
    of bob alice 2 flmping -t 10
    check_match "alice's refuses bob's tasks" "$status $err" '^[1-9].*(another user|[Pp]ermission)'
    run as bob qdel "${job[2]}"
    check_match "bob cannot delete alice's job" "$status $err" '^[1-9].*Unauthorized Request'
    check_equal 'which runs' R "$(state_of "${job[2]}")"
    check 'alice can' as alice qdel "${job[2]}"
}

all_are_right() {
    local user i
    : >free
    wait_for 'the others all end' \
        bash -c '[ "$(ls "$0"/*/status-* 2>/dev/null | grep -vc alice/status-2)" = 5 ]' "$homes"
    for user in alice bob carol; do
        for i in 1 2; do
            [ $user$i = alice2 ] || check_equal "$user has the results of session $i, by ${user}'s own processes" \
                "$(printf '0\n'; printf "$user $i %d\n" 1 4 9 16 25)" \
                "$(cat "$homes/$user/status-$i" "$homes/$user/out-$i" "$homes/$user/err-$i")"
        done
    done
}

battery_users() {
    cluster 3
    homes=${FLM_TEST_TESTBED:-$TEST_DIR}/users
    PATH=/mnt/bin:$PATH
    make_scripts
    begin
    everybody_sees_their_own
    nobody_gets_in
    all_are_right
    kill "$flmd"
    wait "$flmd"
    check_equal "carol's session manager ends well" 0 $?
    nothing_is_left
    check_equal 'nor one of theirs' '' "$(find "$homes" -name 'environment-*')"
}
