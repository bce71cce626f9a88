# The scripts that doc/pbs.md shows, and those of the examples, as they stand there.
# shellcheck shell=bash disable=SC2154

battery_guide() {
    cluster 3
    local script name
    awk '/^```bash/ { inside = 1; n++; next } /^```/ { inside = 0 } inside { print > "script-" n }' "$FLM_SRCDIR/doc/pbs.md"
    cp "$FLM_SRCDIR"/examples/*/*.pbs .
    for script in script-* *.pbs; do
        case $script in
            script-*) name=$(sed -nE '2s/^# //p' "$script") ;;
            *) name=example-$script ;;
        esac
        as_job "$script" >"$name.ready"
        job=$(qsub -f -j oe -o "$TEST_DIR/$name.out" "$name.ready")
        wait_for "$name ends" test -e "$name.out"
        check_equal "$name ends well" 0 "$(qstat -x -f -F json "$job" | jq '.Jobs[].Exit_status')"
        sed 's/^/    /' "$name.out"
    done
    check_file 'the example has written its file' pi.h5
    check_match 'the example of matmul has read its files' "$(cat example-matmul.pbs.out)" 'read by the executors from'
    check_match 'and its product is right' "$(cat example-matmul.pbs.out)" 'check +passed'
    check_match 'and says what it found' "$(cat pi.pbs.out)" '3\.14[0-9]+'
    check_match 'nodes are shown by name' "$(cat look.pbs.out)" '^n2 +Up +[0-9]+.head +2 +2 '
    multiplies_on_nodes -l select=3:ncpus=2:mpiprocs=2 -l place=scatter
    nothing_is_left
}
