#!/bin/bash
# Executors that the kernel kills for lack of memory: the reason says so, and what to do.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

# A memory group of our own, with a limit. Version 1 or 2.
limit=$((400 << 20))
group=/sys/fs/cgroup/memory/flm-test-$$ file=memory.limit_in_bytes
[ -d /sys/fs/cgroup/memory ] || group=/sys/fs/cgroup/flm-test-$$ file=memory.max
mkdir "$group" 2>/dev/null || skip 'no control group can be made here'
remove_group() {
    for _ in $(seq 100); do
        rmdir "$group" 2>/dev/null && return
        sleep 0.1
    done
}
trap 'code=$?; remove_group; (exit $code); finish' EXIT
{ echo $limit >"$group/$file"; } 2>/dev/null || skip 'the memory of a control group cannot be limited here'
[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"

export GROUP=$group
# shellcheck disable=SC2016
run bash -c 'echo $$ >"$GROUP/cgroup.procs" && exec "$@"' sh flmrun -n 2 -- sh -c '
    "$0" -l "$1" -i "alloc 1000"
    "$0" -l "$1" -n 20 -i after
    flmexec -- python3 -c "x = bytearray(1000 << 20)" 2>&1' "$client" "$services/odd.so"
check_match 'an executor: the reason of its task is the lack of memory' "$out" '^1 x Failed out of memory 9 '
check_contains 'what to do' "$out" 'killed for lack of memory: ask for more, or run fewer executors on a node'
check_contains 'the engine goes on' "$out" '20 x Succeed none 0 [after]'
check_contains 'a command of flmexec: the same' "$out" 'killed for lack of memory'

# shellcheck disable=SC2016
run bash -c 'echo $$ >"$GROUP/cgroup.procs" && exec "$@"' sh flmrun -n 1 -- flmexec -j 1 sh -c {} ::: \
    'python3 -c "x = bytearray(1000 << 20)"; echo "python: $?"; sleep 0.3' 'kill -9 $$'
check_contains 'the kernel kills a process of a command that goes on' "$out" 'python: 137'
check_contains 'a command that is killed later for another reason is not blamed on that' "$err" 'ended by signal 9'
