/* What a consumer has not answered: a sorted array. What is over leaves a gap;
 * gaps at the ends go at once, those between when they are more than half. So a
 * number is found by halving, and an answer in any order costs little. */
#include "route/unacked.h"

#include <string.h>

#include "core/alloc.h"

#define CAP_FIRST 16u
#define CAP_KEPT  64u /* so much is kept by a ledger that is empty */

enum entry_state { GAP, CLAIMED, OPEN };

struct unacked_entry {
    uint64_t number;
    uint64_t lease;
    enum entry_state state;
};

void unacked_fini(struct unacked *u)
{
    sl_free(u->v);
    *u = (struct unacked){ .last = u->last };
}

/* ---- memory ---- */

static void set_cap(struct unacked *u, uint32_t cap)
{
    u->v = sl_realloc(u->v, cap * sizeof *u->v);
    u->cap = cap;
}

static void squeeze(struct unacked *u)
{
    uint32_t to = 0;
    for (uint32_t i = u->first; i < u->end; i++) {
        if (u->v[i].state != GAP)
            u->v[to++] = u->v[i];
    }
    SL_ASSERT(to == u->n);
    u->first = 0;
    u->end = to;
    if (u->cap > CAP_KEPT && u->cap / 4 > u->n)
        set_cap(u, u->n < CAP_KEPT / 2 ? CAP_KEPT : u->n * 2);
}

static void make_room(struct unacked *u)
{
    if (u->n < u->cap / 2) {
        squeeze(u);
        return;
    }
    SL_ASSERT(u->cap <= UINT32_MAX / 2);
    set_cap(u, u->cap == 0 ? CAP_FIRST : u->cap * 2);
}

static void leave_gap(struct unacked *u, struct unacked_entry *e)
{
    e->state = GAP;
    u->n--;
    while (u->first < u->end && u->v[u->first].state == GAP)
        u->first++;
    while (u->end > u->first && u->v[u->end - 1].state == GAP)
        u->end--;
    if (u->n < (u->end - u->first) / 2 || (u->cap > CAP_KEPT && u->n < u->cap / 8))
        squeeze(u);
}

/* ---- the ledger ---- */

uint64_t unacked_add(struct unacked *u, uint64_t lease)
{
    if (u->end == u->cap)
        make_room(u);
    u->v[u->end++] = (struct unacked_entry){ ++u->last, lease, OPEN };
    u->n++;
    return u->last;
}

/* Place of the first number that is not smaller. Numbers follow each other where nothing was
 * squeezed out, and nowhere is one farther from the first than its place. */
static uint32_t place_of(const struct unacked *u, uint64_t number)
{
    uint32_t from = u->first, to = u->end;
    if (from == to || number <= u->v[from].number)
        return from;
    uint64_t ahead = number - u->v[from].number;
    if (ahead < to - from) {
        if (u->v[from + ahead].number == number)
            return from + (uint32_t)ahead;
        to = from + (uint32_t)ahead;
    }
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (u->v[middle].number < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct unacked_entry *find(const struct unacked *u, uint64_t number)
{
    uint32_t i = place_of(u, number);
    return i < u->end && u->v[i].number == number && u->v[i].state != GAP ? &u->v[i] : NULL;
}

enum unacked_state unacked_state(const struct unacked *u, uint64_t number)
{
    if (number == 0 || number > u->last)
        return UNACKED_NEVER;
    const struct unacked_entry *e = find(u, number);
    if (e == NULL)
        return UNACKED_OVER;
    return e->state == CLAIMED ? UNACKED_CLAIMED : UNACKED_OPEN;
}

int unacked_lease(const struct unacked *u, uint64_t number, uint64_t *lease)
{
    const struct unacked_entry *e = find(u, number);
    if (e == NULL)
        return SL_ENOENT;
    *lease = e->lease;
    return SL_OK;
}

int unacked_take(struct unacked *u, uint64_t number, uint64_t *lease)
{
    struct unacked_entry *e = find(u, number);
    if (e == NULL)
        return SL_ENOENT;
    *lease = e->lease;
    leave_gap(u, e);
    return SL_OK;
}

static int change(struct unacked *u, uint64_t number, enum entry_state from, enum entry_state to)
{
    struct unacked_entry *e = find(u, number);
    if (e == NULL || e->state != from)
        return SL_ENOENT;
    e->state = to;
    return SL_OK;
}

int unacked_claim(struct unacked *u, uint64_t number)
{
    return change(u, number, OPEN, CLAIMED);
}

int unacked_unclaim(struct unacked *u, uint64_t number)
{
    return change(u, number, CLAIMED, OPEN);
}

uint64_t unacked_next(const struct unacked *u, uint64_t from)
{
    for (uint32_t i = place_of(u, from); i < u->end; i++) {
        if (u->v[i].state == OPEN)
            return u->v[i].number;
    }
    return 0;
}

size_t unacked_bytes(const struct unacked *u)
{
    return u->cap * sizeof *u->v;
}

void unacked_check(const struct unacked *u)
{
    uint32_t n = 0;
    SL_ASSERT(u->first <= u->end && u->end <= u->cap);
    SL_ASSERT(u->cap <= CAP_KEPT || u->cap / 8 <= u->n);
    SL_ASSERT(u->n >= (u->end - u->first) / 2);
    for (uint32_t i = u->first; i < u->end; i++) {
        n += u->v[i].state != GAP;
        SL_ASSERT(u->v[i].number <= u->last && (i == u->first || u->v[i - 1].number < u->v[i].number));
    }
    SL_ASSERT(n == u->n);
    SL_ASSERT(n == 0 || (u->v[u->first].state != GAP && u->v[u->end - 1].state != GAP));
}
