/* The table of sessions: by client id, and a heap of the ends of those that
 * nobody holds. */
#include "route/sessions.h"

#include "core/alloc.h"
#include "core/heap.h"
#include "core/map.h"
#include "core/slab.h"

#define NOT_IN_HEAP UINT32_MAX
#define IDS_FIRST   8u
#define IDS_KEPT    16u /* memory of an empty id list that is kept for the next id */

struct sessions {
    struct sl_slab slab;
    struct sl_strmap by_client;
    struct sl_heap ends; /* of absent sessions that end */
    uint32_t max, held;
    uint32_t anonymous;
};

static struct session *session_at(const struct sessions *t, uint32_t slot)
{
    return sl_slab_at(&t->slab, slot);
}

/* A free one has slot 0: nobody's. */
struct session *sessions_at(const struct sessions *t, uint32_t slot)
{
    struct session *s = slot < t->slab.made ? session_at(t, slot) : NULL;
    return s != NULL && s->slot == slot ? s : NULL;
}

static void on_moved(void *arg, uint32_t slot, uint32_t pos)
{
    session_at(arg, slot)->heap_pos = pos;
}

/* ---- the table ---- */

struct sessions *sessions_new(uint32_t max)
{
    struct sessions *t = SL_NEW(struct sessions);
    t->max = max;
    sl_slab_init(&t->slab, sizeof(struct session));
    sl_heap_init(&t->ends, on_moved, t);
    return t;
}

static void drop_memory(struct session *s)
{
    sl_free((void *)(uintptr_t)s->client_id.p);
    sl_free(s->ids);
}

void sessions_free(struct sessions *t)
{
    if (t == NULL)
        return;
    size_t pos = 0;
    struct session *s;
    while ((s = sl_strmap_next(&t->by_client, &pos)) != NULL)
        drop_memory(s);
    sl_strmap_fini(&t->by_client);
    sl_heap_fini(&t->ends);
    sl_slab_fini(&t->slab);
    sl_free(t);
}

uint32_t sessions_count(const struct sessions *t)
{
    return (uint32_t)t->by_client.used;
}

uint32_t sessions_held(const struct sessions *t)
{
    return t->held;
}

uint32_t sessions_anonymous(const struct sessions *t)
{
    return t->anonymous;
}

struct session *sessions_find(struct sessions *t, struct sl_bytes client_id)
{
    return sl_strmap_get(&t->by_client, client_id);
}

int sessions_add(struct sessions *t, struct sl_bytes client_id, uint64_t number,
                 struct session **out)
{
    if (sessions_find(t, client_id) != NULL)
        return SL_EEXIST;
    if (sessions_count(t) >= t->max)
        return SL_EFULL;
    uint32_t slot = sl_slab_take(&t->slab);
    struct session *s = session_at(t, slot);
    uint8_t *copy = sl_alloc(client_id.n);
    (void)sl_wr_bytes(copy, client_id);
    *s = (struct session){
        .client_id = sl_bytes_of(copy, client_id.n),
        .number = number,
        .ends_wall_ms = UINT64_MAX,
        .slot = slot,
        .heap_pos = NOT_IN_HEAP,
    };
    sl_strmap_put(&t->by_client, s->client_id, s);
    *out = s;
    return SL_OK;
}

struct session *sessions_add_anonymous(struct sessions *t, uint64_t number, uint64_t holder)
{
    uint32_t slot = sl_slab_take(&t->slab);
    struct session *s = session_at(t, slot);
    *s = (struct session){
        .number = number,
        .holder = holder,
        .anonymous = true,
        .ends_wall_ms = UINT64_MAX,
        .slot = slot,
        .heap_pos = NOT_IN_HEAP,
    };
    t->anonymous++;
    return s;
}

static void cancel_end(struct sessions *t, struct session *s)
{
    if (s->heap_pos != NOT_IN_HEAP)
        sl_heap_remove(&t->ends, s->heap_pos);
    s->heap_pos = NOT_IN_HEAP;
    s->ends_wall_ms = UINT64_MAX;
}

static void forget_name(struct sessions *t, struct session *s)
{
    cancel_end(t, s);
    t->held -= s->holder != 0;
    void *removed = sl_strmap_del(&t->by_client, s->client_id);
    SL_ASSERT(removed == s);
    drop_memory(s);
}

void sessions_remove(struct sessions *t, struct session *s)
{
    if (s->anonymous)
        t->anonymous--;
    else
        forget_name(t, s);
    uint32_t slot = s->slot;
    s->slot = 0;
    sl_slab_give(&t->slab, slot);
}

struct session *sessions_next(struct sessions *t, size_t *pos)
{
    return sl_strmap_next(&t->by_client, pos);
}

/* ---- holders and ends ---- */

void sessions_leave(struct sessions *t, struct session *s, uint64_t ends_wall_ms)
{
    cancel_end(t, s);
    t->held -= s->holder != 0;
    s->holder = 0;
    s->ends_wall_ms = ends_wall_ms;
    if (ends_wall_ms != UINT64_MAX)
        sl_heap_push(&t->ends, ends_wall_ms, s->slot);
}

void sessions_take(struct sessions *t, struct session *s, uint64_t holder)
{
    cancel_end(t, s);
    t->held += s->holder == 0;
    s->holder = holder;
}

struct session *sessions_expired(struct sessions *t, uint64_t wall_ms)
{
    const struct sl_heap_node *first = sl_heap_top(&t->ends);
    return first == NULL || first->key > wall_ms ? NULL : session_at(t, first->item);
}

uint64_t sessions_next_end(const struct sessions *t)
{
    const struct sl_heap_node *first = sl_heap_top(&t->ends);
    return first == NULL ? UINT64_MAX : first->key;
}

/* ---- QoS 2 ids ---- */

/* Where the id is, or where it would go. */
static uint32_t id_place(const struct session *s, uint16_t packet_id)
{
    uint32_t low = 0, high = s->n_ids;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->ids[middle] < packet_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct session *s, uint32_t place, uint16_t packet_id)
{
    return place < s->n_ids && s->ids[place] == packet_id;
}

bool session_has_id(const struct session *s, uint16_t packet_id)
{
    return is_at(s, id_place(s, packet_id), packet_id);
}

bool session_add_id(struct session *s, uint16_t packet_id)
{
    uint32_t place = id_place(s, packet_id);
    if (is_at(s, place, packet_id))
        return false;
    if (s->n_ids == s->cap_ids) {
        s->cap_ids = s->cap_ids > 0 ? s->cap_ids * 2 : IDS_FIRST;
        s->ids = sl_realloc(s->ids, s->cap_ids * sizeof *s->ids);
    }
    memmove(s->ids + place + 1, s->ids + place, (s->n_ids - place) * sizeof *s->ids);
    s->ids[place] = packet_id;
    s->n_ids++;
    return true;
}

bool session_drop_id(struct session *s, uint16_t packet_id)
{
    uint32_t place = id_place(s, packet_id);
    if (!is_at(s, place, packet_id))
        return false;
    s->n_ids--;
    memmove(s->ids + place, s->ids + place + 1, (s->n_ids - place) * sizeof *s->ids);
    if (s->n_ids == 0 && s->cap_ids > IDS_KEPT) {
        sl_free(s->ids);
        s->ids = NULL;
        s->cap_ids = 0;
    }
    return true;
}
