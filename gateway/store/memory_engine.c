/* The memory engine: the same records, in maps. For tests, and for gateways
 * that promise nothing beyond their own life. Messages are kept by reference,
 * so it lives on the loop's thread (`instant`). Entries are kept as the bytes
 * that the disk would hold: both engines share one encoding. */
#include <time.h>

#include "core/alloc.h"
#include "memory_store.h"
#include "store/copy.h"

/* ---- values ---- */

void mem_value_set(struct mem_value *v, const uint8_t *bytes, size_t n)
{
    v->bytes = sl_realloc(v->bytes, n);
    memcpy(v->bytes, bytes, n);
    v->n = (uint32_t)n;
}

void mem_value_unset(struct mem_value *v)
{
    sl_free(v->bytes);
    *v = (struct mem_value){ 0 };
}

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
        mem_value_unset(&m->entries[i].value);
    for (uint32_t i = 0; i < m->n_copies; i++)
        mem_value_unset(&m->copies[i].value);
    sl_free(m->entries);
    sl_free(m->copies);
    sl_free(m);
}

/* A body that only came along with its entries goes with the last of them. */
static void free_if_unused(struct mem_store *s, struct mem_message *m)
{
    if (m->n > 0 || m->n_copies > 0 || m->has_body)
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

static struct mem_copy *copy_find(struct mem_message *m, uint64_t session)
{
    for (uint32_t i = 0; m != NULL && i < m->n_copies; i++) {
        if (m->copies[i].session == session)
            return &m->copies[i];
    }
    return NULL;
}

static struct mem_copy *copy_add(struct mem_message *m, uint64_t session)
{
    if (m->n_copies == m->cap_copies) {
        m->cap_copies = m->cap_copies == 0 ? 1 : m->cap_copies * 2;
        m->copies = sl_realloc(m->copies, m->cap_copies * sizeof *m->copies);
    }
    struct mem_copy *c = &m->copies[m->n_copies++];
    *c = (struct mem_copy){ .session = session };
    return c;
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
    mem_value_unset(&session->record);
    mem_value_unset(&session->will);
    for (uint32_t i = 0; i < session->n_subscriptions; i++)
        mem_value_unset(&session->subscriptions[i].value);
    sl_free(session->subscriptions);
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

static struct mem_subscription *subscription_find(struct mem_session *session, uint32_t number)
{
    for (uint32_t i = 0; session != NULL && i < session->n_subscriptions; i++) {
        if (session->subscriptions[i].number == number)
            return &session->subscriptions[i];
    }
    return NULL;
}

static struct mem_subscription *subscription_add(struct mem_session *session, uint32_t number)
{
    if (session->n_subscriptions == session->cap_subscriptions) {
        session->cap_subscriptions = session->cap_subscriptions == 0 ? 1 : session->cap_subscriptions * 2;
        session->subscriptions = sl_realloc(session->subscriptions, session->cap_subscriptions * sizeof *session->subscriptions);
    }
    struct mem_subscription *sub = &session->subscriptions[session->n_subscriptions++];
    *sub = (struct mem_subscription){ .number = number };
    return sub;
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
    uint8_t value[STORE_ENTRY_FIXED + STORE_ENTRY_ORDER];
    store_entry_encode(op, false, value);
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    if (e == NULL) {
        struct mem_message *m = message_at(s, op->id);
        body_set(s, m, op->msg);
        e = entry_add(s, m, op->queue);
    }
    mem_value_set(&e->value, value, store_entry_bytes(op, false));
}

static void apply_update(struct mem_store *s, const struct batch_op *op)
{
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    size_t n;
    if (e == NULL)
        s->missing_updates++;
    else if (store_entry_update(mem_view(&e->value), op, s->value, &n) == SL_OK)
        mem_value_set(&e->value, s->value, n);
}

static void apply_settle(struct mem_store *s, const struct batch_op *op)
{
    struct mem_entry *e = entry_find(s, op->id, op->queue);
    if (e == NULL) {
        s->missing_settles++;
        return;
    }
    struct mem_message *m = sl_idmap_get(&s->messages, op->id);
    mem_value_unset(&e->value);
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
    free_if_unused(s, m);
}

static void apply_subscription(struct mem_store *s, const struct batch_op *op)
{
    struct mem_session *session = session_at(s, op->id);
    struct mem_subscription *sub = subscription_find(session, op->number);
    if (sub == NULL)
        sub = subscription_add(session, op->number);
    mem_value_set(&sub->value, op->note->bytes, op->note->n);
}

static void apply_subscription_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_session *session = sl_idmap_get(&s->sessions, op->id);
    struct mem_subscription *sub = subscription_find(session, op->number);
    if (sub == NULL)
        return;
    mem_value_unset(&sub->value);
    *sub = session->subscriptions[--session->n_subscriptions];
}

static void apply_will_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_session *session = sl_idmap_get(&s->sessions, op->id);
    if (session != NULL)
        mem_value_unset(&session->will);
}

static void apply_copy(struct mem_store *s, const struct batch_op *op)
{
    struct mem_message *m = sl_idmap_get(&s->messages, op->id);
    if (m == NULL || m->msg == NULL) {
        s->missing_updates++;
        return;
    }
    struct mem_copy *c = copy_find(m, op->session);
    if (c == NULL)
        c = copy_add(m, op->session);
    c->value.n = (uint32_t)store_copy_bytes(op);
    c->value.bytes = sl_realloc(c->value.bytes, c->value.n);
    store_copy_encode(op, c->value.bytes);
}

static void apply_copy_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_message *m = sl_idmap_get(&s->messages, op->id);
    struct mem_copy *c = copy_find(m, op->session);
    if (c == NULL) {
        s->missing_settles++;
        return;
    }
    mem_value_unset(&c->value);
    *c = m->copies[--m->n_copies];
    free_if_unused(s, m);
}

static void retained_drop(struct mem_store *s, uint64_t id)
{
    struct message *m = sl_idmap_del(&s->retained, id);
    if (m == NULL)
        return;
    s->bytes -= message_bytes(m);
    message_unref(m);
}

static void apply_retain(struct mem_store *s, const struct batch_op *op)
{
    retained_drop(s, op->id);
    sl_idmap_put(&s->retained, op->id, message_ref(op->msg));
    s->bytes += message_bytes(op->msg);
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
        mem_value_set(&session_at(s, op->id)->record, op->note->bytes, op->note->n);
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
        apply_subscription(s, op);
        return;
    case BATCH_SUBSCRIPTION_DROP:
        apply_subscription_drop(s, op);
        return;
    case BATCH_WILL:
        mem_value_set(&session_at(s, op->id)->will, op->note->bytes, op->note->n);
        return;
    case BATCH_WILL_DROP:
        apply_will_drop(s, op);
        return;
    case BATCH_COPY:
        apply_copy(s, op);
        return;
    case BATCH_COPY_DROP:
        apply_copy_drop(s, op);
        return;
    case BATCH_RETAIN:
        apply_retain(s, op);
        return;
    case BATCH_RETAIN_DROP:
        retained_drop(s, op->id);
        return;
    case BATCH_QUEUE:
        mem_apply_queue(s, op);
        return;
    case BATCH_DEDUP:
        mem_apply_dedup(s, op);
        return;
    case BATCH_DEDUP_DROP:
        mem_apply_dedup_drop(s, op);
        return;
    case BATCH_SCHEDULE:
        mem_apply_schedule(s, op);
        return;
    case BATCH_SCHEDULE_DROP:
        mem_apply_schedule_drop(s, op);
        return;
    }
}

static int memory_apply(struct store *st, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        apply_op(st->impl, &b->ops[i]);
    return SL_OK;
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
    return e == NULL ? SL_ENOENT : sl_buf_append_bytes(out, mem_view(&e->value));
}

static int memory_info(struct store *st, struct store_info *out)
{
    struct mem_store *s = st->impl;
    *out = (struct store_info){
        .used_bytes = s->bytes,
        .entries = s->entries,
        .retained = s->retained.used,
        .dedup_keys = s->dedup_keys,
        .schedules = s->schedules.n,
        .missing_updates = s->missing_updates,
        .missing_settles = s->missing_settles,
    };
    size_t pos = 0;
    const struct mem_message *m;
    while ((m = sl_idmap_next(&s->messages, &pos)) != NULL) {
        out->bodies += m->msg != NULL;
        out->copies += m->n_copies;
    }
    const struct mem_session *session;
    for (pos = 0; (session = sl_idmap_next(&s->sessions, &pos)) != NULL;) {
        out->sessions += session->record.bytes != NULL;
        out->subscriptions += session->n_subscriptions;
    }
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
    if (store_draw_hash_key(&st->hash_key) != SL_OK)
        return store_because(why, SL_ESYS, "the system has no random bytes");
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
    for (pos = 0; (v = sl_idmap_next(&s->retained, &pos)) != NULL;)
        message_unref(v);
    for (uint32_t i = 0; i < s->n_queues; i++)
        sl_free(s->queues[i]);
    sl_free(s->queues);
    mem_queues_free(s);
    sl_idmap_fini(&s->messages);
    sl_idmap_fini(&s->sessions);
    sl_idmap_fini(&s->retained);
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
