/* The codec alone: names, escapes, both directions, and the cost of scanning. */
#include "claims.h"

#include <stdio.h>

#include "core/alloc.h"
#include "stomp/frame.h"

static const struct stomp_rules server_rules = {STOMP_V12, false, 16, 1000, 4096, SIZE_MAX};
static const struct stomp_rules client_rules = {STOMP_V12, true, 16, 1000, 4096, SIZE_MAX};

static struct sl_bytes literal(const char *p, size_t n)
{
    return sl_bytes_of(p, n);
}

#define BYTES(s) literal((s), sizeof(s) - 1)

/* ---- escapes ---- */

static const struct {
    const char *claim;
    enum stomp_version version;
    const char *wire, *plain; /* plain NULL: undefined */
    bool canonical;           /* writing `plain` gives `wire` again */
} escapes[] = {
    {"1.0 has no escapes",             STOMP_V10, "a\\nb\\c\\",    "a\\nb\\c\\", true },
    {"1.1 line feed",                  STOMP_V11, "a\\nb",         "a\nb",       true },
    {"1.1 colon",                      STOMP_V11, "a\\cb",         "a:b",        true },
    {"1.1 backslash",                  STOMP_V11, "a\\\\b",        "a\\b",       true },
    {"1.1 carriage return is itself",  STOMP_V11, "a\rb",          "a\rb",       true },
    {"1.1 has no \\r",                 STOMP_V11, "a\\rb",         NULL,         false},
    {"1.2 carriage return",            STOMP_V12, "a\\rb",         "a\rb",       true },
    {"1.2 line feed",                  STOMP_V12, "\\n",           "\n",         true },
    {"1.2 colon",                      STOMP_V12, "\\c\\c",        "::",         true },
    {"1.2 a colon may stand alone",    STOMP_V12, "a:b",           "a:b",        false},
    {"1.2 backslash before n",         STOMP_V12, "\\\\n",         "\\n",        true },
    {"1.2 all of them",                STOMP_V12, "\\n\\r\\c\\\\", "\n\r:\\",    true },
    {"1.2 has no \\t",                 STOMP_V12, "a\\tb",         NULL,         false},
    {"1.2 has no \\N",                 STOMP_V12, "\\N",           NULL,         false},
    {"1.2 has no escape at the end",   STOMP_V12, "ab\\",          NULL,         false},
    {"1.2 has no escape after a pair", STOMP_V12, "\\\\\\",        NULL,         false},
    {"1.1 has no \\:",                 STOMP_V11, "\\:",           NULL,         false},
    {"nothing is nothing",             STOMP_V12, "",              "",           true },
};

static void wire_is(enum stomp_version v, const char *plain, const char *wire)
{
    struct sl_buf b = {0};
    struct stomp_writer w;
    stomp_begin(&w, &b, v, STOMP_MESSAGE);
    stomp_put(&w, "k", sl_str(plain));
    assert_int_equal(stomp_end(&w, SL_BYTES_NONE), SL_OK);
    char want[128];
    int n = snprintf(want, sizeof want, "MESSAGE\nk:%s\n\n", wire);
    assert_int_equal(sl_buf_len(&b), n + 1);
    assert_memory_equal(sl_buf_view(&b).p, want, (size_t)n + 1);
    sl_buf_fini(&b);
}

static void escapes_are_what_the_version_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(escapes); i++) {
        struct sl_bytes wire = sl_str(escapes[i].wire);
        const char *plain = escapes[i].plain;
        assert_int_equal(stomp_escapes_valid(escapes[i].version, wire), plain != NULL);
        if (plain == NULL)
            continue;
        uint8_t out[64];
        size_t n = stomp_unescape(escapes[i].version, wire, out);
        assert_int_equal(n, strlen(plain));
        assert_memory_equal(out, plain, n);
        if (escapes[i].canonical)
            wire_is(escapes[i].version, plain, escapes[i].wire);
    }
}

static void any_value_comes_back_through_escapes(void **state)
{
    (void)state;
    for (int v = STOMP_V11; v <= STOMP_V12; v++) {
        uint8_t all[127];
        for (size_t i = 0; i < sizeof all; i++)
            all[i] = (uint8_t)(i + 1);
        struct sl_buf b = {0};
        struct stomp_writer w;
        stomp_begin(&w, &b, (enum stomp_version)v, STOMP_MESSAGE);
        stomp_put_bytes(&w, sl_str("a:\n\\b"), sl_bytes_of(all, sizeof all));
        assert_int_equal(stomp_end(&w, SL_BYTES_NONE), SL_OK);
        struct stomp_rules r = server_rules;
        r.version = (enum stomp_version)v;
        struct stomp_scan sc = {0};
        struct stomp_arena a = {0};
        struct stomp_frame f;
        assert_int_equal(stomp_scan(&sc, &r, sl_buf_view(&b)), SL_OK);
        stomp_frame_parse(&a, &sc, r.version, sl_buf_view(&b), &f);
        assert_int_equal(f.n_headers, 1);
        assert_true(sl_bytes_is(f.headers[0].name, "a:\n\\b"));
        assert_true(sl_bytes_eq(f.headers[0].value, sl_bytes_of(all, sizeof all)));
        stomp_arena_fini(&a);
        sl_buf_fini(&b);
    }
}

static void a_header_that_cannot_be_said_does_not_break_the_frame(void **state)
{
    (void)state;
    static const struct {
        enum stomp_version v;
        enum stomp_command c;
        const char *frame;
    } rows[] = {
        {STOMP_V10, STOMP_MESSAGE,   "MESSAGE\nk:a b c\\\n\n"    },
        {STOMP_V12, STOMP_CONNECTED, "CONNECTED\nk:a b c\\\n\n"  },
        {STOMP_V12, STOMP_MESSAGE,   "MESSAGE\nk:a\\nb c\\\\\n\n"},
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct sl_buf b = {0};
        struct stomp_writer w;
        stomp_begin(&w, &b, rows[i].v, rows[i].c);
        stomp_put(&w, "k", BYTES("a\nb\0c\\"));
        assert_int_equal(stomp_end(&w, SL_BYTES_NONE), SL_OK);
        assert_int_equal(sl_buf_len(&b), strlen(rows[i].frame) + 1);
        assert_memory_equal(sl_buf_view(&b).p, rows[i].frame, strlen(rows[i].frame) + 1);
        sl_buf_fini(&b);
    }
}

/* ---- both directions ---- */

static void every_command_is_written_and_read(void **state)
{
    (void)state;
    for (int c = STOMP_CONNECT; c < STOMP_NCOMMANDS; c++) {
        struct sl_buf b = {0};
        struct stomp_writer w;
        bool body = c == STOMP_SEND || c == STOMP_MESSAGE || c == STOMP_ERROR;
        stomp_begin(&w, &b, STOMP_V12, (enum stomp_command)c);
        stomp_put(&w, "x-1", sl_str("one"));
        stomp_put_u64(&w, "x-2", UINT64_MAX);
        assert_int_equal(stomp_end(&w, body ? BYTES("a\0b") : SL_BYTES_NONE), SL_OK);
        struct stomp_scan sc = {0}, other = {0};
        struct stomp_arena a = {0};
        struct stomp_frame f;
        bool client = c < STOMP_CONNECTED;
        assert_int_equal(stomp_scan(&sc, client ? &client_rules : &server_rules, sl_buf_view(&b)),
                         SL_OK);
        assert_int_equal(sc.pos, sl_buf_len(&b));
        assert_int_equal(
            stomp_scan(&other, client ? &server_rules : &client_rules, sl_buf_view(&b)), SL_EPEER);
        stomp_frame_parse(&a, &sc, STOMP_V12, sl_buf_view(&b), &f);
        assert_int_equal(f.command, c);
        assert_true(sl_bytes_is(stomp_frame_find(&f, "x-1")->value, "one"));
        assert_true(sl_bytes_is(stomp_frame_find(&f, "x-2")->value, "18446744073709551615"));
        assert_null(stomp_frame_find(&f, "x-3"));
        assert_true(sl_bytes_eq(f.body, body ? BYTES("a\0b") : SL_BYTES_NONE));
        stomp_arena_fini(&a);
        sl_buf_fini(&b);
    }
}

static void half_a_frame_is_never_left_in_a_full_buffer(void **state)
{
    (void)state;
    for (size_t max = 1; max < 60; max++) {
        struct sl_buf b = {0};
        sl_buf_init(&b, max);
        struct stomp_writer w;
        int err = sl_buf_append(&b, "x", 1);
        assert_int_equal(err, SL_OK);
        stomp_begin(&w, &b, STOMP_V12, STOMP_MESSAGE);
        stomp_put(&w, "k", sl_str("a:b"));
        err = stomp_end(&w, BYTES("body"));
        assert_int_equal(err, max >= 39 ? SL_OK : SL_ETOOBIG);
        assert_int_equal(sl_buf_len(&b), max >= 39 ? 39 : 1);
        sl_buf_fini(&b);
    }
}

static void ends_of_lines_are_counted(void **state)
{
    (void)state;
    assert_int_equal(stomp_skip_eols(BYTES("")), 0);
    assert_int_equal(stomp_skip_eols(BYTES("\n\n")), 2);
    assert_int_equal(stomp_skip_eols(BYTES("\r\n\nA\n")), 3);
    assert_int_equal(stomp_skip_eols(BYTES("\n\r")), 1);
    assert_int_equal(stomp_skip_eols(BYTES("\r\r\n")), 0);
}

/* ---- the cost of scanning ---- */

/* While a frame arrives byte by byte, what was looked at before is turned into
 * line feeds and NULs: a scanner that looked at it again would stumble. What a
 * finished line holds is read once more when its end comes, so it is restored
 * for that step. */
static void no_byte_is_searched_twice(void **state)
{
    (void)state;
    static const char frame[] = "SEND\ndestination:/topic/t\nk:a\\nb\n\nbody and more body\0";
    size_t n = sizeof frame - 1;
    uint8_t *seen = test_malloc(n);
    struct stomp_scan sc = {0};
    for (size_t i = 0; i < n; i++) {
        memset(seen, (i & 1u) != 0 ? 0 : '\n', i);
        if (sc.body == 0 && frame[i] == '\n')
            memcpy(seen + sc.line, frame + sc.line, i - sc.line);
        seen[i] = (uint8_t)frame[i];
        int err = stomp_scan(&sc, &client_rules, sl_bytes_of(seen, i + 1));
        assert_int_equal(err, i + 1 < n ? SL_EMORE : SL_OK);
        assert_int_equal(sc.pos, i + 1);
    }
    assert_int_equal(sc.n_headers, 2);
    assert_int_equal(sc.body, 34);
    test_free(seen);
}

static void the_place_of_a_fault_does_not_depend_on_the_split(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n, pos;
        enum stomp_fault fault;
    } rows[] = {
        {"SEND\nk\nmore",                    11, 7,  STOMP_FAULT_HEADER_COLON    },
        {"SEND\nk:a\0:b\n",                  12, 9,  STOMP_FAULT_HEADER_NUL      },
        {"AAAAAAAAAAAAAAAAAAAAAAAA\n",       25, 18, STOMP_FAULT_COMMAND_TOO_LONG},
        {"BEGIN\n\nabc\0",                   11, 8,  STOMP_FAULT_BODY_FORBIDDEN  },
        {"SEND\ncontent-length:2\n\nabcd\0", 28, 26, STOMP_FAULT_BODY_NUL        },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++)
        for (size_t step = 1; step <= rows[i].n; step++) {
            struct stomp_scan sc = {0};
            int err = SL_EMORE;
            for (size_t have = step; err == SL_EMORE; have += step)
                err = stomp_scan(&sc, &client_rules,
                                 literal(rows[i].p, have < rows[i].n ? have : rows[i].n));
            assert_int_equal(err, SL_EPEER);
            assert_int_equal(sc.fault, rows[i].fault);
            assert_int_equal(sc.pos, rows[i].pos);
        }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_are_what_the_version_says),
        cmocka_unit_test(any_value_comes_back_through_escapes),
        cmocka_unit_test(a_header_that_cannot_be_said_does_not_break_the_frame),
        cmocka_unit_test(every_command_is_written_and_read),
        cmocka_unit_test(half_a_frame_is_never_left_in_a_full_buffer),
        cmocka_unit_test(ends_of_lines_are_counted),
        cmocka_unit_test(no_byte_is_searched_twice),
        cmocka_unit_test(the_place_of_a_fault_does_not_depend_on_the_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
