#!/bin/bash
# Services that misbehave: what each does costs its own task, says why, and leaves nothing for others.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

odd=$services/odd.so
printf '[application]\nname = odd-self\nshim = self\ncommand = %s\n' \
    "$FLM_BUILDDIR/tests/system/services/odd_self" >self.app
printf '[application]\nname = odd-loop\nshim = exec\ncommand = sh -c "while :; do :; done"\n' >loop.app
printf '[application]\nname = odd-stdio\nshim = stdio\ncommand = python3 %s\n' "$TEST_DIR/loop.py" >stdio.app
cat >loop.py <<'END'
import struct, sys, time
i, o = sys.stdin.buffer, sys.stdout.buffer
head = i.read(12)
i.read(sum(struct.unpack("<II", head[4:12])))
o.write(struct.pack("<IQi", 12, 0, 0))
o.flush()
while True:
    size, = struct.unpack("<I", i.read(4))
    task, = struct.unpack("<Q", i.read(8))
    data = i.read(size - 8)
    while data == b"loop":
        pass
    o.write(struct.pack("<IQi", 12 + len(data), task, 0) + data)
    o.flush()
END
for transport in $(transports); do
    engine -n 2 --loss-time 1000
    for what in "-l $odd" '-a self.app' '-a loop.app' '-a stdio.app'; do
        for deadline in -d -D; do
            # shellcheck disable=SC2086
            run timeout 60 "$client" $what -i loop $deadline 200
            check_match "a loop beyond its deadline: $what $deadline ($transport)" "$out" \
                '^1 x Failed deadline -22 .* was ended after 200 ms, its deadline$'
        done
    done
    # The executors have served since: that is not what the task is called by.
    run timeout 60 "$client" -l "$odd" -n 20 -i before
    run timeout 60 "$client" -l "$odd" -i loop -d 200
    check_equal 'the log names the task as its owner does' 'task 1 ran beyond its deadline' \
        "$(flmctl logs | grep -o 'task [0-9]* ran beyond its deadline' | sort -u)"
    for what in "-l $odd" '-a self.app'; do
        # shellcheck disable=SC2086
        run timeout 60 "$client" $what -i "line of $what"
        check_contains "what a service printed before it crashed is in the log: $what" "$(flmctl logs)" "line of $what"
    done
    run timeout 60 "$client" -a stdio.app -n 5 -i on
    check_equal 'and a stdio service serves again' '5 x Succeed none 0 [on]' "$out"
    run timeout 60 "$client" -a self.app -n 5 -i on
    check_equal 'a program of its own, too' '5 x Succeed none 0 [on]' "$out"

    run timeout 60 "$client" -l "$odd" -i '_exit 5'
    check_match '_exit' "$out" '^1 x Failed retry limit .*lost with its executor 3 times.*status 5'
    run timeout 60 "$client" -l "$odd" -i stop
    check_match 'a service that stops itself' "$out" '^1 x Failed retry limit .*did not answer'
    run timeout 60 "$client" -l "$odd" -i closefds
    check_match 'a service that closes all descriptors' "$out" '^1 x (Succeed|Failed retry limit) '
    check_contains 'and the log says who did' "$(flmctl logs)" 'the service closed descriptors that are not its own'
    # One that ran it, and was heard of, may notice only when it is wanted again.
    before=$(executors)
    rm -r "$TEST_DIR/run"/node-* # as a cleaner of old files would
    xargs kill -KILL <<<"$before"
    wait_for 'others come' bash -c "! flmctl -o json list -e | jq '.[].pid' | grep -qxE '${before//$'\n'/|}'"
    idle_executors 2
    run timeout 60 "$client" -l "$odd" -n 10 -i after
    check_equal 'executors are there again' '10 x Succeed none 0 [after]' "$out"
    check_match 'by another way, since theirs was removed, which is said' "$(cat flmd.log)" 'node-[^ ]*/s was removed'

    # A folder that a service went to, and threads that it leaves behind, are no trouble for the next one.
    run timeout 60 "$client" -l "$odd" -m 1 -i 'cd /'
    run timeout 60 "$client" -l "$odd" -m 1 -i pwd
    check_equal 'a service that changes directory changes its own session only' "1 x Succeed none 0 [$TEST_DIR]" "$out"
    before=$(executors)
    run timeout 60 "$client" -l "$odd" -n 4 -i thread
    cp "$odd" other.so
    run timeout 60 "$client" -l "$TEST_DIR/other.so" -n 100 -i next
    check_equal 'the next service runs beside a thread that was left behind' '100 x Succeed none 0 [next]' "$out"
    sleep 0.2
    check_equal 'in the same executors' "$before" "$(executors)"

    agent=$(flmctl -o json list -n | jq '.[0].pid')
    run timeout 120 "$client" -l "$odd" -i 'flood 300'
    check_equal 'a service that prints 300 MiB' '1 x Succeed none 0 [flood 300]' "$out"
    # AddressSanitizer keeps what is freed: 256 MiB of it.
    check_equal 'costs its agent little memory' true \
        "$([ "$(awk '/VmHWM/ {print $2}' /proc/"$agent"/status)" -lt "$(sized 150000 600000)" ] && echo true)"
    engine_end
done
