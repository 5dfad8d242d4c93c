/* order_by: messages of one key go one after the other, each key in a line of
 * its own, by id, which is the order of acceptance.
 *
 *   entry ──▶ in the line ──▶ out: in a band ──▶ leased ──▶ leaves; the next one is called
 *                 ▲                   ▲             │
 *                 │ due               └── given back, or its retry is due (block)
 *      delayed first, or skipped ◀────────────────── failed (skip)
 *
 * Only the first of a line stands outside: in a band, where its own priority
 * ranks the line, with a consumer, or off to the side until its release or its
 * retry is over. The others cost nobody a look. One that is held (QoS 2) is not
 * called, and keeps its place. What is delayed, or was skipped, belongs to its
 * line without standing in it, and takes the place of its id when it is due:
 * after a restart, which brings all in the order of their ids, everything stands
 * as it would have stood.
 *
 * A line knows the hash of its key and not the key, since bodies may be in the
 * store only: two keys that hash alike share a line, and are ordered more than
 * was asked. Lines exist while messages belong to them. */
#include "core/alloc.h"
#include "internal.h"

#define NO_POS     UINT32_MAX /* not in the heap of ages */
#define KEEP_SLOTS 65536u     /* of a map: more go back when it is empty */

static struct order_line *line_at(const struct queue *q, uint32_t i)
{
    SL_ASSERT(i != 0 && i / SL_SLAB_CHUNK < q->lines.n_chunks);
    return (struct order_line *)(void *)q->lines.chunks[i / SL_SLAB_CHUNK] + i % SL_SLAB_CHUNK;
}

struct order_line *order_line_of(const struct queue *q, const struct queue_entry *e)
{
    SL_ASSERT(e->flags & ENTRY_KEYED);
    return line_at(q, e->place == PLACE_LINE ? e->pos : e->next);
}

uint64_t queue_order_key(const struct queue *q, const struct message *m)
{
    const struct queue_order *o = &q->cfg.order;
    struct sl_bytes key = o->on ? key_of_message(o->key, o->header, m) : SL_BYTES_NONE;
    if (key.n == 0)
        return 0;
    uint64_t hash = sl_hash_keyed(&o->hash, key);
    return hash == 0 ? 1 : hash;
}

uint64_t queue_entry_order_key(const struct queue *q, uint32_t entry)
{
    const struct queue_entry *e = entry_at(q, entry);
    return (e->flags & ENTRY_KEYED) == 0 ? 0 : order_line_of(q, e)->hash;
}

/* ---- lines ---- */

static struct order_line *line_new(struct queue *q, uint64_t hash)
{
    uint32_t i = sl_slab_take(&q->lines);
    struct order_line *line = line_at(q, i);
    *line = (struct order_line){ .self = i, .hash = hash, .age_pos = NO_POS };
    sl_idmap_put(&q->lines_by_key, hash, line);
    return line;
}

/* When the last one goes, so does the memory that the most of them took, as the slab's own does. */
static void line_free(struct queue *q, struct order_line *line)
{
    SL_ASSERT(line->waiting.head == 0 && line->late == NULL && line->age_pos == NO_POS);
    (void)sl_idmap_del(&q->lines_by_key, line->hash);
    sl_slab_give(&q->lines, line->self);
    if (q->lines.used > 0 || q->lines_by_key.cap <= KEEP_SLOTS)
        return;
    sl_idmap_fini(&q->lines_by_key);
    sl_heap_fini(&q->ages);
}

uint32_t order_line_first(const struct queue *q, const struct order_line *line)
{
    const struct sl_heap_node *top = line->late == NULL ? NULL : sl_heap_top(line->late);
    uint32_t head = line->waiting.head;
    if (top == NULL)
        return head;
    return head == 0 || top->key < entry_at(q, head)->id ? top->item : head;
}

/* ---- the oldest of all lines, for drop_oldest ---- */

static void on_aged(void *arg, uint32_t item, uint32_t pos)
{
    line_at((const struct queue *)arg, item)->age_pos = pos;
}

/* A line has the age of its first; it stands there while something could be dropped. */
static void line_age(struct queue *q, struct order_line *line)
{
    if (q->cfg.overflow != QUEUE_DROP_OLDEST)
        return;
    uint64_t id = line->ready == 0 ? 0 : entry_at(q, order_line_first(q, line))->id;
    if (line->age_pos != NO_POS && q->ages.nodes[line->age_pos].key == id)
        return;
    if (line->age_pos != NO_POS)
        sl_heap_remove(&q->ages, line->age_pos);
    line->age_pos = NO_POS;
    if (id != 0)
        sl_heap_push(&q->ages, id, line->self);
}

static uint32_t late_that_is_not_held(const struct queue *q, const struct order_line *line)
{
    uint32_t best = 0;
    for (uint32_t n = 0; line->late != NULL && n < line->late->n; n++) {
        uint32_t i = line->late->nodes[n].item;
        bool held = (entry_at(q, i)->flags & ENTRY_HELD) != 0;
        if (!held && n == 0)
            return i;
        if (!held && (best == 0 || entry_at(q, i)->id < entry_at(q, best)->id))
            best = i;
    }
    return best;
}

/* Held ones are few: what has come since the last commit. */
uint32_t order_oldest(const struct queue *q)
{
    const struct sl_heap_node *top = sl_heap_top(&q->ages);
    if (top == NULL)
        return 0;
    const struct order_line *line = line_at(q, top->item);
    uint32_t i = line->waiting.head, late = late_that_is_not_held(q, line);
    while (i != 0 && (entry_at(q, i)->flags & ENTRY_HELD) != 0)
        i = entry_at(q, i)->next;
    if (i == 0 || late == 0)
        return i == 0 ? late : i;
    return entry_at(q, i)->id < entry_at(q, late)->id ? i : late;
}

/* ---- in and out of the list ---- */

static void count_ready(struct queue *q, struct order_line *line, const struct queue_entry *e, bool in)
{
    if ((e->flags & ENTRY_HELD) != 0)
        return;
    line->ready += in ? 1u : UINT32_MAX;
    q->lined += in ? 1u : UINT64_MAX;
    q->lined_bytes = in ? q->lined_bytes + e->bytes : q->lined_bytes - e->bytes;
}

static void push_late(struct queue *q, struct order_line *line, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    if (line->late == NULL) {
        line->late = SL_NEW(struct sl_heap);
        sl_heap_init(line->late, queue_on_moved, q);
    }
    e->place = PLACE_LATE;
    q->n_late++;
    sl_heap_push(line->late, e->id, i);
}

static void line_push(struct queue *q, struct order_line *line, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    uint32_t head = line->waiting.head, tail = line->waiting.tail;
    if (head != 0 && e->id < entry_at(q, tail)->id && e->id > entry_at(q, head)->id) {
        push_late(q, line, i);
    } else {
        list_enter(q, &line->waiting, i, head != 0 && e->id < entry_at(q, head)->id);
        e->place = PLACE_LINE;
        e->pos = line->self;
    }
    count_ready(q, line, e, true);
    line_age(q, line);
}

static void line_push_first(struct queue *q, struct order_line *line, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    list_enter(q, &line->waiting, i, true);
    e->place = PLACE_LINE;
    e->pos = line->self;
    count_ready(q, line, e, true);
    line_age(q, line);
}

static void pull_late(struct queue *q, struct order_line *line, const struct queue_entry *e)
{
    q->n_late--;
    sl_heap_remove(line->late, e->pos);
    if (line->late->n > 0)
        return;
    sl_heap_fini(line->late);
    sl_free(line->late);
    line->late = NULL;
}

void order_unplace(struct queue *q, struct queue_entry *e)
{
    struct order_line *line = order_line_of(q, e);
    if (e->place == PLACE_LATE)
        pull_late(q, line, e);
    else
        list_remove(q, &line->waiting, e);
    e->place = PLACE_NONE;
    e->next = line->self;
    count_ready(q, line, e, false);
    line_age(q, line);
}

/* ---- what happens to a line ---- */

static void go_out(struct queue *q, struct order_line *line, uint32_t i, uint64_t place)
{
    line->out = i;
    line->out_id = place;
    place_again(q, i);
}

static uint64_t first_id(const struct queue *q, const struct order_line *line)
{
    uint32_t first = order_line_first(q, line);
    return first == 0 ? UINT64_MAX : entry_at(q, first)->id;
}

static void call_first(struct queue *q, struct order_line *line)
{
    uint32_t i = order_line_first(q, line);
    if (line->out != 0 || i == 0 || (entry_at(q, i)->flags & ENTRY_HELD) != 0)
        return;
    order_unplace(q, entry_at(q, i));
    uint64_t id = entry_at(q, i)->id, next = first_id(q, line);
    go_out(q, line, i, id < next ? id : next - 1);
}

void order_join(struct queue *q, uint32_t i, uint64_t key)
{
    struct queue_entry *e = entry_at(q, i);
    struct order_line *line = sl_idmap_get(&q->lines_by_key, key);
    if (line == NULL)
        line = line_new(q, key);
    line->members++;
    e->flags |= ENTRY_KEYED;
    e->next = line->self;
}

/* The one that was out, in no place now, stands in its line again: behind an older one that has come. */
static void go_back(struct queue *q, struct order_line *line)
{
    uint32_t i = line->out;
    line->out = 0;
    if (entry_at(q, i)->id == line->out_id)
        line_push(q, line, i);
    else
        line_push_first(q, line, i);
}

/* One that no consumer has goes back before an older one: true. */
static bool makes_way(struct queue *q, struct order_line *line, uint64_t id)
{
    if (line->out == 0 || line->out_id < id || entry_at(q, line->out)->state != QUEUE_READY)
        return false;
    unplace(q, entry_at(q, line->out));
    go_back(q, line);
    return true;
}

/* It has come back. The older one is called before it stands in the line again, since its id may tell of another place. */
static void out_ready(struct queue *q, struct order_line *line, uint32_t i)
{
    uint32_t older = order_line_first(q, line);
    if (older == 0 || line->out_id < entry_at(q, older)->id) {
        place_again(q, i);
    } else if ((entry_at(q, older)->flags & ENTRY_HELD) != 0) {
        go_back(q, line);
    } else {
        order_unplace(q, entry_at(q, older));
        go_back(q, line);
        go_out(q, line, older, entry_at(q, older)->id);
    }
}

void order_ready(struct queue *q, uint32_t i)
{
    const struct queue_entry *e = entry_at(q, i);
    struct order_line *line = line_at(q, e->next);
    if (line->out == i) {
        out_ready(q, line, i);
        return;
    }
    bool is_first = makes_way(q, line, e->id) || (line->out == 0 && e->id < first_id(q, line));
    if (is_first && (e->flags & ENTRY_HELD) == 0) {
        go_out(q, line, i, e->id);
        return;
    }
    line_push(q, line, i);
    call_first(q, line);
}

void order_unheld(struct queue *q, struct queue_entry *e)
{
    struct order_line *line = order_line_of(q, e);
    count_ready(q, line, e, true);
    line_age(q, line);
    call_first(q, line);
}

void order_renamed(struct queue *q, const struct queue_entry *e)
{
    line_age(q, order_line_of(q, e));
}

void order_skip(struct queue *q, uint32_t i)
{
    struct order_line *line = line_at(q, entry_at(q, i)->next);
    SL_ASSERT(line->out == i);
    line->out = 0;
    call_first(q, line);
}

void order_wait(struct queue *q, uint32_t i)
{
    struct order_line *line = line_at(q, entry_at(q, i)->next);
    if (line->out == 0) {
        line->out = i;
        line->out_id = entry_at(q, i)->id;
    }
}

void order_left(struct queue *q, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    struct order_line *line = line_at(q, e->next);
    e->flags &= (uint8_t)~ENTRY_KEYED;
    e->next = 0;
    if (line->out == i)
        line->out = 0;
    if (--line->members == 0)
        line_free(q, line);
    else
        call_first(q, line);
}

/* ---- birth and end ---- */

void order_init(struct queue *q)
{
    sl_slab_init(&q->lines, sizeof(struct order_line));
    sl_heap_init(&q->ages, on_aged, q);
}

void order_fini(struct queue *q)
{
    struct order_line *line;
    size_t pos = 0;
    while ((line = sl_idmap_next(&q->lines_by_key, &pos)) != NULL) {
        if (line->late != NULL)
            sl_heap_fini(line->late);
        sl_free(line->late);
    }
    sl_heap_fini(&q->ages);
    sl_idmap_fini(&q->lines_by_key);
    sl_slab_fini(&q->lines);
}
