/* What a client is told about this server, and what it is then held to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mqtt_harness.h"

#define ALL_AVAILABLE "21 04 00 22 00 08 27 00 11 00 00"

/* Wildcards, subscription identifiers, shared subscriptions, retained messages
 * and QoS 2 are there, which is what a client takes for granted. */
static void connack_leaves_out_what_goes_without_saying(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c () s\"dev\" )");
    expect_out(&h, "20 ( 00 00 ( " ALL_AVAILABLE " ) )");
    harness_end(&h);
}

struct response_row {
    const char *configured, *properties, *id, *connack;
};

static void response_information_is_given_to_who_asks(void **state)
{
    (void)state;
    static const struct response_row table[] = {
        { "answers/%c", "19 01", "s\"dev\"", "1a s\"answers/dev\" " ALL_AVAILABLE },
        { "%c/%c%", "19 01", "s\"d\"", "1a s\"d/d%\" " ALL_AVAILABLE },
        { "answers", "19 01", "s\"d\"", "1a s\"answers\" " ALL_AVAILABLE },
        /* [MQTT-3.1.2-28] */
        { "answers/%c", "19 00", "s\"dev\"", ALL_AVAILABLE },
        { "answers/%c", "", "s\"dev\"", ALL_AVAILABLE },
        { NULL, "19 01", "s\"dev\"", ALL_AVAILABLE },
        /* No response topic can begin with that. */
        { "answers/%c", "19 01", "s\"a/#\"", ALL_AVAILABLE },
        { "answers/%c", "19 01", "s\"+\"", ALL_AVAILABLE },
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        struct harness h;
        char text[256];
        harness_init(&h);
        h.cfg.response_information = table[i].configured;
        h.id_as_sent = true;
        harness_begin(&h);
        snprintf(text, sizeof text, "10 ( s\"MQTT\" 05 02 00 3c ( %s ) %s )", table[i].properties,
                 table[i].id);
        harness_feed_text(&h, text);
        snprintf(text, sizeof text, "20 ( 00 00 ( %s ) )", table[i].connack);
        expect_out(&h, text);
        harness_end(&h);
    }
}

static void response_information_names_an_assigned_id(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.response_information = "answers/%c";
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c ( 19 01 ) s\"\" )");
    expect_out(&h, "20 ( 00 00 ( 12 s\"auto-1\" 1a s\"answers/auto-1\" " ALL_AVAILABLE " ) )");
    harness_end(&h);
}

/* ---- retained messages may be switched off ---- */

static void without_retained_messages_connack_says_so(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.retain_available = false;
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c () s\"dev\" )");
    expect_out(&h, "20 ( 00 00 ( 21 04 00 22 00 08 25 00 27 00 11 00 00 ) )");
    harness_end(&h);
}

static void without_retained_messages_a_will_to_be_retained_is_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.retain_available = false;
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 26 00 3c () s\"dev\" () s\"w\" s\"p\" )");
    expect_out(&h, "20 ( 00 9a ( 1f s\"retain_not_supported\" ) )"); /* [MQTT-3.2.2-13] */
    expect_log(&h, "CLOSE retain_not_supported\n");
    harness_end(&h);
}

static void without_retained_messages_other_wills_are_taken(void **state)
{
    (void)state;
    static const char *const connects[] = {
        "10 ( s\"MQTT\" 05 06 00 3c () s\"dev\" () s\"w\" s\"p\" )",
        "10 ( s\"MQTT\" 04 26 00 3c s\"dev\" s\"w\" s\"p\" )", /* 3.1.1 was not told */
    };
    for (size_t i = 0; i < SL_COUNT(connects); i++) {
        struct harness h;
        harness_init(&h);
        h.cfg.retain_available = false;
        harness_begin(&h);
        harness_feed_text(&h, connects[i]);
        assert_false(h.closed);
        harness_end(&h);
    }
}

static void without_retained_messages_a_retained_publish_is_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.retain_available = false;
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "30 ( s\"t\" () ) 31 ( s\"t\" () )");
    expect_log(&h, "PUBLISH topic=t\nCLOSE retain_not_supported\n");
    expect_out(&h, "e0 01 9a");
    harness_end(&h);
}

static void without_retained_messages_311_publishes_all_the_same(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.retain_available = false;
    harness_open(&h, MQTT_V311);
    harness_feed_text(&h, "33 ( s\"t\" 00 01 )");
    expect_log(&h, "PUBLISH topic=t qos=1 id=1 retain=1\n");
    expect_out(&h, "40 02 00 01");
    harness_end(&h);
}

/* ---- refusals in words ---- */

/* A client of 3.1.1 cannot say how long its session lasts: the server does. */
static void a_lasting_session_of_311_ends_when_the_server_says(void **state)
{
    (void)state;
    static const struct {
        uint32_t configured;
        const char *expiry;
    } rows[] = { { 0, "expiry=4294967295" }, { 604800, "expiry=604800" } };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_init(&h);
        h.cfg.session_expiry_default_s = rows[i].configured;
        harness_begin(&h);
        harness_feed_text(&h, "10 ( s\"MQTT\" 04 00 003C s\"c\" )");
        assert_non_null(strstr(harness_log(&h), rows[i].expiry));
        harness_end(&h);
    }
}

static void a_refused_connect_is_told_in_a_word(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.connect_result = PROTO_CONNECT_RATE;
    h.session_present = true; /* is not told then [MQTT-3.2.2-6] */
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 00 00 3c () s\"dev\" )");
    expect_out(&h, "20 ( 00 9f ( 1f s\"connection_rate_exceeded\" ) )");
    harness_end(&h);
}

/* What could not be read may have forbidden words, or room for them. */
static void a_connect_that_cannot_be_read_is_refused_without_a_word(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c ( 17 00 ) s\"dev\" 00 )");
    expect_out(&h, "20 03 00 81 00");
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connack_leaves_out_what_goes_without_saying),
        cmocka_unit_test(response_information_is_given_to_who_asks),
        cmocka_unit_test(response_information_names_an_assigned_id),
        cmocka_unit_test(without_retained_messages_connack_says_so),
        cmocka_unit_test(without_retained_messages_a_will_to_be_retained_is_refused),
        cmocka_unit_test(without_retained_messages_other_wills_are_taken),
        cmocka_unit_test(without_retained_messages_a_retained_publish_is_refused),
        cmocka_unit_test(without_retained_messages_311_publishes_all_the_same),
        cmocka_unit_test(a_lasting_session_of_311_ends_when_the_server_says),
        cmocka_unit_test(a_refused_connect_is_told_in_a_word),
        cmocka_unit_test(a_connect_that_cannot_be_read_is_refused_without_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
