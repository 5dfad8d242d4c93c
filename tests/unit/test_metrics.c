#include "claims.h"

#include "core/metrics.h"

static void all_counters_are_printed_by_name_in_table_order(void **state)
{
    (void)state;
    struct queue_counters c = {.accepted = 12, .never_written = UINT64_MAX};
    struct sl_buf out = {0};
    queue_counters_print(&c, &out);
    assert_true(sl_bytes_is(
        sl_buf_view(&out),
        " accepted=12 refused=0 delivered=0 acked=0 retried=0 released=0 returned=0 dead=0"
        " expired=0 dropped=0 dead_dropped=0 dead_expired=0 purged=0"
        " cancelled=0 replaced=0 moved=0 dead_removed=0 expired_dead=0 duplicates=0 hop_limit=0 timed_out=0"
        " never_written=18446744073709551615"));
    sl_buf_fini(&out);
}

static void every_gateway_counter_is_there(void **state)
{
    (void)state;
    struct gateway_counters c = {.connections_opened = 1, .workers_exited = 9};
    struct sl_buf out = {0};
    gateway_counters_print(&c, &out);
    assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
    const char *text = (const char *)sl_buf_view(&out).p;
#define X(name) assert_non_null(strstr(text, " " #name "="));
    GATEWAY_COUNTERS(X)
#undef X
    assert_ptr_equal(strstr(text, " connections_opened=1 "), text);
    assert_string_equal(text + strlen(text) - strlen(" workers_exited=9"), " workers_exited=9");
    sl_buf_fini(&out);
}

static void a_histogram_keeps_each_value_under_its_power_of_two(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 2, 3, 4, 5, 8, 9, UINT64_C(1) << 40};
    struct sl_histogram h = {0};
    for (size_t i = 0; i < SL_COUNT(values); i++)
        sl_histogram_add(&h, values[i]);
    struct sl_buf out = {0};
    sl_histogram_print(&h, &out);
    assert_true(sl_bytes_is(sl_buf_view(&out), " count=9 mean=122167958645 max=1099511627776"
                                               " le_1=2 le_2=1 le_4=2 le_8=2 le_16=1 le_2147483648=1"));
    sl_buf_fini(&out);
}

static void a_full_buffer_holds_whole_counters_only(void **state)
{
    (void)state;
    struct queue_counters c = {0};
    struct sl_buf out;
    sl_buf_init(&out, 15);
    queue_counters_print(&c, &out);
    assert_true(sl_bytes_is(sl_buf_view(&out), " accepted=0"));
    sl_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_counters_are_printed_by_name_in_table_order),
        cmocka_unit_test(every_gateway_counter_is_there),
        cmocka_unit_test(a_histogram_keeps_each_value_under_its_power_of_two),
        cmocka_unit_test(a_full_buffer_holds_whole_counters_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
