/* What a consumer has not answered: claims, then a random walk beside a plain table. */
#include "claims.h"

#include "core/rng.h"
#include "route/unacked.h"

#define LEASE_OF(number) ((number) * 7 + 3)

static void add(struct unacked *u, uint32_t n)
{
    while (n-- > 0) {
        uint64_t number = u->last + 1;
        assert_int_equal(unacked_add(u, LEASE_OF(number)), number);
    }
    unacked_check(u);
}

static void take(struct unacked *u, uint64_t number)
{
    uint64_t lease = 0;
    assert_int_equal(unacked_take(u, number, &lease), SL_OK);
    assert_int_equal(lease, LEASE_OF(number));
    unacked_check(u);
}

static void numbers_count_up_and_each_keeps_its_lease(void **state)
{
    (void)state;
    struct unacked u = { 0 };
    assert_int_equal(unacked_state(&u, 1), UNACKED_NEVER);
    add(&u, 3);
    assert_int_equal(unacked_count(&u), 3);
    take(&u, 2);
    take(&u, 3);
    take(&u, 1);
    assert_int_equal(unacked_count(&u), 0);
    assert_int_equal(unacked_add(&u, 0), 4);
    unacked_fini(&u);
}

static void what_was_answered_is_over_and_what_comes_later_was_never_given(void **state)
{
    (void)state;
    struct unacked u = { 0 };
    uint64_t lease;
    add(&u, 2);
    take(&u, 1);
    assert_int_equal(unacked_state(&u, 0), UNACKED_NEVER);
    assert_int_equal(unacked_state(&u, 1), UNACKED_OVER);
    assert_int_equal(unacked_state(&u, 2), UNACKED_OPEN);
    assert_int_equal(unacked_state(&u, 3), UNACKED_NEVER);
    assert_int_equal(unacked_take(&u, 1, &lease), SL_ENOENT);
    assert_int_equal(unacked_take(&u, 3, &lease), SL_ENOENT);
    assert_int_equal(unacked_pass(&u), 3);
    assert_int_equal(unacked_state(&u, 3), UNACKED_OVER);
    unacked_fini(&u);
    assert_int_equal(unacked_state(&u, 2), UNACKED_OVER);
}

static void what_is_claimed_is_nobody_elses_until_it_is_open_again(void **state)
{
    (void)state;
    struct unacked u = { 0 };
    add(&u, 3);
    assert_int_equal(unacked_claim(&u, 1), SL_OK);
    assert_int_equal(unacked_claim(&u, 1), SL_ENOENT);
    assert_int_equal(unacked_state(&u, 1), UNACKED_CLAIMED);
    assert_int_equal(unacked_next(&u, 0), 2);
    assert_int_equal(unacked_count(&u), 3);
    assert_int_equal(unacked_unclaim(&u, 1), SL_OK);
    assert_int_equal(unacked_unclaim(&u, 1), SL_ENOENT);
    assert_int_equal(unacked_next(&u, 0), 1);
    assert_int_equal(unacked_claim(&u, 3), SL_OK);
    take(&u, 3);
    assert_int_equal(unacked_claim(&u, 3), SL_ENOENT);
    uint64_t lease = 0;
    assert_int_equal(unacked_claim(&u, 2), SL_OK);
    assert_int_equal(unacked_lease(&u, 2, &lease), SL_OK);
    assert_int_equal(lease, LEASE_OF(2));
    assert_int_equal(unacked_lease(&u, 3, &lease), SL_ENOENT);
    unacked_fini(&u);
}

static void the_oldest_open_one_is_found_past_gaps(void **state)
{
    (void)state;
    struct unacked u = { 0 };
    add(&u, 6);
    take(&u, 1);
    take(&u, 4);
    assert_int_equal(unacked_next(&u, 0), 2);
    assert_int_equal(unacked_next(&u, 3), 3);
    assert_int_equal(unacked_next(&u, 4), 5);
    assert_int_equal(unacked_next(&u, 7), 0);
    unacked_fini(&u);
}

static void memory_follows_what_is_unanswered_however_far_apart_the_numbers_are(void **state)
{
    (void)state;
    struct unacked u = { 0 };
    add(&u, 10000);
    size_t most = unacked_bytes(&u);
    for (uint64_t i = 2; i < 10000; i++)
        take(&u, i);
    assert_true(unacked_bytes(&u) < most / 50);
    for (uint32_t i = 0; i < 100000; i++) {
        add(&u, 1);
        take(&u, u.last);
    }
    assert_true(unacked_bytes(&u) < most / 50);
    take(&u, 1);
    take(&u, 10000);
    assert_int_equal(unacked_next(&u, 0), 0);
    unacked_fini(&u);
}

/* ---- a walk ---- */

#define WALK_STEPS   200000u
#define WALK_NUMBERS 200001u

struct walk {
    struct unacked u;
    struct sl_rng rng;
    uint8_t state[WALK_NUMBERS]; /* enum unacked_state */
    uint32_t first;              /* all before it are over */
    uint32_t n;
};

static uint64_t any_number(struct walk *w)
{
    uint64_t span = w->u.last + 2 - w->first;
    return w->first + sl_rng_below(&w->rng, span);
}

static void agree_on(struct walk *w, uint64_t number)
{
    assert_int_equal(unacked_state(&w->u, number), number > w->u.last || number == 0 ? UNACKED_NEVER : w->state[number]);
}

static void step_take(struct walk *w, uint64_t number)
{
    uint64_t lease = 0;
    bool there = number <= w->u.last && w->state[number] >= UNACKED_CLAIMED;
    assert_int_equal(unacked_take(&w->u, number, &lease), there ? SL_OK : SL_ENOENT);
    if (!there)
        return;
    assert_int_equal(lease, LEASE_OF(number));
    w->state[number] = UNACKED_OVER;
    w->n--;
}

static void step_claim(struct walk *w, uint64_t number, bool claim)
{
    uint8_t from = claim ? UNACKED_OPEN : UNACKED_CLAIMED;
    int err = claim ? unacked_claim(&w->u, number) : unacked_unclaim(&w->u, number);
    bool may = number <= w->u.last && w->state[number] == from;
    assert_int_equal(err, may ? SL_OK : SL_ENOENT);
    if (may)
        w->state[number] = claim ? UNACKED_CLAIMED : UNACKED_OPEN;
}

static void step_next(struct walk *w, uint64_t from)
{
    uint64_t number = from;
    while (number <= w->u.last && w->state[number] != UNACKED_OPEN)
        number++;
    assert_int_equal(unacked_next(&w->u, from), number <= w->u.last ? number : 0);
}

static void step_up_to(struct walk *w, uint64_t number)
{
    for (uint64_t i; (i = unacked_next(&w->u, 0)) != 0 && i <= number;)
        step_take(w, i);
}

static void step(struct walk *w, uint32_t most)
{
    uint64_t number = any_number(w);
    switch (sl_rng_below(&w->rng, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (w->n < most) {
            number = unacked_add(&w->u, LEASE_OF(w->u.last + 1));
            w->state[number] = UNACKED_OPEN;
            w->n++;
        }
        break;
    case 4:
        w->state[unacked_pass(&w->u)] = UNACKED_OVER;
        break;
    case 5:
    case 6:
        step_claim(w, number, true);
        break;
    case 7:
        step_claim(w, number, false);
        break;
    case 8:
        step_next(w, number);
        break;
    case 9:
        if (sl_rng_below(&w->rng, 50) == 0)
            step_up_to(w, number);
        break;
    default:
        step_take(w, number);
        break;
    }
    agree_on(w, number);
}

static void any_walk_agrees_with_a_plain_table(void **state)
{
    (void)state;
    static const uint32_t most[] = { 1, 3, 40, 500 };
    static struct walk w;
    for (uint32_t seed = 0; seed < 8; seed++) {
        memset(&w, 0, sizeof w);
        w.first = 1;
        sl_rng_seed(&w.rng, seed);
        for (uint32_t i = 0; i < WALK_STEPS / 8; i++) {
            step(&w, most[seed % 4]);
            while (w.first <= w.u.last && w.state[w.first] == UNACKED_OVER)
                w.first++;
            assert_int_equal(unacked_count(&w.u), w.n);
            unacked_check(&w.u);
        }
        for (uint64_t i = 0; i <= w.u.last + 1; i++)
            agree_on(&w, i);
        unacked_fini(&w.u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_up_and_each_keeps_its_lease),
        cmocka_unit_test(what_was_answered_is_over_and_what_comes_later_was_never_given),
        cmocka_unit_test(what_is_claimed_is_nobody_elses_until_it_is_open_again),
        cmocka_unit_test(the_oldest_open_one_is_found_past_gaps),
        cmocka_unit_test(memory_follows_what_is_unanswered_however_far_apart_the_numbers_are),
        cmocka_unit_test(any_walk_agrees_with_a_plain_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
