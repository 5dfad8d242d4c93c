/* Shared subscriptions: who of a group has the next message (section 4.8.2). */
#include "core/alloc.h"
#include "subscriptions_internal.h"

/* ---- groups of a filter ---- */

uint32_t group_find(const struct subscriptions *t, uint32_t filter_node, struct sl_bytes name)
{
    uint32_t aside = level_child(&t->tree, filter_node, &t->tree.aside);
    if (aside == 0)
        return 0;
    struct level_key key = level_key_of(name);
    uint32_t node = level_child(&t->tree, aside, &key);
    return node == 0 ? 0 : level_at(&t->tree, node)->value;
}

static void link_group(struct subscriptions *t, struct shared_group *g, struct level_node *aside)
{
    g->next = aside->value;
    if (g->next != 0)
        group_at(t, g->next)->prev = g->self;
    aside->value = g->self;
}

uint32_t group_find_or_new(struct subscriptions *t, uint32_t filter_node, struct sl_bytes name,
                           bool *made)
{
    uint32_t aside = level_child_or_new(&t->tree, filter_node, &t->tree.aside);
    struct level_key key = level_key_of(name);
    uint32_t node = level_child_or_new(&t->tree, aside, &key);
    *made = level_at(&t->tree, node)->value == 0;
    if (*made) {
        uint32_t self = sl_slab_take(&t->groups);
        struct shared_group *g = group_at(t, self);
        *g = (struct shared_group){ .self = self, .node = node };
        link_group(t, g, level_at(&t->tree, aside));
        level_at(&t->tree, node)->value = self;
    }
    return level_at(&t->tree, node)->value;
}

uint32_t group_filter_node(const struct subscriptions *t, const struct shared_group *g)
{
    uint32_t aside = level_at(&t->tree, g->node)->parent;
    return level_at(&t->tree, aside)->parent;
}

static void remove_group(struct subscriptions *t, struct shared_group *g)
{
    uint32_t node = g->node;
    struct level_node *aside = level_at(&t->tree, level_at(&t->tree, node)->parent);
    if (g->prev != 0)
        group_at(t, g->prev)->next = g->next;
    else
        aside->value = g->next;
    if (g->next != 0)
        group_at(t, g->next)->prev = g->prev;
    t->member_bytes -= g->cap * (sizeof *g->members + sizeof *g->records);
    sl_free(g->members);
    sl_free(g->records);
    sl_slab_give(&t->groups, g->self);
    level_at(&t->tree, node)->value = 0;
    level_release(&t->tree, node);
}

static void free_members(const struct subscriptions *t, uint32_t filter_node)
{
    uint32_t aside = level_child(&t->tree, filter_node, &t->tree.aside);
    for (uint32_t g = level_at(&t->tree, aside)->value; g != 0; g = group_at(t, g)->next) {
        sl_free(group_at(t, g)->members);
        sl_free(group_at(t, g)->records);
    }
}

void groups_fini(struct subscriptions *t)
{
    for (uint32_t i = 0; i < t->tree.n_buckets && t->groups.used > 0; i++)
        for (uint32_t node = t->tree.buckets[i]; node != 0; node = level_at(&t->tree, node)->chain)
            if (level_at(&t->tree, node)->flags & LEVEL_ASIDE)
                free_members(t, node);
    sl_slab_fini(&t->groups);
}

/* ---- members ---- */

static void make_room(struct subscriptions *t, struct shared_group *g)
{
    if (g->n < g->cap)
        return;
    uint32_t more = g->cap > 2 ? g->cap / 2 : 2;
    g->cap += more;
    g->members = sl_realloc(g->members, g->cap * sizeof *g->members);
    g->records = sl_realloc(g->records, g->cap * sizeof *g->records);
    t->member_bytes += more * (sizeof *g->members + sizeof *g->records);
}

/* A new one has not had his turn in this round. */
void group_join(struct subscriptions *t, uint32_t group, uint32_t record)
{
    struct shared_group *g = group_at(t, group);
    struct record *r = record_at(t, record);
    make_room(t, g);
    g->members[g->n] = (struct shared_member){ r->session, options_of(r->bits) };
    g->records[g->n] = record;
    r->place = g->n++;
}

static void move_member(struct subscriptions *t, struct shared_group *g, uint32_t from, uint32_t to)
{
    g->members[to] = g->members[from];
    g->records[to] = g->records[from];
    record_at(t, g->records[to])->place = to;
}

/* Others step into the gap so that nobody changes from one part to the other:
 * nobody loses his turn or has two. */
bool group_leave(struct subscriptions *t, uint32_t record)
{
    struct record *r = record_at(t, record);
    struct shared_group *g = group_at(t, r->owner & ~IN_GROUP);
    uint32_t gap = r->place, last = g->n - 1;
    if (gap < g->turn) {
        g->turn--;
        move_member(t, g, g->turn, gap);
        gap = g->turn;
    }
    move_member(t, g, last, gap);
    g->n--;
    if (g->turn == g->n)
        g->turn = 0; /* the round is over */
    if (g->n > 0)
        return false;
    remove_group(t, g);
    return true;
}

void group_set_options(struct subscriptions *t, uint32_t record)
{
    const struct record *r = record_at(t, record);
    group_at(t, r->owner & ~IN_GROUP)->members[r->place].options = options_of(r->bits);
}

uint32_t shared_group_count(const struct shared_group *g)
{
    return g->n;
}

static uint32_t place_of(const struct shared_group *g, uint32_t i)
{
    SL_ASSERT(i < g->n);
    uint64_t place = (uint64_t)g->turn + i;
    return (uint32_t)(place < g->n ? place : place - g->n);
}

const struct shared_member *shared_group_member(const struct shared_group *g, uint32_t i)
{
    return &g->members[place_of(g, i)];
}

uint32_t shared_group_subscription(const struct subscriptions *t, const struct shared_group *g, uint32_t i)
{
    return record_at(t, g->records[place_of(g, i)])->number;
}

void shared_group_chose(struct shared_group *g, uint32_t i)
{
    g->turn = place_of(g, i) + 1;
    if (g->turn == g->n)
        g->turn = 0;
}

struct shared_group *subscriptions_group(struct subscriptions *t, struct sl_bytes group,
                                         struct sl_bytes filter)
{
    uint32_t node = level_find(&t->tree, filter);
    uint32_t g = node == 0 ? 0 : group_find(t, node, group);
    return g == 0 ? NULL : group_at(t, g);
}
