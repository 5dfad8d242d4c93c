/* Stores whose trees do not belong together, or hold what we do not write: what a
 * start refuses, what it drops, and what it passes over. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "store_kit.h"

struct fixture {
    struct kit_dir dir;
    char data[300];
};

static int setup(void **state)
{
    static struct fixture f;
    kit_dir_make(&f.dir);
    snprintf(f.data, sizeof f.data, "%s/data", f.dir.path);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kit_dir_remove(&f->dir);
    return 0;
}

static void make_store(const struct fixture *f)
{
    struct store *st = kit_open("lmdb", f->data);
    struct batch *b = batch_new();
    for (uint32_t i = 1; i <= 3; i++) {
        kit_scenario(i, b);
        kit_apply(st, b);
    }
    batch_free(b);
    store_close(st);
}

static void an_entry_without_a_body_is_damage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint64_t id = (uint64_t)1 << 40 | 13; /* of the first batch; too large to stand inside its entry */
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { sizeof id, &id };
    assert_int_equal(mdb_del(r.txn, kit_raw_tree(&r, "bodies", MDB_INTEGERKEY), &key, NULL), 0);
    kit_raw_close(&r);
    kit_load_refused(f->data, "message 000001000000000d has an entry but no body");
}

static void bodies_without_entries_are_dropped_at_start(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    MDB_dbi bodies = kit_raw_tree(&r, "bodies", MDB_INTEGERKEY);
    static const uint64_t alone[] = { 3, 4, (uint64_t)1 << 40 | 15, (uint64_t)9 << 40 };
    for (size_t i = 0; i < SL_COUNT(alone); i++) {
        uint64_t id = alone[i];
        MDB_val key = { sizeof id, &id }, value = { 4, (char[]){ "body" } };
        assert_int_equal(mdb_put(r.txn, bodies, &key, &value, 0), 0);
    }
    kit_raw_close(&r);
    struct sl_buf why = { 0 };
    assert_int_equal(kit_load(f->data, &why), SL_OK);
    struct store *st = kit_open("lmdb", f->data);
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.bodies, 3 + 2 + 3 + 2); /* too large to stand inside an entry; waiting for sessions; the same and in a queue; large jobs */
    char *content = kit_content(st), *expected = kit_scenario_content(3);
    assert_string_equal(content, expected);
    sl_free(content);
    sl_free(expected);
    store_close(st);
}

static void put_entry(const struct fixture *f, size_t key_bytes, const char *value, size_t n)
{
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { key_bytes, (char[]){ "\x7f" "aaaaaaaaaaaaaaa" } }, v = { n, (void *)(uintptr_t)value };
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, "entries", 0), &key, &v, 0), 0);
    kit_raw_close(&r);
}

static void an_unreadable_entry_is_damage(void **state)
{
    const struct fixture *f = *state;
    put_entry(f, 12, "short", 5);
    kit_load_refused(f->data, "is not readable");
}

static void an_entry_with_a_wrong_key_is_damage(void **state)
{
    const struct fixture *f = *state;
    put_entry(f, 9, "x", 1);
    kit_load_refused(f->data, "an entry's key has 9 bytes");
}

static void an_unreadable_body_is_fetched_as_nothing(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint64_t id = (uint64_t)1 << 40 | 13;
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { sizeof id, &id }, value = { 4, (char[]){ "body" } };
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, "bodies", MDB_INTEGERKEY), &key, &value, 0), 0);
    kit_raw_close(&r);
    struct store *st = kit_open("lmdb", f->data);
    struct message *m = NULL;
    uint32_t entry = 0;
    struct batch_fetch fetch = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(st, &fetch);
    assert_int_equal(fetch.err, SL_OK);
    assert_null(m);
    store_close(st);
}

static void a_copy_without_a_body_is_damage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint64_t id = (uint64_t)1 << 40 | 35; /* of the third batch, for sessions alone */
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { sizeof id, &id };
    assert_int_equal(mdb_del(r.txn, kit_raw_tree(&r, "bodies", MDB_INTEGERKEY), &key, NULL), 0);
    kit_raw_close(&r);
    kit_load_refused(f->data, "message 0000010000000023 has a copy but no body");
}

static void remove_data(const struct fixture *f)
{
    struct kit_dir data;
    snprintf(data.path, sizeof data.path, "%.255s", f->data);
    kit_dir_remove(&data);
}

/* A copy's key of `key_bytes`, for a session that is there. */
static void put_copy(const struct fixture *f, size_t key_bytes, const char *value, size_t n)
{
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    uint8_t place[17] = { 0 };
    sl_wr_u64be(sl_wr_u64be(place, (uint64_t)1 << 40 | 35), 2);
    MDB_val key = { key_bytes, place }, v = { n, (void *)(uintptr_t)value };
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, "copies", 0), &key, &v, 0), 0);
    kit_raw_close(&r);
}

static void an_unreadable_copy_is_damage(void **state)
{
    static const struct { const char *value; size_t n; } values[] = {
        { "\1\0\1\0\0\0\1\0\0\0\0", 11 }, /* one id, cut */
        { "\1\0\1\0\0\0\0", 7 },
        { "\2\0\1\0\0\0\0\0", 8 }, /* of another version */
        { "\1\2\1\0\0\0\0\0", 8 }, /* in a state that is none */
        { "\1\0\3\0\0\0\0\0", 8 }, /* of QoS 3 */
    };
    const struct fixture *f = *state;
    for (size_t i = 0; i < SL_COUNT(values); i++) {
        put_copy(f, 16, values[i].value, values[i].n);
        kit_load_refused(f->data, "the copy of 0000010000000023 for session 2 is not readable");
        remove_data(f);
    }
}

static void a_copy_with_a_wrong_key_is_damage(void **state)
{
    const struct fixture *f = *state;
    put_copy(f, 17, "\1\0\1\0\0\0\0", 8);
    kit_load_refused(f->data, "a copy's key has 17 bytes");
}

static void a_copy_with_a_newer_field_behind_is_read(void **state)
{
    const struct fixture *f = *state;
    put_copy(f, 16, "\1\0\1\0\0\0\0\0more", 12);
    assert_int_equal(kit_load(f->data, NULL), SL_OK);
}

static void keys_of_other_lengths_are_damage(void **state)
{
    static const struct { const char *tree, *words; } trees[] = {
        { "subscriptions", "a subscription's key has 5 bytes" },
        { "wills", "a will's key has 5 bytes" },
        { "retained", "a retained message's key has 5 bytes" },
        { "qos2", "a QoS 2 id's key has 5 bytes" },
        { "dedup", "a dedup key's key has 5 bytes" },
        { "queue_records", "a queue record's key has 5 bytes" },
    };
    const struct fixture *f = *state;
    for (size_t i = 0; i < SL_COUNT(trees); i++) {
        make_store(f);
        struct kit_raw r = kit_raw_open(f->data);
        MDB_val key = { 5, (char[]){ "\xff" "aaaa" } }, value = { 1, (char[]){ "x" } };
        assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, trees[i].tree, 0), &key, &value, 0), 0);
        kit_raw_close(&r);
        kit_load_refused(f->data, trees[i].words);
        remove_data(f);
    }
}

static void put_raw(const struct fixture *f, const char *tree, MDB_val key, MDB_val value)
{
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, tree, 0), &key, &value, 0), 0);
    kit_raw_close(&r);
}

static void a_dedup_key_that_is_cut_is_damage(void **state)
{
    const struct fixture *f = *state;
    MDB_val key = { 12, (char[]){ "\0\0\0\0\0\0\0\7\0\0\0\1" } }, value = { 23, (char[24]){ 0 } };
    put_raw(f, "dedup", key, value);
    kit_load_refused(f->data, "the dedup key of 0000000000000007 is not readable");
}

static void a_dedup_key_with_a_newer_field_behind_is_read(void **state)
{
    const struct fixture *f = *state;
    MDB_val key = { 12, (char[]){ "\0\0\0\0\0\0\0\7\0\0\0\1" } }, value = { 32, (char[32]){ 0 } };
    put_raw(f, "dedup", key, value);
    assert_int_equal(kit_load(f->data, NULL), SL_OK);
}

static void a_schedule_that_is_cut_or_stands_under_another_name_is_damage(void **state)
{
    static const struct { const char *value; size_t n; } values[] = {
        { "\1\0\3\0\1\2\3\4\5\6\7\10abc", 15 },
        { "\1\0\4\0\1\2\3\4\5\6\7\10abc", 15 },
        { "\2\0\1\0\1\2\3\4\5\6\7\10a", 13 },
        { "\1", 1 },
    };
    const struct fixture *f = *state;
    for (size_t i = 0; i < SL_COUNT(values); i++) {
        put_raw(f, "schedules", (MDB_val){ 1, (char[]){ "a" } }, (MDB_val){ values[i].n, (void *)(uintptr_t)values[i].value });
        kit_load_refused(f->data, "a schedule's record is not readable");
        remove_data(f);
    }
}

static int take_retained(void *arg, struct message *m)
{
    (void)arg;
    (void)m;
    return SL_OK;
}

static void an_unreadable_retained_message_is_damage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { 8, (char[]){ "\0\0\0\0\0\0\0\7" } }, value = { 4, (char[]){ "body" } };
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, "retained", 0), &key, &value, 0), 0);
    kit_raw_close(&r);
    struct store *st = kit_open("lmdb", f->data);
    struct store_loader l = { .retained = take_retained };
    struct sl_buf why = { 0 };
    assert_int_equal(store_load(st, &l, &why), SL_EFORMAT);
    assert_true(sl_bytes_is(sl_buf_view(&why), "the store is damaged: the retained message 0000000000000007 is not readable"));
    sl_buf_fini(&why);
    store_close(st);
}

/* Their session vanished without them: what they held goes too, and what a queue holds as well stays. */
static void copies_of_a_session_that_is_gone_are_dropped_with_their_bodies(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { 8, (char[]){ "\0\0\0\0\0\0\0\12" } }; /* session 10 */
    assert_int_equal(mdb_del(r.txn, kit_raw_tree(&r, "sessions", 0), &key, NULL), 0);
    kit_raw_close(&r);
    assert_int_equal(kit_load(f->data, NULL), SL_OK);
    struct store *st = kit_open("lmdb", f->data);
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.copies, 1);      /* of session 11 */
    assert_int_equal(info.bodies, 3 + 1 + 2 + 2); /* large ones, what 11 waits for, those in a queue as well, large jobs */
    assert_int_equal(info.subscriptions, 2);
    char *content = kit_content(st);
    assert_null(strstr(content, "session=10"));
    sl_free(content);
    store_close(st);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_entry_without_a_body_is_damage),
        CASE(bodies_without_entries_are_dropped_at_start),
        CASE(an_unreadable_entry_is_damage),
        CASE(an_entry_with_a_wrong_key_is_damage),
        CASE(an_unreadable_body_is_fetched_as_nothing),
        CASE(a_copy_without_a_body_is_damage),
        CASE(an_unreadable_copy_is_damage),
        CASE(a_copy_with_a_wrong_key_is_damage),
        CASE(a_copy_with_a_newer_field_behind_is_read),
        CASE(keys_of_other_lengths_are_damage),
        CASE(a_dedup_key_that_is_cut_is_damage),
        CASE(a_dedup_key_with_a_newer_field_behind_is_read),
        CASE(a_schedule_that_is_cut_or_stands_under_another_name_is_damage),
        CASE(an_unreadable_retained_message_is_damage),
        CASE(copies_of_a_session_that_is_gone_are_dropped_with_their_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
