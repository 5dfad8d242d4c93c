/* What a filter and a topic may look like, clause by clause. */
#include "claims.h"

#include "core/alloc.h"
#include "route/route.h"

struct row {
    const char *text;
    size_t n; /* 0: strlen */
    bool filter, topic;
};

static const struct row k_rows[] = {
  /* [MQTT-4.7.3-1] at least one character */
    {"",                       0, false, false},
    {"/",                      0, true,  true },
    {"sport",                  0, true,  true },
    {"/finance",               0, true,  true },
    {"sport//tennis/",         0, true,  true },
    {"a b/c",                  0, true,  true },
    {"$SYS/x",                 0, true,  true },
    {"gr\xc3\xbc\xc3\x9f"
     "e",                 0, true,  true },
 /* [MQTT-4.7.1-1] # alone in its level and last */
    {"#",                      0, true,  false},
    {"sport/#",                0, true,  false},
    {"/#",                     0, true,  false},
    {"sport/tennis#",          0, false, false},
    {"sport/tennis/#/ranking", 0, false, false},
    {"#/",                     0, false, false},
    {"##",                     0, false, false},
    {"sport/##",               0, false, false},
 /* [MQTT-4.7.1-2] + alone in its level */
    {"+",                      0, true,  false},
    {"+/tennis/#",             0, true,  false},
    {"sport/+/player1",        0, true,  false},
    {"+/+",                    0, true,  false},
    {"/+",                     0, true,  false},
    {"sport+",                 0, false, false},
    {"++",                     0, false, false},
    {"+#",                     0, false, false},
    {"sport/+a/b",             0, false, false},
 /* [MQTT-4.7.3-2] no U+0000; [MQTT-1.5.4-1] well-formed */
    {"a\0b",                   3, false, false},
    {"a/\xff",                 0, false, false},
    {"a/\xc0\x80",             0, false, false},
    {"a/\xed\xa0\x80",         0, false, false},
};

static void filters_and_topics_are_as_the_clauses_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_rows); i++) {
        const struct row *r = &k_rows[i];
        struct sl_bytes text = sl_bytes_of(r->text, r->n > 0 ? r->n : strlen(r->text));
        if (route_filter_valid(text) != r->filter || route_topic_valid(text) != r->topic)
            fail_msg("row %zu: \"%s\"", i, r->text);
    }
}

/* [MQTT-4.7.3-3] */
static void texts_end_at_65535_bytes(void **state)
{
    (void)state;
    char *text = sl_alloc(65536);
    memset(text, 'a', 65536);
    assert_true(route_filter_valid(sl_bytes_of(text, 65535)));
    assert_true(route_topic_valid(sl_bytes_of(text, 65535)));
    assert_false(route_filter_valid(sl_bytes_of(text, 65536)));
    assert_false(route_topic_valid(sl_bytes_of(text, 65536)));
    sl_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_and_topics_are_as_the_clauses_say),
        cmocka_unit_test(texts_end_at_65535_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
