#include "claims.h"

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/rng.h"

/* ---- numbers ---- */

static void numbers_are_digits_up_to_the_maximum(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        int err;
        uint64_t value;
    } rows[] = {
        {"0",                     0,          SL_OK,     0         },
        {"1",                     0,          SL_EINVAL, 0         },
        {"007",                   9,          SL_OK,     7         },
        {"65535",                 65535,      SL_OK,     65535     },
        {"65536",                 65535,      SL_EINVAL, 0         },
        {"18446744073709551615",  UINT64_MAX, SL_OK,     UINT64_MAX},
        {"18446744073709551616",  UINT64_MAX, SL_EINVAL, 0         },
        {"99999999999999999999",  UINT64_MAX, SL_EINVAL, 0         },
        {"184467440737095516150", UINT64_MAX, SL_EINVAL, 0         },
        {"",                      9,          SL_EINVAL, 0         },
        {"-1",                    9,          SL_EINVAL, 0         },
        {"+1",                    9,          SL_EINVAL, 0         },
        {" 1",                    9,          SL_EINVAL, 0         },
        {"1 ",                    9,          SL_EINVAL, 0         },
        {"1a",                    99,         SL_EINVAL, 0         },
        {"/",                     99,         SL_EINVAL, 0         },
        {":",                     99,         SL_EINVAL, 0         },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        uint64_t v = 4711;
        assert_int_equal(sl_bytes_u64(sl_str(rows[i].text), rows[i].max, &v), rows[i].err);
        assert_true(v == (rows[i].err == SL_OK ? rows[i].value : 4711));
    }
}

static void views_are_equal_by_content(void **state)
{
    (void)state;
    assert_true(sl_bytes_eq(SL_BYTES_NONE, sl_str("")));
    assert_true(sl_bytes_is(sl_bytes_of("abcd", 3), "abc"));
    assert_false(sl_bytes_is(sl_bytes_of("abcd", 4), "abc"));
    assert_false(sl_bytes_is(sl_bytes_of("abd", 3), "abc"));
}

/* ---- buffer ---- */

static void a_buffer_refuses_to_pass_its_maximum_and_keeps_its_content(void **state)
{
    (void)state;
    struct sl_buf b;
    sl_buf_init(&b, 10);
    assert_int_equal(sl_buf_append(&b, "0123456789", 10), SL_OK);
    assert_int_equal(sl_buf_append(&b, "x", 1), SL_ETOOBIG);
    assert_int_equal(sl_buf_append(&b, "", 0), SL_OK);
    assert_null(sl_buf_reserve(&b, SIZE_MAX));
    assert_int_equal(sl_buf_printf(&b, "%d", 7), SL_ETOOBIG);
    assert_true(sl_bytes_is(sl_buf_view(&b), "0123456789"));
    sl_buf_consume(&b, 4);
    assert_int_equal(sl_buf_append(&b, "abcd", 4), SL_OK);
    assert_int_equal(sl_buf_append(&b, "e", 1), SL_ETOOBIG);
    assert_true(sl_bytes_is(sl_buf_view(&b), "456789abcd"));
    assert_true(b.cap <= 10);
    sl_buf_fini(&b);
}

static void an_all_zero_buffer_is_empty_and_without_a_small_limit(void **state)
{
    (void)state;
    struct sl_buf b = {0};
    assert_int_equal(sl_buf_len(&b), 0);
    assert_null(sl_buf_view(&b).p);
    assert_non_null(sl_buf_reserve(&b, 0));
    assert_int_equal(sl_buf_append(&b, NULL, 0), SL_OK);
    uint8_t *room = sl_buf_reserve(&b, 100000);
    assert_non_null(room);
    memset(room, 'z', 100000);
    sl_buf_commit(&b, 100000);
    assert_int_equal(sl_buf_len(&b), 100000);
    sl_buf_fini(&b);
    assert_null(b.p);
    assert_int_equal(sl_buf_append(&b, "again", 5), SL_OK);
    sl_buf_fini(&b);
}

static void a_reserve_that_is_not_committed_changes_nothing(void **state)
{
    (void)state;
    struct sl_buf b = {0};
    assert_int_equal(sl_buf_append(&b, "ab", 2), SL_OK);
    assert_non_null(sl_buf_reserve(&b, 1000));
    assert_true(sl_bytes_is(sl_buf_view(&b), "ab"));
    sl_buf_fini(&b);
}

static void printing_fits_the_maximum_exactly(void **state)
{
    (void)state;
    struct sl_buf b;
    sl_buf_init(&b, 5);
    assert_int_equal(sl_buf_printf(&b, "%s", "12345"), SL_OK);
    sl_buf_fini(&b);
    sl_buf_init(&b, 2000);
    assert_int_equal(sl_buf_printf(&b, "%02000d", 7), SL_OK);
    assert_int_equal(sl_buf_len(&b), 2000);
    assert_int_equal(sl_buf_view(&b).p[1999], '7');
    sl_buf_fini(&b);
}

/* Random appends and drops, against a plain array. */
static void a_buffer_is_a_queue_of_bytes(void **state)
{
    (void)state;
    enum { MAX = 300 };
    struct sl_rng rng;
    sl_rng_seed(&rng, 7);
    struct sl_buf b;
    sl_buf_init(&b, MAX);
    uint8_t model[MAX];
    size_t n = 0;
    uint8_t next = 0;
    for (int step = 0; step < 20000; step++) {
        uint8_t some[64];
        size_t count = (size_t)sl_rng_below(&rng, sizeof some);
        if (sl_rng_below(&rng, 2) == 0) {
            for (size_t i = 0; i < count; i++)
                some[i] = next++;
            int err = sl_buf_append(&b, some, count);
            assert_int_equal(err, n + count <= MAX ? SL_OK : SL_ETOOBIG);
            if (err == SL_OK) {
                memcpy(model + n, some, count);
                n += count;
            }
        } else {
            count = count < n ? count : n;
            sl_buf_consume(&b, count);
            n -= count;
            memmove(model, model + count, n);
        }
        assert_true(sl_bytes_eq(sl_buf_view(&b), sl_bytes_of(model, n)));
        assert_true(b.cap <= MAX);
    }
    sl_buf_fini(&b);
}

static void small_drops_and_appends_do_not_move_a_large_content_each_time(void **state)
{
    (void)state;
    enum { LARGE = 4096 };
    struct sl_buf b = {0};
    uint8_t *room = sl_buf_reserve(&b, LARGE);
    assert_non_null(room);
    memset(room, 'z', LARGE);
    sl_buf_commit(&b, LARGE);
    size_t moves = 0;
    for (size_t i = 0; i < LARGE; i++) {
        sl_buf_consume(&b, 1);
        assert_int_equal(sl_buf_append(&b, "a", 1), SL_OK);
        moves += b.start == 0;
    }
    assert_true(moves <= 2 && b.cap <= 2 * LARGE);
    sl_buf_fini(&b);
}

/* ---- reader and writer ---- */

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    uint8_t memory[64];
    uint8_t *p = memory;
    p = sl_wr_u8(p, 0xab);
    p = sl_wr_u16be(p, 0x1234);
    p = sl_wr_u32be(p, 0x89abcdef);
    p = sl_wr_u64be(p, UINT64_C(0x0102030405060708));
    p = sl_wr_u16le(p, 0x1234);
    p = sl_wr_u32le(p, 0x89abcdef);
    p = sl_wr_u64le(p, UINT64_C(0xfedcba9876543210));
    p = sl_wr_bytes(p, sl_str("tail"));
    p = sl_wr_bytes(p, SL_BYTES_NONE);
    struct sl_reader r = sl_reader_of(sl_bytes_of(memory, (size_t)(p - memory)));
    assert_int_equal(sl_rd_u8(&r), 0xab);
    assert_int_equal(sl_rd_u16be(&r), 0x1234);
    assert_true(sl_rd_u32be(&r) == 0x89abcdef);
    assert_true(sl_rd_u32be(&r) == 0x01020304);
    assert_true(sl_rd_u32be(&r) == 0x05060708);
    assert_int_equal(sl_rd_u16le(&r), 0x1234);
    assert_true(sl_rd_u32le(&r) == 0x89abcdef);
    assert_true(sl_rd_u64le(&r) == UINT64_C(0xfedcba9876543210));
    assert_true(sl_bytes_is(sl_rd_bytes(&r, 4), "tail"));
    assert_int_equal(sl_reader_left(&r), 0);
    assert_false(r.bad);
}

static void bytes_stand_in_the_order_that_the_name_says(void **state)
{
    (void)state;
    uint8_t m[8];
    (void)sl_wr_u16be(m, 0x0102);
    assert_memory_equal(m, "\x01\x02", 2);
    (void)sl_wr_u16le(m, 0x0102);
    assert_memory_equal(m, "\x02\x01", 2);
    (void)sl_wr_u32be(m, 0x01020304);
    assert_memory_equal(m, "\x01\x02\x03\x04", 4);
    (void)sl_wr_u32le(m, 0x01020304);
    assert_memory_equal(m, "\x04\x03\x02\x01", 4);
    (void)sl_wr_u64le(m, UINT64_C(0x0102030405060708));
    assert_memory_equal(m, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    (void)sl_wr_u64be(m, UINT64_C(0x0102030405060708));
    assert_memory_equal(m, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static uint64_t read_width(struct sl_reader *r, int kind)
{
    switch (kind) {
    case 0:
        return sl_rd_u8(r);
    case 1:
        return sl_rd_u16be(r);
    case 2:
        return sl_rd_u16le(r);
    case 3:
        return sl_rd_u32be(r);
    case 4:
        return sl_rd_u32le(r);
    default:
        return sl_rd_u64le(r);
    }
}

static void a_reader_past_its_end_turns_bad_and_stays_bad(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 2, 2, 4, 4, 8};
    static const uint8_t full[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    for (int kind = 0; kind < 6; kind++) {
        for (size_t n = 0; n < widths[kind]; n++) {
            uint8_t *exact = sl_alloc(n); /* so that a read past the end is seen */
            memset(exact, 255, n);
            struct sl_reader r = sl_reader_of(sl_bytes_of(exact, n));
            assert_true(read_width(&r, kind) == 0);
            assert_true(r.bad);
            assert_int_equal(sl_rd_u8(&r), 0);
            assert_int_equal(sl_rd_bytes(&r, 0).n, 0);
            assert_true(r.bad);
            sl_free(exact);
        }
        struct sl_reader r = sl_reader_of(sl_bytes_of(full, widths[kind]));
        assert_true(read_width(&r, kind) != 0);
        assert_false(r.bad);
    }
}

static void a_view_that_is_too_long_is_empty_and_bad(void **state)
{
    (void)state;
    struct sl_reader r = sl_reader_of(sl_str("abc"));
    assert_true(sl_bytes_is(sl_rd_bytes(&r, 1), "a"));
    assert_int_equal(sl_rd_bytes(&r, SIZE_MAX).n, 0);
    assert_true(r.bad);
    r = sl_reader_of(SL_BYTES_NONE);
    assert_int_equal(sl_rd_bytes(&r, 0).n, 0);
    assert_false(r.bad);
    assert_int_equal(sl_rd_bytes(&r, 1).n, 0);
    assert_true(r.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_digits_up_to_the_maximum),
        cmocka_unit_test(views_are_equal_by_content),
        cmocka_unit_test(a_buffer_refuses_to_pass_its_maximum_and_keeps_its_content),
        cmocka_unit_test(an_all_zero_buffer_is_empty_and_without_a_small_limit),
        cmocka_unit_test(a_reserve_that_is_not_committed_changes_nothing),
        cmocka_unit_test(printing_fits_the_maximum_exactly),
        cmocka_unit_test(a_buffer_is_a_queue_of_bytes),
        cmocka_unit_test(small_drops_and_appends_do_not_move_a_large_content_each_time),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(bytes_stand_in_the_order_that_the_name_says),
        cmocka_unit_test(a_reader_past_its_end_turns_bad_and_stays_bad),
        cmocka_unit_test(a_view_that_is_too_long_is_empty_and_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
