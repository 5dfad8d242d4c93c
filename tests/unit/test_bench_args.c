/* The bench's command line and the open loop's timetable. */
#include "claims.h"

#include "bench/args.h"
#include "load.h"

struct options {
    bool flag;
    uint32_t n, size;
    uint64_t us, ns;
    const char *text;
};

static int take(struct options *o, int argc, char **argv, int *i)
{
    static const struct arg args[] = {
        { "flag", ARG_FLAG, offsetof(struct options, flag) },
        { "n", ARG_U32, offsetof(struct options, n) },
        { "size", ARG_SIZE, offsetof(struct options, size) },
        { "us", ARG_DURATION_US, offsetof(struct options, us) },
        { "seconds", ARG_SECONDS, offsetof(struct options, ns) },
        { "text", ARG_TEXT, offsetof(struct options, text) },
    };
    return args_take(&(struct arg_table){ args, SL_COUNT(args) }, o, argc, argv, i);
}

static void both_forms_of_an_option_are_taken(void **state)
{
    char *argv[] = { "bench", "--n",       "7",   "--size=16KiB", "--us",
                     "1ms",   "--seconds", "2.5", "--text=x=y",   "--flag" };
    struct options o = { 0 };
    (void)state;
    for (int i = 1; i < (int)SL_COUNT(argv); i++)
        assert_int_equal(take(&o, (int)SL_COUNT(argv), argv, &i), SL_OK);
    assert_int_equal(o.n, 7);
    assert_int_equal(o.size, 16384);
    assert_int_equal(o.us, 1000);
    assert_int_equal(o.ns, 2500000000);
    assert_string_equal(o.text, "x=y");
    assert_true(o.flag);
}

static void bad_and_missing_values_are_refused(void **state)
{
    char *bad[] = { "--n=x", "--n=4294967296", "--size=1PB", "--us=3", "--seconds=soon", "--text" };
    struct options o = { 0 };
    (void)state;
    for (int i = 0; i < (int)SL_COUNT(bad); i++) {
        int at = 0;
        assert_int_equal(take(&o, 1, &bad[i], &at), SL_EINVAL);
    }
    char *strange[] = { "--nn=1", "-n", "n" };
    for (int i = 0; i < (int)SL_COUNT(strange); i++) {
        int at = 0;
        assert_int_equal(take(&o, 1, &strange[i], &at), SL_ENOENT);
    }
}

static void the_timetable_has_every_message_once(void **state)
{
    struct load l = { .o = { .connections = 3 }, .pace_start_ns = 1000, .ns_per_message = 10.0 };
    (void)state;
    assert_int_equal(pace_due(1000, 999, 10.0), 0);
    assert_int_equal(pace_due(1000, 1000, 10.0), 1);
    assert_int_equal(pace_due(1000, 1039, 10.0), 4);
    assert_int_equal(pace_time(&l, 0, 0), 1000);
    assert_int_equal(pace_time(&l, 2, 0), 1020);
    assert_int_equal(pace_time(&l, 0, 1), 1030); /* the fourth message: the first link's second */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_of_an_option_are_taken),
        cmocka_unit_test(bad_and_missing_values_are_refused),
        cmocka_unit_test(the_timetable_has_every_message_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
