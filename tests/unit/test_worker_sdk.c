/* The C SDK against a gateway that lives in the test: a socketpair, the
 * gateway's frames written before the SDK reads, the SDK's frames read back and
 * compared with the recorded ones. One thread, no clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "../workers/sdk_world.h"
#include "core/alloc.h"

/* ---- life ---- */

static void hello_and_welcome_are_exchanged(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker_options o = {
        .name = "demo", .prefetch = 16, .use_fd = true, .fd = g.worker_fd, .soft_limit = true
    };
    struct sluice_worker *w;
    gateway_send(&g, "welcome");
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_OK);
    gateway_expect_bytes(&g, "hello");
    assert_string_equal(sluice_worker_queue(w), "telemetry");
    assert_string_equal(sluice_worker_pool(w), "ingest");
    assert_string_equal(sluice_worker_node(w), "gw-1");
    assert_int_equal(sluice_worker_time_limit_ms(w), 60000);
    assert_int_equal(sluice_worker_concurrency(w), 1);
    assert_int_equal(sluice_worker_max_result(w), 65536);
    assert_int_equal(sluice_worker_fd(w), g.worker_fd);
    sluice_worker_close(w);
    gateway_expect_bytes(&g, "bye");
    gateway_fini(&g);
}

static void without_sluice_fd_it_says_so(void **state)
{
    (void)state;
    struct sluice_worker *w = NULL;
    assert_int_equal(unsetenv("SLUICE_FD"), 0);
    assert_int_equal(sluice_worker_open(NULL, &w), SLUICE_WORKER_ENOFD);
    assert_non_null(strstr(sluice_worker_detail(), "SLUICE_FD is not set"));
    assert_int_equal(setenv("SLUICE_FD", "three", 1), 0);
    assert_int_equal(sluice_worker_open(NULL, &w), SLUICE_WORKER_ENOFD);
    int pipe_fds[2];
    char number[16];
    assert_int_equal(pipe(pipe_fds), 0);
    (void)snprintf(number, sizeof number, "%d", pipe_fds[0]);
    assert_int_equal(setenv("SLUICE_FD", number, 1), 0);
    assert_int_equal(sluice_worker_open(NULL, &w), SLUICE_WORKER_ENOFD);
    assert_non_null(strstr(sluice_worker_detail(), "not a stream socket"));
    assert_null(w);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    (void)unsetenv("SLUICE_FD");
}

static enum sluice_worker_verdict ack_all(struct sluice_worker_message *m, void *arg)
{
    (void)m;
    *(int *)arg += 1;
    return SLUICE_WORKER_ACK;
}

static void main_takes_the_descriptor_from_the_environment(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    char number[16];
    (void)snprintf(number, sizeof number, "%d", g.worker_fd);
    assert_int_equal(setenv("SLUICE_FD", number, 1), 0);
    gateway_send(&g, "welcome");
    gateway_send(&g, "deliver-bare");
    gateway_send(&g, "drain");
    int count = 0;
    assert_int_equal(sluice_worker_main(ack_all, &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(gateway_log(&g),
                        "HELLO version=1 flags=0 prefetch=0 name=c\nACK tag=7\nBYE\n");
    (void)unsetenv("SLUICE_FD");
    gateway_fini(&g);
}

static void a_refusal_at_the_door_carries_the_gateways_words(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker_options o = { .use_fd = true, .fd = g.worker_fd };
    struct sluice_worker *w = NULL;
    gateway_send(&g, "error");
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_EREFUSED);
    assert_string_equal(sluice_worker_detail(), "type-unknown");
    assert_null(w);
    (void)close(g.worker_fd);
    gateway_fini(&g);
}

static void a_gateway_that_leaves_before_welcome_is_gone(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker_options o = { .use_fd = true, .fd = g.worker_fd };
    struct sluice_worker *w = NULL;
    assert_int_equal(shutdown(g.fd, SHUT_WR), 0);
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_EGONE);
    assert_null(w);
    (void)close(g.worker_fd);
    gateway_fini(&g);
}

/* ---- messages ---- */

static void every_field_of_a_message_can_be_asked_for(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_send(&g, "deliver-full");
    struct sluice_worker_message *m = next(w);
    assert_int_equal(sluice_worker_message_id(m), 0x20000000a0);
    assert_true(view_is(sluice_worker_message_topic(m), "site/1/t"));
    assert_true(view_is(sluice_worker_message_payload(m), "{\"t\":21.5}"));
    assert_true(view_is(sluice_worker_message_client_id(m), "dev-1"));
    assert_true(view_is(sluice_worker_message_user(m), "ann"));
    assert_true(view_is(sluice_worker_message_content_type(m), "application/json"));
    assert_true(view_is(sluice_worker_message_correlation(m), "\x01\x02"));
    assert_true(view_is(sluice_worker_message_reply_to(m), "r/1"));
    assert_true(view_is(sluice_worker_message_job_id(m), "j-1"));
    assert_true(view_is(sluice_worker_message_dedup_id(m), "d-1"));
    assert_string_equal(sluice_worker_message_protocol(m), "stomp");
    assert_int_equal(sluice_worker_message_qos(m), 2);
    assert_int_equal(sluice_worker_message_priority(m), 9);
    assert_true(sluice_worker_message_retain(m));
    assert_int_equal(sluice_worker_message_accepted_at(m), 1700000000123);
    assert_int_equal(sluice_worker_message_deliver_at(m), 1700000001000);
    assert_int_equal(sluice_worker_message_expires_at(m), 1700000002000);
    assert_int_equal(sluice_worker_message_attempt(m), 5);
    assert_int_equal(sluice_worker_message_max_attempts(m), 5);
    assert_true(sluice_worker_message_redelivered(m));
    assert_true(sluice_worker_message_is_last(m));
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void headers_are_found_by_name_and_in_order(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_send(&g, "deliver-full");
    struct sluice_worker_message *m = next(w);
    struct sluice_worker_view name, value;
    assert_true(sluice_worker_message_header(m, "k", &value));
    assert_true(view_is(value, "v"));
    assert_false(sluice_worker_message_header(m, "K", &value));
    size_t pos = 0, n = 0;
    while (sluice_worker_message_header_next(m, &pos, &name, &value))
        n++;
    assert_int_equal(n, 3);
    assert_true(view_is(name, "unit"));
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* ---- verbs: the bytes are the recorded ones ---- */

struct verb_row {
    const char *frame;
    int (*call)(struct sluice_worker_message *m);
};

static int call_ack_text(struct sluice_worker_message *m)
{
    return sluice_worker_ack_result(m, "21.5", 4, "text/plain; charset=utf-8");
}

static int call_ack_empty(struct sluice_worker_message *m)
{
    return sluice_worker_ack_result(m, NULL, 0, NULL);
}

static int call_retry(struct sluice_worker_message *m)
{
    return sluice_worker_retry(m, -1, NULL);
}

static int call_retry_later(struct sluice_worker_message *m)
{
    return sluice_worker_retry(m, 5000, "the database is away");
}

static int call_dead(struct sluice_worker_message *m)
{
    return sluice_worker_dead(m, "no number in it: \xc3\xbc");
}

static const struct verb_row verbs[] = {
    { "ack", sluice_worker_ack },
    { "ack-text", call_ack_text },
    { "ack-empty-result", call_ack_empty },
    { "retry", call_retry },
    { "retry-later", call_retry_later },
    { "release", sluice_worker_release },
    { "dead", call_dead },
};

static void each_verb_writes_the_recorded_bytes_once(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (size_t i = 0; i < SL_COUNT(verbs); i++) {
        gateway_send(&g, "deliver-bare");
        struct sluice_worker_message *m = next(w);
        assert_int_equal(verbs[i].call(m), SLUICE_WORKER_OK);
        assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_EANSWERED);
        assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
        gateway_expect_bytes(&g, verbs[i].frame);
    }
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void progress_and_extend_are_written_at_once(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_send(&g, "deliver-bare");
    struct sluice_worker_message *m = next(w);
    assert_int_equal(sluice_worker_progress(m, 0.4), SLUICE_WORKER_OK);
    gateway_expect_bytes(&g, "progress");
    assert_int_equal(sluice_worker_extend(m, 30000), SLUICE_WORKER_OK);
    gateway_expect_bytes(&g, "extend");
    assert_int_equal(sluice_worker_progress(m, 1.1), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_progress(m, -0.1), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_extend(m, 0), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_retry(m, -2, NULL), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_extend(m, 1), SLUICE_WORKER_EANSWERED);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACK tag=7\nBYE\n");
    gateway_fini(&g);
}

static void publishing_writes_the_recorded_bytes(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    struct sluice_worker_publish p = {
        .topic = "alerts/t", .payload = "hot", .size = 3, .unconfirmed = true
    };
    assert_int_equal(sluice_worker_publish(w, &p), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
    gateway_expect_bytes(&g, "publish");
    gateway_send(&g, "deliver-bare");
    struct sluice_worker_message *m = next(w);
    const struct sluice_worker_header headers[] = { { "priority", "9" },
                                                    { "site", "a" },
                                                    { "site", "b" } };
    struct sluice_worker_publish full = {
        "alerts/t", "{\"t\":91}", 8, "application/json", headers, 3, true, m, true
    };
    assert_int_equal(sluice_worker_publish(w, &full), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_OK);
    gateway_expect_bytes(&g, "publish-full");
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_publish(w, &full), SLUICE_WORKER_EANSWERED);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void what_the_gateway_would_refuse_is_not_sent(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    static const char *const topics[] = { NULL, "", "a/+", "#", "\xff" };
    for (size_t i = 0; i < SL_COUNT(topics); i++) {
        struct sluice_worker_publish p = { .topic = topics[i] };
        assert_int_equal(sluice_worker_publish(w, &p), SLUICE_WORKER_EINVAL);
    }
    const struct sluice_worker_header bad = { "", "x" };
    struct sluice_worker_publish p = { .topic = "a", .headers = &bad, .n_headers = 1 };
    assert_int_equal(sluice_worker_publish(w, &p), SLUICE_WORKER_EINVAL);
    struct sluice_worker_publish large = { .topic = "a", .payload = "", .size = (1u << 20) + 1 };
    assert_int_equal(sluice_worker_publish(w, &large), SLUICE_WORKER_ETOOBIG);
    gateway_send(&g, "deliver-bare");
    struct sluice_worker_message *m = next(w);
    assert_int_equal(sluice_worker_ack_result(m, "", 65537, NULL), SLUICE_WORKER_ETOOBIG);
    assert_int_equal(sluice_worker_ack_result(m, "", 0, "\xff"), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACK tag=7\nBYE\n");
    gateway_fini(&g);
}

/* ---- run ---- */

static enum sluice_worker_verdict verdict_by_tag(struct sluice_worker_message *m, void *arg)
{
    (void)arg;
    uint64_t id = sluice_worker_message_id(m);
    if (id == 5)
        assert_int_equal(sluice_worker_retry(m, 9, "own words"), SLUICE_WORKER_OK);
    return (enum sluice_worker_verdict)(id - 1);
}

static void verdicts_become_answers(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    for (uint64_t tag = 1; tag <= 5; tag++)
        gateway_deliver(&g, tag, 1, "t");
    gateway_send(&g, "drain");
    assert_int_equal(sluice_worker_run(w, verdict_by_tag, NULL), SLUICE_WORKER_DRAINED);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g),
                        "ACK tag=1\nRETRY tag=2 delay=-1 reason=\nRELEASE tag=3\n"
                        "DEAD tag=4 reason=\nRETRY tag=5 delay=9 reason=own words\nBYE\n");
    gateway_fini(&g);
}

static void a_forgotten_message_is_retried_when_the_next_is_taken(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    (void)next(w);
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_string_equal(gateway_log(&g),
                        "RETRY tag=1 delay=-1 reason=not answered by the worker\n");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void copies_are_answered_later_together(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    struct sluice_worker_message *copies[3];
    for (uint64_t tag = 1; tag <= 3; tag++)
        gateway_deliver(&g, tag, 1, "a/b");
    for (size_t i = 0; i < 3; i++) {
        struct sluice_worker_message *m = next(w);
        copies[i] = sluice_worker_message_copy(m);
        assert_null(sluice_worker_message_copy(m));
        assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_EANSWERED);
    }
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_string_equal(gateway_log(&g), "");
    for (size_t i = 0; i < 3; i++) {
        assert_true(view_is(sluice_worker_message_topic(copies[i]), "a/b"));
        assert_int_equal(sluice_worker_ack(copies[i]), SLUICE_WORKER_OK);
        sluice_worker_message_free(copies[i]);
    }
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACK tag=1\nACK tag=2\nACK tag=3\nBYE\n");
    gateway_fini(&g);
}

/* ---- check ---- */

static void check_sees_the_soft_limit_and_keeps_the_message(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "keep/me");
    struct sluice_worker_message *m = next(w);
    struct sluice_worker_view topic = sluice_worker_message_topic(m);
    unsigned seen = 99;
    assert_int_equal(sluice_worker_check(m, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, 0);
    for (uint64_t i = 0; i < 3000; i++) { /* more than one inbox: it moves under the message */
        gateway_deliver(&g, 10 + i, 1, "next/one");
        assert_int_equal(sluice_worker_check(m, &seen), SLUICE_WORKER_OK);
    }
    assert_int_equal(seen, 0);
    gateway_tag(&g, WIRE_SOFT_LIMIT, 1);
    gateway_tag(&g, WIRE_STALE, 1);
    assert_int_equal(sluice_worker_check(m, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, SLUICE_WORKER_SOFT_LIMIT | SLUICE_WORKER_STALE);
    assert_true(view_is(topic, "keep/me"));
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    for (uint64_t i = 0; i < 3000; i++) {
        m = next(w);
        assert_int_equal(sluice_worker_message_id(m), 10 + i);
        assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    }
    assert_int_equal(next_error(w), SLUICE_WORKER_TIMEOUT);
    assert_int_equal(sluice_worker_stale_answers(w), 1);
    sluice_worker_close(w);
    gateway_fini(&g);
}

/* ---- the end ---- */

static void drain_finishes_what_was_delivered(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    gateway_send(&g, "drain");
    int count = 0;
    assert_int_equal(sluice_worker_run(w, ack_all, &count), SLUICE_WORKER_DRAINED);
    assert_int_equal(count, 2);
    assert_string_equal(gateway_log(&g), "ACK tag=1\nACK tag=2\n");
    assert_int_equal(next_error(w), SLUICE_WORKER_DRAINED);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "BYE\n");
    gateway_fini(&g);
}

static enum sluice_worker_verdict raise_sigterm(struct sluice_worker_message *m, void *arg)
{
    unsigned seen = 0;
    *(int *)arg += 1;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(sluice_worker_check(m, &seen), SLUICE_WORKER_OK);
    assert_int_equal(seen, SLUICE_WORKER_STOPPING);
    return SLUICE_WORKER_ACK;
}

static void sigterm_finishes_the_current_message_and_gives_the_rest_back(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    gateway_deliver(&g, 2, 1, "t");
    int count = 0;
    assert_int_equal(sluice_worker_run(w, raise_sigterm, &count), SLUICE_WORKER_DRAINED);
    assert_int_equal(count, 1);
    sluice_worker_close(w);
    assert_string_equal(gateway_log(&g), "ACK tag=1\nBYE\n");
    gateway_fini(&g);
}

static void sigterm_before_waiting_is_not_missed(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    assert_int_equal(raise(SIGTERM), 0);
    struct sluice_worker_message *m;
    assert_int_equal(sluice_worker_next_within(w, 5000, &m), SLUICE_WORKER_DRAINED);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_gateway_that_is_gone_is_not_a_drain(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_close(&g);
    assert_int_equal(next_error(w), SLUICE_WORKER_EGONE);
    assert_int_equal(next_error(w), SLUICE_WORKER_EGONE);
    assert_int_equal(sluice_worker_flush(w), SLUICE_WORKER_EGONE);
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void a_gateway_that_goes_under_a_message_is_seen_when_writing(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_deliver(&g, 1, 1, "t");
    struct sluice_worker_message *m = next(w);
    gateway_send(&g, "error");
    gateway_close(&g);
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    assert_int_equal(next_error(w), SLUICE_WORKER_EREFUSED);
    assert_string_equal(sluice_worker_detail(), "type-unknown");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void bytes_that_are_no_frame_end_the_connection(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    gateway_write(&g, "\x01\0\0\0\x02", 5);
    assert_int_equal(next_error(w), SLUICE_WORKER_EPROTOCOL);
    assert_string_equal(sluice_worker_detail(), "direction");
    sluice_worker_close(w);
    gateway_fini(&g);
}

static void every_error_has_its_text(void **state)
{
    (void)state;
    assert_string_equal(sluice_worker_error_text(SLUICE_WORKER_OK), "no error");
    assert_string_equal(sluice_worker_error_text(SLUICE_WORKER_ESYS), "the system refused");
    assert_string_equal(sluice_worker_error_text(SLUICE_WORKER_EDENIED - 1), "unknown error");
    assert_string_equal(sluice_worker_error_text(SLUICE_WORKER_EDENIED),
                        "this process may not join the pool");
    assert_string_equal(sluice_worker_error_text(1), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_and_welcome_are_exchanged),
        cmocka_unit_test(without_sluice_fd_it_says_so),
        cmocka_unit_test(main_takes_the_descriptor_from_the_environment),
        cmocka_unit_test(a_refusal_at_the_door_carries_the_gateways_words),
        cmocka_unit_test(a_gateway_that_leaves_before_welcome_is_gone),
        cmocka_unit_test(every_field_of_a_message_can_be_asked_for),
        cmocka_unit_test(headers_are_found_by_name_and_in_order),
        cmocka_unit_test(each_verb_writes_the_recorded_bytes_once),
        cmocka_unit_test(progress_and_extend_are_written_at_once),
        cmocka_unit_test(publishing_writes_the_recorded_bytes),
        cmocka_unit_test(what_the_gateway_would_refuse_is_not_sent),
        cmocka_unit_test(verdicts_become_answers),
        cmocka_unit_test(a_forgotten_message_is_retried_when_the_next_is_taken),
        cmocka_unit_test(copies_are_answered_later_together),
        cmocka_unit_test(check_sees_the_soft_limit_and_keeps_the_message),
        cmocka_unit_test(drain_finishes_what_was_delivered),
        cmocka_unit_test(sigterm_finishes_the_current_message_and_gives_the_rest_back),
        cmocka_unit_test(sigterm_before_waiting_is_not_missed),
        cmocka_unit_test(a_gateway_that_is_gone_is_not_a_drain),
        cmocka_unit_test(a_gateway_that_goes_under_a_message_is_seen_when_writing),
        cmocka_unit_test(bytes_that_are_no_frame_end_the_connection),
        cmocka_unit_test(every_error_has_its_text),
    };
    return cmocka_run_group_tests(tests, load_frames, NULL);
}
