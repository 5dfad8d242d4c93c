/* Stores whose bodies inside entries are not as we write them: what is refused,
 * and what is read all the same. The story of store_kit.h is written, then one
 * value is changed through LMDB. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <string.h>

#include "core/alloc.h"
#include "store/entry.h"
#include "store_kit.h"

#define AT_RECORD_LENGTH 8u

/* Of the story's first batch: small, and of queue 1 alone. */
static const uint64_t k_id = (uint64_t)1 << 40 | 12;

static int setup(void **state)
{
    static struct kit_dir dir;
    kit_dir_make(&dir);
    struct store *st = kit_open("lmdb", dir.path);
    struct batch *b = batch_new();
    for (uint32_t i = 1; i <= 3; i++) {
        kit_scenario(i, b);
        kit_apply(st, b);
    }
    batch_free(b);
    store_close(st);
    *state = &dir;
    return 0;
}

static int teardown(void **state)
{
    kit_dir_remove(*state);
    return 0;
}

static void raw_put(struct kit_raw *r, MDB_dbi tree, MDB_val key, MDB_val value)
{
    assert_int_equal(mdb_put(r->txn, tree, &key, &value, 0), 0);
    kit_raw_close(r);
}

/* The entry tells that the record inside has `bytes` more than it has. */
static void lie(const struct kit_dir *dir, uint32_t bytes)
{
    struct kit_raw r = kit_raw_open(dir->path);
    MDB_dbi tree = kit_raw_tree(&r, "entries", 0);
    uint8_t place[12], value[1024];
    sl_wr_u32be(sl_wr_u64be(place, k_id), 1);
    MDB_val key = { sizeof place, place }, v;
    assert_int_equal(mdb_get(r.txn, tree, &key, &v), 0);
    assert_true(v.mv_size <= sizeof value);
    memcpy(value, v.mv_data, v.mv_size);
    uint32_t was = sl_ld_u32le(value + AT_RECORD_LENGTH);
    assert_int_equal(v.mv_size, STORE_ENTRY_FIXED + was);
    sl_wr_u32le(value + AT_RECORD_LENGTH, was + bytes);
    raw_put(&r, tree, key, (MDB_val){ v.mv_size, value });
}

static uint32_t record_bytes(void)
{
    struct message *m = kit_message(k_id, 200);
    uint32_t n = m->record_bytes;
    message_unref(m);
    return n;
}

static void a_body_inside_that_passes_its_entrys_end_is_damage(void **state)
{
    const struct kit_dir *dir = *state;
    lie(dir, 1);
    kit_load_refused(dir->path, "entry 000001000000000c of queue 1 is not readable");
}

static void a_body_inside_of_any_length_is_damage(void **state)
{
    const struct kit_dir *dir = *state;
    lie(dir, UINT32_MAX - record_bytes());
    kit_load_refused(dir->path, "entry 000001000000000c of queue 1 is not readable");
}

static void a_body_inside_without_bytes_is_no_body(void **state)
{
    const struct kit_dir *dir = *state;
    lie(dir, 0u - record_bytes());
    kit_load_refused(dir->path, "message 000001000000000c has an entry but no body");
}

static struct message *fetch(struct store *st)
{
    uint64_t id = k_id;
    struct message *m = NULL;
    uint32_t entry = 0;
    struct batch_fetch f = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(st, &f);
    assert_int_equal(f.err, SL_OK);
    return m;
}

/* Its rest is taken for the history, which ends at what cannot be read. */
static void a_body_inside_that_is_cut_is_fetched_as_nothing(void **state)
{
    const struct kit_dir *dir = *state;
    lie(dir, 0u - 10u);
    assert_int_equal(kit_load(dir->path, NULL), SL_OK);
    struct store *st = kit_open("lmdb", dir->path);
    struct batch *b = batch_new();
    assert_null(fetch(st));
    kit_update(b, k_id, 1, 1, "and it fails");
    kit_apply(st, b);
    assert_null(fetch(st));
    kit_settle(b, k_id, 1);
    kit_apply(st, b);
    batch_free(b);
    store_close(st);
    assert_int_equal(kit_load(dir->path, NULL), SL_OK);
}

static int settle_it(void *arg, uint32_t queue, const struct queue_restored *r)
{
    kit_settle(arg, r->id, queue);
    return SL_OK;
}

static int drop_it(void *arg, const struct store_copy *c)
{
    kit_copy_drop(arg, message_id(c->msg), c->session);
    batch_add(arg, BATCH_BODY_DROP)->id = message_id(c->msg);
    return SL_OK;
}

/* Nothing of ours makes such a store. It loses no message, and what is too much goes at a start. */
static void of_two_bodies_the_one_inside_counts(void **state)
{
    const struct kit_dir *dir = *state;
    struct kit_raw r = kit_raw_open(dir->path);
    uint64_t id = k_id;
    raw_put(&r, kit_raw_tree(&r, "bodies", MDB_INTEGERKEY), (MDB_val){ sizeof id, &id }, (MDB_val){ 4, (char[]){ "body" } });
    assert_int_equal(kit_load(dir->path, NULL), SL_OK);
    struct store *st = kit_open("lmdb", dir->path);
    struct message *m = fetch(st);
    assert_non_null(m);
    message_unref(m);
    struct batch *b = batch_new();
    struct store_loader l = { .arg = b, .entry = settle_it, .copy = drop_it };
    assert_int_equal(store_load(st, &l, NULL), SL_OK);
    kit_apply(st, b);
    batch_free(b);
    store_close(st);
    assert_int_equal(kit_load(dir->path, NULL), SL_OK);
    struct store_info info;
    st = kit_open("lmdb", dir->path);
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.entries + info.bodies, 0);
    store_close(st);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_inside_that_passes_its_entrys_end_is_damage),
        CASE(a_body_inside_of_any_length_is_damage),
        CASE(a_body_inside_without_bytes_is_no_body),
        CASE(a_body_inside_that_is_cut_is_fetched_as_nothing),
        CASE(of_two_bodies_the_one_inside_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
