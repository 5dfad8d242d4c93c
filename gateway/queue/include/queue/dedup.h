/* What a queue has seen lately: keys of messages, each with the message that had it
 * first. A message whose key is there is a duplicate.
 *
 * The table is bounded by age and by number, oldest out first. Nothing leaves by
 * itself: whoever owns it takes out what is over, a few at a time, because the store
 * is told of each. What is over is not found any more, whether it was taken out or not.
 *
 * Times are steady ms. A key is remembered from seen_ms on for less than the window. */
#ifndef QUEUE_DEDUP_H
#define QUEUE_DEDUP_H

#include "core/hash.h"
#include "core/message.h"

enum queue_dedup_part_kind {
    QUEUE_DEDUP_CLIENT,
    QUEUE_DEDUP_TOPIC,
    QUEUE_DEDUP_PAYLOAD,
    QUEUE_DEDUP_HEADER,
    QUEUE_DEDUP_RETRANSMIT, /* client, packet id, topic and payload; only what says DUP is a duplicate */
};

struct queue_dedup_part {
    enum queue_dedup_part_kind kind;
    const char *header; /* its name; borrowed for the life of the queue */
};

#define QUEUE_DEDUP_PARTS 8u
#define QUEUE_DEDUP_KEY   16u

struct queue_dedup {
    uint64_t window_ms; /* 0: nothing is remembered */
    uint64_t max;       /* keys */
    bool replace;       /* the newer takes the place of the first while that waits; else the newer is dropped */
    uint32_t n_parts;
    struct queue_dedup_part parts[QUEUE_DEDUP_PARTS];
    struct sl_hash_key hash; /* the same after each restart */
};

/* The key of a message; packet_id 0: it has none. false: it has no key, and is no
 * duplicate of anything: one of the headers is missing, or it is not MQTT's where
 * retransmissions are asked for. Without a client id it is a client of its own. */
bool queue_dedup_key(const struct queue_dedup *by, const struct message *m, uint16_t packet_id, uint8_t key[QUEUE_DEDUP_KEY]);
/* Only what was sent with DUP is asked about. */
bool queue_dedup_needs_dup(const struct queue_dedup *by);

/* ---- the table ---- */

struct queue_seen;

/* Who had a key first, and the caller's number for it. */
struct queue_first {
    uint64_t id;
    uint32_t entry;
};

struct queue_seen *queue_seen_new(uint64_t window_ms, uint64_t max) SL_CHECK;
void queue_seen_free(struct queue_seen *s);
bool queue_seen_find(const struct queue_seen *s, const uint8_t key[QUEUE_DEDUP_KEY], uint64_t now_ms, struct queue_first *out);
/* The key is `first`'s from now on, and the youngest. Returns the id that had it before, also when that was
 * over; 0: none. */
uint64_t queue_seen_put(struct queue_seen *s, const uint8_t key[QUEUE_DEDUP_KEY], const struct queue_first *first, uint64_t seen_ms);
/* Takes out the oldest one when it is over, by age or by number, and tells its id; 0: none is. */
uint64_t queue_seen_expire(struct queue_seen *s, uint64_t now_ms);
/* Steady time when the oldest one will be over; 0: one is already; UINT64_MAX: there is none. */
uint64_t queue_seen_deadline(const struct queue_seen *s);
void queue_seen_limit(struct queue_seen *s, uint64_t max);
uint64_t queue_seen_count(const struct queue_seen *s);
uint64_t queue_seen_bytes(const struct queue_seen *s); /* of memory */
/* Aborts when an invariant does not hold. */
void queue_seen_check(const struct queue_seen *s);

#endif
