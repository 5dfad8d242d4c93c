/* `sluice bench fanout`, inside: publishers and subscribers in one process, one
 * thread, one epoll.
 *
 *   CONNECTING ─▶ SUBSCRIBING ─▶ WARMING ─▶ MEASURING ─▶ DRAINING ─▶ OVER
 *
 * A closed loop over the whole way: a publisher has at most `window` messages
 * of which a delivery is outstanding. So a server is given what it delivers, and
 * none is measured by what it drops. */
#ifndef BENCH_FANOUT_H
#define BENCH_FANOUT_H

#include "bench/driver.h"
#include "bench/histogram.h"
#include "dial.h"

#define FANOUT_READ_BYTES (256u << 10)

struct fanout;
struct peer;

/* How the peers speak. Each gives SL_OK or what went wrong. */
struct fanout_protocol {
    const char *name; /* as --protocol has it */
    uint16_t port;
    uint8_t version; /* MQTT's */
    int (*connect)(struct fanout *f, struct peer *p);
    int (*subscribe)(struct fanout *f, struct peer *p);
    /* Makes f->message. */
    int (*message)(struct fanout *f, struct sl_bytes payload);
    void (*write_number)(uint8_t *at, uint32_t number);
    /* One thing off the input, or SL_EMORE. */
    int (*take)(struct fanout *f, struct peer *p, struct sl_bytes in, size_t *bytes);
};

extern const struct fanout_protocol fanout_mqtt, fanout_mqtt5, fanout_stomp;

struct fanout_options {
    struct bench_target target; /* topic, qos of publishing, payload, group, address */
    uint32_t publishers, subscribers, window;
    uint32_t subscribe_qos; /* UINT32_MAX: as published */
    uint64_t seconds_ns, warmup_ns;
    const char *protocol;
    const struct fanout_protocol *speaks;
    bool json;
};

enum fanout_phase { FANOUT_CONNECTING, FANOUT_SUBSCRIBING, FANOUT_WARMING, FANOUT_MEASURING, FANOUT_DRAINING, FANOUT_OVER };

/* A publisher or a subscriber. */
struct peer {
    int fd;
    uint32_t number; /* among its kind */
    bool publishes, ready, wants_write;
    uint64_t sent, oldest; /* publisher: sequences; all before `oldest` are delivered */
    uint32_t *missing;     /* publisher: of sequence i at i % window, the deliveries and the answer that are outstanding */
    uint64_t *latest;      /* subscriber: by publisher, the last sequence + 1 */
    struct sl_buf in, out;
};

struct fanout_counts {
    uint64_t published, answered, delivered, repeated, out_of_order, lost, faults;
};

struct fanout {
    struct fanout_options o;
    struct dial dial;
    struct peer *peers; /* subscribers first */
    uint32_t n_peers, opened, ready, subscribed;
    int epoll;
    enum fanout_phase phase;
    uint64_t run, now_ns /* of this pass */, phase_ns, progress_ns, from_ns, to_ns, cpu_from_us, cpu_to_us;
    struct fanout_counts counts, base;
    uint64_t measured;         /* deliveries while measuring */
    struct histogram latency;  /* from sending to each delivery */
    struct bench_template message;
    const char *last_fault;
    uint8_t *read_buffer;
};

/* ---- fanout_peer.c ---- */
SL_CHECK int peer_open(struct fanout *f, struct peer *p);
void peer_close(struct fanout *f, struct peer *p);
void peer_on_events(struct fanout *f, struct peer *p, uint32_t events);
/* SUBSCRIBE, once all are connected. */
void peer_subscribe(struct fanout *f, struct peer *p);
/* Sends what the window allows. */
void peer_publish(struct fanout *f, struct peer *p);
/* For protocols: a delivery, and the answer to the message of that number. */
void peer_on_message(struct fanout *f, struct peer *p, struct sl_bytes payload);
SL_CHECK int peer_on_answer(struct fanout *f, struct peer *p, uint32_t number);
/* Gives up on what is outstanding: counted as lost. */
void peer_give_up(struct fanout *f, struct peer *p);

#endif
