/* The C SDK's conformance, as tests/workers/README.md asks it of every SDK: each recorded frame of a gateway is
 * understood as its text says, each recorded frame of a worker is what a verb writes, each fault ends the
 * connection, and reads may end anywhere. All through the public interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/un.h>

#include "../workers/sdk_world.h"
#include "core/alloc.h"

static struct frame_rows faults;

/* ---- what a worker writes ---- */

struct worker_row {
    const char *name;
    void (*say)(struct gateway *g, struct sluice_worker *w);
};

static void ok(int err)
{
    assert_int_equal(err, SLUICE_WORKER_OK);
}

static struct sluice_worker_message *message_7(struct gateway *g, struct sluice_worker *w)
{
    gateway_send(g, "deliver-bare");
    return next(w);
}

static void say_ack(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_ack(message_7(g, w)));
}

static void say_ack_text(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_ack_result(message_7(g, w), "21.5", 4, "text/plain; charset=utf-8"));
}

static void say_ack_json(struct gateway *g, struct sluice_worker *w)
{
    struct sluice_worker_done done = { .result = "{\"ok\":true}", .result_size = 11, .content_type = "application/json" };
    ok(sluice_worker_ack_with(message_7(g, w), &done));
}

static void say_ack_empty(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_ack_with(message_7(g, w), &(struct sluice_worker_done){ .has_result = true }));
}

static void say_acks_of(struct gateway *g, struct sluice_worker *w, uint32_t n)
{
    struct sluice_worker_batch *b;
    for (uint64_t tag = 7; tag < 7 + n; tag++)
        gateway_deliver(g, tag, 1, "t");
    ok(sluice_worker_next_batch(w, n, -1, &b));
    ok(sluice_worker_batch_ack(b));
}

static void say_acks(struct gateway *g, struct sluice_worker *w)
{
    say_acks_of(g, w, 3);
}

static void say_acks_one(struct gateway *g, struct sluice_worker *w)
{
    say_acks_of(g, w, 1);
}

static void say_retry(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_retry(message_7(g, w), -1, NULL));
}

static void say_retry_later(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_retry(message_7(g, w), 5000, "the database is away"));
}

/* Its reason is the longest that fits in whole characters. */
static void say_retry_longest(struct gateway *g, struct sluice_worker *w)
{
    char reason[2000] = { 0 };
    memset(reason, 'x', WIRE_REASON_MAX - 1);
    strcat(reason, "\xe2\x82\xac and what is cut off");
    ok(sluice_worker_retry(message_7(g, w), 0, reason));
}

static void say_release(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_release(message_7(g, w)));
}

static void say_dead(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_dead(message_7(g, w), "no number in it: \xc3\xbc"));
}

static void say_progress(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_progress(message_7(g, w), 0.4));
}

static void say_extend(struct gateway *g, struct sluice_worker *w)
{
    ok(sluice_worker_extend(message_7(g, w), 30000));
}

static void say_publish(struct gateway *g, struct sluice_worker *w)
{
    (void)g;
    ok(sluice_worker_publish(w, &(struct sluice_worker_publish){ .topic = "alerts/t", .payload = "hot", .size = 3, .unconfirmed = true }));
}

static void say_publish_full(struct gateway *g, struct sluice_worker *w)
{
    static const struct sluice_worker_header headers[] = { { "priority", "9" }, { "site", "a" }, { "site", "b" } };
    ok(sluice_worker_publish(w, &(struct sluice_worker_publish){
                                    .topic = "alerts/t", .payload = "{\"t\":91}", .size = 8, .content_type = "application/json",
                                    .headers = headers, .n_headers = 3, .retain = true, .with = message_7(g, w), .unconfirmed = true }));
}

/* Refs count from 1, so these two stand behind others, whose frames are read away. */
static void publish_before(struct gateway *g, struct sluice_worker *w, uint32_t n)
{
    struct sluice_worker_message *m = message_7(g, w);
    for (uint32_t i = 0; i < n; i++)
        ok(sluice_worker_publish(w, &(struct sluice_worker_publish){ .topic = "before", .with = m }));
    ok(sluice_worker_release(m));
    ok(sluice_worker_flush(w));
    (void)gateway_log(g);
}

static void say_publish_ref(struct gateway *g, struct sluice_worker *w)
{
    publish_before(g, w, 2);
    gateway_send(g, "published");
    ok(sluice_worker_publish(w, &(struct sluice_worker_publish){ .topic = "a" }));
}

static void say_publish_with(struct gateway *g, struct sluice_worker *w)
{
    publish_before(g, w, 3);
    ok(sluice_worker_publish(w, &(struct sluice_worker_publish){ .topic = "results/t", .payload = "22", .size = 2, .content_type = "text/plain",
                                                                 .with = message_7(g, w) }));
}

static const struct worker_row worker_rows[] = {
    { "ack", say_ack },
    { "ack-text", say_ack_text },
    { "ack-json", say_ack_json },
    { "ack-empty-result", say_ack_empty },
    { "acks", say_acks },
    { "acks-one", say_acks_one },
    { "retry", say_retry },
    { "retry-later", say_retry_later },
    { "retry-longest-reason", say_retry_longest },
    { "release", say_release },
    { "dead", say_dead },
    { "progress", say_progress },
    { "extend", say_extend },
    { "publish", say_publish },
    { "publish-full", say_publish_full },
    { "publish-ref", say_publish_ref },
    { "publish-with", say_publish_with },
};

static bool check_verb(const struct frame_row *row)
{
    for (size_t i = 0; i < SL_COUNT(worker_rows); i++) {
        if (strcmp(worker_rows[i].name, row->name) != 0)
            continue;
        struct gateway g;
        gateway_init(&g);
        struct sluice_worker *w = open_worker(&g);
        worker_rows[i].say(&g, w);
        ok(sluice_worker_flush(w));
        gateway_expect_bytes(&g, row->name);
        sluice_worker_close(w);
        gateway_fini(&g);
        return true;
    }
    return false;
}

/* The frames at the two ends of a connection. */
static void *accept_and_welcome(void *arg)
{
    struct gateway *g = arg;
    g->fd = accept(g->worker_fd, NULL, NULL);
    const struct frame_row *row = frames_find(&frames, "welcome");
    SL_ASSERT(g->fd >= 0 && send(g->fd, row->bytes, row->n, MSG_NOSIGNAL) == (ssize_t)row->n);
    return NULL;
}

static void check_hello_with_token(void)
{
    char dir[] = "/tmp/sluice-worker-XXXXXX";
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    assert_non_null(mkdtemp(dir));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/s", dir);
    struct gateway g = { .fd = -1, .worker_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_int_equal(bind(g.worker_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(g.worker_fd, 1), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, accept_and_welcome, &g), 0);
    struct sluice_worker *w;
    ok(sluice_worker_open(&(struct sluice_worker_options){ .name = "demo", .socket = at.sun_path, .token = "s3cret" }, &w));
    assert_int_equal(pthread_join(thread, NULL), 0);
    gateway_expect_bytes(&g, "hello-token");
    sluice_worker_close(w);
    (void)close(g.worker_fd);
    gateway_fini(&g);
    (void)unlink(at.sun_path);
    (void)rmdir(dir);
}

static bool check_ends(const struct frame_row *row)
{
    if (strcmp(row->name, "hello-token") == 0) {
        check_hello_with_token();
        return true;
    }
    bool full = strcmp(row->name, "hello") == 0, gathers = strcmp(row->name, "hello-gathers") == 0;
    if (!full && !gathers && strcmp(row->name, "hello-plain") != 0 && strcmp(row->name, "bye") != 0)
        return false;
    struct gateway g;
    gateway_init(&g);
    gateway_send(&g, "welcome");
    struct sluice_worker_options o = { .name = "demo", .use_fd = true, .fd = g.worker_fd, .soft_limit = full, .gathers = gathers, .prefetch = full ? 16 : 0 };
    struct sluice_worker *w;
    ok(sluice_worker_open(&o, &w));
    gateway_expect_bytes(&g, full || gathers ? row->name : "hello-plain");
    sluice_worker_close(w);
    gateway_expect_bytes(&g, "bye");
    gateway_fini(&g);
    return true;
}

static void each_frame_of_a_worker_is_what_a_verb_writes(void **state)
{
    (void)state;
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        if (row->from == WIRE_FROM_WORKER && !check_ends(row) && !check_verb(row))
            fail_msg("no verb is known that writes %s", row->name);
    }
}

/* ---- what a worker understands, in the words of the rows ---- */

static void put(struct sl_buf *out, const char *name, struct sluice_worker_view v)
{
    if (v.size > 0)
        assert_int_equal(sl_buf_printf(out, " %s=%.*s", name, (int)v.size, v.data), SL_OK);
}

static unsigned flags_of(const struct sluice_worker_message *m, bool more)
{
    return (sluice_worker_message_redelivered(m) ? 1u : 0u) | (sluice_worker_message_is_last(m) ? 2u : 0u) | (more ? 4u : 0u);
}

static void describe_message(struct sl_buf *out, const struct sluice_worker_message *m, uint64_t tag, bool more)
{
    int err = sl_buf_printf(out, "DELIVER tag=%" PRIu64 " attempt=%u max=%u flags=%u id=%016" PRIx64 " protocol=%s", tag,
                            sluice_worker_message_attempt(m), sluice_worker_message_max_attempts(m), flags_of(m, more),
                            sluice_worker_message_id(m), sluice_worker_message_protocol(m));
    put(out, "topic", sluice_worker_message_topic(m));
    put(out, "client", sluice_worker_message_client_id(m));
    put(out, "user", sluice_worker_message_user(m));
    put(out, "type", sluice_worker_message_content_type(m));
    if (sluice_worker_message_correlation(m).size > 0)
        err |= sl_buf_printf(out, " correlation=%zu", sluice_worker_message_correlation(m).size);
    put(out, "reply_to", sluice_worker_message_reply_to(m));
    put(out, "job", sluice_worker_message_job_id(m));
    put(out, "dedup", sluice_worker_message_dedup_id(m));
    struct sluice_worker_view name, value, payload = sluice_worker_message_payload(m);
    for (size_t pos = 0; sluice_worker_message_header_next(m, &pos, &name, &value);)
        err |= sl_buf_printf(out, " %.*s=%.*s", (int)name.size, name.data, (int)value.size, value.data);
    err |= sl_buf_printf(out, " payload=%.*s", (int)payload.size, payload.data == NULL ? "" : payload.data);
    assert_int_equal(err, SL_OK);
}

/* The tag is in what the worker answers. */
static uint64_t tag_of_answer(struct gateway *g)
{
    const char *log = gateway_log(g);
    assert_int_equal(strncmp(log, "RELEASE tag=", 12), 0);
    return strtoull(log + 12, NULL, 10);
}

static void understand_deliver(const struct frame_row *row, struct sl_buf *out)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_with(&g, "welcome-batches");
    gateway_write(&g, row->bytes, row->n);
    struct sluice_worker_batch *b;
    ok(sluice_worker_next_batch(w, 0, 0, &b));
    struct sluice_worker_message *m = sluice_worker_message_copy(sluice_worker_batch_message(b, 0));
    /* Whether more of the batch follow shows in that an endless wait does not end. */
    ok(sluice_worker_release(m));
    ok(sluice_worker_flush(w));
    uint64_t tag = tag_of_answer(&g);
    gateway_write(&g, row->bytes, row->n);
    gateway_send(&g, "deliver-bare");
    ok(sluice_worker_next_batch(w, 2, -1, &b));
    describe_message(out, m, tag, sluice_worker_batch_size(b) == 2);
    sluice_worker_message_free(m);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void understand_welcome(const struct frame_row *row, struct sl_buf *out)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_with(&g, row->name);
    unsigned flags = (sluice_worker_has_batches(w) ? 1u : 0u) | (sluice_worker_is_external(w) ? 2u : 0u);
    assert_int_equal(sl_buf_printf(out,
                                   "WELCOME version=1 flags=%u prefetch=%u concurrency=%u time_limit=%u soft=%u max_message=%u max_result=%u"
                                   " queue=%s pool=%s node=%s",
                                   flags, sluice_worker_prefetch(w), sluice_worker_concurrency(w), sluice_worker_time_limit_ms(w),
                                   sluice_worker_soft_time_limit_ms(w), sluice_worker_max_message(w), sluice_worker_max_result(w),
                                   sluice_worker_queue(w), sluice_worker_pool(w), sluice_worker_node(w)),
                     SL_OK);
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* SOFT_LIMIT and STALE for message 7: the state that the word stands for. */
static void understand_state(const struct frame_row *row, struct sl_buf *out)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    struct sluice_worker_message *m = message_7(&g, w);
    gateway_write(&g, row->bytes, row->n);
    unsigned seen = 0;
    ok(sluice_worker_check(m, &seen));
    assert_true(seen == SLUICE_WORKER_SOFT_LIMIT || seen == SLUICE_WORKER_STALE);
    assert_int_equal(sluice_worker_stale_answers(w), seen == SLUICE_WORKER_STALE);
    assert_int_equal(sl_buf_printf(out, "%s tag=7", seen == SLUICE_WORKER_STALE ? "STALE" : "SOFT_LIMIT"), SL_OK);
    ok(sluice_worker_ack(m));
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void understand_end(const struct frame_row *row, struct sl_buf *out)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_write(&g, row->bytes, row->n);
    int err = next_error(w);
    int code = err == SLUICE_WORKER_EDENIED ? 5 : err == SLUICE_WORKER_ESTORE ? 6 : 2; /* 1 to 4 are one error */
    int printed = err == SLUICE_WORKER_DRAINED ? sl_buf_printf(out, "DRAIN")
                                               : sl_buf_printf(out, "ERROR code=%d text=%s", code, sluice_worker_detail());
    assert_int_equal(printed, SL_OK);
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* The answer to the third or fourth publish of a connection. */
static void understand_published(const struct frame_row *row, struct sl_buf *out)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    uint32_t ref = row->bytes[WIRE_HEAD];
    publish_before(&g, w, ref - 1);
    gateway_write(&g, row->bytes, row->n);
    int err = sluice_worker_publish(w, &(struct sluice_worker_publish){ .topic = "a" });
    int code = err == SLUICE_WORKER_ETOPIC ? 1 : err != SLUICE_WORKER_OK ? 99 : sluice_worker_unheard_publishes(w) > 0 ? 6 : 0;
    assert_int_equal(sl_buf_printf(out, "PUBLISHED ref=%u code=%d detail=%s", ref, code, sluice_worker_detail()), SL_OK);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void each_frame_of_a_gateway_is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        void (*understand)(const struct frame_row *row, struct sl_buf *out);
    } by_word[] = { { "DELIVER ", understand_deliver }, { "WELCOME ", understand_welcome }, { "SOFT_LIMIT ", understand_state },
                    { "STALE ", understand_state },     { "DRAIN", understand_end },        { "ERROR ", understand_end },
                    { "PUBLISHED ", understand_published } };
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        if (row->from != WIRE_FROM_GATEWAY)
            continue;
        struct sl_buf out;
        sl_buf_init(&out, 0);
        for (size_t k = 0; k < SL_COUNT(by_word); k++)
            if (strncmp(row->text, by_word[k].word, strlen(by_word[k].word)) == 0)
                by_word[k].understand(row, &out);
        assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
        assert_string_equal((const char *)sl_buf_view(&out).p, row->text);
        sl_buf_fini(&out);
    }
}

/* ---- faults, splits ---- */

static void each_fault_of_a_gateway_ends_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < faults.n; i++) {
        const struct frame_row *row = &faults.rows[i];
        if (row->from != WIRE_FROM_GATEWAY)
            continue;
        struct gateway g;
        gateway_init(&g);
        struct sluice_worker *w = open_worker(&g);
        gateway_write(&g, row->bytes, row->n);
        if (next_error(w) != SLUICE_WORKER_EPROTOCOL)
            fail_msg("%s is not refused", row->name);
        assert_string_equal(sluice_worker_detail(), row->text);
        sluice_worker_close(w);
        assert_string_equal(gateway_log(&g), ""); /* no BYE to somebody who speaks another language */
        gateway_fini(&g);
    }
}

static void take_all(struct gateway *g, struct sluice_worker *w, struct sl_buf *log)
{
    struct sluice_worker_message *m;
    int err;
    while ((err = sluice_worker_next_within(w, 0, &m)) == SLUICE_WORKER_OK) {
        describe_message(log, m, 0, false);
        ok(sluice_worker_release(m));
        ok(sluice_worker_flush(w));
        assert_int_equal(sl_buf_printf(log, " of %" PRIu64 "\n", tag_of_answer(g)), SL_OK);
    }
    assert_int_equal(err, SLUICE_WORKER_TIMEOUT);
}

/* What may stand in the middle of a conversation: all but WELCOME, DRAIN and ERROR. */
static void converse(size_t step, struct sl_buf *log)
{
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    struct sl_buf all;
    sl_buf_init(&all, 0);
    for (size_t i = 0; i < frames.n; i++)
        if (frames.rows[i].from == WIRE_FROM_GATEWAY && strchr("DSP", frames.rows[i].text[0]) != NULL &&
            strcmp(frames.rows[i].name, "drain") != 0)
            assert_int_equal(sl_buf_append(&all, frames.rows[i].bytes, frames.rows[i].n), SL_OK);
    while (sl_buf_len(&all) > 0) {
        size_t n = step < sl_buf_len(&all) ? step : sl_buf_len(&all);
        gateway_write(&g, sl_buf_view(&all).p, n);
        sl_buf_consume(&all, n);
        take_all(&g, w, log);
    }
    assert_int_equal(sl_buf_printf(log, "stale=%" PRIu64 " refused=%" PRIu64 " unheard=%" PRIu64 "\n", sluice_worker_stale_answers(w),
                                   sluice_worker_refused_publishes(w), sluice_worker_unheard_publishes(w)),
                     SL_OK);
    sl_buf_fini(&all);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_conversation_is_the_same_at_every_split(void **state)
{
    (void)state;
    struct sl_buf whole, pieces;
    sl_buf_init(&whole, 0);
    sl_buf_init(&pieces, 0);
    converse(SIZE_MAX, &whole);
    assert_non_null(memmem(sl_buf_view(&whole).p, sl_buf_len(&whole), "stale=1 refused=1 unheard=1\n", 28));
    for (size_t step = 1; step <= 200; step++) {
        converse(step, &pieces);
        assert_true(sl_bytes_eq(sl_buf_view(&pieces), sl_buf_view(&whole)));
        sl_buf_clear(&pieces);
    }
    sl_buf_fini(&whole);
    sl_buf_fini(&pieces);
}

static int load_all(void **state)
{
    frames_load_file(&faults, FAULTS_FILE);
    return load_frames(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_frame_of_a_worker_is_what_a_verb_writes),
        cmocka_unit_test(each_frame_of_a_gateway_is_understood),
        cmocka_unit_test(each_fault_of_a_gateway_ends_the_connection),
        cmocka_unit_test(a_conversation_is_the_same_at_every_split),
    };
    return cmocka_run_group_tests(tests, load_all, NULL);
}
