/* The options, their defaults, and what does not go together. */
#include "args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "take.h"

#define AT(member) offsetof(struct cli_args, member)
#define SECONDS_MAX (UINT32_MAX - 1)

/* Rows that both commands have. */
#define COMMON_OPTIONS                                                                              \
    { "url", 'L', CLI_TEXT, AT(url), 0, 0, CLI_ANYWHERE },                                          \
        { "host", 'h', CLI_TEXT, AT(host), 0, 0, CLI_ANYWHERE },                                    \
        { "port", 'p', CLI_NUMBER, AT(port), 1, 65535, CLI_ANYWHERE },                              \
        { "mqtt-version", 'V', CLI_VERSION, AT(version), 0, 0, CLI_ANYWHERE },                      \
        { "id", 'i', CLI_TEXT, AT(id), 0, 0, CLI_ANYWHERE },                                        \
        { "clean", 0, CLI_FLAG, AT(clean), 0, 0, CLI_ONLY_MQTT },                                   \
        { "resume", 'c', CLI_FLAG, AT(resume), 0, 0, CLI_ONLY_MQTT },                               \
        { "session-expiry", 'x', CLI_SECONDS, AT(session_expiry), 0, CLI_NEVER, CLI_ONLY_MQTT5 },   \
        { "keep-alive", 'k', CLI_SECONDS, AT(keep_alive), 0, 65535, CLI_ANYWHERE },                 \
        { "connect-timeout", 0, CLI_SECONDS, AT(connect_timeout), 1, 3600, CLI_ANYWHERE },          \
        { "user", 'u', CLI_TEXT, AT(user), 0, 0, CLI_ANYWHERE },                                    \
        { "password", 'P', CLI_TEXT, AT(password), 0, 0, CLI_ANYWHERE },                            \
        { "password-file", 0, CLI_TEXT, AT(password_file), 0, 0, CLI_ANYWHERE },                    \
        { "tls", 0, CLI_FLAG, AT(tls), 0, 0, CLI_ONLY_PAHO },                                       \
        { "cafile", 0, CLI_TEXT, AT(cafile), 0, 0, CLI_ONLY_PAHO },                                 \
        { "capath", 0, CLI_TEXT, AT(capath), 0, 0, CLI_ONLY_PAHO },                                 \
        { "cert", 0, CLI_TEXT, AT(cert), 0, 0, CLI_ONLY_PAHO },                                     \
        { "key", 0, CLI_TEXT, AT(key), 0, 0, CLI_ONLY_PAHO },                                       \
        { "insecure", 0, CLI_FLAG, AT(insecure), 0, 0, CLI_ONLY_PAHO },                             \
        { "will-topic", 0, CLI_TEXT, AT(will_topic), 0, 0, CLI_ONLY_MQTT },                         \
        { "will-payload", 0, CLI_TEXT, AT(will_payload), 0, 0, CLI_ONLY_MQTT },                     \
        { "will-qos", 0, CLI_NUMBER, AT(will_qos), 0, 2, CLI_ONLY_MQTT },                           \
        { "will-retain", 0, CLI_FLAG, AT(will_retain), 0, 0, CLI_ONLY_MQTT },                       \
        { "will-delay", 0, CLI_SECONDS, AT(will_delay), 0, SECONDS_MAX, CLI_ONLY_MQTT5 },           \
        { "topic", 't', CLI_TEXTS, AT(topics), 0, 0, CLI_ANYWHERE },                                \
        { "qos", 'q', CLI_NUMBER, AT(qos), 0, 2, CLI_ANYWHERE },                                    \
        { "timeout", 'W', CLI_MILLIS, AT(timeout_ms), 0, 1000000000, CLI_ANYWHERE },                \
        { "json", 'j', CLI_FLAG, AT(json), 0, 0, CLI_ANYWHERE },                                    \
        { "quiet", 0, CLI_FLAG, AT(quiet), 0, 0, CLI_ANYWHERE },                                    \
        { "debug", 'd', CLI_FLAG, AT(debug), 0, 0, CLI_ANYWHERE },                                  \
        { "help", 0, CLI_FLAG, AT(help), 0, 0, CLI_ANYWHERE },                                      \
        { "stomp", 0, CLI_FLAG, AT(stomp), 0, 0, CLI_ANYWHERE },                                    \
        { "vhost", 0, CLI_TEXT, AT(vhost), 0, 0, CLI_ONLY_STOMP }

static const struct cli_option pub_options[] = {
    COMMON_OPTIONS,
    { "message", 'm', CLI_TEXTS, AT(payloads), 0, 0, CLI_ANYWHERE },
    { "file", 'f', CLI_TEXT, AT(file), 0, 0, CLI_ANYWHERE },
    { "stdin-file", 's', CLI_FLAG, AT(from_stdin), 0, 0, CLI_ANYWHERE },
    { "stdin-line", 'l', CLI_FLAG, AT(lines), 0, 0, CLI_ANYWHERE },
    { "null-message", 'n', CLI_FLAG, AT(empty), 0, 0, CLI_ANYWHERE },
    { "retain", 'r', CLI_FLAG, AT(retain), 0, 0, CLI_ANYWHERE },
    { "count", 'C', CLI_NUMBER, AT(count), 1, INT64_MAX, CLI_ANYWHERE },
    { "repeat", 0, CLI_NUMBER, AT(count), 1, INT64_MAX, CLI_ANYWHERE },
    { "interval", 0, CLI_MILLIS, AT(interval_ms), 0, 1000000000, CLI_ANYWHERE },
    { "repeat-delay", 0, CLI_MILLIS, AT(interval_ms), 0, 1000000000, CLI_ANYWHERE },
    { "window", 0, CLI_NUMBER, AT(window), 1, 65535, CLI_ANYWHERE },
    { "header", 'H', CLI_TEXTS, AT(headers), 0, 0, CLI_NOT_MQTT3 },
    { "content-type", 0, CLI_TEXT, AT(content_type), 0, 0, CLI_NOT_MQTT3 },
    { "utf8", 0, CLI_FLAG, AT(utf8), 0, 0, CLI_ONLY_MQTT5 },
    { "expiry", 0, CLI_SECONDS, AT(expiry), 0, SECONDS_MAX, CLI_NOT_MQTT3 },
    { "response-topic", 0, CLI_TEXT, AT(response_topic), 0, 0, CLI_NOT_MQTT3 },
    { "correlation", 0, CLI_TEXT, AT(correlation), 0, 0, CLI_NOT_MQTT3 },
    { "topic-alias", 0, CLI_NUMBER, AT(topic_alias), 1, 65535, CLI_ONLY_MQTT5 },
    { "wait", 'w', CLI_FLAG, AT(wait), 0, 0, CLI_NOT_MQTT3 },
};

static const struct cli_option sub_options[] = {
    COMMON_OPTIONS,
    { "count", 'C', CLI_NUMBER, AT(count), 1, INT64_MAX, CLI_ANYWHERE },
    { "format", 'F', CLI_TEXT, AT(format), 0, 0, CLI_ANYWHERE },
    { "verbose", 'v', CLI_FLAG, AT(verbose), 0, 0, CLI_ANYWHERE },
    { "no-newline", 'N', CLI_FLAG, AT(no_newline), 0, 0, CLI_ANYWHERE },
    { "unsubscribe", 'U', CLI_TEXTS, AT(unsubscribe), 0, 0, CLI_ONLY_MQTT },
    { "retained-only", 0, CLI_FLAG, AT(retained_only), 0, 0, CLI_ANYWHERE },
    { "no-retained", 'R', CLI_FLAG, AT(no_retained), 0, 0, CLI_ANYWHERE },
    { "no-local", 0, CLI_FLAG, AT(no_local), 0, 0, CLI_ONLY_MQTT5 },
    { "retain-as-published", 0, CLI_FLAG, AT(retain_as_published), 0, 0, CLI_ONLY_MQTT5 },
    { "retain-handling", 0, CLI_NUMBER, AT(retain_handling), 0, 2, CLI_ONLY_MQTT5 },
    { "subscription-id", 0, CLI_NUMBER, AT(subscription_id), 1, 268435455, CLI_ONLY_MQTT5 },
    { "receive-maximum", 0, CLI_NUMBER, AT(receive_maximum), 1, 65535, CLI_ONLY_MQTT5 },
    { "ack", 0, CLI_TEXT, AT(ack), 0, 0, CLI_ONLY_STOMP },
    { "prefetch", 0, CLI_NUMBER, AT(prefetch), 1, 65535, CLI_ONLY_STOMP },
};

static const struct cli_args defaults = {
    .version = CLI_NOT_GIVEN,
    .qos = CLI_NOT_GIVEN,
    .port = CLI_NOT_GIVEN,
    .session_expiry = CLI_NOT_GIVEN,
    .keep_alive = 60,
    .connect_timeout = 30,
    .receive_maximum = CLI_NOT_GIVEN,
    .will_qos = CLI_NOT_GIVEN,
    .will_delay = CLI_NOT_GIVEN,
    .count = CLI_NOT_GIVEN,
    .timeout_ms = CLI_NOT_GIVEN,
    .window = CLI_NOT_GIVEN,
    .expiry = CLI_NOT_GIVEN,
    .topic_alias = CLI_NOT_GIVEN,
    .retain_handling = CLI_NOT_GIVEN,
    .subscription_id = CLI_NOT_GIVEN,
    .prefetch = CLI_NOT_GIVEN,
};

/* A password in the command line can be read by every user of the machine until it is gone from there. */
static void hide(char *text)
{
    if (text != NULL)
        memset(text, 'x', strlen(text));
}

/* Takes a copy of the password and wipes the original; the copy lives as long as the process. */
static void keep_password(struct cli_args *a)
{
    if (a->password == NULL)
        return;
    char *given = (char *)(uintptr_t)a->password;
    a->password = sl_strdup(given);
    hide(given);
}

static int check_common(const char *command, struct cli_args *a)
{
    if (a->password != NULL && a->password_file != NULL)
        return cli_wrong(command, "--password and --password-file are two answers to one question");
    if (a->url != NULL && (a->host != NULL || a->port != CLI_NOT_GIVEN))
        return cli_wrong(command, "--url has host and port in it: no --host, no --port beside it");
    if ((a->cert == NULL) != (a->key == NULL))
        return cli_wrong(command, "--cert and --key belong together");
    if (a->clean && a->resume)
        return cli_wrong(command, "--clean and --resume are opposites");
    if ((a->resume || a->session_expiry > 0) && a->id == NULL)
        return cli_wrong(command, "a session is kept under the client's name: --id is missing");
    if (a->will_topic == NULL && (a->will_payload != NULL || a->will_qos != CLI_NOT_GIVEN || a->will_retain ||
                                  a->will_delay != CLI_NOT_GIVEN))
        return cli_wrong(command, "a will needs --will-topic");
    if (a->will_topic != NULL && !cli_topic_name(a->will_topic))
        return cli_wrong(command, "--will-topic: \"%s\" is no topic to publish to", a->will_topic);
    return SL_OK;
}

/* Paho searches lists: a thousand in flight are ten times slower than twenty. */
static int64_t window_of(const struct cli_args *a)
{
    if (a->window != CLI_NOT_GIVEN)
        return a->window;
    return a->stomp ? 1000 : 20;
}

/* STOMP has a receipt or none. */
static int check_qos(const char *command, struct cli_args *a)
{
    if (a->qos == CLI_NOT_GIVEN)
        a->qos = 0;
    if (a->stomp && a->qos > 1)
        return cli_wrong(command, "--qos: --stomp has 0 and 1");
    return SL_OK;
}

/* ---- pub ---- */

static int words_pub(struct cli_args *a, int argc, char **argv, int rest)
{
    if (a->topics.n > 0)
        a->topic = a->topics.v[0];
    else if (rest < argc)
        a->topic = argv[rest++];
    if (a->payloads.n > 0)
        a->payload = a->payloads.v[0];
    else if (rest < argc)
        a->payload = argv[rest++];
    if (rest < argc)
        return cli_wrong("pub", "\"%s\" is one word too many (quote a payload with blanks)", argv[rest]);
    if (a->topics.n > 1 || a->payloads.n > 1)
        return cli_wrong("pub", "one topic and one payload");
    if (a->topic == NULL)
        return cli_wrong("pub", "the topic is missing");
    if (!cli_topic_name(a->topic))
        return cli_wrong("pub", "\"%s\" is no topic to publish to: no + and #, not empty, UTF-8", a->topic);
    return SL_OK;
}

static int source_of(struct cli_args *a)
{
    if (a->payload != NULL && strcmp(a->payload, "-") == 0 && a->payloads.n == 0) {
        a->payload = NULL;
        a->from_stdin = true;
    }
    if (a->empty && a->payload == NULL)
        a->payload = "";
    else if (a->empty)
        return cli_wrong("pub", "a payload and -n contradict each other");
    int n = (a->payload != NULL) + (a->file != NULL) + a->from_stdin + a->lines;
    if (n == 0)
        return cli_wrong("pub", "the payload is missing: PAYLOAD, -f FILE, - (stdin), -l (lines of stdin) or -n (none)");
    if (n > 1)
        return cli_wrong("pub", "the payload comes from one place: PAYLOAD, -f, -, -l or -n");
    a->source = a->payload != NULL ? CLI_FROM_ARGUMENT
                : a->file != NULL  ? CLI_FROM_FILE
                : a->lines         ? CLI_FROM_LINES
                                   : CLI_FROM_STDIN;
    return SL_OK;
}

static int check_pub(struct cli_args *a)
{
    for (size_t i = 0; i < a->headers.n; i++) {
        if (!cli_header(a->headers.v[i]))
            return cli_wrong("pub", "--header \"%s\" is not NAME=VALUE in UTF-8", a->headers.v[i]);
    }
    if (a->source == CLI_FROM_LINES && a->count != CLI_NOT_GIVEN)
        return cli_wrong("pub", "-l sends each line once: no --count beside it");
    if (a->wait && (a->source == CLI_FROM_LINES || a->count > 1))
        return cli_wrong("pub", "--wait is for one message");
    if (a->json && !a->wait)
        return cli_wrong("pub", "--json is the form of --wait's result");
    if (a->response_topic != NULL && !cli_topic_name(a->response_topic))
        return cli_wrong("pub", "--response-topic: \"%s\" is no topic to publish to", a->response_topic);
    return SL_OK;
}

int cli_args_pub(int argc, char **argv, struct cli_args *out)
{
    static const struct cli_table table = { "pub", pub_options, SL_COUNT(pub_options) };
    int rest = 0;
    *out = defaults;
    int err = cli_take(&table, argc, argv, out, &rest);
    keep_password(out);
    if (err == SL_OK && out->help)
        return SL_ENOENT;
    out->window = window_of(out);
    if (err == SL_OK)
        err = check_common("pub", out);
    if (err == SL_OK)
        err = check_qos("pub", out);
    if (err == SL_OK)
        err = words_pub(out, argc, argv, rest);
    if (err == SL_OK)
        err = source_of(out);
    if (err == SL_OK)
        err = check_pub(out);
    return err;
}

/* ---- sub ---- */

static int check_destinations(const struct cli_texts *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!cli_destination_valid(list->v[i]))
            return cli_wrong("sub", "\"%s\" is neither a topic filter nor a destination such as /queue/NAME", list->v[i]);
    }
    return SL_OK;
}

/* QoS 1 and client-individual are one promise. */
static int check_ack(struct cli_args *a)
{
    if (a->ack == NULL && a->qos != CLI_NOT_GIVEN)
        a->ack = a->qos == 0 ? CLI_ACK_AUTO : CLI_ACK_EACH;
    else if (a->ack != NULL && a->qos != CLI_NOT_GIVEN)
        return cli_wrong("sub", "--ack and --qos are two answers to one question");
    if (a->ack != NULL && strcmp(a->ack, CLI_ACK_AUTO) != 0 && strcmp(a->ack, CLI_ACK_EACH) != 0)
        return cli_wrong("sub", "--ack: \"%s\" is neither auto nor client-individual", a->ack);
    return SL_OK;
}

static int check_filters(const struct cli_texts *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!cli_topic_filter(list->v[i]))
            return cli_wrong("sub", "\"%s\" is no topic filter: + and # stand alone in a level, # is the last", list->v[i]);
    }
    return SL_OK;
}

static int check_sub(struct cli_args *a)
{
    if (a->topics.n == 0 && a->unsubscribe.n == 0)
        return cli_wrong("sub", "a topic filter is missing");
    if (a->retained_only && a->no_retained)
        return cli_wrong("sub", "--retained-only and --no-retained leave nothing");
    if (a->json && a->format != NULL)
        return cli_wrong("sub", "--json and --format are two answers to one question");
    if (a->format != NULL && !cli_format_valid(a->format))
        return cli_wrong("sub", "--format: unknown %%-letter in \"%s\"", a->format);
    for (size_t i = 0; i < a->topics.n && a->no_local; i++) {
        if (strncmp(a->topics.v[i], "$share/", 7) == 0)
            return cli_wrong("sub", "--no-local is not possible with a shared subscription");
    }
    int err = a->stomp ? check_destinations(&a->topics) : check_filters(&a->topics);
    if (err == SL_OK && a->stomp)
        err = check_ack(a);
    if (err == SL_OK)
        err = check_qos("sub", a);
    return err == SL_OK ? check_filters(&a->unsubscribe) : err;
}

int cli_args_sub(int argc, char **argv, struct cli_args *out)
{
    static const struct cli_table table = { "sub", sub_options, SL_COUNT(sub_options) };
    int rest = 0;
    *out = defaults;
    int err = cli_take(&table, argc, argv, out, &rest);
    keep_password(out);
    if (err == SL_OK && out->help)
        return SL_ENOENT;
    for (int i = rest; err == SL_OK && i < argc; i++)
        cli_texts_add(&out->topics, argv[i]);
    if (err == SL_OK)
        err = check_common("sub", out);
    if (err == SL_OK)
        err = check_sub(out);
    return err;
}

void cli_args_fini(struct cli_args *a)
{
    sl_free(a->topics.v);
    sl_free(a->headers.v);
    sl_free(a->payloads.v);
    sl_free(a->unsubscribe.v);
    if (a->password != NULL)
        sl_free((void *)(uintptr_t)a->password);
    *a = (struct cli_args){ 0 };
}
