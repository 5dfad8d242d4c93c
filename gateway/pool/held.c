#include "held.h"

#include "core/alloc.h"

#define PLACE_BITS 20u
#define PLACES_MAX (1u << PLACE_BITS)

void held_fini(struct held_table *t)
{
    for (uint32_t i = 0; i < t->n_places; i++)
        sl_buf_fini(&t->places[i].kept);
    sl_free(t->places);
    sl_free(t->recent);
    *t = (struct held_table){ 0 };
}

static struct held *at(const struct held_table *t, uint32_t place1)
{
    return place1 == 0 ? NULL : &t->places[place1 - 1];
}

static uint32_t place_of(const struct held_table *t, const struct held *h)
{
    return (uint32_t)(h - t->places) + 1;
}

static void grow(struct held_table *t)
{
    uint32_t n = t->n_places == 0 ? 16 : t->n_places * 2;
    SL_ASSERT(n <= PLACES_MAX); /* the configuration caps the prefetch far below */
    t->places = sl_realloc(t->places, n * sizeof *t->places);
    for (uint32_t i = n; i > t->n_places; i--) {
        t->places[i - 1] = (struct held){ .next = t->free };
        t->free = i;
    }
    t->n_places = n;
}

uint64_t held_tag(const struct held_table *t, const struct held *h)
{
    return h->uses << PLACE_BITS | (uint64_t)(h - t->places);
}

uint64_t held_add(struct held_table *t, uint64_t lease, uint64_t id)
{
    if (t->free == 0)
        grow(t);
    uint32_t place1 = t->free;
    struct held *h = at(t, place1);
    t->free = h->next;
    *h = (struct held){ .lease = lease, .id = id, .open = true, .uses = h->uses + 1, .prev = t->newest };
    if (t->newest != 0)
        at(t, t->newest)->next = place1;
    else
        t->oldest = place1;
    t->newest = place1;
    t->n_open++;
    return held_tag(t, h);
}

enum held_is held_by_tag(const struct held_table *t, uint64_t tag, struct held **out)
{
    uint64_t place = tag & (PLACES_MAX - 1), uses = tag >> PLACE_BITS;
    if (place >= t->n_places || uses == 0 || uses > t->places[place].uses)
        return HELD_NEVER;
    struct held *h = &t->places[place];
    if (uses < h->uses || !h->open)
        return HELD_STALE;
    *out = h;
    return HELD_OPEN;
}

enum held_is held_by_id(const struct held_table *t, uint64_t id, struct held **out)
{
    for (struct held *h = held_first(t); h != NULL; h = held_after(t, h)) {
        if (h->id == id) {
            *out = h;
            return HELD_OPEN;
        }
    }
    for (uint64_t i = 0; i < t->n_recent && i < HELD_RECENT; i++)
        if (t->recent[i] == id)
            return HELD_STALE;
    return HELD_NEVER;
}

static void remember(struct held_table *t, uint64_t id)
{
    if (t->recent == NULL)
        t->recent = sl_alloc(HELD_RECENT * sizeof *t->recent);
    t->recent[t->n_recent++ % HELD_RECENT] = id;
}

void held_drop(struct held_table *t, struct held *h)
{
    uint32_t place1 = place_of(t, h);
    SL_ASSERT(h->open);
    remember(t, h->id);
    if (h->prev != 0)
        at(t, h->prev)->next = h->next;
    else
        t->oldest = h->next;
    if (h->next != 0)
        at(t, h->next)->prev = h->prev;
    else
        t->newest = h->prev;
    sl_buf_fini(&h->kept);
    h->open = false;
    h->prev = 0;
    h->next = t->free;
    t->free = place1;
    t->n_open--;
}

struct held *held_first(const struct held_table *t)
{
    return at(t, t->oldest);
}

struct held *held_after(const struct held_table *t, const struct held *h)
{
    return at(t, h->next);
}
