/* The C SDK's batches, acks with publishes, and publishes that are waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>

#include "../workers/sdk_world.h"
#include "core/alloc.h"

static void deliver_flags(struct sl_buf *out, uint64_t tag, uint32_t attempt, uint8_t flags)
{
    struct message_parts parts = { .id = tag, .protocol = MESSAGE_MQTT5, .topic = sl_str("t") };
    struct message *m = message_new(&parts);
    struct wire_deliver d = { tag, attempt, 5, flags, message_record(m) };
    assert_int_equal(wire_encode_deliver(out, &d), SL_OK);
    message_unref(m);
}

static void send_deliver(struct gateway *g, uint64_t tag, uint32_t attempt, uint8_t flags)
{
    struct sl_buf out;
    sl_buf_init(&out, 0);
    deliver_flags(&out, tag, attempt, flags);
    gateway_write(g, sl_buf_view(&out).p, sl_buf_len(&out));
    sl_buf_fini(&out);
}

static struct sluice_worker_batch *next_batch(struct sluice_worker *w, uint32_t max, int wait_ms)
{
    struct sluice_worker_batch *b = NULL;
    assert_int_equal(sluice_worker_next_batch_within(w, 0, max, wait_ms, &b), SLUICE_WORKER_OK);
    return b;
}

/* Only batches that end by themselves may wait for ever. */
#define FOR_EVER (-1)

static void a_batch_is_acked_in_one_frame(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 4; tag++)
        gateway_deliver(&g, tag, 1, "a/b");
    struct sluice_worker_batch *b = next_batch(w, 3, FOR_EVER);
    assert_int_equal(sluice_worker_batch_size(b), 3);
    for (size_t i = 0; i < 3; i++) {
        struct sluice_worker_message *m = sluice_worker_batch_message(b, i);
        assert_int_equal(sluice_worker_message_id(m), i + 1);
        assert_true(view_is(sluice_worker_message_payload(m), "21.5"));
    }
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK); /* nothing is left to ack */
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), "ACKS tags=1,2,3\n");
    assert_int_equal(sluice_worker_message_id(next(w)), 4);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void what_of_a_batch_was_answered_by_itself_is_not_in_its_ack(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 4; tag++)
        gateway_deliver(&g, tag, 1, "t");
    struct sluice_worker_batch *b = next_batch(w, 4, FOR_EVER);
    assert_int_equal(sluice_worker_dead(sluice_worker_batch_message(b, 1), "poison"), SLUICE_WORKER_OK);
    struct sluice_worker_message *copy = sluice_worker_message_copy(sluice_worker_batch_message(b, 2));
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_ack(copy), SLUICE_WORKER_OK);
    sluice_worker_message_free(copy);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "DEAD tag=2 reason=poison\nACKS tags=1,4\nACK tag=3\nBYE\n");
    gateway_fini(&g);
}

static void without_a_wait_a_batch_is_what_is_there(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    struct sluice_worker_batch *b = NULL;
    assert_int_equal(sluice_worker_next_batch_within(w, 0, 0, 0, &b), SLUICE_WORKER_TIMEOUT);
    assert_null(b);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    b = next_batch(w, 0, 0);
    assert_int_equal(sluice_worker_batch_size(b), 2);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    gateway_deliver(&g, 3, 1, "t");
    assert_int_equal(sluice_worker_batch_size(next_batch(w, 10, 1)), 1); /* the wait is over */
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_batch_ends_where_the_pools_batch_does(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_with(&g, "welcome-batches");
    assert_true(sluice_worker_has_batches(w));
    send_deliver(&g, 1, 1, WIRE_MORE);
    send_deliver(&g, 2, 1, WIRE_MORE);
    gateway_send(&g, "stale"); /* other frames may be in between */
    send_deliver(&g, 3, 1, 0);
    send_deliver(&g, 4, 1, WIRE_MORE);
    struct sluice_worker_batch *b = next_batch(w, 0, FOR_EVER);
    assert_int_equal(sluice_worker_batch_size(b), 3);
    assert_int_equal(sluice_worker_stale_answers(w), 1);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    send_deliver(&g, 5, 1, 0);
    b = next_batch(w, 1, FOR_EVER); /* a part of a batch, where fewer are wished for */
    assert_int_equal(sluice_worker_batch_size(b), 1);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_batch_ends_when_no_more_can_come(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 64; tag++) /* the prefetch of the recorded WELCOME */
        gateway_deliver(&g, tag, 1, "t");
    struct sluice_worker_batch *b = next_batch(w, 1000, FOR_EVER);
    assert_int_equal(sluice_worker_batch_size(b), 64);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    send_deliver(&g, 65, 5, WIRE_LAST); /* the last attempt is alone in its worker */
    b = next_batch(w, 1000, FOR_EVER);
    assert_int_equal(sluice_worker_batch_size(b), 1);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    gateway_deliver(&g, 66, 1, "t");
    gateway_send(&g, "drain");
    b = next_batch(w, 1000, FOR_EVER);
    assert_int_equal(sluice_worker_batch_size(b), 1);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_next_batch(w, 0, FOR_EVER, &b), SLUICE_WORKER_DRAINED);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void sigterm_while_a_batch_gathers_gives_it_back(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    assert_int_equal(raise(SIGTERM), 0);
    struct sluice_worker_batch *b = NULL;
    assert_int_equal(sluice_worker_next_batch(w, 10, FOR_EVER, &b), SLUICE_WORKER_DRAINED);
    assert_null(b);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "BYE\n");
    gateway_fini(&g);
}

static void one_that_gathers_says_so(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    gateway_send(&g, "welcome");
    struct sluice_worker_options o = { .use_fd = true, .fd = g.worker_fd, .gathers = true };
    struct sluice_worker *w;
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), "HELLO version=1 flags=2 prefetch=0 name=c\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_forgotten_batch_is_retried_when_the_next_is_taken(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    struct sluice_worker_batch *b = next_batch(w, 2, FOR_EVER);
    assert_int_equal(sluice_worker_ack(sluice_worker_batch_message(b, 0)), SLUICE_WORKER_OK);
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_string_equal(gateway_log(&g), "ACK tag=1\nRETRY tag=2 delay=-1 reason=not answered by the worker\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static enum sluice_worker_verdict verdict_by_size(struct sluice_worker_batch *b, void *arg)
{
    static const enum sluice_worker_verdict verdicts[] = { SLUICE_WORKER_ACK, SLUICE_WORKER_RETRY, SLUICE_WORKER_RELEASE,
                                                           SLUICE_WORKER_DEAD };
    assert_int_equal(sluice_worker_batch_size(b), 2);
    return verdicts[(*(size_t *)arg)++];
}

static void a_batchs_verdict_is_for_all_of_it(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 8; tag++)
        gateway_deliver(&g, tag, 1, "t");
    gateway_send(&g, "drain");
    size_t n = 0;
    assert_int_equal(sluice_worker_run_batches(w, 2, FOR_EVER, verdict_by_size, &n), SLUICE_WORKER_DRAINED);
    assert_int_equal(n, 4);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACKS tags=1,2\nRETRY tag=3 delay=-1 reason=\nRETRY tag=4 delay=-1 reason=\n"
                                         "RELEASE tag=5\nRELEASE tag=6\nDEAD tag=7 reason=\nDEAD tag=8 reason=\nBYE\n");
    gateway_fini(&g);
}

static void the_soft_limit_of_one_is_the_batchs(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    struct sluice_worker_batch *b = next_batch(w, 2, FOR_EVER);
    unsigned seen = 99;
    assert_int_equal(sluice_worker_batch_check(b, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, 0);
    gateway_tag(&g, WIRE_SOFT_LIMIT, 2);
    assert_int_equal(sluice_worker_batch_check(b, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, SLUICE_WORKER_SOFT_LIMIT);
    assert_int_equal(sluice_worker_check(sluice_worker_batch_message(b, 0), &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, 0);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_copy_hears_of_its_soft_limit(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    struct sluice_worker_message *first = sluice_worker_message_copy(next(w));
    struct sluice_worker_message *second = sluice_worker_message_copy(next(w));
    unsigned seen = 99;
    gateway_tag(&g, WIRE_SOFT_LIMIT, 1);
    assert_int_equal(sluice_worker_check(second, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, 0);
    assert_int_equal(sluice_worker_check(first, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, SLUICE_WORKER_SOFT_LIMIT);
    sluice_worker_message_free(first);
    sluice_worker_close(w);
    sluice_worker_message_free(second); /* outlived the worker */
    gateway_fini(&g);
}

/* ---- batches that are larger than what a socket holds ---- */

struct writer {
    int fd;
    struct sl_buf out;
};

static void *write_all(void *arg)
{
    struct writer *to = arg;
    while (sl_buf_len(&to->out) > 0) {
        struct sl_bytes v = sl_buf_view(&to->out);
        ssize_t n = send(to->fd, v.p, v.n, MSG_NOSIGNAL);
        SL_ASSERT(n > 0);
        sl_buf_consume(&to->out, (size_t)n);
    }
    return NULL;
}

#define MANY 20000u

static void more_acks_than_one_frame_takes_are_two_frames(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct writer to = { .fd = g.fd };
    struct wire_welcome welcome = { .version = 1, .prefetch = MANY, .max_message = 1, .max_result = 1 };
    assert_int_equal(wire_encode_welcome(&to.out, &welcome), SL_OK);
    for (uint64_t tag = 1; tag <= MANY; tag++)
        deliver_flags(&to.out, tag, 1, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &to), 0);
    struct sluice_worker_options o = { .use_fd = true, .fd = g.worker_fd };
    struct sluice_worker *w;
    struct sluice_worker_batch *b;
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_next_batch(w, 0, FOR_EVER, &b), SLUICE_WORKER_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sluice_worker_batch_size(b), MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(sluice_worker_message_id(sluice_worker_batch_message(b, i)), i + 1);
    assert_int_equal(sluice_worker_batch_ack(b), SLUICE_WORKER_OK);
    gateway_receive(&g);
    struct wire_reader reader = { WIRE_FROM_WORKER, WIRE_FRAME_MAX, NULL };
    struct wire_frame f;
    size_t used, counts[3] = { 0 };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(wire_decode(sl_buf_view(&g.in), &reader, &f, &used), SL_OK);
        counts[i] = f.type == WIRE_ACKS ? wire_acks_count(&f.u.acks) : 0;
        sl_buf_consume(&g.in, used);
    }
    assert_int_equal(counts[0], 0); /* HELLO */
    assert_int_equal(counts[1], WIRE_ACKS_MAX);
    assert_int_equal(counts[2], MANY - WIRE_ACKS_MAX);
    sluice_worker_close(w);
    sl_buf_fini(&to.out);
    gateway_fini(&g);
}

/* ---- ack with publishes ---- */

static void an_ack_with_publishes_is_one_step_or_nothing(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_send(&g, "deliver-bare");
    struct sluice_worker_message *m = next(w);
    struct sluice_worker_publish two[] = { { .topic = "a", .payload = "1", .size = 1 }, { .topic = "b/+" } };
    struct sluice_worker_done done = { .result = "ok", .result_size = 2, .publish = two, .n_publish = 2 };
    assert_int_equal(sluice_worker_ack_with(m, &done), SLUICE_WORKER_EINVAL);
    two[1].topic = "b";
    done.result_size = 65537;
    assert_int_equal(sluice_worker_ack_with(m, &done), SLUICE_WORKER_ETOOBIG);
    done.result_size = 2;
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), ""); /* nothing of it was said */
    assert_int_equal(sluice_worker_ack_with(m, &done), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_ack_with(m, &done), SLUICE_WORKER_EANSWERED);
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), "PUBLISH ref=1 flags=0 tag=7 topic=a type= payload=1\n"
                                         "PUBLISH ref=2 flags=0 tag=7 topic=b type= payload=\n"
                                         "ACK tag=7 type= result=ok\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void publishes_with_an_ack_have_their_limit(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_send(&g, "deliver-bare");
    struct sluice_worker_message *m = next(w);
    static uint8_t mib[1u << 20];
    struct sluice_worker_publish five[5];
    for (size_t i = 0; i < 5; i++)
        five[i] = (struct sluice_worker_publish){ .topic = "t", .payload = mib, .size = sizeof mib };
    struct sluice_worker_done done = { .publish = five, .n_publish = 5 };
    assert_int_equal(sluice_worker_ack_with(m, &done), SLUICE_WORKER_ETOOBIG);
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACK tag=7\nBYE\n");
    gateway_fini(&g);
}

static void gateway_published(struct gateway *g, uint32_t ref, uint8_t code)
{
    struct sl_buf out;
    sl_buf_init(&out, 0);
    assert_int_equal(wire_encode_published(&out, &(struct wire_published_answer){ .ref = ref, .code = code }), SL_OK);
    gateway_write(g, sl_buf_view(&out).p, sl_buf_len(&out));
    sl_buf_fini(&out);
}

static void a_refused_publish_that_nobody_waited_for_is_counted(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint8_t code = 0; code <= WIRE_PUBLISHED_NOBODY; code++)
        gateway_published(&g, code + 1u, code);
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_int_equal(sluice_worker_refused_publishes(w), 4); /* topic, full, too large, store */
    assert_int_equal(sluice_worker_unheard_publishes(w), 1);
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* ---- publishes that are waited for ---- */

static void a_publish_waits_for_its_own_answer_and_keeps_the_messages(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    static const struct {
        uint8_t code;
        int err;
    } cases[] = { { WIRE_PUBLISHED_STORED, SLUICE_WORKER_OK },      { WIRE_PUBLISHED_TOPIC, SLUICE_WORKER_ETOPIC },
                  { WIRE_PUBLISHED_FULL, SLUICE_WORKER_EFULL },     { WIRE_PUBLISHED_TOO_LARGE, SLUICE_WORKER_ETOOBIG },
                  { WIRE_PUBLISHED_STORE, SLUICE_WORKER_ESTORE },   { WIRE_PUBLISHED_NOBODY, SLUICE_WORKER_OK },
                  { 77, SLUICE_WORKER_EREFUSED } };
    struct sluice_worker_publish p = { .topic = "a" };
    for (uint32_t i = 0; i < SL_COUNT(cases); i++) {
        gateway_deliver(&g, i + 1, 1, "t");
        gateway_published(&g, i + 1, cases[i].code);
        assert_int_equal(sluice_worker_publish(w, &p), cases[i].err);
    }
    assert_int_equal(sluice_worker_refused_publishes(w), 0);
    for (uint32_t i = 0; i < SL_COUNT(cases); i++) {
        struct sluice_worker_message *m = next(w);
        assert_int_equal(sluice_worker_message_id(m), i + 1);
        assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    }
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_int_equal(sluice_worker_refused_publishes(w), 0); /* each frame has its effect once */
    gateway_close(&g);
    assert_int_equal(sluice_worker_publish(w, &p), SLUICE_WORKER_EGONE);
    sluice_worker_close(w);
    gateway_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_acked_in_one_frame),
        cmocka_unit_test(what_of_a_batch_was_answered_by_itself_is_not_in_its_ack),
        cmocka_unit_test(without_a_wait_a_batch_is_what_is_there),
        cmocka_unit_test(a_batch_ends_where_the_pools_batch_does),
        cmocka_unit_test(a_batch_ends_when_no_more_can_come),
        cmocka_unit_test(sigterm_while_a_batch_gathers_gives_it_back),
        cmocka_unit_test(one_that_gathers_says_so),
        cmocka_unit_test(a_forgotten_batch_is_retried_when_the_next_is_taken),
        cmocka_unit_test(a_batchs_verdict_is_for_all_of_it),
        cmocka_unit_test(the_soft_limit_of_one_is_the_batchs),
        cmocka_unit_test(a_copy_hears_of_its_soft_limit),
        cmocka_unit_test(more_acks_than_one_frame_takes_are_two_frames),
        cmocka_unit_test(an_ack_with_publishes_is_one_step_or_nothing),
        cmocka_unit_test(publishes_with_an_ack_have_their_limit),
        cmocka_unit_test(a_refused_publish_that_nobody_waited_for_is_counted),
        cmocka_unit_test(a_publish_waits_for_its_own_answer_and_keeps_the_messages),
    };
    return cmocka_run_group_tests(tests, load_frames, NULL);
}
