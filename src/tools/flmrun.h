/* tools/flmrun.h - what the parts of flmrun share.
 *
 * flmrun.c has the course of events, flmrun_options.c the command line, flmrun_instance.c the private
 * directory and what dead instances left, flmrun_processes.c the processes of an instance,
 * flmrun_job.c the job that we are in, flmrun_start.c how flmd and CMD are started, flmrun_children.c what
 * becomes of them. flm-instance (flm_instance.c) is made of the last five, too.
 */
#ifndef TOOLS_FLMRUN_H
#define TOOLS_FLMRUN_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* As env(1) and timeout(1) use them. */
enum flmrun_status {
    STATUS_USAGE = 2,
    STATUS_TIMEOUT = 124,
    STATUS_OURS = 125, /* flmrun itself, or the session manager, failed */
    STATUS_CANNOT = 126,
    STATUS_NOT_FOUND = 127,
};

struct flmrun_options {
    const char *slots; /* checked numbers, as they are passed on; NULL: flmd's default */
    const char *cores_per_slot;
    const char *bind;
    const char *nodes;
    const char *backend; /* "local", "slurm", "pbs"; chosen by flmrun_parse */
    const char *interface, *auth;
    unsigned min_nodes, max_nodes; /* with jobs of our own; max 0: none */
    const char *site_options, *block_time;
    const char *provider;
    const char *object_memory, *node_object_memory, *object_spill, *object_spill_limit;
    const char *wrap;
    const char *wrap_executor;
    const char *state_dir; /* NULL: nothing is durable */
    bool resume;
    bool spread, verbose, keep_logs;
    double timeout_s; /* 0: none */
    double grace_s;
    char **command; /* NULL-terminated */
    /* For flm-instance only. */
    const char *name;           /* of the directory in place of a random one */
    const char *slots_per_node; /* in place of slots */
    int listen_fd;              /* a TCP socket for flmd; 0: none */
    char *const
        *manager_options; /* for flmd, verbatim; NULL, or NULL-terminated and at most MANAGER_OPTIONS */
};

enum { MANAGER_OPTIONS = 32 };

/* Exits on --help and on a mistake (status 2). */
void flmrun_parse(struct flmrun_options *options, int argc, char **argv);

enum { SOCKET_PATH_MAX = 108 };

struct instance {
    char directory[SOCKET_PATH_MAX];
    char log[PATH_MAX]; /* of --keep-logs; "" none */
    int lock;           /* held as long as we live */
    int log_fd;
};

/* Ends and removes what dead instances of this user left, and makes a private directory. 0, or -1 after a
 * message. */
int instance_open(struct instance *instance, const struct flmrun_options *options);
/* Whether what was written to the log so far found room; errno says why not. */
bool instance_log_is_whole(const struct instance *instance);
void instance_close(struct instance *instance);

/* The variable that all processes of an instance have in their environment; its value is the directory. */
#define INSTANCE_VARIABLE "FLM_INSTANCE_DIR"

/* Sends the signal to all processes of this user that name one of the directories; NULL-terminated list.
 * signal 0: only counts. Returns how many. */
unsigned processes_signal(const char *const *directories, int signal);
/* SIGTERM, and SIGKILL to what is left after grace_ms; returns how many are left in the end. */
unsigned processes_end(const char *const *directories, unsigned grace_ms);

/* flmd: *ready is readable when it is ready or has failed; closing *parent ends it. pid or -1 after a
 * message. */
pid_t start_manager(const struct instance *instance, const struct flmrun_options *options, int *ready,
                    int *parent);
/* CMD with these in its environment; mask: its signal mask. pid, or -errno. */
pid_t start_command(char **command, const char *endpoint, const char *slots,
                    const struct instance *instance, const sigset_t *mask);

/* Of the program; each defines it. */
extern const char *const say_name;
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Monotonic. */
int64_t now_ms(void);

struct child {
    pid_t pid; /* 0: none, or it has ended */
    bool ended;
    int status;
};
/* Notes which of the two have ended. */
void children_reap(struct child *a, struct child *b);

/* What flmd says when it is ready: where it is; or nothing, and the end of the pipe. */
struct ready_line {
    int fd; /* -1 when it has ended */
    bool ended;
    size_t size;
    char text[512];
};
void ready_read(struct ready_line *r);

#endif
