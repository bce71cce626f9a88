! pi in Fortran, client and service in one program:
!
!     gfortran -o pi $(pkg-config --variable=fortran flm) pi.f90 $(pkg-config --libs flm)
!     flmrun -- ./pi 1000
!
! The client registers the program itself, with the argument "service", and submits the strips of the integral of
! 4 / (1 + x^2) from 0 to 1; each executor is then this program, too.
module strips
    use, intrinsic :: iso_c_binding
    use flm
    implicit none

    integer, parameter :: STEPS = 100000

    type, bind(C) :: strip
        integer(c_int64_t) :: number, of
    end type

    type, bind(C) :: total
        real(c_double) :: pi
        integer(c_int) :: failed
    end type

contains

    ! In the executors
    function invoke(task, state) bind(C) result(code)
        type(c_ptr), value :: task, state
        integer(c_int) :: code
        type(strip), pointer :: s
        real(c_double), pointer :: area
        real(c_double) :: width, x
        type(c_ptr) :: input, output
        integer(c_size_t) :: bytes
        integer :: i
        input = flm_task_input(task, bytes)
        output = flm_task_output(task, c_sizeof(x))
        code = 1
        if (bytes /= 16 .or. c_associated(state) .or. .not. c_associated(output)) return
        call c_f_pointer(input, s)
        call c_f_pointer(output, area)
        code = 2
        if (s%number < 0 .or. s%number >= s%of) return
        width = 1 / real(s%of, c_double) / STEPS
        area = 0
        do i = 1, STEPS
            x = (real(s%number, c_double) * STEPS + i - 0.5_c_double) * width
            area = area + 4 / (1 + x * x) * width
        end do
        code = 0
    end function

    ! In the client, inside flm_close_session and flm_run_task
    subroutine add(result, arg) bind(C)
        type(flm_result), intent(in) :: result
        type(c_ptr), value :: arg
        type(total), pointer :: sum
        real(c_double), pointer :: area
        call c_f_pointer(arg, sum)
        if (result%state == FLM_TASK_SUCCEED) then
            call c_f_pointer(result%output, area)
            sum%pi = sum%pi + area
        else
            sum%failed = sum%failed + 1
            print '(a, i0, 2a)', 'pi: task ', result%task, ' failed: ', flm_text(result%message)
        end if
    end subroutine
end module

program pi
    use, intrinsic :: iso_c_binding
    use, intrinsic :: iso_fortran_env, only: error_unit
    use flm
    use strips
    implicit none
    character(1000) :: argument, program
    integer(c_int64_t) :: tasks
    integer :: status

    call get_command_argument(0, program)
    call get_command_argument(1, argument)
    if (argument == 'service') then
        status = flm_service_run('pi-strips', invoke)
        if (status /= 0) error stop 1
        stop
    end if
    tasks = 1000
    if (argument /= '') read (argument, *, iostat=status) tasks
    call compute()

contains

    subroutine give_up(error)
        type(flm_error), intent(in) :: error
        write (error_unit, '(2a)') 'pi: ', flm_error_text(error)
        stop 1
    end subroutine

    subroutine compute()
        type(flm_client) :: client
        type(flm_session) :: session
        type(flm_error) :: error
        type(strip), target :: s
        type(total), target :: sum
        integer(c_int64_t) :: i
        client = flm_connect(error=error)
        if (.not. c_associated(client%handle)) call give_up(error)
        if (flm_register_application(client, 'pi-fortran', FLM_SHIM_SELF, [character(1000) :: program, 'service'], &
                                     error) < 0) call give_up(error)
        session = flm_create_session(client, 'pi-fortran', error)
        if (.not. c_associated(session%handle)) call give_up(error)
        sum = total(0, 0)
        do i = 0, tasks - 1
            s = strip(i, tasks)
            if (flm_run_task(session, c_loc(s), c_sizeof(s), add, c_loc(sum)) < 0) exit
        end do
        if (flm_close_session(session, error) < 0) call give_up(error)
        call flm_disconnect(client)
        if (sum%failed > 0) stop 1
        print '(a, f0.12, a, es7.1)', 'pi is ', sum%pi, ', off by ', abs(sum%pi - acos(-1.0_c_double))
    end subroutine
end program
