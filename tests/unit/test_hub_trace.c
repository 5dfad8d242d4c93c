/* What happened to one message, from the ring of events and from the store. */
#include "hub/operate.h"
#include "hub/trace.h"
#include "test_hub_kit.h"

struct told {
    uint32_t times, n;
    struct sl_buf text;
};

static struct kit *asked; /* whose hub prints */

static void on_trace(void *arg, uint64_t id, const struct hub_trace_event *v, uint32_t n)
{
    struct told *t = arg;
    t->times++;
    t->n = n;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(v[i].id, id);
        hub_trace_print(asked->h, &v[i], &t->text);
    }
}

static void open_queue(struct kit *k, uint32_t events)
{
    k->trace_events = events;
    k->wall_ms = 1700000000000u; /* 2023-11-14T22:13:20Z */
    kit_open(k);
    struct queue_config q = kit_queue("q", 1);
    q.max_attempts = 2;
    q.retry_initial_ms = 1000;
    (void)hub_add_queue(k->h, &q);
    assert_int_equal(hub_add_route(k->h, "t", 0), SL_OK);
}

static uint64_t publish(struct kit *k)
{
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("t"), .payload = sl_str("x") };
    struct queue_peeked p[8];
    assert_int_equal(hub_publish(k->h, &parts), SL_OK);
    uint32_t n = queue_peek(hub_queue(k->h, 0), QUEUE_READY, p, SL_COUNT(p));
    assert_true(n > 0);
    kit_turn(k);
    return p[n - 1].id;
}

/* The store reads when it was accepted; without a store of this test, ten seconds ago. */
static void give_body(struct kit *k)
{
    struct batch_fetch *f = kit_fetched(k);
    if (f == NULL)
        return;
    f->msgs[0] = message_new(&(struct message_parts){ .id = f->ids[0], .protocol = MESSAGE_WORKER, .accepted_at = 1699999990000u });
    hub_fetched(k->h, f);
    kit_turn(k);
}

static struct told ask(struct kit *k, uint64_t id)
{
    struct told t = { .times = 0 };
    asked = k;
    assert_int_equal(hub_trace(k->h, id, on_trace, &t), SL_OK);
    assert_int_equal(t.times, 0);
    kit_turn(k);
    give_body(k);
    assert_int_equal(t.times, 1);
    assert_int_equal(sl_buf_append(&t.text, "", 1), SL_OK);
    return t;
}

static void assert_trace(struct kit *k, uint64_t id, const char *text)
{
    struct told t = ask(k, id);
    assert_string_equal((const char *)sl_buf_view(&t.text).p, text);
    sl_buf_fini(&t.text);
}

static struct hub_answer answer(enum queue_verb verb, const char *reason)
{
    return (struct hub_answer){ .verb = { .verb = verb, .has_delay = verb == QUEUE_RETRY, .delay_ms = 1000 }, .reason = sl_str(reason) };
}

static void the_whole_life_of_a_message_is_told_in_order(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 100);
    uint64_t id = publish(&k), other = publish(&k);
    kit_pass(&k, 5);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct hub_answer retry = answer(QUEUE_RETRY, "no\nluck"), release = answer(QUEUE_RELEASE, ""), dead = answer(QUEUE_KILL, "bad");
    kit_answer(w, 1, &release);
    kit_answer(w, 0, &retry);
    kit_settle(&k);
    assert_trace(&k, id,
                 "2023-11-14T22:13:20.000Z q accepted\n"
                 "2023-11-14T22:13:20.005Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:20.005Z q attempt 1 failed: retry (no luck), again 2023-11-14T22:13:21.005Z\n"
                 "2023-11-14T22:13:20.025Z q now delayed until 2023-11-14T22:13:21.005Z, failed attempts 1\n");
    kit_pass(&k, 1000);
    kit_worker_end(&k.workers[0]);
    w = kit_worker(&k, 0, 0);
    kit_ack(w, 0);
    kit_answer(w, 0, &dead);
    kit_settle(&k);
    assert_trace(&k, other,
                 "2023-11-14T22:13:20.000Z q accepted\n"
                 "2023-11-14T22:13:20.005Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:20.005Z q released, again 2023-11-14T22:13:20.105Z\n"
                 "2023-11-14T22:13:21.025Z q ready\n"
                 "2023-11-14T22:13:21.025Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:21.025Z q dead after attempt 1: rejected (bad)\n"
                 "2023-11-14T22:13:21.045Z q now dead since 2023-11-14T22:13:21.025Z, failed attempts 1\n");
    kit_close(&k);
}

/* The worker has it at once. */
static uint64_t publish_leased(struct kit *k, struct kit_worker *w)
{
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("t"), .payload = sl_str("x") };
    assert_int_equal(hub_publish(k->h, &parts), SL_OK);
    kit_turn(k);
    assert_true(w->n > 0);
    return w->held[w->n - 1].id;
}

static void what_has_left_is_told_by_the_ring_and_what_never_was_is_not(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 100);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    uint64_t first = publish_leased(&k, w);
    kit_ack(w, 0);
    assert_trace(&k, first,
                 "2023-11-14T22:13:20.000Z q accepted\n"
                 "2023-11-14T22:13:20.000Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:20.000Z q acked\n");
    assert_trace(&k, first + 12345, "");
    kit_close(&k);
}

static void a_cancelled_a_purged_and_a_delayed_one_say_so(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 100);
    uint64_t id = publish(&k), second = publish(&k);
    assert_int_equal(hub_queue_purge(k.h, 0, QUEUE_STATE_BIT(QUEUE_READY)), SL_OK);
    kit_turn(&k);
    assert_trace(&k, id, "2023-11-14T22:13:20.000Z q accepted\n2023-11-14T22:13:20.000Z q purged\n");
    struct message_parts parts = {
        .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("t"), .deliver_at = k.wall_ms + 2000, .flags = MESSAGE_DELIVER_RELATIVE,
    };
    assert_int_equal(hub_publish(k.h, &parts), SL_OK);
    assert_trace(&k, second + 1,
                 "2023-11-14T22:13:20.000Z q accepted\n"
                 "2023-11-14T22:13:20.000Z q delayed until 2023-11-14T22:13:22.000Z\n"
                 "2023-11-14T22:13:20.000Z q now delayed until 2023-11-14T22:13:22.000Z, failed attempts 0\n");
    kit_close(&k);
}

static void one_that_goes_on_elsewhere_says_where_and_as_what(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 100);
    struct queue_config r = kit_queue("r", 2);
    uint32_t to = hub_add_queue(k.h, &r);
    hub_forward_dead(k.h, 0, to);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    uint64_t id = publish_leased(&k, w);
    struct hub_answer dead = answer(QUEUE_KILL, "bad");
    kit_answer(w, 0, &dead);
    assert_trace(&k, id,
                 "2023-11-14T22:13:20.000Z q accepted\n"
                 "2023-11-14T22:13:20.000Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:20.000Z q dead after attempt 1: rejected (bad)\n"
                 "2023-11-14T22:13:20.000Z q moved to r as 0000010000000002\n");
    assert_trace(&k, id + 1,
                 "2023-11-14T22:13:20.000Z r accepted\n"
                 "2023-11-14T22:13:20.000Z r now ready, failed attempts 0\n");
    kit_close(&k);
}

static void duplicates_are_told_of_the_first_and_a_newer_one_in_its_place_too(void **state)
{
    (void)state;
    for (int replaces = 0; replaces < 2; replaces++) {
        struct kit k = { 0 };
        open_queue(&k, 100);
        struct queue_config r = kit_queue("r", 2);
        r.dedup = (struct queue_dedup){ .window_ms = 60000, .max = 10, .replace = replaces == 1, .n_parts = 1, .parts = { { QUEUE_DEDUP_TOPIC, NULL } } };
        assert_int_equal(hub_add_route(k.h, "r", hub_add_queue(k.h, &r)), SL_OK);
        struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("r"), .payload = sl_str("x") };
        struct queue_peeked p;
        assert_int_equal(hub_publish(k.h, &parts), SL_OK);
        assert_int_equal(queue_peek(hub_queue(k.h, 1), QUEUE_READY, &p, 1), 1);
        assert_int_equal(hub_publish(k.h, &parts), SL_OK);
        struct told t = ask(&k, p.id);
        const char *text = (const char *)sl_buf_view(&t.text).p;
        assert_non_null(strstr(text, replaces ? "r replaced by 0000010000000002\n" : "r duplicate\n"));
        assert_int_equal(t.n, replaces ? 2 : 3); /* accepted, that, and how it stands now */
        sl_buf_fini(&t.text);
        kit_close(&k);
    }
}

static void the_ring_forgets_the_oldest_events(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 4);
    uint64_t id = publish(&k);
    for (uint32_t i = 0; i < 3; i++)
        (void)publish(&k);
    (void)kit_worker(&k, 0, 0);
    assert_trace(&k, id,
                 "2023-11-14T22:13:20.000Z q accepted\n" /* by the message that is there */
                 "2023-11-14T22:13:20.000Z q leased to worker, attempt 1\n"
                 "2023-11-14T22:13:20.000Z q now leased to worker, failed attempts 0\n");
    kit_close(&k);
}

/* ---- what the store knows ---- */

static uint64_t stored_id;
static uint32_t stored_failures;

static int stored(void *arg, uint32_t queue_number, uint64_t id, struct sl_buf *failures)
{
    const struct kit *k = arg;
    assert_int_equal(queue_number, 1);
    if (id != stored_id)
        return SL_ENOENT;
    for (uint32_t i = 1; i <= stored_failures; i++) {
        struct batch_failure f = { k->wall_ms - 1000 * (stored_failures - i), i, QUEUE_CAUSE_EXIT, sl_str("exit 3"), sl_str("trace back") };
        struct batch_note *n = batch_failure_encode(&f);
        assert_int_equal(sl_buf_append(failures, n->bytes, n->n), SL_OK);
        sl_free(n);
    }
    return SL_OK;
}

static void restore(struct kit *k, enum queue_state state, uint32_t attempts)
{
    struct queue_restored r = { .id = 77, .bytes = 100, .priority = 4, .state = state, .attempts = attempts, .due_ms = state == QUEUE_READY ? 0 : k->wall_ms };
    stored_id = 77;
    stored_failures = attempts;
    assert_int_equal(hub_restore_entry(k->h, 1, &r), SL_OK);
}

static void after_a_restart_and_without_a_ring_failures_are_told_by_the_store(void **state)
{
    (void)state;
    struct kit k = { .history = stored };
    open_queue(&k, 0);
    restore(&k, QUEUE_DEAD, 2);
    assert_trace(&k, 77,
                 "2023-11-14T22:13:10.000Z q accepted\n"
                 "2023-11-14T22:13:19.000Z q attempt 1 failed: exit (exit 3)\n"
                 "2023-11-14T22:13:20.000Z q dead after attempt 2: exit (exit 3)\n"
                 "2023-11-14T22:13:20.000Z q now dead since 2023-11-14T22:13:20.000Z, failed attempts 2\n");
    assert_trace(&k, 78, "");
    kit_close(&k);
}

/* Each failure once, with what the store knows more of it. */
static void a_failure_that_ring_and_store_know_is_told_once(void **state)
{
    (void)state;
    struct kit k = { .history = stored };
    open_queue(&k, 100);
    uint64_t id = publish(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct hub_answer retry = answer(QUEUE_RETRY, "a reason that is longer than what one event of the ring has room for");
    kit_answer(w, 0, &retry);
    struct told t = ask(&k, id);
    assert_non_null(strstr((const char *)sl_buf_view(&t.text).p, "failed: retry (a reason that is longer than wh), again"));
    sl_buf_fini(&t.text);
    stored_id = id;
    stored_failures = 1;
    t = ask(&k, id);
    assert_int_equal(t.n, 4); /* accepted, leased, failed, now */
    assert_non_null(strstr((const char *)sl_buf_view(&t.text).p, "attempt 1 failed: retry (exit 3), again"));
    sl_buf_fini(&t.text);
    kit_close(&k);
}

static void two_who_ask_for_the_same_message_at_once_are_both_told(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct told a = { .times = 0 }, b = { .times = 0 };
    open_queue(&k, 0);
    uint64_t id = publish(&k);
    asked = &k;
    assert_int_equal(hub_trace(k.h, id, on_trace, &a), SL_OK);
    assert_int_equal(hub_trace(k.h, id, on_trace, &b), SL_OK);
    kit_turn(&k);
    assert_true(a.n == 2 && b.n == 2); /* accepted, now */
    sl_buf_fini(&a.text);
    sl_buf_fini(&b.text);
    kit_close(&k);
}

static void what_is_asked_for_at_the_end_is_told(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct told t = { .times = 0 };
    open_queue(&k, 0);
    asked = &k;
    assert_int_equal(hub_trace(k.h, 5, on_trace, &t), SL_OK);
    kit_close(&k);
    assert_int_equal(t.times, 1);
    sl_buf_fini(&t.text);
}

/* ---- the words ---- */

static void assert_line(struct kit *k, const struct hub_trace_event *e, const char *line)
{
    struct sl_buf out = { 0 };
    hub_trace_print(k->h, e, &out);
    assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
    assert_string_equal((const char *)sl_buf_view(&out).p, line);
    sl_buf_fini(&out);
}

static void each_event_is_one_line_with_its_time_and_its_queue(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queue(&k, 0);
    const uint64_t at = 1700000000123u;
    const struct {
        struct hub_trace_event e;
        const char *line;
    } all[] = {
        { { .what = HUB_TRACE_MOVED, .other = 0x1f, .text = sl_str("q2") }, "moved to q2 as 000000000000001f" },
        { { .what = HUB_TRACE_REPLACED, .other = 0x20 }, "replaced by 0000000000000020" },
        { { .what = HUB_TRACE_DUPLICATE }, "duplicate" },
        { { .what = HUB_TRACE_EXPIRED }, "expired" },
        { { .what = HUB_TRACE_DROPPED }, "dropped" },
        { { .what = HUB_TRACE_READY }, "ready" },
        { { .what = HUB_TRACE_DEAD_DROPPED }, "dead_letter_dropped" },
        { { .what = HUB_TRACE_DEAD_EXPIRED }, "dead_letter_expired" },
        { { .what = HUB_TRACE_LEASED, .attempt = 3 }, "leased, attempt 3" },
        { { .what = HUB_TRACE_DEAD, .attempt = 5, .cause = QUEUE_CAUSE_SIGNAL, .text = sl_str("signal\t9") }, "dead after attempt 5: signal (signal 9)" },
        { { .what = HUB_TRACE_NOW, .state = QUEUE_READY }, "now ready, failed attempts 0" },
    };
    for (size_t i = 0; i < SL_COUNT(all); i++) {
        struct hub_trace_event e = all[i].e;
        char line[128];
        e.wall_ms = at;
        snprintf(line, sizeof line, "2023-11-14T22:13:20.123Z q %s\n", all[i].line);
        assert_line(&k, &e, line);
    }
    kit_close(&k);
}

static void on_any(void *arg, uint64_t id, const struct hub_trace_event *v, uint32_t n)
{
    (void)id;
    (void)v;
    *(uint32_t *)arg += n > 0;
}

/* When they were accepted is in their bodies; a crowd of questions does not bring all of those into memory. */
static void many_questions_read_few_large_bodies_at_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    uint32_t told = 0;
    open_queue(&k, 0);
    for (uint64_t id = 101; id <= 120; id++) {
        struct queue_restored r = { .id = id, .bytes = 9u << 20, .priority = 4, .state = QUEUE_READY };
        assert_int_equal(hub_restore_entry(k.h, 1, &r), SL_OK);
        assert_int_equal(hub_trace(k.h, id, on_any, &told), SL_OK);
    }
    kit_turn(&k);
    assert_in_range(k.n_fetches, 1, KIT_FETCHES);
    kit_settle(&k);
    assert_int_equal(told, 20);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_life_of_a_message_is_told_in_order),
        cmocka_unit_test(what_has_left_is_told_by_the_ring_and_what_never_was_is_not),
        cmocka_unit_test(a_cancelled_a_purged_and_a_delayed_one_say_so),
        cmocka_unit_test(one_that_goes_on_elsewhere_says_where_and_as_what),
        cmocka_unit_test(duplicates_are_told_of_the_first_and_a_newer_one_in_its_place_too),
        cmocka_unit_test(the_ring_forgets_the_oldest_events),
        cmocka_unit_test(after_a_restart_and_without_a_ring_failures_are_told_by_the_store),
        cmocka_unit_test(a_failure_that_ring_and_store_know_is_told_once),
        cmocka_unit_test(two_who_ask_for_the_same_message_at_once_are_both_told),
        cmocka_unit_test(what_is_asked_for_at_the_end_is_told),
        cmocka_unit_test(each_event_is_one_line_with_its_time_and_its_queue),
        cmocka_unit_test(many_questions_read_few_large_bodies_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
