#!/bin/bash
# flmd says why it cannot start, with a status that is not 0, and leaves nothing behind; what it cannot
# have later it tells those who ask.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
probe=$FLM_BUILDDIR/tests/system/probe
socket=$TEST_DIR/run/flmd.sock

refuses() { # WHAT REGEX ARGUMENT...
    local what=$1 regex=$2
    shift 2
    run timeout 20 flmd -e "unix:$socket" "$@"
    check_equal "$what: the status" 1 "$status"
    check_match "$what: the message" "$err" "^flmd: .*$regex"
    check_equal "$what: nothing else is said, and no socket stays" '' "$out$(ls "$socket" 2>/dev/null)"
}

touch file
head -c 32 /dev/urandom >secret
chmod 644 secret
refuses 'a file in place of the directory' 'not a directory' --directory "$TEST_DIR/file"
refuses 'a directory that does not exist' 'absent.*No such file' --directory "$TEST_DIR/absent"
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 0500 closed
    refuses 'a directory that cannot be written' 'Permission' --directory "$TEST_DIR/closed"
fi
refuses 'a second endpoint that cannot be' 'nowhere' -e unix:/nowhere/x
refuses 'an address that is not ours' '203.0.113.7' -e tcp:203.0.113.7:1 --secret-file "$TEST_DIR/new"
refuses 'a secret that others can read' '0600' -e tcp:127.0.0.1:0 --secret-file "$TEST_DIR/secret"
refuses 'a secret that is no file' 'secret' -e tcp:127.0.0.1:0 --secret-file "$TEST_DIR"
refuses 'a secret that cannot be made' 'secret' -e tcp:127.0.0.1:0 --secret-file /proc/nowhere/secret
refuses 'a parent that is not there' 'parent-fd' --parent-fd 77
[ "$(transports | wc -l)" -lt 2 ] || refuses 'a provider that is not there' 'nonesuch' --provider nonesuch
# Alone it has datagrams; ofi_rxd makes messages and RMA of them.
[ "$(transports | wc -l)" -lt 2 ] || FI_PROVIDER=^ofi_rxd refuses 'a provider without RMA' \
    'provider udp has no reliable messages.*RMA.*choose another' --provider udp

for limit in 4 5 8 12 16 20 40 63; do
    run bash -c "ulimit -n $limit; exec timeout 20 flmd -e 'unix:$socket'"
    case $err in
        *'ulimit -n'* | *'oo many open files'* | *'annot open shared object'*) ok "$limit descriptors are not enough, and it says so" ;;
        *) not_ok "$limit descriptors are not enough, and it says so" "$status $out $err" ;;
    esac
done

# Memory: from nothing to enough. It may not start, but must say so, or it starts and ends in order.
sanitized || for kib in 2000 4000 8000 12000 16000 20000 24000 32000 48000 64000 100000 200000; do
    run bash -c "ulimit -v $kib; exec timeout --preserve-status 2 flmd -e 'unix:$socket' -n 1"
    case $status in
        0) ok "$kib KiB of memory: it starts" ;;
        [1-9] | [1-9]? | 12[0-7]) check_match "$kib KiB of memory: it says why it cannot" "$err" '.' ;;
        *) not_ok "$kib KiB of memory: it starts, or says why it cannot" "$status $out $err" ;;
    esac
done

# More clients than it may have descriptors.
export FLM_ENDPOINT=unix:$socket
start flmd bash -c "ulimit -n 100; exec flmd -v -e $FLM_ENDPOINT --directory $TEST_DIR/run -n 1"
flmd=$pid
wait_for 'flmd answers' flmctl status
idle_executors 1
told=$(python3 - "$socket" <<'END'
import socket, sys
held = []
for i in range(150):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    held.append(s)
answer = held[-1].recv(4096)
print("descriptors" if b"descriptors" in answer else repr(answer))
for s in held:
    s.close()
END
)
check_equal 'the connection that is one too many is told so' descriptors "$told"
wait_for 'when the others are gone it works on' flmping -t 1000
# Large inputs, each of which holds one.
run timeout 60 "$probe" flood "$services/odd.so" 500 50000 "sleep 20"
check_match 'large inputs that need more descriptors than there are: an error that says so' "$out" 'ulimit -n'
check 'and it works on' flmping -t 1000
kill "$flmd"
wait "$flmd"
check_equal 'it ends in order' 0 $?

# A client that comes before the session manager waits for its socket, when it is told to, and no longer.
endpoint=unix:$TEST_DIR/job.sock
export FLM_ENDPOINT_WAIT=60
FLM_ENDPOINT=$endpoint flmctl status >early.out 2>early.err &
early=$!
FLM_ENDPOINT=$endpoint,unix:$TEST_DIR/other flmping -t 10 >second.out 2>&1 &
second=$!
engine -n 1
check 'clients wait for an instance that is not there yet' kill -0 $early $second
ln -s run/flmd.sock job.sock
check 'and find it when it has come' wait $early
check 'also with more endpoints in the list' wait $second
run flmctl --endpoint "unix:$TEST_DIR/nobody" status
check_contains 'an endpoint that the client names is not waited for' "$err" 'no session manager answers'
for wait in 0.05 0 -1 soon ''; do
    FLM_ENDPOINT=unix:$TEST_DIR/nobody FLM_ENDPOINT_WAIT=$wait run flmctl status
    check_contains "the wait ends, for '$wait'" "$err" 'no session manager answers'
done
ln -sf /dev/null job.sock
FLM_ENDPOINT=$endpoint run flmctl status
check_contains 'a file that is no socket is an end at once' "$err" 'refused'
unset FLM_ENDPOINT_WAIT
engine_end

# Started without standard descriptors: no file or socket gets their numbers.
for closed in '<&-' '2>&-' '<&- 2>&-'; do
    eval "flmrun -n 1 flmping -q -t 10 $closed" >/dev/null
    check_equal "flmrun with $closed" 0 $?
done
FLM_ENDPOINT='' eval 'flmexec echo {} ::: 1 <&- 2>&-' >closed.out
check_equal 'flmexec without standard input and error' '0 1' "$? $(cat closed.out)"
FLM_ENDPOINT='' run bash -c 'flmexec -j1 echo <&-'
check_equal 'flmexec that is to read its input fails' 3 "$status"
check_contains 'and says why' "$err" 'cannot read standard input: Bad file descriptor'
