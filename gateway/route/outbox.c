/* Two rings: the queue and the flight. What leaves from the middle leaves a
 * hole; holes at the ends go at once, the others when the ring is rebuilt, and
 * it is rebuilt before holes outnumber entries by more than a few.
 *
 * Each ring has a mark that spares it looking at what is known: no entry of
 * the queue before its mark is of QoS 0, none of the flight before its mark is
 * due. An entry is due when it has to go out on this connection.
 *
 * Packet ids are given out in a circle. `free_ids` of them, from `next_id` on,
 * are known to be unused; only when that runs out is the flight looked at. */
#include "route/outbox.h"

#include "core/alloc.h"

#define RING_FIRST 4u
#define NOWHERE    UINT32_MAX

_Static_assert(sizeof(struct outbox_entry) <= 32, "an entry is half a cache line");

struct ring {
    struct outbox_entry *v;
    uint32_t cap;  /* a power of two; 0: no memory */
    uint32_t head;
    uint32_t n;    /* places, holes included; the first and the last are entries */
    uint32_t live; /* entries */
    uint32_t mark; /* a place, or n */
};

struct outbox {
    struct ring queue, flight;
    uint64_t queued_bytes;
    size_t ids_bytes;
    uint32_t queued_qos0, unanswered;
    uint32_t free_ids;
    uint16_t next_id;
};

/* ---- rings ---- */

static struct outbox_entry *ring_at(const struct ring *r, uint32_t place)
{
    return &r->v[(r->head + place) & (r->cap - 1)];
}

/* Moves the entries to memory for `cap` of them and leaves the holes behind. */
static void ring_rebuild(struct ring *r, uint32_t cap)
{
    struct outbox_entry *v = cap > 0 ? sl_alloc(cap * sizeof *v) : NULL;
    uint32_t kept = 0, mark = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        const struct outbox_entry *e = ring_at(r, i);
        if (e->done)
            continue;
        v[kept++] = *e;
        mark += i < r->mark;
    }
    SL_ASSERT(kept == r->live);
    sl_free(r->v);
    *r = (struct ring){ .v = v, .cap = cap, .n = kept, .live = kept, .mark = mark };
}

/* Room for one more: what it is, the caller writes there. */
static struct outbox_entry *ring_add(struct ring *r)
{
    if (r->cap == 0)
        ring_rebuild(r, RING_FIRST);
    else if (r->n == r->cap)
        ring_rebuild(r, r->live > r->cap / 2 ? r->cap * 2 : r->cap);
    r->live++;
    return ring_at(r, r->n++);
}

static void ring_trim(struct ring *r)
{
    while (r->n > 0 && ring_at(r, 0)->done) {
        r->head = (r->head + 1) & (r->cap - 1);
        r->n--;
        r->mark -= r->mark > 0;
    }
    while (r->n > 0 && ring_at(r, r->n - 1)->done)
        r->n--;
    if (r->mark > r->n)
        r->mark = r->n;
}

static void ring_drop(struct ring *r, uint32_t place)
{
    ring_at(r, place)->done = true;
    r->live--;
    ring_trim(r);
    if (r->live == 0)
        ring_rebuild(r, 0);
    else if (r->cap > RING_FIRST && r->live <= r->cap / 4)
        ring_rebuild(r, r->cap / 2);
}

static void ring_mark_back(struct ring *r, uint32_t place)
{
    if (place < r->mark)
        r->mark = place;
}

/* ---- birth, death, size ---- */

struct outbox *outbox_new(void)
{
    struct outbox *o = SL_NEW(struct outbox);
    o->next_id = 1;
    o->free_ids = OUTBOX_FLIGHT_MAX;
    return o;
}

void outbox_entry_fini(struct outbox_entry *e)
{
    if (e->n_ids > 1)
        sl_free(e->ids);
    e->n_ids = 0;
}

static void entry_drop(struct outbox_entry *e)
{
    message_unref(e->msg);
    outbox_entry_fini(e);
}

void outbox_free(struct outbox *o)
{
    if (o == NULL)
        return;
    struct outbox_entry e;
    while (outbox_take(o, &e))
        entry_drop(&e);
    sl_free(o);
}

bool outbox_empty(const struct outbox *o)
{
    return o->queue.live == 0 && o->flight.live == 0;
}

uint32_t outbox_queued(const struct outbox *o)
{
    return o->queue.live;
}

uint32_t outbox_queued_qos0(const struct outbox *o)
{
    return o->queued_qos0;
}

uint64_t outbox_queued_bytes(const struct outbox *o)
{
    return o->queued_bytes;
}

uint32_t outbox_in_flight(const struct outbox *o)
{
    return o->flight.live;
}

uint32_t outbox_unanswered(const struct outbox *o)
{
    return o->unanswered;
}

size_t outbox_bytes(const struct outbox *o)
{
    return sizeof *o + ((size_t)o->queue.cap + o->flight.cap) * sizeof(struct outbox_entry) + o->ids_bytes;
}

/* ---- the queue ---- */

static size_t ids_bytes(const struct outbox_entry *e)
{
    return e->n_ids > 1 ? e->n_ids * sizeof *e->ids : 0;
}

/* Written where it stays: a copy would wait for what was just written. */
static void entry_init(struct outbox *o, struct outbox_entry *e, const struct outbox_item *it)
{
    *e = (struct outbox_entry){ .msg = message_ref(it->msg), .n_ids = it->n_ids, .qos = it->qos, .retain = it->retain, .shared = it->shared, .subscription = it->subscription };
    if (e->n_ids == 1) {
        e->id = it->ids[0];
    } else if (e->n_ids > 1) {
        e->ids = sl_alloc(ids_bytes(e));
        memcpy(e->ids, it->ids, ids_bytes(e));
        o->ids_bytes += ids_bytes(e);
    }
}

struct outbox_entry *outbox_push(struct outbox *o, const struct outbox_item *it)
{
    struct outbox_entry *e = ring_add(&o->queue);
    entry_init(o, e, it);
    o->queued_bytes += message_bytes(e->msg);
    o->queued_qos0 += e->qos == 0;
    return e;
}

struct outbox_entry *outbox_head(struct outbox *o)
{
    return o->queue.n > 0 ? ring_at(&o->queue, 0) : NULL;
}

/* The entry, with its message and its ids, is the caller's now. */
static void queue_leave(struct outbox *o, uint32_t place, struct outbox_entry *out)
{
    *out = *ring_at(&o->queue, place);
    o->queued_bytes -= message_bytes(out->msg);
    o->queued_qos0 -= out->qos == 0;
    ring_drop(&o->queue, place);
}

void outbox_pop(struct outbox *o)
{
    SL_ASSERT(o->queue.n > 0);
    struct outbox_entry e;
    queue_leave(o, 0, &e);
    o->ids_bytes -= ids_bytes(&e);
    entry_drop(&e);
}

bool outbox_shed_qos0(struct outbox *o, struct outbox_entry *out)
{
    struct ring *r = &o->queue;
    if (o->queued_qos0 == 0)
        return false;
    while (ring_at(r, r->mark)->done || ring_at(r, r->mark)->qos > 0)
        r->mark++;
    queue_leave(o, r->mark, out);
    o->ids_bytes -= ids_bytes(out);
    return true;
}

/* ---- packet ids ---- */

/* How many steps from one id to another, in the circle of 1 to 65,535. */
static uint32_t id_distance(uint16_t from, uint16_t to)
{
    return to >= from ? (uint32_t)to - from : (uint32_t)to + OUTBOX_FLIGHT_MAX - from;
}

static uint16_t id_after(uint16_t id)
{
    return id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
}

/* An id is used: the next one to be given out is the one after it. */
static void id_take(struct outbox *o, uint16_t id)
{
    uint32_t skipped = id_distance(o->next_id, id);
    o->free_ids = skipped < o->free_ids ? o->free_ids - skipped - 1 : 0;
    o->next_id = id_after(id);
}

static bool bit_of(const uint8_t *bits, uint16_t id)
{
    return (bits[id >> 3] >> (id & 7) & 1) != 0;
}

/* Goes on to the next unused id, and tells how many there are from it on: one
 * look at the flight for as many ids as lie between two used ones. */
static void ids_look_for_free(struct outbox *o)
{
    uint8_t *used = sl_calloc(1, (OUTBOX_FLIGHT_MAX + 1) / 8);
    for (uint32_t i = 0; i < o->flight.n; i++) {
        const struct outbox_entry *e = ring_at(&o->flight, i);
        if (!e->done)
            used[e->packet_id >> 3] = (uint8_t)(used[e->packet_id >> 3] | 1u << (e->packet_id & 7));
    }
    while (bit_of(used, o->next_id))
        o->next_id = id_after(o->next_id);
    uint16_t id = o->next_id;
    for (; o->free_ids < OUTBOX_FLIGHT_MAX && !bit_of(used, id); id = id_after(id))
        o->free_ids++;
    sl_free(used);
}

static uint16_t id_give(struct outbox *o)
{
    SL_ASSERT(o->flight.live < OUTBOX_FLIGHT_MAX);
    if (o->free_ids == 0)
        ids_look_for_free(o);
    uint16_t id = o->next_id;
    id_take(o, id);
    return id;
}

static bool has_id(const struct ring *r, uint32_t place, uint16_t packet_id)
{
    const struct outbox_entry *e = ring_at(r, place);
    return !e->done && e->packet_id == packet_id;
}

/* Where the id is. Ids were given out in the order of the flight, so that the
 * place follows from the id; what was left out, or came before in its circle, lies
 * to the left of that. */
static uint32_t flight_find(const struct outbox *o, uint16_t packet_id)
{
    const struct ring *r = &o->flight;
    if (r->n == 0 || packet_id == 0)
        return NOWHERE;
    uint32_t guess = id_distance(ring_at(r, 0)->packet_id, packet_id);
    if (guess >= r->n)
        guess = r->n - 1;
    for (uint32_t i = guess + 1; i-- > 0;) {
        if (has_id(r, i, packet_id))
            return i;
    }
    for (uint32_t i = guess + 1; i < r->n; i++) {
        if (has_id(r, i, packet_id))
            return i;
    }
    return NOWHERE;
}

/* ---- the flight ---- */

/* In the flight, and not sent yet. */
static struct outbox_entry *take_off(struct outbox_entry *e, uint16_t packet_id)
{
    e->packet_id = packet_id;
    e->state = OUTBOX_UNSENT;
    e->due = true;
    return e;
}

struct outbox_entry *outbox_number(struct outbox *o)
{
    SL_ASSERT(o->queue.n > 0 && ring_at(&o->queue, 0)->qos > 0);
    uint16_t packet_id = id_give(o);
    struct outbox_entry *e = ring_add(&o->flight);
    queue_leave(o, 0, e);
    return take_off(e, packet_id);
}

struct outbox_entry *outbox_push_numbered(struct outbox *o, const struct outbox_item *it)
{
    SL_ASSERT(o->queue.n == 0 && it->qos > 0);
    uint16_t packet_id = id_give(o);
    struct outbox_entry *e = ring_add(&o->flight);
    entry_init(o, e, it);
    return take_off(e, packet_id);
}

struct outbox_entry *outbox_next(struct outbox *o)
{
    struct ring *r = &o->flight;
    while (r->mark < r->n && (ring_at(r, r->mark)->done || !ring_at(r, r->mark)->due))
        r->mark++;
    if (r->mark == r->n || ring_at(r, r->mark)->held)
        return NULL;
    return ring_at(r, r->mark);
}

void outbox_sent(struct outbox *o)
{
    struct outbox_entry *e = outbox_next(o);
    SL_ASSERT(e != NULL);
    e->due = false;
    if (e->state == OUTBOX_RELEASED)
        return;
    e->state = OUTBOX_SENT;
    e->counted = true;
    o->unanswered++;
}

int outbox_unhold(struct outbox *o, uint16_t packet_id, uint64_t message, bool released)
{
    struct ring *r = &o->flight;
    uint32_t place = flight_find(o, packet_id);
    struct outbox_entry *e = place == NOWHERE ? NULL : ring_at(r, place);
    if (e == NULL || !e->held || message_id(e->msg) != message || (e->state == OUTBOX_RELEASED) != released)
        return SL_ENOENT;
    e->held = false;
    if (released) {
        e->due = true;
        ring_mark_back(r, place);
    }
    return SL_OK;
}

/* ---- answers ---- */

static void flight_leave(struct outbox *o, uint32_t place, struct outbox_entry *out)
{
    *out = *ring_at(&o->flight, place);
    o->unanswered -= out->counted;
    o->ids_bytes -= ids_bytes(out);
    ring_drop(&o->flight, place);
}

/* Was its PUBLISH sent, on whatever connection, and nothing more? */
static bool was_published(const struct outbox_entry *e)
{
    return e->state == OUTBOX_SENT || (e->state == OUTBOX_UNSENT && e->dup);
}

const struct outbox_entry *outbox_published(struct outbox *o, uint16_t packet_id)
{
    uint32_t place = flight_find(o, packet_id);
    const struct outbox_entry *e = place == NOWHERE ? NULL : ring_at(&o->flight, place);
    return e != NULL && (was_published(e) || e->state == OUTBOX_RELEASED) ? e : NULL;
}

int outbox_acked(struct outbox *o, uint16_t packet_id, struct outbox_entry *out)
{
    uint32_t place = flight_find(o, packet_id);
    if (place == NOWHERE || ring_at(&o->flight, place)->qos != 1 || !was_published(ring_at(&o->flight, place)))
        return SL_ENOENT;
    flight_leave(o, place, out);
    return SL_OK;
}

int outbox_completed(struct outbox *o, uint16_t packet_id, struct outbox_entry *out)
{
    uint32_t place = flight_find(o, packet_id);
    if (place == NOWHERE || ring_at(&o->flight, place)->state != OUTBOX_RELEASED)
        return SL_ENOENT;
    flight_leave(o, place, out);
    return SL_OK;
}

int outbox_refused(struct outbox *o, uint16_t packet_id, struct outbox_entry *out)
{
    uint32_t place = flight_find(o, packet_id);
    if (place == NOWHERE || !was_published(ring_at(&o->flight, place)))
        return SL_ENOENT;
    flight_leave(o, place, out);
    return SL_OK;
}

int outbox_received(struct outbox *o, uint16_t packet_id, struct outbox_entry **out)
{
    uint32_t place = flight_find(o, packet_id);
    if (place == NOWHERE || ring_at(&o->flight, place)->qos != 2 || !was_published(ring_at(&o->flight, place)))
        return SL_ENOENT;
    struct outbox_entry *e = ring_at(&o->flight, place);
    e->state = OUTBOX_RELEASED;
    e->due = e->held = false;
    *out = e;
    return SL_OK;
}

void outbox_resume(struct outbox *o)
{
    for (uint32_t i = 0; i < o->flight.n; i++) {
        struct outbox_entry *e = ring_at(&o->flight, i);
        if (e->state == OUTBOX_SENT) {
            e->state = OUTBOX_UNSENT;
            e->dup = true;
        }
        e->due = e->state == OUTBOX_UNSENT || !e->held;
        e->counted = false;
    }
    o->unanswered = 0;
    o->flight.mark = 0;
}

/* ---- ends and restores ---- */

bool outbox_take(struct outbox *o, struct outbox_entry *out)
{
    if (o->queue.n > 0) {
        queue_leave(o, 0, out);
        o->ids_bytes -= ids_bytes(out);
    } else if (o->flight.n > 0) {
        flight_leave(o, 0, out);
    } else {
        return false;
    }
    return true;
}

struct outbox_entry *outbox_walk(struct outbox *o, uint32_t *pos)
{
    while (*pos < o->flight.n + o->queue.n) {
        uint32_t at = (*pos)++;
        struct outbox_entry *e = at < o->flight.n ? ring_at(&o->flight, at) : ring_at(&o->queue, at - o->flight.n);
        if (!e->done)
            return e;
    }
    return NULL;
}

static bool id_in_use(const struct outbox *o, uint16_t packet_id)
{
    return id_distance(o->next_id, packet_id) >= o->free_ids && flight_find(o, packet_id) != NOWHERE;
}

int outbox_restore(struct outbox *o, const struct outbox_item *it, uint16_t packet_id, bool released)
{
    if (it->qos < 1 || it->qos > 2 || (released && (it->qos != 2 || packet_id == 0)))
        return SL_EINVAL;
    if (packet_id > 0 && id_in_use(o, packet_id))
        return SL_EEXIST;
    if (packet_id == 0) {
        outbox_push(o, it)->recorded = true;
        return SL_OK;
    }
    struct outbox_entry *e = ring_add(&o->flight);
    entry_init(o, e, it);
    e->recorded = true;
    e->packet_id = packet_id;
    e->state = released ? OUTBOX_RELEASED : OUTBOX_SENT;
    id_take(o, packet_id);
    return SL_OK;
}

/* ---- checking ---- */

static void check_ring(const struct ring *r)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < r->n; i++)
        live += !ring_at(r, i)->done;
    SL_ASSERT(live == r->live && r->n <= r->cap && r->mark <= r->n && (r->cap & (r->cap - 1)) == 0);
    SL_ASSERT(r->n == 0 || (!ring_at(r, 0)->done && !ring_at(r, r->n - 1)->done));
    SL_ASSERT((r->cap == 0) == (live == 0) && (r->cap <= RING_FIRST || live > r->cap / 4));
}

static size_t check_queue(const struct outbox *o)
{
    uint64_t bytes = 0;
    uint32_t qos0 = 0;
    size_t of_ids = 0;
    for (uint32_t i = 0; i < o->queue.n; i++) {
        const struct outbox_entry *e = ring_at(&o->queue, i);
        if (e->done)
            continue;
        SL_ASSERT(e->state == OUTBOX_QUEUED && e->packet_id == 0 && !e->held && e->msg->refs > 0);
        SL_ASSERT(e->qos > 0 || i >= o->queue.mark);
        bytes += message_bytes(e->msg);
        qos0 += e->qos == 0;
        of_ids += ids_bytes(e);
    }
    SL_ASSERT(bytes == o->queued_bytes && qos0 == o->queued_qos0);
    return of_ids;
}

static void check_flying(const struct outbox *o, const struct outbox_entry *e, uint32_t place)
{
    SL_ASSERT(e->packet_id > 0 && e->qos > 0 && e->state != OUTBOX_QUEUED && e->msg->refs > 0);
    SL_ASSERT(e->state != OUTBOX_UNSENT || (e->due && !e->counted));
    SL_ASSERT(e->state != OUTBOX_SENT || (!e->due && !e->held));
    SL_ASSERT(e->state != OUTBOX_RELEASED || (e->qos == 2 && !(e->due && e->held)));
    SL_ASSERT(!e->due || place >= o->flight.mark);
    SL_ASSERT(flight_find(o, e->packet_id) == place); /* nobody before it has the same */
    SL_ASSERT(id_distance(o->next_id, e->packet_id) >= o->free_ids);
}

void outbox_check(const struct outbox *o)
{
    size_t of_ids = check_queue(o);
    uint32_t counted = 0;
    for (uint32_t i = 0; i < o->flight.n; i++) {
        const struct outbox_entry *e = ring_at(&o->flight, i);
        if (e->done)
            continue;
        check_flying(o, e, i);
        counted += e->counted;
        of_ids += ids_bytes(e);
    }
    check_ring(&o->queue);
    check_ring(&o->flight);
    SL_ASSERT(counted == o->unanswered && of_ids == o->ids_bytes && o->next_id > 0);
}
