#!/bin/bash
# Services that fail, crash, loop, or cannot be loaded: each failure has its reason, costs its task alone,
# and the executor is replaced.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

odd=$services/odd.so
cat >writes.sh <<'END'
cat "$FLM_COMMON"
printf :
{ echo changed >&3; } 2>/dev/null && printf ' changed' || printf ' refused'
{ echo changed 1<>"$FLM_COMMON"; } 2>/dev/null && printf ' changed' || printf ' refused'
END
printf '[application]\nname = writes\nshim = exec\ncommand = bash %s\n' "$TEST_DIR/writes.sh" >writes.app
for transport in $(transports); do
    engine -n 2
    run "$client" -l "$odd" -n 10 -i hello
    check_equal "a task's output comes back ($transport)" "10 x Succeed none 0 [hello]" "$out"
    run "$client" -l "$odd" -T -n 1000 -i hello
    check_equal 'results can be taken an array at a time' "1000 x Succeed none 0 [hello]" "$out"
    run "$client" -l "$odd" -n 3 -i 'fail 42'
    check_equal 'a service error has its code and message' "3 x Failed service 42 asked to fail with 42" "$out"
    run "$client" -l "$odd" -c 'some data' -i common -n 20
    check_equal 'common data reach the service' "20 x Succeed none 0 [some data v1]" "$out"
    run "$client" -l "$odd" -i 'big 300000' -n 5
    check_equal 'large outputs' "5 x Succeed none 0 (300000 bytes)" "$out"
    for how in 'exit 7' abort segv; do
        run "$client" -l "$odd" -i "$how"
        check_match "a service that does '$how' fails its task after three losses" "$out" \
            '^1 x Failed retry limit -?[0-9]+ .*lost with its executor 3 times'
        [ "$how" != 'exit 7' ] ||
            check_contains 'with the last line that it wrote' "$out" 'its last line was: flm-executor: the service called exit(7)'
        run "$client" -l "$odd" -n 50 -i after
        check_equal 'and the executors are there again' "50 x Succeed none 0 [after]" "$out"
    done
    run "$client" -l "$odd" -c 'some data' -i scribble
    check_match 'common data are read-only for services: one that writes there is killed for it' "$out" \
        '^1 x Failed retry limit 11 .*signal 11'
    run "$client" -l "$odd" -i loop -d 200
    check_match 'a service that loops beyond its deadline is ended' "$out" '^1 x Failed deadline '
    run "$client" -l "$odd" -i cancel -C 200
    check_match 'a running task that looks for it is cancelled' "$out" '^1 x (Succeed none|Cancelled cancelled) '
    run "$client" -l "$odd" -i 'sleep 50' -n 100 -C 300
    check_match 'cancelling a session answers every task' "$out" 'x Cancelled cancelled'
    check_equal 'none is lost' '' "$(grep -E 'LOST|TWICE' <<<"$out")"

    run "$client" -l "$TEST_DIR/none.so" -n 3
    check_match 'a missing library: the tasks say so' "$out" '^3 x Failed bind -?[0-9]+ .*none\.so'
    run "$client" -l "$services/no_symbol.so" -n 3
    check_match 'a library that is no service' "$out" '^3 x Failed bind .*flm_service'
    run "$client" -l "$services/old_abi.so" -n 3
    check_match 'a service of another version: both numbers are told' "$out" '^3 x Failed bind .*42.*1'
    for how in fail crash exit; do
        cat >odd.app <<END
[application]
name = odd-$how
shim = so
command = $odd
environment = ODD_ENTER=$how
END
        run "$client" -a odd.app -n 3
        check_match "a service that does '$how' on enter does not loop for ever" "$out" '^3 x Failed bind '
        check_match 'and the session says why' "$(flmctl -o json list | jq -r 'last | .trouble')" 'no executor can enter'
    done
    printf '[application]\nname = nocmd\nshim = exec\ncommand = /no/such/command\n' >nocmd.app
    run "$client" -a nocmd.app -n 2
    check_match 'a command that does not exist' "$out" '^2 x Failed bind .*/no/such/command'
    printf '[application]\nname = true\nshim = self\ncommand = true\n' >true.app
    run "$client" -a true.app -n 2
    check_match 'a program that is no service' "$out" "^2 x Failed bind .*'true' exited with status 0 .*flm_service_run"
    printf '[application]\nname = cat\nshim = exec\ncommand = cat\n' >cat.app
    run "$client" -a cat.app -n 5 -i 'through cat'
    check_equal 'shim exec: input on stdin, output from stdout' '5 x Succeed none 0 [through cat]' "$out"
    printf '[application]\nname = false\nshim = exec\ncommand = sh -c "exit 9"\n' >false.app
    run "$client" -a false.app -n 2
    check_match 'the exit status of a command is the code' "$out" '^2 x Failed exit 9'
    printf '[application]\nname = upper\nshim = stdio\ncommand = python3 %s\n' \
        "$FLM_SRCDIR/examples/services/upper.py" >upper.app
    run "$client" -a upper.app -n 20 -i 'shout'
    check_equal 'shim stdio: the Python service' '20 x Succeed none 0 [SHOUT]' "$out"
    run "$client" -a writes.app -n 4 -c 'common data'
    check_equal 'common data cannot be written by a command that gets them' \
        '4 x Succeed none 0 [common data: refused refused]' "$out"
    run "$client" -l "$odd" -i 'print something' -n 2
    check_match 'what services print can be read' "$(flmctl logs)" 'out something'
    check_match 'standard error too' "$(flmctl logs)" 'err something'
    check_equal 'all sessions are closed' '' "$(flmctl -o json list | jq -r '.[] | select(.state != "Closed") | .id')"
    engine_end
done
