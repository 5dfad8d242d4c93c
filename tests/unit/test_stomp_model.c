/* STOMP from end to end of the gateway under random valid traffic, with some that is
 * not, beside a small model of what its clients are promised.
 *
 *     test_stomp_model [FIRST [COUNT [STEPS]]]
 *
 * with these seeds. MODEL_VERBOSE=1 tells each step; MODEL_SHRINK=1 leaves steps of
 * the first seed out as long as it fails, and tells what is left; MODEL_SKIP=3,17
 * leaves these out. Each step draws from a generator of its own, so that the others
 * stay what they were. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "stomp_model_world.h"

#define STEPS_MAX 100000u

static uint64_t first_seed = 1, n_seeds = 300, n_steps = 400;
static bool skipped[STEPS_MAX];

static void act_pass(struct sworld *w)
{
    static const uint64_t steps[] = { 1, 10, 100, 100, 400, 400, 1000, 2500, 31000 };
    sworld_pass(w, steps[draw(w, SL_COUNT(steps))]);
}


static void act_space(struct sworld *w)
{
    if (!w->scarce)
        return;
    w->space = !w->space;
    smodel_say(&w->m, "the store has %s space", w->space ? "some" : "no");
}

static void act_crash(struct sworld *w)
{
    if (draw(w, 3) > 0)
        sworld_settle(w);
    if (draw(w, 2) == 0)
        act_send(w);
    sworld_crash(w);
}

/* Several frames of one connection arrive together. */
static void act_burst(struct sworld *w)
{
    static void (*const acts[])(struct sworld *w) = { act_send, act_send, act_answer, act_answer, act_answer, act_begin, act_commit, act_abort, act_subscribe, act_extend, act_stale };
    struct link *l = w->one_by_one ? NULL : some_link(w);
    w->burst = l;
    for (uint32_t n = 1 + draw(w, 5); w->burst != NULL && n > 0; n--) {
        acts[draw(w, SL_COUNT(acts))](w);
        if (l->hc == NULL || l->k->doom != FINE)
            break;
    }
    w->burst = NULL;
    if (l != NULL && l->hc != NULL)
        link_flush(w, l);
}

static void step(struct sworld *w)
{
    static const struct {
        uint32_t weight;
        void (*act)(struct sworld *w);
    } actions[] = {
        { 30, act_send }, { 14, act_burst }, { 12, act_mqtt_publish }, { 16, act_subscribe }, { 3, act_unsubscribe }, { 14, act_connect }, { 10, act_begin }, { 10, act_commit },
        { 3, act_abort }, { 50, act_answer }, { 4, act_extend }, { 3, act_stale }, { 1, act_disconnect }, { 2, act_lose }, { 4, act_stall }, { 2, act_fault },
        { 10, act_pass }, { 24, sworld_commit }, { 4, sworld_settle }, { 4, act_space }, { 1, act_crash },
    };
    uint32_t total = 0, i = 0;
    for (uint32_t k = 0; k < SL_COUNT(actions); k++)
        total += actions[k].weight;
    uint32_t at = draw(w, total);
    while (at >= actions[i].weight)
        at -= actions[i++].weight;
    actions[i].act(w);
}

static void flush_all(struct sworld *w)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct link *l = &w->links[i];
        if (l->hc != NULL && l->k->up)
            link_flush(w, l);
        if (l->hc != NULL && l->k->stalled)
            link_read_on(w, l);
    }
}

static void run(uint64_t seed)
{
    struct sworld *w = SL_NEW(struct sworld);
    sworld_open(w, seed);
    w->m.verbose = getenv("MODEL_VERBOSE") != NULL;
    for (w->m.step = 1; w->m.step <= n_steps; w->m.step++) {
        sl_rng_seed(&w->rng, seed * STEPS_MAX + w->m.step);
        if (!skipped[w->m.step])
            step(w);
    }
    flush_all(w);
    sworld_settle(w);
    sworld_turn(w);
    sworld_crash(w);
    sworld_settle(w);
    if (w->m.verbose)
        fprintf(stderr, "seed %llu: %llu deliveries, %llu receipts, %llu errors, %llu crashes, %u transactions\n", (unsigned long long)seed,
                (unsigned long long)w->m.deliveries, (unsigned long long)w->m.receipts, (unsigned long long)w->m.errors, (unsigned long long)w->m.crashes, w->m.n_txns);
    sworld_close(w);
    sl_free(w);
}

static void clients_get_what_stomp_promises_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++)
        run(seed);
}

/* ---- fewer steps ---- */

static bool fails(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        run(first_seed);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Leaves out `size` steps at a time, then fewer. */
static void shrink(void)
{
    if (!fails())
        return;
    for (uint64_t size = n_steps / 2; size > 0; size /= 2) {
        for (uint64_t from = 1; from <= n_steps; from += size) {
            bool before[STEPS_MAX];
            memcpy(before, skipped, sizeof before);
            for (uint64_t i = from; i < from + size && i <= n_steps; i++)
                skipped[i] = true;
            if (memcmp(before, skipped, sizeof before) != 0 && !fails())
                memcpy(skipped, before, sizeof before);
        }
    }
    fprintf(stderr, "MODEL_SKIP=");
    for (uint64_t i = 1; i <= n_steps; i++) {
        if (skipped[i])
            fprintf(stderr, "%llu,", (unsigned long long)i);
    }
    fprintf(stderr, " test_stomp_model %llu 1 %llu\n", (unsigned long long)first_seed, (unsigned long long)n_steps);
    run(first_seed);
}

static void read_skipped(const char *list)
{
    while (list != NULL && *list != '\0') {
        char *end;
        unsigned long long i = strtoull(list, &end, 10);
        if (i < STEPS_MAX)
            skipped[i] = true;
        list = *end == ',' ? end + 1 : end;
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        n_seeds = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        n_steps = strtoull(argv[3], NULL, 10);
    assert_true(n_steps < STEPS_MAX);
    read_skipped(getenv("MODEL_SKIP"));
    if (getenv("MODEL_SHRINK") != NULL) {
        shrink();
        return 0;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(clients_get_what_stomp_promises_whatever_happens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
