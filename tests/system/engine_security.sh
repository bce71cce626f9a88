#!/bin/bash
# Strangers: a wrong secret, another user, garbage on the control port, another version.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"

engine -n 1 -e tcp:127.0.0.1:0 --secret-file "$TEST_DIR/secret"
tcp=$(flmctl -o json status | jq -r .endpoint | tr , '\n' | grep tcp:)
port=${tcp##*:}
check_equal 'the socket has mode 0600' 600 "$(stat -c %a "$TEST_DIR/run/flmd.sock")"
check_equal 'so has the secret that was made' 600 "$(stat -c %a "$TEST_DIR/secret")"
if [ "$(transports | wc -l)" -gt 1 ]; then
    export FLM_SECRET_FILE=$TEST_DIR/secret
    run flmping -t 1000 --endpoint "$tcp" --json
    check_equal 'with the secret a client over TCP works' "0 0" "$status $(jq -r .failed <<<"$out")"
fi
head -c 32 /dev/urandom >other
chmod 600 other
FLM_SECRET_FILE=$PWD/other run flmctl --endpoint "$tcp" status
check_equal 'with another secret it does not' true "$([ "$status" -ne 0 ] && echo true)"
check_match 'and the message speaks of the secret' "$err" 'secret'
FLM_SECRET_FILE=$PWD/absent run flmctl --endpoint "$tcp" status
check_match 'without a secret file the message names it' "$err" 'absent'
chmod 644 other
FLM_SECRET_FILE=$PWD/other run flmctl --endpoint "$tcp" status
check_match 'a secret that others can read is refused' "$err" '0600'

refused() { flmctl -o json status | jq .refused; }
before=$(refused)
python3 - "$port" "$TEST_DIR/run/flmd.sock" <<'END'
import os, random, socket, struct, sys
random.seed(7)
MAGIC = 0x324d4c46
def frame(body, size=None, fds=0, magic=MAGIC, number=1):
    return struct.pack("<IIII", magic, len(body) if size is None else size, fds, number) + body
def field(number, value):  # a varint field
    return bytes([number << 3]) + bytes([value])
hello_v9 = bytes([1 << 3 | 2, 4]) + field(1, 9) + field(2, 9)  # Message.hello: version 9 only
cases = [b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100), frame(b"", size=0xffffffff), frame(b"\xff" * 8),
         frame(b"x" * 20, size=1000), frame(b"", fds=5), frame(b"", fds=99), frame(hello_v9), frame(b"\x0a\x02\x18\x01"),
         frame(bytes([2 << 3 | 2, 0])), frame(bytes([6 << 3 | 2, 0])), frame(hello_v9, number=2),
         frame(hello_v9, number=0)]
cases += [frame(os.urandom(random.randrange(200))) for _ in range(300)]
for n, case in enumerate(cases):
    for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2])):
        s = socket.socket(family)
        s.connect(address)
        try:
            s.sendall(case)
            if n % 3 == 0:
                s.shutdown(socket.SHUT_WR)
                s.settimeout(5)
                answer = s.recv(4096)
                if case == frame(hello_v9) and b"version" not in answer:
                    sys.exit("no word about the version: %r" % answer)
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            pass
        s.close()
END
check_equal 'hundreds of hostile frames are answered or dropped' 0 $?
wait_for 'and counted' bash -c "[ \$(flmctl -o json status | jq .refused) -gt $before ]"
run flmping -t 10000 --json
check_equal 'the session manager works on' "0 0" "$status $(jq -r .failed <<<"$out")"

# Greeted, and then of no good will: a session whose common data never come, tasks nobody has, questions
# about tasks that were never sent.
python3 - "$TEST_DIR/run/flmd.sock" <<'END'
import socket, struct, sys
def frame(body):
    return struct.pack("<III", 0x314d4c46, len(body), 0) + body
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
def number(field, value):
    return varint(field << 3) + varint(value)
def part(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body
def request(n, verb, submitted=0):
    return frame(part(6, number(1, n) + (number(2, submitted) if submitted else b"") + verb))
blob = varint(1 << 3 | 1) + bytes(8) + number(2, 1000)
requests = [request(1, part(13, part(1, b"nothing") + part(14, blob))),   # common data without a descriptor
            request(2, part(13, part(1, b"nothing") + part(14, number(2, 1 << 40)))),
            request(3, number(14, 7)), request(4, number(15, 0)), request(5, number(17, 1 << 31)),
            request(6, part(16, number(1, 3) + number(3, 5)), submitted=1 << 60),
            request(7, part(18, b"x" * 300)),                              # a fabric address, over a ring
            frame(part(22, number(1, 1))), frame(part(23, bytes([9]) + bytes(8))), frame(part(10, number(1, 9)))]
for r in requests:
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(frame(part(1, number(1, 1) + number(2, 1) + number(3, 1))) + r)
    s.shutdown(socket.SHUT_WR)
    s.settimeout(20)
    while s.recv(4096):
        pass
    s.close()
END
check_equal 'greeted peers that ask for nonsense are answered or dropped' 0 $?
check 'and nobody else notices' flmping -t 1000

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    chmod 711 "$TEST_DIR" "$TEST_DIR/run"
    chmod 666 "$TEST_DIR/run/flmd.sock"
    before=$(refused)
    run setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ FLM_BUILDDIR= \
        python3 -c "
import socket,sys
s=socket.socket(socket.AF_UNIX); s.connect('$TEST_DIR/run/flmd.sock')
s.settimeout(5); print(s.recv(4096))"
    check_match 'another user on the Unix socket is refused with a sentence' "$out" 'another user'
    check_equal 'and counted' $((before + 1)) "$(refused)"
else
    echo 'skipped - another user: needs root'
fi
run flmd -e "$FLM_ENDPOINT" --directory "$TEST_DIR/run" -n 1
check_match 'a second one at the same endpoint says so' "$err" 'already running'
for bad in '-n 0' '-n x' '-n -1' '--bind sideways' '--ring-bytes 1000000' '-e nonsense:1' 'extra'; do
    # shellcheck disable=SC2086
    run timeout 10 flmd $bad
    check_equal "flmd $bad is refused with a message" true "$([ "$status" -gt 0 ] && [ "$status" -lt 3 ] && [ -n "$err" ] && echo true)"
done
engine_end
