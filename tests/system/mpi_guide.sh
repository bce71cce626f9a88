#!/bin/bash
# The programs in doc/mpi.md are compiled and run with each MPI: what a program was before and what it is after give the
# same. ADLB is nowhere packaged: what uses it is compiled only, with its functions as they are declared here.
. "${FLM_SRCDIR:?run me by make check}/tests/system/lib.sh"
. "$FLM_SRCDIR/tests/system/mpi.sh"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
export XDG_RUNTIME_DIR=$TEST_DIR/x LD_LIBRARY_PATH=$FLM_BUILDDIR/lib/.libs
# The compiler of the build, in the wrappers of both.
export OMPI_CC=${FLM_TEST_CC:-cc} MPICH_CC=${FLM_TEST_CC:-cc}
mkdir -m 700 "$XDG_RUNTIME_DIR"

# Each block of C is the file that its first line names.
awk '/^```c$/ { getline; file = $2; if ($0 !~ /^\/\* [a-z]+\.c \*\/$/) exit 1; inside = 1; next }
     /^```/ { inside = 0 }
     inside { print > file }' "$FLM_SRCDIR/doc/mpi.md" || not_ok 'each block of C names its file'
check_equal 'the programs of doc/mpi.md' 'adlb.c master.c tasks.c' "$(echo *.c)"

mkdir adlb
cat >adlb/adlb.h <<'END'
#include <mpi.h>
#define ADLB_SUCCESS 1
#define ADLB_HANDLE_SIZE 5
int ADLB_Init(int servers, int debug_server, int flag, int n, int *types, int *server, int *debug, MPI_Comm *comm);
int ADLB_Server(double memory, double period);
int ADLB_Put(void *work, int length, int target, int answer, int type, int priority);
int ADLB_Reserve(int *wanted, int *type, int *priority, int *handle, int *length, int *answer);
int ADLB_Get_reserved(void *work, int *handle);
int ADLB_Set_problem_done(void);
int ADLB_Finalize(void);
END

compiler() { # of $mpi
    local name
    for name in "mpicc.$mpi" mpicc; do
        command -v "$name" >/dev/null && "$name" -show 2>/dev/null | grep -q "$mpi" && echo "$name" && return
    done
}

for mpi in $mpis; do
    find_mpi "$mpi"
    mpicc=$(compiler)
    if [ -z "$mpicc" ]; then
        ok "$mpi: its compiler is not here"
        continue
    fi
    flags=(-Wall -Wextra -Werror -I. -I"$FLM_SRCDIR/include")
    check "$mpi: the program with ADLB is C" "$mpicc" "${flags[@]}" -c adlb.c -o adlb.o
    check "$mpi: the one with a master is compiled" "$mpicc" "${flags[@]}" master.c -o master
    check "$mpi: the one with tasks" "$mpicc" "${flags[@]}" ${FLM_TEST_SANITIZERS:+-fsanitize="$FLM_TEST_SANITIZERS"} tasks.c -o tasks \
        -L"$LD_LIBRARY_PATH" "-lflm_mpi$([ "$mpi" = openmpi ] || echo ch)" -lflm
    for program in master tasks; do
        run timeout 120 "$launcher" -n 3 "./$program"
        check_equal "$mpi: $program" '0 the sum is 332833500' "$status $out"
    done
done
