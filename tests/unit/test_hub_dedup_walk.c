/* Duplicates beside a slow model of them. */
#include "core/rng.h"
#include "dedup_world.h"

/* ---- beside a slow model ---- */

enum { KEYS = 12, STEPS = 1500, WALK_WINDOW_MS = 400 };

/* What a careful clerk would know of each key. */
struct clerk {
    uint64_t now[KEYS], stored[KEYS];      /* when it entered; 0: never */
    bool in_flight[KEYS], open[KEYS];
    uint64_t flying[KEYS];
    uint64_t accepted, duplicates;
};

static void clerk_looks(struct clerk *m, const struct kit *k, bool was_flying)
{
    if (k->pending == NULL || was_flying)
        return;
    for (uint32_t i = 0; i < KEYS; i++) {
        m->in_flight[i] = m->open[i];
        m->flying[i] = m->now[i];
        m->open[i] = false;
    }
}

static void clerk_publishes(struct clerk *m, uint32_t key, uint64_t ms)
{
    if (m->now[key] != 0 && ms < m->now[key] + WALK_WINDOW_MS) {
        m->duplicates++;
        return;
    }
    m->accepted++;
    m->now[key] = ms;
    m->open[key] = true;
}

static void clerk_stored(struct clerk *m)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        if (m->in_flight[i])
            m->stored[i] = m->flying[i];
        m->in_flight[i] = false;
    }
}

static void clerk_restarts(struct clerk *m)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        m->now[i] = m->stored[i];
        m->in_flight[i] = m->open[i] = false;
    }
    m->accepted = m->duplicates = 0;
}

static void step(struct world *w, struct clerk *m, struct sl_rng *rng, struct kit_client **c, struct kit_worker **worker, uint16_t *id)
{
    uint64_t dice = sl_rng_u64(rng) % 100;
    uint32_t key = (uint32_t)(sl_rng_u64(rng) % KEYS);
    char text[8];
    snprintf(text, sizeof text, "k%u", key);
    bool flying = w->k.pending != NULL;
    if (dice < 55) {
        clerk_publishes(m, key, w->k.now.steady_ms);
        *id = (uint16_t)(*id % 60000 + 1);
        send(*c, *id, text, "x");
    } else if (dice < 75 && flying) {
        clerk_stored(m);
        flying = false;
        kit_commit(&w->k, SL_OK);
    } else if (dice < 85 && (*worker)->n > 0) {
        kit_ack(*worker, 0);
    } else if (dice < 97) {
        kit_pass(&w->k, sl_rng_u64(rng) % 60);
    } else if (dice == 99) {
        crash(w);
        clerk_restarts(m);
        *worker = kit_worker(&w->k, 0, 0);
        *c = kit_publisher(&w->k);
        flying = false;
    }
    clerk_looks(m, &w->k, flying);
    (void)kit_log(*c);
}

static void walk(uint64_t seed)
{
    struct world w = { .q = { remembering("q0", 1) } };
    struct clerk m = { .accepted = 0 };
    struct sl_rng rng;
    uint16_t id = 0;
    sl_rng_seed(&rng, seed);
    w.q[0].dedup.window_ms = WALK_WINDOW_MS;
    start(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *c = kit_publisher(&w.k);
    for (uint32_t i = 0; i < STEPS; i++) {
        step(&w, &m, &rng, &c, &worker, &id);
        assert_taken(&w, m.accepted, m.duplicates);
        while (worker->n > KIT_HELD / 2)
            kit_ack(worker, 0);
        clerk_looks(&m, &w.k, w.k.pending != NULL);
    }
    kit_settle(&w.k);
    assert_int_equal(hub_counters(w.k.h)->publishes_received, hub_counters(w.k.h)->publishes_answered);
    end(&w);
}

static void whatever_happens_a_clerk_would_have_decided_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        walk(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_a_clerk_would_have_decided_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
