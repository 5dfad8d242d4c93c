#include "claims.h"

#include "core/rng.h"
#include "core/units.h"

#define UNTOUCHED UINT64_C(4711)

struct row {
    const char *text;
    int err;
    uint64_t value;
};

static void check_rows(int (*parse)(struct sl_bytes, uint64_t *), const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = UNTOUCHED;
        if (parse(sl_str(rows[i].text), &v) != rows[i].err)
            fail_msg("\"%s\" is wrongly taken or refused", rows[i].text);
        assert_true(v == (rows[i].err == SL_OK ? rows[i].value : UNTOUCHED));
    }
}

static void durations_have_a_unit(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0",                        SL_OK,     0                             },
        {"0s",                       SL_OK,     0                             },
        {"500ms",                    SL_OK,     500                           },
        {"30s",                      SL_OK,     30000                         },
        {"5m",                       SL_OK,     300000                        },
        {"1h",                       SL_OK,     3600000                       },
        {"7d",                       SL_OK,     604800000                     },
        {"18446744073709551615ms",   SL_OK,     UINT64_MAX                    },
        {"18446744073709551616ms",   SL_EINVAL, 0                             },
        {"18446744073709551s",       SL_OK,     UINT64_C(18446744073709551000)},
        {"18446744073709552s",       SL_EINVAL, 0                             },
        {"213503982334d",            SL_OK,     UINT64_C(18446744073657600000)},
        {"213503982335d",            SL_EINVAL, 0                             },
        {"99999999999999999999999d", SL_EINVAL, 0                             },
        {"200us",                    SL_EINVAL, 0                             },
        {"0us",                      SL_EINVAL, 0                             },
        {"5",                        SL_EINVAL, 0                             },
        {"00",                       SL_EINVAL, 0                             },
        {"",                         SL_EINVAL, 0                             },
        {"s",                        SL_EINVAL, 0                             },
        {"-1s",                      SL_EINVAL, 0                             },
        {"1.5s",                     SL_EINVAL, 0                             },
        {"1 s",                      SL_EINVAL, 0                             },
        {" 1s",                      SL_EINVAL, 0                             },
        {"1s ",                      SL_EINVAL, 0                             },
        {"1S",                       SL_EINVAL, 0                             },
        {"1h30m",                    SL_EINVAL, 0                             },
        {"1w",                       SL_EINVAL, 0                             },
        {"1sec",                     SL_EINVAL, 0                             },
    };
    check_rows(sl_duration_parse, rows, SL_COUNT(rows));
    uint64_t v;
    assert_int_equal(sl_duration_parse(sl_bytes_of("1s\0", 3), &v), SL_EINVAL);
    assert_int_equal(sl_duration_parse(SL_BYTES_NONE, &v), SL_EINVAL);
}

static void microseconds_are_a_unit_where_they_are_asked_for(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0",                      SL_OK,     0                    },
        {"200us",                  SL_OK,     200                  },
        {"1ms",                    SL_OK,     1000                 },
        {"2s",                     SL_OK,     2000000              },
        {"1d",                     SL_OK,     UINT64_C(86400000000)},
        {"18446744073709551615us", SL_OK,     UINT64_MAX           },
        {"18446744073709552ms",    SL_EINVAL, 0                    },
        {"200",                    SL_EINVAL, 0                    },
        {"1ns",                    SL_EINVAL, 0                    },
    };
    check_rows(sl_duration_parse_us, rows, SL_COUNT(rows));
}

static void sizes_are_binary_or_bare(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0",                    SL_OK,     0                       },
        {"1234",                 SL_OK,     1234                    },
        {"12B",                  SL_OK,     12                      },
        {"64KiB",                SL_OK,     65536                   },
        {"1MiB",                 SL_OK,     1048576                 },
        {"1GiB",                 SL_OK,     UINT64_C(1) << 30       },
        {"64GiB",                SL_OK,     UINT64_C(64) << 30      },
        {"2TiB",                 SL_OK,     UINT64_C(2) << 40       },
        {"18446744073709551615", SL_OK,     UINT64_MAX              },
        {"16777215TiB",          SL_OK,     UINT64_C(16777215) << 40},
        {"16777216TiB",          SL_EINVAL, 0                       },
        {"18014398509481984KiB", SL_EINVAL, 0                       },
        {"",                     SL_EINVAL, 0                       },
        {"KiB",                  SL_EINVAL, 0                       },
        {"1KB",                  SL_EINVAL, 0                       },
        {"1kib",                 SL_EINVAL, 0                       },
        {"1K",                   SL_EINVAL, 0                       },
        {"1 KiB",                SL_EINVAL, 0                       },
        {"-1",                   SL_EINVAL, 0                       },
        {"0x10",                 SL_EINVAL, 0                       },
    };
    check_rows(sl_size_parse, rows, SL_COUNT(rows));
}

static void durations_are_shown_in_the_largest_unit_that_is_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {
        {0,          "0s"                    },
        {1,          "1ms"                   },
        {999,        "999ms"                 },
        {1000,       "1s"                    },
        {1500,       "1500ms"                },
        {60000,      "1m"                    },
        {90000,      "90s"                   },
        {3600000,    "1h"                    },
        {5400000,    "90m"                   },
        {86400000,   "1d"                    },
        {604800000,  "7d"                    },
        {90000000,   "25h"                   },
        {UINT64_MAX, "18446744073709551615ms"},
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        char out[24];
        assert_string_equal(sl_duration_format(rows[i].ms, out, sizeof out), rows[i].text);
    }
}

static void sizes_are_shown_in_the_largest_unit_that_is_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0,                 "0"                   },
        {1,                 "1"                   },
        {1000,              "1000"                },
        {1024,              "1KiB"                },
        {1536,              "1536"                },
        {65536,             "64KiB"               },
        {1048576,           "1MiB"                },
        {1572864,           "1536KiB"             },
        {UINT64_C(1) << 30, "1GiB"                },
        {UINT64_C(1) << 50, "1024TiB"             },
        {UINT64_MAX,        "18446744073709551615"},
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        char out[24];
        assert_string_equal(sl_size_format(rows[i].bytes, out, sizeof out), rows[i].text);
    }
}

static void what_is_shown_is_taken_back_unchanged(void **state)
{
    (void)state;
    struct sl_rng rng;
    sl_rng_seed(&rng, 9);
    for (int i = 0; i < 2000; i++) {
        uint64_t v = sl_rng_u64(&rng) >> sl_rng_below(&rng, 64);
        if (i % 2 == 0)
            v = v / 60000 * 60000;
        char out[24];
        uint64_t back;
        assert_int_equal(sl_duration_parse(sl_str(sl_duration_format(v, out, sizeof out)), &back),
                         SL_OK);
        assert_true(back == v);
        assert_int_equal(sl_size_parse(sl_str(sl_size_format(v, out, sizeof out)), &back), SL_OK);
        assert_true(back == v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_a_unit),
        cmocka_unit_test(microseconds_are_a_unit_where_they_are_asked_for),
        cmocka_unit_test(sizes_are_binary_or_bare),
        cmocka_unit_test(durations_are_shown_in_the_largest_unit_that_is_exact),
        cmocka_unit_test(sizes_are_shown_in_the_largest_unit_that_is_exact),
        cmocka_unit_test(what_is_shown_is_taken_back_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
