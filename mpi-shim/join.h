/* mpi-shim/join.h - an instance inside an MPI job: libflm_mpi.
 *
 *     join.c      flm_mpi_init and _finalize: who is what, and that all know it
 *     manager.c   the session manager, child of the first client
 *     guests.c    executors: the agent of each node, child of its first executor, and serving it
 *
 * The processes are flmd without a backend, and on each node with executors one flm-node, in whose slots
 * flm-guest stands in for the ranks.
 */
#ifndef FLM_MPI_JOIN_H
#define FLM_MPI_JOIN_H

#include <flm/mpi.h>
#include <sys/types.h>

enum {
    JOIN_PATH = 96,
    JOIN_ENDPOINT = 1024,
    JOIN_SECRET = 512,
    JOIN_START_MS = 60000,
    JOIN_END_MS = 15000
};

/* What all have to know of the session manager; sent as it is. */
struct join_manager {
    int code; /* not 0: it could not be started */
    char text[400];
    char endpoint[JOIN_ENDPOINT];
    char secret[JOIN_SECRET];
    int secret_size; /* 0: all are on one node */
};

/* A private directory, which the next one who makes one removes if we are killed. */
struct join_folder {
    char path[JOIN_PATH]; /* "": none */
    int lock;
};

/* A child of ours, its end of a pipe that tells it that we are gone, and its directory. */
struct join_child {
    pid_t pid; /* 0: none */
    int parent_fd;
    struct join_folder folder;
};

struct flm_mpi {
    bool live;            /* between init and finalize */
    bool ready;           /* all have joined */
    MPI_Comm comm, peers; /* ours; of those with the same role */
    int rank, size, role;
    bool one_node;
    struct join_manager manager;
    struct join_child flmd, agent;
    MPI_Request over; /* executors: all clients have finalized */
    int listener;     /* executors: where their stand-ins come; -1: none */
    flm_client *client;
};

int join_fail(flm_error *error, int code, const char *format, ...) FLM_PRINTF(3, 4);

/* processes.c. A private folder below the runtime directory; a program of Flame; starts it, with ready_fd
 * as its descriptor 3 and parent_fd as 4 (-1: not). */
int join_make_folder(struct join_folder *folder, flm_error *error);
void join_remove_folder(struct join_folder *folder);
int join_find_program(const char *name, const char *installed, char *path, size_t size, flm_error *error);
int join_spawn(struct join_child *child, const char *const *argv, int ready_fd, int parent_fd,
               flm_error *error);
/* Waits for its end; kills it if that takes too long. 0: none, or it has ended in order. */
int join_reap(struct join_child *child, int ms);

/* manager.c. Fills mpi->manager; what went wrong is in there. */
void join_start_manager(struct flm_mpi *mpi);
int join_end_manager(struct flm_mpi *mpi); /* FLM_ELOST: it had ended before, or badly */
/* The file with the secret, from what was told, in this folder; "" when none is needed. */
int join_write_secret(const struct join_manager *manager, const char *folder, char *path, size_t size,
                      flm_error *error);

/* guests.c */
int join_open_guest(struct flm_mpi *mpi, flm_error *error);
int join_serve(struct flm_mpi *mpi, const struct flm_service *const *services, flm_error *error);
void join_close_guest(struct flm_mpi *mpi);

#endif
