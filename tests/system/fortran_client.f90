! A client and a service in Fortran for example_build.sh: outputs, a task that fails, common data and their update,
! entering and leaving a session, a session that cannot be.
module squares
    use, intrinsic :: iso_c_binding
    use flm
    implicit none
    integer(c_int), target :: sum = 0
    integer :: succeeded = 0
    integer(c_int), target :: entered_with = 0
    character(1000) :: left ! a file that a service writes when it leaves
contains

    ! What it found is the state.
    function enter(info, state) bind(C) result(code)
        type(flm_session_info), intent(in), target :: info
        type(c_ptr), intent(inout) :: state
        integer(c_int) :: code
        integer(c_int), pointer :: factor
        code = 3
        if (flm_text(info%application) /= 'squares' .or. info%ranks /= 1 .or. info%common_version < 1) return
        if (info%common_size /= c_sizeof(factor)) return
        call c_f_pointer(info%common, factor)
        entered_with = factor
        state = c_loc(entered_with)
        code = 0
    end function

    subroutine leave(state) bind(C)
        type(c_ptr), value :: state
        integer(c_int), pointer :: found
        integer :: unit
        call c_f_pointer(state, found)
        open (newunit=unit, file=left)
        write (unit, '(i0)') found
        close (unit)
    end subroutine

    function invoke(task, state) bind(C) result(code)
        type(c_ptr), value :: task, state
        integer(c_int) :: code
        integer(c_int), pointer :: number, answer, factor
        integer(c_size_t) :: bytes
        integer(c_int64_t) :: version
        code = 7
        call c_f_pointer(flm_task_common(task, bytes, version), factor)
        if (bytes /= c_sizeof(factor) .or. version /= factor) return
        call c_f_pointer(flm_task_input(task, bytes), number)
        if (number < 0 .or. .not. c_associated(state) .or. flm_task_is_cancelled(task)) return
        call c_f_pointer(flm_task_output(task, bytes), answer)
        answer = number * factor
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

    subroutine add_first(result, arg) bind(C)
        type(flm_result), intent(in) :: result
        type(c_ptr), value :: arg
        integer(c_int), pointer :: total, answer
        call c_f_pointer(arg, total)
        if (result%state /= FLM_TASK_SUCCEED .or. result%size /= 400000) return
        call c_f_pointer(result%output, answer)
        total = answer
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
    integer(c_int), target :: i, factor
    integer(c_int64_t) :: task, version
    integer :: rc, unit

    call get_command_argument(0, program)
    call get_command_argument(1, argument)
    if (argument == 'service') then
        call get_command_argument(2, left)
        rc = flm_service_run('squares', invoke, enter, leave)
        stop
    end if
    client = flm_connect(error=error)
    rc = flm_register_application(client, 'squares', FLM_SHIM_SELF, &
                                  [character(1000) :: program, 'service', trim(program)//'.left'])
    if (rc /= FLM_OK) error stop 'not registered'
    factor = 1 ! as is the version of the common data
    session = flm_create_session(client, 'squares', error, c_loc(factor), c_sizeof(factor), max_instances=1, &
                                 deadline_ms=100000)
    do i = 0, 9
        task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    end do
    if (task /= 10) error stop 'ten tasks have ids up to ten'
    if (flm_wait(session) /= FLM_OK) error stop 'not waited'
    print '(a, i0, a, i0, a)', 'sum ', sum, ', ', succeeded, ' succeeded'
    factor = 2
    if (flm_update_common_data(session, c_loc(factor), c_sizeof(factor), version, error) /= FLM_OK) &
        error stop 'not updated'
    sum = 0
    i = 21
    task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    if (flm_wait(session) /= FLM_OK) error stop 'not waited'
    print '(a, i0, a, i0)', 'version ', version, ' of the common data: ', sum
    if (flm_update_common_data(session, c_loc(factor), 0_c_size_t, error=error) == FLM_OK) error stop 'of no bytes'
    call from_buffer()
    i = -1
    task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    if (flm_close_session(session) /= FLM_OK) error stop 'not closed'
    ! With one executor the next session's first task comes after it has left this one.
    factor = 1
    session = flm_create_session(client, 'squares', error, c_loc(factor), c_sizeof(factor))
    i = 0
    task = flm_run_task(session, c_loc(i), c_sizeof(i), add, c_loc(sum))
    if (flm_close_session(session) /= FLM_OK) error stop 'not closed again'
    open (newunit=unit, file=trim(program)//'.left', status='old', action='read')
    read (unit, *) i
    close (unit)
    print '(a, i0)', 'left what it had entered with ', i
    session = flm_create_session(client, 'cubes', error)
    text = flm_error_text(error)
    if (.not. c_associated(session%handle)) print '(2a)', 'cannot: ', text(1:min(len(text), 23))
    deallocate (text) ! the leak checker counts what a main program keeps
    call flm_disconnect(client)

contains

    ! An input in memory that the node shares.
    subroutine from_buffer()
        integer(c_int), pointer :: large(:)
        type(c_ptr) :: buffer
        buffer = flm_alloc_buffer(client, 400000_c_size_t, error)
        if (.not. c_associated(buffer)) error stop 'no buffer'
        call c_f_pointer(buffer, large, [100000])
        large(1) = 17
        sum = 0
        task = flm_run_task(session, buffer, 400000_c_size_t, add_first, c_loc(sum))
        if (flm_wait(session) /= FLM_OK .or. sum /= 34) error stop 'not from the buffer'
        if (flm_free_buffer(client, buffer) /= FLM_OK) error stop 'not freed'
        if (flm_free_buffer(client, buffer) == FLM_OK) error stop 'freed twice'
        if (c_associated(flm_alloc_buffer(client, 0_c_size_t))) error stop 'a buffer of no bytes'
    end subroutine
end program
