/* The C SDK's buffers: when answers are written, and that reads may end anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "../workers/sdk_world.h"
#include "core/alloc.h"

static void answers_wait_until_the_worker_would_wait(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    assert_int_equal(sluice_worker_ack(next(w)), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), "");
    assert_int_equal(sluice_worker_ack(next(w)), SLUICE_WORKER_OK);
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_string_equal(gateway_log(&g), "ACK tag=1\nACK tag=2\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void answers_go_out_before_a_suspect_is_handed_out(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 2, "t");
    assert_int_equal(sluice_worker_ack(next(w)), SLUICE_WORKER_OK);
    (void)next(w);
    assert_string_equal(gateway_log(&g), "ACK tag=1\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void many_answers_are_written_when_the_buffer_is_large(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    static uint8_t result[65536];
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    assert_int_equal(sluice_worker_ack(next(w)), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(&g), "");
    assert_int_equal(sluice_worker_ack_result(next(w), result, sizeof result, NULL),
                     SLUICE_WORKER_OK);
    gateway_receive(&g);
    assert_int_equal(sl_buf_len(&g.in), WIRE_HEAD + 8 + WIRE_HEAD + 8 + 2 + sizeof result);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_delivery_is_taken_at_any_split(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    const struct frame_row *row = frames_find(&frames, "deliver-full");
    for (size_t cut = 1; cut < row->n; cut++) {
        gateway_write(&g, row->bytes, cut);
        assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
        gateway_write(&g, row->bytes + cut, row->n - cut);
        struct sluice_worker_message *m = next(w);
        assert_true(view_is(sluice_worker_message_payload(m), "{\"t\":21.5}"));
        assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    }
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* 4,000 small ones, then one that is larger than the first inbox, then small ones again. */
static void large_and_small_messages_pass_through_one_inbox(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    size_t size = 600000;
    struct message_parts parts = { .id = 9, .protocol = MESSAGE_HTTP, .topic = sl_str("big") };
    uint8_t *payload = sl_calloc(1, size);
    parts.payload = sl_bytes_of(payload, size);
    struct message *big = message_new(&parts);
    struct wire_deliver d = { 9, 1, 0, 0, message_record(big) };
    struct sl_buf out;
    sl_buf_init(&out, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wire_encode_deliver(&out, &d), SL_OK);
    size_t got = 0;
    while (got < 3) {
        size_t n = sl_buf_len(&out) < 50000 ? sl_buf_len(&out) : 50000;
        if (n > 0)
            gateway_write(&g, sl_buf_view(&out).p, n);
        sl_buf_consume(&out, n);
        struct sluice_worker_message *m;
        int err = sluice_worker_next_within(w, 0, &m);
        if (err == SLUICE_WORKER_OK) {
            got++;
            assert_int_equal(sluice_worker_message_payload(m).size, size);
            assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
        } else {
            assert_int_equal(err, SLUICE_WORKER_TIMEOUT);
        }
    }
    message_unref(big);
    sl_free(payload);
    sl_buf_fini(&out);
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* A handler of two milliseconds. */
static void work_slowly(void)
{
    struct timespec from, now;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    do
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < 2000000L);
}

static void an_answer_does_not_wait_for_a_slow_handler(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 4; tag++)
        gateway_deliver(&g, tag, 1, "t");
    struct sluice_worker_message *m = next(w);
    work_slowly();
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    m = next(w);
    assert_string_equal(gateway_log(&g), "ACK tag=1\n");
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    m = next(w); /* the next one may be as slow as the first */
    assert_string_equal(gateway_log(&g), "ACK tag=2\n");
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    sluice_worker_close(w);
    gateway_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_wait_until_the_worker_would_wait),
        cmocka_unit_test(answers_go_out_before_a_suspect_is_handed_out),
        cmocka_unit_test(many_answers_are_written_when_the_buffer_is_large),
        cmocka_unit_test(a_delivery_is_taken_at_any_split),
        cmocka_unit_test(large_and_small_messages_pass_through_one_inbox),
        cmocka_unit_test(an_answer_does_not_wait_for_a_slow_handler),
    };
    return cmocka_run_group_tests(tests, load_frames, NULL);
}
