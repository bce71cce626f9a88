#!/bin/bash
# Peers over TCP that prove who they are by munge, with munged of this test's own; and those that do not.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/engine.sh"
PATH=$PATH:/usr/sbin:/sbin
command -v munged >/dev/null || skip 'there is no munged'
grep -q 'libmunge\.so' "$FLM_BUILDDIR/bin/flmd" || skip 'built without munge'
[ "$(transports | wc -l)" -gt 1 ] || skip 'built without libfabric'
chmod 711 "$TEST_DIR" # munged wants its socket to be in reach of all

# A munged with the key file $2 and the socket $TEST_DIR/$1/socket.
munge_start() {
    mkdir -p "$1"
    chmod 755 "$1"
    [ -s "$2" ] || (umask 077; head -c 128 /dev/urandom >"$2")
    rm -f "$1/socket"
    start "munged-$1" munged --foreground --key-file="$TEST_DIR/$2" --socket="$TEST_DIR/$1/socket" \
        --pid-file="$TEST_DIR/$1/pid" --seed-file="$TEST_DIR/$1/seed" --log-file="$TEST_DIR/$1/log"
    wait_for "munged $1 is there" munge -n -S "$TEST_DIR/$1/socket"
}

begin() { # ARGUMENT...: flmd with a TCP port
    rm -rf "$HOME/.config"
    engine -n 1 -e tcp:127.0.0.1:0 "$@"
    tcp=$(flmctl -o json status | jq -r .endpoint | tr , '\n' | grep tcp:)
}
refused() { flmctl -o json status | jq .refused; }
secrets() { find "$HOME" -name secret; }
ping() { run "$@" flmping -t 100 --endpoint "$tcp" --json; }

munge_start a key
munge_start b key
munge_start other otherkey
munged_b=$(cat b/pid)
export FLM_MUNGE_SOCKET=$TEST_DIR/a/socket
begin
ping env
check_equal 'a client comes in by munge' "0 0" "$status $(jq -r .failed <<<"$out")"
check_equal 'nobody has made a secret' '' "$(secrets)"
check_equal 'nobody was refused' 0 "$(refused)"

# The protocol by hand: what is no proof.
cat >peer.py <<'END_OF_PEER'
import hashlib, hmac, os, re, socket, struct, subprocess, sys, time
port, munge_socket, version = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
def number(field, value):
    return varint(field << 3) + varint(value)
def part(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body
def frame(body, number):
    return struct.pack("<IIII", 0x324d4c46, len(body), 0, number) + body
def parts(body):  # the fields that are bytes
    out, i = {}, 0
    def read():
        nonlocal i
        value = shift = 0
        while True:
            value, shift, i = value | (body[i] & 127) << shift, shift + 7, i + 1
            if body[i - 1] < 128:
                return value
    while i < len(body):
        key = read()
        if key & 7 == 2:
            size = read()
            out[key >> 3], i = body[i:i + size], i + size
        elif key & 7 == 1:
            i += 8
        else:
            read()
    return out
def munge(text, *options, user=None):
    command = ["munge", "-S", munge_socket, *options]
    if user is not None:
        command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] + command
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, check=True).stdout.strip()
class Peer:
    def __init__(self, munge=1):
        self.s = socket.create_connection(("127.0.0.1", port), 20)
        self.nonce = os.urandom(32)
        self.s.sendall(frame(part(1, number(1, version) + number(2, version) + number(3, 1) + part(7, self.nonce) + number(11, munge)), 1))
        challenge = parts(self.receive()[2])
        self.instance, self.theirs, self.credential = challenge[1], challenge[2], challenge.get(4)
        self.has_hmac = 3 in challenge
    def receive(self):
        def exactly(n):
            got = b""
            while len(got) < n:
                more = self.s.recv(n - len(got))
                if not more:
                    raise EOFError
                got += more
            return got
        return parts(exactly(struct.unpack("<IIII", exactly(16))[1]))
    def text(self, label=b"flame 1 peer"):
        return label + b"|" + self.instance + b"|" + self.nonce + self.theirs
    def answer(self, credential=None, proof=None, times=1):
        body = (part(1, proof) if proof else b"") + (part(2, credential) if credential else b"")
        self.s.sendall(b"".join(frame(part(3, body), 2 + n) for n in range(times)))
    def verdict(self):
        got = self.receive()
        return "in" if 4 in got else parts(got[5])[2].decode()
wrong = 0
def expect(what, verdict, pattern):
    global wrong
    if not re.search(pattern, verdict):
        wrong, _ = 1, print("%s: expected %s, got: %s" % (what, pattern, verdict))
def attempt(what, pattern, credential=None, proof=None, **more):
    p = Peer(**more)
    p.answer(credential(p) if credential else None, proof(p) if proof else None)
    expect(what, p.verdict(), pattern)
mine = ["-u", str(os.geteuid())]
p = Peer()
good = munge(p.text(), *mine)
p.answer(good)
expect("a good credential", p.verdict(), "^in$")
if p.has_hmac:
    expect("no secret", "there is one", "^$")
attempt("a replayed one", "used before", lambda p: good)
attempt("that of the server", "not for this connection", lambda p: p.credential)
attempt("the label of the server", "not for this connection", lambda p: munge(p.text(b"flame 1 server"), *mine))
attempt("one of something else", "not for this connection", lambda p: munge(b"something else", *mine))
attempt("an empty one", "not for this connection", lambda p: munge(b"", *mine))
attempt("garbage", "prove", lambda p: b"MUNGE:" + b"A" * 200 + b":")
attempt("garbage without form", "prove", lambda p: b"\1" * 50)
attempt("a very long one", "too long", lambda p: b"MUNGE:" + b"A" * 5000 + b":")
attempt("one for another user", "for another user", lambda p: munge(p.text(), "-u", "12345"))
attempt("none at all", "secret")
attempt("a proof by the empty secret", "secret", None, lambda p: hmac.new(b"", p.text(), hashlib.sha256).digest())
def old(p):
    credential = munge(p.text(), "-t", "1", *mine)
    time.sleep(2.1)
    return credential
attempt("an old one", "another time", old)
tried = 12
if os.geteuid() == 0:
    attempt("one of another user", "of the user 12345, not of 0", lambda p: munge(p.text(), user=12345))
    tried += 1
p = Peer()
p.answer(munge(p.text(), *mine), times=2)
expect("a second proof while the first is being looked at", p.verdict(), "expected a greeting")
tried += 1
for n in range(20):  # gone before the answer is there
    p = Peer()
    p.answer(munge(b"x", *mine))
    p.s.close()
for n in range(5):
    Peer().s.close()
    tried += 1
print("tried", tried)
sys.exit(wrong)
END_OF_PEER
run python3 peer.py "${tcp##*:}" "$FLM_MUNGE_SOCKET" \
    "$(sed -n 's/^ *FLM__PROTOCOL_VERSION = \([0-9]*\),.*/\1/p' "$FLM_SRCDIR/src/wire/frame.h")"
check_equal 'what is no credential for this connection is refused, and why is said' 0 "$status"
[ "$status" = 0 ] || printf '%s\n' "$out" "$err"
tried=${out##*tried }
wait_for 'and counted' bash -c "[ \$(flmctl -o json status | jq .refused) -ge $tried ]"

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    before=$(refused)
    install -m 755 "$FLM_BUILDDIR/bin/flmctl" flmctl-copy
    run setpriv --reuid 12345 --regid 12345 --clear-groups env HOME=/nonexistent ./flmctl-copy --endpoint "$tcp" status
    check_match 'another user does not come in' "$status $err" '^[1-9].*for another user'
    wait_for 'and is counted' bash -c "[ \$(flmctl -o json status | jq .refused) = $((before + 1)) ]"
else
    echo 'skipped - another user: needs root'
fi
ping env FLM_MUNGE_SOCKET="$TEST_DIR/other/socket"
check_match 'a client with another munge key is told so' "$status $err" '^[1-9].*same munge key'
check_equal 'still there is no secret' '' "$(secrets)"
ping env FLM_MUNGE_SOCKET="$TEST_DIR/none"
check_equal 'for a peer without munge there is one' "0 0 1" "$status $(jq -r .failed <<<"$out") $(secrets | wc -l)"
engine_end

begin --auth munge
ping env FLM_MUNGE_SOCKET="$TEST_DIR/b/socket"
check_equal 'munge of another node, as asked for' "0 0" "$status $(jq -r .failed <<<"$out")"
ping env FLM_MUNGE_SOCKET="$TEST_DIR/none"
check_match 'nothing but munge, as asked for' "$status $err" '^[1-9].*--auth=munge.*munged does not answer'
check_equal 'which is counted' '1 ' "$(refused) $(secrets)"
engine_end

begin --auth secret
ping env
check_equal 'nothing but the secret, as asked for' "0 0 1" "$status $(jq -r .failed <<<"$out") $(secrets | wc -l)"
ping env FLM_SECRET_FILE="$TEST_DIR/absent"
check_match 'munge does not help without it' "$status $err" '^[1-9].*absent'
engine_end

begin --secret-file "$TEST_DIR/named"
check_file 'a secret that is named is made' named
ping env FLM_SECRET_FILE="$TEST_DIR/named" FLM_MUNGE_SOCKET="$TEST_DIR/other/socket"
check_equal 'where munge fails the secret helps' "0 0" "$status $(jq -r .failed <<<"$out")"
ping env FLM_SECRET_FILE="$TEST_DIR/absent" FLM_MUNGE_SOCKET="$TEST_DIR/other/socket"
check_match 'where both fail both are told of' "$err" 'absent.*same munge key'
engine_end

export FLM_MUNGE_SOCKET=$TEST_DIR/b/socket
begin
kill -KILL "$munged_b"
ping env
check_equal 'munged dies: in by the secret' "0 0 1" "$status $(jq -r .failed <<<"$out") $(secrets | wc -l)"
ping env FLM_MUNGE_SOCKET="$TEST_DIR/a/socket"
check_equal "munged of flmd's node dies: in by the secret" "0 0" "$status $(jq -r .failed <<<"$out")"
engine_end
rm -rf "$HOME/.config"
run flmd --auth munge -e tcp:127.0.0.1:0 --directory "$TEST_DIR/run"
check_match 'flmd without a munged does not begin when nothing else is allowed' "$status $err" '^1 flmd: .*munged does not answer.*b/socket'
munge_start b key
begin --auth munge
kill -KILL "$(cat b/pid)"
ping env FLM_MUNGE_SOCKET="$TEST_DIR/a/socket"
check_match 'nor does it let anybody in' "$status $err" '^[1-9].*can prove itself to nobody'
check_equal 'the Unix socket needs no munge' 1 "$(refused)"
engine_end

run flmd --auth sideways
check_match 'an --auth that is none' "$status $err" '^2 .*auto, munge, secret'
run flmd --auth munge --secret-file x
check_match 'munge and a secret' "$status $err" '^2 .*--auth=munge'
