/* One STOMP session on virtual time: bytes in at any split, a log of events,
 * the bytes out. Every piece that is fed lives in memory of exactly its size
 * and dies when the session may no longer look at it. */
#ifndef TESTS_STOMP_HARNESS_H
#define TESTS_STOMP_HARNESS_H

#include "claims.h"

#include "core/alloc.h"
#include "core/message.h"
#include "protocols/protocol.h"

enum harness_answers { ANSWER_AT_ONCE, ANSWER_LATER };

struct harness {
    struct proto_session *s;
    struct proto_packets *packets; /* NULL: nothing was delivered */
    struct proto_config cfg;
    struct proto_connected judgement; /* what CONNECT is answered with */
    enum harness_answers answers;
    uint64_t now;
    struct sl_buf log;  /* one line per event */
    struct sl_buf sent; /* NUL as ^@ */
    uint32_t tokens[256];
    size_t n_tokens;
    bool unjudged; /* leave CONNECT unanswered */
};

void harness_start(struct harness *h);
void harness_end(struct harness *h);
/* CONNECT of that version ("1.0", "1.1", "1.2"); log and sent are empty after. */
void harness_connect(struct harness *h, const char *version);
/* Feeds in pieces of `step` bytes. */
void harness_feed(struct harness *h, const void *p, size_t n, size_t step);
void harness_text(struct harness *h, const char *text);
/* One event, when there is one. */
bool harness_next(struct harness *h);
/* Pulls events without input. */
void harness_pull(struct harness *h);
void harness_answer(struct harness *h, size_t i, enum proto_result r);
/* The same, and a subscription with the id `s`: to /queue/q or /topic/#, in that ack mode. */
void harness_consume(struct harness *h, const char *version, const char *destination,
                     const char *mode);
struct message_parts message_of_queue(void);
struct message_parts message_of_topic(const char *topic);
/* One that is to be answered, one that is not. */
extern const struct proto_delivery delivery_first, delivery_unasked;
/* A message of these parts, to the consumer of that number; its own memory dies after. */
enum proto_delivered harness_deliver(struct harness *h, const struct message_parts *m,
                                     const struct proto_delivery *how, uint32_t consumer);
/* Time goes on to `ms` in the steps that deadline() asks for. */
void harness_until(struct harness *h, uint64_t ms);

const char *harness_log(struct harness *h);
const char *harness_sent(struct harness *h);
void harness_forget(struct harness *h);

/* A literal with its embedded NULs. */
#define FEED(h, literal) harness_feed((h), (literal), sizeof(literal) - 1, sizeof(literal) - 1)
#define CONNECTED_12                                                                               \
    "CONNECTED\nversion:1.2\nsession:c1\nserver:sluice\nheart-beat:10000,10000\n\n^@"

#endif
