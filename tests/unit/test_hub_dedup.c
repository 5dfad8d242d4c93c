/* Duplicates: what enters, what is told to whom and when, and what of it outlives
 * the process, whenever that ends. */
#include "dedup_world.h"

/* ---- what enters and what is told ---- */

static void a_duplicate_does_not_enter_and_is_accepted(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "first");
    assert_string_equal(kit_records(&w.k), "BODY ENTRY(1) DEDUP(1) ");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    uint64_t first = hub_published_id(w.k.h);
    send(c, 2, "a", "again");
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n"); /* at once: the first one is stored */
    assert_null(w.k.pending);
    assert_int_equal(hub_published_id(w.k.h), first);
    send(c, 3, "b", "other");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 3 0x00\n");
    assert_true(hub_published_id(w.k.h) > first);
    assert_taken(&w, 2, 1);
    end(&w);
}

static void what_has_no_key_is_nobody_s_duplicate(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k), *other = kit_mqtt(&w.k, true, "other", 0);
    send(c, 1, NULL, "x");
    send(c, 2, NULL, "x");
    send(c, 3, "a", "x");
    send(other, 4, "a", "x"); /* another client's own */
    kit_settle(&w.k);
    assert_taken(&w, 4, 0);
    end(&w);
}

static void a_duplicate_is_answered_when_the_first_one_is_stored(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k), *other = kit_mqtt(&w.k, true, "from2", 0);
    (void)kit_log(other);
    w.q[0].dedup.n_parts = 2;
    send(c, 1, "a", "x");
    send(c, 2, "a", "x"); /* the first one is with the store */
    send(c, 3, "b", "x"); /* in the batch after that */
    send(c, 4, "b", "x");
    assert_string_equal(kit_log(c), "");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\nPUBACK 4 0x00\n");
    assert_taken(&w, 2, 2);
    end(&w);
}

/* Of a batch that is with the store only what is in it is stored when it comes back. */
static void what_came_in_behind_a_batch_is_not_stored_with_it(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].dedup.parts[0] = w.q[0].dedup.parts[1];
    w.q[0].dedup.n_parts = 1;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k), *other = kit_mqtt(&w.k, true, "other", 0);
    (void)kit_log(other);
    send(c, 1, "a", "x");
    send(c, 2, "b", "x");
    kit_commit(&w.k, SL_OK); /* the batch of "b" is with the store now */
    send(other, 1, "b", "x");
    send(other, 2, "a", "x");
    assert_string_equal(kit_log(other), "");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(other), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    assert_taken(&w, 2, 2);
    end(&w);
}

/* Decision 4: the key outlives the message, also one that was never written. */
static void a_key_is_stored_though_its_message_never_is(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    send(c, 2, "b", "x");
    (void)kit_log(c);
    kit_ack(worker, 1); /* while the first one's batch is under way */
    assert_int_equal(counters(&w, 0)->never_written, 1);
    assert_string_equal(kit_log(c), "");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    assert_string_equal(kit_records(&w.k), "DEDUP(1) ");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    crash(&w);
    c = kit_publisher(&w.k);
    send(c, 3, "b", "x");
    assert_string_equal(kit_log(c), "PUBACK 3 0x00\n");
    assert_taken(&w, 0, 1);
    end(&w);
}

static void only_the_queues_that_have_had_it_leave_it_out(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1), kit_queue("q1", 2) } };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k), *s = kit_listener(&w.k, "s", 0, "t/#", 0);
    send(c, 1, "a", "x");
    kit_settle(&w.k);
    (void)kit_log(c);
    uint64_t first = hub_published_id(w.k.h);
    send(c, 2, "a", "y");
    assert_string_equal(kit_records(&w.k), "BODY ENTRY(2) ");
    assert_string_equal(kit_log(c), "");
    assert_true(hub_published_id(w.k.h) > first); /* it is a message of its own */
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    assert_string_equal(kit_log(s), "PUBLISH q0 t/1 x\nPUBLISH q0 t/1 y\n");
    assert_taken(&w, 1, 1);
    assert_int_equal(counters(&w, 1)->accepted, 2);
    assert_int_equal(counters(&w, 1)->duplicates, 0);
    end(&w);
}

static void qos_2_has_its_packet_id_and_its_key(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_mqtt(&w.k, true, "from", 60);
    kit_settle(&w.k);
    (void)kit_log(c);
    for (uint16_t id = 1; id <= 2; id++) {
        send_to(c, "t/1", (struct shape){ .qos = 2, .id = id, .dedup_id = "a" });
        assert_string_equal(kit_log(c), ""); /* the packet id is a record */
        kit_settle(&w.k);
        assert_string_equal(kit_log(c), id == 1 ? "PUBREC 1 0x00\n" : "PUBREC 2 0x00\n");
        kit_pubrel(c, id);
        kit_settle(&w.k);
        (void)kit_log(c);
    }
    assert_taken(&w, 1, 1);
    end(&w);
}

static void messages_of_one_transaction_may_be_duplicates_of_each_other(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_stomp(&w.k);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    for (uint32_t i = 0; i < 3; i++)
        kit_frame(c, i == 1 ? "SEND\ndestination:/queue/q0\ndedup-id:b\ntransaction:x\n\nother" : "SEND\ndestination:/queue/q0\ndedup-id:a\ntransaction:x\n\nbody");
    kit_frame(c, "COMMIT\ntransaction:x\nreceipt:done\n\n");
    assert_string_equal(kit_log(c), "");
    kit_settle(&w.k);
    assert_non_null(strstr(kit_log(c), "RECEIPT\nreceipt-id:done"));
    assert_taken(&w, 2, 1);
    end(&w);
}

/* A step of a worker that was lost after its children had entered is done again. */
static void a_worker_s_child_enters_once(void **state)
{
    (void)state;
    struct world w = { .q = { kit_queue("jobs", 1), remembering("children", 2) } };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct message_header header = { sl_str("dedup-id"), sl_str("child-1") };
    struct message_parts child = { .topic = sl_str("/queue/children"), .qos = 1, .protocol = MESSAGE_WORKER, .payload = sl_str("c"), .headers = &header, .n_headers = 1 };
    enum hub_published said;
    send(c, 1, NULL, "job");
    send(c, 2, NULL, "job");
    kit_settle(&w.k);
    assert_int_equal(counters(&w, 1)->accepted, 2);
    for (uint32_t i = 0; i < 2; i++) {
        kit_answer(worker, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .publishes = &child, .n_publishes = 1, .published = &said });
        assert_int_equal(said, HUB_PUBLISHED);
    }
    assert_int_equal(counters(&w, 1)->accepted, 3);
    assert_int_equal(counters(&w, 1)->duplicates, 1);
    kit_settle(&w.k);
    uint64_t known_as = hub_published_id(w.k.h);
    assert_int_equal(hub_publish(w.k.h, &child), SL_OK);
    assert_int_equal(hub_published_id(w.k.h), known_as);
    kit_settle(&w.k);
    end(&w);
}

/* ---- limits ---- */

static struct world small(enum queue_overflow overflow)
{
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].max_messages = 1;
    w.q[0].overflow = overflow;
    return w;
}

static void a_duplicate_needs_no_room(void **state)
{
    (void)state;
    static const enum queue_overflow all[] = { QUEUE_BLOCK, QUEUE_REJECT, QUEUE_DROP_OLDEST };
    for (size_t i = 0; i < SL_COUNT(all); i++) {
        struct world w = small(all[i]);
        start(&w);
        struct kit_client *c = kit_publisher(&w.k);
        send(c, 1, "a", "x");
        kit_settle(&w.k);
        (void)kit_log(c);
        send(c, 2, "a", "x");
        assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
        assert_taken(&w, 1, 1);
        assert_int_equal(counters(&w, 0)->dropped + counters(&w, 0)->refused, 0);
        assert_int_equal(hub_counters(w.k.h)->publishes_parked, 0);
        end(&w);
    }
}

static void what_is_parked_or_refused_is_not_known(void **state)
{
    (void)state;
    struct world w = small(QUEUE_BLOCK);
    start(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *c = kit_publisher(&w.k), *other = kit_mqtt(&w.k, true, "lost", 0);
    send(c, 1, "a", "x");
    send(other, 1, "b", "y"); /* parked, and forgotten with its connection */
    kit_settle(&w.k);
    assert_int_equal(hub_counters(w.k.h)->publishes_parked, 1);
    kit_lose(other);
    kit_ack(worker, 0);
    kit_settle(&w.k);
    other = kit_mqtt(&w.k, true, "lost", 0);
    send(other, 1, "b", "y");
    kit_settle(&w.k);
    assert_taken(&w, 2, 0);
    end(&w);

    w = small(QUEUE_REJECT);
    start(&w);
    worker = kit_worker(&w.k, 0, 0);
    c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    send(c, 2, "b", "y");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x97\n");
    kit_ack(worker, 0);
    send(c, 3, "b", "y");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 3 0x00\n");
    assert_taken(&w, 2, 0);
    end(&w);
}

static void what_was_parked_is_asked_when_it_enters(void **state)
{
    (void)state;
    struct world w = small(QUEUE_BLOCK);
    start(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    send(c, 2, "b", "first");
    send(c, 3, "b", "again");
    kit_settle(&w.k);
    assert_int_equal(hub_counters(w.k.h)->publishes_parked, 2);
    kit_ack(worker, 0);
    kit_settle(&w.k);
    assert_string_equal(worker->held[0].payload, "first");
    kit_ack(worker, 0);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 0);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\nPUBACK 3 0x00\n");
    assert_taken(&w, 2, 1);
    end(&w);
}

static void a_key_leaves_with_its_window_and_from_the_disk(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    kit_settle(&w.k);
    assert_int_equal(keys_stored(&w), 1);
    kit_pass(&w.k, 30000);
    send(c, 2, "a", "x");
    assert_taken(&w, 1, 1);
    kit_pass(&w.k, 31000);
    assert_string_equal(kit_records(&w.k), "DEDUP_DROP(1) ");
    kit_settle(&w.k);
    assert_int_equal(keys_stored(&w), 0);
    send(c, 3, "a", "x");
    kit_settle(&w.k);
    assert_taken(&w, 2, 1);
    end(&w);
}

static void the_oldest_key_makes_room_for_the_latest(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].dedup.max = 2;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    const char *const ids[] = { "a", "b", "c", "c", "b", "a" };
    for (uint16_t i = 0; i < SL_COUNT(ids); i++) {
        send(c, (uint16_t)(i + 1), ids[i], "x");
        kit_settle(&w.k);
        assert_in_range(keys_stored(&w), 1, 2);
    }
    assert_taken(&w, 4, 2);
    end(&w);
}

static void keys_count_as_memory_and_take_a_quarter_of_it_at_most(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].durable = false;
    w.q[0].max_messages = 20000;
    w.q[0].dedup.max = 1000000;
    w.k.memory_bytes = 4u << 20;
    start(&w);
    struct message_header header = { sl_str("dedup-id"), SL_BYTES_NONE };
    struct message_parts parts = { .topic = sl_str("t/1"), .protocol = MESSAGE_WORKER, .payload = sl_str("x"), .headers = &header, .n_headers = 1 };
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    uint64_t before = hub_memory_bytes(w.k.h);
    char id[16];
    for (uint32_t i = 0; i < 30000; i++) {
        snprintf(id, sizeof id, "%u", i);
        header.value = sl_str(id);
        assert_int_equal(hub_publish(w.k.h, &parts), SL_OK);
        hub_lease(w.k.h);
        while (worker->n > 0) {
            assert_int_equal(hub_answer(w.k.h, worker->consumer, &(struct hub_answer){ .lease = worker->held[0].lease, .verb = { .verb = QUEUE_ACK } }), SL_OK);
            message_unref(worker->held[0].msg);
            memmove(&worker->held[0], &worker->held[1], (worker->n - 1) * sizeof worker->held[0]);
            worker->n--;
        }
        hub_end(w.k.h);
    }
    uint64_t keys = hub_memory_bytes(w.k.h) - before;
    assert_in_range(keys, w.k.memory_bytes / 8, w.k.memory_bytes / 4 + 65536);
    end(&w);
}

/* It was parked for want of space, and stands before a queue that is full when there is some. */
static void a_duplicate_that_was_parked_is_not_refused_for_want_of_room(void **state)
{
    (void)state;
    struct world w = small(QUEUE_REJECT);
    w.q[1] = kit_queue("other", 2);
    w.split = true;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    assert_int_equal(hub_add_route(w.k.h, "o/#", 1), SL_OK);
    send(c, 1, "a", "x");
    kit_settle(&w.k);
    (void)kit_log(c);
    kit_publish(c, 1, 2, "o/1");
    kit_commit(&w.k, SL_ENOSPC);
    send(c, 3, "a", "x");
    kit_pass(&w.k, 300);
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\n");
    end(&w);
}

/* ---- a disk that is full, a store that breaks, a crash ---- */

static void without_space_a_duplicate_waits_with_the_first_one(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    send(c, 2, "a", "x");
    kit_commit(&w.k, SL_ENOSPC);
    send(c, 3, "a", "x");
    kit_pass(&w.k, 300);
    kit_commit(&w.k, SL_ENOSPC);
    assert_string_equal(kit_log(c), "");
    kit_pass(&w.k, 300);
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\nPUBACK 3 0x00\n");
    assert_taken(&w, 1, 2);
    end(&w);
}

static void a_broken_store_swallows_nothing(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "old", "x");
    kit_settle(&w.k);
    (void)kit_log(c);
    send(c, 2, "a", "x");
    send(c, 3, "a", "x");
    kit_commit(&w.k, SL_EIO);
    assert_string_equal(kit_log(c), "PUBACK 2 0x83\nPUBACK 3 0x83\n");
    send(c, 4, "a", "x");
    send(c, 5, "old", "x");
    assert_string_equal(kit_log(c), "PUBACK 4 0x83\nPUBACK 5 0x83\n");
    crash(&w);
    c = kit_publisher(&w.k);
    send(c, 2, "a", "x");
    send(c, 5, "old", "x");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 5 0x00\n");
    assert_taken(&w, 1, 1);
    end(&w);
}

/* Published, stored, acked by a worker, and that stored: the process ends after each. */
static void whenever_the_process_ends_a_message_is_there_once_or_its_retry_enters(void **state)
{
    (void)state;
    for (uint32_t steps = 1; steps <= 4; steps++) {
        struct world w = { 0 };
        start(&w);
        struct kit_worker *worker = kit_worker(&w.k, 0, 0);
        struct kit_client *c = kit_publisher(&w.k);
        send(c, 1, "a", "x");
        if (steps >= 2)
            kit_commit(&w.k, SL_OK);
        bool told = strcmp(kit_log(c), "PUBACK 1 0x00\n") == 0;
        assert_true(told == (steps >= 2));
        if (steps >= 3)
            kit_ack(worker, 0);
        if (steps >= 4)
            kit_commit(&w.k, SL_OK);
        crash(&w);
        worker = kit_worker(&w.k, 0, 0);
        c = kit_publisher(&w.k);
        send(c, 1, "a", "x");
        kit_settle(&w.k);
        assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
        assert_int_equal(worker->n, steps < 4 ? 1 : 0);
        assert_taken(&w, told ? 0 : 1, told ? 1 : 0);
        end(&w);
    }
}

static void a_restart_does_not_make_a_window_longer(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    kit_settle(&w.k);
    kit_pass(&w.k, 40000);
    crash(&w);
    kit_settle(&w.k);
    assert_int_equal(keys_stored(&w), 1);
    kit_pass(&w.k, 21000);
    kit_settle(&w.k);
    assert_int_equal(keys_stored(&w), 0);
    end(&w);
}

static void keys_of_a_queue_that_remembers_no_more_leave_the_disk_bit_by_bit(void **state)
{
    (void)state;
    struct world w = { 0 };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    char id[16];
    for (uint32_t i = 0; i < 900; i++) {
        snprintf(id, sizeof id, "%u", i);
        send(c, (uint16_t)(i + 1), id, "x");
        if (i % 50 == 49)
            kit_settle(&w.k);
    }
    assert_int_equal(keys_stored(&w), 900);
    w.q[0].dedup = (struct queue_dedup){ 0 };
    crash(&w);
    kit_turn(&w.k);
    assert_non_null(w.k.pending);
    assert_in_range(w.k.pending->live, 1, 300);
    kit_settle(&w.k);
    kit_settle(&w.k);
    assert_int_equal(keys_stored(&w), 0);
    c = kit_publisher(&w.k);
    send(c, 1, "5", "x");
    kit_settle(&w.k);
    assert_taken(&w, 1, 0);
    end(&w);
}

static void a_queue_that_is_not_durable_remembers_until_the_process_ends(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].durable = false;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "x");
    send(c, 2, "a", "x");
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    assert_null(w.k.pending);
    assert_taken(&w, 1, 1);
    crash(&w);
    c = kit_publisher(&w.k);
    send(c, 3, "a", "x");
    assert_taken(&w, 1, 0);
    assert_int_equal(keys_stored(&w), 0);
    end(&w);
}

/* ---- sent again ---- */

static void only_what_says_dup_is_a_retransmission(void **state)
{
    (void)state;
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].dedup.n_parts = 1;
    w.q[0].dedup.parts[0] = (struct queue_dedup_part){ QUEUE_DEDUP_RETRANSMIT, NULL };
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    struct shape first = { .qos = 1, .id = 7, .payload = "x" }, again = { .qos = 1, .id = 7, .payload = "x", .dup = true };
    struct shape other = { .qos = 1, .id = 7, .payload = "y", .dup = true };
    const struct shape *const sent[] = { &first, &again, &first, &again, &other, &other };
    for (size_t i = 0; i < SL_COUNT(sent); i++) {
        send_to(c, "t/1", *sent[i]);
        kit_settle(&w.k);
        assert_string_equal(kit_log(c), "PUBACK 7 0x00\n");
    }
    assert_taken(&w, 3, 3); /* a new message may have the packet id and the content of an old one */
    crash(&w);
    c = kit_publisher(&w.k);
    send_to(c, "t/1", again);
    kit_settle(&w.k);
    assert_taken(&w, 0, 1);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duplicate_does_not_enter_and_is_accepted),
        cmocka_unit_test(what_has_no_key_is_nobody_s_duplicate),
        cmocka_unit_test(a_duplicate_is_answered_when_the_first_one_is_stored),
        cmocka_unit_test(what_came_in_behind_a_batch_is_not_stored_with_it),
        cmocka_unit_test(a_key_is_stored_though_its_message_never_is),
        cmocka_unit_test(only_the_queues_that_have_had_it_leave_it_out),
        cmocka_unit_test(qos_2_has_its_packet_id_and_its_key),
        cmocka_unit_test(messages_of_one_transaction_may_be_duplicates_of_each_other),
        cmocka_unit_test(a_worker_s_child_enters_once),
        cmocka_unit_test(a_duplicate_needs_no_room),
        cmocka_unit_test(what_is_parked_or_refused_is_not_known),
        cmocka_unit_test(what_was_parked_is_asked_when_it_enters),
        cmocka_unit_test(a_key_leaves_with_its_window_and_from_the_disk),
        cmocka_unit_test(the_oldest_key_makes_room_for_the_latest),
        cmocka_unit_test(keys_count_as_memory_and_take_a_quarter_of_it_at_most),
        cmocka_unit_test(a_duplicate_that_was_parked_is_not_refused_for_want_of_room),
        cmocka_unit_test(without_space_a_duplicate_waits_with_the_first_one),
        cmocka_unit_test(a_broken_store_swallows_nothing),
        cmocka_unit_test(whenever_the_process_ends_a_message_is_there_once_or_its_retry_enters),
        cmocka_unit_test(a_restart_does_not_make_a_window_longer),
        cmocka_unit_test(keys_of_a_queue_that_remembers_no_more_leave_the_disk_bit_by_bit),
        cmocka_unit_test(a_queue_that_is_not_durable_remembers_until_the_process_ends),
        cmocka_unit_test(only_what_says_dup_is_a_retransmission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
