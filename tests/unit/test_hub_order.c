/* What the hub keeps of a queue's order: keys with the entries, and by what they were made with the queue. */
#include "test_hub_kit.h"

static struct queue_config by_client(void)
{
    struct queue_config cfg = kit_queue("work", 1);
    cfg.order = (struct queue_order){ .on = true, .key = QUEUE_KEY_CLIENT, .hash = { 3, 4 } };
    return cfg;
}

static void open_with(struct kit *k, const struct queue_config *cfg)
{
    kit_open(k);
    (void)hub_add_queue(k->h, cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static const struct batch_op *op_of(const struct batch *b, enum batch_kind kind, uint32_t nth)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == kind && nth-- == 0)
            return &b->ops[i];
    }
    return NULL;
}

static void an_entry_is_recorded_with_the_hash_of_its_key(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = by_client();
    open_with(&k, &cfg);
    struct kit_client *a = kit_mqtt(&k, true, "a", 0), *b = kit_mqtt(&k, true, "b", 0);
    kit_settle(&k);
    static const struct { uint8_t from, qos; const char *topic; } publishes[] = { { 0, 1, "t/1" }, { 1, 1, "t/1" }, { 0, 2, "t/2" } };
    for (uint32_t i = 0; i < SL_COUNT(publishes); i++) {
        kit_publish(publishes[i].from == 0 ? a : b, publishes[i].qos, (uint16_t)(i + 1), publishes[i].topic);
        const struct batch_op *op = op_of(k.pending, BATCH_ENTRY, 0);
        assert_non_null(op);
        assert_true(op->order_key == sl_hash_keyed(&cfg.order.hash, sl_str(publishes[i].from == 0 ? "a" : "b")));
        kit_settle(&k);
    }
    kit_close(&k);
}

static void an_entry_of_a_queue_without_order_has_no_key(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("work", 1);
    open_with(&k, &cfg);
    struct kit_client *a = kit_mqtt(&k, true, "a", 0);
    kit_settle(&k);
    kit_publish(a, 1, 1, "t/1");
    kit_turn(&k);
    assert_int_equal(op_of(k.pending, BATCH_ENTRY, 0)->order_key, 0);
    kit_close(&k);
}

/* ---- a restart ---- */

static void restore_record(struct kit *k, bool paused, const char *order)
{
    struct batch_note *note = batch_queue_encode(&(struct batch_queue){ .paused = paused, .order = sl_str(order) });
    assert_int_equal(hub_restore_queue(k->h, 1, sl_bytes_of(note->bytes, note->n)), SL_OK);
    sl_free(note);
}

static void restore_entry(struct kit *k, uint64_t id, uint64_t key)
{
    struct queue_restored r = { .id = id, .bytes = 100, .priority = 4, .order_key = key };
    assert_int_equal(hub_restore_entry(k->h, 1, &r), SL_OK);
}

static void of_restored_messages_one_of_a_key_goes_at_a_time(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = by_client();
    open_with(&k, &cfg);
    restore_record(&k, false, "client");
    for (uint64_t id = 5; id < 9; id++)
        restore_entry(&k, id, 77);
    assert_null(hub_order_before(k.h, 0));
    struct queue_pressure p;
    queue_pressure(hub_queue(k.h, 0), &k.now, &p);
    assert_int_equal(p.ready, 1);
    kit_close(&k);
}

static void the_order_of_an_empty_queue_changes_and_is_recorded_at_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = by_client();
    open_with(&k, &cfg);
    restore_record(&k, true, "header:device");
    assert_null(hub_order_before(k.h, 0));
    kit_turn(&k);
    const struct batch_op *op = op_of(k.pending, BATCH_QUEUE, 0);
    assert_non_null(op);
    assert_int_equal(op->queue, 1);
    struct batch_queue q;
    assert_int_equal(batch_queue_decode(sl_bytes_of(op->note->bytes, op->note->n), &q), SL_OK);
    assert_true(q.paused); /* what else it says stays */
    assert_true(sl_bytes_is(q.order, "client"));
    kit_close(&k);
}

static void an_order_that_is_the_same_is_not_recorded_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = by_client();
    cfg.order.key = QUEUE_KEY_HEADER;
    cfg.order.header = "device";
    open_with(&k, &cfg);
    restore_record(&k, false, "header:device");
    assert_null(hub_order_before(k.h, 0));
    kit_turn(&k);
    assert_null(k.pending);
    kit_close(&k);

    k = (struct kit){ 0 };
    cfg = kit_queue("work", 1);
    open_with(&k, &cfg); /* without order and without a record */
    restore_entry(&k, 5, 0);
    assert_null(hub_order_before(k.h, 0));
    kit_turn(&k);
    assert_null(k.pending);
    kit_close(&k);
}

static void the_order_of_messages_that_are_there_is_told(void **state)
{
    (void)state;
    static const char *const before[] = { "none", "topic", "header:client" };
    for (size_t i = 0; i < SL_COUNT(before); i++) {
        struct kit k = { 0 };
        struct queue_config cfg = by_client();
        open_with(&k, &cfg);
        if (i > 0)
            restore_record(&k, false, before[i]);
        restore_entry(&k, 5, 77);
        assert_string_equal(hub_order_before(k.h, 0), before[i]);
        kit_close(&k);
    }
}

static void an_orphan_keeps_its_order(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct queue_config cfg = kit_queue("work", 1);
    (void)hub_add_orphan(k.h, &cfg);
    restore_record(&k, false, "client");
    restore_entry(&k, 5, 77);
    restore_entry(&k, 6, 77);
    assert_null(hub_order_before(k.h, 0));
    kit_turn(&k);
    assert_null(k.pending);
    kit_close(&k);
}

static void a_record_of_a_queue_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = by_client();
    open_with(&k, &cfg);
    assert_int_equal(hub_restore_queue(k.h, 1, sl_str("\2")), SL_EFORMAT);
    struct batch_note *note = batch_queue_encode(&(struct batch_queue){ .order = sl_str("none") });
    assert_int_equal(hub_restore_queue(k.h, 2, sl_bytes_of(note->bytes, note->n)), SL_EFORMAT);
    sl_free(note);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_recorded_with_the_hash_of_its_key),
        cmocka_unit_test(an_entry_of_a_queue_without_order_has_no_key),
        cmocka_unit_test(of_restored_messages_one_of_a_key_goes_at_a_time),
        cmocka_unit_test(the_order_of_an_empty_queue_changes_and_is_recorded_at_once),
        cmocka_unit_test(an_order_that_is_the_same_is_not_recorded_again),
        cmocka_unit_test(the_order_of_messages_that_are_there_is_told),
        cmocka_unit_test(an_orphan_keeps_its_order),
        cmocka_unit_test(a_record_of_a_queue_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
