/* What can be asked of a message, and copies that outlive it. */
#include "core/alloc.h"
#include "internal.h"

static struct sluice_worker_view view_of(struct sl_bytes b)
{
    return (struct sluice_worker_view){ (const char *)b.p, b.n };
}

uint64_t sluice_worker_message_id(const struct sluice_worker_message *m)
{
    return m->parts.id;
}

struct sluice_worker_view sluice_worker_message_topic(const struct sluice_worker_message *m)
{
    return view_of(m->parts.topic);
}

struct sluice_worker_view sluice_worker_message_payload(const struct sluice_worker_message *m)
{
    return view_of(m->parts.payload);
}

struct sluice_worker_view sluice_worker_message_client_id(const struct sluice_worker_message *m)
{
    return view_of(m->parts.client_id);
}

struct sluice_worker_view sluice_worker_message_user(const struct sluice_worker_message *m)
{
    return view_of(m->parts.user);
}

struct sluice_worker_view sluice_worker_message_content_type(const struct sluice_worker_message *m)
{
    return view_of(m->parts.content_type);
}

struct sluice_worker_view sluice_worker_message_correlation(const struct sluice_worker_message *m)
{
    return view_of(m->parts.correlation);
}

struct sluice_worker_view sluice_worker_message_reply_to(const struct sluice_worker_message *m)
{
    return view_of(m->parts.reply_to);
}

struct sluice_worker_view sluice_worker_message_job_id(const struct sluice_worker_message *m)
{
    return view_of(m->parts.job_id);
}

struct sluice_worker_view sluice_worker_message_dedup_id(const struct sluice_worker_message *m)
{
    return view_of(m->parts.dedup_id);
}

const char *sluice_worker_message_protocol(const struct sluice_worker_message *m)
{
    return message_protocol_name(m->parts.protocol);
}

unsigned sluice_worker_message_qos(const struct sluice_worker_message *m)
{
    return m->parts.qos;
}

unsigned sluice_worker_message_priority(const struct sluice_worker_message *m)
{
    return m->parts.priority;
}

bool sluice_worker_message_retain(const struct sluice_worker_message *m)
{
    return (m->parts.flags & MESSAGE_RETAIN) != 0;
}

uint64_t sluice_worker_message_accepted_at(const struct sluice_worker_message *m)
{
    return m->parts.accepted_at;
}

uint64_t sluice_worker_message_deliver_at(const struct sluice_worker_message *m)
{
    return m->parts.deliver_at;
}

uint64_t sluice_worker_message_expires_at(const struct sluice_worker_message *m)
{
    return m->parts.expires_at;
}

uint32_t sluice_worker_message_attempt(const struct sluice_worker_message *m)
{
    return m->attempt;
}

uint32_t sluice_worker_message_max_attempts(const struct sluice_worker_message *m)
{
    return m->max_attempts;
}

bool sluice_worker_message_redelivered(const struct sluice_worker_message *m)
{
    return (m->flags & WIRE_REDELIVERED) != 0;
}

bool sluice_worker_message_is_last(const struct sluice_worker_message *m)
{
    return (m->flags & WIRE_LAST) != 0;
}

bool sluice_worker_message_header_next(const struct sluice_worker_message *m, size_t *pos,
                                       struct sluice_worker_view *name,
                                       struct sluice_worker_view *value)
{
    struct message_header h;
    if (!message_header_next(m->record, pos, &h))
        return false;
    *name = view_of(h.name);
    *value = view_of(h.value);
    return true;
}

bool sluice_worker_message_header(const struct sluice_worker_message *m, const char *name,
                                  struct sluice_worker_view *value)
{
    size_t pos = 0;
    struct message_header h;
    while (message_header_next(m->record, &pos, &h)) {
        if (sl_bytes_is(h.name, name)) {
            *value = view_of(h.value);
            return true;
        }
    }
    return false;
}

/* One block: the message, then its record. A copy of a copy takes its place, as the first copy took
 * the original's. */
struct sluice_worker_message *sluice_worker_message_copy(struct sluice_worker_message *m)
{
    if (m->answered || m->copied)
        return NULL;
    struct sluice_worker_message *copy = sl_alloc(sizeof *copy + m->record.n);
    uint8_t *record = (uint8_t *)(copy + 1);
    memcpy(record, m->record.p, m->record.n);
    *copy = *m;
    copy->is_copy = true;
    copy->prev = NULL;
    copy->record = sl_bytes_of(record, m->record.n);
    message_view(copy->record, &copy->parts);
    m->copied = true;
    copy->next = m->worker->copies;
    if (copy->next != NULL)
        copy->next->prev = copy;
    m->worker->copies = copy;
    return copy;
}

static void unlink_copy(struct sluice_worker_message *m)
{
    if (m->next != NULL)
        m->next->prev = m->prev;
    if (m->prev != NULL)
        m->prev->next = m->next;
    else
        m->worker->copies = m->next;
}

void sluice_worker_message_free(struct sluice_worker_message *m)
{
    if (m == NULL)
        return;
    SL_ASSERT(m->is_copy);
    if (m->worker != NULL)
        unlink_copy(m);
    sl_free(m);
}
