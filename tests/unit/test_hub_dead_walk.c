/* Random deaths, forwards, redrives and drops, on a disk that is full at times, with
 * crashes: whenever the disk has changed, each message is in one place on it at most, and
 * one that was accepted is there, or somebody was done with it, or it was dropped by name.
 * What a crash finds is what is looked at, so that none finds anything else. */
#include "test_hub_kit.h"

#include <stdlib.h>

#include "core/rng.h"

#define STEPS    600u
#define SEEDS    150u
#define MESSAGES 2000u
#define QUEUES   3u

enum { JOBS, DLQ, CELLAR }; /* the hub's indexes; the store's numbers are one more */

struct row {
    uint64_t id, due_ms;
    uint32_t queue, attempts, msg;
    enum queue_state state;
    enum queue_cause cause;
    struct message *body;
};

struct msg {
    bool accepted, finished, dropped;
};

struct walk {
    struct kit k;
    struct sl_rng rng;
    struct row rows[MESSAGES];
    uint32_t n_rows;
    struct msg msgs[MESSAGES];
    uint32_t n_msgs, n_accepted;
    struct kit_client *from;
    struct kit_worker *workers[2];
    uint64_t works[4];
    uint32_t crashes;
    uint64_t forwarded, redriven, hop_limit;
    bool durable[QUEUES];
};

static uint32_t below(struct walk *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

static uint32_t number_in(const struct message *m)
{
    char text[16];
    struct sl_bytes p = message_payload(m);
    snprintf(text, sizeof text, "%.*s", (int)p.n, (const char *)p.p);
    return (uint32_t)strtoul(text + 1, NULL, 10);
}

/* ---- the disk ---- */

static struct row *row_of(struct walk *w, const struct batch_op *op)
{
    for (uint32_t i = 0; i < w->n_rows; i++) {
        if (w->rows[i].id == op->id && w->rows[i].queue == op->queue)
            return &w->rows[i];
    }
    return NULL;
}

static void disk_update(struct row *r, const struct batch_op *op)
{
    if (r == NULL)
        return;
    r->state = (enum queue_state)op->state;
    r->attempts = op->attempts;
    r->due_ms = op->due_ms;
    r->cause = (enum queue_cause)op->cause;
}

static void disk_write(struct walk *w, const struct batch_op *op)
{
    struct row *r = op->kind == BATCH_SETTLE || op->kind == BATCH_UPDATE ? row_of(w, op) : NULL;
    if (op->kind == BATCH_ENTRY)
        w->rows[w->n_rows++] = (struct row){ .id = op->id, .due_ms = op->due_ms, .queue = op->queue, .msg = number_in(op->msg), .state = (enum queue_state)op->state, .body = message_ref(op->msg) };
    else if (op->kind == BATCH_UPDATE)
        disk_update(r, op);
    else if (op->kind == BATCH_SETTLE && r != NULL) {
        message_unref(r->body);
        *r = w->rows[--w->n_rows];
    }
    assert_true(w->n_rows < MESSAGES);
}

static void check_disk(const struct walk *w)
{
    uint8_t places[MESSAGES] = { 0 };
    for (uint32_t i = 0; i < w->n_rows; i++)
        assert_int_equal(++places[w->rows[i].msg], 1);
    for (uint32_t i = 0; i < w->n_msgs; i++) {
        const struct msg *m = &w->msgs[i];
        assert_true(!m->accepted || m->finished || m->dropped || places[i] == 1);
    }
}

static int on_apply(void *arg, struct batch *b)
{
    struct walk *w = arg;
    for (uint32_t i = 0; i < b->n; i++)
        disk_write(w, &b->ops[i]);
    check_disk(w);
    return SL_OK;
}

/* ---- a gateway, again and again ---- */

static void add_queues(struct walk *w)
{
    static const char *const names[QUEUES] = { "jobs", "dlq", "cellar" };
    for (uint32_t i = 0; i < QUEUES; i++) {
        struct queue_config q = kit_queue(names[i], i + 1);
        q.max_attempts = 2;
        q.max_messages = i == JOBS ? 20 : 3;
        q.dead_max_messages = MESSAGES;
        q.dead_expired = true;
        q.ttl_ms = i == JOBS ? 2000 : 0;
        (void)hub_add_queue(w->k.h, &q);
    }
    assert_int_equal(hub_add_route(w->k.h, "jobs", JOBS), SL_OK);
    hub_forward_dead(w->k.h, JOBS, DLQ);
    hub_forward_dead(w->k.h, DLQ, CELLAR);
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void restore(struct walk *w)
{
    qsort(w->rows, w->n_rows, sizeof *w->rows, compare_rows);
    for (uint32_t i = 0; i < w->n_rows; i++) {
        const struct row *r = &w->rows[i];
        struct queue_restored q = {
            .id = r->id, .bytes = (uint32_t)message_bytes(r->body), .priority = message_priority(r->body), .state = r->state,
            .attempts = r->attempts, .due_ms = r->due_ms, .cause = r->cause,
        };
        assert_int_equal(hub_restore_entry(w->k.h, r->queue, &q), SL_OK);
        sl_idmap_put(&w->k.bodies, r->id, message_ref(r->body));
    }
}

static void start(struct walk *w)
{
    w->k.apply = on_apply;
    w->k.apply_arg = w;
    kit_open(&w->k);
    add_queues(w);
    restore(w);
    w->from = kit_publisher(&w->k);
    w->workers[0] = kit_worker(&w->k, 0, JOBS);
    w->workers[1] = kit_worker(&w->k, 1, below(w, 2) == 0 ? DLQ : CELLAR);
    memset(w->works, 0, sizeof w->works);
}

static void count(struct walk *w)
{
    for (uint32_t i = 0; i < QUEUES; i++) {
        const struct queue_counters *c = queue_counters(hub_queue(w->k.h, i));
        *(i == CELLAR ? &w->redriven : &w->forwarded) += c->moved;
        w->hop_limit += c->hop_limit;
    }
}

/* Whatever is under way is lost. */
static void crash(struct walk *w)
{
    struct kit *k = &w->k;
    count(w);
    k->apply = NULL;
    kit_close(k);
    struct kit next = { .boot = k->boot, .mono_us = k->mono_us, .wall_ms = k->wall_ms };
    *k = next;
    w->crashes++;
    start(w);
}

/* ---- steps ---- */

static void read_answers(struct walk *w)
{
    const char *log = kit_log(w->from);
    for (; *log != '\0'; log += strcspn(log, "\n") + 1) {
        unsigned id, code;
        assert_int_equal(sscanf(log, "PUBACK %u 0x%x", &id, &code), 2);
        w->n_accepted += code == 0;
        w->msgs[id].accepted = code == 0;
    }
}

static void step_publish(struct walk *w)
{
    if (w->n_msgs + 1 >= MESSAGES || !hub_client_reading(w->from->c))
        return;
    if (w->n_msgs == 0)
        w->n_msgs = 1; /* a packet id is never 0 */
    uint32_t n = w->n_msgs++;
    kit_publish(w->from, 1, (uint16_t)n, "jobs");
}

static void step_work(struct walk *w)
{
    static const enum queue_verb verbs[] = { QUEUE_ACK, QUEUE_RETRY, QUEUE_RETRY, QUEUE_KILL, QUEUE_KILL, QUEUE_KILL, QUEUE_RELEASE };
    struct kit_worker *of = w->workers[below(w, 2)];
    if (of->n == 0)
        return;
    uint32_t i = below(w, of->n);
    enum queue_verb verb = verbs[below(w, SL_COUNT(verbs))];
    uint32_t n = number_in(of->held[i].msg);
    w->msgs[n].finished = w->msgs[n].finished || verb == QUEUE_ACK;
    kit_answer(of, i, &(struct hub_answer){ .verb = { .verb = verb }, .reason = sl_str("why") });
}

static void keep(struct walk *w, uint64_t handle)
{
    uint64_t *at = &w->works[below(w, SL_COUNT(w->works))];
    if (*at != 0)
        hub_dead_stop(w->k.h, *at);
    *at = handle;
}

static void step_redrive(struct walk *w)
{
    struct hub_dead_redrive r = {
        .to = below(w, 2) == 0 ? JOBS : HUB_SAME_QUEUE,
        .per_second = below(w, 2) == 0 ? 0 : 20,
        .max = below(w, 3),
        .filter = { .causes = below(w, 3) == 0 ? 1u << QUEUE_CAUSE_REJECTED : 0, .older_than_ms = below(w, 3) == 0 ? 100 : 0, .topic = below(w, 3) == 0 ? sl_str("job+") : SL_BYTES_NONE },
    };
    if (r.filter.topic.n > 0)
        r.filter.topic = sl_str("+");
    uint64_t handle;
    if (hub_dead_redrive(w->k.h, below(w, 4) == 0 ? below(w, QUEUES) : CELLAR, &r, &handle) == SL_OK)
        keep(w, handle);
}

static void step_drop(struct walk *w)
{
    uint64_t handle;
    if (w->n_rows == 0 || below(w, 4) > 0)
        return;
    const struct row *r = &w->rows[below(w, w->n_rows)];
    w->msgs[r->msg].dropped = true;
    if (hub_dead_drop(w->k.h, r->queue - 1, &(struct hub_dead_filter){ .id = r->id }, &handle) == SL_OK)
        keep(w, handle);
}

static void step_store(struct walk *w)
{
    if (w->k.pending != NULL)
        kit_commit(&w->k, below(w, 4) == 0 ? SL_ENOSPC : SL_OK);
}

static void step_change_worker(struct walk *w)
{
    uint32_t n = below(w, 2);
    if (below(w, 6) > 0)
        return;
    kit_worker_end(w->workers[n]);
    w->workers[n] = kit_worker(&w->k, n, below(w, QUEUES));
}

static void step_crash(struct walk *w)
{
    if (below(w, 8) == 0)
        crash(w);
}

static void step(struct walk *w)
{
    static void (*const steps[])(struct walk *w) = {
        step_publish, step_publish, step_publish, step_work, step_work, step_work, step_work, step_redrive,
        step_drop, step_store, step_store, step_store, step_store, step_change_worker, step_crash,
    };
    steps[below(w, SL_COUNT(steps))](w);
    kit_pass(&w->k, below(w, 8) == 0 ? 500 : below(w, 30));
    read_answers(w);
}

/* What the queues know is what the disk has. */
static void check_at_rest(struct walk *w)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < 8; i++) {
        kit_settle(&w->k);
        kit_pass(&w->k, 300);
    }
    kit_settle(&w->k);
    read_answers(w);
    for (uint32_t i = 0; i < QUEUES; i++) {
        struct queue_depth d;
        queue_depth(hub_queue(w->k.h, i), &d);
        for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
            n += d.count[s];
    }
    assert_int_equal(n, w->n_rows);
    check_disk(w);
}

static void walk(struct walk *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    sl_rng_seed(&w->rng, seed);
    start(w);
    for (uint32_t i = 0; i < STEPS; i++)
        step(w);
    check_at_rest(w);
    crash(w);
    check_at_rest(w);
    count(w);
    w->k.apply = NULL;
    kit_close(&w->k);
    for (uint32_t i = 0; i < w->n_rows; i++)
        message_unref(w->rows[i].body);
}

static void each_message_is_in_one_place_or_has_left_by_a_named_exit(void **state)
{
    (void)state;
    uint64_t forwarded = 0, redriven = 0, accepted = 0, crashes = 0, hop_limit = 0;
    const char *first = getenv("SLUICE_SEED");
    uint64_t from = first == NULL ? 1 : strtoull(first, NULL, 10);
    struct walk *w = sl_alloc(sizeof *w);
    for (uint64_t seed = from; seed < from + (first == NULL ? SEEDS : 1); seed++) {
        walk(w, seed);
        forwarded += w->forwarded;
        redriven += w->redriven;
        accepted += w->n_accepted;
        crashes += w->crashes;
        hop_limit += w->hop_limit;
    }
    sl_free(w);
    print_message("accepted %llu forwarded %llu redriven %llu hop_limit %llu crashes %llu\n", (unsigned long long)accepted, (unsigned long long)forwarded,
                  (unsigned long long)redriven, (unsigned long long)hop_limit, (unsigned long long)crashes);
    if (first == NULL)
        assert_true(accepted > 1000 && forwarded > 1000 && redriven > 100 && crashes > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_is_in_one_place_or_has_left_by_a_named_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
