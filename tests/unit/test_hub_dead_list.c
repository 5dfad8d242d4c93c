/* Dead letters: listed by pages, and dropped. */
#include "dead_kit.h"

struct page {
    uint32_t calls, n;
    uint64_t ids[16];
    char payloads[128];
    uint64_t age_ms;
    enum queue_cause cause;
    bool more;
    struct hub_dead_place next;
};

static void on_page(void *arg, const struct hub_dead_page *p)
{
    struct page *out = arg;
    out->calls++;
    out->n = p->n;
    out->payloads[0] = '\0';
    size_t at = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        out->ids[i] = p->letters[i].place.id;
        out->age_ms = p->letters[i].age_ms;
        out->cause = p->letters[i].cause;
        struct sl_bytes body = p->letters[i].msg == NULL ? sl_str("-") : message_payload(p->letters[i].msg);
        at += (size_t)snprintf(out->payloads + at, sizeof out->payloads - at, "%.*s ", (int)body.n, (const char *)body.p);
    }
    out->more = p->more;
    out->next = p->next;
}

static struct page list(struct kit *k, struct hub_dead_ask ask)
{
    struct page page = { 0 };
    uint64_t handle;
    ask.limit = ask.limit == 0 ? 16 : ask.limit;
    ask.done = on_page;
    ask.arg = &page;
    assert_int_equal(hub_dead_list(k->h, JOBS, &ask, &handle), SL_OK);
    assert_int_equal(page.calls, 0); /* later */
    kit_settle(k);
    assert_int_equal(page.calls, 1);
    return page;
}

static void a_list_without_bodies_asks_the_store_for_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 3);
    uint64_t fetched = hub_counters(k.h)->bodies_fetched;
    struct page p = { 0 };
    uint64_t handle;
    assert_int_equal(hub_dead_list(k.h, JOBS, &(struct hub_dead_ask){ .limit = 9, .done = on_page, .arg = &p }, &handle), SL_OK);
    kit_turn(&k);
    assert_true(p.calls == 1 && p.n == 3 && !p.more);
    assert_string_equal(p.payloads, "- - - ");
    assert_int_equal(p.cause, QUEUE_CAUSE_REJECTED);
    assert_null(k.fetch);
    assert_int_equal(hub_counters(k.h)->bodies_fetched, fetched);
    kit_close(&k);
}

static void a_list_goes_on_where_its_page_ended(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 5);
    struct page p = list(&k, (struct hub_dead_ask){ .limit = 2, .bodies = true });
    assert_string_equal(p.payloads, "p1 p2 ");
    assert_true(p.more);
    p = list(&k, (struct hub_dead_ask){ .limit = 2, .bodies = true, .from = p.next });
    assert_string_equal(p.payloads, "p3 p4 ");
    struct hub_dead_place gone = p.next;
    uint64_t handle;
    assert_int_equal(hub_dead_drop(k.h, JOBS, &(struct hub_dead_filter){ .id = gone.id }, &handle), SL_OK);
    kit_settle(&k);
    p = list(&k, (struct hub_dead_ask){ .limit = 2, .bodies = true, .from = gone });
    assert_string_equal(p.payloads, "p5 ");
    assert_false(p.more);
    kit_close(&k);
}

static void a_list_is_filtered_by_topic_and_reads_what_was_evicted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 4);
    assert_int_equal(hub_counters(k.h)->bodies_evicted, 4);
    struct page p = list(&k, (struct hub_dead_ask){ .filter.topic = sl_str("jobs/3"), .bodies = true });
    assert_string_equal(p.payloads, "p3 ");
    p = list(&k, (struct hub_dead_ask){ .filter.topic = sl_str("jobs/+") });
    assert_string_equal(p.payloads, "- - - - ");
    p = list(&k, (struct hub_dead_ask){ .filter.topic = sl_str("other/#") });
    assert_int_equal(p.n, 0);
    uint64_t handle;
    struct hub_dead_ask bad = { .limit = 1, .done = on_page, .filter.topic = sl_str("a/#/b") };
    assert_int_equal(hub_dead_list(k.h, JOBS, &bad, &handle), SL_EINVAL);
    bad = (struct hub_dead_ask){ .done = on_page };
    assert_int_equal(hub_dead_list(k.h, JOBS, &bad, &handle), SL_EINVAL);
    kit_close(&k);
}

static void a_list_is_filtered_by_cause_age_and_id(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    open_with(&k, false);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 1, "jobs/1");
    kit_settle(&k);
    kill(w, "no");
    kit_pass(&k, 1000);
    kit_publish(from, 1, 2, "jobs/2");
    kit_settle(&k);
    fail_once(w, "no"); /* its last */
    kit_pass(&k, 1000);
    struct page p = list(&k, (struct hub_dead_ask){ .filter.causes = 1u << QUEUE_CAUSE_RETRY, .bodies = true });
    assert_string_equal(p.payloads, "p2 ");
    uint64_t second = p.ids[0];
    p = list(&k, (struct hub_dead_ask){ .filter.causes = 1u << QUEUE_CAUSE_REJECTED | 1u << QUEUE_CAUSE_RETRY });
    assert_int_equal(p.n, 2);
    p = list(&k, (struct hub_dead_ask){ .filter.older_than_ms = 1500, .bodies = true });
    assert_string_equal(p.payloads, "p1 ");
    assert_true(p.age_ms > 2000);
    p = list(&k, (struct hub_dead_ask){ .filter.younger_than_ms = 1500, .bodies = true });
    assert_string_equal(p.payloads, "p2 ");
    p = list(&k, (struct hub_dead_ask){ .filter.older_than_ms = UINT64_MAX });
    assert_int_equal(p.n, 0);
    p = list(&k, (struct hub_dead_ask){ .filter.id = second, .bodies = true });
    assert_string_equal(p.payloads, "p2 ");
    kit_close(&k);
}

static void a_list_that_was_stopped_is_not_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 2);
    struct page p = { 0 };
    uint64_t handle;
    assert_int_equal(hub_dead_list(k.h, JOBS, &(struct hub_dead_ask){ .limit = 9, .bodies = true, .done = on_page, .arg = &p }, &handle), SL_OK);
    kit_turn(&k);
    assert_non_null(k.fetch);
    hub_dead_stop(k.h, handle);
    kit_settle(&k);
    assert_int_equal(p.calls, 0);
    kit_close(&k);
}

static void works_are_bounded_and_ended_ones_make_room(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_messages = 1;
    open_with(&k, false);
    die(&k, 3);
    uint64_t handle, first = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ, .max = 1 });
    kit_settle(&k);
    for (uint32_t i = 1; i < 16; i++)
        (void)redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    (void)redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    struct hub_dead_progress p;
    assert_int_equal(hub_dead_progress(k.h, first, &p), SL_ENOENT); /* it had ended */
    assert_int_equal(hub_dead_redrive(k.h, JOBS, &(struct hub_dead_redrive){ .to = DLQ }, &handle), SL_EFULL);
    kit_close(&k);
}

/* ---- dropped ---- */

static void dropped_letters_are_counted_and_settled(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 4);
    struct page p = list(&k, (struct hub_dead_ask){ .limit = 9 });
    uint64_t handle;
    assert_int_equal(hub_dead_drop(k.h, JOBS, &(struct hub_dead_filter){ .id = p.ids[2] }, &handle), SL_OK);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    kit_settle(&k);
    assert_true(progress(&k, handle).done && progress(&k, handle).moved == 1);
    p = list(&k, (struct hub_dead_ask){ .bodies = true });
    assert_string_equal(p.payloads, "p1 p2 p4 ");
    assert_int_equal(hub_dead_drop(k.h, JOBS, &(struct hub_dead_filter){ .topic = sl_str("jobs/2") }, &handle), SL_OK);
    kit_settle(&k);
    assert_int_equal(hub_dead_drop(k.h, JOBS, &(struct hub_dead_filter){ .causes = 1u << QUEUE_CAUSE_TIMEOUT }, &handle), SL_OK);
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 2);
    assert_int_equal(counters(&k, JOBS)->dead_removed, 2);
    kit_close(&k);
}

struct reader {
    struct kit *k;
    uint32_t pages, letters, refused;
    uint64_t handles[32];
    uint32_t n;
};

static void on_page_reads_on(void *arg, const struct hub_dead_page *p);

static void ask_on(struct reader *r, struct hub_dead_place from)
{
    struct hub_dead_ask ask = { .limit = 1, .from = from, .done = on_page_reads_on, .arg = r };
    uint64_t handle;
    r->refused += hub_dead_list(r->k->h, JOBS, &ask, &handle) != SL_OK;
}

static void on_page_reads_on(void *arg, const struct hub_dead_page *p)
{
    struct reader *r = arg;
    r->pages++;
    r->letters += p->n;
    if (p->more)
        ask_on(r, p->next);
}

static void who_is_shown_a_page_may_ask_for_the_next_one_while_many_look(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 3);
    struct reader r = { .k = &k };
    for (uint32_t i = 0; i < 16; i++)
        ask_on(&r, (struct hub_dead_place){ 0 });
    assert_int_equal(r.refused, 0);
    kit_settle(&k);
    assert_int_equal(r.refused, 0);
    assert_int_equal(r.pages, 48);
    assert_int_equal(r.letters, 48);
    kit_close(&k);
}

static void on_page_stops_all(void *arg, const struct hub_dead_page *p)
{
    struct reader *r = arg;
    (void)p;
    r->pages++;
    for (uint32_t i = 0; i < r->n; i++)
        hub_dead_stop(r->k->h, r->handles[i]);
}

static void who_is_shown_a_page_may_stop_what_else_is_under_way(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 3);
    struct reader r = { .k = &k, .n = 4 };
    struct hub_dead_ask ask = { .limit = 9, .done = on_page_stops_all, .arg = &r };
    for (uint32_t i = 0; i < r.n; i++)
        assert_int_equal(hub_dead_list(k.h, JOBS, &ask, &r.handles[i]), SL_OK);
    kit_settle(&k);
    assert_int_equal(r.pages, 1);
    kit_close(&k);
}

static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_BODY)
            return true;
    }
    return false;
}

/* More of them than leave with one batch: nothing else may be left that makes room. */
static void what_is_dropped_makes_room_on_a_full_disk(void **state)
{
    (void)state;
    struct kit k = { 0 };
    uint64_t handle;
    usual();
    g_jobs.dead_max_messages = 2000;
    open_with(&k, false);
    for (int i = 0; i < 20; i++)
        die(&k, 100);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "jobs/1");
    kit_commit(&k, SL_ENOSPC);
    assert_int_equal(hub_health(k.h), HUB_NO_SPACE);
    assert_int_equal(hub_dead_drop(k.h, JOBS, &(struct hub_dead_filter){ 0 }, &handle), SL_OK);
    for (int i = 0; i < 100; i++) {
        kit_pass(&k, 20);
        if (k.pending != NULL)
            kit_commit(&k, takes_in(k.pending) ? SL_ENOSPC : SL_OK);
    }
    assert_true(progress(&k, handle).done && progress(&k, handle).moved == 2000);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(hub_health(k.h), HUB_OK);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_without_bodies_asks_the_store_for_nothing),
        cmocka_unit_test(a_list_goes_on_where_its_page_ended),
        cmocka_unit_test(a_list_is_filtered_by_topic_and_reads_what_was_evicted),
        cmocka_unit_test(a_list_is_filtered_by_cause_age_and_id),
        cmocka_unit_test(a_list_that_was_stopped_is_not_answered),
        cmocka_unit_test(works_are_bounded_and_ended_ones_make_room),
        cmocka_unit_test(dropped_letters_are_counted_and_settled),
        cmocka_unit_test(who_is_shown_a_page_may_ask_for_the_next_one_while_many_look),
        cmocka_unit_test(who_is_shown_a_page_may_stop_what_else_is_under_way),
        cmocka_unit_test(what_is_dropped_makes_room_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
