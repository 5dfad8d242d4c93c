/* From a topic to a set of queues: the tree answers, answers are remembered,
 * and equal answers are one allocation. */
#include "route/route.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "tree.h"

#define REMEMBERED       1024u /* topics; a power of two */
#define REMEMBERED_BYTES 256u  /* longer topics are matched each time */

/* One place per hash: a newer topic takes an older one's. */
struct memory {
    uint8_t topic[REMEMBERED_BYTES];
    size_t n;
    const struct route_set *set; /* NULL: nothing is remembered here */
};

struct route_table {
    struct tree tree;
    uint32_t added;
    struct sl_strmap sets;   /* by the bytes of `queues` */
    struct tree_ends found;  /* kept for its memory */
    struct memory *memories; /* NULL until something matched */
    const struct memory *last; /* where the last answer stands; NULL: nowhere */
};

static const struct route_set nothing;

struct route_table *route_new(void)
{
    struct route_table *t = SL_NEW(struct route_table);
    tree_init(&t->tree);
    return t;
}

static void forget_sets(struct route_table *t)
{
    sl_free(t->memories);
    t->memories = NULL;
    t->last = NULL;
    size_t pos = 0;
    struct route_set *s;
    while ((s = sl_strmap_next(&t->sets, &pos)) != NULL)
        sl_free(s);
    sl_strmap_fini(&t->sets);
}

void route_free(struct route_table *t)
{
    if (t == NULL)
        return;
    forget_sets(t);
    sl_free(t->found.v);
    tree_fini(&t->tree);
    sl_free(t);
}

int route_add(struct route_table *t, struct sl_bytes filter, uint32_t queue)
{
    if (!route_filter_valid(filter))
        return SL_EINVAL;
    forget_sets(t);
    tree_add(&t->tree, filter, (struct tree_end){t->added++, queue});
    return SL_OK;
}

uint64_t route_visited(const struct route_table *t)
{
    return t->tree.visited;
}

/* ---- sets ---- */

static int by_queue_then_order(const void *a, const void *b)
{
    const struct tree_end *x = a, *y = b;
    if (x->queue != y->queue)
        return x->queue < y->queue ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b)
{
    const struct tree_end *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

/* Each queue once, where it was added first. */
static void make_unique(struct tree_ends *ends)
{
    if (ends->n < 2)
        return;
    qsort(ends->v, ends->n, sizeof *ends->v, by_queue_then_order);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < ends->n; i++) {
        if (ends->v[i].queue != ends->v[kept - 1].queue)
            ends->v[kept++] = ends->v[i];
    }
    ends->n = kept;
    qsort(ends->v, ends->n, sizeof *ends->v, by_order);
}

static const struct route_set *intern(struct route_table *t, const struct tree_ends *ends)
{
    if (ends->n == 0)
        return &nothing;
    size_t bytes = ends->n * sizeof(uint32_t);
    struct route_set *made = sl_alloc(sizeof *made + bytes);
    made->n = ends->n;
    for (uint32_t i = 0; i < ends->n; i++)
        made->queues[i] = ends->v[i].queue;
    struct sl_bytes key = sl_bytes_of(made->queues, bytes);
    struct route_set *known = sl_strmap_get(&t->sets, key);
    if (known != NULL) {
        sl_free(made);
        return known;
    }
    sl_strmap_put(&t->sets, key, made);
    return made;
}

static const struct route_set *look_up(struct route_table *t, struct sl_bytes topic)
{
    t->found.n = 0;
    tree_match(&t->tree, topic, &t->found);
    make_unique(&t->found);
    return intern(t, &t->found);
}

/* ---- memory ---- */

/* A client publishes several times in one turn, nearly always to one topic. */
static bool is_last(const struct route_table *t, struct sl_bytes topic)
{
    return t->last != NULL && sl_bytes_eq(sl_bytes_of(t->last->topic, t->last->n), topic);
}

const struct route_set *route_match(struct route_table *t, struct sl_bytes topic)
{
    if (is_last(t, topic))
        return t->last->set;
    if (topic.n == 0 || topic.n > REMEMBERED_BYTES)
        return topic.n == 0 ? &nothing : look_up(t, topic);
    if (t->memories == NULL)
        t->memories = sl_calloc(REMEMBERED, sizeof *t->memories);
    struct memory *m = &t->memories[sl_hash(topic) & (REMEMBERED - 1)];
    t->last = m;
    if (m->set != NULL && sl_bytes_eq(sl_bytes_of(m->topic, m->n), topic))
        return m->set;
    m->set = look_up(t, topic);
    m->n = topic.n;
    memcpy(m->topic, topic.p, topic.n);
    return m->set;
}
