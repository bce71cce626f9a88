! A client and a service in Fortran for example_build.sh: outputs, a task that fails, a session that cannot be.
module squares
    use, intrinsic :: iso_c_binding
    use flm
    implicit none
    integer(c_int), target :: sum = 0
    integer :: succeeded = 0
contains

    function invoke(task, state) bind(C) result(code)
        type(c_ptr), value :: task, state
        integer(c_int) :: code
        integer(c_int), pointer :: number, answer
        integer(c_size_t) :: bytes
        code = 7
        call c_f_pointer(flm_task_input(task, bytes), number)
        if (number < 0 .or. c_associated(state) .or. flm_task_is_cancelled(task)) return
        call c_f_pointer(flm_task_output(task, bytes), answer)
        answer = number
        code = 0
    end function

    subroutine add(result, arg) bind(C)
        type(flm_result), intent(in) :: result
        type(c_ptr), value :: arg
        integer(c_int), pointer :: total, answer
        call c_f_pointer(arg, total)
        if (result%state == FLM_TASK_SUCCEED .and. result%size == 4) then
            call c_f_pointer(result%output, answer)
            total = total + answer
            succeeded = succeeded + 1
        else
            print '(a, i0, 2a)', 'failed with ', result%code, ': ', flm_text(result%message)
        end if
    end subroutine
end module

program fortran_client
    use, intrinsic :: iso_c_binding
    use flm
    use squares
    implicit none
    character(1000) :: argument, program
    type(flm_client) :: client
    type(flm_session) :: session
    type(flm_error) :: error
    character(:), allocatable :: text
    integer(c_int), target :: i
    integer(c_int64_t) :: task
    integer :: rc

    call get_command_argument(0, program)
    call get_command_argument(1, argument)
    if (argument == 'service') then
        rc = flm_service_run('squares', invoke)
        stop
    end if
    client = flm_connect(error=error)
    rc = flm_register_application(client, 'squares', FLM_SHIM_SELF, [character(1000) :: program, 'service'])
    if (rc /= FLM_OK) error stop 'not registered'
    session = flm_create_session(client, 'squares', error, deadline_ms=100000, max_instances=1)
    do i = 0, 9
        task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    end do
    if (task /= 10) error stop 'ten tasks have ids up to ten'
    if (flm_wait(session) /= FLM_OK) error stop 'not waited'
    print '(a, i0, a, i0, a)', 'sum ', sum, ', ', succeeded, ' succeeded'
    i = -1
    task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    if (flm_close_session(session) /= FLM_OK) error stop 'not closed'
    session = flm_create_session(client, 'cubes', error)
    text = flm_error_text(error)
    if (.not. c_associated(session%handle)) print '(2a)', 'cannot: ', text(1:min(len(text), 23))
    deallocate (text) ! the leak checker counts what a main program keeps
    call flm_disconnect(client)
end program
