/* net/address.h - by which Internet address other machines reach this one.
 *
 * IPv4 before IPv6; never loopback, never an address that is good on one link alone. Texts are numeric;
 * INET6_ADDRSTRLEN bytes are enough. Any thread.
 */
#ifndef FLM_NET_ADDRESS_H
#define FLM_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum { FLM__ADDRESS_TEXT = 64 };

/* Whether this machine has it: the name of an interface, or the address of one. */
bool flm__interface_is_here(const char *name_or_address);

/* The address of a local interface; false: there is no such interface, or it has none. */
bool flm__interface_address(const char *name, char *text, size_t n);

/* Of the interface; NULL: what this machine's name stands for, where others would know it by that, else the
 * first interface that is up. */
bool flm__own_address(const char *interface, char *text, size_t n);

/* The local address of a connected TCP socket; false: it is none. */
bool flm__socket_address(int fd, char *text, size_t n);

#endif
