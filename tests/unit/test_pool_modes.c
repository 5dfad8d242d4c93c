/* The three modes without processes: answers at every split, deliveries as bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "claims.h"
#include "mode.h"
#include "wire/wire.h"

static struct pool_config config(enum pool_mode mode)
{
    return (struct pool_config){ .name = "p", .queue_name = "q", .node = "n", .mode = mode, .prefetch = 8, .concurrency = 1,
                                 .max_message = 1000, .max_result = 100 };
}

static void show(struct sl_buf *out, const struct mode_answer *a)
{
    static const char *const names[] = {
        [MODE_HELLO] = "hello", [MODE_ACK] = "ack", [MODE_RETRY] = "retry", [MODE_RELEASE] = "release", [MODE_DEAD] = "dead",
        [MODE_PROGRESS] = "progress", [MODE_EXTEND] = "extend", [MODE_PUBLISH] = "publish", [MODE_BYE] = "bye", [MODE_OUTPUT] = "output",
    };
    int err = sl_buf_printf(out, "%s %llx", names[a->kind], (unsigned long long)a->name);
    if (a->has_delay || a->kind == MODE_EXTEND)
        err |= sl_buf_printf(out, " ms=%llu", (unsigned long long)a->delay_ms);
    if (a->per_mille > 0)
        err |= sl_buf_printf(out, " per_mille=%u", a->per_mille);
    if (a->gathers)
        err |= sl_buf_append(out, " gathers", 8);
    if (a->worker_name.n > 0)
        err |= sl_buf_printf(out, " worker=%.*s", (int)a->worker_name.n, (const char *)a->worker_name.p);
    if (a->token.n > 0)
        err |= sl_buf_printf(out, " token=%.*s", (int)a->token.n, (const char *)a->token.p);
    if (a->reason.n > 0)
        err |= sl_buf_printf(out, " reason=%.*s", (int)a->reason.n, (const char *)a->reason.p);
    if (a->has_result || a->kind == MODE_OUTPUT)
        err |= sl_buf_printf(out, " result=%.*s", (int)a->result.n, (const char *)a->result.p);
    if (a->kind == MODE_PUBLISH)
        err |= sl_buf_printf(out, " topic=%.*s payload=%.*s ref=%u", (int)a->topic.n, (const char *)a->topic.p, (int)a->payload.n,
                             (const char *)a->payload.p, (unsigned)a->ref);
    err |= sl_buf_append(out, "\n", 1);
    assert_int_equal(err, SL_OK);
}

/* Feeds `step` bytes at a time, as reads would; the fault ends it. */
static void feed(enum pool_mode mode, struct sl_bytes in, size_t step, struct sl_buf *out)
{
    struct pool_config cfg = config(mode);
    struct mode m;
    struct sl_buf got = { 0 };
    int err = SL_EMORE;
    mode_init(&m, &cfg);
    for (size_t at = 0; at < in.n && err == SL_EMORE; at += step) {
        assert_int_equal(sl_buf_append(&got, in.p + at, step < in.n - at ? step : in.n - at), SL_OK);
        struct mode_answer a;
        size_t used;
        while ((err = m.ops->next(&m, sl_buf_view(&got), &a, &used)) == SL_OK) {
            show(out, &a);
            sl_buf_consume(&got, used);
        }
    }
    if (err != SL_EMORE)
        assert_int_equal(sl_buf_printf(out, "%s %s\n", sl_err_name(err), m.fault), SL_OK);
    assert_int_equal(sl_buf_append(out, "", 1), SL_OK);
    sl_buf_fini(&got);
    mode_fini(&m);
}

static void at_every_split(enum pool_mode mode, struct sl_bytes in, const char *expected)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct sl_buf out = { 0 };
        feed(mode, in, step, &out);
        if (strcmp((const char *)out.p, expected) != 0)
            fail_msg("%.*s at %zu: got %s instead of %s", (int)in.n, (const char *)in.p, step, (const char *)out.p, expected);
        sl_buf_fini(&out);
    }
}

#define ID "\"id\":\"00000000000000ff\""

static void lines_are_the_contracts_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "{" ID ",\"ack\":true}\n", "ack ff\n" },
        { "{" ID ",\"ack\":true,\"result\":\"21.5\"}\r\n", "ack ff result=21.5\n" },
        { " {\"ack\":true, " ID " , \"result_base64\":\"aGk=\"} \n", "ack ff result=hi\n" },
        { "{" ID ",\"ack\":true,\"result\":\"\"}\n", "ack ff result=\n" },
        { "{" ID ",\"retry\":true}\n{" ID ",\"retry\":true,\"delay\":\"5s\",\"reason\":\"busy\"}\n", "retry ff\nretry ff ms=5000 reason=busy\n" },
        { "{" ID ",\"release\":true}\n", "release ff\n" },
        { "{" ID ",\"dead\":true,\"reason\":\"poison\"}\n", "dead ff reason=poison\n" },
        { "{" ID ",\"progress\":0.4}\n", "progress ff per_mille=400\n" },
        { "{" ID ",\"extend\":\"30s\"}\n", "extend ff ms=30000\n" },
        { "{\"publish\":{\"topic\":\"a/b\",\"payload\":\"x\"}}\n", "publish 0 topic=a/b payload=x ref=0\n" },
        { "{\"publish\":{\"topic\":\"a/b\",\"payload_base64\":\"eHl6\"}}\n", "publish 0 topic=a/b payload=xyz ref=0\n" },
        { "{" ID ",\"dead\":true,\"reason\":\"a\\\\u0000b\"}\n", "dead ff reason=a\\u0000b\n" },
        { "hello\n", "SL_EPEER not-json\n" },
        { "\n", "SL_EPEER not-json\n" },
        { "[]\n", "SL_EPEER not-an-object\n" },
        { "{}\n", "SL_EPEER no-verb\n" },
        { "{" ID "}\n", "SL_EPEER no-verb\n" },
        { "{" ID ",\"ack\":false}\n", "SL_EPEER verb-not-true\n" },
        { "{" ID ",\"ack\":true,\"dead\":true}\n", "SL_EPEER no-verb\n" },
        { "{" ID ",\"ack\":true,\"ack\":true}\n", "SL_EPEER key-twice\n" },
        { "{" ID ",\"ack\":true,\"colour\":1}\n", "SL_EPEER key-unknown\n" },
        { "{" ID ",\"ack\":true} x\n", "SL_EPEER not-json\n" },
        { "{\"id\":255,\"ack\":true}\n", "SL_EPEER not-a-string\n" },
        { "{\"id\":\"ff\",\"ack\":true}\n", "SL_EPEER id-malformed\n" },
        { "{\"id\":\"00000000000000FF\",\"ack\":true}\n", "SL_EPEER id-malformed\n" },
        { "{\"ack\":true}\n", "SL_EPEER id-malformed\n" },
        { "{" ID ",\"retry\":true,\"delay\":5}\n", "SL_EPEER not-a-string\n" },
        { "{" ID ",\"retry\":true,\"delay\":\"soon\"}\n", "SL_EPEER duration-malformed\n" },
        { "{" ID ",\"progress\":1.5}\n", "SL_EPEER progress-range\n" },
        { "{" ID ",\"progress\":\"0.5\"}\n", "SL_EPEER progress-range\n" },
        { "{" ID ",\"extend\":\"0s\"}\n", "SL_EPEER extend-zero\n" },
        { "{" ID ",\"dead\":true,\"reason\":\"a\\u0000b\"}\n", "SL_EPEER nul\n" },
        { "{" ID ",\"dead\":true,\"reason\":\"\xff\"}\n", "SL_EPEER not-utf8\n" },
        { "{" ID ",\"ack\":true,\"result\":\"a\",\"result_base64\":\"aGk=\"}\n", "SL_EPEER content-twice\n" },
        { "{" ID ",\"ack\":true,\"result_base64\":\"?\"}\n", "SL_EPEER not-base64\n" },
        { "{\"publish\":7}\n", "SL_EPEER publish-not-an-object\n" },
        { "{\"publish\":{}}\n", "SL_EPEER no-verb\n" },
        { "{\"publish\":{\"payload\":\"x\"}}\n", "SL_EPEER topic-empty\n" },
        { "{\"publish\":{\"topic\":\"a\",\"id\":\"x\"}}\n", "SL_EPEER key-unknown\n" },
        { "{\"publish\":{\"topic\":\"a\"}," ID "}\n", "SL_EPEER no-verb\n" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++)
        at_every_split(POOL_LINES, sl_str(cases[i].in), cases[i].out);
}

static void lines_know_their_limits(void **state)
{
    (void)state;
    char text[400];
    struct sl_buf out = { 0 };
    (void)snprintf(text, sizeof text, "{" ID ",\"ack\":true,\"result\":\"%0101d\"}\n", 1);
    at_every_split(POOL_LINES, sl_str(text), "SL_ETOOBIG result-too-large\n");
    size_t n = (256u << 10) + 6000 + 1;
    char *endless = malloc(n);
    assert_non_null(endless);
    memset(endless, ' ', n);
    feed(POOL_LINES, sl_bytes_of(endless, n), 4096, &out);
    assert_string_equal((const char *)out.p, "SL_ETOOBIG line-too-long\n");
    free(endless);
    sl_buf_fini(&out);
}

static void frames_are_answers_at_every_split(void **state)
{
    (void)state;
    struct sl_buf in = { 0 };
    assert_int_equal(wire_encode_hello(&in, &(struct wire_hello){ WIRE_VERSION, WIRE_GATHERS, 4, sl_str("w"), sl_str("secret") }), SL_OK);
    assert_int_equal(wire_encode_ack(&in, &(struct wire_ack){ .tag = 1 }), SL_OK);
    assert_int_equal(wire_encode_ack(&in, &(struct wire_ack){ 2, true, sl_str("text/plain"), sl_str("ok") }), SL_OK);
    assert_int_equal(wire_encode_retry(&in, &(struct wire_retry){ 3, WIRE_DELAY_BY_QUEUE, sl_str("busy") }), SL_OK);
    assert_int_equal(wire_encode_retry(&in, &(struct wire_retry){ 3, 0, SL_BYTES_NONE }), SL_OK);
    assert_int_equal(wire_encode_tag(&in, WIRE_RELEASE, 4), SL_OK);
    assert_int_equal(wire_encode_dead(&in, &(struct wire_dead){ 5, sl_str("poison") }), SL_OK);
    assert_int_equal(wire_encode_progress(&in, &(struct wire_progress){ 6, 400 }), SL_OK);
    assert_int_equal(wire_encode_extend(&in, &(struct wire_extend){ 7, 30000 }), SL_OK);
    assert_int_equal(wire_encode_publish(&in, &(struct wire_publish){ .ref = 9, .tag = 8, .topic = sl_str("a"), .payload = sl_str("x") }), SL_OK);
    static const uint8_t tags[] = { 9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
    assert_int_equal(wire_encode_acks(&in, &(struct wire_acks){ sl_bytes_of(tags, sizeof tags) }), SL_OK);
    assert_int_equal(wire_encode_acks(&in, &(struct wire_acks){ sl_bytes_of(tags, 8) }), SL_OK);
    assert_int_equal(wire_encode_empty(&in, WIRE_BYE), SL_OK);
    at_every_split(POOL_SOCKET, sl_buf_view(&in),
                   "hello 0 gathers worker=w token=secret\nack 1\nack 2 result=ok\nretry 3 reason=busy\nretry 3 ms=0\nrelease 4\ndead 5 reason=poison\n"
                   "progress 6 per_mille=400\nextend 7 ms=30000\npublish 8 topic=a payload=x ref=9\nack 9\nack a\nack 100\nack 9\nbye 0\n");
    sl_buf_clear(&in);
    static uint8_t big[200];
    assert_int_equal(wire_encode_ack(&in, &(struct wire_ack){ 2, true, SL_BYTES_NONE, sl_bytes_of(big, sizeof big) }), SL_OK);
    at_every_split(POOL_SOCKET, sl_buf_view(&in), "SL_ETOOBIG result-too-large\n");
    sl_buf_fini(&in);
}

/* ---- out ---- */

static struct message *sample(struct sl_bytes payload)
{
    static const struct message_header headers[] = {
        { { (const uint8_t *)"trace-id", 8 }, { (const uint8_t *)"first", 5 } },
        { { (const uint8_t *)"Trace.Id", 8 }, { (const uint8_t *)"second", 6 } },
    };
    struct message_parts p = { .id = 0x10000000001, .protocol = MESSAGE_STOMP, .topic = sl_str("a/\"b\""), .client_id = sl_str("dev-1"),
                               .headers = headers, .n_headers = 2, .payload = payload };
    return message_new(&p);
}

static void deliver(enum pool_mode mode, struct message *m, struct sl_buf *out)
{
    struct pool_config cfg = config(mode);
    struct queue_delivery q = { .lease = 1, .attempt = 2, .redelivered = true, .msg = m };
    struct hub_delivery from = { &q, 5, true };
    struct mode_delivery d = { .tag = 77, .from = &from, .queue_name = "q" };
    struct mode x;
    mode_init(&x, &cfg);
    x.ops->deliver(&x, &d, out);
    mode_fini(&x);
}

static void a_line_carries_text_as_it_is_and_bytes_as_base64(void **state)
{
    (void)state;
    static const struct {
        const char *payload, *member;
        size_t n;
    } cases[] = {
        { "21.5", "\"payload\":\"21.5\"}\n", 4 },
        { "", "\"payload\":\"\"}\n", 0 },
        { "\xc3\xa9\n", "\"payload\":\"\xc3\xa9\\n\"}\n", 3 },
        { "a\0b", "\"payload_base64\":\"YQBi\"}\n", 3 },
        { "\xff\xfe", "\"payload_base64\":\"//4=\"}\n", 2 },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct sl_buf out = { 0 };
        char expected[512];
        struct message *m = sample(sl_bytes_of(cases[i].payload, cases[i].n));
        deliver(POOL_LINES, m, &out);
        (void)snprintf(expected, sizeof expected,
                       "{\"id\":\"0000010000000001\",\"queue\":\"q\",\"topic\":\"a/\\\"b\\\"\",\"attempt\":2,"
                       "\"headers\":[[\"trace-id\",\"first\"],[\"Trace.Id\",\"second\"]],\"content_type\":\"\",%s", cases[i].member);
        assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
        assert_string_equal((const char *)out.p, expected);
        message_unref(m);
        sl_buf_fini(&out);
    }
}

static void a_frame_carries_the_record(void **state)
{
    (void)state;
    struct sl_buf out = { 0 };
    struct message *m = sample(sl_str("x"));
    deliver(POOL_SOCKET, m, &out);
    struct wire_reader r = { .from = WIRE_FROM_GATEWAY, .max_frame = WIRE_FRAME_MAX };
    struct wire_frame f;
    size_t used;
    assert_int_equal(wire_decode(sl_buf_view(&out), &r, &f, &used), SL_OK);
    assert_int_equal(f.u.deliver.tag, 77);
    assert_int_equal(f.u.deliver.attempt, 2);
    assert_int_equal(f.u.deliver.max_attempts, 5);
    assert_int_equal(f.u.deliver.flags, WIRE_REDELIVERED | WIRE_MORE);
    assert_true(sl_bytes_eq(f.u.deliver.record, message_record(m)));
    message_unref(m);
    sl_buf_fini(&out);
}

static void a_welcome_says_what_the_pool_is(void **state)
{
    (void)state;
    struct pool_config cfg = config(POOL_SOCKET);
    struct sl_buf out = { 0 };
    struct mode x;
    mode_init(&x, &cfg);
    x.ops->welcome(&x, &(struct mode_welcome){ .prefetch = 8, .batches = true, .external = true, .time_limit_ms = 30000 }, &out);
    struct wire_reader r = { .from = WIRE_FROM_GATEWAY, .max_frame = WIRE_FRAME_MAX };
    struct wire_frame f;
    size_t used;
    assert_int_equal(wire_decode(sl_buf_view(&out), &r, &f, &used), SL_OK);
    assert_int_equal(f.u.welcome.flags, WIRE_BATCHES | WIRE_EXTERNAL);
    assert_int_equal(f.u.welcome.prefetch, 8);
    assert_int_equal(f.u.welcome.time_limit_ms, 30000);
    assert_int_equal(f.u.welcome.soft_time_limit_ms, 0);
    mode_fini(&x);
    sl_buf_fini(&out);
}

static const char *env_value(char **env, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; env[i] != NULL; i++)
        if (strncmp(env[i], name, n) == 0 && env[i][n] == '=')
            return env[i] + n + 1;
    return NULL;
}

static char **env_of(struct message *m)
{
    struct queue_delivery q = { .lease = 1, .attempt = 2, .msg = m };
    struct hub_delivery from = { &q, 5, false };
    return mode_exec_env(&(struct mode_delivery){ .from = &from, .queue_name = "q" });
}

static void exec_gets_its_message_in_the_environment(void **state)
{
    (void)state;
    struct message *m = sample(sl_str("x"));
    char **env = env_of(m);
    assert_string_equal(env_value(env, "SLUICE_ID"), "0000010000000001");
    assert_string_equal(env_value(env, "SLUICE_QUEUE"), "q");
    assert_string_equal(env_value(env, "SLUICE_TOPIC"), "a/\"b\"");
    assert_string_equal(env_value(env, "SLUICE_ATTEMPT"), "2");
    assert_string_equal(env_value(env, "SLUICE_CLIENT_ID"), "dev-1");
    assert_string_equal(env_value(env, "SLUICE_PROTOCOL"), "stomp");
    assert_string_equal(env_value(env, "SLUICE_HEADER_TRACE_ID"), "first");
    assert_null(env_value(env, "SLUICE_REPLY_TO"));
    assert_null(env_value(env, "SLUICE_HEADERS_TRUNCATED"));
    mode_exec_env_free(env);
    message_unref(m);
}

static void headers_over_64_kib_are_left_out_of_the_environment(void **state)
{
    (void)state;
    static uint8_t value[40000];
    memset(value, 'v', sizeof value);
    const struct message_header headers[] = { { sl_str("a"), sl_bytes_of(value, sizeof value) }, { sl_str("b"), sl_bytes_of(value, sizeof value) } };
    struct message_parts p = { .id = 1, .protocol = MESSAGE_MQTT5, .topic = sl_str("t"), .headers = headers, .n_headers = 2 };
    struct message *m = message_new(&p);
    char **env = env_of(m);
    assert_string_equal(env_value(env, "SLUICE_HEADERS_TRUNCATED"), "1");
    assert_null(env_value(env, "SLUICE_HEADER_A"));
    assert_string_equal(env_value(env, "SLUICE_TOPIC"), "t");
    mode_exec_env_free(env);
    message_unref(m);
}

static void exits_are_verdicts(void **state)
{
    (void)state;
    assert_int_equal(mode_exec_verdict(0), VERDICT_ACK);
    assert_int_equal(mode_exec_verdict(75 << 8), VERDICT_RETRY);
    assert_int_equal(mode_exec_verdict(65 << 8), VERDICT_DEAD);
    assert_int_equal(mode_exec_verdict(1 << 8), VERDICT_LOST);
    assert_int_equal(mode_exec_verdict(9), VERDICT_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_contracts_and_nothing_else),
        cmocka_unit_test(lines_know_their_limits),
        cmocka_unit_test(frames_are_answers_at_every_split),
        cmocka_unit_test(a_line_carries_text_as_it_is_and_bytes_as_base64),
        cmocka_unit_test(a_frame_carries_the_record),
        cmocka_unit_test(a_welcome_says_what_the_pool_is),
        cmocka_unit_test(exec_gets_its_message_in_the_environment),
        cmocka_unit_test(headers_over_64_kib_are_left_out_of_the_environment),
        cmocka_unit_test(exits_are_verdicts),
    };
    return cmocka_run_group_tests_name("pool_modes", tests, NULL, NULL);
}
