/* The memory engine tells what it holds: the maps in the order that the disk would have. */
#include <stdlib.h>

#include "core/alloc.h"
#include "memory_store.h"
#include "store/copy.h"

/* ---- order ---- */

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

static int by_subscription(const void *a, const void *b)
{
    uint32_t x = ((const struct mem_subscription *)a)->number, y = ((const struct mem_subscription *)b)->number;
    return x < y ? -1 : x > y;
}

static int by_session(const void *a, const void *b)
{
    uint64_t x = ((const struct mem_copy *)a)->session, y = ((const struct mem_copy *)b)->session;
    return x < y ? -1 : x > y;
}

static int by_message_id(const void *a, const void *b)
{
    uint64_t x = message_id(*(struct message *const *)a), y = message_id(*(struct message *const *)b);
    return x < y ? -1 : x > y;
}

static void sort(void *all, size_t n, size_t bytes, int (*compare)(const void *, const void *))
{
    if (n > 1) /* of none there is no array */
        qsort(all, n, bytes, compare);
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

/* ---- queues ---- */

static int load_message(const struct store_loader *l, struct mem_message *m, struct sl_buf *why)
{
    sort(m->entries, m->n, sizeof *m->entries, by_queue);
    int err = SL_OK;
    for (uint32_t i = 0; i < m->n && err == SL_OK; i++) {
        struct store_entry e;
        struct queue_restored r;
        err = store_entry_decode(mem_view(&m->entries[i].value), &e);
        if (err != SL_OK)
            return store_because(why, err, "an entry in memory is not readable");
        store_entry_restore(&e, m->id, &r);
        if (e.has_job && m->msg != NULL)
            r.job_id = store_entry_job(message_record(m->msg));
        err = l->entry(l->arg, m->entries[i].queue, &r);
    }
    return err;
}

static int load_messages(void **all, const struct store_loader *l, struct sl_buf *why)
{
    int err = SL_OK;
    for (size_t i = 0; all[i] != NULL && err == SL_OK && l->entry != NULL; i++)
        err = load_message(l, all[i], why);
    return err;
}

/* ---- sessions ---- */

static int load_session(const struct store_loader *l, struct mem_session *session)
{
    return l->session == NULL ? SL_OK : l->session(l->arg, session->number, mem_view(&session->record));
}

static int load_qos2(const struct store_loader *l, struct mem_session *session)
{
    int err = SL_OK;
    sort(session->packet_ids, session->n, sizeof *session->packet_ids, by_packet_id);
    for (uint32_t i = 0; i < session->n && err == SL_OK && l->qos2 != NULL; i++)
        err = l->qos2(l->arg, session->number, session->packet_ids[i]);
    return err;
}

static int load_subscriptions(const struct store_loader *l, struct mem_session *session)
{
    int err = SL_OK;
    sort(session->subscriptions, session->n_subscriptions, sizeof *session->subscriptions, by_subscription);
    for (uint32_t i = 0; i < session->n_subscriptions && err == SL_OK && l->subscription != NULL; i++)
        err = l->subscription(l->arg, session->number, session->subscriptions[i].number, mem_view(&session->subscriptions[i].value));
    return err;
}

static int load_will(const struct store_loader *l, struct mem_session *session)
{
    return l->will == NULL || session->will.bytes == NULL ? SL_OK : l->will(l->arg, session->number, mem_view(&session->will));
}

/* One kind after the other; what belongs to a session that is not there is left out. */
static int load_sessions(void **all, const struct store_loader *l)
{
    static int (*const kinds[])(const struct store_loader *, struct mem_session *) = { load_session, load_qos2, load_subscriptions, load_will };
    int err = SL_OK;
    for (size_t kind = 0; kind < SL_COUNT(kinds) && err == SL_OK; kind++) {
        for (size_t i = 0; all[i] != NULL && err == SL_OK; i++) {
            struct mem_session *session = all[i];
            err = session->record.bytes == NULL ? SL_OK : kinds[kind](l, session);
        }
    }
    return err;
}

/* ---- what waits for subscribers, what is retained ---- */

static bool is_left_out(const struct mem_store *s, uint64_t number)
{
    const struct mem_session *session = sl_idmap_get(&s->sessions, number);
    return session == NULL || session->record.bytes == NULL;
}

static int load_copies_of(const struct mem_store *s, const struct store_loader *l, struct mem_message *m, struct sl_buf *why)
{
    int err = SL_OK;
    sort(m->copies, m->n_copies, sizeof *m->copies, by_session);
    for (uint32_t i = 0; i < m->n_copies && err == SL_OK; i++) {
        struct store_copy c = { .session = m->copies[i].session, .msg = m->msg, .entries = m->n };
        if (is_left_out(s, c.session))
            continue;
        if (m->msg == NULL || store_copy_decode(mem_view(&m->copies[i].value), &c) != SL_OK)
            return store_because(why, SL_EFORMAT, "a copy in memory is not readable");
        err = l->copy(l->arg, &c);
    }
    return err;
}

static int load_copies(const struct mem_store *s, void **messages, const struct store_loader *l, struct sl_buf *why)
{
    int err = SL_OK;
    for (size_t i = 0; messages[i] != NULL && err == SL_OK && l->copy != NULL; i++)
        err = load_copies_of(s, l, messages[i], why);
    return err;
}

static int load_retained(const struct mem_store *s, const struct store_loader *l)
{
    void **all = sorted(&s->retained, by_message_id);
    int err = SL_OK;
    for (size_t i = 0; all[i] != NULL && err == SL_OK && l->retained != NULL; i++)
        err = l->retained(l->arg, all[i]);
    sl_free(all);
    return err;
}

int memory_load(struct store *st, const struct store_loader *l, struct sl_buf *why)
{
    struct mem_store *s = st->impl;
    int err = SL_OK;
    for (uint32_t i = 0; i < s->n_queues && err == SL_OK && l->queue != NULL; i++)
        err = l->queue(l->arg, i + 1, s->queues[i]);
    if (err == SL_OK)
        err = mem_load_queue_records(s, l);
    if (err == SL_OK)
        err = mem_load_schedules(s, l);
    void **messages = sorted(&s->messages, by_id), **sessions = sorted(&s->sessions, by_number);
    if (err == SL_OK)
        err = load_messages(messages, l, why);
    if (err == SL_OK)
        err = mem_load_dedup(s, l);
    if (err == SL_OK)
        err = load_sessions(sessions, l);
    if (err == SL_OK)
        err = load_copies(s, messages, l, why);
    if (err == SL_OK)
        err = load_retained(s, l);
    sl_free(messages);
    sl_free(sessions);
    return err;
}
