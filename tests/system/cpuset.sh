#!/bin/bash
# Executors in a real cpuset, as a batch system confines jobs: a control group (v2 or v1) where one can be made,
# else the affinity that a parent leaves. They lie within it, and no two share a CPU.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"

cpus() { # of a list like 0-2,5, one a line
    tr , '\n' <<<"$1" | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done
}

mapfile -t here < <(cpus "$(sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status)")
[ ${#here[@]} -ge 2 ] || skip 'this machine has one CPU for us'

# A group of some of our CPUs in $group; false: none can be made here.
group=''
group_v2() { # LIST
    local root
    root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$root" ] && grep -qw cpuset "$root/cgroup.controllers" && group=$root/flm-test-$$ || return
    grep -qw cpuset "$root/cgroup.subtree_control" || return
    mkdir "$group" && echo "$1" >"$group/cpuset.cpus"
}

group_v1() { # LIST
    local root
    root=$(awk '$3 == "cgroup" && $4 ~ /(^|,)cpuset(,|$)/ { print $2; exit }' /proc/mounts)
    [ -n "$root" ] && group=$root/flm-test-$$ || return
    mkdir "$group" && cat "$root/cpuset.mems" >"$group/cpuset.mems" && echo "$1" >"$group/cpuset.cpus"
}

remove_group() {
    local i
    for ((i = 0; i < 100; i++)); do
        [ -d "$group" ] && ! rmdir "$group" 2>/dev/null || return 0
        sleep 0.1
    done
}

confined() { # LIST COMMAND...
    local list=$1
    shift
    if [ -n "$group" ]; then
        echo "$list" >"$group/cpuset.cpus"
        # shellcheck disable=SC2016
        run sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
    else
        run taskset -c "$list" "$@"
    fi
}

trap 'remove_group; finish' EXIT
if ! group_v2 "${here[0]}" 2>/dev/null; then
    [ -z "$group" ] || rmdir "$group" 2>/dev/null
    if ! group_v1 "${here[0]}" 2>/dev/null; then
        [ -z "$group" ] || rmdir "$group" 2>/dev/null
        group=''
    fi
fi
echo "by ${group:-affinity alone}"

cat >look.sh <<'END'
# As soon as all executors that there are to be are idle.
until flmctl -o json list -n | jq -e 'length > 0' >/dev/null; do sleep 0.05; done
slots=$(flmctl -o json list -n | jq '[.[].slots] | add')
until [ "$(flmctl -o json list -e | jq '[.[] | select(.state == "Idle")] | length')" = "$slots" ]; do sleep 0.05; done
for pid in $(flmctl -o json list -e | jq '.[].pid'); do
    sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$pid/status"
done
END

look() { # WHAT LIST [OPTION...]: the CPUs of all executors, one a line, sorted
    local what=$1 list=$2
    shift 2
    confined "$list" timeout "$FLM_TEST_PATIENCE" flmrun "$@" sh look.sh
    check_equal "$what: flmrun ends well" '0 ' "$status $err"
    bound=$(while read -r one; do cpus "$one"; done <<<"$out" | sort -n)
}

one=${here[-1]}
look 'one CPU' "$one"
check_equal 'one executor, on it' "$one" "$bound"
all=$(IFS=, && echo "${here[*]}")
look 'all CPUs' "$all"
check 'there is one' test -n "$bound"
check_equal 'no CPU has two executors' "$(uniq <<<"$bound")" "$bound"
check_equal 'and none is elsewhere' '' "$(comm -13 <(printf '%s\n' "${here[@]}" | sort) <(sort <<<"$bound"))"
some=$(IFS=, && echo "${here[*]:1}")
look 'all but the first' "$some" -n 1
check_equal 'the executor is not on that' '' "$(grep -x "${here[0]}" <<<"$bound")"
look 'more executors than CPUs' "$one" -n 3
check_equal 'all are within the set, and share it' "$one $one $one" "$(tr '\n' ' ' <<<"$bound" | sed 's/ $//')"
