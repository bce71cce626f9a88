/* base/standard.h - standard input, output and error that a program was started without. */
#ifndef FLM_BASE_STANDARD_H
#define FLM_BASE_STANDARD_H

/* First thing in main: takes the places of those that are closed, so that no file or socket gets their
 * number and is mistaken for them. Reading and writing them still fails (EBADF). */
void flm__standard_open(void);

#endif
