# What the figures of batch systems share: times in ms, and rows of a table.
# shellcheck shell=bash

now() { date +%s%N; }

ms() { # FROM TO, in ns
    echo $((($2 - $1) / 1000000))
}

title() {
    printf '%-58s %10s %10s %10s\n' "$RUNS runs on $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)" median least most
}

row() { # WHAT UNIT VALUE...: median, least, most
    local what=$1 unit=$2 sorted
    shift 2
    mapfile -t sorted < <(printf '%s\n' "$@" | sort -n)
    printf '%-58s %10s %10s %10s %s\n' "$what" "${sorted[${#sorted[@]} / 2]}" "${sorted[0]}" "${sorted[-1]}" "$unit"
}
