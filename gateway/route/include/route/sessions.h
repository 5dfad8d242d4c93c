/* MQTT sessions by client id: what outlives a connection. Who holds the id,
 * when the session ends, the QoS 2 ids that came in, what it subscribed to and
 * what waits for it.
 *
 * An inbound QoS 2 id is NEW until its batch is committed, then STORED, until
 * PUBREL takes it away [MQTT-4.3.3-*]. A session with expiry 0 ends with its
 * connection and is not persisted. */
#ifndef ROUTE_SESSIONS_H
#define ROUTE_SESSIONS_H

#include "core/bytes.h"
#include "core/err.h"

struct session {
    uint64_t number;       /* its name in the store; unique, never repeated */
    uint64_t holder;       /* connection that holds it now; 0: none */
    uint64_t ends_wall_ms; /* while absent; UINT64_MAX: never */
    uint32_t expiry_s;     /* UINT32_MAX: never */
    bool persistent;
    bool anonymous;        /* of a consumer: no client id, and not one of those that are counted */
    struct sl_bytes client_id; /* owned */
    void *client;              /* the holder, while there is one; the caller's */
    union {                    /* NULL: none; the caller's */
        struct will *will;
        struct client_consumer *consumer; /* anonymous */
    };
    struct outbox *outbox;     /* NULL: nothing waits; the caller's (route/outbox.h) */
    uint32_t first_subscription, n_subscriptions; /* route/subscriptions.h */
    uint64_t dropped_in;       /* the batch that says what it has no more, the caller's; 0: none does */
    uint16_t *ids;             /* sorted inbound QoS 2 ids */
    uint32_t n_ids, cap_ids;
    uint32_t heap_pos; /* sessions.c's */
    uint32_t slot;     /* sessions.c's */
};

struct sessions;

struct sessions *sessions_new(uint32_t max) SL_CHECK;
void sessions_free(struct sessions *t);
uint32_t sessions_count(const struct sessions *t);
uint32_t sessions_held(const struct sessions *t); /* of them, those that a connection holds */
struct session *sessions_find(struct sessions *t, struct sl_bytes client_id);
/* Copies the id. SL_EFULL at the limit; SL_EEXIST. */
SL_CHECK int sessions_add(struct sessions *t, struct sl_bytes client_id, uint64_t number,
                          struct session **out);
/* For a subscription that has an outbox of its own and ends with its connection: it
 * has a slot, and is not found by name, counted, limited or iterated over. */
struct session *sessions_add_anonymous(struct sessions *t, uint64_t number, uint64_t holder) SL_CHECK;
uint32_t sessions_anonymous(const struct sessions *t); /* how many of those there are */
/* Its subscriptions and its outbox are gone already. */
void sessions_remove(struct sessions *t, struct session *s);
/* By a slot that a session had. NULL: it is nobody's now. It may have been given
 * to another since: compare `number`. */
struct session *sessions_at(const struct sessions *t, uint32_t slot);
/* The holder has left: the session ends at `ends_wall_ms` unless it is taken again. */
void sessions_leave(struct sessions *t, struct session *s, uint64_t ends_wall_ms);
/* Takes it (again) for a connection. */
void sessions_take(struct sessions *t, struct session *s, uint64_t holder);
/* One session whose time has come; NULL when there is none. The caller removes it. */
struct session *sessions_expired(struct sessions *t, uint64_t wall_ms);
uint64_t sessions_next_end(const struct sessions *t);
/* Iterate: *pos starts at 0; NULL at the end. No change while iterating. */
struct session *sessions_next(struct sessions *t, size_t *pos);

bool session_has_id(const struct session *s, uint16_t packet_id);
/* false: it was there already. */
bool session_add_id(struct session *s, uint16_t packet_id);
/* false: it was not there. */
bool session_drop_id(struct session *s, uint16_t packet_id);

#endif
