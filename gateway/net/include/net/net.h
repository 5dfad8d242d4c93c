/* Sockets of clients: listeners, connections, and nothing of what they say.
 *
 * Reads go into one shared buffer and straight into the hub; after the turn
 * net_flush writes each client that has output with one call. While a write
 * is not finished the connection is not read (a slow reader slows itself). */
#ifndef NET_NET_H
#define NET_NET_H

#include <uv.h>

#include "hub/hub.h"

struct net;

/* Called before the hub is touched from a callback of the loop: begins the
 * turn if none is under way. Whoever provides it also ends the turn. */
struct net_turn {
    void (*begin)(void *arg);
    void *arg;
};

struct net_config {
    uv_loop_t *loop;
    struct hub *hub;
    struct net_turn turn;
    uint32_t max_connections;
    uint32_t accept_rate; /* per second; 0: any */
};

struct net *net_new(const struct net_config *cfg) SL_CHECK;

struct net_bind {
    const char *name;  /* for the log: as the configuration has it */
    const char *host;  /* TCP; NULL: `path` is a Unix socket */
    uint16_t port;     /* 0: any; see net_port */
    const char *path;
    uint32_t mode;     /* of the Unix socket; 0: as umask has it */
    const struct hub_listener *listener; /* borrowed */
};
/* SL_ESYS with one sentence in `why`. A Unix socket that nobody listens on any
 * more is replaced; one in use is refused. */
SL_CHECK int net_listen(struct net *n, const struct net_bind *b, struct sl_buf *why);
/* The port of the i-th listener. */
uint16_t net_port(const struct net *n, uint32_t index);

/* Once per turn, after hub_end. */
void net_flush(struct net *n);
void net_stop_accepting(struct net *n);
/* Begins to close everything; what is still to be written is dropped. */
void net_close(struct net *n);
/* After net_close, when the loop has run the close callbacks. */
void net_free(struct net *n);
uint32_t net_connections(const struct net *n);

#endif
