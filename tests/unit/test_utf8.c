#include "claims.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/utf8.h"

#define ROW(text, valid)                                                                           \
    {                                                                                              \
        text, sizeof(text) - 1, valid                                                              \
    }

static const struct row {
    const char *text;
    size_t n;
    bool valid;
} rows[] = {
    ROW("", true),
    ROW("telemetry/plant-7/temperature", true),
    ROW("gr\xc3\xbc\xc3\x9f", true),
    ROW("\xc2\x80", true),         /* U+0080, the first of two bytes */
    ROW("\xdf\xbf", true),         /* U+07FF */
    ROW("\xe0\xa0\x80", true),     /* U+0800, the first of three */
    ROW("\xed\x9f\xbf", true),     /* U+D7FF, before the surrogates */
    ROW("\xee\x80\x80", true),     /* U+E000, after them */
    ROW("\xef\xbb\xbf", true),     /* U+FEFF is kept [MQTT-1.5.4-3] */
    ROW("\xef\xbf\xbf", true),     /* U+FFFF */
    ROW("\xf0\x90\x80\x80", true), /* U+10000, the first of four */
    ROW("\xf0\x9f\x98\x80", true),
    ROW("\xf4\x8f\xbf\xbf", true), /* U+10FFFF, the last */
    ROW("\x7f\x01\x1f", true),
    /* Overlong forms. */
    ROW("\xc0\x80", false),
    ROW("\xc0\xaf", false),
    ROW("\xc1\xbf", false),
    ROW("\xe0\x80\xaf", false),
    ROW("\xe0\x9f\xbf", false),
    ROW("\xf0\x80\x80\xaf", false),
    ROW("\xf0\x8f\xbf\xbf", false),
    ROW("\xf8\x88\x80\x80\x80", false),
    ROW("\xfc\x84\x80\x80\x80\x80", false),
    /* Surrogates [MQTT-1.5.4-1]. */
    ROW("\xed\xa0\x80", false),
    ROW("\xed\xad\xbf", false),
    ROW("\xed\xae\x80", false),
    ROW("\xed\xbf\xbf", false),
    ROW("\xed\xa0\xbd\xed\xb8\x80", false),
    /* Above U+10FFFF. */
    ROW("\xf4\x90\x80\x80", false),
    ROW("\xf5\x80\x80\x80", false),
    ROW("\xf7\xbf\xbf\xbf", false),
    ROW("\xff", false),
    ROW("\xfe", false),
    /* Tails alone, and leads without theirs. */
    ROW("\x80", false),
    ROW("\xbf", false),
    ROW("a\x80z", false),
    ROW("\xc3(", false),
    ROW("\xc3\xc3\xbc", false),
    ROW("\xe2\x28\xa1", false),
    ROW("\xe2\x82(", false),
    ROW("\xf0\x28\x8c\xbc", false),
    ROW("\xf0\x90\x28\xbc", false),
    ROW("\xf0\x90\x8c(", false),
};

/* Exactly so much memory as text, so that a read past the end is seen. */
static bool valid_in_exact_memory(const uint8_t *p, size_t n, bool nul_allowed)
{
    uint8_t *exact = sl_alloc(n);
    memcpy(exact, p, n);
    struct sl_bytes in = {exact, n};
    bool ok = nul_allowed ? sl_utf8_valid_nul(in) : sl_utf8_valid(in);
    sl_free(exact);
    return ok;
}

/* Every row at every distance from the start of a word, with text behind. */
static void text_is_well_formed_or_not_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        for (size_t before = 0; before < 18; before++) {
            for (size_t after = 0; after < 18; after += 17) {
                uint8_t text[64];
                memset(text, 'x', sizeof text);
                memcpy(text + before, rows[i].text, rows[i].n);
                size_t n = before + rows[i].n + after;
                if (valid_in_exact_memory(text, n, false) != rows[i].valid)
                    fail_msg("row %zu with %zu bytes before it", i, before);
                assert_true(valid_in_exact_memory(text, n, true) == rows[i].valid);
            }
        }
    }
}

static void a_sequence_cut_anywhere_is_ill_formed(void **state)
{
    (void)state;
    static const char *const whole[] = {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < SL_COUNT(whole); i++) {
        for (size_t before = 0; before < 9; before++) {
            uint8_t text[32];
            memset(text, 'x', sizeof text);
            memcpy(text + before, whole[i], strlen(whole[i]));
            for (size_t n = 1; n < strlen(whole[i]); n++)
                assert_false(valid_in_exact_memory(text, before + n, false));
            assert_true(valid_in_exact_memory(text, before + strlen(whole[i]), false));
        }
    }
}

static void nul_is_refused_only_by_the_strict_form(void **state)
{
    (void)state;
    uint8_t text[40];
    for (size_t n = 1; n <= sizeof text; n++) {
        for (size_t at = 0; at < n; at++) {
            memset(text, 1, n); /* the byte next to NUL */
            text[at] = 0;
            assert_false(valid_in_exact_memory(text, n, false));
            assert_true(valid_in_exact_memory(text, n, true));
        }
    }
    assert_true(sl_utf8_valid(SL_BYTES_NONE));
}

static size_t encode(uint32_t c, uint8_t *p)
{
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        p[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    p[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

static void every_code_point_but_surrogates_is_text(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        uint8_t p[4];
        size_t n = encode(c, p);
        bool is_text = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
        assert_true(sl_utf8_valid_nul(sl_bytes_of(p, n)) == is_text);
        assert_true(sl_utf8_valid(sl_bytes_of(p, n)) == (is_text && c != 0));
    }
}

/* Ill-formed text of up to three bytes: none but those that encode() makes are taken. */
static void nothing_else_of_up_to_3_bytes_is_text(void **state)
{
    (void)state;
    size_t taken = 0;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        uint8_t p[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        if (p[0] >= 0x80)
            taken += sl_utf8_valid(sl_bytes_of(p, 3));
    }
    /* One of three bytes, or one of two and an ASCII one. */
    assert_int_equal(taken, (0x10000 - 0x800 - 0x800) + (0x800 - 0x80) * 127);
}

static void escaped_text_is_printable_and_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t n, cap;
        const char *out;
    } cases[] = {
        {"sensor-1",      8,  64, "sensor-1"              },
        {"sensor-1",      8,  9,  "sensor-1"              },
        {"sensor-1",      8,  8,  "sens..."               },
        {"a\nb",          3,  64, "a\\x0ab"               },
        {"a\nb",          3,  7,  "a\\x0ab"               },
        {"a\nb",          3,  6,  "a..."                  },
        {"a\0b",          3,  64, "a\\x00b"               },
        {"\xc3\xbc\x7f",  3,  64, "\\xc3\\xbc\\x7f"       },
        {"say \"hi\" \\", 10, 64, "say \\x22hi\\x22 \\x5c"},
        {"abcdef",        6,  4,  "..."                   },
        {"abcdef",        6,  3,  ".."                    },
        {"abcdef",        6,  1,  ""                      },
        {"",              0,  1,  ""                      },
        {"~ ",            2,  3,  "~ "                    },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        char *out = sl_alloc(cases[i].cap);
        assert_string_equal(sl_escape(sl_bytes_of(cases[i].in, cases[i].n), out, cases[i].cap),
                            cases[i].out);
        sl_free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_well_formed_or_not_wherever_it_stands),
        cmocka_unit_test(a_sequence_cut_anywhere_is_ill_formed),
        cmocka_unit_test(nul_is_refused_only_by_the_strict_form),
        cmocka_unit_test(every_code_point_but_surrogates_is_text),
        cmocka_unit_test(nothing_else_of_up_to_3_bytes_is_text),
        cmocka_unit_test(escaped_text_is_printable_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
