#include "claims.h"

#include <stdlib.h>

#include "core/log.h"
#include "core/times.h"

static struct {
    char line[8192];
    size_t n;
    int lines;
} seen;

static void remember(void *arg, const char *line, size_t n)
{
    assert_ptr_equal(arg, &seen);
    assert_true(n < sizeof seen.line);
    memcpy(seen.line, line, n);
    seen.line[n] = '\0';
    seen.n = n;
    seen.lines++;
}

static int listen_to_the_log(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    sl_log_to(remember, &seen, SL_INFO);
    return 0;
}

/* What stands behind "2026-11-21T10:00:00.123Z ". */
static const char *after_time(void)
{
    return seen.n > 25 ? seen.line + 25 : "";
}

static void a_line_is_time_level_event_and_values(void **state)
{
    (void)state;
    sl_log(SL_WARN, "listener_open", "bind=%s port=%d", "127.0.0.1", 1883);
    uint64_t ms;
    assert_int_equal(sl_time_parse(sl_bytes_of(seen.line, 24), &ms), SL_OK);
    assert_int_equal(seen.line[24], ' ');
    assert_string_equal(after_time(), "warn listener_open bind=127.0.0.1 port=1883\n");
}

static void an_event_without_values_ends_at_its_name(void **state)
{
    (void)state;
    sl_log(SL_ERROR, "store_latched", "%s", "");
    assert_string_equal(after_time(), "error store_latched\n");
}

static void lines_below_the_least_level_go_nowhere(void **state)
{
    (void)state;
    sl_log(SL_DEBUG, "turn", "n=%d", 1);
    assert_int_equal(seen.lines, 0);
    sl_log_to(remember, &seen, SL_DEBUG);
    sl_log(SL_DEBUG, "turn", "n=%d", 2);
    assert_string_equal(after_time(), "debug turn n=2\n");
    sl_log_to(NULL, NULL, SL_DEBUG);
    sl_log(SL_ERROR, "turn", "n=%d", 3);
    assert_int_equal(seen.lines, 1);
}

static void one_event_is_one_line_whatever_a_value_holds(void **state)
{
    (void)state;
    sl_log(SL_INFO, "event", "v=%s", "a\nb\r\tc\x1b[0m\x7f");
    assert_string_equal(after_time(), "info event v=a b  c [0m \n");
}

static void a_long_line_is_cut_at_4096_bytes(void **state)
{
    (void)state;
    static char value[6000];
    memset(value, 'v', sizeof value - 1);
    sl_log(SL_INFO, "event", "v=%s", value);
    assert_int_equal(seen.n, 4096);
    assert_string_equal(seen.line + 4092, "...\n");
    /* "TIME info event " are 36 bytes, one is the newline: the longest that fits. */
    value[4096 - 36 - 1] = '\0';
    sl_log(SL_INFO, "event", "%s", value);
    assert_int_equal(seen.n, 4096);
    assert_string_equal(seen.line + 4092, "vvv\n");
}

static void log_to_stderr_and_stop(void)
{
    sl_log(SL_INFO, "hello", "a=%d", 1);
    abort();
}

/* Runs first, while the log is still as the program finds it. */
static void the_log_goes_to_stderr_from_the_start(void **state)
{
    (void)state;
    assert_dies(log_to_stderr_and_stop, "Z info hello a=1\n");
}

static void a_limit_lets_so_many_lines_through_each_second(void **state)
{
    (void)state;
    struct sl_log_limit l = {0};
    for (uint64_t second = 0; second < 5; second++) {
        int through = 0;
        for (uint64_t i = 0; i < 100; i++)
            through += sl_log_allow(&l, second * 1000 + i * 10, 3);
        assert_int_equal(through, 3);
        assert_int_equal(l.held, 97);
    }
    assert_int_equal(seen.lines, 4);
    assert_string_equal(after_time(), "warn lines_held_back count=97\n");
}

static void a_limit_that_held_nothing_tells_nothing(void **state)
{
    (void)state;
    struct sl_log_limit l = {0};
    assert_true(sl_log_allow(&l, 500, 1));
    assert_true(sl_log_allow(&l, 1000, 1));
    assert_true(sl_log_allow(&l, 9000, 1));
    assert_false(sl_log_allow(&l, 9999, 1));
    assert_false(sl_log_allow(&l, 20000, 0));
    assert_int_equal(seen.lines, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_goes_to_stderr_from_the_start),
        cmocka_unit_test_setup(a_line_is_time_level_event_and_values, listen_to_the_log),
        cmocka_unit_test_setup(an_event_without_values_ends_at_its_name, listen_to_the_log),
        cmocka_unit_test_setup(lines_below_the_least_level_go_nowhere, listen_to_the_log),
        cmocka_unit_test_setup(one_event_is_one_line_whatever_a_value_holds, listen_to_the_log),
        cmocka_unit_test_setup(a_long_line_is_cut_at_4096_bytes, listen_to_the_log),
        cmocka_unit_test_setup(a_limit_lets_so_many_lines_through_each_second, listen_to_the_log),
        cmocka_unit_test_setup(a_limit_that_held_nothing_tells_nothing, listen_to_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
