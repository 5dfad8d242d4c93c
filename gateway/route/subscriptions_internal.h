/* What the files of subscriptions share. */
#ifndef ROUTE_SUBSCRIPTIONS_INTERNAL_H
#define ROUTE_SUBSCRIPTIONS_INTERNAL_H

#include "core/map.h"
#include "core/slab.h"
#include "level_tree.h"
#include "numbers.h"
#include "route/subscriptions.h"

/* One subscription. `owner` is the node where its filter ends, or with
 * IN_GROUP the group that it is a member of.
 *
 * An ordinary one stands in its node's ring, whose first is node.value: in the
 * order of subscription. In its session's list the highest number comes first. */
#define IN_GROUP UINT32_C(0x80000000)

struct record {
    uint32_t owner;
    uint32_t session; /* slot */
    uint32_t number;
    uint32_t bits; /* options, packed */
    uint32_t session_next, session_prev;
    union {
        struct {
            uint32_t next, prev; /* the ring */
        };
        uint32_t place; /* in group.members */
    };
};

/* Members stand in two parts: [0, turn) had their turn in this round. */
struct shared_group {
    uint32_t self;       /* its place in the slab of groups */
    uint32_t node;       /* of its name, under the `aside` child of its filter's node */
    uint32_t next, prev; /* groups of the same filter; the first is the value of `aside` */
    uint32_t n, cap, turn;
    uint32_t *records; /* of members, in the same places */
    struct shared_member *members;
};

struct memory;
struct kept;

/* What matching needs and remembers (audience.c). */
struct matching {
    struct numbers now, then; /* nodes that the topic has reached, level by level */
    struct numbers ends;      /* nodes of filters that take the topic */
    struct numbers groups;    /* of the audience that is being made */
    struct numbers places;    /* of a session in it */
    struct audience_member *members;
    uint32_t n_members, cap_members;
    uint64_t *ids; /* each under its subscription's number */
    uint32_t cap_ids;
    struct memory *memories; /* NULL until something matched */
    const struct memory *last;
    struct sl_strmap by_ends; /* audiences by the ends that they were made of */
    struct kept *kept;        /* all of them */
    size_t kept_bytes;
    uint64_t round; /* memories of earlier rounds are forgotten */
    uint64_t visited;
    bool stale; /* the table has changed */
};

struct subscriptions {
    struct level_tree tree;
    struct sl_slab records, groups;
    size_t member_bytes; /* memory of the groups' members */
    uint64_t n_shared;
    struct sl_buf text; /* of the subscription that is looked at */
    struct matching m;
};

static inline struct record *record_at(const struct subscriptions *t, uint32_t r)
{
    return sl_slab_at(&t->records, r);
}

static inline struct shared_group *group_at(const struct subscriptions *t, uint32_t g)
{
    return sl_slab_at(&t->groups, g);
}

struct subscription_options options_of(uint32_t bits);

/* ---- shared.c ---- */
uint32_t group_find(const struct subscriptions *t, uint32_t filter_node, struct sl_bytes name);
/* *made tells whether it is new. */
uint32_t group_find_or_new(struct subscriptions *t, uint32_t filter_node, struct sl_bytes name,
                           bool *made);
void group_join(struct subscriptions *t, uint32_t group, uint32_t record);
/* True: it was the last one and the group is gone. */
bool group_leave(struct subscriptions *t, uint32_t record);
/* It has other options now. */
void group_set_options(struct subscriptions *t, uint32_t record);
uint32_t group_filter_node(const struct subscriptions *t, const struct shared_group *g);

void groups_fini(struct subscriptions *t);

/* ---- audience.c ---- */
void matching_fini(struct matching *m);
size_t matching_bytes(const struct matching *m);

#endif
