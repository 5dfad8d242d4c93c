/* Sockets of a client: HOST:PORT, PORT or unix:PATH. */
#ifndef BENCH_DIAL_H
#define BENCH_DIAL_H

#include <sys/socket.h>

#include "core/bytes.h"

struct dial {
    struct sockaddr_storage to;
    socklen_t n;
};

/* `address` NULL: `port` on loopback. SL_EINVAL: no such address. */
SL_CHECK int dial_resolve(const char *address, uint16_t port, struct dial *out);
/* A socket that is connecting; -1: errno says why. */
int dial_open(const struct dial *d, bool nonblocking);
/* As many descriptors as the system allows. */
void dial_raise_limit(void);

#endif
