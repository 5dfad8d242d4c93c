#include "claims.h"

#include "core/heap.h"
#include "core/rng.h"

#define ITEMS   500u
#define NOWHERE UINT32_MAX

/* Each item's key and place, as its owner would keep them. */
struct owner {
    uint64_t key[ITEMS];
    uint32_t pos[ITEMS];
};

static void note_place(void *arg, uint32_t item, uint32_t pos)
{
    struct owner *o = arg;
    o->pos[item] = pos;
}

static void check_order_and_places(const struct sl_heap *h, const struct owner *o)
{
    for (uint32_t i = 0; i < h->n; i++) {
        assert_true(i == 0 || h->nodes[(i - 1) / 2].key <= h->nodes[i].key);
        assert_int_equal(o->pos[h->nodes[i].item], i);
        assert_true(o->key[h->nodes[i].item] == h->nodes[i].key);
    }
}

static uint64_t smallest(const struct owner *o)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < ITEMS; i++) {
        if (o->pos[i] != NOWHERE && o->key[i] < least)
            least = o->key[i];
    }
    return least;
}

static void random_step(struct sl_heap *h, struct owner *o, struct sl_rng *rng)
{
    uint32_t item = (uint32_t)sl_rng_below(rng, ITEMS);
    if (o->pos[item] == NOWHERE) {
        o->key[item] = sl_rng_below(rng, 50); /* many equal keys */
        sl_heap_push(h, o->key[item], item);
    } else if (sl_rng_below(rng, 2) == 0) {
        sl_heap_remove(h, o->pos[item]);
        o->pos[item] = NOWHERE;
    } else {
        uint64_t least = smallest(o);
        assert_true(sl_heap_top(h)->key == least);
        struct sl_heap_node node = sl_heap_pop(h);
        assert_true(node.key == least && o->key[node.item] == least);
        o->pos[node.item] = NOWHERE;
    }
}

static void any_order_of_push_pop_and_remove_gives_the_smallest(void **state)
{
    (void)state;
    static struct owner o;
    memset(o.pos, 0xff, sizeof o.pos);
    struct sl_heap h;
    sl_heap_init(&h, note_place, &o);
    struct sl_rng rng;
    sl_rng_seed(&rng, 1);
    for (int step = 0; step < 20000; step++) {
        random_step(&h, &o, &rng);
        if (step % 16 == 0)
            check_order_and_places(&h, &o);
    }
    while (h.n > 0) {
        uint64_t least = smallest(&o);
        struct sl_heap_node node = sl_heap_pop(&h);
        assert_true(node.key == least);
        o.pos[node.item] = NOWHERE;
    }
    assert_null(sl_heap_top(&h));
    sl_heap_fini(&h);
}

static void keys_use_all_64_bits(void **state)
{
    (void)state;
    struct sl_heap h;
    sl_heap_init(&h, NULL, NULL);
    sl_heap_push(&h, UINT64_MAX, 1);
    sl_heap_push(&h, UINT64_C(1) << 63, 2);
    sl_heap_push(&h, 0, 3);
    assert_int_equal(sl_heap_pop(&h).item, 3);
    assert_int_equal(sl_heap_pop(&h).item, 2);
    assert_int_equal(sl_heap_pop(&h).item, 1);
    sl_heap_fini(&h);
}

static void a_finished_heap_is_empty_and_usable(void **state)
{
    (void)state;
    struct sl_heap h;
    sl_heap_init(&h, NULL, NULL);
    sl_heap_push(&h, 5, 1);
    sl_heap_fini(&h);
    assert_null(sl_heap_top(&h));
    sl_heap_push(&h, 6, 2);
    assert_int_equal(sl_heap_top(&h)->item, 2);
    sl_heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_push_pop_and_remove_gives_the_smallest),
        cmocka_unit_test(keys_use_all_64_bits),
        cmocka_unit_test(a_finished_heap_is_empty_and_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
