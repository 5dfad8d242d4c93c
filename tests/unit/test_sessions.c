/* Sessions by client id: holders, ends, QoS 2 ids. */
#include "claims.h"

#include <stdio.h>

#include "core/rng.h"
#include "route/sessions.h"

static struct session *add(struct sessions *t, const char *client, uint64_t number)
{
    struct session *s = NULL;
    assert_int_equal(sessions_add(t, sl_str(client), number, &s), SL_OK);
    assert_non_null(s);
    return s;
}

static void a_session_is_found_by_its_client_id(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(10);
    char id[] = "meter-1";
    struct session *s = add(t, id, 7);
    id[0] = 'x'; /* the table has its own copy */
    assert_ptr_equal(sessions_find(t, sl_str("meter-1")), s);
    assert_null(sessions_find(t, sl_str("meter-2")));
    assert_int_equal(s->number, 7);
    assert_int_equal(s->holder, 0);
    assert_int_equal(sessions_count(t), 1);
    sessions_remove(t, s);
    assert_null(sessions_find(t, sl_str("meter-1")));
    assert_int_equal(sessions_count(t), 0);
    sessions_free(t);
}

static void an_anonymous_session_has_a_slot_and_is_counted_nowhere_else(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(1);
    struct session *s = sessions_add_anonymous(t, 7, 3), *named = add(t, "a", 8);
    size_t pos = 0;
    assert_true(s->anonymous && s->number == 7 && s->holder == 3 && !s->persistent);
    assert_ptr_equal(sessions_at(t, s->slot), s);
    assert_int_equal(sessions_count(t), 1); /* nor does the limit know it */
    assert_int_equal(sessions_held(t), 0);
    assert_int_equal(sessions_anonymous(t), 1);
    assert_null(sessions_find(t, SL_BYTES_NONE));
    assert_ptr_equal(sessions_next(t, &pos), named);
    assert_null(sessions_next(t, &pos));
    assert_null(sessions_expired(t, UINT64_MAX));
    uint32_t slot = s->slot;
    sessions_remove(t, s);
    assert_null(sessions_at(t, slot));
    assert_int_equal(sessions_anonymous(t), 0);
    assert_int_equal(sessions_held(t), 0);
    sessions_free(t);
}

static void a_slot_finds_its_session_until_that_is_removed(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(10);
    struct session *a = add(t, "a", 1), *b = add(t, "b", 2);
    uint32_t slot = a->slot;
    assert_ptr_equal(sessions_at(t, slot), a);
    assert_ptr_equal(sessions_at(t, b->slot), b);
    sessions_remove(t, a);
    assert_null(sessions_at(t, slot));
    struct session *c = add(t, "c", 3);
    assert_int_equal(c->slot, slot); /* given again: the number tells */
    assert_int_equal(sessions_at(t, slot)->number, 3);
    sessions_free(t);
}

static void a_client_id_has_one_session_and_the_table_a_limit(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(2);
    struct session *s = add(t, "a", 1), *none = NULL;
    (void)add(t, "b", 2);
    assert_int_equal(sessions_add(t, sl_str("a"), 3, &none), SL_EEXIST);
    assert_int_equal(sessions_add(t, sl_str("c"), 3, &none), SL_EFULL);
    assert_null(none);
    sessions_remove(t, s);
    (void)add(t, "c", 3);
    sessions_free(t);
}

static void absent_sessions_end_in_the_order_of_their_ends(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(10);
    struct session *a = add(t, "a", 1), *b = add(t, "b", 2), *c = add(t, "c", 3);
    assert_true(sessions_next_end(t) == UINT64_MAX);
    sessions_leave(t, a, 300);
    sessions_leave(t, b, 100);
    sessions_leave(t, c, UINT64_MAX); /* never */
    assert_int_equal(sessions_next_end(t), 100);
    assert_null(sessions_expired(t, 99));
    assert_ptr_equal(sessions_expired(t, 100), b);
    sessions_remove(t, b);
    assert_null(sessions_expired(t, 299));
    assert_ptr_equal(sessions_expired(t, 1000), a);
    sessions_remove(t, a);
    assert_null(sessions_expired(t, UINT64_MAX - 1));
    assert_true(sessions_next_end(t) == UINT64_MAX);
    sessions_free(t);
}

static void a_session_that_is_taken_again_does_not_end(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(10);
    struct session *s = add(t, "a", 1);
    sessions_take(t, s, 55);
    assert_int_equal(s->holder, 55);
    sessions_leave(t, s, 100);
    assert_int_equal(s->holder, 0);
    assert_int_equal(s->ends_wall_ms, 100);
    sessions_take(t, s, 56);
    assert_null(sessions_expired(t, 1000));
    assert_true(s->ends_wall_ms == UINT64_MAX);
    sessions_leave(t, s, 200);
    sessions_leave(t, s, 400); /* a later leave counts */
    assert_null(sessions_expired(t, 399));
    assert_ptr_equal(sessions_expired(t, 400), s);
    sessions_free(t);
}

static void iterating_sees_every_session_once(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(1000);
    char id[16];
    for (uint64_t i = 1; i <= 500; i++) {
        (void)snprintf(id, sizeof id, "c%u", (unsigned)i);
        (void)add(t, id, i);
    }
    uint64_t sum = 0;
    size_t pos = 0;
    for (struct session *s = sessions_next(t, &pos); s != NULL; s = sessions_next(t, &pos))
        sum += s->number;
    assert_int_equal(sum, 500 * 501 / 2);
    sessions_free(t);
}

/* [MQTT-4.3.3-*]: an id is there from PUBLISH to PUBREL. */
static void a_packet_id_is_held_until_it_is_dropped(void **state)
{
    (void)state;
    struct sessions *t = sessions_new(1);
    struct session *s = add(t, "a", 1);
    assert_true(session_add_id(s, 10));
    assert_true(session_add_id(s, 65535));
    assert_true(session_add_id(s, 1));
    assert_false(session_add_id(s, 10));
    assert_true(session_has_id(s, 1) && session_has_id(s, 10) && session_has_id(s, 65535));
    assert_false(session_has_id(s, 2));
    assert_true(session_drop_id(s, 10));
    assert_false(session_drop_id(s, 10));
    assert_false(session_has_id(s, 10));
    assert_int_equal(s->n_ids, 2);
    assert_true(s->ids[0] == 1 && s->ids[1] == 65535);
    sessions_free(t);
}

static void any_order_of_packet_ids_is_kept_sorted(void **state)
{
    (void)state;
    static bool there[65536];
    struct sessions *t = sessions_new(1);
    struct session *s = add(t, "a", 1);
    struct sl_rng rng;
    sl_rng_seed(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        uint16_t id = (uint16_t)sl_rng_below(&rng, 2000);
        assert_true(session_has_id(s, id) == there[id]);
        if (sl_rng_below(&rng, 2) == 0) {
            assert_true(session_add_id(s, id) != there[id]);
            there[id] = true;
        } else {
            assert_true(session_drop_id(s, id) == there[id]);
            there[id] = false;
        }
    }
    for (uint32_t i = 1; i < s->n_ids; i++)
        assert_true(s->ids[i - 1] < s->ids[i]);
    for (uint32_t id = 0; id < 2000; id++)
        assert_true(session_drop_id(s, (uint16_t)id) == there[id]);
    assert_int_equal(s->n_ids, 0);
    assert_null(s->ids);
    sessions_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_found_by_its_client_id),
        cmocka_unit_test(an_anonymous_session_has_a_slot_and_is_counted_nowhere_else),
        cmocka_unit_test(a_slot_finds_its_session_until_that_is_removed),
        cmocka_unit_test(a_client_id_has_one_session_and_the_table_a_limit),
        cmocka_unit_test(absent_sessions_end_in_the_order_of_their_ends),
        cmocka_unit_test(a_session_that_is_taken_again_does_not_end),
        cmocka_unit_test(iterating_sees_every_session_once),
        cmocka_unit_test(a_packet_id_is_held_until_it_is_dropped),
        cmocka_unit_test(any_order_of_packet_ids_is_kept_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
