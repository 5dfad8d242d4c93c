/* One MQTT server session under test: bytes in (at any split), a log of
 * events, bytes out. Bytes are written in a small notation:
 *
 *   30            a byte in hex
 *   "text"        its bytes
 *   s"text"       the same with MQTT's two-byte length before it
 *   ( … )         a group with its length as a variable byte integer before it
 *   z300          300 bytes of 'z'
 *
 * so that `32 ( s"a/b" 00 01 () "x" )` is a whole PUBLISH of MQTT 5. */
#ifndef MQTT_HARNESS_H
#define MQTT_HARNESS_H

#include "mqtt/packet.h"
#include "mqtt/packets.h"
#include "protocols/protocol.h"

#define HARNESS_TOKENS 4096u
#define HARNESS_GRANT_ASKED (-1)

struct harness {
    struct proto_config cfg;
    struct proto_session *s;
    struct proto_packets *packets;
    uint64_t now_ms;
    enum proto_connect_result connect_result;
    bool session_present;
    bool id_as_sent;     /* else each client is given "auto-1" */
    bool quiet;          /* events are not logged, except CLOSE */
    bool answer_at_once; /* with `verdict`; else tokens are collected */
    enum proto_result verdict;
    int grant; /* enum proto_grant of each filter, or HARNESS_GRANT_ASKED */
    uint32_t tokens[HARNESS_TOKENS];
    size_t n_tokens;
    bool closed;
    struct sl_buf log, out;
};

/* Appends the bytes that the notation stands for. */
void notation(struct sl_buf *to, const char *text);

/* A session with the defaults of a listener; `cfg` may be changed between
 * init and begin. */
void harness_init(struct harness *h);
void harness_begin(struct harness *h);
/* begin and an accepted CONNECT; log and output are empty again. A client of 5
 * asks for no reason strings, so that packets are short. */
void harness_open(struct harness *h, enum mqtt_version v);
/* The same of a client of 5 with these properties. */
void harness_open_with(struct harness *h, const char *properties);
void harness_end(struct harness *h);

/* Feeds in pieces of `step` bytes, each in memory of exactly that size, and
 * pulls all events after each. */
void harness_feed(struct harness *h, struct sl_bytes in, size_t step);
void harness_feed_text(struct harness *h, const char *text);
/* In one piece, with what comes of it out of the log, except CLOSE. */
void harness_feed_quietly(struct harness *h, struct sl_bytes in);
void harness_pull(struct harness *h);
void harness_answer(struct harness *h, size_t nth, enum proto_result r);
enum proto_delivered harness_deliver(struct harness *h, const struct proto_delivery *d);
void harness_release(struct harness *h, uint16_t packet_id, bool known);
void harness_tick(struct harness *h, uint64_t now_ms);

const char *harness_log(struct harness *h);
/* Compare, then forget what was compared. */
void expect_log(struct harness *h, const char *log);
void expect_out(struct harness *h, const char *text);

#endif
