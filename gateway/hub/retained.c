/* Retained messages: the last one of each topic that was published with
 * RETAIN, kept in memory by topic and in the store under its id. How a new
 * subscription is fed with them: retained_feed.c. */
#include "consumer.h"

#define BACKLOG_SHARE 8u /* of limits.memory: messages that may wait for the batch under way */

/* Without slots for any there are none: clients are told so in CONNACK, and an
 * old one's RETAIN means nothing. A reply destination has none either: it is gone
 * with its connection, and nobody would ever replace what it left. */
bool retained_has_slot(const struct hub *h, struct sl_bytes topic)
{
    return h->cfg.retained_messages > 0 && !topic_is_reply(topic);
}

/* More waits for the disk than it takes off: nothing else slows down who
 * publishes with QoS 0. */
static bool backlogged(const struct hub *h)
{
    return h->commit.open->bytes > h->cfg.memory_bytes / BACKLOG_SHARE;
}

bool retained_fits_in(struct hub *h, const struct message *m)
{
    return !retained_has_slot(h, message_topic(m)) || message_payload(m).n == 0 || (!backlogged(h) && retained_fits(h->retained, m));
}

static void drop(struct hub *h, struct message *old)
{
    record(h, BATCH_RETAIN_DROP)->id = message_id(old);
    message_unref(old);
}

/* [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7] */
void retained_keep(struct hub *h, struct message *m)
{
    bool removes = message_payload(m).n == 0;
    struct message *old = removes ? retained_remove(h->retained, message_topic(m)) : retained_put(h->retained, m);
    if (old != NULL)
        drop(h, old);
    if (removes) {
        h->counters.retained_removed += old != NULL;
        return;
    }
    struct batch_op *op = record(h, BATCH_RETAIN);
    op->id = message_id(m);
    op->msg = message_ref(m);
    h->commit.open->bytes += m->record_bytes;
    h->counters.retained_kept++;
}

void retained_tick(struct hub *h)
{
    struct message *m;
    h->feed_effort = FEED_EFFORT;
    while ((m = retained_expired(h->retained, &h->now)) != NULL) {
        drop(h, retained_remove(h->retained, message_topic(m)));
        h->counters.retained_expired++;
    }
}

uint64_t retained_deadline_us(const struct hub *h)
{
    uint64_t wait_ms = retained_next_expiry(h->retained, &h->now);
    return wait_ms > UINT64_MAX / 1000 - h->now.mono_us ? UINT64_MAX : h->now.mono_us + wait_ms * 1000;
}

/* The caps may have shrunk since: what was accepted is kept. Of two for one
 * topic the later one, whose record came later, is the one that holds. Where
 * there are no slots now, they stay in the store for when there are some again. */
int hub_restore_retained(struct hub *h, struct message *m)
{
    if (h->cfg.retained_messages == 0)
        return SL_OK;
    struct message *old = retained_put(h->retained, m);
    if (old != NULL)
        drop(h, old);
    return SL_OK;
}
