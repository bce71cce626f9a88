/* What the service of test_client_inproc does, by the first byte of the input. */
#ifndef CLIENT_SERVICE_H
#define CLIENT_SERVICE_H

enum client_service_verb {
    SERVICE_ECHO = 'e',
    SERVICE_FAIL = 'f',   /* returns 42, with a message and an output */
    SERVICE_SHRINK = 's', /* asks for 1 MiB of output, keeps 100 bytes */
    SERVICE_COMMON = 'c', /* the common data */
    SERVICE_TIME = 't',   /* int64_t: the time that is left */
    SERVICE_COUNT = 'n',  /* int: tasks of this session before */
    SERVICE_TWICE = '2',  /* sets two outputs; the second counts */
};

#endif
