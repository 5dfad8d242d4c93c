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
#define ONLY5 "5"
#define SECONDS_MAX (UINT32_MAX - 1)

static const char no_stomp[] = "STOMP is not in this version's pub and sub; leave it out for MQTT";

/* Rows that both commands have. */
#define COMMON_OPTIONS                                                                              \
    { "url", 'L', CLI_TEXT, AT(url), 0, 0, NULL }, { "host", 'h', CLI_TEXT, AT(host), 0, 0, NULL }, \
        { "port", 'p', CLI_NUMBER, AT(port), 1, 65535, NULL },                                      \
        { "mqtt-version", 'V', CLI_VERSION, AT(version), 0, 0, NULL },                              \
        { "id", 'i', CLI_TEXT, AT(id), 0, 0, NULL },                                                \
        { "clean", 0, CLI_FLAG, AT(clean), 0, 0, NULL },                                            \
        { "resume", 'c', CLI_FLAG, AT(resume), 0, 0, NULL },                                        \
        { "session-expiry", 'x', CLI_SECONDS, AT(session_expiry), 0, CLI_NEVER, ONLY5 },            \
        { "keep-alive", 'k', CLI_SECONDS, AT(keep_alive), 0, 65535, NULL },                         \
        { "connect-timeout", 0, CLI_SECONDS, AT(connect_timeout), 1, 3600, NULL },                  \
        { "user", 'u', CLI_TEXT, AT(user), 0, 0, NULL },                                            \
        { "password", 'P', CLI_TEXT, AT(password), 0, 0, NULL },                                    \
        { "password-file", 0, CLI_TEXT, AT(password_file), 0, 0, NULL },                            \
        { "tls", 0, CLI_FLAG, AT(tls), 0, 0, NULL },                                                \
        { "cafile", 0, CLI_TEXT, AT(cafile), 0, 0, NULL },                                          \
        { "capath", 0, CLI_TEXT, AT(capath), 0, 0, NULL },                                          \
        { "cert", 0, CLI_TEXT, AT(cert), 0, 0, NULL }, { "key", 0, CLI_TEXT, AT(key), 0, 0, NULL }, \
        { "insecure", 0, CLI_FLAG, AT(insecure), 0, 0, NULL },                                      \
        { "will-topic", 0, CLI_TEXT, AT(will_topic), 0, 0, NULL },                                  \
        { "will-payload", 0, CLI_TEXT, AT(will_payload), 0, 0, NULL },                              \
        { "will-qos", 0, CLI_NUMBER, AT(will_qos), 0, 2, NULL },                                    \
        { "will-retain", 0, CLI_FLAG, AT(will_retain), 0, 0, NULL },                                \
        { "will-delay", 0, CLI_SECONDS, AT(will_delay), 0, SECONDS_MAX, ONLY5 },                    \
        { "topic", 't', CLI_TEXTS, AT(topics), 0, 0, NULL },                                        \
        { "qos", 'q', CLI_NUMBER, AT(qos), 0, 2, NULL },                                            \
        { "timeout", 'W', CLI_MILLIS, AT(timeout_ms), 0, 1000000000, NULL },                        \
        { "json", 'j', CLI_FLAG, AT(json), 0, 0, NULL },                                            \
        { "quiet", 0, CLI_FLAG, AT(quiet), 0, 0, NULL },                                            \
        { "debug", 'd', CLI_FLAG, AT(debug), 0, 0, NULL },                                          \
        { "help", 0, CLI_FLAG, AT(help), 0, 0, NULL },                                              \
        { "stomp", 0, CLI_REFUSED, 0, 0, 0, no_stomp }

static const struct cli_option pub_options[] = {
    COMMON_OPTIONS,
    { "message", 'm', CLI_TEXTS, AT(payloads), 0, 0, NULL },
    { "file", 'f', CLI_TEXT, AT(file), 0, 0, NULL },
    { "stdin-file", 's', CLI_FLAG, AT(from_stdin), 0, 0, NULL },
    { "stdin-line", 'l', CLI_FLAG, AT(lines), 0, 0, NULL },
    { "null-message", 'n', CLI_FLAG, AT(empty), 0, 0, NULL },
    { "retain", 'r', CLI_FLAG, AT(retain), 0, 0, NULL },
    { "count", 'C', CLI_NUMBER, AT(count), 1, INT64_MAX, NULL },
    { "repeat", 0, CLI_NUMBER, AT(count), 1, INT64_MAX, NULL },
    { "interval", 0, CLI_MILLIS, AT(interval_ms), 0, 1000000000, NULL },
    { "repeat-delay", 0, CLI_MILLIS, AT(interval_ms), 0, 1000000000, NULL },
    { "window", 0, CLI_NUMBER, AT(window), 1, 65535, NULL },
    { "header", 'H', CLI_TEXTS, AT(headers), 0, 0, ONLY5 },
    { "content-type", 0, CLI_TEXT, AT(content_type), 0, 0, ONLY5 },
    { "utf8", 0, CLI_FLAG, AT(utf8), 0, 0, ONLY5 },
    { "expiry", 0, CLI_SECONDS, AT(expiry), 0, SECONDS_MAX, ONLY5 },
    { "response-topic", 0, CLI_TEXT, AT(response_topic), 0, 0, ONLY5 },
    { "correlation", 0, CLI_TEXT, AT(correlation), 0, 0, ONLY5 },
    { "topic-alias", 0, CLI_NUMBER, AT(topic_alias), 1, 65535, ONLY5 },
    { "wait", 'w', CLI_FLAG, AT(wait), 0, 0, ONLY5 },
};

static const struct cli_option sub_options[] = {
    COMMON_OPTIONS,
    { "count", 'C', CLI_NUMBER, AT(count), 1, INT64_MAX, NULL },
    { "format", 'F', CLI_TEXT, AT(format), 0, 0, NULL },
    { "verbose", 'v', CLI_FLAG, AT(verbose), 0, 0, NULL },
    { "no-newline", 'N', CLI_FLAG, AT(no_newline), 0, 0, NULL },
    { "unsubscribe", 'U', CLI_TEXTS, AT(unsubscribe), 0, 0, NULL },
    { "retained-only", 0, CLI_FLAG, AT(retained_only), 0, 0, NULL },
    { "no-retained", 'R', CLI_FLAG, AT(no_retained), 0, 0, NULL },
    { "no-local", 0, CLI_FLAG, AT(no_local), 0, 0, ONLY5 },
    { "retain-as-published", 0, CLI_FLAG, AT(retain_as_published), 0, 0, ONLY5 },
    { "retain-handling", 0, CLI_NUMBER, AT(retain_handling), 0, 2, ONLY5 },
    { "subscription-id", 0, CLI_NUMBER, AT(subscription_id), 1, 268435455, ONLY5 },
    { "receive-maximum", 0, CLI_NUMBER, AT(receive_maximum), 1, 65535, ONLY5 },
};

static const struct cli_args defaults = {
    .version = 5,
    .port = CLI_NOT_GIVEN,
    .session_expiry = CLI_NOT_GIVEN,
    .keep_alive = 60,
    .connect_timeout = 30,
    .receive_maximum = CLI_NOT_GIVEN,
    .will_qos = CLI_NOT_GIVEN,
    .will_delay = CLI_NOT_GIVEN,
    .count = CLI_NOT_GIVEN,
    .timeout_ms = CLI_NOT_GIVEN,
    .window = 20, /* Paho searches lists: a thousand in flight are ten times slower than twenty */
    .expiry = CLI_NOT_GIVEN,
    .topic_alias = CLI_NOT_GIVEN,
    .retain_handling = CLI_NOT_GIVEN,
    .subscription_id = CLI_NOT_GIVEN,
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
    if (err == SL_OK)
        err = check_common("pub", out);
    if (err == SL_OK)
        err = words_pub(out, argc, argv, rest);
    if (err == SL_OK)
        err = source_of(out);
    if (err == SL_OK)
        err = check_pub(out);
    return err;
}

/* ---- sub ---- */

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
    int err = check_filters(&a->topics);
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
