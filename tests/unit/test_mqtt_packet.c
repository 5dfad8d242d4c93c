/* The codec alone: which property may stand where, round trips of everything,
 * and what is left of a packet that ends too early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "mqtt/names.h"
#include "mqtt_harness.h"
#include "mqtt_recode.h"

/* ---- one packet of each kind, around a given set of properties ---- */

struct kind {
    const char *name;
    uint8_t type;
    bool from_server, will;
    const char *allowed; /* identifiers in hex, from the standard's table 2-4 */
};

static const struct kind kinds[] = {
    {"CONNECT",         MQTT_CONNECT,     false, false, "11 15 17 19 21 22 26 27"                           },
    {"will",            MQTT_CONNECT,     false, true,  "01 02 03 08 09 18 26"                              },
    {"CONNACK",         MQTT_CONNACK,     true,  false, "11 12 13 15 16 1a 1c 1f 21 22 24 25 26 27 28 29 2a"},
    {"PUBLISH up",      MQTT_PUBLISH,     false, false, "01 02 03 08 09 23 26"                              },
    {"PUBLISH down",    MQTT_PUBLISH,     true,  false, "01 02 03 08 09 0b 23 26"                           },
    {"PUBACK",          MQTT_PUBACK,      true,  false, "1f 26"                                             },
    {"PUBREC",          MQTT_PUBREC,      false, false, "1f 26"                                             },
    {"PUBREL",          MQTT_PUBREL,      false, false, "1f 26"                                             },
    {"PUBCOMP",         MQTT_PUBCOMP,     true,  false, "1f 26"                                             },
    {"SUBSCRIBE",       MQTT_SUBSCRIBE,   false, false, "0b 26"                                             },
    {"SUBACK",          MQTT_SUBACK,      true,  false, "1f 26"                                             },
    {"UNSUBSCRIBE",     MQTT_UNSUBSCRIBE, false, false, "26"                                                },
    {"UNSUBACK",        MQTT_UNSUBACK,    true,  false, "1f 26"                                             },
    {"DISCONNECT up",   MQTT_DISCONNECT,  false, false, "11 1f 26"                                          },
    {"DISCONNECT down", MQTT_DISCONNECT,  true,  false, "1c 1f 26"                                          },
    {"AUTH",            MQTT_AUTH,        false, false, "15 16 1f 26"                                       },
};

static int put_connect(struct sl_buf *out, const struct kind *k, enum mqtt_version v,
                       const struct mqtt_props *props)
{
    struct mqtt_connect p = {.version = (uint8_t)v, .clean_start = true, .keep_alive_s = 60};
    p.client_id = sl_str("dev");
    mqtt_props_init(&p.props);
    mqtt_props_init(&p.will.props);
    p.has_will = k->will;
    p.has_username = k->will;
    p.username = sl_str("user");
    p.will.topic = sl_str("will/t");
    p.will.payload = sl_str("gone");
    *(k->will ? &p.will.props : &p.props) = *props;
    return mqtt_encode_connect(out, &p);
}

static int put_filters(struct sl_buf *out, const struct kind *k, enum mqtt_version v,
                       const struct mqtt_props *props)
{
    static const struct mqtt_filter list[] = {
        {.filter = {(const uint8_t *)"a/+/#", 5},       .qos = 1},
        {.filter = {(const uint8_t *)"$share/g/b", 10}, .qos = 2},
    };
    struct mqtt_filters p = {.packet_id = 7, .props = *props, .list = list, .n = 2};
    return k->type == MQTT_SUBSCRIBE ? mqtt_encode_subscribe(out, v, &p)
                                     : mqtt_encode_unsubscribe(out, v, &p);
}

static int put_codes(struct sl_buf *out, const struct kind *k, enum mqtt_version v,
                     const struct mqtt_props *props)
{
    struct mqtt_codes p = {.packet_id = 7, .props = *props, .codes = sl_bytes_of("\0\x80", 2)};
    if (k->type == MQTT_SUBACK)
        return mqtt_encode_suback(out, v, &p);
    p.codes.n = v == MQTT_V5 ? 2 : 0;
    return mqtt_encode_unsuback(out, v, &p);
}

static int put_packet(struct sl_buf *out, const struct kind *k, enum mqtt_version v,
                      const struct mqtt_props *props)
{
    struct mqtt_connack connack = {.session_present = true, .props = *props};
    struct mqtt_publish publish = {.qos = 1,
                                   .packet_id = 7,
                                   .topic = sl_str("a/b"),
                                   .props = *props,
                                   .payload = sl_str("body")};
    struct mqtt_ack ack = {.type = k->type, .packet_id = 7, .props = *props};
    struct mqtt_word word = {.props = *props};
    switch (k->type) {
    case MQTT_CONNECT:
        return put_connect(out, k, v, props);
    case MQTT_CONNACK:
        return mqtt_encode_connack(out, v, &connack);
    case MQTT_PUBLISH:
        return mqtt_encode_publish(out, v, &publish);
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return put_filters(out, k, v, props);
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        return put_codes(out, k, v, props);
    case MQTT_DISCONNECT:
        return mqtt_encode_disconnect(out, v, &word);
    case MQTT_AUTH:
        return mqtt_encode_auth(out, &word);
    default:
        return mqtt_encode_ack(out, v, &ack);
    }
}

/* Decodes in memory of the packet's own size and codes again. */
static int read_back(struct sl_bytes packet, const struct kind *k, enum mqtt_version v,
                     struct mqtt_frame *f, struct sl_buf *again)
{
    uint8_t *copy = sl_alloc(packet.n);
    memcpy(copy, packet.p, packet.n);
    *f = (struct mqtt_frame){.version = (uint8_t)v, .from_server = k->from_server};
    int err = mqtt_frame_read(sl_bytes_of(copy, packet.n), MQTT_PACKET_MAX, f);
    if (err == SL_OK)
        err = mqtt_recode(f, again);
    sl_free(copy);
    return err;
}

/* ---- properties ---- */

static bool allowed(const struct kind *k, unsigned id)
{
    char hex[3];
    snprintf(hex, sizeof hex, "%02x", id);
    return strstr(k->allowed, hex) != NULL;
}

static const uint8_t strings[] = {0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F};

static bool is_string(unsigned id)
{
    return memchr(strings, (int)id, sizeof strings) != NULL;
}

static bool exists(unsigned id)
{
    for (size_t i = 0; i < SL_COUNT(kinds); i++)
        if (allowed(&kinds[i], id) || id == 0x16)
            return true;
    return false;
}

static const struct message_header one_header = {
    {(const uint8_t *)"k", 1},
    {(const uint8_t *)"v", 1}
};

static void set(struct mqtt_props *props, unsigned id)
{
    if (id == MQTT_PROP_USER)
        mqtt_props_set_user(props, &one_header, 1);
    else if (is_string(id))
        mqtt_props_set_string(props, id, sl_str("text"));
    else
        mqtt_props_set_number(props, id, 1);
}

static void a_property_stands_where_the_standard_lets_it(void **state)
{
    (void)state;
    unsigned taken = 0, refused = 0;
    for (size_t i = 0; i < SL_COUNT(kinds); i++) {
        for (unsigned id = 1; id <= 0x2A; id++) {
            if (!exists(id) || (id == 0x16 && kinds[i].type == MQTT_CONNECT))
                continue; /* authentication data needs its method: a case of its own */
            struct mqtt_props props;
            struct mqtt_frame f;
            struct sl_buf out = {0}, again = {0};
            mqtt_props_init(&props);
            set(&props, id);
            assert_int_equal(put_packet(&out, &kinds[i], MQTT_V5, &props), SL_OK);
            int err = read_back(sl_buf_view(&out), &kinds[i], MQTT_V5, &f, &again);
            if (err != (allowed(&kinds[i], id) ? SL_OK : SL_EPEER))
                fail_msg("%s, property 0x%02x", kinds[i].name, id);
            if (err == SL_OK)
                taken++;
            else
                refused++;
            bool up = id == MQTT_PROP_SUBSCRIPTION_ID && kinds[i].type == MQTT_PUBLISH;
            assert_true(err == SL_OK || f.fault == (up ? MQTT_PROTOCOL_ERROR : MQTT_MALFORMED_PACKET));
            sl_buf_fini(&out);
            sl_buf_fini(&again);
        }
    }
    print_message("%u places taken, %u refused\n", taken, refused);
    assert_int_equal(taken, 72); /* what the lists above add up to */
}

/* The property block of a PUBLISH down holds `twice` two times. */
static void only_user_properties_and_subscription_ids_repeat(void **state)
{
    (void)state;
    static const char *const twice[] = {
        "01 00 01 00",
        "02 00 00 00 01 02 00 00 00 01",
        "03 s\"a\" 03 s\"a\"",
        "08 s\"a\" 08 s\"a\"",
        "09 s\"a\" 09 s\"a\"",
        "23 00 01 23 00 01",
        "26 s\"a\" s\"b\" 26 s\"a\" s\"b\"",
        "0b 01 0b 02",
    };
    for (size_t i = 0; i < SL_COUNT(twice); i++) {
        char text[128];
        snprintf(text, sizeof text, "30 ( s\"t\" ( %s ) )", twice[i]);
        struct sl_buf in = {0}, again = {0};
        notation(&in, text);
        struct mqtt_frame f;
        int err = read_back(sl_buf_view(&in), &kinds[4], MQTT_V5, &f, &again);
        bool repeats = i >= SL_COUNT(twice) - 2;
        assert_int_equal(err, repeats ? SL_OK : SL_EPEER);
        if (!repeats)
            assert_int_equal(f.fault, MQTT_PROTOCOL_ERROR);
        else
            assert_true(sl_bytes_eq(sl_buf_view(&in), sl_buf_view(&again)));
        sl_buf_fini(&in);
        sl_buf_fini(&again);
    }
}

/* ---- round trips ---- */

#define TEXT_MAX 300u

static struct sl_bytes random_text(struct sl_rng *r, uint8_t *into, bool utf8)
{
    static const char *const pieces[] = {"a", "Z9", "/", "é", "日", "🙂", " ", "\n"};
    size_t n = 0, want = sl_rng_below(r, 8) == 0 ? TEXT_MAX - 8 : sl_rng_below(r, 20);
    while (n < want) {
        const char *piece = pieces[sl_rng_below(r, SL_COUNT(pieces))];
        memcpy(into + n, piece, strlen(piece));
        n += strlen(piece);
    }
    for (size_t i = 0; !utf8 && i < n; i++)
        into[i] = (uint8_t)sl_rng_u64(r);
    return sl_bytes_of(into, n);
}

static uint32_t random_number(struct sl_rng *r, unsigned id)
{
    static const uint8_t flags[] = {0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A};
    static const uint8_t shorts[] = {0x13, 0x21, 0x22, 0x23};
    if (memchr(flags, (int)id, sizeof flags) != NULL)
        return (uint32_t)sl_rng_below(r, 2);
    uint64_t most = memchr(shorts, (int)id, sizeof shorts) != NULL ? UINT16_MAX : UINT32_MAX;
    if (id == MQTT_PROP_SUBSCRIPTION_ID)
        most = MQTT_VARINT_MAX;
    most >>= sl_rng_below(r, 16);
    return (uint32_t)(1 + sl_rng_below(r, most));
}

struct content {
    uint8_t text[0x2B][TEXT_MAX];
    uint8_t user_text[8][TEXT_MAX];
    struct message_header user[4];
    uint32_t ids[3];
    struct mqtt_props props;
};

/* One in SUBSCRIBE, several in PUBLISH. */
static void fill_subscription_ids(struct sl_rng *r, const struct kind *k, struct content *c)
{
    uint32_t n = k->type == MQTT_PUBLISH ? 1 + (uint32_t)sl_rng_below(r, SL_COUNT(c->ids)) : 1;
    for (uint32_t i = 0; i < n; i++)
        c->ids[i] = random_number(r, MQTT_PROP_SUBSCRIPTION_ID);
    mqtt_props_set_subscription_ids(&c->props, c->ids, n);
}

static void fill_random(struct sl_rng *r, const struct kind *k, struct content *c)
{
    mqtt_props_init(&c->props);
    for (unsigned id = 1; id <= 0x2A; id++) {
        if (!allowed(k, id) || sl_rng_below(r, 2) == 0 || id == MQTT_PROP_USER)
            continue;
        bool binary = id == MQTT_PROP_CORRELATION_DATA || id == MQTT_PROP_AUTH_DATA;
        if (id == MQTT_PROP_RESPONSE_TOPIC)
            mqtt_props_set_string(&c->props, id, sl_str("reply/to"));
        else if (id == MQTT_PROP_SUBSCRIPTION_ID)
            fill_subscription_ids(r, k, c);
        else if (is_string(id))
            mqtt_props_set_string(&c->props, id, random_text(r, c->text[id], !binary));
        else
            mqtt_props_set_number(&c->props, id, random_number(r, id));
    }
    if (k->will) /* a payload that says that it is text is checked: "gone" is */
        mqtt_props_set_number(&c->props, MQTT_PROP_PAYLOAD_FORMAT, 1);
    uint32_t n = (uint32_t)sl_rng_below(r, 5);
    for (uint32_t i = 0; i < n; i++)
        c->user[i] = (struct message_header){random_text(r, c->user_text[2 * i], true),
                                             random_text(r, c->user_text[2 * i + 1], true)};
    mqtt_props_set_user(&c->props, c->user, n);
}

static void every_packet_survives_its_round_trip(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 20261121);
    struct content *c = sl_alloc(sizeof *c);
    unsigned trips = 0;
    for (unsigned round = 0; round < 400; round++) {
        for (size_t i = 0; i < SL_COUNT(kinds); i++) {
            struct sl_buf out = {0}, again = {0};
            struct mqtt_frame f;
            fill_random(&r, &kinds[i], c);
            assert_int_equal(put_packet(&out, &kinds[i], MQTT_V5, &c->props), SL_OK);
            int err = read_back(sl_buf_view(&out), &kinds[i], MQTT_V5, &f, &again);
            if (err != SL_OK)
                fail_msg("%s: %s", kinds[i].name, f.fault_word);
            assert_true(sl_bytes_eq(sl_buf_view(&out), sl_buf_view(&again)));
            sl_buf_fini(&out);
            sl_buf_fini(&again);
            trips++;
        }
    }
    sl_free(c);
    print_message("%u round trips\n", trips);
}

static void every_packet_of_311_survives_its_round_trip(void **state)
{
    (void)state;
    struct mqtt_props none;
    mqtt_props_init(&none);
    for (size_t i = 0; i < SL_COUNT(kinds); i++) {
        struct sl_buf out = {0}, again = {0};
        struct mqtt_frame f;
        if (kinds[i].type == MQTT_AUTH)
            continue;
        assert_int_equal(put_packet(&out, &kinds[i], MQTT_V311, &none), SL_OK);
        int err = read_back(sl_buf_view(&out), &kinds[i], MQTT_V311, &f, &again);
        if (err != SL_OK)
            fail_msg("%s: %s", kinds[i].name, f.fault_word);
        assert_true(sl_bytes_eq(sl_buf_view(&out), sl_buf_view(&again)));
        sl_buf_fini(&out);
        sl_buf_fini(&again);
    }
}

static void decoded_fields_are_those_encoded(void **state)
{
    (void)state;
    struct mqtt_publish p = {.qos = 2, .dup = true, .retain = true, .packet_id = 65535};
    struct mqtt_publish back;
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, UINT32_MAX);
    mqtt_props_set_number(&p.props, MQTT_PROP_TOPIC_ALIAS, 65535);
    mqtt_props_set_string(&p.props, MQTT_PROP_CONTENT_TYPE, sl_str("t/x"));
    p.payload = sl_str("body");
    struct sl_buf out = {0};
    assert_int_equal(mqtt_encode_publish(&out, MQTT_V5, &p), SL_OK);
    struct mqtt_frame f = {.version = MQTT_V5};
    assert_int_equal(mqtt_frame_read(sl_buf_view(&out), MQTT_PACKET_MAX, &f), SL_OK);
    assert_int_equal(mqtt_decode_publish(&f, &back), SL_OK);
    assert_true(back.qos == 2 && back.dup && back.retain && back.packet_id == 65535);
    assert_int_equal(back.topic.n, 0);
    assert_true(sl_bytes_is(back.payload, "body"));
    assert_int_equal(mqtt_props_number(&back.props, MQTT_PROP_MESSAGE_EXPIRY, 0), UINT32_MAX);
    assert_int_equal(mqtt_props_number(&back.props, MQTT_PROP_TOPIC_ALIAS, 0), 65535);
    assert_int_equal(mqtt_props_number(&back.props, MQTT_PROP_PAYLOAD_FORMAT, 9), 9);
    assert_true(sl_bytes_is(mqtt_props_string(&back.props, MQTT_PROP_CONTENT_TYPE), "t/x"));
    assert_null(mqtt_props_string(&back.props, MQTT_PROP_RESPONSE_TOPIC).p);
    sl_buf_fini(&out);
}

/* ---- packets that end too early ---- */

/* The body cut to n bytes, with a fixed header that says so: no read past its
 * end, and no packet but those whose tail may be missing. */
static void cut_body(struct sl_bytes body, size_t n, const struct mqtt_frame *whole)
{
    uint8_t *copy = sl_alloc(n);
    struct sl_buf again = {0};
    if (n > 0)
        memcpy(copy, body.p, n);
    struct mqtt_frame f = *whole;
    f.body = sl_bytes_of(copy, n);
    int err = mqtt_recode(&f, &again);
    if (err != SL_OK) {
        assert_int_equal(err, SL_EPEER);
        assert_true(f.fault >= MQTT_UNSPECIFIED_ERROR);
    }
    sl_buf_fini(&again);
    sl_free(copy);
}

static void cut_packet(struct sl_bytes packet, const struct kind *k, enum mqtt_version v)
{
    struct mqtt_frame f = {.version = (uint8_t)v, .from_server = k->from_server};
    for (size_t n = 0; n < packet.n; n++) {
        uint8_t *copy = sl_alloc(n);
        if (n > 0)
            memcpy(copy, packet.p, n);
        assert_int_equal(mqtt_frame_read(sl_bytes_of(copy, n), MQTT_PACKET_MAX, &f), SL_EMORE);
        assert_true(f.size > n && f.size <= packet.n);
        sl_free(copy);
    }
    assert_int_equal(mqtt_frame_read(packet, MQTT_PACKET_MAX, &f), SL_OK);
    for (size_t n = 0; n < f.body.n; n++)
        cut_body(f.body, n, &f);
}

static void a_truncated_packet_is_incomplete_or_malformed(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 7);
    struct content *c = sl_alloc(sizeof *c);
    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < SL_COUNT(kinds); i++) {
            struct sl_buf out = {0};
            fill_random(&r, &kinds[i], c);
            assert_int_equal(put_packet(&out, &kinds[i], MQTT_V5, &c->props), SL_OK);
            cut_packet(sl_buf_view(&out), &kinds[i], MQTT_V5);
            sl_buf_clear(&out);
            mqtt_props_init(&c->props);
            assert_int_equal(put_packet(&out, &kinds[i], MQTT_V311, &c->props), SL_OK);
            cut_packet(sl_buf_view(&out), &kinds[i],
                       kinds[i].type == MQTT_AUTH ? MQTT_V5 : MQTT_V311);
            sl_buf_fini(&out);
        }
    }
    sl_free(c);
}

/* ---- encoders and names ---- */

static void what_does_not_fit_is_not_encoded(void **state)
{
    (void)state;
    struct mqtt_publish p = {.topic = sl_bytes_of(sl_calloc(1, 65536), 65536)};
    struct sl_buf out = {.max = 16};
    mqtt_props_init(&p.props);
    assert_int_equal(mqtt_encode_publish(&out, MQTT_V311, &p), SL_EINVAL);
    p.topic.n = 20;
    assert_int_equal(mqtt_encode_publish(&out, MQTT_V311, &p), SL_ETOOBIG);
    assert_int_equal(sl_buf_len(&out), 0);
    sl_free((void *)(uintptr_t)p.topic.p);
    sl_buf_fini(&out);
}

static void lengths_take_as_few_bytes_as_they_can(void **state)
{
    (void)state;
    static const struct {
        size_t payload, header;
    } table[] = {
        {0,       2},
        {124,     2},
        {125,     3},
        {16380,   3},
        {16381,   4},
        {2097148, 4},
        {2097149, 5}
    };
    uint8_t *payload = sl_calloc(1, 2097149);
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        struct mqtt_publish p = {
            .topic = sl_str("t"), .payload = {payload, table[i].payload}
        };
        struct sl_buf out = {0};
        mqtt_props_init(&p.props);
        assert_int_equal(mqtt_encode_publish(&out, MQTT_V311, &p), SL_OK);
        assert_int_equal(sl_buf_len(&out), table[i].header + 3 + table[i].payload);
        struct mqtt_frame f = {.version = MQTT_V5};
        assert_int_equal(mqtt_frame_read(sl_buf_view(&out), MQTT_PACKET_MAX, &f), SL_OK);
        assert_int_equal(f.body.n, 3 + table[i].payload);
        sl_buf_fini(&out);
    }
    sl_free(payload);
}

static void filters_and_topics_follow_section_4_7(void **state)
{
    (void)state;
    static const char *const good[] = {"#",          "+",       "/",          "a",
                                       "+/+",        "/+",      "a/+/b",      "a/#",
                                       "+/#",        "$SYS/#",  "$share/g/a", "$share/g/+/#",
                                       "$share/g//", "$sharex", "a b",        "é"};
    static const char *const bad[] = {
        "",          "a#",        "#/a",        "a/#/b",      "a+",         "+a",
        "a/b+",      "a/+b",      "##",         "++",         "$share/",    "$share/g",
        "$share/g/", "$share//a", "$share/+/a", "$share/#/a", "$share/g/a#"};
    for (size_t i = 0; i < SL_COUNT(good); i++)
        if (!mqtt_filter_valid(sl_str(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < SL_COUNT(bad); i++)
        if (mqtt_filter_valid(sl_str(bad[i])))
            fail_msg("%s", bad[i]);
    assert_false(mqtt_filter_valid(sl_bytes_of("a\0b", 3)));
    assert_true(mqtt_topic_valid(sl_str("$share/g/a")));
    assert_false(mqtt_topic_valid(sl_bytes_of("a\xc0\x80", 3)));
}

/* The columns of the standard's tables, counted by hand. */
static void reason_codes_are_as_many_as_the_standard_has(void **state)
{
    (void)state;
    static const struct {
        enum mqtt_reason_place place;
        unsigned n;
    } table[] = {
        {MQTT_IN_CONNACK,           22},
        {MQTT_IN_PUBACK,            9 },
        {MQTT_IN_PUBREL,            2 },
        {MQTT_IN_SUBACK,            12},
        {MQTT_IN_UNSUBACK,          7 },
        {MQTT_IN_AUTH,              3 },
        {MQTT_IN_DISCONNECT_CLIENT, 14}
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        unsigned n = 0;
        for (unsigned code = 0; code < 256; code++)
            n += mqtt_reason_allowed((uint8_t)code, table[i].place);
        assert_int_equal(n, table[i].n);
    }
    assert_string_equal(mqtt_reason_word(0x97), "quota_exceeded");
    assert_string_equal(mqtt_reason_word(0xFF), "unknown_reason");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_property_stands_where_the_standard_lets_it),
        cmocka_unit_test(only_user_properties_and_subscription_ids_repeat),
        cmocka_unit_test(every_packet_survives_its_round_trip),
        cmocka_unit_test(every_packet_of_311_survives_its_round_trip),
        cmocka_unit_test(decoded_fields_are_those_encoded),
        cmocka_unit_test(a_truncated_packet_is_incomplete_or_malformed),
        cmocka_unit_test(what_does_not_fit_is_not_encoded),
        cmocka_unit_test(lengths_take_as_few_bytes_as_they_can),
        cmocka_unit_test(filters_and_topics_follow_section_4_7),
        cmocka_unit_test(reason_codes_are_as_many_as_the_standard_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
