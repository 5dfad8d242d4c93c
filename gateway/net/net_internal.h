/* Shared by the files of this room. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <string.h>
#include <sys/epoll.h>

#include "core/alloc.h"
#include "core/log.h"
#include "net/net.h"

#define NET_READ_BYTES (256u << 10)
#define NET_LINGER_MS  2000u /* decision 40 */
#define NET_LAST_WRITE_MS 10000u /* for a slow reader to take the last answer */
#define NET_PROBE_S    60    /* silence after which TCP asks whether the peer is still there */
#define NET_BACKLOG    4096
#define NET_NO_ROOM_MS 500u  /* then it is tried again whether there are descriptors */
#define NET_ACCEPTS    128u  /* of one listener in a row; then others have their turn */
#define NET_EVENTS     1024u /* of one turn */
#define NET_EVENTS_LEAST 64u
#define NET_TURN_NS    UINT64_C(4000000) /* to read what one turn takes; then others have waited long enough */

struct conn;

struct listener {
    struct net *net;
    struct net_bind bind;
    int fd;          /* -1: closed */
    uv_poll_t poll;
    bool watched;    /* `poll` is open */
    bool waiting;    /* connections wait until the accept rate allows them */
    bool bound;      /* the Unix socket's file is ours to remove */
    struct listener *next;
};

struct net {
    struct net_config cfg;
    int epoll;                /* of all connections; -1: the system gave none */
    uv_poll_t poll;           /* of the epoll, in the loop */
    uv_idle_t idle;           /* active while `unread` is not empty: the loop does not wait then */
    struct listener *listeners, **tail;
    struct conn *conns;       /* all, doubly linked */
    struct conn *unread, **unread_tail; /* there is something to read that no event will tell of */
    uint32_t n_unread;
    struct conn *closed;      /* freed at the end of the turn: until then an event may name them */
    uint32_t n_conns;
    uint32_t take;            /* events of the next turn */
    uint64_t accept_credit;   /* thousandths of accepts, also of those that are refused at once */
    uint64_t credited_ms;
    uv_timer_t accept_timer;
    bool stopped;
    struct epoll_event events[NET_EVENTS];
    uint8_t read_buffer[NET_READ_BYTES];
};

/* What closing needs; allocated only then, and freed by its own close. */
struct farewell {
    uv_timer_t timer;
    struct conn *conn;
};

/* Small on purpose: an idle connection is this, and what the hub has of it. */
struct conn {
    int fd;
    uint8_t readable : 1;  /* an edge said so, and no read has found the end of it yet */
    uint8_t doubtful : 1;  /* a read that came short may have left something: see conn_read */
    uint8_t blocked : 1;   /* the socket did not take all output: written on when it says so */
    uint8_t lingering : 1; /* the last answer is written */
    uint8_t listed : 1;    /* in net->unread */
    uint8_t closed : 1;
    uint8_t answered : 1;  /* something was written to it */
    struct net *net;
    struct hub_client *client;
    struct conn *prev, *next;
    struct conn *next_unread; /* once closed: in net->closed */
    struct farewell *farewell;
};

/* A connection's memory is asked of malloc in steps of 16 bytes less 8. */
_Static_assert(sizeof(struct conn) <= 56, "an idle connection is small");

/* ---- net.c ---- */
/* May one more connection be accepted now? */
bool net_may_accept(struct net *n);
void net_accepted(struct net *n);
/* listeners_resume() when one more may be. */
void net_retry_accepts(struct net *n);
/* The same when the system has no room for one. */
void net_retry_later(struct net *n);

/* ---- poll.c ---- */
void poll_open(struct net *n);
void poll_close(struct net *n);
/* By edge. SL_ESYS. */
SL_CHECK int poll_reading(struct conn *c);
/* Tells also when there is room to write, at once if there is. */
void poll_writing(struct conn *c);
/* It is read before the loop waits again. */
void unread_add(struct conn *c);
void unread_remove(struct conn *c);

/* ---- listen.c ---- */
/* The timer's: those that had to wait. */
void listeners_resume(struct net *n);
void listener_close(struct listener *l);

/* ---- conn.c ---- */
/* Takes a socket that was accepted. `peer`: for the log. */
void conn_open(struct listener *l, int fd, const char *peer);
void conn_event(struct conn *c, uint32_t events);
void conn_read(struct conn *c);
/* Output, reading and closing as the hub wants them. */
void conn_update(struct conn *c);
void conn_close(struct conn *c);
/* Frees those that were closed. */
void conns_reap(struct net *n);

#endif
