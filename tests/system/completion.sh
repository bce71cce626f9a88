#!/bin/bash
# Completion of command lines, as bash would ask for it.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/doc/completion/flame.bash"

# try WORD...: completes the last; fills $got, one candidate a line.
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    local prev=''
    [ $# -lt 2 ] || prev=${COMP_WORDS[COMP_CWORD - 1]}
    _flame "$1" "${COMP_WORDS[COMP_CWORD]}" "$prev" 2>/dev/null
    got=$(printf '%s\n' "${COMPREPLY[@]}")
}

# Programs with --help of our own making, to know what there is.
mkdir fake
cat >fake/flmctl <<'S'
#!/bin/sh
case "$*" in
    --help) printf '%s\n' 'Usage: flmctl' '' '  list        lists' '  view ID     shows' '' \
        '  -o, --output=FORMAT    table' '      --endpoint=ENDPOINT' '  -?, --help' ;;
    'list --help') echo '  -s, --sessions' ;;
    'list -s -o csv') printf '%s\n' ID,State one,Open '"two",Open' ;;
    'list -a -o csv') printf '%s\n' Name,Shim pi,so ;;
esac
S
cp fake/flmctl fake/flmrun
chmod +x fake/*
ctl=$TEST_DIR/fake/flmctl

try "$ctl" --o
check_equal 'an option' '--output=' "$got"
try "$ctl" ''
check_equal 'commands' $'list\nview' "$got"
try "$ctl" list --s
check_equal 'an option of a command' --sessions "$got"
try "$ctl" -o json ''
check_equal 'commands behind an option' $'list\nview' "$got"
try "$ctl" view ''
check_equal 'sessions' $'one\ntwo' "$got"
try "$ctl" view t
check_equal 'the session that begins so' two "$got"
try "$ctl" create ''
check_equal 'applications' pi "$got"
try "$ctl" -o ''
check_equal 'values of an option' $'table\njson\ncsv' "$got"
try "$ctl" --output = j
check_equal 'values behind =' json "$got"
try "$TEST_DIR/fake/flmrun" --bind = ''
check_equal 'kinds of binding' $'core\nl3\nnuma\nnone' "$got"
try "$TEST_DIR/fake/flmrun" --backend = ''
check_equal 'backends' $'local\nslurm\npbs' "$got"
try "$TEST_DIR/fake/flmrun" --interface l
check_contains 'interfaces' "$got" lo
touch app.conf
try "$ctl" register app
check_equal 'files' app.conf "$got"
try "$TEST_DIR/fake/flmrun" -- bash_no_such
check_equal 'no command of that name' '' "$got"
try "$TEST_DIR/fake/flmrun" -n 2 -- ech
check_contains 'a command to run' "$got" echo
try "$TEST_DIR/fake/flmrun" -- cat app
check_equal 'and its files' app.conf "$got"

# The real programs.
for program in ${FLM_TEST_COMMANDS:?}; do
    name=$(basename "$program")
    check_contains "$name has a completion" "$(complete -p "$name" 2>&1)" '-F _flame'
    try "$FLM_BUILDDIR/$program" --hel
    check_equal "$name: --help" --help "$got"
done
