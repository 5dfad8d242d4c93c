/* Shared by the files of this room. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "net/net.h"

#define NET_READ_BYTES (256u << 10)
#define NET_LINGER_MS  2000u /* decision 40 */
#define NET_LAST_WRITE_MS 10000u /* for a slow reader to take the last answer */
#define NET_PROBE_S    60u   /* silence after which TCP asks whether the peer is still there */
#define NET_BACKLOG    4096

struct conn;

struct listener {
    struct net *net;
    struct net_bind bind;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    bool waiting; /* a connection waits until the accept rate allows it */
    bool open;
    struct listener *next;
};

struct net {
    struct net_config cfg;
    struct listener *listeners, **tail;
    struct conn *conns;       /* all, doubly linked */
    struct conn *throttled;   /* they have read their share of this turn */
    uint32_t n_conns;
    uint64_t accept_second;   /* accepts counted in this second */
    uint32_t accepted;
    uv_timer_t accept_timer;
    bool stopped;
    uint8_t read_buffer[NET_READ_BYTES];
};

/* What closing needs; allocated only then. */
struct farewell {
    uv_timer_t timer;
    uv_shutdown_t shutdown;
};

/* The rest of an output that the socket did not take at once. */
struct pending_write {
    uv_write_t req;
    uint8_t bytes[];
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    struct net *net;
    struct hub_client *client; /* NULL once the hub was told that it is gone */
    struct conn *prev, *next, *next_throttled;
    struct pending_write *write;
    struct farewell *farewell;
    uint8_t open_handles;
    bool reading, lingering, closing, throttled;
};

/* Accepts from the listener's stream and opens the hub's client. */
void conn_accept(struct listener *l);
/* Output, reading and closing as the hub wants them. */
void conn_update(struct conn *c);
void conn_close(struct conn *c);
/* A new turn: everybody may read again. */
void conn_read_on(struct net *n);
/* May one more connection be accepted this second? Else the timer asks again. */
bool net_may_accept(struct net *n);

#endif
