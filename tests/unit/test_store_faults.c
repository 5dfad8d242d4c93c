/* No room, and broken disks: what passes, what is latched, and that the
 * reserve lets work be settled when nothing more can be taken in. The faultfs
 * shim is linked into this program; FAULTFS says what fails next. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "store_kit.h"

#define MIB ((uint64_t)1024 * 1024)

struct fixture {
    struct kit_dir dir;
    struct store_config cfg;
    struct store *st;
    struct batch *b;
};

static void open_store(struct fixture *f)
{
    struct sl_buf why = { 0 };
    assert_int_equal(store_open(&f->cfg, &f->st, &why), SL_OK);
}

static int setup(void **state)
{
    static struct fixture f;
    kit_dir_make(&f.dir);
    f.cfg = kit_config("lmdb", f.dir.path);
    f.b = batch_new();
    f.st = NULL;
    unsetenv("FAULTFS");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unsetenv("FAULTFS");
    batch_free(f->b);
    store_close(f->st);
    kit_dir_remove(&f->dir);
    return 0;
}

static void assert_entries(struct store *st, uint64_t n)
{
    struct store_info info;
    assert_int_equal(store_info(st, &info), SL_OK);
    assert_int_equal(info.entries, n);
}

/* ---- no room passes ---- */

static void a_write_without_room_changes_nothing_and_may_be_repeated(void **state)
{
    struct fixture *f = *state;
    static const char *const plans[] = { "write:1:ENOSPC", "write:1:EDQUOT" };
    open_store(f);
    for (uint64_t i = 0; i < SL_COUNT(plans); i++) {
        kit_enqueue(f->b, i + 1, 1, 100);
        setenv("FAULTFS", plans[i], 1);
        assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
        assert_entries(f->st, i);
        kit_apply(f->st, f->b);
        assert_entries(f->st, i + 1);
    }
}

static void a_file_that_cannot_grow_stops_intake_but_not_settling(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kit_enqueue(f->b, 1, 1, 100);
    kit_apply(f->st, f->b);
    store_close(f->st);
    f->cfg.reserve_bytes = 32 * MIB; /* more than the file has now: it must grow */
    f->cfg.map_size_bytes = 256 * MIB;
    open_store(f);
    for (uint64_t i = 2; i < 4; i++)
        kit_enqueue(f->b, i, 1, 20 * MIB);
    setenv("FAULTFS", "grow:1:ENOSPC:0", 1);
    assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
    batch_reset(f->b);
    kit_settle(f->b, 1, 1);
    kit_apply(f->st, f->b);
    assert_entries(f->st, 0);
}

static void a_disk_below_its_minimum_stops_intake_but_not_settling(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kit_enqueue(f->b, 1, 1, 100);
    kit_apply(f->st, f->b);
    store_close(f->st);
    f->cfg.min_free_disk_bytes = UINT64_MAX / 4;
    open_store(f);
    kit_enqueue(f->b, 2, 1, 100);
    assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
    batch_reset(f->b);
    kit_settle(f->b, 1, 1);
    kit_apply(f->st, f->b);
}

/* Fills until refused; returns how many messages went in. Batches of eight. */
static uint64_t fill(struct fixture *f, uint64_t first)
{
    uint64_t id = first;
    for (;;) {
        for (uint64_t k = 0; k < 8; k++)
            kit_enqueue(f->b, id + k, 1, 3000);
        int err = store_apply(f->st, f->b);
        batch_reset(f->b);
        if (err != SL_OK) {
            assert_int_equal(err, SL_ENOSPC);
            return id - first;
        }
        id += 8;
    }
}

static void a_full_map_stops_intake_and_the_reserve_settles_everything(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 8 * MIB;
    f->cfg.reserve_bytes = 2 * MIB;
    open_store(f);
    uint64_t first = 1, previous = 0;
    for (int round = 0; round < 4; round++) {
        uint64_t n = fill(f, first);
        struct store_info info;
        assert_int_equal(store_info(f->st, &info), SL_OK);
        assert_true(info.used_bytes + f->cfg.reserve_bytes <= info.map_bytes);
        assert_true(info.file_bytes <= info.map_bytes);
        assert_true(n > 500 && (previous == 0 || n + 64 > previous)); /* it takes in again as much as before */
        for (uint64_t id = first; id < first + n; id++)
            kit_settle(f->b, id, 1); /* one batch that touches every page */
        kit_apply(f->st, f->b);
        assert_entries(f->st, 0);
        first += n;
        previous = n;
    }
}

static void without_a_reserve_a_settle_batch_is_applied_in_halves(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 2 * MIB;
    f->cfg.reserve_bytes = 0;
    open_store(f);
    uint64_t n = fill(f, 1);
    /* Single messages, until one more page is too much even for a copy. */
    uint64_t id = n + 1;
    int err = SL_OK;
    while (err == SL_OK) {
        kit_enqueue(f->b, id++, 1, 10);
        err = store_apply(f->st, f->b);
        batch_reset(f->b);
    }
    assert_int_equal(err, SL_ENOSPC);
    for (uint64_t i = 1; i < id - 1; i++)
        kit_update(f->b, i, 1, 1, "a tail that makes every entry longer, so that this batch needs room and not only gives it");
    err = store_apply(f->st, f->b);
    assert_true(err == SL_OK || err == SL_ENOSPC); /* never latched */
    batch_reset(f->b);
    for (uint64_t i = 1; i < id - 1; i++)
        kit_settle(f->b, i, 1);
    kit_apply(f->st, f->b);
    assert_entries(f->st, 0);
}

static void the_halves_of_a_settle_batch_are_small_enough_one_day(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    for (uint64_t i = 1; i <= 64; i++)
        kit_enqueue(f->b, i, 1, 100);
    kit_apply(f->st, f->b);
    for (uint64_t i = 1; i <= 64; i++)
        kit_settle(f->b, i, 1);
    setenv("FAULTFS", "write:1:ENOSPC:3", 1);
    kit_apply(f->st, f->b); /* whole, half and quarter fail; eighths pass */
    assert_entries(f->st, 0);
}

/* Messages of `payload` bytes, ids from 1 on, until intake stops; how many. */
static uint64_t fill_of(struct fixture *f, size_t payload)
{
    uint64_t n = 0;
    int err = SL_OK;
    while (err == SL_OK) {
        for (uint64_t k = 1; k <= 8; k++)
            kit_enqueue(f->b, n + k, 1, payload);
        err = store_apply(f->st, f->b);
        batch_reset(f->b);
        n += err == SL_OK ? 8 : 0;
    }
    return n;
}

/* And then failures until the map is full to its last pages. */
static uint64_t fill_with_failures(struct fixture *f, size_t payload, const char *tail)
{
    uint64_t n = fill_of(f, payload);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 40 * n && refused < 40; i++) {
        kit_update(f->b, 1 + i % n, 1, 1 + i / (uint32_t)n, tail);
        refused += store_apply(f->st, f->b) != SL_OK;
        batch_reset(f->b);
    }
    return n;
}

static uint32_t settle_singly(struct fixture *f, uint64_t first, uint32_t n)
{
    uint32_t passed = 0;
    for (uint32_t k = 0; k < n; k++) {
        kit_settle(f->b, first + k, 1);
        passed += store_apply(f->st, f->b) == SL_OK;
        batch_reset(f->b);
    }
    return passed;
}

/* Else it would be tried again for ever. Seven: halves of it end between a settle and its drop. */
static void no_settle_batch_is_refused_whose_messages_pass_one_by_one(void **state)
{
    enum { TOGETHER = 7 };
    static const struct { uint64_t kib; size_t payload; size_t tail; } maps[] = { { 1024, 10, 20 }, { 1024, 200, 400 }, { 1056, 200, 400 }, { 1088, 440, 400 } };
    struct fixture *f = *state;
    char tail[512];
    for (size_t i = 0; i < SL_COUNT(maps); i++) {
        f->cfg.map_size_bytes = maps[i].kib * 1024;
        f->cfg.reserve_bytes = 0;
        open_store(f);
        snprintf(tail, sizeof tail, "%0*d", (int)maps[i].tail, 0);
        uint64_t n = fill_with_failures(f, maps[i].payload, tail);
        for (uint64_t id = 1; id + TOGETHER <= n; id += TOGETHER) {
            for (uint32_t k = 0; k < TOGETHER; k++)
                kit_settle(f->b, id + k, 1);
            int err = store_apply(f->st, f->b);
            batch_reset(f->b);
            assert_true(err == SL_OK || settle_singly(f, id, TOGETHER) < TOGETHER);
        }
        store_close(f->st);
        f->st = NULL;
        kit_dir_remove(&f->dir);
        kit_dir_make(&f->dir);
    }
}

static uint64_t entries(struct fixture *f)
{
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    return info.entries;
}

/* On a map so full that a batch is refused, of which every part would have passed. */
static void what_a_transaction_settled_is_applied_whole_or_not_at_all(void **state)
{
    enum { TOGETHER = 40 };
    struct fixture *f = *state;
    char tail[512];
    f->cfg.map_size_bytes = (uint64_t)1088 * 1024;
    f->cfg.reserve_bytes = 0;
    open_store(f);
    snprintf(tail, sizeof tail, "%0400d", 0);
    uint64_t n = fill_with_failures(f, 440, tail), refused = 0;
    for (uint64_t id = 1; id + TOGETHER <= n; id += TOGETHER) {
        uint64_t before = entries(f);
        for (uint32_t k = 0; k < TOGETHER; k++)
            kit_settle(f->b, id + (k % 2 == 0 ? k : TOGETHER - k), 1);
        for (uint32_t i = 0; i < f->b->n; i++)
            f->b->ops[i].bound = true;
        int err = store_apply(f->st, f->b);
        batch_reset(f->b);
        assert_int_equal(before - entries(f), err == SL_OK ? TOGETHER : 0);
        refused += err != SL_OK;
    }
    assert_true(refused > 0);
}

static void intake_is_never_applied_in_halves(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kit_enqueue(f->b, 1, 1, 100);
    kit_settle(f->b, 99, 1);
    setenv("FAULTFS", "write:1:ENOSPC", 1);
    assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
    assert_entries(f->st, 0);
}

static void a_map_that_is_mostly_reserve_is_refused(void **state)
{
    struct fixture *f = *state;
    f->cfg.reserve_bytes = f->cfg.map_size_bytes / 2 + 1;
    assert_int_equal(store_open(&f->cfg, &f->st, NULL), SL_EINVAL);
    f->cfg.map_size_bytes = 1000;
    assert_int_equal(store_open(&f->cfg, &f->st, NULL), SL_EINVAL);
}

/* Whatever fails on a full store, and however often. */
static void failures_leave_half_of_the_reserve_to_settle(void **state)
{
    static const size_t payloads[] = { 200, 440 };
    struct fixture *f = *state;
    char tail[BATCH_FAILURE_TAIL_MAX];
    for (size_t i = 0; i < SL_COUNT(payloads); i++) {
        f->cfg.map_size_bytes = 8 * MIB;
        f->cfg.reserve_bytes = 2 * MIB;
        open_store(f);
        snprintf(tail, sizeof tail, "%01500d", 0);
        uint64_t n = fill_of(f, payloads[i]);
        for (uint64_t k = 0; k < 6000; k++) {
            kit_update(f->b, 1 + k % n, 1, 1 + (uint32_t)(k / n), tail);
            kit_apply(f->st, f->b);
        }
        assert_int_equal(settle_singly(f, 1, (uint32_t)n), n);
        assert_entries(f->st, 0);
        store_close(f->st);
        f->st = NULL;
        kit_dir_remove(&f->dir);
        kit_dir_make(&f->dir);
    }
}

static void sessions_travel_with_settles_into_the_reserve(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 8 * MIB;
    f->cfg.reserve_bytes = 2 * MIB;
    open_store(f);
    uint64_t n = fill(f, 1);
    kit_session(f->b, 1, "device");
    for (uint64_t id = 1; id <= n; id++)
        kit_settle(f->b, id, 1);
    kit_apply(f->st, f->b);
    assert_entries(f->st, 0);
}

/* What clients leave behind is intake; what they answer is not. */
static void what_fills_the_store_keeps_to_the_reserve_and_what_empties_it_does_not(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 8 * MIB;
    f->cfg.reserve_bytes = 2 * MIB;
    open_store(f);
    kit_session(f->b, 1, "s");
    kit_body(f->b, 1, 10);
    kit_copy(f->b, 1, 1, 0, 0);
    kit_apply(f->st, f->b);
    uint64_t id = 2 + fill(f, 2);
    int err = SL_OK;
    while (err == SL_OK) { /* until nothing however small is taken in */
        kit_enqueue(f->b, id++, 1, 10);
        err = store_apply(f->st, f->b);
        batch_reset(f->b);
    }
    for (uint32_t what = 0; what < 4; what++) {
        if (what == 0)
            kit_retain(f->b, 5, 10);
        else if (what == 1)
            kit_will(f->b, 1, 10);
        else if (what == 2)
            kit_dedup(f->b, 1, 1, 1);
        else
            kit_subscription(f->b, 1, 1, "a");
        assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
        batch_reset(f->b);
    }
    kit_released(f->b, 1, 1, 7);
    kit_apply(f->st, f->b);
    kit_copy_drop(f->b, 1, 1);
    batch_add(f->b, BATCH_BODY_DROP)->id = 1;
    kit_apply(f->st, f->b);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.copies + info.subscriptions + info.retained, 0);
}

/* Messages that were worked before they were written: nothing but their keys. */
static uint64_t fill_with_keys(struct fixture *f)
{
    for (uint64_t id = 1;; id += 100) {
        for (uint64_t k = 0; k < 100; k++)
            kit_dedup(f->b, id + k, 1, (uint8_t)k);
        int err = store_apply(f->st, f->b);
        batch_reset(f->b);
        if (err == SL_OK)
            continue;
        assert_int_equal(err, SL_ENOSPC);
        return id - 1;
    }
}

/* From the front, one by one as time passes; a queue's record and a schedule find room too. */
static void dedup_keys_leave_a_full_store_and_make_room(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 8 * MIB;
    f->cfg.reserve_bytes = 2 * MIB;
    open_store(f);
    uint64_t n = fill_with_keys(f);
    assert_true(n > 50000);
    kit_queue_record(f->b, 1, true, "none");
    kit_schedule(f->b, "nightly", 1);
    kit_apply(f->st, f->b);
    assert_int_equal(fill(f, n + 1), 0);
    for (uint64_t id = 1; id <= n; id++) {
        kit_dedup_drop(f->b, id, 1);
        if (id % 64 == 0 || id == n)
            kit_apply(f->st, f->b);
    }
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.dedup_keys, 0);
    assert_int_equal(info.schedules, 1);
    assert_true(fill(f, n + 1) > 500);
}

/* Ten sessions wait for each message. */
static uint64_t fill_with_copies(struct fixture *f, uint64_t first)
{
    uint64_t id = first;
    for (;;) {
        kit_body(f->b, id, 300);
        for (uint64_t session = 1; session <= 10; session++)
            kit_copy(f->b, id, (session * 7) % 11, 0, 1);
        int err = store_apply(f->st, f->b);
        batch_reset(f->b);
        if (err != SL_OK) {
            assert_int_equal(err, SL_ENOSPC);
            return id - first;
        }
        id++;
    }
}

static void copies_are_numbered_and_settled_on_a_full_store(void **state)
{
    struct fixture *f = *state;
    f->cfg.map_size_bytes = 8 * MIB;
    f->cfg.reserve_bytes = 2 * MIB;
    open_store(f);
    for (uint64_t session = 0; session <= 10; session++)
        kit_session(f->b, session, "s");
    kit_apply(f->st, f->b);
    uint64_t first = 1, previous = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t n = fill_with_copies(f, first);
        assert_true(n > 500 && (previous == 0 || n + 64 > previous));
        for (uint64_t id = first; id < first + n; id++)
            kit_copy(f->b, id, 7, (uint16_t)(1 + id), 1); /* one batch that touches every page */
        kit_apply(f->st, f->b);
        for (uint64_t id = first; id < first + n; id++) {
            for (uint64_t session = 1; session <= 10; session++)
                kit_copy_drop(f->b, id, (session * 7) % 11);
            batch_add(f->b, BATCH_BODY_DROP)->id = id;
        }
        kit_apply(f->st, f->b);
        struct store_info info;
        assert_int_equal(store_info(f->st, &info), SL_OK);
        assert_int_equal(info.copies + info.bodies, 0);
        first += n;
        previous = n;
    }
}

static void a_replaced_retained_message_is_never_parted_from_its_drop(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kit_retain(f->b, 1, 100);
    kit_apply(f->st, f->b);
    kit_retain(f->b, 2, 100);
    batch_add(f->b, BATCH_RETAIN_DROP)->id = 1;
    setenv("FAULTFS", "write:1:ENOSPC", 1);
    assert_int_equal(store_apply(f->st, f->b), SL_ENOSPC);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.retained, 1);
    kit_apply(f->st, f->b);
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.retained, 1);
}

/* ---- broken is latched ---- */

static void every_failure_but_no_room_is_latched(void **state)
{
    struct fixture *f = *state;
    static const char *const plans[] = { "write:1:EIO", "write:1:EROFS", "sync:1:EIO", "write:2:EIO" /* the meta page */ };
    uint64_t id = 1;
    for (size_t i = 0; i < SL_COUNT(plans); i++) {
        open_store(f);
        kit_enqueue(f->b, id, 1, 100);
        kit_apply(f->st, f->b);
        kit_enqueue(f->b, id + 1, 1, 100);
        setenv("FAULTFS", plans[i], 1);
        assert_int_equal(store_apply(f->st, f->b), SL_EIO);
        unsetenv("FAULTFS");
        assert_int_equal(store_apply(f->st, f->b), SL_EIO); /* the disk is well again; we do not believe it */
        batch_reset(f->b);
        kit_settle(f->b, id, 1);
        assert_int_equal(store_apply(f->st, f->b), SL_EIO);
        batch_reset(f->b);
        uint32_t number;
        assert_int_equal(store_queue_number(f->st, "q", &number), SL_EIO);
        store_close(f->st);
        open_store(f);
        assert_entries(f->st, id); /* only a restart clears it; what was acknowledged is there */
        store_close(f->st);
        f->st = NULL;
        id++;
    }
}

static void a_latched_store_fetches_nothing(void **state)
{
    struct fixture *f = *state;
    open_store(f);
    kit_enqueue(f->b, 1, 1, 100);
    kit_apply(f->st, f->b);
    kit_enqueue(f->b, 2, 1, 100);
    setenv("FAULTFS", "sync:1:EIO", 1);
    assert_int_equal(store_apply(f->st, f->b), SL_EIO);
    uint64_t id = 1;
    uint32_t entry = 0;
    struct message *m = NULL;
    struct batch_fetch fetch = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(f->st, &fetch);
    assert_int_equal(fetch.err, SL_EIO);
    assert_null(m);
}

static void an_open_that_cannot_sync_fails_and_the_next_one_works(void **state)
{
    struct fixture *f = *state;
    struct sl_buf why = { 0 };
    setenv("FAULTFS", "sync:1:EIO:0", 1);
    assert_int_not_equal(store_open(&f->cfg, &f->st, &why), SL_OK);
    assert_true(sl_buf_len(&why) > 0);
    sl_buf_fini(&why);
    unsetenv("FAULTFS");
    open_store(f);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_write_without_room_changes_nothing_and_may_be_repeated),
        CASE(a_file_that_cannot_grow_stops_intake_but_not_settling),
        CASE(a_disk_below_its_minimum_stops_intake_but_not_settling),
        CASE(a_full_map_stops_intake_and_the_reserve_settles_everything),
        CASE(without_a_reserve_a_settle_batch_is_applied_in_halves),
        CASE(the_halves_of_a_settle_batch_are_small_enough_one_day),
        CASE(no_settle_batch_is_refused_whose_messages_pass_one_by_one),
        CASE(what_a_transaction_settled_is_applied_whole_or_not_at_all),
        CASE(intake_is_never_applied_in_halves),
        CASE(a_map_that_is_mostly_reserve_is_refused),
        CASE(failures_leave_half_of_the_reserve_to_settle),
        CASE(sessions_travel_with_settles_into_the_reserve),
        CASE(what_fills_the_store_keeps_to_the_reserve_and_what_empties_it_does_not),
        CASE(dedup_keys_leave_a_full_store_and_make_room),
        CASE(copies_are_numbered_and_settled_on_a_full_store),
        CASE(a_replaced_retained_message_is_never_parted_from_its_drop),
        CASE(every_failure_but_no_room_is_latched),
        CASE(a_latched_store_fetches_nothing),
        CASE(an_open_that_cannot_sync_fails_and_the_next_one_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
