/* How messages come in, and what leaves for want of room. */
#include <stdio.h>

#include "queue_model_walk.h"

#define KEYS 5u

/* Names must outlive the building of the message. */
struct names {
    char client[16], topic[16], value[16];
    struct message_header header;
};

static void give_names(struct walk *w, struct message_parts *p, struct names *n)
{
    uint32_t client = (uint32_t)below(w, KEYS), topic = 1 + (uint32_t)below(w, KEYS - 1), value = (uint32_t)below(w, KEYS);
    snprintf(n->client, sizeof n->client, "c%u", client);
    snprintf(n->topic, sizeof n->topic, "t/%u", topic);
    snprintf(n->value, sizeof n->value, "v%u", value);
    n->header = (struct message_header){sl_str("line"), sl_str(n->value)};
    p->client_id = client == 0 ? SL_BYTES_NONE : sl_str(n->client);
    p->topic = sl_str(n->topic);
    p->headers = &n->header;
    p->n_headers = value == 0 ? 0 : 1;
}

/* What it is ordered by: nothing, or who sent it, where to, or what its header says. */
static uint32_t key_of(const struct walk *w, const struct message_parts *p)
{
    const struct queue_order *o = &w->m.cfg.order;
    if (!o->on)
        return 0;
    if (o->key == QUEUE_KEY_CLIENT)
        return p->client_id.n == 0 ? 0 : (uint32_t)(p->client_id.p[1] - '0');
    if (o->key == QUEUE_KEY_TOPIC)
        return (uint32_t)(p->topic.p[2] - '0');
    return p->n_headers == 0 ? 0 : (uint32_t)(p->headers[0].value.p[1] - '0');
}

static void give_times(struct walk *w, struct message_parts *p, struct model_message *t)
{
    if (below(w, 4) == 0) {
        t->absolute = below(w, 2) == 0;
        p->flags |= t->absolute ? 0 : MESSAGE_DELIVER_RELATIVE;
        t->due = p->deliver_at = model_clock(&w->m, t->absolute) + below(w, 500);
    }
    if (below(w, 4) == 0) {
        t->expires_relative = below(w, 2) == 0;
        p->flags |= t->expires_relative ? MESSAGE_EXPIRES_RELATIVE : 0;
        t->expires = p->expires_at = model_clock(&w->m, !t->expires_relative) + below(w, 3000);
    }
}

static struct model_message some_message(struct walk *w)
{
    struct model_message t = {.id = ++w->last_id, .consumer = MODEL_NOBODY};
    struct names names;
    uint8_t payload[64] = {0};
    t.priority = (uint8_t)(below(w, 3) == 0 ? below(w, 10) : 4);
    struct message_parts parts = {.id = t.id, .protocol = MESSAGE_STOMP, .priority = t.priority, .accepted_at = w->m.now.wall_ms};
    parts.payload = sl_bytes_of(payload, below(w, sizeof payload));
    give_names(w, &parts, &names);
    give_times(w, &parts, &t);
    t.key = key_of(w, &parts);
    t.held = below(w, 8) == 0;
    t.msg = message_new(&parts);
    t.bytes = (uint32_t)message_bytes(t.msg);
    t.order_key = queue_order_key(w->q, t.msg);
    assert_true((t.order_key != 0) == (t.key != 0));
    return t;
}

void walk_enter(struct walk *w)
{
    if (below(w, MODEL_MESSAGES / 2) < w->m.n)
        return;
    struct model_message t = some_message(w);
    t.entry = queue_enqueue(w->q, t.msg, t.held ? QUEUE_HOLD : 0, &w->m.now);
    assert_int_equal(queue_entry_order_key(w->q, t.entry), t.order_key);
    (void)model_enter(&w->m, &t);
    w->entered++;
}

/* The newest wins while the first one waits. In a queue that is ordered by a key
 * the simulation looks at it. */
void walk_replace(struct walk *w)
{
    struct queue_change c;
    uint64_t bytes;
    if (w->m.n == 0 || w->m.cfg.order.on)
        return;
    struct model_message *old = &w->m.messages[below(w, w->m.n)];
    bool waits = old->state == QUEUE_READY || old->state == QUEUE_DELAYED;
    uint64_t old_id = old->id;
    assert_true(queue_waits(w->q, old->entry, old_id, &bytes) == waits && (!waits || bytes == old->bytes));
    struct model_message t = some_message(w);
    t.entry = queue_replace(w->q, old->entry, old_id, t.msg, t.held ? QUEUE_HOLD : 0, &w->m.now, &c);
    assert_true((t.entry != 0) == waits);
    if (!waits) {
        message_unref(t.msg);
        return;
    }
    assert_true(c.fate == QUEUE_GONE && c.exit == QUEUE_EXIT_REPLACED && c.id == old_id && (c.msg != NULL) == old->body);
    if (c.msg != NULL)
        message_unref(c.msg);
    model_replace(&w->m, old, &t);
    w->left++;
    w->entered++;
}

void walk_unhold(struct walk *w)
{
    for (uint32_t i = 0; i < w->m.n; i++) {
        struct model_message *t = &w->m.messages[i];
        if (!t->held)
            continue;
        assert_int_equal(queue_unhold(w->q, t->entry, t->id), SL_OK);
        model_unhold(&w->m, t);
        return;
    }
}

/* The line of a key is as old as its first, also when that is held and another is dropped. */
static bool some_line_begins_with_a_held_one(const struct walk *w)
{
    bool any = false;
    for (uint32_t i = 0; i < w->m.n; i++)
        any = any || (w->m.messages[i].held && w->m.messages[i].key != 0);
    return any;
}

static void expect_oldest(struct walk *w, uint64_t id, const struct model_message *oldest)
{
    const struct model_message *t = walk_find(w, id);
    assert_true(t == oldest || (model_is_droppable_first(&w->m, t) && some_line_begins_with_a_held_one(w)));
}

void walk_make_room(struct walk *w)
{
    struct queue_change c;
    uint32_t count = (uint32_t)below(w, 4);
    uint64_t bytes = below(w, 2000);
    enum queue_admission may = model_admits(&w->m, count, bytes);
    assert_int_equal(queue_admits(w->q, count, bytes), may);
    bool full = may != QUEUE_ADMIT;
    if (!queue_make_room(w->q, count, bytes, &c))
        return;
    assert_false(full); /* then dropping would not help */
    expect_oldest(w, c.id, model_oldest(&w->m));
    walk_expect_gone(w, &c, QUEUE_EXIT_DROPPED);
}
