/* A store that is killed at any step, or loses power at any step, holds whole
 * batches only, and every one that was acknowledged. The steps are found by
 * the faultfs shim, the power cut is made by the powercut shim (tests/shims). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "store_kit.h"

#define BATCHES 4u
#define STEPS_MAX 80u

struct run {
    struct kit_dir dir;
    const char *preload;
    const char *env[12]; /* NAME=value, NULL-terminated */
    const char *mode;
};

static const char *below(const struct run *r, const char *name)
{
    return kit_path(r->dir.path, name);
}

static void child_exec(const struct run *r, int out)
{
    dup2(out, STDOUT_FILENO);
    setenv("LD_PRELOAD", r->preload, 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
    for (size_t i = 0; r->env[i] != NULL; i++) {
        if (putenv(sl_strdup(r->env[i])) != 0)
            _exit(4);
    }
    char batches[12];
    snprintf(batches, sizeof batches, "%u", BATCHES);
    execl(STORE_CHILD, STORE_CHILD, below(r, "data"), batches, r->mode, (char *)NULL);
    _exit(4);
}

/* Runs the child to its end; returns the last batch that it told stored, and how it ended. */
static uint32_t run_child(const struct run *r, bool *killed)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_exec(r, out[1]);
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    assert_non_null(f);
    char line[64];
    uint32_t stored = 0;
    while (fgets(line, sizeof line, f) != NULL)
        stored = (uint32_t)strtoul(line + strlen("stored "), NULL, 10);
    fclose(f);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *killed = WIFSIGNALED(status);
    if (!*killed && WEXITSTATUS(status) != 0)
        fail_msg("the child ended with %d after %u batches", WEXITSTATUS(status), stored);
    return stored;
}

/* The acknowledged batches, and perhaps the one whose acknowledgement was cut off. */
static bool holds(const char *dir, uint32_t stored)
{
    struct store *st = kit_open("lmdb", dir);
    char *content = kit_content(st);
    store_close(st);
    bool found = false;
    for (uint32_t n = stored; n <= stored + 1 && !found; n++) {
        char *expected = kit_scenario_content(n);
        found = strcmp(content, expected) == 0;
        sl_free(expected);
    }
    sl_free(content);
    return found;
}

static void run_begin(struct run *r)
{
    kit_dir_make(&r->dir);
    r->mode = "story";
}

/* ---- kill ---- */

static uint32_t kill_at_every_step(const char *action)
{
    bool killed = true;
    uint32_t step = 0;
    while (killed) {
        struct run r = { .preload = FAULTFS_SHIM };
        run_begin(&r);
        char plan[64], match[300];
        snprintf(plan, sizeof plan, "FAULTFS=any:%u:%s", ++step, action);
        snprintf(match, sizeof match, "FAULTFS_MATCH=%s", r.dir.path);
        r.env[0] = plan;
        r.env[1] = match;
        uint32_t stored = run_child(&r, &killed);
        assert_true(killed || stored == BATCHES);
        assert_true(holds(below(&r, "data"), stored));
        kit_dir_remove(&r.dir);
        assert_true(step < STEPS_MAX);
    }
    return step;
}

static void killed_before_any_step_it_holds_whole_batches(void **state)
{
    (void)state;
    uint32_t steps = kill_at_every_step("kill");
    assert_true(steps > 3 * BATCHES); /* each batch has a write, a sync and a meta page */
    print_message("killed before each of %u steps\n", steps - 1);
}

static void killed_after_any_step_it_holds_whole_batches(void **state)
{
    (void)state;
    kill_at_every_step("killafter");
}

/* ---- power cut ---- */

/* One run killed before `step`; true when the shadow holds what it must. */
static bool power_cut(uint32_t step, const char *more, bool *killed)
{
    struct run r = { .preload = POWERCUT_SHIM ":" FAULTFS_SHIM };
    run_begin(&r);
    char plan[64], match[300], root[300], shadow[300];
    snprintf(plan, sizeof plan, "FAULTFS=any:%u:kill", step);
    snprintf(match, sizeof match, "FAULTFS_MATCH=%s/data", r.dir.path);
    snprintf(root, sizeof root, "POWERCUT_ROOT=%s", below(&r, "data"));
    snprintf(shadow, sizeof shadow, "POWERCUT_SHADOW=%s", below(&r, "shadow"));
    r.env[0] = plan;
    r.env[1] = match;
    r.env[2] = root;
    r.env[3] = shadow;
    r.env[4] = more;
    uint32_t stored = run_child(&r, killed);
    bool good = holds(below(&r, "shadow"), stored);
    kit_dir_remove(&r.dir);
    return good;
}

static void after_a_power_cut_at_any_step_it_holds_what_was_acknowledged(void **state)
{
    (void)state;
    bool killed = true;
    for (uint32_t step = 1; killed; step++) {
        assert_true(step < STEPS_MAX);
        if (!power_cut(step, NULL, &killed))
            fail_msg("a power cut before step %u lost a batch", step);
    }
}

static void unsynced_pages_that_reached_the_disk_do_no_harm(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 16; seed++) {
        char torn[32];
        bool killed;
        snprintf(torn, sizeof torn, "POWERCUT_TORN=%u", seed);
        if (!power_cut(8 + seed % (3 * BATCHES), torn, &killed))
            fail_msg("seed %u: a torn write did harm", seed);
    }
}

static void a_disk_that_lies_about_syncs_is_noticed_by_this_test(void **state)
{
    (void)state;
    bool killed;
    assert_false(power_cut(1000, "POWERCUT_NOSYNC=1", &killed));
    assert_false(killed);
}

/* ---- the order of syncs and answers ---- */

/* Line numbers of the first sync that holds `word`, the first dsync after it, and the send. */
struct order {
    unsigned sync, dsync, sent;
};

static void hex_of(const char *word, char *out)
{
    for (; *word != '\0'; word++, out += 2)
        snprintf(out, 3, "%02x", (unsigned)(unsigned char)*word);
}

static struct order order_of(const char *log, uint32_t i)
{
    char word[32], bare[32], hex[80], line[8192];
    snprintf(bare, sizeof bare, " probe-%u", i);
    snprintf(word, sizeof word, "probe-%u.", i);
    hex_of(word, hex);
    struct order o = { 0 };
    FILE *f = fopen(log, "r");
    assert_non_null(f);
    for (unsigned n = 1; fgets(line, sizeof line, f) != NULL; n++) {
        size_t len = strcspn(line, "\n");
        line[len] = '\0';
        const char *at = strstr(line, bare);
        if (strstr(line, " sync ") != NULL && at != NULL && (at[strlen(bare)] == '\0' || at[strlen(bare)] == ' '))
            o.sync = n;
        else if (o.sync != 0 && o.dsync == 0 && strstr(line, " dsync ") != NULL)
            o.dsync = n;
        else if (strstr(line, " send ") != NULL && strstr(line, hex) != NULL)
            o.sent = n;
    }
    fclose(f);
    return o;
}

static void the_log_shows_each_answer_behind_its_sync(void **state)
{
    (void)state;
    struct run r = { .preload = POWERCUT_SHIM };
    run_begin(&r);
    r.mode = "probe";
    char root[300], shadow[300], log[300];
    snprintf(root, sizeof root, "POWERCUT_ROOT=%s", below(&r, "data"));
    snprintf(shadow, sizeof shadow, "POWERCUT_SHADOW=%s", below(&r, "shadow"));
    snprintf(log, sizeof log, "POWERCUT_LOG=%s", below(&r, "log"));
    r.env[0] = root;
    r.env[1] = shadow;
    r.env[2] = log;
    r.env[3] = "POWERCUT_WATCH=probe-";
    bool killed;
    assert_int_equal(run_child(&r, &killed), BATCHES);
    for (uint32_t i = 1; i <= BATCHES; i++) {
        struct order o = order_of(below(&r, "log"), i);
        assert_true(o.sync > 0);
        assert_true(o.dsync > o.sync);
        assert_true(o.sent > o.dsync);
    }
    kit_dir_remove(&r.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_before_any_step_it_holds_whole_batches),
        cmocka_unit_test(killed_after_any_step_it_holds_whole_batches),
        cmocka_unit_test(after_a_power_cut_at_any_step_it_holds_what_was_acknowledged),
        cmocka_unit_test(unsynced_pages_that_reached_the_disk_do_no_harm),
        cmocka_unit_test(a_disk_that_lies_about_syncs_is_noticed_by_this_test),
        cmocka_unit_test(the_log_shows_each_answer_behind_its_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
