/* Subscriptions come, change and go. */
#include "core/alloc.h"
#include "levels.h"
#include "subscriptions_internal.h"

/* Options in one word: the largest subscription id (section 3.8.2.1.2) leaves four bits. */
#define ID_MAX           UINT32_C(0x0fffffff)
#define QOS_SHIFT        28u
#define BIT_NO_LOCAL     (UINT32_C(1) << 30)
#define BIT_AS_PUBLISHED (UINT32_C(1) << 31)

#define AT_END UINT32_MAX /* of a session's subscriptions */

static uint32_t bits_of(const struct subscription_options *o)
{
    SL_ASSERT(o->id <= ID_MAX && o->qos <= 2);
    return o->id | (uint32_t)o->qos << QOS_SHIFT | (o->no_local ? BIT_NO_LOCAL : 0) |
           (o->retain_as_published ? BIT_AS_PUBLISHED : 0);
}

struct subscription_options options_of(uint32_t bits)
{
    return (struct subscription_options){
        .qos = bits >> QOS_SHIFT & 3u,
        .no_local = (bits & BIT_NO_LOCAL) != 0,
        .retain_as_published = (bits & BIT_AS_PUBLISHED) != 0,
        .id = bits & ID_MAX,
    };
}

/* ---- the table ---- */

struct subscriptions *subscriptions_new(void)
{
    struct subscriptions *t = SL_NEW(struct subscriptions);
    level_tree_init(&t->tree, false);
    sl_slab_init(&t->records, sizeof(struct record));
    sl_slab_init(&t->groups, sizeof(struct shared_group));
    return t;
}

void subscriptions_free(struct subscriptions *t)
{
    if (t == NULL)
        return;
    matching_fini(&t->m);
    groups_fini(t);
    sl_slab_fini(&t->records);
    level_tree_fini(&t->tree);
    sl_buf_fini(&t->text);
    sl_free(t);
}

uint64_t subscriptions_count(const struct subscriptions *t)
{
    return t->records.used;
}

uint64_t subscriptions_shared_count(const struct subscriptions *t)
{
    return t->n_shared;
}

size_t subscriptions_bytes(const struct subscriptions *t)
{
    return sizeof *t + level_tree_bytes(&t->tree) + sl_slab_bytes(&t->records) +
           sl_slab_bytes(&t->groups) + t->member_bytes + t->text.cap + matching_bytes(&t->m);
}

/* ---- a node's ring ---- */

static void join_ring(struct subscriptions *t, uint32_t node, uint32_t self)
{
    struct record *r = record_at(t, self);
    uint32_t first = level_at(&t->tree, node)->value;
    if (first == 0) {
        level_at(&t->tree, node)->value = self;
        r->next = self;
        r->prev = self;
        return;
    }
    struct record *head = record_at(t, first);
    r->next = first;
    r->prev = head->prev;
    record_at(t, head->prev)->next = self;
    head->prev = self;
}

static void leave_ring(struct subscriptions *t, uint32_t self)
{
    const struct record *r = record_at(t, self);
    struct level_node *node = level_at(&t->tree, r->owner);
    if (r->next == self) {
        node->value = 0;
        level_release(&t->tree, r->owner);
        return;
    }
    record_at(t, r->next)->prev = r->prev;
    record_at(t, r->prev)->next = r->next;
    if (node->value == self)
        node->value = r->next;
}

/* ---- a session's list ---- */

/* Highest number first. Restoring in the order of numbers finds the place at once. */
static void join_session(struct subscriptions *t, struct session *s, uint32_t self)
{
    struct record *r = record_at(t, self);
    uint32_t before = 0, after = s->first_subscription;
    while (after != 0 && record_at(t, after)->number > r->number) {
        before = after;
        after = record_at(t, after)->session_next;
    }
    r->session_prev = before;
    r->session_next = after;
    if (before != 0)
        record_at(t, before)->session_next = self;
    else
        s->first_subscription = self;
    if (after != 0)
        record_at(t, after)->session_prev = self;
    s->n_subscriptions++;
}

static void leave_session(struct subscriptions *t, struct session *s, uint32_t self)
{
    const struct record *r = record_at(t, self);
    if (r->session_prev != 0)
        record_at(t, r->session_prev)->session_next = r->session_next;
    else
        s->first_subscription = r->session_next;
    if (r->session_next != 0)
        record_at(t, r->session_next)->session_prev = r->session_prev;
    s->n_subscriptions--;
}

/* The highest that is free: what is new comes after all others. When the highest
 * of all is taken, the highest gap. */
static uint32_t free_number(const struct subscriptions *t, const struct session *s)
{
    uint32_t r = s->first_subscription;
    if (r == 0)
        return 1;
    uint32_t number = record_at(t, r)->number;
    if (number < UINT32_MAX)
        return number + 1;
    while (r != 0 && record_at(t, r)->number == number) {
        r = record_at(t, r)->session_next;
        number--;
    }
    SL_ASSERT(number > 0);
    return number;
}

/* ---- finding ---- */

/* The next of those that share an owner; 0 after the last. */
static uint32_t next_of_owner(const struct subscriptions *t, uint32_t self)
{
    const struct record *r = record_at(t, self);
    if ((r->owner & IN_GROUP) == 0)
        return r->next == level_at(&t->tree, r->owner)->value ? 0 : r->next;
    const struct shared_group *g = group_at(t, r->owner & ~IN_GROUP);
    return r->place + 1 < g->n ? g->records[r->place + 1] : 0;
}

static uint32_t first_of_owner(const struct subscriptions *t, uint32_t owner)
{
    if ((owner & IN_GROUP) == 0)
        return level_at(&t->tree, owner)->value;
    const struct shared_group *g = group_at(t, owner & ~IN_GROUP);
    return g->n > 0 ? g->records[0] : 0;
}

/* Looks at the session's and the owner's in turns: as long as the shorter of the
 * two lists is, whichever that is. */
static uint32_t find_record(const struct subscriptions *t, const struct session *s, uint32_t owner)
{
    uint32_t mine = s->first_subscription, theirs = first_of_owner(t, owner);
    while (mine != 0 && theirs != 0) {
        if (record_at(t, mine)->owner == owner)
            return mine;
        if (record_at(t, theirs)->session == s->slot)
            return theirs;
        mine = record_at(t, mine)->session_next;
        theirs = next_of_owner(t, theirs);
    }
    return 0;
}

/* ---- coming, changing, going ---- */

static void replace_options(struct subscriptions *t, uint32_t self, uint32_t bits)
{
    struct record *r = record_at(t, self);
    if (r->bits == bits)
        return;
    r->bits = bits;
    if (r->owner & IN_GROUP)
        group_set_options(t, self);
    else
        t->m.stale = true;
}

static uint32_t new_record(struct subscriptions *t, struct session *s, uint32_t owner,
                           uint32_t number, uint32_t bits)
{
    uint32_t self = sl_slab_take(&t->records);
    *record_at(t, self) = (struct record){
        .owner = owner,
        .session = s->slot,
        .number = number != 0 ? number : free_number(t, s),
        .bits = bits,
    };
    join_session(t, s, self);
    if (owner & IN_GROUP) {
        group_join(t, owner & ~IN_GROUP, self);
        t->n_shared++;
    } else {
        join_ring(t, owner, self);
        t->m.stale = true;
    }
    return self;
}

static uint32_t owner_of_new(struct subscriptions *t, struct sl_bytes group, struct sl_bytes filter)
{
    uint32_t node = level_find_or_new(&t->tree, filter);
    if (group.n == 0)
        return node;
    bool made;
    uint32_t g = group_find_or_new(t, node, group, &made);
    if (made)
        t->m.stale = true; /* who only joins a group changes no audience */
    return g | IN_GROUP;
}

uint32_t subscriptions_add(struct subscriptions *t, struct session *s, struct sl_bytes group,
                           struct sl_bytes filter, const struct subscription_options *o,
                           uint32_t number, bool *existed)
{
    uint32_t owner = owner_of_new(t, group, filter);
    uint32_t self = find_record(t, s, owner);
    *existed = self != 0;
    if (self != 0)
        replace_options(t, self, bits_of(o));
    else
        self = new_record(t, s, owner, number, bits_of(o));
    return record_at(t, self)->number;
}

static void remove_record(struct subscriptions *t, struct session *s, uint32_t self)
{
    leave_session(t, s, self);
    if (record_at(t, self)->owner & IN_GROUP) {
        t->n_shared--;
        if (group_leave(t, self))
            t->m.stale = true;
    } else {
        leave_ring(t, self);
        t->m.stale = true;
    }
    sl_slab_give(&t->records, self);
}

static uint32_t find_owner(const struct subscriptions *t, struct sl_bytes group,
                           struct sl_bytes filter)
{
    uint32_t node = level_find(&t->tree, filter);
    if (node == 0 || group.n == 0)
        return node;
    uint32_t g = group_find(t, node, group);
    return g == 0 ? 0 : g | IN_GROUP;
}

uint32_t subscriptions_remove(struct subscriptions *t, struct session *s, struct sl_bytes group,
                              struct sl_bytes filter)
{
    uint32_t owner = find_owner(t, group, filter);
    uint32_t self = owner == 0 ? 0 : find_record(t, s, owner);
    if (self == 0)
        return 0;
    uint32_t number = record_at(t, self)->number;
    remove_record(t, s, self);
    return number;
}

void subscriptions_remove_all(struct subscriptions *t, struct session *s)
{
    while (s->first_subscription != 0)
        remove_record(t, s, s->first_subscription);
}

/* ---- looking ---- */

static void describe(struct subscriptions *t, uint32_t self, struct subscription *out)
{
    const struct record *r = record_at(t, self);
    uint32_t node = r->owner;
    out->group = SL_BYTES_NONE;
    if (r->owner & IN_GROUP) {
        const struct shared_group *g = group_at(t, r->owner & ~IN_GROUP);
        out->group = level_text(level_at(&t->tree, g->node));
        node = group_filter_node(t, g);
    }
    sl_buf_clear(&t->text);
    level_path(&t->tree, node, &t->text);
    out->filter = sl_buf_view(&t->text);
    out->options = options_of(r->bits);
    out->number = r->number;
}

bool subscriptions_next(struct subscriptions *t, const struct session *s, uint32_t *pos,
                        struct subscription *out)
{
    uint32_t self = *pos == 0 ? s->first_subscription : *pos;
    if (self == 0 || self == AT_END)
        return false;
    describe(t, self, out);
    uint32_t next = record_at(t, self)->session_next;
    *pos = next != 0 ? next : AT_END;
    return true;
}

bool subscription_takes(struct sl_bytes filter, struct sl_bytes topic)
{
    struct levels f = levels_of(filter), l = levels_of(topic);
    struct sl_bytes want, level;
    bool hidden = topic.n > 0 && topic.p[0] == '$' && filter.p[0] != '$'; /* [MQTT-4.7.2-1] */
    while (levels_next(&f, &want)) {
        if (sl_bytes_is(want, "#"))
            return !hidden;
        if (!levels_next(&l, &level))
            return false;
        if (sl_bytes_is(want, "+") ? hidden : !sl_bytes_eq(want, level))
            return false;
        hidden = false;
    }
    return levels_ended(&l);
}
