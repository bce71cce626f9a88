! flm.f90 - Flame from Fortran 2008: clients and services.
!
!     gfortran $(pkg-config --variable=fortran flm) program.f90 $(pkg-config --libs flm)
!
! It comes as source, for compiled modules fit only the compiler that made them. The names are those of
! <flm/client.h>, <flm/admin.h> and <flm/service.h>, where each function is told in full; here is what differs:
! - Texts are Fortran's, trimmed. An error is optional, its text is flm_error_text(error).
! - Options are optional arguments; not given, they are as 0 in C.
! - Inputs, outputs and common data are given by type(c_ptr), c_loc(x) of a target, and their bytes.
! - Callbacks are bind(C), with the interfaces flm_on_result, and of a service flm_on_invoke, flm_on_enter, flm_on_leave.
module flm
    use, intrinsic :: iso_c_binding
    implicit none
    private

    integer, parameter, public :: FLM_OK = 0
    integer, parameter, public :: FLM_TASK_SUCCEED = 2, FLM_TASK_FAILED = 3, FLM_TASK_CANCELLED = 4
    integer, parameter, public :: FLM_SHIM_SO = 1, FLM_SHIM_EXEC = 2, FLM_SHIM_STDIO = 3, FLM_SHIM_SELF = 4
    integer, parameter :: TEXT_MAX = 500, SERVICE_ABI = 1

    ! struct flm_error
    type, bind(C), public :: flm_error
        integer(c_int) :: code = 0
        character(kind=c_char) :: text(TEXT_MAX) = c_null_char
    end type

    ! struct flm_result; what it points to lives as long as the callback runs
    type, bind(C), public :: flm_result
        integer(c_int64_t) :: task
        integer(c_int) :: state, reason, code, attempts, executor
        type(c_ptr) :: output
        integer(c_size_t) :: size
        type(c_ptr) :: message
        integer(c_int64_t) :: object_version
    end type

    ! struct flm_session_info: lives until on_session_leave has returned, and follows updates of the common data
    type, bind(C), public :: flm_session_info
        type(c_ptr) :: session, application, common
        integer(c_size_t) :: common_size
        integer(c_int64_t) :: common_version
        integer(c_int) :: executor, cores, rank, ranks
        type(c_ptr) :: mpi_comm
    end type

    ! flm_client *, flm_session * and struct flm_task_context *; not associated: none
    type, bind(C), public :: flm_client
        type(c_ptr) :: handle = c_null_ptr
    end type
    type, bind(C), public :: flm_session
        type(c_ptr) :: handle = c_null_ptr
    end type

    abstract interface
        subroutine flm_on_result(result, arg) bind(C)
            import :: flm_result, c_ptr
            type(flm_result), intent(in) :: result
            type(c_ptr), value :: arg
        end subroutine
        ! 0, or an error that fails this task alone. task: for the flm_task_* below, as long as this runs
        function flm_on_invoke(task, state) bind(C)
            import :: c_ptr, c_int
            type(c_ptr), value :: task, state
            integer(c_int) :: flm_on_invoke
        end function
        ! 0, or an error: the executor does not enter. state: for the others, c_null_ptr until it is set
        function flm_on_enter(info, state) bind(C)
            import :: flm_session_info, c_ptr, c_int
            type(flm_session_info), intent(in), target :: info
            type(c_ptr), intent(inout) :: state
            integer(c_int) :: flm_on_enter
        end function
        subroutine flm_on_leave(state) bind(C)
            import :: c_ptr
            type(c_ptr), value :: state
        end subroutine
    end interface

    public :: flm_on_result, flm_on_invoke, flm_on_enter, flm_on_leave, flm_error_text, flm_text, flm_strerror
    public :: flm_connect, flm_disconnect, flm_register_application
    public :: flm_create_session, flm_run_task, flm_wait, flm_close_session, flm_cancel_session
    public :: flm_update_common_data, flm_alloc_buffer, flm_free_buffer
    public :: flm_service_run, flm_task_input, flm_task_output, flm_task_common, flm_task_is_cancelled

    ! The beginnings of the structures in C, whose first member tells how much of them there is.
    type, bind(C) :: connect_options
        integer(c_size_t) :: size
        type(c_ptr) :: name = c_null_ptr
    end type
    type, bind(C) :: application_options
        integer(c_size_t) :: size
        type(c_ptr) :: name = c_null_ptr
        integer(c_int) :: shim = 0, exec_mode = 0
        type(c_ptr) :: command = c_null_ptr
    end type
    type, bind(C) :: session_options
        integer(c_size_t) :: size
        type(c_ptr) :: application = c_null_ptr, id = c_null_ptr, common = c_null_ptr
        integer(c_size_t) :: common_size = 0
        integer(c_int) :: flags = 0, min_instances = 0, max_instances = 0, weight = 0
        integer(c_int) :: delay_release_ms = 0, deadline_ms = 0, retry_limit = 0
    end type
    type, bind(C) :: service_table
        integer(c_int) :: abi = SERVICE_ABI, mpi = 0
        type(c_ptr) :: name = c_null_ptr
        type(c_funptr) :: on_session_enter = c_null_funptr, on_task_invoke = c_null_funptr, &
                          on_session_leave = c_null_funptr
    end type

    interface
        function c_connect(endpoint, options, error) bind(C, name='flm_connect')
            import
            type(c_ptr), value :: endpoint
            type(connect_options), intent(in) :: options
            type(flm_error), intent(inout) :: error
            type(c_ptr) :: c_connect
        end function
        subroutine c_disconnect(client) bind(C, name='flm_disconnect')
            import
            type(c_ptr), value :: client
        end subroutine
        function c_register(client, application, replace, error) bind(C, name='flm_register_application')
            import
            type(c_ptr), value :: client
            type(application_options), intent(in) :: application
            integer(c_int), value :: replace
            type(flm_error), intent(inout) :: error
            integer(c_int) :: c_register
        end function
        function c_create_session(client, options, error) bind(C, name='flm_create_session')
            import
            type(c_ptr), value :: client
            type(session_options), intent(in) :: options
            type(flm_error), intent(inout) :: error
            type(c_ptr) :: c_create_session
        end function
        function c_run_task(session, input, size, callback, arg) bind(C, name='flm_run_task')
            import
            type(c_ptr), value :: session, input, arg
            integer(c_size_t), value :: size
            type(c_funptr), value :: callback
            integer(c_int64_t) :: c_run_task
        end function
        function c_alloc_buffer(client, size, error) bind(C, name='flm_alloc_buffer')
            import
            type(c_ptr), value :: client
            integer(c_size_t), value :: size
            type(flm_error), intent(inout) :: error
            type(c_ptr) :: c_alloc_buffer
        end function
        function c_free_buffer(client, buffer) bind(C, name='flm_free_buffer')
            import
            type(c_ptr), value :: client, buffer
            integer(c_int) :: c_free_buffer
        end function
        function c_wait(session, timeout_ms) bind(C, name='flm_wait')
            import
            type(c_ptr), value :: session
            integer(c_int), value :: timeout_ms
            integer(c_int) :: c_wait
        end function
        function c_close_session(session, error) bind(C, name='flm_close_session')
            import
            type(c_ptr), value :: session
            type(flm_error), intent(inout) :: error
            integer(c_int) :: c_close_session
        end function
        function c_cancel_session(session, error) bind(C, name='flm_cancel_session')
            import
            type(c_ptr), value :: session
            type(flm_error), intent(inout) :: error
            integer(c_int) :: c_cancel_session
        end function
        function c_update_common(session, data, size, version, error) bind(C, name='flm_update_common_data')
            import
            type(c_ptr), value :: session, data
            integer(c_size_t), value :: size
            integer(c_int64_t), intent(out) :: version
            type(flm_error), intent(inout) :: error
            integer(c_int) :: c_update_common
        end function
        function c_strerror(code) bind(C, name='flm_strerror')
            import
            integer(c_int), value :: code
            type(c_ptr) :: c_strerror
        end function
        function c_service_run(service, argc, argv) bind(C, name='flm_service_run')
            import
            type(service_table), intent(in) :: service
            integer(c_int), value :: argc
            type(c_ptr), value :: argv
            integer(c_int) :: c_service_run
        end function
        function c_task_input(task, size) bind(C, name='flm_task_input')
            import
            type(c_ptr), value :: task
            integer(c_size_t), intent(out) :: size
            type(c_ptr) :: c_task_input
        end function
        function c_task_output(task, size) bind(C, name='flm_task_output')
            import
            type(c_ptr), value :: task
            integer(c_size_t), value :: size
            type(c_ptr) :: c_task_output
        end function
        function c_task_common(task, size, version) bind(C, name='flm_task_common')
            import
            type(c_ptr), value :: task
            integer(c_size_t), intent(out) :: size
            integer(c_int64_t), intent(out) :: version
            type(c_ptr) :: c_task_common
        end function
        function c_task_cancelled(task) bind(C, name='flm_task_cancelled')
            import
            type(c_ptr), value :: task
            logical(c_bool) :: c_task_cancelled
        end function
        function c_strlen(text) bind(C, name='strlen')
            import
            type(c_ptr), value :: text
            integer(c_size_t) :: c_strlen
        end function
    end interface

contains

    ! ---- texts ----

    ! A text of C
    function flm_text(text)
        type(c_ptr), intent(in) :: text
        character(:), allocatable :: flm_text
        character(kind=c_char), pointer :: letters(:)
        integer :: i, n
        n = 0
        if (c_associated(text)) n = int(c_strlen(text))
        allocate (character(n) :: flm_text)
        if (n > 0) call c_f_pointer(text, letters, [n])
        do i = 1, n
            flm_text(i:i) = letters(i)
        end do
    end function

    function flm_error_text(error)
        type(flm_error), intent(in) :: error
        character(:), allocatable :: flm_error_text
        integer :: i
        flm_error_text = ''
        do i = 1, TEXT_MAX
            if (error%text(i) == c_null_char) exit
            flm_error_text = flm_error_text//error%text(i)
        end do
    end function

    function flm_strerror(code)
        integer, intent(in) :: code
        character(:), allocatable :: flm_strerror
        flm_strerror = flm_text(c_strerror(int(code, c_int)))
    end function

    ! A text for C
    pure function terminated(text)
        character(*), intent(in) :: text
        character(len_trim(text) + 1, c_char) :: terminated
        terminated = trim(text)//c_null_char
    end function

    subroutine give(own, error)
        type(flm_error), intent(in) :: own
        type(flm_error), intent(out), optional :: error
        if (present(error)) error = own
    end subroutine

    ! ---- clients ----

    ! endpoint: default FLM_ENDPOINT, as in C. Not associated: error says why
    function flm_connect(endpoint, error) result(client)
        character(*), intent(in), optional :: endpoint
        type(flm_error), intent(out), optional :: error
        type(flm_client) :: client
        character(:, c_char), allocatable, target :: where
        type(connect_options) :: options
        type(flm_error) :: own
        type(c_ptr) :: to
        to = c_null_ptr
        if (present(endpoint)) then
            where = terminated(endpoint)
            to = c_loc(where)
        end if
        options = connect_options(size=c_sizeof(options))
        client%handle = c_connect(to, options, own)
        call give(own, error)
    end function

    subroutine flm_disconnect(client)
        type(flm_client), intent(inout) :: client
        call c_disconnect(client%handle)
        client%handle = c_null_ptr
    end subroutine

    ! command: the program, and its arguments
    function flm_register_application(client, name, shim, command, error) result(rc)
        type(flm_client), intent(in) :: client
        character(*), intent(in) :: name, command(:)
        integer, intent(in) :: shim
        type(flm_error), intent(out), optional :: error
        integer :: rc, i
        character(:, c_char), allocatable, target :: c_name
        character(len(command) + 1, c_char), allocatable, target :: words(:)
        type(c_ptr), allocatable, target :: list(:)
        type(application_options) :: application
        type(flm_error) :: own
        c_name = terminated(name)
        allocate (words(size(command)), list(size(command) + 1))
        do i = 1, size(command)
            words(i) = terminated(command(i))
            list(i) = c_loc(words(i))
        end do
        list(size(command) + 1) = c_null_ptr
        application = application_options(size=c_sizeof(application), name=c_loc(c_name), &
                                          shim=int(shim, c_int), command=c_loc(list))
        rc = c_register(client%handle, application, 1_c_int, own)
        call give(own, error)
    end function

    function flm_create_session(client, application, error, common, common_size, max_instances, &
                                deadline_ms) result(session)
        type(flm_client), intent(in) :: client
        character(*), intent(in) :: application
        type(flm_error), intent(out), optional :: error
        type(c_ptr), intent(in), optional :: common
        integer(c_size_t), intent(in), optional :: common_size
        integer, intent(in), optional :: max_instances, deadline_ms
        type(flm_session) :: session
        character(:, c_char), allocatable, target :: c_name
        type(session_options) :: options
        type(flm_error) :: own
        c_name = terminated(application)
        options = session_options(size=c_sizeof(options), application=c_loc(c_name))
        if (present(common)) options%common = common
        if (present(common_size)) options%common_size = common_size
        if (present(max_instances)) options%max_instances = int(max_instances, c_int)
        if (present(deadline_ms)) options%deadline_ms = int(deadline_ms, c_int)
        session%handle = c_create_session(client%handle, options, own)
        call give(own, error)
    end function

    ! The id of the task, or a negative error. arg: for callback
    function flm_run_task(session, input, size, callback, arg) result(task)
        type(flm_session), intent(in) :: session
        type(c_ptr), intent(in) :: input
        integer(c_size_t), intent(in) :: size
        procedure(flm_on_result) :: callback
        type(c_ptr), intent(in), optional :: arg
        integer(c_int64_t) :: task
        type(c_ptr) :: given
        given = c_null_ptr
        if (present(arg)) given = arg
        task = c_run_task(session%handle, input, size, c_funloc(callback), given)
    end function

    ! Memory for large inputs, which the executors of the node share; c_null_ptr: error says why
    function flm_alloc_buffer(client, size, error) result(buffer)
        type(flm_client), intent(in) :: client
        integer(c_size_t), intent(in) :: size
        type(flm_error), intent(out), optional :: error
        type(c_ptr) :: buffer
        type(flm_error) :: own
        buffer = c_alloc_buffer(client%handle, size, own)
        call give(own, error)
    end function

    function flm_free_buffer(client, buffer) result(rc)
        type(flm_client), intent(in) :: client
        type(c_ptr), intent(in) :: buffer
        integer :: rc
        rc = c_free_buffer(client%handle, buffer)
    end function

    ! New common data, size bytes, which are copied; version: what they are called then
    function flm_update_common_data(session, data, size, version, error) result(rc)
        type(flm_session), intent(in) :: session
        type(c_ptr), intent(in) :: data
        integer(c_size_t), intent(in) :: size
        integer(c_int64_t), intent(out), optional :: version
        type(flm_error), intent(out), optional :: error
        integer :: rc
        integer(c_int64_t) :: called
        type(flm_error) :: own
        called = 0
        rc = c_update_common(session%handle, data, size, called, own)
        if (present(version)) version = called
        call give(own, error)
    end function

    ! timeout_ms: default for ever
    function flm_wait(session, timeout_ms) result(rc)
        type(flm_session), intent(in) :: session
        integer, intent(in), optional :: timeout_ms
        integer :: rc
        integer(c_int) :: ms
        ms = -1
        if (present(timeout_ms)) ms = int(timeout_ms, c_int)
        rc = c_wait(session%handle, ms)
    end function

    function flm_close_session(session, error) result(rc)
        type(flm_session), intent(inout) :: session
        type(flm_error), intent(out), optional :: error
        integer :: rc
        type(flm_error) :: own
        rc = c_close_session(session%handle, own)
        session%handle = c_null_ptr
        call give(own, error)
    end function

    function flm_cancel_session(session, error) result(rc)
        type(flm_session), intent(inout) :: session
        type(flm_error), intent(out), optional :: error
        integer :: rc
        type(flm_error) :: own
        rc = c_cancel_session(session%handle, own)
        session%handle = c_null_ptr
        call give(own, error)
    end function

    ! ---- services ----

    ! The program is the executor (shim self), and this its life: its result is the status to stop with
    function flm_service_run(name, on_task_invoke, on_session_enter, on_session_leave) result(status)
        character(*), intent(in) :: name
        procedure(flm_on_invoke) :: on_task_invoke
        procedure(flm_on_enter), optional :: on_session_enter
        procedure(flm_on_leave), optional :: on_session_leave
        integer :: status
        character(:, c_char), allocatable, target :: c_name
        type(c_ptr), target :: argv(2)
        type(service_table) :: service
        c_name = terminated(name)
        argv = [c_loc(c_name), c_null_ptr]
        service = service_table(name=c_loc(c_name), on_task_invoke=c_funloc(on_task_invoke))
        if (present(on_session_enter)) service%on_session_enter = c_funloc(on_session_enter)
        if (present(on_session_leave)) service%on_session_leave = c_funloc(on_session_leave)
        status = c_service_run(service, 1_c_int, c_loc(argv))
    end function

    function flm_task_input(task, size) result(input)
        type(c_ptr), intent(in) :: task
        integer(c_size_t), intent(out) :: size
        type(c_ptr) :: input
        input = c_task_input(task, size)
    end function

    ! Room for the output, to be filled; not associated: no memory
    function flm_task_output(task, size) result(output)
        type(c_ptr), intent(in) :: task
        integer(c_size_t), intent(in) :: size
        type(c_ptr) :: output
        output = c_task_output(task, size)
    end function

    ! The session's common data as they are for this task, read-only; not associated: there are none
    function flm_task_common(task, size, version) result(common)
        type(c_ptr), intent(in) :: task
        integer(c_size_t), intent(out) :: size
        integer(c_int64_t), intent(out), optional :: version
        type(c_ptr) :: common
        integer(c_int64_t) :: called
        size = 0
        called = 0
        common = c_task_common(task, size, called)
        if (present(version)) version = called
    end function

    function flm_task_is_cancelled(task) result(cancelled)
        type(c_ptr), intent(in) :: task
        logical :: cancelled
        cancelled = logical(c_task_cancelled(task))
    end function
end module
