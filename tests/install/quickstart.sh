#!/bin/bash
# A stranger's first hour: clone, ./quickstart --prefix DIR, delete the clone, go on working.
# Not part of make check, since it builds everything once more; ./run-tests runs it.
FLM_SRCDIR=${FLM_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
FLM_BUILDDIR=${FLM_BUILDDIR:-/nonexistent}
. "$FLM_SRCDIR/tests/system/lib.sh"

prefix=$TEST_DIR/installed
git clone -q "$FLM_SRCDIR" clone 2>/dev/null || skip 'this is not a git checkout'

check './quickstart --help' clone/quickstart --help
check_contains 'which speaks of --prefix' "$out" --prefix
check_status './quickstart with a wrong option' 2 clone/quickstart --prefx
check_contains 'which says what to do' "$err" --help

check './quickstart --prefix' clone/quickstart --no-packages --prefix "$prefix"
check_contains 'estimates pi' "$out" 3.14
check_match 'says how sure it is' "$out" 'estimate .*(±|\+/?-)'
check_match 'and how many tasks a second' "$out" 'tasks/s'
result=$(grep -oE '[^ ]*\.h5' <<<"$out" | head -n 1)
check_match 'and where the results are' "$result" 'h5$'
first=$SECONDS
check './quickstart again' clone/quickstart --no-packages
again=$((SECONDS - first))
echo "# again took $again s"

rm -rf clone
mkdir elsewhere
cd elsewhere || exit 1
PATH=$prefix/bin:${PATH#*:}
check 'without the clone flmrun works' flmrun -n 2 -- flmping -t 1000
check 'and flmexec' flmrun -n 2 -- flmexec -- echo {} ::: one two
check_equal 'in order' $'one\ntwo' "$out"
for program in flmrun flmctl flmping flmexec flmd; do
    check_file "the manual page of $program" "$(echo "$prefix"/share/man/man1/$program.1*)"
    check_file "the completion of $program" "$prefix/share/bash-completion/completions/$program"
done
check_file 'the manual page of a function' "$(echo "$prefix"/share/man/man3/flm_invoke.3*)"

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
cat >client.c <<'C'
#include <flm/client.h>
#include <stdio.h>
int main(void)
{
    flm_error error;
    flm_client *client = flm_connect(NULL, NULL, &error);
    puts(client ? "connected" : error.text);
    flm_disconnect(client);
    return client ? 0 : 1;
}
C
# shellcheck disable=SC2046
check 'a client is built with pkg-config' cc client.c -o client $(pkg-config --cflags --libs flm)
check 'and connects' flmrun -n 1 -- ./client
check_equal 'and says so' connected "$out"
