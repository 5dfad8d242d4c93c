/* A crash at any moment finds each transaction done or not begun. The walk has
 * producers, a consumer whose transactions answer and send, workers whose acks
 * publish, and a disk that is full at times; what a crash would find is looked at whenever the disk
 * has changed. */
#include "stomp_clients.h"

#include <stdlib.h>

#include "core/rng.h"

#define STEPS    400u
#define MESSAGES 4000u
#define TRANSACTIONS 400u
#define HELD     64u
#define IN_TX    4u

enum { JOBS = 1, OUT = 2, AUDIT = 3 }; /* numbers of queues */

/* ---- what the disk has ---- */

struct row {
    uint64_t id;
    uint32_t queue, attempts, msg;
};

struct disk {
    struct row rows[2 * MESSAGES];
    uint32_t n;
    struct sl_idmap bodies;
};

static struct row *row_of(struct disk *d, uint64_t id, uint32_t queue)
{
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->rows[i].id == id && d->rows[i].queue == queue)
            return &d->rows[i];
    }
    return NULL;
}

static uint32_t number_in(const struct message *m)
{
    char text[16];
    struct sl_bytes p = message_payload(m);
    snprintf(text, sizeof text, "%.*s", (int)p.n, (const char *)p.p);
    return (uint32_t)strtoul(text, NULL, 10);
}

static void disk_write(struct disk *d, const struct batch_op *op)
{
    struct row *r = op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE ? row_of(d, op->id, op->queue) : NULL;
    if (op->kind == BATCH_BODY)
        sl_idmap_put(&d->bodies, op->id, d);
    else if (op->kind == BATCH_BODY_DROP)
        (void)sl_idmap_del(&d->bodies, op->id);
    else if (op->kind == BATCH_ENTRY)
        d->rows[d->n++] = (struct row){ op->id, op->queue, op->attempts, number_in(op->msg) };
    else if (op->kind == BATCH_UPDATE && r != NULL)
        r->attempts = op->attempts;
    else if (op->kind == BATCH_SETTLE && r != NULL)
        *r = d->rows[--d->n];
}

/* ---- what the clients know ---- */

struct msg {
    uint32_t queue;       /* where it is looked for */
    bool accepted;        /* its producer has the receipt */
    bool finished;        /* somebody was done with it */
};

struct tx {
    uint32_t answered[IN_TX], attempts[IN_TX], n_answered;
    bool acked[IN_TX];    /* else it failed, and somebody may be done with it later */
    uint32_t sent[IN_TX], n_sent;
    uint64_t batch; /* a worker's ack with publishes: the batch that is told to have it; 0: a transaction */
    bool parked;  /* at COMMIT */
    bool unknown; /* and then its connection was lost: whether it entered is not known */
    bool receipt;
};

struct held {
    char ack[32];
    uint32_t msg, attempt;
};

struct walk {
    struct kit k;
    struct sl_rng rng;
    struct disk disk;
    struct msg msgs[MESSAGES];
    uint32_t n_msgs;
    struct tx txs[TRANSACTIONS];
    uint32_t n_txs, first_of_connection;
    struct kit_client *producer, *consumer;
    struct kit_worker *out, *audit;
    struct held held[HELD];
    uint32_t n_held;
    uint32_t done, undone; /* how often each was found */
    uint32_t checks;
};

static uint32_t below(struct walk *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

/* ---- the law ---- */

static bool stored(const struct walk *w, uint32_t msg, uint32_t most_attempts)
{
    for (uint32_t i = 0; i < w->disk.n; i++) {
        const struct row *r = &w->disk.rows[i];
        if (r->msg == msg && r->queue == w->msgs[msg].queue)
            return r->attempts <= most_attempts;
    }
    return false;
}

static void check_tx(struct walk *w, const struct tx *t)
{
    bool before = false, after = t->receipt, sent = false, missing = false;
    for (uint32_t i = 0; i < t->n_answered; i++) {
        bool as_it_was = stored(w, t->answered[i], t->attempts[i]);
        before = before || as_it_was;
        bool left = t->acked[i] ? w->msgs[t->answered[i]].accepted : stored(w, t->answered[i], UINT32_MAX);
        after = after || (!as_it_was && left);
    }
    for (uint32_t i = 0; i < t->n_sent; i++) {
        bool there = stored(w, t->sent[i], UINT32_MAX);
        sent = sent || there;
        missing = missing || (!there && !w->msgs[t->sent[i]].finished);
    }
    if (t->n_sent == 0)
        return; /* answers alone: see RULES.md of the hub */
    assert_false(before && sent);
    assert_false(after && missing);
    assert_false(t->receipt && before);
    w->done += sent && t->n_answered > 0;
    w->undone += before;
}

/* Accepted is kept; looked at now and then, since it looks at all there is. */
static void check_accepted(const struct walk *w)
{
    for (uint32_t i = 0; i < w->n_msgs; i++) {
        if (w->msgs[i].accepted && !w->msgs[i].finished)
            assert_true(stored(w, i, UINT32_MAX));
    }
}

static void check(struct walk *w)
{
    if (w->checks++ % 16 == 0)
        check_accepted(w);
    for (uint32_t i = 0; i < w->disk.n; i++)
        assert_non_null(sl_idmap_get(&w->disk.bodies, w->disk.rows[i].id));
    for (uint32_t i = 0; i < w->n_txs; i++) {
        if (!w->txs[i].unknown)
            check_tx(w, &w->txs[i]);
    }
}

static int on_apply(void *arg, struct batch *b)
{
    struct walk *w = arg;
    for (uint32_t i = 0; i < b->n; i++)
        disk_write(&w->disk, &b->ops[i]);
    check(w);
    return SL_OK;
}

/* ---- reading ---- */

static void on_message(struct walk *w, const char *line)
{
    struct held *h = &w->held[w->n_held++];
    assert_true(w->n_held <= HELD);
    assert_int_equal(sscanf(strstr(line, " ack="), " ack=%31s attempt=%u redelivered=%*s %u", h->ack, &h->attempt, &h->msg), 3);
}

static void on_done(struct walk *w, struct tx *t)
{
    t->receipt = true;
    for (uint32_t i = 0; i < t->n_sent; i++)
        w->msgs[t->sent[i]].accepted = true;
}

static void on_line(struct walk *w, const char *line)
{
    uint32_t i;
    if (strncmp(line, "MESSAGE", 7) == 0)
        on_message(w, line);
    else if (sscanf(line, "RECEIPT receipt-id=p%u", &i) == 1)
        w->msgs[i].accepted = true;
    else if (sscanf(line, "RECEIPT receipt-id=c%u", &i) == 1)
        on_done(w, &w->txs[i]);
    else
        fail_msg("%s", line);
}

static void read_all(struct walk *w)
{
    struct kit_client *clients[] = { w->producer, w->consumer };
    for (size_t i = 0; i < SL_COUNT(clients); i++) {
        char line[256];
        const char *log = stomp_log(clients[i]);
        for (; *log != '\0'; log += strcspn(log, "\n") + 1) {
            snprintf(line, sizeof line, "%.*s", (int)strcspn(log, "\n"), log);
            on_line(w, line);
        }
    }
    for (uint32_t i = 0; i < w->n_txs; i++) {
        if (w->txs[i].batch != 0 && !w->txs[i].receipt && hub_batch_stored(w->k.h, w->txs[i].batch))
            on_done(w, &w->txs[i]);
    }
    check(w);
}

/* ---- steps ---- */

static uint32_t new_msg(struct walk *w, uint32_t queue)
{
    assert_true(w->n_msgs < MESSAGES);
    w->msgs[w->n_msgs] = (struct msg){ .queue = queue };
    return w->n_msgs++;
}

static void send(struct walk *w, struct kit_client *c, uint32_t msg, const char *header)
{
    char body[16];
    bool several = below(w, 2) == 0;
    snprintf(body, sizeof body, "%u", msg);
    stomp_send(c, w->msgs[msg].queue == OUT ? "/queue/out" : several ? "/topic/t" : "/queue/jobs", body, header);
}

static bool may_talk(const struct kit_client *c)
{
    return hub_client_reading(c->c);
}

static void step_produce(struct walk *w)
{
    char header[32];
    if (!may_talk(w->producer))
        return;
    uint32_t msg = new_msg(w, JOBS);
    snprintf(header, sizeof header, "receipt:p%u\n", msg);
    send(w, w->producer, msg, header);
}

static struct held take_held(struct walk *w, uint32_t i)
{
    struct held h = w->held[i];
    w->held[i] = w->held[--w->n_held];
    return h;
}

static void step_answer(struct walk *w)
{
    if (w->n_held == 0 || !may_talk(w->consumer))
        return;
    struct held h = take_held(w, below(w, w->n_held));
    bool ack = below(w, 3) > 0;
    w->msgs[h.msg].finished = w->msgs[h.msg].finished || ack;
    stomp_answer(w->consumer, ack ? "ACK" : "NACK", h.ack, ack ? NULL : "delay:50\n");
}

static void answer_in(struct walk *w, struct tx *t)
{
    if (w->n_held == 0 || t->n_answered == IN_TX)
        return;
    struct held h = take_held(w, below(w, w->n_held));
    bool ack = below(w, 3) > 0;
    w->msgs[h.msg].finished = w->msgs[h.msg].finished || ack;
    t->acked[t->n_answered] = ack;
    t->attempts[t->n_answered] = h.attempt - 1;
    t->answered[t->n_answered++] = h.msg;
    stomp_answer(w->consumer, ack ? "ACK" : "NACK", h.ack, ack ? "transaction:x\n" : "transaction:x\ndelay:50\n");
}

static void send_in(struct walk *w, struct tx *t)
{
    uint32_t msg = new_msg(w, below(w, 3) == 0 ? JOBS : OUT);
    t->sent[t->n_sent++] = msg;
    send(w, w->consumer, msg, "transaction:x\n");
}

static void step_transaction(struct walk *w)
{
    char frame[64];
    if (!may_talk(w->consumer) || w->n_txs == TRANSACTIONS)
        return;
    struct tx t = { 0 };
    kit_frame(w->consumer, "BEGIN\ntransaction:x\n\n");
    for (uint32_t n = below(w, 4); n > 0; n--)
        answer_in(w, &t);
    for (uint32_t n = below(w, 3); n > 0; n--)
        send_in(w, &t);
    uint64_t parked = hub_counters(w->k.h)->publishes_parked;
    snprintf(frame, sizeof frame, "COMMIT\ntransaction:x\nreceipt:c%u\n\n", w->n_txs);
    w->txs[w->n_txs++] = t;
    kit_frame(w->consumer, frame);
    w->txs[w->n_txs - 1].parked = hub_counters(w->k.h)->publishes_parked > parked;
}

static struct message_parts publish_of(struct walk *w, uint32_t msg, char body[16])
{
    snprintf(body, 16, "%u", msg);
    const char *to = w->msgs[msg].queue == OUT ? "/queue/out" : below(w, 2) == 0 ? "t" : "/queue/jobs";
    return (struct message_parts){ .protocol = MESSAGE_WORKER, .qos = 1, .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(to), .payload = sl_str(body) };
}

/* What it has is done, and one or two messages come of it. */
static void ack_with_publishes(struct walk *w, struct kit_worker *of, uint32_t i)
{
    struct message_parts parts[2];
    char bodies[2][16];
    enum hub_published fates[2];
    struct tx t = { .n_answered = 1, .acked = { true }, .answered = { number_in(of->held[i].msg) }, .attempts = { of->held[i].attempt - 1 } };
    for (uint32_t n = 1 + below(w, 2); n > 0; n--) {
        t.sent[t.n_sent] = new_msg(w, below(w, 3) == 0 ? JOBS : OUT);
        parts[t.n_sent] = publish_of(w, t.sent[t.n_sent], bodies[t.n_sent]);
        t.n_sent++;
    }
    t.batch = hub_batch_filling(w->k.h);
    w->txs[w->n_txs++] = t;
    kit_answer(of, i, &(struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .publishes = parts, .n_publishes = t.n_sent, .published = fates });
    for (uint32_t k = 0; k < t.n_sent; k++)
        assert_int_equal(fates[k], HUB_PUBLISHED);
}

static void step_work(struct walk *w)
{
    struct kit_worker *of = below(w, 2) == 0 ? w->out : w->audit;
    if (of->n == 0)
        return;
    uint32_t i = below(w, of->n);
    if (of == w->out)
        w->msgs[number_in(of->held[i].msg)].finished = true;
    if (of == w->out && below(w, 2) == 0 && w->n_txs < TRANSACTIONS)
        ack_with_publishes(w, of, i);
    else
        kit_ack(of, i);
}

static void step_store(struct walk *w)
{
    if (w->k.pending != NULL)
        kit_commit(&w->k, below(w, 3) == 0 ? SL_ENOSPC : SL_OK);
}

static void connect_consumer(struct walk *w)
{
    w->consumer = kit_stomp(&w->k);
    stomp_subscribe(w->consumer, "s", "/queue/jobs", "client-individual", "prefetch-count:20\n");
    w->first_of_connection = w->n_txs;
    w->n_held = 0;
}

static void step_lose(struct walk *w)
{
    if (below(w, 10) > 0)
        return;
    read_all(w);
    for (uint32_t i = w->first_of_connection; i < w->n_txs; i++)
        w->txs[i].unknown = w->txs[i].batch == 0 && w->txs[i].parked && !w->txs[i].receipt;
    kit_lose(w->consumer);
    connect_consumer(w);
}

static void step(struct walk *w)
{
    static void (*const steps[])(struct walk *w) = {
        step_produce, step_produce, step_produce, step_answer, step_transaction, step_transaction, step_work, step_work, step_store, step_store, step_store, step_lose,
    };
    steps[below(w, SL_COUNT(steps))](w);
    kit_pass(&w->k, below(w, 8) == 0 ? 300 : below(w, 2));
    read_all(w);
}

static void walk_open(struct walk *w, uint64_t seed)
{
    struct queue_config queues[] = { kit_queue("jobs", JOBS), kit_queue("out", OUT), kit_queue("audit", AUDIT) };
    memset(w, 0, sizeof *w);
    sl_rng_seed(&w->rng, seed);
    w->k.apply = on_apply;
    w->k.apply_arg = w;
    w->k.commit_delay_us = seed % 2 == 0 ? 0 : 500;
    kit_open(&w->k);
    for (uint32_t i = 0; i < SL_COUNT(queues); i++) {
        queues[i].max_attempts = 1000;
        queues[i].ack_timeout_ms = 100000000;
        (void)hub_add_queue(w->k.h, &queues[i]);
    }
    assert_int_equal(hub_add_route(w->k.h, "t", 0), SL_OK);
    assert_int_equal(hub_add_route(w->k.h, "t", 2), SL_OK);
    w->producer = kit_stomp(&w->k);
    connect_consumer(w);
    w->out = kit_worker(&w->k, 0, 1);
    w->audit = kit_worker(&w->k, 1, 2);
}

static void walk_close(struct walk *w)
{
    for (int i = 0; i < 20; i++) {
        kit_pass(&w->k, 300);
        kit_settle(&w->k);
        read_all(w);
    }
    assert_int_equal(hub_health(w->k.h), HUB_OK);
    for (uint32_t i = 0; i < w->n_txs; i++)
        assert_true(w->txs[i].receipt || w->txs[i].unknown || (i < w->first_of_connection && w->txs[i].batch == 0));
    kit_close(&w->k);
    sl_idmap_fini(&w->disk.bodies);
}

static void whenever_it_stops_a_transaction_is_done_or_not_begun(void **state)
{
    (void)state;
    static struct walk w;
    uint32_t done = 0, undone = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        walk_open(&w, seed);
        for (uint32_t i = 0; i < STEPS; i++)
            step(&w);
        walk_close(&w);
        done += w.done;
        undone += w.undone;
    }
    assert_true(done > 1000 && undone > 100); /* it was found both ways often enough */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whenever_it_stops_a_transaction_is_done_or_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
