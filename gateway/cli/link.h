/* One connection, of either kind. Every function here is the main thread's.
 *
 *   mqtt.c    Paho speaks; what its threads tell becomes events
 *   stomp.c   we speak, without threads, when the descriptor is ready */
#ifndef CLI_LINK_H
#define CLI_LINK_H

#include "address.h"
#include "args.h"
#include "core/bytes.h"
#include "events.h"

struct cli_link;

/* Functions that give an int give SL_OK, and the event of the outcome comes later; or
 * SL_ESYS with the words in l->why. */
struct cli_link_verbs {
    int (*open)(struct cli_link *l);
    int (*connect)(struct cli_link *l);
    int (*subscribe)(struct cli_link *l, const struct cli_texts *filters);
    int (*unsubscribe)(struct cli_link *l, const struct cli_texts *filters); /* NULL with STOMP */
    /* Copies the payload; what else goes with a message is in the options. */
    int (*publish)(struct cli_link *l, const char *topic, struct sl_bytes payload);
    /* The message was shown. */
    void (*acknowledge)(struct cli_link *l, struct sl_bytes token, uint32_t subscription);
    int (*disconnect)(struct cli_link *l);
    /* Before each wait: writes what there is, and sets wants_write and wake_ms. */
    void (*flush)(struct cli_link *l);
    /* After each wait, before events are taken. */
    void (*begin)(struct cli_link *l);
    /* The oldest event, or NULL. The caller frees it; a message lives until the next one. */
    struct cli_event *(*take)(struct cli_link *l);
    /* How many publishes were answered since the last call. */
    uint64_t (*answered)(struct cli_link *l);
    void (*close)(struct cli_link *l);
};

struct cli_stomp;

struct cli_link {
    const struct cli_link_verbs *verbs;
    const struct cli_args *args;        /* borrowed, and outlive the link */
    const struct cli_address *address;
    const char *speaks;                 /* "MQTT 5" */
    const char *why;
    int fd;                             /* to wait on; -1: nothing */
    bool wants_write;
    int64_t wake_ms; /* cli_now_ms()'s time: flush then, whatever else happens */
    char id[128];
    /* Paho's */
    const struct cli_paho *paho; /* NULL with STOMP */
    MQTTAsync handle;
    MQTTProperties properties; /* of each PUBLISH */
    bool prepared, v5;
    struct cli_events events;
    char tls_error[256]; /* OpenSSL's word on a failed handshake */
    struct cli_stomp *stomp;
};

extern const struct cli_link_verbs cli_mqtt_link, cli_stomp_link;

#endif
