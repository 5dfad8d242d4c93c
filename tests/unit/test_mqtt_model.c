/* The whole state machine under random but valid traffic, beside a small model
 * of what MQTT promises.
 *
 *     test_mqtt_model [FIRST [COUNT [STEPS]]]    with these seeds; MODEL_VERBOSE=1 tells each step */
#include "model_world.h"

#include <stdlib.h>

static uint64_t first_seed = 1, n_seeds = 400, n_steps = 500;

static uint32_t connected_client(struct world *w)
{
    uint32_t c = below(w, CLIENTS);
    return w->clients[c].conn != NULL ? c : NOBODY;
}

/* ---- actions ---- */

/* A client id that flaps is refused for a while: these do not. */
static bool may_take_over(struct world *w, struct client *cl)
{
    if (cl->conn == NULL)
        return true;
    if (w->m.now_ms < cl->takeovers_ms[0] + 11000)
        return false;
    memmove(&cl->takeovers_ms[0], &cl->takeovers_ms[1], sizeof cl->takeovers_ms - sizeof cl->takeovers_ms[0]);
    cl->takeovers_ms[SL_COUNT(cl->takeovers_ms) - 1] = w->m.now_ms;
    return true;
}

static void act_connect(struct world *w)
{
    static const uint32_t expiries[] = { 0, 3, 60, 1000, UINT32_MAX };
    uint32_t c = below(w, CLIENTS);
    if (w->clients[c].conn != NULL && below(w, 4) > 0)
        return;
    if (!may_take_over(w, &w->clients[c]))
        return;
    struct connect_options o = { .v5 = w->m.exact || below(w, 3) > 0, .clean = below(w, 4) == 0, .alias = below(w, 2) == 0, .receive_maximum = 65535 };
    o.expiry_s = o.v5 ? expiries[below(w, SL_COUNT(expiries))] : o.clean ? 0 : UINT32_MAX;
    if (o.v5 && below(w, 2) == 0)
        o.receive_maximum = 1 + below(w, 5);
    o.has_will = below(w, 3) == 0;
    o.will_topic = (uint8_t)below(w, TOPICS);
    o.will_qos = (uint8_t)below(w, 3);
    o.will_retain = below(w, 4) == 0;
    o.will_delay_s = o.v5 && below(w, 2) == 0 ? below(w, 20) : 0;
    peer_connect(w, c, &o);
}

static void act_leave(struct world *w)
{
    uint32_t c = connected_client(w);
    if (c == NOBODY)
        return;
    if (below(w, 2) == 0)
        peer_lose(w, c);
    else
        peer_disconnect(w, c, w->clients[c].conn->v5 && below(w, 3) == 0, below(w, 3) == 0 ? below(w, 3) * 30 : NOBODY);
}

static void act_publish(struct world *w)
{
    uint32_t c = connected_client(w);
    if (c == NOBODY)
        return;
    struct msg m = { .topic = (uint8_t)below(w, TOPICS), .qos = (uint8_t)below(w, 3), .publisher = c };
    m.retain = below(w, 6) == 0;
    m.empty = m.retain && below(w, 4) == 0;
    bool expires = w->clients[c].conn->v5 && below(w, 8) == 0;
    peer_publish(w, c, &m, expires ? 1 + below(w, 10) : 0);
}

static void act_subscribe(struct world *w)
{
    uint32_t c = connected_client(w), filters[3], n = 1 + below(w, 3), first = below(w, FILTERS);
    struct sub subs[3];
    if (c == NOBODY)
        return;
    bool v5 = w->clients[c].conn->v5;
    uint32_t id = v5 && below(w, 2) == 0 ? 1 + below(w, 5) : 0;
    if (w->m.exact) { /* the id is that of all filters of the packet */
        n = 1;
        id = 1 + first;
    }
    for (uint32_t i = 0; i < n; i++) {
        filters[i] = (first + i * 5) % FILTERS;
        subs[i] = (struct sub){ .qos = (uint8_t)below(w, 3), .id = id };
        subs[i].no_local = v5 && filters[i] < GROUPED && below(w, 4) == 0;
        subs[i].rap = v5 && below(w, 3) == 0;
    }
    peer_subscribe(w, c, filters, subs, n, v5 ? (uint8_t)below(w, 3) : 0);
}

static void act_unsubscribe(struct world *w)
{
    uint32_t c = connected_client(w);
    if (c != NOBODY)
        peer_unsubscribe(w, c, below(w, FILTERS));
}

static void act_answer(struct world *w)
{
    uint32_t c = connected_client(w);
    for (uint32_t n = 1 + below(w, 4); c != NOBODY && n > 0; n--) {
        peer_answer_one(w, c, below(w, 20) == 0);
        peer_release(w, c);
    }
}

static void act_stall(struct world *w)
{
    uint32_t c = connected_client(w);
    if (c == NOBODY)
        return;
    if (w->clients[c].conn->stalled)
        peer_read(w, c);
    else
        w->clients[c].conn->stalled = true;
    model_say(&w->m, "c%u stalled %d", c, w->clients[c].conn->stalled);
}

static void act_pass(struct world *w)
{
    static const uint64_t steps[] = { 1, 10, 500, 1000, 5000, 61000 };
    world_pass(w, steps[below(w, SL_COUNT(steps))]);
}

static void act_crash(struct world *w)
{
    if (below(w, 3) > 0)
        world_settle(w);
    for (uint32_t n = below(w, 4); n > 0; n--)
        act_publish(w);
    if (below(w, 2) == 0)
        act_answer(w);
    (void)world_crash(w);
}

/* ---- a run ---- */

static void step(struct world *w)
{
    static const struct {
        uint32_t weight;
        void (*act)(struct world *w);
    } actions[] = { { 36, act_publish }, { 30, act_answer }, { 10, act_subscribe }, { 3, act_unsubscribe }, { 9, act_connect }, { 3, act_leave },
                    { 6, act_pass }, { 14, world_commit }, { 4, world_settle }, { 3, act_stall }, { 2, act_crash } };
    uint32_t total = 0, i = 0;
    for (uint32_t k = 0; k < SL_COUNT(actions); k++)
        total += actions[k].weight;
    uint32_t at = below(w, total);
    while (at >= actions[i].weight)
        at -= actions[i++].weight;
    actions[i].act(w);
}

/* Everybody who has a session comes back for what waits for him. */
static void drain(struct world *w)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        const struct session_model *s = &w->m.sessions[c];
        struct connect_options o = { .v5 = true, .receive_maximum = 65535, .expiry_s = s->expiry_s };
        if (w->clients[c].conn == NULL && s->exists)
            peer_connect(w, c, &o);
        if (w->clients[c].conn != NULL && w->clients[c].conn->stalled)
            peer_read(w, c);
    }
    for (uint32_t quiet = 0; quiet < 3; quiet++) {
        for (uint32_t c = 0; c < CLIENTS; c++) {
            struct conn *k = w->clients[c].conn;
            while (k != NULL && (k->n_owed > 0 || (w->clients[c].n_out > 0 && w->clients[c].out[0].stage == MQTT_PUBREC))) {
                quiet = 0;
                peer_answer_one(w, c, false);
                peer_release(w, c);
            }
        }
        world_settle(w);
    }
    model_drained(&w->m);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        if (w->clients[c].conn != NULL && w->clients[c].n_out > 0)
            model_fail(&w->m, "c%u: packet id %u is never answered", c, w->clients[c].out[0].packet_id);
    }
    if (model_store_count(&w->store, BATCH_COPY) + model_store_count(&w->store, BATCH_BODY) > 0)
        model_fail(&w->m, "%u copies and %u bodies are left in the store", model_store_count(&w->store, BATCH_COPY), model_store_count(&w->store, BATCH_BODY));
}

static void run(uint64_t seed)
{
    struct world *w = SL_NEW(struct world);
    world_open(w, seed);
    w->m.verbose = getenv("MODEL_VERBOSE") != NULL;
    for (w->m.step = 1; w->m.step <= n_steps; w->m.step++)
        step(w);
    drain(w);
    if (w->m.verbose)
        fprintf(stderr, "seed %llu: %llu deliveries, %llu again\n", (unsigned long long)seed, (unsigned long long)w->m.deliveries, (unsigned long long)w->m.resent);
    world_close(w);
    sl_free(w);
}

static void clients_get_what_mqtt_promises_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++)
        run(seed);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        n_seeds = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        n_steps = strtoull(argv[3], NULL, 10);
    const struct CMUnitTest tests[] = { cmocka_unit_test(clients_get_what_mqtt_promises_whatever_happens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
