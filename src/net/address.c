#include "net/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 2: IPv4, 1: IPv6, 0: nobody else can use it. */
static int worth(const struct sockaddr *address)
{
    if (address && address->sa_family == AF_INET) {
        in_addr_t host = ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr);
        return host >> 24 != IN_LOOPBACKNET && host != INADDR_ANY ? 2 : 0;
    }
    if (address && address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) ? 0 : 1;
    }
    return 0;
}

static bool print(const struct sockaddr *address, char *text, size_t n)
{
    const void *raw = address->sa_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return inet_ntop(address->sa_family, raw, text, (socklen_t)n) != NULL;
}

/* name NULL: of all that are up, the first of the best kind. */
static bool best_of_interfaces(const char *name, char *text, size_t n)
{
    struct ifaddrs *all = NULL;
    int best = 0;
    if (getifaddrs(&all))
        return false;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (name ? strcmp(i->ifa_name, name) != 0 : !(i->ifa_flags & IFF_UP))
            continue;
        int w = worth(i->ifa_addr);
        if (w > best && print(i->ifa_addr, text, n))
            best = w;
    }
    freeifaddrs(all);
    return best > 0;
}

bool flm__interface_address(const char *name, char *text, size_t n)
{
    return best_of_interfaces(name, text, n);
}

static bool has_address(const char *wanted)
{
    struct ifaddrs *all = NULL;
    char text[FLM__ADDRESS_TEXT];
    bool found = false;
    if (getifaddrs(&all))
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = worth(i->ifa_addr) && print(i->ifa_addr, text, sizeof(text)) && strcmp(text, wanted) == 0;
    freeifaddrs(all);
    return found;
}

bool flm__interface_is_here(const char *name_or_address)
{
    return if_nametoindex(name_or_address) || has_address(name_or_address);
}

/* Debian gives a machine's own name the address 127.0.1.1, which is of no use to others; and a name may
 * stand for an address that this machine does not have (a gateway). */
static bool address_of_name(char *text, size_t n)
{
    char name[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int best = 0;
    if (gethostname(name, sizeof(name) - 1) < 0)
        return false;
    name[sizeof(name) - 1] = 0;
    if (getaddrinfo(name, NULL, &hints, &list))
        return false;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        char one[FLM__ADDRESS_TEXT];
        int w = worth(a->ai_addr);
        if (w > best && print(a->ai_addr, one, sizeof(one)) && has_address(one) &&
            print(a->ai_addr, text, n))
            best = w;
    }
    freeaddrinfo(list);
    return best > 0;
}

bool flm__own_address(const char *interface, char *text, size_t n)
{
    if (interface)
        return best_of_interfaces(interface, text, n);
    return address_of_name(text, n) || best_of_interfaces(NULL, text, n);
}

bool flm__socket_address(int fd, char *text, size_t n)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    struct sockaddr *a = (struct sockaddr *)&address;
    return getsockname(fd, a, &size) == 0 && worth(a) && print(a, text, n);
}
