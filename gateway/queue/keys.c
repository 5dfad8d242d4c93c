/* At most so many leased messages of one key: the others stand aside, in a line
 * of their own, and cost nobody else a look.
 *
 *   its turn has come ── the key has room ──▶ leased ── ends ──▶ the first of the line goes back to its place
 *                     └─ it has none ───────▶ aside
 *
 * Who goes back has been called, and is leased or leaves: then the next one is
 * called. Only keys of which something is leased or aside are known. */
#include "core/alloc.h"
#include "internal.h"

/* ---- a message's key ---- */

struct sl_bytes key_of_message(enum queue_key key, const char *header, const struct message *m)
{
    struct message_parts parts;
    switch (key) {
    case QUEUE_KEY_TOPIC:
        return message_topic(m);
    case QUEUE_KEY_HEADER:
        return message_header_value(message_record(m), header);
    case QUEUE_KEY_CLIENT:
        break;
    }
    message_view(message_record(m), &parts);
    return parts.client_id;
}

/* ---- lines ---- */

static struct key_line *line_at(const struct queue *q, uint32_t i)
{
    return sl_slab_at(&q->key_lines, i);
}

static struct key_line *line_new(struct queue *q, uint64_t hash)
{
    uint32_t i = sl_slab_take(&q->key_lines);
    struct key_line *line = line_at(q, i);
    *line = (struct key_line){ .self = i, .hash = hash };
    sl_idmap_put(&q->keys, hash, line);
    return line;
}

static void line_free_if_unused(struct queue *q, struct key_line *line)
{
    if (line->leased > 0 || line->aside.head != 0)
        return;
    (void)sl_idmap_del(&q->keys, line->hash);
    sl_slab_give(&q->key_lines, line->self);
}

static struct key_line *line_of(struct queue *q, const struct queue_entry *e, bool make)
{
    struct sl_bytes key = key_of_message(q->key_limit.key, q->key_limit.header, e->msg);
    if (key.n == 0)
        return NULL; /* no key, no limit */
    uint64_t hash = sl_hash(key);
    struct key_line *line = sl_idmap_get(&q->keys, hash);
    return line == NULL && make ? line_new(q, hash) : line;
}

/* ---- entries ---- */

bool key_set_aside(struct queue *q, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    struct key_line *line = keys_limited(q) ? line_of(q, e, false) : NULL;
    if (line == NULL || line->leased < q->key_limit.max)
        return false;
    unplace(q, e);
    e->flags &= (uint8_t)~ENTRY_CALLED;
    place_aside(q, line, i);
    return true;
}

void key_leased(struct queue *q, struct queue_entry *e)
{
    e->flags &= (uint8_t)~ENTRY_CALLED;
    struct key_line *line = line_of(q, e, true);
    if (line != NULL)
        line->leased++;
}

static void call_first(struct queue *q, struct key_line *line)
{
    uint32_t i = line->aside.head;
    if (i == 0)
        return;
    entry_at(q, i)->flags |= ENTRY_CALLED;
    list_remove(q, &line->aside, entry_at(q, i));
    entry_at(q, i)->place = PLACE_NONE;
    place_again(q, i);
}

void key_freed(struct queue *q, const struct queue_entry *e)
{
    struct key_line *line = line_of(q, e, false);
    if (line == NULL)
        return;
    SL_ASSERT(line->leased > 0);
    line->leased--;
    call_first(q, line);
    line_free_if_unused(q, line);
}

/* An evicted one does not tell its key. */
void key_left(struct queue *q, const struct queue_entry *e)
{
    struct key_line *line = e->msg == NULL ? NULL : line_of(q, e, false);
    q->call_all = q->call_all || e->msg == NULL;
    if (line == NULL)
        return;
    call_first(q, line);
    line_free_if_unused(q, line);
}

void keys_call_all(struct queue *q)
{
    struct key_line *line;
    size_t pos = 0;
    q->call_all = false;
    while ((line = sl_idmap_next(&q->keys, &pos)) != NULL) {
        if (line->leased == 0)
            call_first(q, line); /* an empty line stays until its key is leased or changed */
    }
}

void key_unplace(struct queue *q, struct queue_entry *e)
{
    struct key_line *line = line_at(q, e->pos);
    list_remove(q, &line->aside, e);
    line_free_if_unused(q, line);
}

/* ---- the limit ---- */

static void all_go_back(struct queue *q)
{
    struct key_line *line;
    size_t pos = 0;
    while ((line = sl_idmap_next(&q->keys, &pos)) != NULL) {
        while (line->aside.head != 0)
            call_first(q, line);
    }
    sl_idmap_fini(&q->keys);
    sl_slab_fini(&q->key_lines);
    sl_slab_init(&q->key_lines, sizeof(struct key_line));
}

static bool is_same(const struct queue_key_limit *a, const struct queue_key_limit *b)
{
    bool named = a->key == QUEUE_KEY_HEADER && b->key == QUEUE_KEY_HEADER;
    return a->max == b->max && (a->max == 0 || (a->key == b->key && (!named || strcmp(a->header, b->header) == 0)));
}

void queue_limit_keys(struct queue *q, const struct queue_key_limit *limit)
{
    SL_ASSERT(limit->max == 0 || !q->cfg.order.on); /* one goes after the other already, and an entry stands aside for one reason */
    if (is_same(&q->key_limit, limit))
        return;
    all_go_back(q);
    sl_free(q->key_header);
    q->key_header = limit->header == NULL ? NULL : sl_strdup(limit->header);
    q->key_limit = (struct queue_key_limit){ limit->max, limit->key, q->key_header };
    restraint_count(q, 0);
    for (uint32_t slot = 1; limit->max > 0 && slot < q->n_leases; slot++) {
        if (q->leases[slot].id != 0)
            key_leased(q, entry_at(q, q->leases[slot].entry));
    }
}

void keys_fini(struct queue *q)
{
    sl_free(q->key_header);
    sl_idmap_fini(&q->keys);
    sl_slab_fini(&q->key_lines);
}
