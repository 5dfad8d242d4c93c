/* Both engines after any story: seeded batches as the hub makes them, with
 * entries and copies that were cancelled, messages that move, settles that a full
 * disk parted and that are applied again, sessions that come and go with what is
 * theirs, retained messages, dedup keys that outlive their messages, schedules,
 * records of queues. Disk and memory must tell the same content, body for
 * body. The faultfs shim is linked into this program. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "store/entry.h"
#include "store_kit.h"

#define BATCHES 150u
#define LIVE_MAX 120u
#define QUEUES 4u
#define SESSIONS 4u
#define SUBSCRIPTIONS 6u
#define RETAINED_MAX 20u
#define WINDOW 30u
/* Payloads whose records lie on both sides of what stands inside an entry. */
#define PAYLOAD_AT_LIMIT (STORE_ENTRY_INSIDE_MAX - MESSAGE_RECORD_FIXED - 6u)

struct live {
    uint64_t id;
    uint32_t queues; /* bit q: queue q has an entry */
    uint32_t copies; /* bit k: session k has one */
    uint32_t payload;
    bool job;
    bool touched; /* in this batch */
};

struct world {
    struct kit_dir dir;
    struct store *disk, *memory;
    struct batch *b;
    struct sl_rng rng;
    struct live live[LIVE_MAX];
    uint32_t n;
    uint64_t last_id;
    uint64_t sessions[SESSIONS]; /* their numbers */
    uint64_t last_session;
    uint64_t retained[RETAINED_MAX];
    uint32_t n_retained;
    struct { uint64_t id; uint32_t queue; } window[WINDOW]; /* dedup keys, in no order */
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

static uint32_t some_queue(struct world *w, uint32_t of)
{
    uint32_t q = 1 + below(w, QUEUES);
    while ((of & 1u << q) == 0)
        q = 1 + q % QUEUES;
    return q;
}

static uint32_t some_session(struct world *w, uint32_t of)
{
    uint32_t k = below(w, SESSIONS);
    while ((of & 1u << k) == 0)
        k = (k + 1) % SESSIONS;
    return k;
}

static void add_copy(struct world *w, const struct live *m, uint32_t k)
{
    if (below(w, 4) == 0)
        kit_released(w->b, m->id, w->sessions[k], (uint16_t)below(w, 65536));
    else
        kit_copy(w->b, m->id, w->sessions[k], (uint16_t)below(w, 65536), below(w, 5));
}

static struct message *message_of(const struct live *m)
{
    return m->job ? kit_job(m->id, m->payload) : kit_message(m->id, m->payload);
}

static void add_entry(struct world *w, const struct live *m, uint32_t queue)
{
    struct batch_op *op = batch_add(w->b, BATCH_ENTRY);
    op->id = m->id;
    op->queue = queue;
    op->msg = message_of(m);
    op->order_key = below(w, 3) == 0 ? sl_rng_u64(&w->rng) : 0;
}

/* New ones take the place of old ones. */
static void retain(struct world *w, uint64_t id)
{
    uint32_t at = w->n_retained < RETAINED_MAX ? w->n_retained++ : below(w, RETAINED_MAX);
    kit_retain(w->b, id, below(w, 2) == 0 ? 10 : 5000);
    if (w->retained[at] != 0)
        batch_add(w->b, BATCH_RETAIN_DROP)->id = w->retained[at];
    w->retained[at] = id;
}

static void copies_enter(struct world *w, struct live *m)
{
    for (uint32_t k = 0; k < SESSIONS; k++) {
        if (below(w, 3) != 0)
            continue;
        add_copy(w, m, k);
        if (below(w, 4) == 0)
            batch_cancel(w->b, w->b->n - 1);
        else
            m->copies |= 1u << k;
    }
}

/* For up to four queues and four sessions, some of which have finished with it already. */
static void enter(struct world *w)
{
    static const uint32_t payloads[] = { 0, 1, 200, PAYLOAD_AT_LIMIT - 1, PAYLOAD_AT_LIMIT, PAYLOAD_AT_LIMIT + 1, 3000, 9000 };
    if (w->n == LIVE_MAX)
        return;
    uint64_t id = ++w->last_id * 4;
    struct live m = { .id = id > 100 && below(w, 8) == 0 ? id - 99 : id, .payload = payloads[below(w, SL_COUNT(payloads))], .job = below(w, 3) == 0, .touched = true };
    struct batch_op *body = batch_add(w->b, BATCH_BODY);
    body->id = m.id;
    body->msg = message_of(&m);
    w->b->bytes += body->msg->record_bytes;
    uint32_t at = w->b->n - 1, turn = below(w, QUEUES);
    for (uint32_t i = 0; i < QUEUES; i++) {
        uint32_t q = 1 + (i + turn) % QUEUES;
        if (below(w, 2) == 0)
            continue;
        add_entry(w, &m, q);
        if (below(w, 3) == 0)
            batch_cancel(w->b, w->b->n - 1);
        else
            m.queues |= 1u << q;
    }
    if (below(w, 5) == 0)
        retain(w, m.id);
    if (below(w, 2) == 0)
        copies_enter(w, &m);
    if (m.queues == 0 && m.copies == 0)
        batch_cancel(w->b, at);
    else
        w->live[w->n++] = m;
}

static void fail_once(struct world *w, struct live *m)
{
    static char text[BATCH_FAILURE_TAIL_MAX];
    memset(text, 't', sizeof text);
    struct batch_failure f = { .wall_ms = 7000 + below(w, 100000), .attempt = below(w, 100), .cause = QUEUE_CAUSE_EXIT };
    f.detail = sl_bytes_of(text, below(w, 2) == 0 ? 6 : BATCH_FAILURE_DETAIL_MAX);
    f.tail = sl_bytes_of(text, below(w, 2) == 0 ? 0 : below(w, sizeof text + 1));
    struct batch_op *op = batch_add(w->b, BATCH_UPDATE);
    op->id = m->id;
    op->queue = some_queue(w, m->queues);
    op->state = below(w, 2) == 0 ? QUEUE_DELAYED : QUEUE_DEAD;
    op->attempts = f.attempt;
    op->due_ms = f.wall_ms;
    op->cause = (uint8_t)below(w, 1 + QUEUE_CAUSE_WORKER_KILLED);
    if (op->state == QUEUE_DELAYED || below(w, 2) == 0)
        op->note = batch_failure_encode(&f);
    m->touched = true;
}

static void drop_copy(struct world *w, struct live *m, uint32_t k)
{
    kit_copy_drop(w->b, m->id, w->sessions[k]);
    m->copies &= ~(1u << k);
    m->touched = true;
}

static void settle(struct world *w, struct live *m)
{
    if (m->queues == 0 || (m->copies != 0 && below(w, 2) == 0)) {
        drop_copy(w, m, some_session(w, m->copies));
    } else {
        uint32_t queue = some_queue(w, m->queues);
        struct batch_op *op = batch_add(w->b, BATCH_SETTLE);
        op->id = m->id;
        op->queue = queue;
        m->queues &= ~(1u << queue);
    }
    m->touched = true;
    if (m->queues != 0 || m->copies != 0)
        return;
    batch_add(w->b, BATCH_BODY_DROP)->id = m->id;
    *m = w->live[--w->n];
}

static void move(struct world *w, struct live *m)
{
    uint32_t others = ~m->queues & ((2u << QUEUES) - 2);
    if (others == 0)
        return;
    uint32_t from = some_queue(w, m->queues), to = some_queue(w, others);
    bool leaves_first = below(w, 2) == 0;
    if (!leaves_first)
        add_entry(w, m, to);
    struct batch_op *op = batch_add(w->b, BATCH_SETTLE);
    op->id = m->id;
    op->queue = from;
    if (leaves_first)
        add_entry(w, m, to);
    m->queues = (m->queues & ~(1u << from)) | 1u << to;
    m->touched = true;
}

/* It is numbered, released, or goes to another member. */
static void copy_changes(struct world *w, struct live *m)
{
    uint32_t k = some_session(w, m->copies), others = ~m->copies & ((1u << SESSIONS) - 1);
    m->touched = true;
    if (others == 0 || below(w, 2) == 0) {
        add_copy(w, m, k);
        return;
    }
    uint32_t to = some_session(w, others);
    add_copy(w, m, to);
    m->copies |= 1u << to;
    drop_copy(w, m, k);
}

static void session_begins(struct world *w, uint32_t k)
{
    w->sessions[k] = ++w->last_session;
    kit_session(w->b, w->sessions[k], "a session");
}

static void session_ends(struct world *w, uint32_t k)
{
    for (uint32_t i = w->n; i-- > 0;) {
        struct live *m = &w->live[i];
        if ((m->copies & 1u << k) == 0)
            continue;
        drop_copy(w, m, k);
        if (m->queues != 0 || m->copies != 0)
            continue;
        batch_add(w->b, BATCH_BODY_DROP)->id = m->id;
        *m = w->live[--w->n];
    }
    batch_add(w->b, BATCH_SESSION_DROP)->id = w->sessions[k];
    session_begins(w, k);
}

static void session_changes(struct world *w, bool settles_only)
{
    uint64_t session = w->sessions[below(w, SESSIONS)];
    uint32_t number = below(w, SUBSCRIPTIONS), what = below(w, 12);
    if (what < 4)
        kit_subscription_drop(w->b, session, number);
    else if (what < 6)
        batch_add(w->b, BATCH_WILL_DROP)->id = session;
    else if (what < 7 && w->n_retained > 0)
        batch_add(w->b, BATCH_RETAIN_DROP)->id = w->retained[below(w, w->n_retained)];
    else if (what < 8 && !settles_only)
        session_ends(w, below(w, SESSIONS));
    else if (what < 9 && !settles_only)
        kit_will(w->b, session, below(w, 3000));
    else if (!settles_only)
        kit_subscription(w->b, session, number, "a/+/b");
}

static const char *const k_schedules[] = { "a", "ab", "b", "z", "a schedule with a long name" };

/* A key takes the place of another, as one that leaves the window. */
static void sees(struct world *w, uint64_t id)
{
    uint32_t at = below(w, WINDOW), queue = 1 + below(w, QUEUES);
    kit_dedup(w->b, id, queue, (uint8_t)below(w, 256));
    if (w->window[at].id != 0)
        kit_dedup_drop(w->b, w->window[at].id, w->window[at].queue);
    w->window[at].id = id;
    w->window[at].queue = queue;
}

static void forgets(struct world *w)
{
    uint32_t at = below(w, WINDOW);
    if (w->window[at].id != 0)
        kit_dedup_drop(w->b, w->window[at].id, w->window[at].queue);
    w->window[at].id = 0;
}

static void queues_change(struct world *w, bool settles_only)
{
    const char *name = k_schedules[below(w, SL_COUNT(k_schedules))];
    uint32_t what = below(w, 8);
    if (what == 0)
        kit_queue_record(w->b, 1 + below(w, 3 * QUEUES), below(w, 2) == 0, name);
    else if (what == 1)
        kit_schedule(w->b, name, sl_rng_u64(&w->rng));
    else if (what == 2)
        kit_schedule_drop(w->b, name);
    else if (what < 5)
        forgets(w);
    else if (!settles_only)
        sees(w, w->last_id * 4 + below(w, 12));
}

static void fill(struct world *w, bool settles_only)
{
    for (uint32_t i = 0; i < w->n; i++)
        w->live[i].touched = false;
    for (uint32_t left = 1 + below(w, 40); left > 0; left--) {
        struct live *m = w->n == 0 ? NULL : &w->live[below(w, w->n)];
        uint32_t what = below(w, 12);
        if (what > 9)
            queues_change(w, settles_only);
        else if (what < 3 && !settles_only)
            enter(w);
        else if (m != NULL && what == 3 && !settles_only && m->queues != 0)
            move(w, m);
        else if (m != NULL && what == 4 && !m->touched && m->queues != 0)
            fail_once(w, m);
        else if (what == 5)
            session_changes(w, settles_only);
        else if (m != NULL && what == 6 && m->copies != 0)
            copy_changes(w, m);
        else if (m != NULL && (settles_only || what > 6))
            settle(w, m);
    }
}

/* A batch in which nothing enters may be parted, and is applied as a whole again when a later part failed. */
static void apply_settles(struct world *w)
{
    char plan[32];
    struct batch part = *w->b;
    part.n = below(w, w->b->n + 1);
    assert_int_equal(store_apply(w->disk, &part), SL_OK);
    snprintf(plan, sizeof plan, "write:1:ENOSPC:%u", 1 + below(w, 6));
    setenv("FAULTFS", plan, 1);
    int err = store_apply(w->disk, w->b);
    unsetenv("FAULTFS");
    assert_true(err == SL_OK || err == SL_ENOSPC);
}

static void apply(struct world *w, bool settles_only)
{
    if (settles_only)
        apply_settles(w);
    assert_int_equal(store_apply(w->disk, w->b), SL_OK);
    assert_int_equal(store_apply(w->memory, w->b), SL_OK);
    batch_reset(w->b);
}

static void assert_bodies(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct message *whole = message_of(&w->live[i]), *m = NULL;
        uint64_t id = w->live[i].id;
        uint32_t entry = 0;
        struct batch_fetch f = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
        store_fetch(w->disk, &f);
        assert_int_equal(f.err, SL_OK);
        assert_non_null(m);
        assert_true(sl_bytes_eq(message_record(m), message_record(whole)));
        message_unref(m);
        message_unref(whole);
    }
}

static void assert_same_figures(struct world *w)
{
    struct store_info disk, memory;
    assert_int_equal(store_info(w->disk, &disk), SL_OK);
    assert_int_equal(store_info(w->memory, &memory), SL_OK);
    assert_int_equal(disk.entries, memory.entries);
    assert_int_equal(disk.sessions, memory.sessions);
    assert_int_equal(disk.subscriptions, memory.subscriptions);
    assert_int_equal(disk.copies, memory.copies);
    assert_int_equal(disk.retained, memory.retained);
    assert_int_equal(disk.dedup_keys, memory.dedup_keys);
    assert_int_equal(disk.schedules, memory.schedules);
}

static void assert_agree(struct world *w)
{
    char *on_disk = kit_content(w->disk), *in_memory = kit_content(w->memory);
    assert_string_equal(on_disk, in_memory);
    sl_free(on_disk);
    sl_free(in_memory);
    assert_same_figures(w);
    assert_bodies(w);
}

static void assert_empty_when_all_is_settled(struct world *w)
{
    while (w->n > 0)
        settle(w, &w->live[0]);
    for (uint32_t k = 0; k < SESSIONS; k++)
        batch_add(w->b, BATCH_SESSION_DROP)->id = w->sessions[k];
    for (uint32_t i = 0; i < w->n_retained; i++)
        batch_add(w->b, BATCH_RETAIN_DROP)->id = w->retained[i];
    for (uint32_t i = 0; i < WINDOW; i++)
        kit_dedup_drop(w->b, w->window[i].id, w->window[i].queue);
    for (size_t i = 0; i < SL_COUNT(k_schedules); i++)
        kit_schedule_drop(w->b, k_schedules[i]);
    apply(w, true);
    struct store_info info;
    assert_int_equal(store_info(w->disk, &info), SL_OK);
    assert_int_equal(info.entries + info.bodies + info.sessions + info.subscriptions + info.copies + info.retained + info.dedup_keys + info.schedules, 0);
    assert_same_figures(w);
    char *left = kit_content(w->disk);
    for (const char *line = left; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_memory_equal(line, "record ", 7); /* queues' own records stay */
    sl_free(left);
}

static void run(uint64_t seed)
{
    struct world w = { .b = batch_new(), .memory = kit_open("memory", "") };
    kit_dir_make(&w.dir);
    sl_rng_seed(&w.rng, seed);
    w.disk = kit_open("lmdb", w.dir.path);
    for (uint32_t k = 0; k < SESSIONS; k++)
        session_begins(&w, k);
    for (uint32_t i = 0; i < BATCHES; i++) {
        bool settles_only = below(&w, 3) == 0;
        fill(&w, settles_only);
        apply(&w, settles_only);
        if (below(&w, 4) != 0)
            continue;
        store_close(w.disk);
        w.disk = kit_open("lmdb", w.dir.path);
        assert_agree(&w);
    }
    assert_empty_when_all_is_settled(&w);
    store_close(w.disk);
    store_close(w.memory);
    batch_free(w.b);
    kit_dir_remove(&w.dir);
}

static void disk_and_memory_tell_the_same(void **state)
{
    (void)state;
    const char *one = getenv("SLUICE_SEED");
    for (uint64_t seed = 1; seed <= 12 && one == NULL; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed);
    }
    if (one != NULL)
        run(strtoull(one, NULL, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(disk_and_memory_tell_the_same) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
