#!/bin/bash
# The example service for the shim stdio, as its README says, and what becomes of a service that fails.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
command -v python3 >/dev/null || skip 'there is no python3'
ask=$FLM_BUILDDIR/examples/services/ask

run flmrun -n 2 -- sh -c "flmctl register '$FLM_SRCDIR/examples/services/upper.app' >/dev/null && '$ask' upper one 'zwei drei' é"
check_equal 'the service answers' $'1: ONE\n2: ZWEI DREI\n3: É' "$(sort <<<"$out")"
check_equal 'and all is well' 0 "$status"

cat >bad.py <<'S'
import os, sys
if os.environ.get("FLM_SESSION_ID", "") == "":
    sys.exit(9)
print("hello from the service", file=sys.stderr)
source = open(os.environ["UPPER"]).read().replace("return data.decode().upper().encode()", """
    text = data.decode()
    if text.startswith("exit"):
        os._exit(7)
    if text == "print":
        print("this goes to the logs")
    if text == "raise":
        raise ValueError("no good: " + text)
    return text.upper().encode()""")
exec(compile(source, "bad.py", "exec"))
S
printf '[application]\nname = bad\nshim = stdio\ncommand = python3 %s/bad.py\nenvironment = UPPER=%s\n' \
    "$TEST_DIR" "$FLM_SRCDIR/examples/services/upper.py" >bad.app
run flmrun -n 1 -- sh -c "flmctl register bad.app >/dev/null && '$ask' bad a exit print raise b"
check_equal 'a task that ends its service fails alone' $'1: A\n3: PRINT\n5: B' "$(sort <<<"$out")"
check_contains 'with its exit status' "$err" 'task 2 failed (exit 7)'
check_contains 'an exception fails its task' "$err" 'no good: raise'

printf '[application]\nname = none\nshim = stdio\ncommand = sh -c "exit 4"\n' >none.app
run flmrun -n 1 -- sh -c "flmctl register none.app >/dev/null && timeout 60 '$ask' none a b"
check_equal 'a service that does not start fails the tasks' 1 "$status"
check_contains 'and says why' "$err" 'status 4'

# Not by Flame, and what is no text: a sentence, not a trace of the interpreter.
run sh -c "echo hello, service, are you there | python3 '$FLM_SRCDIR/examples/services/upper.py'"
check_equal 'a person who starts the service is told' '1 upper.py: what comes on standard input is not the protocol of the shim stdio' \
    "$status $err"
run flmrun -n 1 -- sh -c "flmctl register '$FLM_SRCDIR/examples/services/upper.app' >/dev/null && '$ask' upper \"\$(printf 'a\\377')\""
check_contains 'what is no text fails with a sentence' "$err" 'no UTF-8 text: byte 1'
