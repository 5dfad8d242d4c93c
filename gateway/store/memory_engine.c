/* The memory engine: the same records, in maps. For tests, and for gateways
 * that promise nothing beyond their own life. Messages are kept by reference,
 * so it lives on the loop's thread (`instant`). Entries are kept as the bytes
 * that the disk would hold: both engines share one encoding. */
#include <stdlib.h>
#include <time.h>

#include "core/alloc.h"
#include "core/map.h"
#include "engine.h"
#include "store/entry.h"

struct mem_entry {
    uint32_t queue;
    uint32_t n;
    uint8_t *value;
};

/* Everything under one message id. */
struct mem_message {
    uint64_t id;
    struct message *msg; /* a reference; from its BATCH_BODY or its first BATCH_ENTRY */
    bool has_body;       /* BATCH_BODY came: it stays until BATCH_BODY_DROP */
    struct mem_entry *entries;
    uint32_t n, cap;
};

struct mem_session {
    uint64_t number;
    uint8_t *record; /* NULL: only QoS 2 ids so far */
    uint32_t n_record;
    uint16_t *packet_ids;
    uint32_t n, cap;
};

struct mem_store {
    struct sl_idmap messages, sessions;
    char **queues; /* number - 1 is the place */
    uint32_t n_queues;
    uint64_t entries, bytes, missing_updates, missing_settles;
    uint8_t value[STORE_ENTRY_MAX];
};

/* ---- messages ---- */

static struct mem_message *message_at(struct mem_store *s, uint64_t id)
{
    struct mem_message *m = sl_idmap_get(&s->messages, id);
    if (m == NULL) {
        m = SL_NEW(struct mem_message);
        m->id = id;
        sl_idmap_put(&s->messages, id, m);
    }
    return m;
}

static void body_set(struct mem_store *s, struct mem_message *m, struct message *msg)
{
    if (msg == NULL || m->msg != NULL)
        return;
    m->msg = message_ref(msg);
    s->bytes += message_bytes(msg);
}

static void body_unset(struct mem_store *s, struct mem_message *m)
{
    if (m->msg == NULL)
        return;
    s->bytes -= message_bytes(m->msg);
    message_unref(m->msg);
    m->msg = NULL;
}

static void mem_message_free(struct mem_store *s, struct mem_message *m)
{
    body_unset(s, m);
    for (uint32_t i = 0; i < m->n; i++)
        sl_free(m->entries[i].value);
    sl_free(m->entries);
    sl_free(m);
}

/* A body that only came along with its entries goes with the last of them. */
static void free_if_unused(struct mem_store *s, struct mem_message *m)
{
    if (m->n > 0 || m->has_body)
        return;
    sl_idmap_del(&s->messages, m->id);
    mem_message_free(s, m);
}

static struct mem_entry *entry_find(struct mem_store *s, uint64_t id, uint32_t queue)
{
    struct mem_message *m = sl_idmap_get(&s->messages, id);
    for (uint32_t i = 0; m != NULL && i < m->n; i++) {
        if (m->entries[i].queue == queue)
            return &m->entries[i];
    }
    return NULL;
}

static void entry_set(struct mem_entry *e, const uint8_t *value, size_t n)
{
    e->value = sl_realloc(e->value, n);
    memcpy(e->value, value, n);
    e->n = (uint32_t)n;
}

static struct mem_entry *entry_add(struct mem_store *s, struct mem_message *m, uint32_t queue)
{
    if (m->n == m->cap) {
        m->cap = m->cap == 0 ? 1 : m->cap * 2;
        m->entries = sl_realloc(m->entries, m->cap * sizeof *m->entries);
    }
    struct mem_entry *e = &m->entries[m->n++];
    *e = (struct mem_entry){ .queue = queue };
    s->entries++;
    return e;
}

/* ---- sessions ---- */

static struct mem_session *session_at(struct mem_store *s, uint64_t number)
{
    struct mem_session *session = sl_idmap_get(&s->sessions, number);
    if (session == NULL) {
        session = SL_NEW(struct mem_session);
        session->number = number;
        sl_idmap_put(&s->sessions, number, session);
    }
    return session;
}

static void session_free(struct mem_session *session)
{
    if (session == NULL)
        return;
    sl_free(session->record);
    sl_free(session->packet_ids);
    sl_free(session);
}

static uint32_t packet_place(const struct mem_session *session, uint16_t packet_id)
{
    uint32_t i = 0;
    while (i < session->n && session->packet_ids[i] != packet_id)
        i++;
    return i;
}

static void qos2_add(struct mem_session *session, uint16_t packet_id)
{
    if (packet_place(session, packet_id) < session->n)
        return;
    if (session->n == session->cap) {
        session->cap = session->cap == 0 ? 8 : session->cap * 2;
        session->packet_ids = sl_realloc(session->packet_ids, session->cap * sizeof *session->packet_ids);
    }
    session->packet_ids[session->n++] = packet_id;
}

static void qos2_drop(struct mem_store *s, uint64_t number, uint16_t packet_id)
{
    struct mem_session *session = sl_idmap_get(&s->sessions, number);
    if (session == NULL)
        return;
    uint32_t i = packet_place(session, packet_id);
    if (i < session->n)
        session->packet_ids[i] = session->packet_ids[--session->n];
}

/* ---- records ---- */

static void apply_body(struct mem_store *s, const struct batch_op *op)
{
    struct mem_message *m = message_at(s, op->id);
    m->has_body = true;
    body_set(s, m, op->msg);
}

static void apply_entry(struct mem_store *s, const struct batch_op *op)
{
    uint8_t value[STORE_ENTRY_FIXED];
    store_entry_encode(op, false, value);
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    if (e == NULL) {
        struct mem_message *m = message_at(s, op->id);
        body_set(s, m, op->msg);
        e = entry_add(s, m, op->queue);
    }
    entry_set(e, value, sizeof value);
}

static void apply_update(struct mem_store *s, const struct batch_op *op)
{
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    size_t n;
    if (e == NULL)
        s->missing_updates++;
    else if (store_entry_update(sl_bytes_of(e->value, e->n), op, s->value, &n) == SL_OK)
        entry_set(e, s->value, n);
}

static void apply_settle(struct mem_store *s, const struct batch_op *op)
{
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    if (e == NULL) {
        s->missing_settles++;
        return;
    }
    struct mem_message *m = sl_idmap_get(&s->messages, op->id);
    sl_free(e->value);
    *e = m->entries[--m->n];
    s->entries--;
    free_if_unused(s, m);
}

static void apply_body_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_message *m = sl_idmap_get(&s->messages, op->id);
    if (m == NULL)
        return;
    m->has_body = false;
    if (m->n == 0)
        free_if_unused(s, m);
}

static void apply_session(struct mem_store *s, const struct batch_op *op)
{
    struct mem_session *session = session_at(s, op->id);
    session->record = sl_realloc(session->record, op->note->n);
    session->n_record = op->note->n;
    memcpy(session->record, op->note->bytes, op->note->n);
}

static void apply_op(struct mem_store *s, const struct batch_op *op)
{
    switch ((enum batch_kind)op->kind) {
    case BATCH_NONE:
        return;
    case BATCH_BODY:
        apply_body(s, op);
        return;
    case BATCH_ENTRY:
        apply_entry(s, op);
        return;
    case BATCH_UPDATE:
        apply_update(s, op);
        return;
    case BATCH_SETTLE:
        apply_settle(s, op);
        return;
    case BATCH_BODY_DROP:
        apply_body_drop(s, op);
        return;
    case BATCH_SESSION:
        apply_session(s, op);
        return;
    case BATCH_SESSION_DROP:
        session_free(sl_idmap_del(&s->sessions, op->id));
        return;
    case BATCH_QOS2_ADD:
        qos2_add(session_at(s, op->id), op->packet_id);
        return;
    case BATCH_QOS2_DROP:
        qos2_drop(s, op->id, op->packet_id);
        return;
    case BATCH_SUBSCRIPTION:
    case BATCH_SUBSCRIPTION_DROP:
    case BATCH_WILL:
    case BATCH_WILL_DROP:
    case BATCH_COPY:
    case BATCH_COPY_DROP:
    case BATCH_RETAIN:
    case BATCH_RETAIN_DROP:
        return;
    }
}

static int memory_apply(struct store *st, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        apply_op(st->impl, &b->ops[i]);
    return SL_OK;
}

/* ---- load: the maps in the order that the disk would have ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct mem_message *const *)a)->id, y = (*(struct mem_message *const *)b)->id;
    return x < y ? -1 : x > y;
}

static int by_queue(const void *a, const void *b)
{
    uint32_t x = ((const struct mem_entry *)a)->queue, y = ((const struct mem_entry *)b)->queue;
    return x < y ? -1 : x > y;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = (*(struct mem_session *const *)a)->number, y = (*(struct mem_session *const *)b)->number;
    return x < y ? -1 : x > y;
}

static int by_packet_id(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void **sorted(const struct sl_idmap *map, int (*compare)(const void *, const void *))
{
    void **all = sl_calloc(map->used + 1, sizeof *all);
    size_t pos = 0, n = 0;
    void *v;
    while ((v = sl_idmap_next(map, &pos)) != NULL)
        all[n++] = v;
    qsort(all, n, sizeof *all, compare);
    return all;
}

static int load_message(const struct store_loader *l, struct mem_message *m, struct sl_buf *why)
{
    if (m->n > 1)
        qsort(m->entries, m->n, sizeof *m->entries, by_queue);
    int err = SL_OK;
    for (uint32_t i = 0; i < m->n && err == SL_OK; i++) {
        struct store_entry e;
        struct queue_restored r;
        err = store_entry_decode(sl_bytes_of(m->entries[i].value, m->entries[i].n), &e);
        if (err != SL_OK)
            return store_because(why, err, "an entry in memory is not readable");
        store_entry_restore(&e, m->id, &r);
        err = l->entry(l->arg, m->entries[i].queue, &r);
    }
    return err;
}

static int load_messages(struct mem_store *s, const struct store_loader *l, struct sl_buf *why)
{
    void **all = sorted(&s->messages, by_id);
    int err = SL_OK;
    for (size_t i = 0; all[i] != NULL && err == SL_OK && l->entry != NULL; i++)
        err = load_message(l, all[i], why);
    sl_free(all);
    return err;
}

static int load_sessions(void **all, const struct store_loader *l)
{
    int err = SL_OK;
    for (size_t i = 0; all[i] != NULL && err == SL_OK && l->session != NULL; i++) {
        struct mem_session *session = all[i];
        if (session->record != NULL)
            err = l->session(l->arg, session->number, sl_bytes_of(session->record, session->n_record));
    }
    return err;
}

static int load_qos2(void **all, const struct store_loader *l)
{
    int err = SL_OK;
    for (size_t i = 0; all[i] != NULL && err == SL_OK && l->qos2 != NULL; i++) {
        struct mem_session *session = all[i];
        if (session->n > 1)
            qsort(session->packet_ids, session->n, sizeof *session->packet_ids, by_packet_id);
        for (uint32_t k = 0; k < session->n && err == SL_OK; k++)
            err = l->qos2(l->arg, session->number, session->packet_ids[k]);
    }
    return err;
}

static int memory_load(struct store *st, const struct store_loader *l, struct sl_buf *why)
{
    struct mem_store *s = st->impl;
    int err = SL_OK;
    for (uint32_t i = 0; i < s->n_queues && err == SL_OK && l->queue != NULL; i++)
        err = l->queue(l->arg, i + 1, s->queues[i]);
    if (err == SL_OK)
        err = load_messages(s, l, why);
    void **sessions = sorted(&s->sessions, by_number);
    if (err == SL_OK)
        err = load_sessions(sessions, l);
    if (err == SL_OK)
        err = load_qos2(sessions, l);
    sl_free(sessions);
    return err;
}

/* ---- the rest ---- */

static void memory_fetch(struct store *st, struct batch_fetch *f)
{
    struct mem_store *s = st->impl;
    for (uint32_t i = 0; i < f->n; i++) {
        struct mem_message *m = sl_idmap_get(&s->messages, f->ids[i]);
        f->msgs[i] = m == NULL || m->msg == NULL ? NULL : message_ref(m->msg);
    }
    f->err = SL_OK;
}

static int memory_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out)
{
    const struct mem_entry *e = entry_find(st->impl, id, queue);
    return e == NULL ? SL_ENOENT : sl_buf_append(out, e->value, e->n);
}

static int memory_info(struct store *st, struct store_info *out)
{
    struct mem_store *s = st->impl;
    *out = (struct store_info){
        .used_bytes = s->bytes,
        .entries = s->entries,
        .missing_updates = s->missing_updates,
        .missing_settles = s->missing_settles,
    };
    size_t pos = 0;
    const struct mem_message *m;
    while ((m = sl_idmap_next(&s->messages, &pos)) != NULL)
        out->bodies += m->msg != NULL;
    const struct mem_session *session;
    for (pos = 0; (session = sl_idmap_next(&s->sessions, &pos)) != NULL;)
        out->sessions += session->record != NULL;
    return SL_OK;
}

static int memory_queue_number(struct store *st, const char *name, uint32_t *number)
{
    struct mem_store *s = st->impl;
    uint32_t i = 0;
    while (i < s->n_queues && strcmp(s->queues[i], name) != 0)
        i++;
    if (i == s->n_queues) {
        s->queues = sl_realloc(s->queues, (s->n_queues + 1) * sizeof *s->queues);
        s->queues[s->n_queues++] = sl_strdup(name);
    }
    *number = i + 1;
    return SL_OK;
}

static int memory_open(struct store *st, const struct store_config *cfg, struct sl_buf *why)
{
    (void)cfg;
    (void)why;
    st->impl = SL_NEW(struct mem_store);
    /* No file counts the boots. The clock does, in steps of two seconds: ids
     * come again only after half a year, when nobody knows the old ones. */
    st->boot = ((uint64_t)time(NULL) / 2 & 0xFFFFFFu) | 1u << 23;
    return SL_OK;
}

static void memory_close(struct store *st)
{
    struct mem_store *s = st->impl;
    size_t pos = 0;
    void *v;
    while ((v = sl_idmap_next(&s->messages, &pos)) != NULL)
        mem_message_free(s, v);
    for (pos = 0; (v = sl_idmap_next(&s->sessions, &pos)) != NULL;)
        session_free(v);
    for (uint32_t i = 0; i < s->n_queues; i++)
        sl_free(s->queues[i]);
    sl_free(s->queues);
    sl_idmap_fini(&s->messages);
    sl_idmap_fini(&s->sessions);
    sl_free(s);
}

const struct store_engine store_memory_engine = {
    .name = "memory",
    .instant = true,
    .open = memory_open,
    .close = memory_close,
    .queue_number = memory_queue_number,
    .load = memory_load,
    .apply = memory_apply,
    .fetch = memory_fetch,
    .history = memory_history,
    .info = memory_info,
};
