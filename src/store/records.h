/* store/records.h - what the records of flmd's journal are (doc/journal.md): written and taken up by flmd,
 * read by those who write files of results. */
#ifndef FLM_STORE_RECORDS_H
#define FLM_STORE_RECORDS_H

/* Types of records; never changed. */
enum durable_type {
    DURABLE_APPLICATION = 1,  /* payload: Flm__Application */
    DURABLE_UNREGISTERED = 2, /* its name */
    DURABLE_SESSION = 3,      /* Flm__StoredSession: all of a session but what follows; the newest counts */
    DURABLE_COMMON = 4,       /* common data of the session; the newest count. value: their version, modulo
                                 2^32; 0: 1 */
    DURABLE_TASK = 5,         /* struct flm__record, payload */
    DURABLE_RESULT = 6,       /* uint64_t: number of the result in the session; struct flm__record, payload;
                                 value: in a session with a file of results the task's duration, as
                                 flm__duration_to_cookie tells it */
    DURABLE_TAKEN = 7,        /* uint64_t: the client is done with so many results */
    DURABLE_FORGOTTEN = 8,    /* no payload: the session is not remembered any more */
    DURABLE_CLOCK = 9,        /* int64_t: what follows is as new as this, ns since 1970 */
    DURABLE_PLACE = 10,       /* value: an executor; payload: the node where it is from here on */
    DURABLE_CORE_TIME = 11,   /* struct core_time: the one with the largest sum counts */
    DURABLE_LOST = 12,        /* struct loss: the one with the most attempts of a task counts */
};

/* Flags of TASK and RESULT: in place of the reference at its end the payload has the large payload itself.
 */
enum { DURABLE_LARGE = 1 };

/* The last of the states in a StoredSession. */
enum { DURABLE_STATE_CLOSED = 3 };

#endif
