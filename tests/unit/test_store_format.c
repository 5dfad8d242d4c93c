/* What store_open refuses, in which words, and that it leaves it untouched. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Opening fails with `err`, and the reason contains `words`. */
static void assert_refused(const struct fixture *f, int err, const char *words)
{
    struct store_config cfg = kit_config("lmdb", f->data);
    struct store *st = NULL;
    struct sl_buf why = { 0 };
    int got = store_open(&cfg, &st, &why);
    char *text = sl_calloc(1, sl_buf_len(&why) + 1);
    if (why.p != NULL)
        memcpy(text, why.p + why.start, sl_buf_len(&why));
    if (got != err || strstr(text, words) == NULL)
        fail_msg("%s \"%s\", wanted %s \"%s\"", sl_err_name(got), text, sl_err_name(err), words);
    assert_null(st);
    sl_free(text);
    sl_buf_fini(&why);
}

static const char *data_file(const struct fixture *f)
{
    return kit_path(f->data, "store/data.mdb");
}

static void overwrite(const struct fixture *f, off_t at, const void *p, size_t n)
{
    int fd = open(data_file(f), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, at), n);
    close(fd);
}

static uint64_t digest_of(const char *path)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    uint64_t h = 1469598103934665603u;
    uint64_t words[8192];
    ssize_t n;
    while ((n = read(fd, words, sizeof words)) > 0) {
        for (ssize_t i = 0; i < n / 8; i++)
            h = (h ^ words[i]) * 1099511628211u;
    }
    close(fd);
    return h;
}

static void assert_refused_untouched(const struct fixture *f, int err, const char *words)
{
    uint64_t before = digest_of(data_file(f));
    assert_refused(f, err, words);
    assert_true(digest_of(data_file(f)) == before);
}

/* ---- the good cases ---- */

static void a_missing_directory_is_made_for_its_owner_alone(void **state)
{
    const struct fixture *f = *state;
    store_close(kit_open("lmdb", f->data));
    struct stat st;
    assert_int_equal(stat(f->data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(data_file(f), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_boot_number_rises_with_every_open(void **state)
{
    const struct fixture *f = *state;
    for (uint64_t boot = 1; boot <= 3; boot++) {
        struct store *st = kit_open("lmdb", f->data);
        assert_int_equal(store_boot(st), boot);
        store_close(st);
    }
}

static void a_creation_that_was_cut_off_begins_anew(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(mkdir(f->data, 0700), 0);
    assert_int_equal(mkdir(kit_path(f->data, "store.new"), 0700), 0);
    int fd = open(kit_path(f->data, "store.new/data.mdb"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    make_store(f);
    struct stat st;
    assert_int_not_equal(stat(kit_path(f->data, "store.new"), &st), 0);
}

static void a_second_opener_is_told_the_holder(void **state)
{
    const struct fixture *f = *state;
    struct store *st = kit_open("lmdb", f->data);
    char words[64];
    snprintf(words, sizeof words, "in use by process %ld", (long)getpid());
    assert_refused(f, SL_ELOCKED, words);
    store_close(st);
    store_close(kit_open("lmdb", f->data));
}

/* ---- damage and foreign files ---- */

static void a_file_in_place_of_the_data_directory(void **state)
{
    const struct fixture *f = *state;
    close(open(f->data, O_WRONLY | O_CREAT, 0600));
    assert_refused(f, SL_EFORMAT, "is not a directory");
}

static void a_file_in_place_of_the_store(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(mkdir(f->data, 0700), 0);
    close(open(kit_path(f->data, "store"), O_WRONLY | O_CREAT, 0600));
    assert_refused(f, SL_EFORMAT, "is not a directory, so it is not a sluice store");
}

static void a_store_without_its_file_is_not_begun_anew(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    assert_int_equal(unlink(data_file(f)), 0);
    assert_refused(f, SL_EFORMAT, "has no data.mdb");
}

static void an_empty_file_is_not_begun_anew(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    assert_int_equal(truncate(data_file(f), 0), 0);
    assert_refused_untouched(f, SL_EFORMAT, "ends after 0 bytes");
}

static void a_truncated_file(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    static const off_t lengths[] = { 100, 4096, 4200, 8192, 5 * 4096 + 17 };
    for (size_t i = SL_COUNT(lengths); i-- > 0;) {
        assert_int_equal(truncate(data_file(f), lengths[i]), 0);
        assert_refused_untouched(f, SL_EFORMAT, lengths[i] >= 8192 ? "is cut short" : "is damaged");
    }
}

static void garbage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    char noise[8192];
    memset(noise, 'x', sizeof noise);
    overwrite(f, 0, noise, sizeof noise);
    assert_refused_untouched(f, SL_EFORMAT, "is not a sluice store");
}

static void a_damaged_second_meta_page(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    overwrite(f, 4096 + 16, "xxxx", 4);
    assert_refused_untouched(f, SL_EFORMAT, "second page");
}

static void another_page_size(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint32_t pages = 16384;
    overwrite(f, 16 + 24, &pages, sizeof pages);
    assert_refused_untouched(f, SL_EFORMAT, "has pages of 16384 bytes, this machine has");
}

static void another_word_size(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint32_t none = 0, magic = 0xBEEFC0DE;
    overwrite(f, 16, &none, sizeof none);
    overwrite(f, 12, &magic, sizeof magic);
    assert_refused_untouched(f, SL_EFORMAT, "32-bit machine");
}

static void another_byte_order(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    uint32_t magic = 0xDEC0EFBE;
    overwrite(f, 16, &magic, sizeof magic);
    assert_refused_untouched(f, SL_EFORMAT, "another byte order");
}

/* ---- through LMDB ---- */

static void set_format(const struct fixture *f, uint32_t major, uint32_t minor)
{
    struct kit_raw r = kit_raw_open(f->data);
    uint8_t number[8];
    sl_wr_u32le(sl_wr_u32le(number, major), minor);
    MDB_val key = { 6, (char[]){ "format" } }, value = { sizeof number, number };
    assert_int_equal(mdb_put(r.txn, kit_raw_tree(&r, "meta", 0), &key, &value, 0), 0);
    kit_raw_close(&r);
}

static void assert_stored_format(const struct fixture *f, uint32_t major, uint32_t minor)
{
    struct kit_raw r = kit_raw_open(f->data);
    uint8_t number[8];
    sl_wr_u32le(sl_wr_u32le(number, major), minor);
    MDB_val key = { 6, (char[]){ "format" } }, value;
    assert_int_equal(mdb_get(r.txn, kit_raw_tree(&r, "meta", 0), &key, &value), 0);
    assert_int_equal(value.mv_size, sizeof number);
    assert_memory_equal(value.mv_data, number, sizeof number);
    kit_raw_close(&r);
}

static void a_newer_major_is_refused_and_named(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    set_format(f, 5, 5);
    assert_refused_untouched(f, SL_EFORMAT, "format 5.5, written by a newer sluice");
}

static void a_newer_minor_opens_and_keeps_its_number(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    set_format(f, 4, 9);
    struct store *st = kit_open("lmdb", f->data);
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.format_major, 4);
    assert_int_equal(info.format_minor, 9);
    store_close(st);
}

static void a_major_that_never_was_is_refused(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    set_format(f, 0, 3);
    assert_refused_untouched(f, SL_EFORMAT, "format 0.3");
}

static void a_foreign_lmdb_file_is_left_alone(void **state)
{
    const struct fixture *f = *state;
    assert_int_equal(mkdir(f->data, 0700), 0);
    assert_int_equal(mkdir(kit_path(f->data, "store"), 0700), 0);
    struct kit_raw r = kit_raw_open(f->data);
    (void)kit_raw_tree(&r, "somebody-elses", MDB_CREATE);
    kit_raw_close(&r);
    assert_refused_untouched(f, SL_EFORMAT, "it has no tree \"meta\"");
}

static void a_tree_that_is_gone_is_damage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    assert_int_equal(mdb_drop(r.txn, kit_raw_tree(&r, "bodies", MDB_INTEGERKEY), 1), 0);
    kit_raw_close(&r);
    assert_refused_untouched(f, SL_EFORMAT, "it has no tree \"bodies\"");
}

static void copy_file(const char *from, const char *to)
{
    char buf[65536];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Opens a copy of a small data directory of a format; such directories stay for ever. */
static struct store *open_released(const struct fixture *f, const char *data)
{
    if (sysconf(_SC_PAGESIZE) != 4096)
        skip(); /* LMDB's files are of their machine's kind */
    assert_int_equal(mkdir(f->data, 0700), 0);
    assert_int_equal(mkdir(kit_path(f->data, "store"), 0700), 0);
    copy_file(data, data_file(f));
    struct store *st = kit_open("lmdb", f->data);
    assert_int_equal(store_boot(st), 2);
    return st;
}

static void assert_content_of(struct store *st, const char *file)
{
    char *content = kit_content(st);
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    char expected[8192];
    size_t n = fread(expected, 1, sizeof expected - 1, in);
    expected[n] = '\0';
    fclose(in);
    assert_string_equal(content, expected);
    sl_free(content);
}

static void format_2_0_is_read(void **state)
{
    struct store *st = open_released(*state, STORE_DATA "/store-2.0/data.mdb");
    assert_content_of(st, STORE_DATA "/store-2.0/content.txt");
    store_close(st);
}

static void format_3_0_is_read(void **state)
{
    struct store *st = open_released(*state, STORE_DATA "/store-3.0/data.mdb");
    assert_content_of(st, STORE_DATA "/store-3.0/content.txt");
    store_close(st);
}

/* With the trees that it lacks; an older program would not find its way in it. */
static void format_2_0_is_counted_up_and_takes_in_what_is_new(void **state)
{
    const struct fixture *f = *state;
    struct store *st = open_released(f, STORE_DATA "/store-2.0/data.mdb");
    struct batch *b = batch_new();
    kit_body(b, (uint64_t)2 << 40, 10);
    kit_copy(b, (uint64_t)2 << 40, 2, 1, 1);
    kit_subscription(b, 2, 1, "a/#");
    kit_will(b, 2, 10);
    kit_retain(b, (uint64_t)2 << 40 | 1, 10);
    kit_apply(st, b);
    batch_free(b);
    store_close(st);
    assert_stored_format(f, 4, 0); /* what an older program looks at */
    st = kit_open("lmdb", f->data);
    char *content = kit_content(st);
    assert_non_null(strstr(content, "subscription 2 1 qos=1 id=7 group= filter=a/#\nwill 2 delay=5 body=80\n"
                                    "copy 20000000000 session=2 packet=1 state=0 flags=1 entries=0 body=80 ids=200\n"
                                    "retained 20000000001 body=80\n"));
    sl_free(content);
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.format_major, 4);
    store_close(st);
}

/* And the hash key, which stays: what is stored by it is found again. */
static void format_3_0_is_counted_up_and_takes_in_what_is_new(void **state)
{
    const struct fixture *f = *state;
    struct store *st = open_released(f, STORE_DATA "/store-3.0/data.mdb");
    struct sl_hash_key drawn = store_hash_key(st);
    assert_true(drawn.k0 != 0 || drawn.k1 != 0);
    struct batch *b = batch_new();
    kit_enqueue(b, (uint64_t)2 << 40, 1, 10);
    kit_order(b, 77);
    kit_dedup(b, (uint64_t)2 << 40, 1, 5);
    kit_queue_record(b, 1, true, "client");
    kit_schedule(b, "nightly", 9);
    kit_apply(st, b);
    batch_free(b);
    store_close(st);
    assert_stored_format(f, 4, 0);
    st = kit_open("lmdb", f->data);
    struct sl_hash_key kept = store_hash_key(st);
    assert_memory_equal(&kept, &drawn, sizeof kept);
    char *content = kit_content(st);
    assert_non_null(strstr(content, "record 1 paused order=client\nschedule nightly done=9\n"));
    assert_non_null(strstr(content, "value=40 order=4d\ndedup 20000000000 queue=1 seen=105 key=05050505050505050505050505050505\n"));
    sl_free(content);
    store_close(st);
}

static void format_4_0_is_read(void **state)
{
    struct store *st = open_released(*state, STORE_DATA "/store-4.0/data.mdb");
    assert_content_of(st, STORE_DATA "/store-4.0/content.txt");
    struct sl_hash_key key = store_hash_key(st);
    assert_int_equal(key.k0, UINT64_C(0x3acbe01bbe1e8470));
    assert_int_equal(key.k1, UINT64_C(0x6ce428336643b740));
    store_close(st);
}

static void the_hash_key_is_the_store_s_own_and_stays(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct store *st = kit_open("lmdb", f->data), *other = kit_open("memory", "");
    struct sl_hash_key first = store_hash_key(st), another = store_hash_key(other);
    assert_memory_not_equal(&first, &another, sizeof first);
    store_close(st);
    store_close(other);
    st = kit_open("lmdb", f->data);
    struct sl_hash_key again = store_hash_key(st);
    assert_memory_equal(&first, &again, sizeof first);
    store_close(st);
}

static void a_store_without_its_hash_key_is_damage(void **state)
{
    const struct fixture *f = *state;
    make_store(f);
    struct kit_raw r = kit_raw_open(f->data);
    MDB_val key = { 4, (char[]){ "hash" } };
    assert_int_equal(mdb_del(r.txn, kit_raw_tree(&r, "meta", 0), &key, NULL), 0);
    kit_raw_close(&r);
    assert_refused_untouched(f, SL_EFORMAT, "it has no hash key");
}

/* Dead before format 4: of its last failure. */
static void who_died_before_format_4_has_the_cause_of_its_last_failure(void **state)
{
    const struct fixture *f = *state;
    struct store *st = kit_open("lmdb", f->data);
    struct batch *b = batch_new();
    kit_enqueue(b, 1, 1, 10);
    kit_update(b, 1, 1, 1, "");
    kit_update(b, 1, 1, 2, "");
    b->ops[3].state = QUEUE_DEAD;
    b->ops[3].cause = QUEUE_CAUSE_NONE; /* as the bytes were */
    kit_enqueue(b, 2, 1, 10);
    kit_dead(b, 2, 1, QUEUE_CAUSE_NONE);
    kit_apply(st, b);
    batch_free(b);
    char *content = kit_content(st);
    assert_non_null(strstr(content, "entry 1 queue=1 dead attempts=2"));
    assert_non_null(strstr(content, " cause=exit\nentry 2 queue=1 dead"));
    assert_null(strstr(strstr(content, "entry 2"), "cause"));
    sl_free(content);
    store_close(st);
}

static int settle_it(void *arg, uint32_t queue, const struct queue_restored *r)
{
    kit_settle(arg, r->id, queue);
    return SL_OK;
}

/* Old records are read, and new ones stand beside them; all can be settled. */
static void format_1_0_is_read_and_counted_up(void **state)
{
    const struct fixture *f = *state;
    struct store *st = open_released(f, STORE_DATA "/store-1.0/data.mdb");
    assert_content_of(st, STORE_DATA "/store-1.0/content.txt");
    struct batch *b = batch_new();
    kit_enqueue(b, (uint64_t)2 << 40, 1, 100);
    kit_update(b, (uint64_t)1 << 40 | 11, 2, 9, "an old one fails");
    kit_apply(st, b);
    store_close(st);
    assert_stored_format(f, 4, 0);
    st = kit_open("lmdb", f->data);
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.format_major, 4);
    assert_int_equal(info.format_minor, 0);
    assert_int_equal(info.entries, 16 + 1);
    assert_int_equal(info.bodies, 16);
    struct store_loader l = { .arg = b, .entry = settle_it };
    assert_int_equal(store_load(st, &l, NULL), SL_OK);
    kit_apply(st, b);
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.entries + info.bodies, 0);
    batch_free(b);
    store_close(st);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_missing_directory_is_made_for_its_owner_alone),
        CASE(the_boot_number_rises_with_every_open),
        CASE(a_creation_that_was_cut_off_begins_anew),
        CASE(a_second_opener_is_told_the_holder),
        CASE(a_file_in_place_of_the_data_directory),
        CASE(a_file_in_place_of_the_store),
        CASE(a_store_without_its_file_is_not_begun_anew),
        CASE(an_empty_file_is_not_begun_anew),
        CASE(a_truncated_file),
        CASE(garbage),
        CASE(a_damaged_second_meta_page),
        CASE(another_page_size),
        CASE(another_word_size),
        CASE(another_byte_order),
        CASE(a_newer_major_is_refused_and_named),
        CASE(a_newer_minor_opens_and_keeps_its_number),
        CASE(a_major_that_never_was_is_refused),
        CASE(a_foreign_lmdb_file_is_left_alone),
        CASE(a_tree_that_is_gone_is_damage),
        CASE(format_1_0_is_read_and_counted_up),
        CASE(format_2_0_is_read),
        CASE(format_2_0_is_counted_up_and_takes_in_what_is_new),
        CASE(format_3_0_is_read),
        CASE(format_3_0_is_counted_up_and_takes_in_what_is_new),
        CASE(format_4_0_is_read),
        CASE(the_hash_key_is_the_store_s_own_and_stays),
        CASE(a_store_without_its_hash_key_is_damage),
        CASE(who_died_before_format_4_has_the_cause_of_its_last_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
