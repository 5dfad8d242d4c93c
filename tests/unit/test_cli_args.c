/* `sluice pub` and `sluice sub`: what they take and refuse, where they would connect, what they would print. */
#include "claims.h"

#include <stdlib.h>

#include "address.h"
#include "args.h"
#include "check.h"
#include "core/alloc.h"
#include "format.h"
#include "stomp.h"

#define MAX_WORDS 16

/* A command line as text; words are separated by one blank. The texts live as long as `line`. */
struct line {
    char text[512];
    char *argv[MAX_WORDS + 1];
    int argc;
};

static struct line *split(struct line *l, const char *text)
{
    char *rest;
    snprintf(l->text, sizeof l->text, "%s", text);
    l->argc = 0;
    for (char *w = strtok_r(l->text, " ", &rest); w != NULL && l->argc < MAX_WORDS; w = strtok_r(NULL, " ", &rest))
        l->argv[l->argc++] = w;
    l->argv[l->argc] = NULL;
    return l;
}

static int pub(const char *text, struct cli_args *a)
{
    static struct line l;
    split(&l, text);
    return cli_args_pub(l.argc, l.argv, a);
}

static int sub(const char *text, struct cli_args *a)
{
    static struct line l;
    split(&l, text);
    return cli_args_sub(l.argc, l.argv, a);
}

static void options_stand_anywhere_and_letters_join(void **state)
{
    struct cli_args a;
    (void)state;
    assert_int_equal(pub("pub t/1 -rq1 hello --header a=b -p 1884 --header=c=d --expiry 5m", &a), SL_OK);
    assert_string_equal(a.topic, "t/1");
    assert_string_equal(a.payload, "hello");
    assert_true(a.retain);
    assert_int_equal(a.qos, 1);
    assert_int_equal(a.port, 1884);
    assert_int_equal(a.expiry, 300);
    assert_int_equal(a.headers.n, 2);
    assert_string_equal(a.headers.v[1], "c=d");
    assert_int_equal(a.source, CLI_FROM_ARGUMENT);
    assert_int_equal(a.version, 5);
    cli_args_fini(&a);
}

static void mosquittos_way_of_saying_it_is_understood(void **state)
{
    struct cli_args a;
    (void)state;
    assert_int_equal(pub("pub -h h -V mqttv311 -t t -m hi -i me -k 9", &a), SL_OK);
    assert_int_equal(a.version, 4);
    assert_string_equal(a.payload, "hi");
    cli_args_fini(&a);
    assert_int_equal(sub("sub -v -t a/# -t b -C 3 -W 2 -F %t", &a), SL_OK);
    assert_int_equal(a.topics.n, 2);
    assert_int_equal(a.timeout_ms, 2000);
    cli_args_fini(&a);
}

static void what_follows_two_dashes_is_no_option(void **state)
{
    struct cli_args a;
    (void)state;
    assert_int_equal(pub("pub -- t -5", &a), SL_OK);
    assert_string_equal(a.payload, "-5");
    cli_args_fini(&a);
}

static void each_source_of_a_payload_is_known(void **state)
{
    static const struct {
        const char *line;
        enum cli_source source;
    } cases[] = { { "pub t -", CLI_FROM_STDIN },   { "pub t -s", CLI_FROM_STDIN }, { "pub t -l", CLI_FROM_LINES },
                  { "pub t -f x", CLI_FROM_FILE }, { "pub t -n", CLI_FROM_ARGUMENT } };
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct cli_args a;
        assert_int_equal(pub(cases[i].line, &a), SL_OK);
        assert_int_equal(a.source, cases[i].source);
        cli_args_fini(&a);
    }
}

static void wrong_use_is_refused(void **state)
{
    static const char *const pubs[] = {
        "pub",          "pub t",           "pub t p q",        "pub a/+ p",       "pub t p -q 3",   "pub t p -p 0",
        "pub t p -V 6", "pub t p --nope",  "pub t p -p",       "pub t p --tls=1", "pub t p -V 1.2",  "pub t -l -C 2",
        "pub t p -l",   "pub t p -H x",    "pub t p -H =x",    "pub t -l --wait", "pub t p --json", "pub t p --cert c",
        "pub t p -c",   "pub t p -x 1h",   "pub t p -V 4 -x 0", "pub t p -V 4 -H a=b", "pub t p -V 4 -w",
        "pub t p --will-qos 1", "pub t p --will-topic +", "pub t p -P a --password-file b", "pub t p -L mqtt://h -p 1",
    };
    static const char *const subs[] = {
        "sub", "sub a/#/b", "sub a+", "sub $share/g", "sub $share//t", "sub $share/g+/t", "sub a -F %Z", "sub a -F %",
        "sub a --json -F %t", "sub $share/g/t --no-local", "sub a --retain-handling 3", "sub a --subscription-id 0",
        "sub a -R --retained-only", "sub a -V 4 --no-local", "sub a -C 0",
    };
    struct cli_args a;
    (void)state;
    for (size_t i = 0; i < SL_COUNT(pubs); i++) {
        assert_int_equal(pub(pubs[i], &a), SL_EINVAL);
        cli_args_fini(&a);
    }
    for (size_t i = 0; i < SL_COUNT(subs); i++) {
        assert_int_equal(sub(subs[i], &a), SL_EINVAL);
        cli_args_fini(&a);
    }
}

static void what_one_protocol_does_not_have_is_refused_and_not_ignored(void **state)
{
    static const char *const pubs[] = { "pub t p --stomp -q 2",          "pub t p --stomp -V 5",   "pub t p --stomp -V 3.1.1",
                                        "pub t p --stomp --tls",         "pub t p --stomp --utf8", "pub t p --stomp --cafile f",
                                        "pub t p --stomp --will-topic w", "pub t p --stomp -x 1h -i me", "pub t p --vhost v" };
    static const char *const subs[] = { "sub a --ack auto",        "sub a --prefetch 3",           "sub a --stomp --ack none",
                                        "sub a --stomp -U b",      "sub a --stomp --prefetch 0",   "sub a --stomp --no-local",
                                        "sub a --stomp --ack auto -q 0", "sub --stomp $share/g/a", "sub --stomp a/#/b" };
    struct cli_args a;
    (void)state;
    for (size_t i = 0; i < SL_COUNT(pubs); i++) {
        assert_int_equal(pub(pubs[i], &a), SL_EINVAL);
        cli_args_fini(&a);
    }
    for (size_t i = 0; i < SL_COUNT(subs); i++) {
        assert_int_equal(sub(subs[i], &a), SL_EINVAL);
        cli_args_fini(&a);
    }
}

static void help_is_asked_for_before_anything_is_missed(void **state)
{
    struct cli_args a;
    (void)state;
    assert_int_equal(pub("pub --help", &a), SL_ENOENT);
    cli_args_fini(&a);
    assert_int_equal(sub("sub --help", &a), SL_ENOENT);
    cli_args_fini(&a);
}

static void a_password_is_wiped_from_the_command_line(void **state)
{
    struct line l;
    struct cli_args a;
    (void)state;
    split(&l, "pub t p -u me -P secret");
    assert_int_equal(cli_args_pub(l.argc, l.argv, &a), SL_OK);
    assert_string_equal(a.password, "secret");
    for (int i = 0; i < l.argc; i++)
        assert_null(strstr(l.argv[i], "secret"));
    cli_args_fini(&a);
}

/* ---- addresses ---- */

static void address_is(const char *line, const char *uri, const char *user, const char *password)
{
    struct cli_args a;
    struct cli_address at;
    assert_int_equal(pub(line, &a), SL_OK);
    assert_int_equal(cli_address_of("pub", &a, &at), SL_OK);
    assert_string_equal(at.uri, uri);
    assert_string_equal(at.user != NULL ? at.user : "", user);
    assert_string_equal(at.password != NULL ? at.password : "", password);
    assert_true(password[0] == '\0' || strstr(at.shown, password) == NULL);
    cli_address_fini(&at);
    cli_args_fini(&a);
}

static void addresses_are_read_in_every_form(void **state)
{
    (void)state;
    unsetenv(CLI_PASSWORD_VARIABLE);
    address_is("pub t p", "tcp://127.0.0.1:1883", "", "");
    address_is("pub t p -h broker -p 99", "tcp://broker:99", "", "");
    address_is("pub t p -h ::1", "tcp://[::1]:1883", "", "");
    address_is("pub t p --tls", "ssl://127.0.0.1:8883", "", "");
    address_is("pub t p -L mqtt://h", "tcp://h:1883", "", "");
    address_is("pub t p -L mqtts://u:p%40q@h/", "ssl://h:8883", "u", "p@q");
    address_is("pub t p -L mqtt://u@[fe80::1]:7", "tcp://[fe80::1]:7", "u", "");
    setenv(CLI_PASSWORD_VARIABLE, "fromenv", 1);
    address_is("pub t p -u u", "tcp://127.0.0.1:1883", "u", "fromenv");
    address_is("pub t p", "tcp://127.0.0.1:1883", "", "");
    unsetenv(CLI_PASSWORD_VARIABLE);
}

static void stomp_has_its_own_port_and_unix_sockets(void **state)
{
    static const char *const cases[][2] = { { "pub t p --stomp", "stomp://127.0.0.1:61613" },
                                            { "pub t p --stomp -h ::1 -p 9", "stomp://[::1]:9" },
                                            { "pub t p --stomp -L stomp://u:p@h", "stomp://h:61613" },
                                            { "pub t p --stomp -L unix:/run/s.sock", "unix:/run/s.sock" } };
    static const char *const bad[] = { "pub t p --stomp -L mqtt://h", "pub t p --stomp -L stomp+ssl://h", "pub t p --stomp -L unix:",
                                       "pub t p -L stomp://h" };
    struct cli_args a;
    struct cli_address at;
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        assert_int_equal(pub(cases[i][0], &a), SL_OK);
        assert_int_equal(cli_address_of("pub", &a, &at), SL_OK);
        assert_string_equal(at.shown, cases[i][1]);
        cli_address_fini(&at);
        cli_args_fini(&a);
    }
    for (size_t i = 0; i < SL_COUNT(bad); i++) {
        assert_int_equal(pub(bad[i], &a), SL_OK);
        assert_int_equal(cli_address_of("pub", &a, &at), SL_EINVAL);
        cli_args_fini(&a);
    }
}

static void bad_addresses_are_refused(void **state)
{
    static const char *const bad[] = { "pub t p -L unix:/x", "pub t p -L ws://h", "pub t p -L h", "pub t p -L mqtt://",
                                       "pub t p -L mqtt://h:0", "pub t p -L mqtt://h:1x", "pub t p -L mqtt://h/path",
                                       "pub t p -L mqtt://[::1", "pub t p -L mqtt://h --tls", "pub t p -V 4 -P x" };
    (void)state;
    for (size_t i = 0; i < SL_COUNT(bad); i++) {
        struct cli_args a;
        struct cli_address at;
        assert_int_equal(pub(bad[i], &a), SL_OK);
        assert_int_equal(cli_address_of("pub", &a, &at), SL_EINVAL);
        cli_args_fini(&a);
    }
}

/* ---- STOMP's frames ---- */

static void frame_is(struct sl_buf *out, const char *text)
{
    assert_int_equal(sl_buf_append(out, "", 1), SL_OK);
    assert_string_equal((const char *)sl_buf_view(out).p, text);
    sl_buf_fini(out);
    *out = (struct sl_buf){ 0 };
}

static void a_topic_becomes_a_destination_and_its_dots_stay_dots(void **state)
{
    static const char *const cases[][2] = { { "a/b.c", "/topic/a/b.c" }, { "a.b", "/topic/a%2Eb" }, { "/queue/n", "/queue/n" },
                                            { "/topic/a.b", "/topic/a.b" }, { "x", "/topic/x" }, { "a/%2E%", "/topic/a/%252E%" },
                                            { "a%25", "/topic/a%2525" } };
    struct sl_buf out = { 0 };
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        cli_stomp_destination(&out, cases[i][0]);
        frame_is(&out, cases[i][1]);
    }
}

static void options_are_headers_of_a_send_and_are_escaped(void **state)
{
    struct cli_args a;
    struct sl_buf out = { 0 };
    struct stomp_writer w;
    (void)state;
    assert_int_equal(pub("pub --stomp t p -r -H k:1=v=\\ --content-type text/plain --correlation c --response-topic back", &a), SL_OK);
    cli_stomp_begin_send(&w, &out, STOMP_V12, a.topic, &a);
    assert_int_equal(stomp_end(&w, sl_str(a.payload)), SL_OK);
    frame_is(&out, "SEND\ndestination:/topic/t\ncontent-type:text/plain\nreply-to:/topic/back\ncorrelation-id:c\n"
                   "retain:true\nk\\c1:v=\\\\\ncontent-length:1\n\np");
    cli_args_fini(&a);
}

static void a_queue_is_acknowledged_unless_asked_otherwise_and_no_more_is_asked_for_than_is_shown(void **state)
{
    static const char *const cases[][2] = {
        { "sub --stomp /queue/q", "destination:/queue/q\nack:client-individual\n" },
        { "sub --stomp /queue/q -C 3", "destination:/queue/q\nack:client-individual\nprefetch-count:3\n" },
        { "sub --stomp /queue/q -C 3 --prefetch 9", "destination:/queue/q\nack:client-individual\nprefetch-count:9\n" },
        { "sub --stomp /queue/q -q 0", "destination:/queue/q\nack:auto\n" },
        { "sub --stomp a/# -C 3", "destination:/topic/a/#\nack:auto\n" },
        { "sub --stomp a --ack client-individual", "destination:/topic/a\nack:client-individual\n" },
    };
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        char text[256];
        struct cli_args a;
        struct sl_buf out = { 0 };
        assert_int_equal(sub(cases[i][0], &a), SL_OK);
        assert_int_equal(cli_stomp_put_subscribe(&out, STOMP_V12, a.topics.v[0], 1, &a), SL_OK);
        snprintf(text, sizeof text, "SUBSCRIBE\nid:1\n%sreceipt:s1\n\n", cases[i][1]);
        frame_is(&out, text);
        cli_args_fini(&a);
    }
}

static void each_version_acknowledges_in_its_own_form(void **state)
{
    struct sl_buf out = { 0 };
    (void)state;
    assert_int_equal(cli_stomp_put_ack(&out, STOMP_V12, sl_str("1-2"), 1), SL_OK);
    frame_is(&out, "ACK\nid:1-2\n\n");
    assert_int_equal(cli_stomp_put_ack(&out, STOMP_V11, sl_str("m"), 1), SL_OK);
    frame_is(&out, "ACK\nmessage-id:m\nsubscription:1\n\n");
    assert_int_equal(cli_stomp_put_ack(&out, STOMP_V10, sl_str("m"), 1), SL_OK);
    frame_is(&out, "ACK\nmessage-id:m\n\n");
}

/* ---- what is printed ---- */

static const char *shown(const char *pattern, const struct cli_message *m)
{
    static char text[512];
    struct sl_buf out = { 0 };
    cli_format_line(&out, pattern, m, 1700000000123456);
    snprintf(text, sizeof text, "%.*s", (int)sl_buf_len(&out), out.p == NULL ? "" : (const char *)out.p + out.start);
    sl_buf_fini(&out);
    return text;
}

static MQTTLenString len_string(char *s)
{
    return (MQTTLenString){ (int)strlen(s), s };
}

static void a_pattern_shows_each_part(void **state)
{
    MQTTProperty p[3] = { { .identifier = MQTTPROPERTY_CODE_USER_PROPERTY },
                          { .identifier = MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER },
                          { .identifier = MQTTPROPERTY_CODE_CONTENT_TYPE } };
    MQTTProperties all = { 3, 3, 0, p };
    struct cli_message m = { .topic = sl_str("a/b"), .payload = sl_str("hi"), .qos = 2, .retain = true, .properties = &all };
    (void)state;
    p[0].value.data = len_string((char[]){ "k" });
    p[0].value.value = len_string((char[]){ "v" });
    p[1].value.integer4 = 7;
    p[2].value.data = len_string((char[]){ "text/plain" });
    assert_string_equal(shown("%t %p", &m), "a/b hi");
    assert_string_equal(shown("%q%r%d%l %x%%\\t", &m), "2102 6869%\t");
    assert_string_equal(shown("%P|%S|%C|%R", &m), "k=v|7|text/plain|");
    assert_string_equal(shown("%I %U", &m), "2023-11-14T22:13:20.123Z 1700000000.123456");
    assert_string_equal(shown("%j", &m), "{\"received_at\":\"2023-11-14T22:13:20.123Z\",\"topic\":\"a/b\",\"qos\":2,"
                                         "\"retain\":true,\"dup\":false,\"headers\":[[\"k\",\"v\"]],"
                                         "\"subscription_ids\":[7],\"content_type\":\"text/plain\",\"payload\":\"hi\"}");
}

static void bytes_that_are_no_text_are_base64_in_json(void **state)
{
    MQTTProperties none = MQTTProperties_initializer;
    struct cli_message m = { .topic = sl_str("t"), .payload = sl_bytes_of("\xff\0a", 3), .properties = &none };
    (void)state;
    assert_non_null(strstr(shown("%j", &m), "\"payload_base64\":\"/wBh\""));
    m.payload = sl_bytes_of("a\0b", 3);
    assert_non_null(strstr(shown("%j", &m), "\"payload_base64\":\"YQBi\""));
}

static void stomps_headers_are_shown_as_the_properties_that_they_are(void **state)
{
    static const char text[] = "MESSAGE\nsubscription:1\nmessage-id:m1\nack:1-7\nattempt:2\nredelivered:true\n"
                               "destination:/queue/q\ncontent-type:text/plain\nreply-to:back\nretain:true\nk:v\\n\n\nhi";
    const struct stomp_rules rules = { STOMP_V12, false, 20, 100, 100, SIZE_MAX };
    struct stomp_scan scan = { 0 };
    struct stomp_arena arena = { 0 };
    struct stomp_frame f;
    struct cli_stomp_properties p = { 0 };
    (void)state;
    assert_int_equal(stomp_scan(&scan, &rules, sl_bytes_of(text, sizeof text)), SL_OK);
    stomp_frame_parse(&arena, &scan, STOMP_V12, sl_bytes_of(text, sizeof text), &f);
    struct cli_message m = cli_stomp_message(&f, STOMP_V12, &p);
    assert_true(sl_bytes_is(m.token, "1-7"));
    assert_int_equal(m.subscription, 1);
    assert_string_equal(shown("%t %p %d%r %C %R", &m), "/queue/q hi 11 text/plain back");
    assert_string_equal(shown("%P", &m), "message-id=m1 attempt=2 k=v\n");
    cli_stomp_properties_fini(&p);
    stomp_arena_fini(&arena);
}

static void a_terminal_is_not_steered(void **state)
{
    struct sl_buf out = { 0 };
    (void)state;
    cli_format_tame(&out, sl_str("\033[2Jh\xc3\xa9\n\xc2\x9b"));
    assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
    assert_string_equal((const char *)out.p, "\\x1b[2Jh\xc3\xa9\n\\xc2\\x9b");
    sl_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere_and_letters_join),
        cmocka_unit_test(mosquittos_way_of_saying_it_is_understood),
        cmocka_unit_test(what_follows_two_dashes_is_no_option),
        cmocka_unit_test(each_source_of_a_payload_is_known),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(what_one_protocol_does_not_have_is_refused_and_not_ignored),
        cmocka_unit_test(help_is_asked_for_before_anything_is_missed),
        cmocka_unit_test(a_password_is_wiped_from_the_command_line),
        cmocka_unit_test(addresses_are_read_in_every_form),
        cmocka_unit_test(stomp_has_its_own_port_and_unix_sockets),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(a_topic_becomes_a_destination_and_its_dots_stay_dots),
        cmocka_unit_test(options_are_headers_of_a_send_and_are_escaped),
        cmocka_unit_test(a_queue_is_acknowledged_unless_asked_otherwise_and_no_more_is_asked_for_than_is_shown),
        cmocka_unit_test(each_version_acknowledges_in_its_own_form),
        cmocka_unit_test(a_pattern_shows_each_part),
        cmocka_unit_test(bytes_that_are_no_text_are_base64_in_json),
        cmocka_unit_test(stomps_headers_are_shown_as_the_properties_that_they_are),
        cmocka_unit_test(a_terminal_is_not_steered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
