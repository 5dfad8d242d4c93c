/* Bodies and those who hold them belong together. A body stands inside an entry,
 * or every entry and copy names it by its id and no body lives without one of them;
 * batches keep that so, and it is proved cheaply by counting: as many bodies as
 * different ids among entries and copies, but for those of messages that have
 * their body inside. Only when the counts differ are the trees walked side by side. */
#include "lmdb_store.h"

#include <inttypes.h>

#include "core/alloc.h"
#include "core/log.h"

#define DROP_AT_ONCE 4096u

/* ---- leftovers ---- */

void lmdb_leftovers_add(struct lmdb_leftovers *o, enum lmdb_tree tree, struct sl_bytes key)
{
    SL_ASSERT(key.n <= LMDB_KEY_MAX);
    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 256 : o->cap * 2;
        o->all = sl_realloc(o->all, o->cap * sizeof *o->all);
    }
    struct lmdb_leftover *one = &o->all[o->n++];
    *one = (struct lmdb_leftover){ .tree = (uint8_t)tree, .n = (uint8_t)key.n };
    memcpy(one->key, key.p, key.n);
    o->of_tree[tree]++;
}

static int drop_some(struct lmdb_store *l, struct lmdb_leftover *some, size_t n)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        return lmdb_error(rc, "begin");
    for (size_t i = 0; i < n && rc == 0; i++) {
        MDB_val key = { some[i].n, some[i].key };
        rc = mdb_del(txn, l->tree[some[i].tree], &key, NULL);
    }
    if (rc == 0)
        return lmdb_error(mdb_txn_commit(txn), "drop leftovers");
    mdb_txn_abort(txn);
    return lmdb_error(rc, "drop leftovers");
}

static void tell_leftovers(const struct lmdb_leftovers *o)
{
    uint64_t bodies = o->of_tree[TREE_BODIES];
    if (bodies > 0)
        sl_log(SL_WARN, "store_bodies_dropped", "count=%" PRIu64 " reason=\"nobody holds them\"", bodies);
    if (o->n > bodies)
        sl_log(SL_WARN, "store_leftovers_dropped",
               "copies=%" PRIu64 " subscriptions=%" PRIu64 " wills=%" PRIu64 " qos2_ids=%" PRIu64 " reason=\"their sessions are gone\"",
               o->of_tree[TREE_COPIES], o->of_tree[TREE_SUBSCRIPTIONS], o->of_tree[TREE_WILLS], o->of_tree[TREE_QOS2]);
}

int lmdb_leftovers_drop(struct lmdb_store *l, const struct lmdb_leftovers *o)
{
    int err = SL_OK;
    l->space.counted = false;
    for (size_t i = 0; i < o->n && err == SL_OK; i += DROP_AT_ONCE)
        err = drop_some(l, o->all + i, o->n - i < DROP_AT_ONCE ? o->n - i : DROP_AT_ONCE);
    tell_leftovers(o);
    return err == SL_ENOSPC ? SL_OK : err;
}

/* ---- side by side ---- */

#define AT_END UINT64_MAX

/* Steps through the different ids of one tree, ascending. */
struct steps {
    MDB_cursor *c;
    uint64_t id; /* no message has the id 0 */
    int rc;      /* MDB_NOTFOUND when all went well to the end */
};

/* Bodies have a native key, the others a big-endian one, and several of those may
 * name the same body. Copies of sessions that are gone hold nothing. */
static bool step_counts(const struct lmdb_loading *s, const MDB_val *key)
{
    return key->mv_size != LMDB_COPY_KEY || sl_idmap_get(&s->sessions, lmdb_read_u64be((const uint8_t *)key->mv_data + 8)) != NULL;
}

static uint64_t id_of(const MDB_val *key)
{
    uint64_t id;
    if (key->mv_size != sizeof id)
        return lmdb_read_u64be(key->mv_data);
    memcpy(&id, key->mv_data, sizeof id);
    return id;
}

static void step(const struct lmdb_loading *s, struct steps *t)
{
    MDB_val key;
    do {
        t->rc = mdb_cursor_get(t->c, &key, NULL, MDB_NEXT);
    } while (t->rc == 0 && (id_of(&key) == t->id || !step_counts(s, &key)));
    t->id = t->rc == 0 ? id_of(&key) : AT_END;
}

static void step_past(const struct lmdb_loading *s, struct steps *t, uint64_t id)
{
    if (t->id == id)
        step(s, t);
}

static int must_stand_inside(struct lmdb_loading *s, uint64_t id, const char *holder)
{
    struct sl_bytes record;
    if (lmdb_find_inside(s->holders, id, &record, NULL) == 0)
        return SL_OK;
    return store_because(s->why, SL_EFORMAT, "the store is damaged: message %016" PRIx64 " has %s but no body", id, holder);
}

static int compare(struct lmdb_loading *s, struct steps *bodies, struct steps *entries, struct steps *copies)
{
    for (;;) {
        uint64_t held = entries->id < copies->id ? entries->id : copies->id, body = bodies->id;
        uint64_t least = held < body ? held : body;
        if (least == AT_END)
            return SL_OK;
        int err = held < body ? must_stand_inside(s, held, entries->id == held ? "an entry" : "a copy") : SL_OK;
        if (err != SL_OK)
            return err;
        if (body < held)
            lmdb_leftovers_add(&s->leftovers, TREE_BODIES, sl_bytes_of(&body, sizeof body));
        step_past(s, bodies, least);
        step_past(s, entries, least);
        step_past(s, copies, least);
    }
}

static int walk_side_by_side(struct lmdb_loading *s)
{
    static const enum lmdb_tree trees[] = { TREE_BODIES, TREE_ENTRIES, TREE_COPIES };
    struct steps steps[SL_COUNT(trees)] = { 0 };
    int err = SL_OK;
    for (size_t i = 0; i < SL_COUNT(trees) && err == SL_OK; i++) {
        err = lmdb_error(mdb_cursor_open(s->txn, s->l->tree[trees[i]], &steps[i].c), "open a cursor");
        if (err == SL_OK)
            step(s, &steps[i]);
    }
    if (err == SL_OK)
        err = compare(s, &steps[0], &steps[1], &steps[2]);
    for (size_t i = 0; i < SL_COUNT(trees); i++) {
        if (steps[i].c != NULL)
            mdb_cursor_close(steps[i].c);
        if (err == SL_OK && steps[i].rc != MDB_NOTFOUND)
            err = store_because(s->why, SL_EFORMAT, "the store is damaged: %s", mdb_strerror(steps[i].rc));
    }
    return err;
}

int lmdb_check_holders(struct lmdb_loading *s)
{
    MDB_stat bodies;
    int rc = mdb_stat(s->txn, s->l->tree[TREE_BODIES], &bodies);
    if (rc != 0)
        return lmdb_error(rc, "stat");
    return bodies.ms_entries == s->ids - s->inside ? SL_OK : walk_side_by_side(s);
}
