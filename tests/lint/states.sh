#!/bin/bash
# The state machines drawn beside the code have the states of the code, no more and no less.
set -u
top=${FLM_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
failed=0
check() { # DOT HEADER PREFIX
    local drawn coded
    drawn=$(grep -oE '^ +[A-Z]+ +\[label' "$top/$1" | awk '{print $1}' | sort)
    coded=$(sed -n "s/.*enum [a-z_]* {\(.*\)};/\1/p; /^ *$3_[A-Z]*\( = [0-9]*\)\?,/p" "$top/$2" |
        grep -oE "$3_[A-Z]+" | sed "s/^$3_//" | sort -u)
    if [ "$drawn" = "$coded" ] && [ -n "$drawn" ]; then
        echo "ok - $1 has the states of $2"
    else
        echo "not ok - $1 and $2 differ:"
        diff <(echo "$drawn") <(echo "$coded")
        failed=1
    fi
}
check src/manager/session.dot src/manager/session.h SESSION
check src/manager/executor.dot src/manager/executor.h EXECUTOR
check src/manager/task.dot src/manager/queue.h QUEUE
exit $failed
