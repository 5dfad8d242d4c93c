/* The one shape of a server-side protocol session: sans-I/O.
 *
 *      bytes in                    events out                    bytes out
 *   feed(view) ──▶ session ──▶ next(&event) … until false ──▶ output()
 *                     ▲                                          ▲
 *    connected / granted / answer / deliver / shutdown          tick(now)
 *
 * The caller feeds what it read, pulls events until there are none, answers
 * them (at once or much later, in any order), and writes what output() holds.
 * Nothing calls back, so nothing re-enters. Views in an event point into the
 * input or the session and die at the next call on that session.
 *
 * Answers leave in the order of the frames they answer: each frame that is
 * owed an answer takes a slot in the session's ring when its event is given
 * out, and a slot's bytes leave only when all older slots are answered. What
 * belongs to the conversation and not to a message (MQTT PINGRESP, STOMP
 * heart-beats) passes the ring by.
 *
 * A session never reads a clock; `now_ms` is monotonic milliseconds. */
#ifndef PROTOCOLS_PROTOCOL_H
#define PROTOCOLS_PROTOCOL_H

#include "core/bytes.h"
#include "core/message.h"

struct proto_session; /* each protocol embeds `const struct protocol *` first */

/* What a listener asks of its sessions; shared by all of them, borrowed. */
struct proto_config {
    uint32_t max_message;        /* payload bytes; a packet may have 64 KiB more */
    uint32_t partial_packet;     /* bytes of one packet before authentication */
    uint32_t connect_timeout_ms; /* until a complete CONNECT; 0: none */
    uint32_t reject_grace_ms;    /* 3.1.1: time between a withheld PUBACK and the close */
    uint16_t receive_maximum;    /* publishes that may wait for their answer at once */
    uint16_t max_keep_alive_s;   /* 0: the client's own; else the server's upper limit */
    uint16_t topic_alias_max;    /* inbound aliases per connection */
    uint32_t max_headers;        /* STOMP: header lines of a frame */
    uint32_t max_header_bytes;   /* STOMP: one header line; MQTT has its own 65,535 */
    uint32_t heart_beat_ms;      /* STOMP: what the server offers and asks for */
    uint32_t session_expiry_max_s; /* MQTT 5 */
    uint32_t session_expiry_default_s; /* MQTT 3.1.1 without clean session, which cannot say it; 0: no end */
    uint32_t output_bytes;         /* deliveries that may wait in a session's output, beside the last */
    bool retain_available;         /* MQTT 5: said in CONNACK */
    const char *response_information; /* MQTT 5: given to who asks, `%c` is the client id; NULL: none */
    const char *server_name;     /* STOMP `server` header */
};

enum proto_event_kind {
    PROTO_CONNECT,    /* answer it with connected() before pulling further */
    PROTO_PUBLISH,
    PROTO_RELEASE,    /* MQTT PUBREL: the QoS 2 id may be forgotten; answer owed */
    PROTO_SUBSCRIBE,  /* answer it with granted() before pulling further, then, when that is stored, with answer() */
    PROTO_UNSUBSCRIBE,/* the same */
    PROTO_SETTLE,     /* MQTT: the client's answer to a delivery; no answer owed */
    PROTO_CONSUME,    /* STOMP SUBSCRIBE; answer it, refused or not, before pulling further */
    PROTO_CANCEL,     /* STOMP UNSUBSCRIBE; answer owed when token is set */
    PROTO_ACKNOWLEDGE,/* STOMP ACK and NACK; answer owed when token is set, a refusal is told in any case */
    PROTO_BEGIN,      /* STOMP transactions; no answer owed unless token is set */
    PROTO_COMMIT,
    PROTO_ABORT,
    PROTO_DISCONNECT, /* the client said goodbye in order; a close follows, after the answer when token is set */
    PROTO_CLOSE,      /* nothing more will be read: write the output, then close (decision 40) */
};

struct proto_connect {
    struct sl_bytes client_id;   /* assigned by the caller when empty */
    bool clean_start;
    uint32_t session_expiry_s;   /* 3.1.1: 0 with clean session, else UINT32_MAX */
    bool has_username, has_password;
    struct sl_bytes username, password;
    enum message_protocol protocol;
    struct sl_bytes host;        /* STOMP */
    uint16_t receive_maximum;    /* deliveries of QoS 1 and 2 that may be unanswered; 65,535 when the client says nothing */
    bool has_will;               /* kept by the session until its own time comes */
    struct sl_bytes will_topic, will_payload;
    uint8_t will_qos;
    bool will_retain;
    uint32_t will_delay_s;
    uint8_t will_form;           /* as in proto_publish, to the end */
    bool will_has_expiry;
    uint64_t will_expiry_ms;
    struct sl_bytes will_content_type, will_correlation, will_reply_to;
    const struct message_header *will_headers;
    size_t n_will_headers;
};

struct proto_publish {
    struct sl_bytes topic;       /* valid topic name; alias already resolved; STOMP: as contract.md §3, decision 25 */
    bool to_queue;               /* STOMP /queue/NAME: `topic` is NAME, routes do not apply */
    uint8_t qos;                 /* STOMP: 1 with receipt or in a transaction, else 0 */
    bool dup, retain;
    uint8_t form;                /* enum message_flag, from MESSAGE_PAYLOAD_UTF8 on: passed on as it came */
    uint16_t packet_id;          /* MQTT QoS 1 and 2 */
    uint16_t print;              /* MQTT QoS 1: of topic and payload; who differs there is another message */
    bool again;                  /* MQTT QoS 1: what the same packet id and DUP brought before still waits for its PUBACK, which is for both */
    bool has_expiry;
    uint64_t expiry_ms;          /* MQTT 5 Message Expiry Interval: milliseconds from now */
    struct sl_bytes content_type, correlation, reply_to;
    const struct message_header *headers; /* MQTT 5 user properties; STOMP headers that are not the protocol's own */
    size_t n_headers;
    struct sl_bytes payload;
    struct sl_bytes transaction; /* STOMP: empty outside one */
};

/* One filter of a SUBSCRIBE or UNSUBSCRIBE. */
struct proto_filter {
    struct sl_bytes filter;      /* valid; of a shared subscription what follows $share/GROUP/ */
    struct sl_bytes group;       /* empty: not shared */
    uint8_t qos;
    uint8_t retain_handling;     /* 0, 1 or 2 as in section 3.8.3.1 */
    bool no_local, retain_as_published;
};

struct proto_filters {
    const struct proto_filter *v; /* the session's, like all views */
    uint32_t n;                   /* at least 1 */
    uint32_t subscription_id;     /* 0: none */
};

/* What became of one filter. */
enum proto_grant {
    PROTO_GRANT_QOS0, PROTO_GRANT_QOS1, PROTO_GRANT_QOS2, /* a subscription stands, with this QoS at most */
    PROTO_GRANT_REMOVED,   /* UNSUBSCRIBE: it is gone */
    PROTO_GRANT_NONE_WAS,  /* UNSUBSCRIBE: there was none: 0x11 */
    PROTO_GRANT_DENIED,    /* 0x87; 3.1.1: 0x80 */
    PROTO_GRANT_QUOTA,     /* 0x97; 3.1.1: 0x80 */
};

/* How far a delivery of QoS 1 or 2 has come at the client. */
enum proto_stage { PROTO_ACKED /* PUBACK */, PROTO_RECEIVED /* PUBREC */, PROTO_COMPLETED /* PUBCOMP */ };

struct proto_settle {
    enum proto_stage stage;
    uint16_t packet_id;
    bool refused;                /* a reason of 0x80 or above: the delivery is over and the message dropped */
};

/* ---- STOMP: consumers ---- */

/* Topics under it are reply destinations: `$temp/KEY/NAME`, the key being the
 * connection's. Who knows one may publish there; nobody else subscribes. */
#define PROTO_REPLY_ROOT "$temp"

enum proto_ack_mode {
    PROTO_ACK_AUTO, /* given is taken: at most once */
    PROTO_ACK_UP_TO,/* `client`: an answer counts for all deliveries up to the one it names */
    PROTO_ACK_EACH, /* `client-individual` */
};

struct proto_consume {
    uint32_t consumer;       /* the session's number for it: 1, 2, 3 …, never given again on this connection */
    bool from_queue;         /* `source` is a queue's name; else a topic filter, valid */
    bool own_reply;          /* `source` is a reply destination of this very connection */
    struct sl_bytes source;
    enum proto_ack_mode mode;
    uint32_t credit;         /* deliveries that may be unanswered at once; 0: the server's choice */
};

enum proto_verdict {
    PROTO_ACK,
    PROTO_NACK,   /* a failed attempt */
    PROTO_DEAD,   /* straight to the dead letters */
    PROTO_EXTEND, /* not answered yet: its time begins anew; never in a transaction */
};

struct proto_acknowledge {
    uint32_t consumer;
    uint64_t delivery;       /* as in proto_delivery; 0: one that was never given */
    enum proto_verdict verdict;
    bool has_ms;
    uint64_t ms;             /* NACK: instead of the backoff; EXTEND: from now */
    struct sl_bytes reason;  /* NACK, DEAD */
    struct sl_bytes transaction; /* empty outside one */
};

struct proto_disconnect {
    bool publish_will;           /* MQTT 5 reason 0x04, or no DISCONNECT at all */
    bool has_expiry;             /* MQTT 5 session expiry changed at DISCONNECT */
    uint32_t session_expiry_s;
};

struct proto_event {
    enum proto_event_kind kind;
    uint32_t token;              /* 0: no answer owed */
    union {
        struct proto_connect connect;
        struct proto_publish publish;
        uint16_t packet_id;              /* PROTO_RELEASE */
        struct proto_filters filters;    /* PROTO_SUBSCRIBE, UNSUBSCRIBE */
        struct proto_settle settle;      /* PROTO_SETTLE */
        struct proto_consume consume;    /* PROTO_CONSUME */
        uint32_t consumer;               /* PROTO_CANCEL */
        struct proto_acknowledge acknowledge;
        struct sl_bytes transaction;     /* PROTO_BEGIN, COMMIT, ABORT */
        struct proto_disconnect disconnect;
        const char *reason;              /* PROTO_CLOSE: stable word for the log ("malformed_packet") */
    } u;
};

/* What became of a PUBLISH, RELEASE or COMMIT, of a CONSUME, CANCEL,
 * ACKNOWLEDGE or DISCONNECT; PROTO_ACCEPTED and PROTO_REFUSED_STORE also of a
 * SUBSCRIBE or UNSUBSCRIBE. */
enum proto_result {
    PROTO_ACCEPTED,
    PROTO_NO_TAKER,      /* accepted by nobody: MQTT 5 0x10, else success */
    PROTO_UNKNOWN_ID,    /* RELEASE of an id we do not have: MQTT 5 0x92, else success */
    PROTO_REFUSED_QUOTA, /* 0x97; 3.1.1 withholds and closes after reject_grace; STOMP ERROR with retry-after */
    PROTO_REFUSED_DENIED,/* 0x87; 3.1.1 closes; STOMP ERROR */
    PROTO_REFUSED_TARGET,/* the topic or queue cannot be published to: MQTT 5 0x90; 3.1.1 closes; STOMP ERROR */
    PROTO_REFUSED_STORE, /* the store is broken: 0x83 / closes after grace / ERROR with retry-after */
    PROTO_REFUSED_DELIVERY,    /* ACKNOWLEDGE: no such delivery was ever given */
    PROTO_REFUSED_TRANSACTION, /* COMMIT: it answers a delivery that is over, and so does nothing */
    PROTO_REFUSED_LARGE,       /* a transaction would hold more than it may */
};

enum proto_connect_result {
    PROTO_CONNECT_OK,
    PROTO_CONNECT_BAD_CREDENTIALS, /* 0x86; 3.1.1: 4; STOMP: ERROR */
    PROTO_CONNECT_DENIED,          /* 0x87; 3.1.1: 5 */
    PROTO_CONNECT_QUOTA,           /* 0x97; 3.1.1: 3 */
    PROTO_CONNECT_RATE,            /* 0x9F; 3.1.1: 3 */
    PROTO_CONNECT_UNAVAILABLE,     /* 0x88; 3.1.1: 3 */
};

struct proto_connected {
    enum proto_connect_result result;
    bool session_present;
    struct sl_bytes client_id;     /* the id in force; told to the client if it had none */
    uint64_t reply_key;            /* STOMP: of this connection's reply destinations; nobody can guess it */
    uint32_t names_from;           /* STOMP: its consumers are called by numbers beyond this one, as those of few others are */
};

/* Why the server ends a connection on its own account. */
enum proto_bye {
    PROTO_BYE_TAKEOVER,   /* 0x8E */
    PROTO_BYE_SHUTDOWN,   /* 0x8B */
    PROTO_BYE_ADMIN,      /* 0x98 */
    PROTO_BYE_QUOTA,      /* 0x97: memory limit */
    PROTO_BYE_STORE,      /* 0x83 */
    PROTO_BYE_PROTOCOL,   /* 0x82: an answer that does not belong to its delivery */
    PROTO_BYE_SLOW,       /* STOMP: its messages came faster than it read or acknowledged them */
    PROTO_BYE_ACK_TIMEOUT,/* STOMP: a delivery was neither answered nor extended in time */
};

/* One message for one subscriber. */
struct proto_delivery {
    const struct message *msg;
    uint8_t qos;                 /* of this delivery: the lower of published and granted */
    bool dup, retain;
    uint16_t packet_id;          /* QoS 1 and 2 */
    bool has_expiry;
    uint32_t expiry_s;           /* what is left of its life, at least 1 */
    uint64_t expires_wall_ms;    /* when that ends, as of now */
    const uint32_t *subscription_ids; /* STOMP: one, the consumer's number */
    uint32_t n_ids;
    /* STOMP: */
    uint64_t delivery;           /* counts up in each consumer; 0: nothing is to be answered */
    uint32_t attempt;            /* from 1 */
    bool redelivered;
};

enum proto_delivered {
    PROTO_SENT,
    PROTO_TOO_LARGE, /* for this client: left out, and finished with as if it was sent [MQTT-3.1.2-25] */
    PROTO_ENDED,     /* the connection is over: nothing was sent */
};

/* The packets of the message that was delivered last, one for each class of
 * receivers whose packets differ in more than packet id and alias: a fan-out
 * encodes each once and copies the rest. Shared by all sessions of a protocol. */
struct proto_packets;

/* A PUBLISH of QoS 1 whose PUBACK has not been sent. */
struct proto_owed {
    uint32_t token;
    uint16_t packet_id, print;   /* as in proto_publish */
};

struct protocol {
    const char *name; /* "mqtt", "stomp": as in the configuration */

    /* Owned by the caller; `cfg` is borrowed for its life. */
    struct proto_session *(*session_new)(const struct proto_config *cfg, uint64_t now_ms);
    void (*session_free)(struct proto_session *s);

    /* Gives input; only after next() returned false (or after hold()). The
     * view must stay valid until next() returned false or hold() was called. */
    void (*feed)(struct proto_session *s, struct sl_bytes in, uint64_t now_ms);
    /* One event; false when more input is needed (an incomplete packet has
     * then been copied) or after PROTO_CLOSE. */
    bool (*next)(struct proto_session *s, struct proto_event *ev);
    /* Stop pulling for now: copies the unread rest of the input, so that
     * next() can go on later without feed(). */
    void (*hold)(struct proto_session *s);
    /* Nothing but PROTO_CLOSE (and what goes before it) will come: pull on,
     * also where input is held back. answer(), tick() and shutdown() may
     * bring this about, so next() is tried after them. */
    bool (*over)(const struct proto_session *s);

    void (*connected)(struct proto_session *s, const struct proto_connected *a);
    /* Answers the slot `token`. Unknown and already answered tokens are our
     * bug, except after PROTO_CLOSE, where all are ignored. Token 0 tells the
     * fate of a frame that is owed no answer: a refusal is then still an ERROR
     * in STOMP; in MQTT PROTO_REFUSED_DENIED and _TARGET end the connection
     * (5.0: DISCONNECT with the reason), other results do nothing. */
    void (*answer)(struct proto_session *s, uint32_t token, enum proto_result r, uint64_t now_ms);
    /* The next one that is owed, and was not refused, oldest first; *token starts at 0. false: that is all.
     * NULL: a publish has no name that could come again. */
    bool (*owed)(const struct proto_session *s, uint32_t *token, struct proto_owed *out);
    /* As answer() with PROTO_REFUSED_QUOTA, for a queue that has a grace of its own. NULL: it makes no difference. */
    void (*refuse)(struct proto_session *s, uint32_t token, uint32_t grace_ms, uint64_t now_ms);
    /* A publish waits for room, perhaps for long, or none does any more: meanwhile the answers of other
     * frames do not wait behind its answer. NULL: they do. */
    void (*parked)(struct proto_session *s, bool parked);
    /* SUBSCRIBE, UNSUBSCRIBE: one grant per filter, in their order. The answer
     * leaves when its slot is answered. */
    void (*granted)(struct proto_session *s, uint32_t token, const enum proto_grant *grants, uint32_t n);

    /* ---- deliveries; NULL in a protocol without subscribers ---- */

    struct proto_packets *(*packets_new)(void);
    void (*packets_free)(struct proto_packets *p);
    /* Appends to the output, whatever stands there already: the caller looks at
     * how much that is before it delivers. Only of an open connection. */
    enum proto_delivered (*deliver)(struct proto_session *s, const struct proto_delivery *d, struct proto_packets *p);
    /* PUBREL. `known` is false when no delivery has that id (0x92). */
    void (*release)(struct proto_session *s, uint16_t packet_id, bool known);

    /* Queue our last words; the next event is PROTO_CLOSE. */
    void (*shutdown)(struct proto_session *s, enum proto_bye why);

    /* Bytes ready to be written; the caller consumes what it wrote. The
     * session frees the memory in tick/feed when it has stayed empty. */
    struct sl_buf *(*output)(struct proto_session *s);

    /* Keep-alive, heart-beats, connect timeout, reject grace: may add output
     * or make PROTO_CLOSE the next event. */
    void (*tick)(struct proto_session *s, uint64_t now_ms);
    /* When tick() is wanted next; UINT64_MAX: never. Late by any amount is
     * fine; earlier than asked does nothing. */
    uint64_t (*deadline)(const struct proto_session *s);
    /* While reading is stopped by the caller (parking is full), the client's
     * silence is not held against it. */
    void (*pause)(struct proto_session *s, bool paused, uint64_t now_ms);
    /* Bytes of input held. */
    size_t (*buffered)(const struct proto_session *s);
};

extern const struct protocol mqtt_protocol;
extern const struct protocol stomp_protocol;

#endif
