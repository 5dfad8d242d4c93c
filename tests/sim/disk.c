/* The fake disk: a model of the store that can be slow, full, broken, and cut
 * off at any moment. What it has applied is all that a new boot knows. */
#include "consumers.h"

static uint64_t key_of(uint64_t id, uint32_t queue)
{
    return id * SIM_QUEUES + queue;
}

const struct queue_restored *disk_entry_of(const struct world *w, uint64_t id, uint32_t queue)
{
    const struct disk_entry *e = sl_idmap_get(&w->disk.entries, key_of(id, queue));
    return e == NULL ? NULL : &e->r;
}

static void put_entry(struct world *w, const struct batch_op *op)
{
    struct disk_entry *e = SL_NEW(struct disk_entry);
    e->queue = op->queue - 1;
    e->uid = uid_of_message(w, op->msg);
    e->r = (struct queue_restored){
        .id = op->id,
        .bytes = (uint32_t)message_bytes(op->msg),
        .priority = message_priority(op->msg),
        .state = (enum queue_state)op->state,
        .attempts = op->attempts,
        .due_ms = op->due_ms,
        .due_absolute = message_deliver_at(op->msg) != 0 && (message_flags(op->msg) & MESSAGE_DELIVER_RELATIVE) == 0,
        .expires_at = message_expires_at(op->msg),
        .expires_relative = (message_flags(op->msg) & MESSAGE_EXPIRES_RELATIVE) != 0,
        .order_key = op->order_key,
    };
    if (w->uids[e->uid].deal != 0 && w->uids[e->uid].cancelled)
        world_fail(w, "u%08u is stored, and its transaction was not committed", e->uid);
    if (sl_idmap_get(&w->disk.entries, key_of(op->id, e->queue)) != NULL)
        world_fail(w, "entry %016" PRIx64 " is written twice", op->id);
    sl_idmap_put(&w->disk.entries, key_of(op->id, e->queue), e);
    w->uids[e->uid].stored[e->queue]++;
    if (message_hops(op->msg) == 0)
        duplicates_seen(w, e->queue, op->id, e->uid, true);
    w->disk.n_entries[e->queue]++;
}

static void update_entry(struct world *w, const struct batch_op *op)
{
    struct disk_entry *e = sl_idmap_get(&w->disk.entries, key_of(op->id, op->queue - 1));
    if (e == NULL)
        return; /* settled before it was ever written */
    e->r.state = (enum queue_state)op->state;
    e->r.attempts = op->attempts;
    e->r.due_ms = op->due_ms;
    e->r.cause = (enum queue_cause)op->cause;
}

static void settle_entry(struct world *w, const struct batch_op *op)
{
    struct disk_entry *e = sl_idmap_del(&w->disk.entries, key_of(op->id, op->queue - 1));
    if (e == NULL)
        return;
    struct uid *u = &w->uids[e->uid];
    u->stored[e->queue]--;
    w->disk.n_entries[e->queue]--;
    if (u->worked[e->queue] == 0)
        u->left[e->queue]++;
    sl_free(e);
}

static struct batch_note *copy_note(const struct batch_note *n)
{
    struct batch_note *c = sl_alloc(sizeof *c + n->n);
    memcpy(c, n, sizeof *c + n->n);
    return c;
}

static void drop_session(struct disk *d, uint64_t number)
{
    sl_free(sl_idmap_del(&d->sessions, number));
    for (uint32_t id = 1; id < 65536 && d->qos2.used > 0; id++)
        sl_idmap_del(&d->qos2, number << 16 | id);
}

uint32_t disk_entries_of(const struct world *w, uint64_t id)
{
    uint32_t n = 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        n += sl_idmap_get(&w->disk.entries, key_of(id, q)) != NULL;
    return n;
}

static void drop_body(struct world *w, uint64_t id)
{
    struct message *m = sl_idmap_del(&w->disk.bodies, id);
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if (sl_idmap_get(&w->disk.entries, key_of(id, q)) != NULL)
            world_fail(w, "the body of %016" PRIx64 " is dropped although queue q%u needs it", id, q);
    }
    if (disk_has_copy(w, id))
        world_fail(w, "the body of %016" PRIx64 " is dropped although a session waits for it", id);
    if (m != NULL)
        message_unref(m);
}

static void apply_op(struct world *w, const struct batch_op *op)
{
    world_trace(w, "disk: record %u id %" PRIx64 " number %u session %" PRIx64 " packet %u state %u u%08u", op->kind, op->id, op->number, op->session, op->packet_id, op->state,
                op->kind != BATCH_DEDUP && op->msg != NULL ? uid_of_message(w, op->msg) : uid_of_id(w, op->id));
    struct disk *d = &w->disk;
    struct message *copy;
    switch ((enum batch_kind)op->kind) {
    case BATCH_NONE:
        break;
    case BATCH_BODY:
        if (message_from_record(message_record(op->msg), &copy) != SL_OK)
            world_fail(w, "a record of our own is not well-formed");
        if (op->id >> 40 != w->boot || sl_idmap_get(&d->bodies, op->id) != NULL)
            world_fail(w, "the id %016" PRIx64 " is given to a new message again", op->id);
        uid_names(w, op->id, uid_of_message(w, copy));
        moves_seen(w, copy, uid_of_message(w, copy));
        sl_idmap_put(&d->bodies, op->id, copy);
        break;
    case BATCH_ENTRY:
        put_entry(w, op);
        break;
    case BATCH_UPDATE:
        update_entry(w, op);
        break;
    case BATCH_SETTLE:
        settle_entry(w, op);
        break;
    case BATCH_BODY_DROP:
        drop_body(w, op->id);
        break;
    case BATCH_SESSION:
        sl_free(sl_idmap_del(&d->sessions, op->id));
        sl_idmap_put(&d->sessions, op->id, copy_note(op->note));
        break;
    case BATCH_SESSION_DROP:
        drop_session(d, op->id);
        disk_records_apply(w, op);
        break;
    case BATCH_QOS2_ADD:
        sl_idmap_put(&d->qos2, op->id << 16 | op->packet_id, (void *)(uintptr_t)(op->id << 16 | op->packet_id));
        break;
    case BATCH_QOS2_DROP:
        sl_idmap_del(&d->qos2, op->id << 16 | op->packet_id);
        break;
    case BATCH_SUBSCRIPTION:
    case BATCH_SUBSCRIPTION_DROP:
    case BATCH_WILL:
    case BATCH_WILL_DROP:
    case BATCH_COPY:
    case BATCH_COPY_DROP:
    case BATCH_RETAIN:
    case BATCH_RETAIN_DROP:
        disk_records_apply(w, op);
        break;
    case BATCH_QUEUE:
    case BATCH_SCHEDULE:
    case BATCH_SCHEDULE_DROP:
    case BATCH_DEDUP:
    case BATCH_DEDUP_DROP:
        disk_queues_apply(w, op);
        break;
    }
}

/* What the gateway has said so far, it has said before. */
static void apply(struct world *w, const struct batch *b)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        consumer_tap(&w->consumers[i]);
    for (uint32_t i = 0; i < b->n; i++)
        apply_op(w, &b->ops[i]);
    disk_records_applied(w);
    deals_after_batch(w);
    steps_after_batch(w);
    moves_after_batch(w);
    w->disk.applied++;
}

/* A store's thread reads the batch meanwhile: it must stay as it was. */
static uint64_t fingerprint(const struct batch *b)
{
    uint64_t sum = b->n;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct batch_op *op = &b->ops[i];
        sum = sl_hash_u64(sum ^ op->id) + op->kind + op->queue * 16u + op->state * 256u + op->attempts * 4096u + (op->due_ms << 20) + op->packet_id;
    }
    return sum;
}

static void on_submit(void *arg, struct batch *b)
{
    struct world *w = arg;
    if (w->disk.pending != NULL)
        world_fail(w, "two batches are under way");
    w->disk.pending = b;
    w->disk.pending_is = fingerprint(b);
}

static int on_apply_here(void *arg, struct batch *b)
{
    struct world *w = arg;
    if (w->disk.pending != NULL || w->disk.full || w->disk.broken || chance(w, 50))
        return SL_EAGAIN;
    b->took_us = 100 + pick(w, 300);
    apply(w, b);
    return SL_OK;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    struct world *w = arg;
    struct batch_fetch **at = &w->disk.fetches[f->queue];
    if (f->wanted_for != BATCH_FETCH_FOR_DISPATCH) {
        at = &w->disk.looks[0];
        while (*at != NULL)
            at++; /* of operators there are as many as they are */
    }
    if (*at != NULL)
        world_fail(w, "queue q%u fetches twice at once", f->queue);
    *at = f;
}

/* Durability of these ends with the process: the queue itself is the store. */
static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

void disk_io(struct world *w, struct hub_store_io *io)
{
    *io = (struct hub_store_io){ w, on_submit, on_apply_here, on_fetch, on_volatile };
}

static void finish_fetch(struct world *w, struct batch_fetch **at)
{
    struct batch_fetch *f = *at;
    if (f == NULL)
        return;
    *at = NULL;
    uint32_t queue = f->queue;
    f->err = w->disk.broken ? SL_EIO : SL_OK;
    for (uint32_t i = 0; i < f->n && f->err == SL_OK; i++) {
        struct message *m = sl_idmap_get(&w->disk.bodies, f->ids[i]);
        if (m == NULL && sl_idmap_get(&w->disk.entries, key_of(f->ids[i], queue)) != NULL)
            world_fail(w, "the body of %016" PRIx64 " is asked for and not on the disk", f->ids[i]);
        if (m != NULL && message_from_record(message_record(m), &f->msgs[i]) != SL_OK)
            world_fail(w, "the body of %016" PRIx64 " is not well-formed", f->ids[i]);
    }
    hub_fetched(w->hub, f);
}

/* Sometimes the disk is full for a while; rarely it breaks for good. */
static void change_health(struct world *w)
{
    struct disk *d = &w->disk;
    if (w->calm) {
        d->full = false;
    } else if (d->full) {
        d->full = !chance(w, 20);
    } else if (chance(w, 2)) {
        d->full = true;
        w->counts[SIM_DISK_FAULTS]++;
    } else if (!d->broken && sl_rng_below(&w->rng, 400) == 0) {
        d->broken = true;
        w->counts[SIM_DISK_FAULTS]++;
    }
}

static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        uint8_t kind = b->ops[i].kind;
        if (kind == BATCH_BODY || kind == BATCH_RETAIN || kind == BATCH_WILL || kind == BATCH_SUBSCRIPTION)
            return true;
    }
    return false;
}

void disk_step(struct world *w)
{
    struct disk *d = &w->disk;
    change_health(w);
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        finish_fetch(w, &d->fetches[q]);
    for (uint32_t i = 0; i < SIM_LOOKS; i++)
        finish_fetch(w, &d->looks[i]);
    struct batch *b = d->pending;
    if (b == NULL)
        return;
    d->pending = NULL;
    if (fingerprint(b) != d->pending_is)
        world_fail(w, "a batch of %u records was changed while the disk had it", b->n);
    b->took_us = 100 + pick(w, w->boot % 2 == 0 ? 5000 : 100000); /* slow: then batches are held */
    int err = SL_OK;
    if (d->broken)
        err = SL_EIO;
    else if (d->full && (takes_in(b) || chance(w, 30)))
        err = SL_ENOSPC;
    if (err == SL_OK)
        apply(w, b);
    else
        d->refused++;
    hub_committed(w->hub, b, err);
}

void disk_power_cut(struct world *w)
{
    struct disk *d = &w->disk;
    if (d->pending != NULL && !d->broken && !d->full && chance(w, 50))
        apply(w, d->pending); /* it was whole on the disk, only the answer is lost */
    d->broken = false;
}

/* ---- a new boot reads what is there ---- */

static int by_key(const void *a, const void *b)
{
    const struct disk_entry *const *x = a, *const *y = b;
    uint64_t kx = key_of((*x)->r.id, (*x)->queue), ky = key_of((*y)->r.id, (*y)->queue);
    return kx < ky ? -1 : kx > ky;
}

static struct sl_bytes job_of(const struct world *w, uint64_t id)
{
    struct message_parts parts;
    const struct message *m = sl_idmap_get(&w->disk.bodies, id);
    message_view(message_record(m), &parts);
    return parts.job_id;
}

static void restore_entries(struct world *w)
{
    struct disk *d = &w->disk;
    const struct disk_entry **all = sl_alloc((d->entries.used + 1) * sizeof *all);
    struct disk_entry *e;
    size_t n = 0, pos = 0;
    while ((e = sl_idmap_next(&d->entries, &pos)) != NULL)
        all[n++] = e;
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 0; i < n; i++) {
        if (sl_idmap_get(&d->bodies, all[i]->r.id) == NULL)
            world_fail(w, "entry %016" PRIx64 " has no body on the disk", all[i]->r.id);
        struct queue_restored r = all[i]->r;
        r.job_id = job_of(w, r.id);
        if (hub_restore_entry(w->hub, all[i]->queue + 1, &r) != SL_OK)
            world_fail(w, "entry %016" PRIx64 " cannot be restored", all[i]->r.id);
        w->accepted_base[all[i]->queue]++;
        w->base_bytes[all[i]->queue] += all[i]->r.bytes;
    }
    sl_free(all);
}

void disk_restore(struct world *w)
{
    struct disk *d = &w->disk;
    memset(w->accepted_base, 0, sizeof w->accepted_base);
    memset(w->base_bytes, 0, sizeof w->base_bytes);
    memset(w->over, 0, sizeof w->over);
    restore_entries(w);
    disk_queues_restore_keys(w);
    for (size_t i = 0; i < d->sessions.cap; i++) {
        const struct batch_note *n = d->sessions.slots[i].value;
        if (n != NULL && hub_restore_session(w->hub, d->sessions.slots[i].key, sl_bytes_of(n->bytes, n->n)) != SL_OK)
            world_fail(w, "a session cannot be restored");
    }
    for (size_t i = 0; i < d->qos2.cap; i++) {
        uint64_t key = d->qos2.slots[i].key;
        if (d->qos2.slots[i].value != NULL && hub_restore_qos2(w->hub, key >> 16, (uint16_t)key) != SL_OK)
            world_fail(w, "QoS 2 id %u of session %" PRIx64 " cannot be restored", (unsigned)(key & 0xFFFF), key >> 16);
    }
    disk_records_restore(w);
}

static void free_values(struct sl_idmap *m, void (*release)(void *))
{
    size_t pos = 0;
    void *v;
    while ((v = sl_idmap_next(m, &pos)) != NULL)
        release(v);
    sl_idmap_fini(m);
}

static void release_message(void *m)
{
    message_unref(m);
}

void disk_free(struct world *w)
{
    free_values(&w->disk.bodies, release_message);
    free_values(&w->disk.entries, sl_free);
    free_values(&w->disk.sessions, sl_free);
    sl_idmap_fini(&w->disk.qos2);
    disk_records_free(&w->disk.of_subscribers);
}
