/* STOMP's transactions: messages and answers, all or nothing, also on a full disk. */
#include "stomp_clients.h"

static void start(struct kit *k, uint64_t max_messages)
{
    struct queue_config jobs = kit_queue("jobs", 1), out = kit_queue("out", 2);
    jobs.max_messages = max_messages;
    jobs.ack_timeout_ms = 60000;
    kit_open(k);
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_queue(k->h, &out);
}

/* A consumer that holds "m1", "m2" … of the queue. */
static struct kit_client *consumer(struct kit *k, const char *ack, uint32_t n)
{
    struct kit_client *c = kit_stomp(k);
    char body[16];
    stomp_subscribe(c, "s", "/queue/jobs", ack, NULL);
    for (uint32_t i = 1; i <= n; i++) {
        snprintf(body, sizeof body, "m%u", i);
        stomp_send(c, "/queue/jobs", body, NULL);
        kit_settle(k);
    }
    assert_int_equal(stomp_messages(c), n);
    return c;
}

static void begin(struct kit_client *c)
{
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
}

static void commit(struct kit_client *c)
{
    kit_frame(c, "COMMIT\ntransaction:x\nreceipt:done\n\n");
}

#define IN_X "transaction:x\n"
#define DONE "RECEIPT receipt-id=done\n"

static struct queue_depth depth(struct kit *k, uint32_t queue)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, queue), &d);
    return d;
}

static uint64_t leased(struct kit *k)
{
    return depth(k, 0).count[QUEUE_LEASED];
}

static uint64_t entered(struct kit *k, uint32_t queue)
{
    return queue_counters(hub_queue(k->h, queue))->accepted;
}

/* ---- all at COMMIT ---- */

static void nothing_happens_before_commit_and_then_all_in_one_batch(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 3);
    begin(c);
    stomp_send(c, "/queue/out", "t1", IN_X);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_answer(c, "NACK", "1-2", IN_X "delay:1h\nreason:later\n");
    stomp_send(c, "/queue/out", "t2", IN_X);
    assert_int_equal(leased(&k), 3);
    assert_null(k.pending);
    commit(c);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP UPDATE(1) BODY ENTRY(2) BODY ENTRY(2) "); /* bound: number of the queue + 1 */
    assert_int_equal(leased(&k), 1);
    assert_string_equal(stomp_log(c), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(stomp_log(c), DONE);
    kit_close(&k);
}

static void inside_a_transaction_a_receipt_means_received(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X "receipt:r\n");
    assert_string_equal(stomp_log(c), "RECEIPT receipt-id=r\n");
    assert_int_equal(leased(&k), 1);
    kit_close(&k);
}

static void a_transaction_of_answers_alone_is_stored_before_its_receipt(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client", 3);
    begin(c);
    stomp_answer(c, "ACK", "1-2", IN_X);
    commit(c);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP SETTLE(1) BODY_DROP ");
    assert_string_equal(stomp_log(c), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(stomp_log(c), DONE);
    assert_int_equal(leased(&k), 1);
    begin(c);
    commit(c); /* of nothing */
    assert_string_equal(stomp_log(c), DONE);
    kit_close(&k);
}

static void a_topic_s_messages_go_out_at_commit_in_their_order(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = kit_stomp(&k), *other = kit_stomp(&k);
    stomp_subscribe(other, "o", "/topic/t", "auto", NULL);
    stomp_subscribe(c, "s", "/topic/t", "client", NULL);
    stomp_send(c, "/topic/t", "first", NULL);
    (void)stomp_log(c);
    (void)stomp_log(other);
    begin(c);
    stomp_send(c, "/topic/t", "a", IN_X);
    stomp_answer(c, "NACK", "1-1", IN_X);
    stomp_send(c, "/topic/t", "b", IN_X);
    assert_string_equal(stomp_log(other), "");
    commit(c);
    kit_settle(&k);
    assert_string_equal(stomp_log(other), "MESSAGE subscription=o destination=/topic/t attempt=1 redelivered=false a\n"
                                          "MESSAGE subscription=o destination=/topic/t attempt=1 redelivered=false b\n");
    assert_int_equal(hub_counters(k.h)->deliveries_refused, 1);
    kit_close(&k);
}

/* Its end is a part of what may still come to nothing. */
static void who_sent_what_it_finishes_is_answered_when_it_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 0), *p = kit_stomp(&k);
    (void)kit_mqtt(&k, true, "m", 100);
    assert_non_null(k.pending); /* a batch is under way: what follows waits for the next */
    stomp_send(p, "/queue/jobs", "x", "receipt:r\n");
    assert_int_equal(stomp_messages(c), 1);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    commit(c);
    assert_string_equal(stomp_log(p), "");
    kit_settle(&k);
    assert_string_equal(stomp_log(p), "RECEIPT receipt-id=r\n");
    kit_close(&k);
}

/* COMMIT's receipt promises what each SEND's own would outside. */
static void a_message_of_a_transaction_waits_for_who_is_away(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *to = kit_listener(&k, "to", 60, "t", 1), *c = kit_stomp(&k);
    kit_lose(to);
    begin(c);
    stomp_send(c, "/topic/t", "a", IN_X);
    commit(c);
    kit_settle(&k);
    assert_string_equal(stomp_log(c), DONE);
    to = kit_mqtt(&k, true, "to", 60);
    assert_non_null(strstr(kit_log(to), "PUBLISH q1 id=1 t a"));
    kit_close(&k);
}

/* ---- nothing otherwise ---- */

static void an_aborted_transaction_leaves_its_deliveries_unanswered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_answer(c, "ACK", "1-1", NULL); /* it is claimed */
    assert_int_equal(hub_counters(k.h)->stale_answers, 1);
    stomp_send(c, "/queue/out", "t", IN_X);
    kit_frame(c, "ABORT\ntransaction:x\n\n");
    assert_int_equal(leased(&k), 1);
    stomp_answer(c, "ACK", "1-1", NULL);
    assert_int_equal(leased(&k), 0);
    assert_int_equal(entered(&k, 1), 0);
    kit_close(&k);
}

static void a_lost_connection_leaves_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 2);
    begin(c);
    stomp_answer(c, "ACK", "1-2", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    kit_lose(c);
    kit_settle(&k);
    assert_int_equal(entered(&k, 1), 0);
    assert_int_equal(depth(&k, 0).count[QUEUE_READY], 1); /* the oldest was charged: it waits for its next attempt */
    assert_int_equal(depth(&k, 0).count[QUEUE_DELAYED], 1);
    kit_close(&k);
}

static void a_transaction_whose_delivery_is_over_does_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    stomp_subscribe(c, "u", "/queue/out", "client-individual", NULL);
    stomp_send(c, "/queue/out", "o1", NULL);
    kit_settle(&k);
    (void)stomp_log(c);
    begin(c);
    stomp_answer(c, "ACK", "2-1", IN_X);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/jobs", "t", IN_X);
    kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
    commit(c);
    assert_string_equal(stomp_log(c), "ERROR message=transaction failed receipt-id=done\nclosed\n");
    kit_settle(&k);
    assert_int_equal(entered(&k, 0), 1);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked + queue_counters(hub_queue(k.h, 1))->acked, 0);
    kit_close(&k);
}

/* Who unsubscribes while he works on a message sends his answer afterwards. */
static void an_answer_that_is_over_before_it_comes_fails_its_transaction(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
    begin(c);
    stomp_send(c, "/queue/out", "t", IN_X);
    stomp_answer(c, "ACK", "1-1", IN_X "receipt:taken\n");
    commit(c);
    assert_string_equal(stomp_log(c), "RECEIPT receipt-id=taken\nERROR message=transaction failed receipt-id=done\nclosed\n");
    kit_settle(&k);
    assert_int_equal(entered(&k, 1), 0);
    assert_int_equal(hub_counters(k.h)->stale_answers, 1);
    kit_close(&k);
}

/* ---- limits ---- */

static void a_transaction_holds_what_may_be_parked(void **state)
{
    (void)state;
    char reason[1100], answer[2000];
    memset(reason, 'r', sizeof reason - 1);
    reason[900] = '\0';
    for (int how = 0; how < 3; how++) {
        struct kit k = { 0 };
        start(&k, 1000);
        k.stomp.park_bytes = 2000;
        struct kit_client *c = consumer(&k, "client", 3);
        begin(c);
        for (int i = 0; i < 5 && how == 0; i++)
            stomp_send(c, "/queue/out", "t", IN_X);
        for (int i = 0; i < 2 && how == 1; i++) {
            snprintf(answer, sizeof answer, "SEND\ndestination:/queue/out\ntransaction:x\nreceipt:r\n\n%s", reason);
            kit_frame(c, answer);
        }
        if (how == 2) {
            snprintf(answer, sizeof answer, "NACK\nid:1-3\ntransaction:x\nreason:%s\n\n", reason);
            kit_frame(c, answer);
        }
        assert_null(c->c);
        assert_non_null(strstr(stomp_log(c), "ERROR message=transaction too large"));
        kit_settle(&k);
        assert_int_equal(entered(&k, 1), 0);
        kit_close(&k);
    }
}

/* Else it would grow for as long as its client subscribes, answers and leaves again. */
static void an_answer_counts_although_its_subscription_is_over(void **state)
{
    (void)state;
    struct kit k = { 0 };
    char text[48];
    start(&k, 1000);
    k.stomp.park_bytes = 2000;
    struct kit_client *c = kit_stomp(&k);
    begin(c);
    for (int i = 1; i <= 100 && c->c != NULL; i++) {
        stomp_subscribe(c, "s", "/topic/t", "client", NULL);
        stomp_send(c, "/topic/t", "m", NULL);
        snprintf(text, sizeof text, "%d-1", i);
        stomp_answer(c, "ACK", text, IN_X);
        if (c->c != NULL)
            kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
    }
    assert_null(c->c);
    assert_non_null(strstr(stomp_log(c), "ERROR message=transaction too large"));
    kit_close(&k);
}

static void what_is_gathered_counts_for_its_connection_and_for_all(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 8 * 1500 };
    char frame[1200];
    start(&k, 1000);
    struct kit_client *a = kit_stomp(&k), *b = kit_stomp(&k), *d = kit_stomp(&k);
    for (char name = 'a'; name <= 'e'; name++) { /* four may be parked: the fifth is too much, in whatever transaction */
        snprintf(frame, sizeof frame, "BEGIN\ntransaction:%c\n\n", name);
        kit_frame(a, frame);
        snprintf(frame, sizeof frame, "SEND\ndestination:/queue/out\ntransaction:%c\n\nt", name);
        kit_frame(a, frame);
    }
    assert_non_null(strstr(stomp_log(a), "ERROR message=transaction too large"));
    uint64_t memory = hub_memory_bytes(k.h);
    begin(b);
    snprintf(frame, sizeof frame, "SEND\ndestination:/queue/out\n" IN_X "\n%0900d", 0);
    kit_frame(b, frame);
    assert_true(hub_memory_bytes(k.h) >= memory + 900);
    begin(d);
    kit_frame(d, frame);
    assert_non_null(strstr(stomp_log(d), "ERROR message=quota exceeded"));
    kit_frame(b, "ABORT\ntransaction:x\n\n");
    assert_string_equal(stomp_log(b), "");
    kit_lose(b);
    kit_settle(&k);
    assert_int_equal(hub_memory_bytes(k.h), 0);
    kit_close(&k);
}

/* ---- full queues ---- */

static void a_transaction_does_not_wait_for_the_room_that_it_makes(void **state)
{
    (void)state;
    for (int overflow = QUEUE_BLOCK; overflow <= QUEUE_REJECT; overflow++) {
        struct kit k = { 0 };
        struct queue_config jobs = kit_queue("jobs", 1);
        jobs.max_messages = 1;
        jobs.overflow = (enum queue_overflow)overflow;
        kit_open(&k);
        (void)hub_add_queue(k.h, &jobs);
        struct kit_client *c = consumer(&k, "client-individual", 1);
        begin(c);
        stomp_answer(c, "ACK", "1-1", IN_X);
        stomp_send(c, "/queue/jobs", "t1", IN_X);
        stomp_send(c, "/queue/jobs", "t2", IN_X); /* one over the limit */
        commit(c);
        kit_settle(&k);
        assert_int_equal(entered(&k, 0), 3);
        const char *log = stomp_log(c);
        assert_non_null(strstr(log, DONE));
        assert_non_null(strstr(log, "t2\n"));
        kit_close(&k);
    }
}

static void nor_behind_what_its_connection_sent_before(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    stomp_send(c, "/queue/jobs", "parked", NULL); /* waits for the room that only this client can make */
    assert_int_equal(entered(&k, 0), 1);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/jobs", "t", IN_X);
    commit(c);
    kit_settle(&k);
    const char *log = stomp_log(c);
    assert_non_null(strstr(log, DONE));
    assert_true(strstr(log, "parked\n") < strstr(log, "t\n"));
    assert_non_null(strstr(log, "parked\n"));
    kit_close(&k);
}

static void one_that_answers_nothing_waits_for_room(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    begin(c);
    stomp_send(c, "/queue/jobs", "t", IN_X);
    commit(c);
    kit_settle(&k);
    assert_int_equal(entered(&k, 0), 1);
    stomp_answer(c, "ACK", "1-1", NULL);
    kit_settle(&k);
    assert_int_equal(entered(&k, 0), 2);
    kit_close(&k);
}

/* ---- a full disk ---- */

/* Something of another client finds no space. */
static void fill_disk(struct kit *k)
{
    struct kit_client *p = kit_stomp(k);
    stomp_send(p, "/queue/out", "filler", NULL);
    kit_commit(k, SL_ENOSPC);
    assert_int_equal(hub_health(k->h), HUB_NO_SPACE);
    kit_lose(p);
}

static void without_space_it_is_parked_with_its_answers(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    fill_disk(&k);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    commit(c);
    kit_pass(&k, 100);
    assert_int_equal(entered(&k, 1), 1);
    assert_int_equal(leased(&k), 1);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(entered(&k, 1), 2);
    assert_int_equal(leased(&k), 0);
    assert_string_equal(stomp_log(c), DONE);
    kit_close(&k);
}

/* Its client has done all that there was to do. */
static void who_waits_for_space_until_its_time_is_over_is_not_charged(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    fill_disk(&k);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    commit(c);
    kit_pass(&k, 61000);
    assert_non_null(strstr(stomp_log(c), "ERROR message=store unavailable"));
    assert_int_equal(depth(&k, 0).count[QUEUE_READY], 1);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->timed_out, 0);
    kit_settle(&k);
    kit_close(&k);
}

static void what_is_parked_is_forgotten_with_its_connection(void **state)
{
    (void)state;
    for (int answers = 0; answers <= 1; answers++) {
        struct kit k = { 0 };
        start(&k, 1000);
        struct kit_client *c = consumer(&k, "client-individual", 1);
        fill_disk(&k);
        stomp_send(c, "/queue/out", "plain", NULL);
        begin(c);
        if (answers)
            stomp_answer(c, "ACK", "1-1", IN_X);
        stomp_send(c, "/queue/out", "t1", IN_X);
        stomp_send(c, "/queue/out", "t2", IN_X);
        commit(c);
        kit_lose(c);
        kit_pass(&k, 300);
        kit_settle(&k);
        assert_int_equal(entered(&k, 1), 2); /* the filler, and what was sent outside */
        assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 0);
        kit_close(&k);
    }
}

static void what_was_sent_behind_a_parked_one_enters_when_that_is_forgotten(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    begin(c);
    stomp_send(c, "/queue/jobs", "t", IN_X);
    commit(c); /* waits for room */
    stomp_send(c, "/queue/out", "plain", NULL);
    kit_settle(&k);
    assert_int_equal(entered(&k, 1), 0);
    kit_lose(c);
    kit_settle(&k);
    assert_int_equal(entered(&k, 0), 1);
    assert_int_equal(entered(&k, 1), 1);
    kit_close(&k);
}

/* "jobs" 1 of two is answered in a COMMIT that waits for space, as is one of a topic. */
static struct kit_client *waiting_commit(struct kit *k)
{
    struct kit_client *c = consumer(k, "client-individual", 2);
    stomp_subscribe(c, "t", "/topic/t", "client-individual", NULL);
    stomp_send(c, "/topic/t", "a", NULL);
    assert_int_equal(stomp_messages(c), 1);
    fill_disk(k);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_answer(c, "ACK", "2-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    commit(c);
    return c;
}

static void a_goodbye_leaves_what_a_parked_one_has_answered(void **state)
{
    (void)state;
    for (uint32_t how = 1; how <= 3; how++) {
        struct kit k = { 0 };
        start(&k, 1000);
        struct kit_client *c = waiting_commit(&k);
        if (how & 1)
            kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
        if (how & 1)
            kit_frame(c, "UNSUBSCRIBE\nid:t\n\n");
        if (how & 2)
            kit_frame(c, "DISCONNECT\nreceipt:bye\n\n");
        kit_pass(&k, 100);
        assert_int_equal(leased(&k), 1);
        assert_int_equal(depth(&k, 0).count[QUEUE_READY], 1);
        assert_string_equal(stomp_log(c), "");
        kit_pass(&k, 300);
        kit_settle(&k);
        assert_int_equal(entered(&k, 1), 2);
        assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 1);
        assert_int_equal(hub_counters(k.h)->deliveries_acked, 1);
        assert_string_equal(stomp_log(c), how == 1 ? DONE : DONE "RECEIPT receipt-id=bye\nclosed\n");
        kit_close(&k);
    }
}

static void who_is_lost_after_its_goodbye_is_not_charged(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = waiting_commit(&k);
    kit_frame(c, "DISCONNECT\nreceipt:bye\n\n");
    kit_lose(c);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(entered(&k, 1), 1);
    assert_int_equal(depth(&k, 0).count[QUEUE_READY], 2);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->retried, 0);
    kit_close(&k);
}

/* Without space nobody looks whether it could ever fit. */
static void a_parked_one_that_could_never_fit_is_refused_and_holds_up_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = kit_stomp(&k);
    fill_disk(&k);
    begin(c);
    stomp_send(c, "/queue/jobs", "t1", IN_X);
    stomp_send(c, "/queue/jobs", "t2", IN_X);
    commit(c);
    stomp_send(c, "/queue/out", "behind", NULL);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_non_null(strstr(stomp_log(c), "quota exceeded"));
    assert_int_equal(entered(&k, 0), 0);
    assert_int_equal(entered(&k, 1), 2); /* the filler, and what stood behind */
    kit_close(&k);
}

static void what_an_open_one_has_answered_is_over_with_its_subscription(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = waiting_commit(&k);
    begin(c);
    stomp_answer(c, "ACK", "1-2", IN_X);
    stomp_send(c, "/queue/out", "t2", IN_X);
    kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
    assert_int_equal(leased(&k), 1);
    commit(c);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_non_null(strstr(stomp_log(c), "ERROR message=transaction failed receipt-id=done\nclosed\n"));
    kit_close(&k);
}

static void answers_alone_do_not_wait_for_space(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    fill_disk(&k);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    commit(c);
    assert_int_equal(leased(&k), 0);
    kit_pass(&k, 300);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP "); /* and they leave first: they make room */
    kit_close(&k);
}

static void a_broken_store_refuses_it_and_what_is_parked(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    fill_disk(&k);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    commit(c);
    kit_pass(&k, 300);
    kit_commit(&k, SL_EIO);
    assert_string_equal(stomp_log(c), "ERROR message=store unavailable receipt-id=done\nclosed\n");
    kit_close(&k);
}

static void a_stopping_gateway_lets_what_was_taken_be_finished(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1000);
    struct kit_client *c = consumer(&k, "client-individual", 1);
    begin(c);
    stomp_answer(c, "ACK", "1-1", IN_X);
    stomp_send(c, "/queue/out", "t", IN_X);
    hub_drain(k.h);
    commit(c);
    kit_settle(&k);
    assert_string_equal(stomp_log(c), DONE);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_before_commit_and_then_all_in_one_batch),
        cmocka_unit_test(inside_a_transaction_a_receipt_means_received),
        cmocka_unit_test(a_transaction_of_answers_alone_is_stored_before_its_receipt),
        cmocka_unit_test(a_topic_s_messages_go_out_at_commit_in_their_order),
        cmocka_unit_test(who_sent_what_it_finishes_is_answered_when_it_is_stored),
        cmocka_unit_test(a_message_of_a_transaction_waits_for_who_is_away),
        cmocka_unit_test(an_aborted_transaction_leaves_its_deliveries_unanswered),
        cmocka_unit_test(a_lost_connection_leaves_nothing),
        cmocka_unit_test(a_transaction_whose_delivery_is_over_does_nothing),
        cmocka_unit_test(an_answer_that_is_over_before_it_comes_fails_its_transaction),
        cmocka_unit_test(a_transaction_holds_what_may_be_parked),
        cmocka_unit_test(an_answer_counts_although_its_subscription_is_over),
        cmocka_unit_test(what_is_gathered_counts_for_its_connection_and_for_all),
        cmocka_unit_test(a_transaction_does_not_wait_for_the_room_that_it_makes),
        cmocka_unit_test(nor_behind_what_its_connection_sent_before),
        cmocka_unit_test(one_that_answers_nothing_waits_for_room),
        cmocka_unit_test(without_space_it_is_parked_with_its_answers),
        cmocka_unit_test(who_waits_for_space_until_its_time_is_over_is_not_charged),
        cmocka_unit_test(what_is_parked_is_forgotten_with_its_connection),
        cmocka_unit_test(what_was_sent_behind_a_parked_one_enters_when_that_is_forgotten),
        cmocka_unit_test(a_goodbye_leaves_what_a_parked_one_has_answered),
        cmocka_unit_test(who_is_lost_after_its_goodbye_is_not_charged),
        cmocka_unit_test(what_an_open_one_has_answered_is_over_with_its_subscription),
        cmocka_unit_test(a_parked_one_that_could_never_fit_is_refused_and_holds_up_nothing),
        cmocka_unit_test(answers_alone_do_not_wait_for_space),
        cmocka_unit_test(a_broken_store_refuses_it_and_what_is_parked),
        cmocka_unit_test(a_stopping_gateway_lets_what_was_taken_be_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
