# Tests with MPI source this after lib.sh.
# shellcheck shell=bash disable=SC2034

# find_mpi openmpi|mpich: whether Flame was built with it and its launcher is here. Sets mpi, launcher, and the
# endings of what is compiled with it: of programs (program$dash) and of services (service$under.so).
find_mpi() {
    mpi=$1
    case $mpi in
    openmpi) dash='' under='' launchers='mpirun.openmpi mpirun' ;;
    mpich) dash=-mpich under=_mpich launchers='mpiexec.hydra' ;;
    esac
    launcher=$(for name in $launchers; do command -v "$name" && break; done)
    [ -n "$launcher" ] && [ -e "$FLM_BUILDDIR/tests/system/mpi_task$dash" ]
}

# Those that are here, one a line; without any the test is skipped.
mpis=$(for each in openmpi mpich; do ! find_mpi "$each" || echo "$each"; done)
[ -n "$mpis" ] || skip 'built without MPI, or its launcher is not here'
