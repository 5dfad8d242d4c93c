/* How the bench speaks to a server: one driver per protocol for each side, all
 * sans-I/O. A new one is one file beside its siblings and one line in a table. */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include "core/bytes.h"

/* Who is measured; the same for all connections. */
struct bench_target {
    const char *address; /* HOST:PORT or unix:PATH; NULL: the driver's port on loopback */
    const char *
        topic; /* message i goes to topic i % n_topics: "NAME" or "NAME/i" when there are several */
    uint32_t n_topics;
    uint32_t qos;
    uint32_t payload_bytes;
    const char *user, *password; /* NULL: none */
    const char *client;          /* prefix of client ids */
    const char *group;           /* consumers that share */
    uint32_t prefetch;           /* consumers: messages asked for ahead */
    const char *ack;             /* STOMP consumers: the header of SUBSCRIBE */
    const char *header;          /* STOMP consumers: one more, NAME:VALUE; NULL: none */
    bool transient;              /* STOMP: without the `persistent` header */
    bool subscribed;             /* MQTT producers: connection N subscribes to "NAME/N" */
};

/* ---- producers ---- */

/* One message, ready but for its number and stamp, which are written over it. */
struct bench_template {
    struct sl_buf bytes;
    size_t number_at; /* place of the number that the answer names */
    size_t stamp_at;
};

enum bench_number { BENCH_NUMBER_NONE, BENCH_NUMBER_U16BE, BENCH_NUMBER_DIGITS8 };

enum bench_answer_kind {
    BENCH_NOTHING, /* consumed, tells us nothing */
    BENCH_READY,   /* the hello was accepted */
    BENCH_DONE,    /* `number` is promised */
    BENCH_OLDEST,  /* the oldest unanswered one is: answers come in order, without numbers */
    BENCH_BARRIER, /* all before the barrier have arrived */
    BENCH_REFUSED, /* `number` was refused; `code` says why */
};

struct bench_answer {
    enum bench_answer_kind kind;
    uint32_t number; /* from 1 */
    uint32_t code;
    size_t bytes; /* consumed */
};

struct bench_driver {
    const char *name; /* as --protocol has it */
    const char *summary;
    uint16_t port;
    enum bench_number number;
    uint32_t max_window;
    /* First bytes on a connection; BENCH_READY must follow. */
    int (*hello)(const struct bench_target *t, uint32_t connection, struct sl_buf *out);
    int (*message)(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                   struct bench_template *out);
    /* Where nothing is answered: asks for a sign of life behind what was sent. */
    int (*barrier)(struct sl_buf *out);
    /* One answer off the input. SL_EMORE; SL_EPEER: that is no answer. What
     * has to be said in return (PUBREL) goes to `reply`. */
    int (*answer)(const struct bench_target *t, struct sl_bytes in, struct bench_answer *a,
                  struct sl_buf *reply);
};

/* ---- consumers ---- */

struct bench_delivery {
    bool message; /* else it was of the conversation only */
    bool redelivered;
    struct sl_bytes payload; /* a view into the input */
    uint64_t number;         /* for ack() */
    struct sl_bytes name;    /* for ack(): a view into the input */
    size_t bytes;            /* consumed */
};

struct bench_consumer {
    const char *name;
    uint16_t port;
    int (*hello)(const struct bench_target *t, uint32_t consumer, struct sl_buf *out);
    /* One thing off the input: SL_OK, SL_EMORE, SL_EPEER. */
    int (*next)(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                struct sl_buf *out);
    /* `good` false: give it back as failed; a server that cannot: as ack. */
    int (*ack)(const struct bench_target *t, const struct bench_delivery *d, bool good,
               struct sl_buf *out);
    /* One ack() stands for all deliveries before it, too; NULL: never. */
    bool (*cumulative)(const struct bench_target *t);
};

struct bench_drivers {
    const struct bench_driver *const *producers;
    size_t n_producers;
    const struct bench_consumer *const *consumers;
    size_t n_consumers;
};

extern const struct bench_driver bench_mqtt, bench_mqtt5, bench_stomp;
extern const struct bench_consumer bench_mqtt_subscriber, bench_mqtt5_subscriber,
    bench_stomp_subscriber;

#endif
