/* What happens on a connection, and the way from Paho's threads to the main one:
 * a queue, and a descriptor to wait on.
 *
 * The only place where this room has a lock. Messages for a subscriber are
 * bounded: where the reader of our output is slow, Paho's thread waits, the
 * socket fills and the server notices. Answers to publishes are only counted. */
#ifndef CLI_EVENTS_H
#define CLI_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "message.h"

enum cli_event_kind {
    CLI_EV_CONNECTED,
    CLI_EV_REFUSED, /* the connection */
    CLI_EV_SUBSCRIBED,
    CLI_EV_SUBSCRIBE_FAILED,
    CLI_EV_UNSUBSCRIBED,
    CLI_EV_UNSUBSCRIBE_FAILED,
    CLI_EV_PUBLISH_FAILED,
    CLI_EV_MESSAGE,
    CLI_EV_LOST,
    CLI_EV_GONE, /* our DISCONNECT is done */
};

#define CLI_NO_REASON UINT32_MAX /* STOMP has words alone */

/* What CONNACK or CONNECTED told; zero and absent values as the specification reads them. */
struct cli_connack {
    bool session_present, no_retain;
    uint32_t maximum_qos, topic_alias_maximum, server_keep_alive;
    bool has_keep_alive;
    char assigned_id[128], response_information[512];
};

struct cli_event {
    struct cli_event *next;
    enum cli_event_kind kind;
    bool told;            /* by the server, in `reason`; else `code` is Paho's */
    uint32_t reason;      /* MQTT 5 reason code; CONNACK return code of 3.1.1 */
    int code;
    char text[256];       /* reason string, cause, the message of an ERROR; may be empty */
    struct sl_bytes body; /* of an ERROR: the link's memory */
    uint8_t *granted;     /* one reason code per filter */
    uint32_t n_granted;
    struct cli_connack connack;
    struct cli_message message;
    char *paho_topic; /* Paho's memory of it, which is given back; else NULL */
    MQTTAsync_message *paho_message;
};

struct cli_events {
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct cli_event *first, **last;
    uint64_t answered; /* publishes */
    uint32_t messages;
    size_t bytes;
    bool closing; /* nobody waits for room any more */
    int fd;
};

/* SL_OK, or SL_ESYS without a descriptor. */
SL_CHECK int cli_events_init(struct cli_events *q);
/* An empty event; the caller fills it and puts it. */
struct cli_event *cli_event_new(enum cli_event_kind kind) SL_CHECK;
void cli_event_free(const struct cli_paho *paho, struct cli_event *e);

/* On any thread. Takes `e`; a message waits for room, but not when closing. */
void cli_events_put(struct cli_events *q, struct cli_event *e);
void cli_events_answered(struct cli_events *q);

/* On the main thread. The oldest, or NULL; the caller frees it. */
struct cli_event *cli_events_take(struct cli_events *q) SL_CHECK;
/* How many publishes were answered since the last call. */
uint64_t cli_events_count(struct cli_events *q);
/* Forgets that the descriptor is readable; call before looking into the queue. */
void cli_events_clear(struct cli_events *q);
/* Whoever waits for room goes on. */
void cli_events_close(struct cli_events *q);

#endif
