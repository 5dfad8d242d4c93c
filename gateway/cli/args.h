/* The command lines of `sluice pub` and `sluice sub`, taken and checked.
 *
 * Letters are those that users of mosquitto_pub and mosquitto_sub know. What is
 * wrong is told on stderr in one line. Texts are borrowed from argv. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define CLI_NOT_GIVEN (-1)
/* Versions beside MQTT's 4 and 5. */
#define CLI_STOMP_10 10
#define CLI_STOMP_11 11
#define CLI_STOMP_12 12
#define CLI_STOMP_ANY 13 /* whatever the server prefers */
#define CLI_ACK_AUTO "auto"
#define CLI_ACK_EACH "client-individual"
#define CLI_NEVER UINT32_MAX /* a session that does not expire [MQTT-3.1.2.11.2] */

struct cli_texts {
    const char **v;
    size_t n;
};

enum cli_source { CLI_FROM_NOWHERE, CLI_FROM_ARGUMENT, CLI_FROM_FILE, CLI_FROM_STDIN, CLI_FROM_LINES };

struct cli_args {
    /* the connection */
    const char *url, *host;
    int64_t port;
    bool tls, insecure;
    const char *cafile, *capath, *cert, *key;
    int64_t version; /* 4 or 5; CLI_STOMP_10 and so on */
    const char *id;
    bool clean, resume;
    int64_t session_expiry, keep_alive, connect_timeout, receive_maximum; /* seconds; packets */
    const char *user, *password, *password_file;
    const char *will_topic, *will_payload;
    int64_t will_qos, will_delay;
    bool will_retain;
    /* both */
    struct cli_texts topics; /* -t */
    struct cli_texts headers;
    int64_t qos, count, timeout_ms;
    bool json, quiet, debug, stomp, help;
    /* pub */
    struct cli_texts payloads; /* -m */
    const char *topic, *payload, *file;
    enum cli_source source;
    bool from_stdin, lines, empty, retain, utf8, wait;
    int64_t interval_ms, window, expiry, topic_alias;
    const char *content_type, *response_topic, *correlation;
    /* sub */
    const char *format;
    struct cli_texts unsubscribe;
    bool retained_only, no_retained, no_local, retain_as_published, no_newline, verbose;
    int64_t retain_handling, subscription_id;
    /* STOMP */
    const char *vhost, *ack; /* NULL: as the destination asks */
    int64_t prefetch;
};

/* SL_OK: run it. SL_ENOENT: --help was asked for. SL_EINVAL: wrong use, and told.
 * On every outcome cli_args_fini() is due. */
SL_CHECK int cli_args_pub(int argc, char **argv, struct cli_args *out);
SL_CHECK int cli_args_sub(int argc, char **argv, struct cli_args *out);
void cli_args_fini(struct cli_args *a);

extern const char cli_pub_help[];
extern const char cli_sub_help[];

#endif
