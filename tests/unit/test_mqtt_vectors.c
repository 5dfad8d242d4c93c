/* Runs the documents in vectors/mqtt (see their README) at every split. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mqtt_harness.h"

#define CALLS 8

struct vector {
    char name[128], start[8], verdict[16];
    char in[4096], log[4096], out[4096];
    char calls[CALLS][512]; /* made when all input was read */
    size_t n_calls;
};

static enum proto_result verdict_of(const char *word)
{
    static const char *const words[] = {
        [PROTO_ACCEPTED] = "accepted",     [PROTO_NO_TAKER] = "no_taker",
        [PROTO_UNKNOWN_ID] = "unknown_id", [PROTO_REFUSED_QUOTA] = "quota",
        [PROTO_REFUSED_DENIED] = "denied", [PROTO_REFUSED_TARGET] = "target",
        [PROTO_REFUSED_STORE] = "store",
    };
    for (size_t i = 0; i < SL_COUNT(words); i++)
        if (strcmp(words[i], word) == 0)
            return (enum proto_result)i;
    fail_msg("no verdict %s", word);
    return PROTO_ACCEPTED;
}

/* ---- verdicts of a SUBSCRIBE or UNSUBSCRIBE ---- */

static bool take_grant(struct harness *h, const char *word)
{
    static const char *const words[] = {
        [PROTO_GRANT_QOS0] = "qos0",         [PROTO_GRANT_QOS1] = "qos1",
        [PROTO_GRANT_QOS2] = "qos2",         [PROTO_GRANT_REMOVED] = "removed",
        [PROTO_GRANT_NONE_WAS] = "none_was", [PROTO_GRANT_DENIED] = "grant_denied",
        [PROTO_GRANT_QUOTA] = "grant_quota",
    };
    for (size_t i = 0; i < SL_COUNT(words); i++)
        if (strcmp(words[i], word) == 0)
            h->grant = (int)i;
    return h->grant != HARNESS_GRANT_ASKED;
}

/* ---- calls ---- */

struct call {
    struct message_parts parts;
    struct proto_delivery d;
    struct message_header headers[4];
    uint32_t ids[16];
    char text[512];
};

static bool has_value(char *word, const char *name, char **value)
{
    size_t n = strlen(name);
    *value = word + n + 1;
    return strncmp(word, name, n) == 0 && word[n] == '=';
}

static void take_number(struct call *c, const char *word, char *v)
{
    uint32_t number = (uint32_t)strtoul(v, NULL, 10);
    if (has_value((char *)word, "qos", &v))
        c->d.qos = (uint8_t)number;
    else if (has_value((char *)word, "id", &v))
        c->d.packet_id = (uint16_t)number;
    else if (has_value((char *)word, "subscription", &v))
        c->ids[c->d.n_ids++] = number;
    else if (has_value((char *)word, "protocol", &v))
        c->parts.protocol = (enum message_protocol)number;
    else
        fail_msg("no such word: %s", word);
}

static void take_header(struct call *c, struct sl_bytes text, bool name)
{
    c->headers[c->parts.n_headers - !name] = (struct message_header){
        .name = name ? text : c->headers[c->parts.n_headers - !name].name,
        .value = name ? SL_BYTES_NONE : text,
    };
    c->parts.n_headers += name;
}

static void take_word(struct call *c, char *word)
{
    char *v = strchr(word, '=');
    if (strcmp(word, "dup") == 0)
        c->d.dup = true;
    else if (strcmp(word, "retain") == 0)
        c->d.retain = true;
    else if (has_value(word, "form", &v))
        c->parts.flags = (uint8_t)strtoul(v, NULL, 10);
    else if (has_value(word, "expiry", &v))
        c->d.has_expiry = (c->d.expiry_s = (uint32_t)strtoul(v, NULL, 10)) > 0;
    else if (has_value(word, "topic", &v))
        c->parts.topic = sl_str(v);
    else if (has_value(word, "type", &v))
        c->parts.content_type = sl_str(v);
    else if (has_value(word, "correlation", &v))
        c->parts.correlation = sl_str(v);
    else if (has_value(word, "reply_to", &v))
        c->parts.reply_to = sl_str(v);
    else if (has_value(word, "name", &v) || has_value(word, "value", &v))
        take_header(c, sl_str(v), word[0] == 'n');
    else if (has_value(word, "body", &v))
        c->parts.payload = sl_str(v);
    else
        take_number(c, word, strchr(word, '=') + 1);
}

static void call_deliver(struct harness *h, const char *line)
{
    static const char *const words[] = {
        [PROTO_SENT] = "SENT\n", [PROTO_TOO_LARGE] = "TOO_LARGE\n", [PROTO_ENDED] = "ENDED\n"};
    static uint64_t last_id; /* as the hub gives them: never one twice */
    struct call c = {.parts = {.id = ++last_id, .protocol = MESSAGE_MQTT5, .priority = 4}};
    snprintf(c.text, sizeof c.text, "%s", line);
    for (char *word = strtok(c.text, " \n"); word != NULL; word = strtok(NULL, " \n"))
        take_word(&c, word);
    c.parts.headers = c.headers;
    struct message *m = message_new(&c.parts);
    c.d.msg = m;
    c.d.subscription_ids = c.ids;
    const char *result = words[harness_deliver(h, &c.d)];
    if (result != words[PROTO_SENT])
        assert_int_equal(sl_buf_append(&h->log, result, strlen(result)), SL_OK);
    message_unref(m);
}

static void call_release(struct harness *h, const char *line)
{
    unsigned id;
    char how[16];
    assert_int_equal(sscanf(line, "%u %15s", &id, how), 2);
    harness_release(h, (uint16_t)id, strcmp(how, "known") == 0);
}

static void make_calls(struct harness *h, const struct vector *v)
{
    for (size_t i = 0; i < v->n_calls; i++) {
        const char *line = v->calls[i];
        if (strncmp(line, "deliver ", 8) == 0)
            call_deliver(h, line + 8);
        else
            call_release(h, line + 8);
    }
}

/* ---- running ---- */

static void start(struct harness *h, const char *how)
{
    if (strcmp(how, "new") == 0)
        harness_begin(h);
    else if (strcmp(how, "5w") == 0)
        harness_open_with(h, "");
    else if (strcmp(how, "5a") == 0)
        harness_open_with(h, "17 00 22 00 01");
    else
        harness_open(h, how[0] == '5' ? MQTT_V5 : MQTT_V311);
}

static void run_at(const struct vector *v, struct sl_bytes in, size_t step)
{
    struct harness h;
    harness_init(&h);
    if (!take_grant(&h, v->verdict))
        h.verdict = verdict_of(v->verdict);
    start(&h, v->start);
    harness_feed(&h, in, step);
    make_calls(&h, v);
    expect_log(&h, v->log);
    expect_out(&h, v->out);
    harness_end(&h);
}

static unsigned run_vector(const struct vector *v)
{
    struct sl_buf in = {0};
    notation(&in, v->in);
    assert_true(sl_buf_len(&in) > 0 || v->n_calls > 0);
    print_message("  %s\n", v->name);
    unsigned runs = sl_buf_len(&in) > 0 ? (unsigned)sl_buf_len(&in) : 1;
    for (size_t step = 1; step <= runs; step++)
        run_at(v, sl_buf_view(&in), step);
    sl_buf_fini(&in);
    return runs;
}

static void add_line(char *to, size_t cap, const char *rest)
{
    size_t n = strlen(to);
    assert_true(n + strlen(rest) < cap);
    strcpy(to + n, rest);
}

static void take_call(struct vector *v, const char *line)
{
    assert_true(v->n_calls < CALLS && strlen(line) < sizeof v->calls[0]);
    strcpy(v->calls[v->n_calls++], line);
}

static void take_line(struct vector *v, const char *line)
{
    if (strncmp(line, "deliver ", 8) == 0 || strncmp(line, "release ", 8) == 0)
        take_call(v, line);
    else if (strncmp(line, "in ", 3) == 0)
        add_line(v->in, sizeof v->in, line + 3);
    else if (strncmp(line, "log ", 4) == 0)
        add_line(v->log, sizeof v->log, line + 4);
    else if (strncmp(line, "out ", 4) == 0)
        add_line(v->out, sizeof v->out, line + 4);
    else if (line[0] != '#' && line[0] != '\n')
        fail_msg("not a vector line: %s", line);
}

static void run_file(const char *path, unsigned *vectors, unsigned *runs)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    struct vector v = {0};
    char line[4096];
    bool more = true;
    while (more) {
        more = fgets(line, sizeof line, f) != NULL;
        bool starts = more && strncmp(line, "test ", 5) == 0;
        if ((starts || !more) && v.name[0] != 0) {
            *runs += run_vector(&v);
            ++*vectors;
        }
        if (starts) {
            v = (struct vector){.verdict = "accepted"};
            assert_true(sscanf(line, "test %127s %7s %15s", v.name, v.start, v.verdict) >= 2);
        } else if (more) {
            take_line(&v, line);
        }
    }
    fclose(f);
}

static void every_vector_holds_at_every_split(void **state)
{
    (void)state;
    DIR *d = opendir(MQTT_VECTORS);
    assert_non_null(d);
    unsigned vectors = 0, runs = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char path[1024];
        if (strstr(e->d_name, ".txt") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", MQTT_VECTORS, e->d_name);
        run_file(path, &vectors, &runs);
    }
    closedir(d);
    print_message("%u vectors, %u splits\n", vectors, runs);
    assert_true(vectors >= 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_vector_holds_at_every_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
