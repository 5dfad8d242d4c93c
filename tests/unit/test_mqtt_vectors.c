/* Runs the documents in vectors/mqtt (see their README) at every split. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mqtt_harness.h"

struct vector {
    char name[128], start[8], verdict[16];
    char in[4096], log[4096], out[4096];
};

static enum proto_result verdict_of(const char *word)
{
    static const char *const words[] = {
        [PROTO_ACCEPTED] = "accepted",     [PROTO_NO_TAKER] = "no_taker",
        [PROTO_UNKNOWN_ID] = "unknown_id", [PROTO_REFUSED_QUOTA] = "quota",
        [PROTO_REFUSED_DENIED] = "denied", [PROTO_REFUSED_TARGET] = "target",
        [PROTO_REFUSED_STORE] = "store",
    };
    for (size_t i = 0; i < SL_COUNT(words); i++)
        if (strcmp(words[i], word) == 0)
            return (enum proto_result)i;
    fail_msg("no verdict %s", word);
    return PROTO_ACCEPTED;
}

static void run_at(const struct vector *v, struct sl_bytes in, size_t step)
{
    struct harness h;
    harness_init(&h);
    h.verdict = verdict_of(v->verdict);
    if (strcmp(v->start, "new") == 0)
        harness_begin(&h);
    else
        harness_open(&h, v->start[0] == '5' ? MQTT_V5 : MQTT_V311);
    harness_feed(&h, in, step);
    expect_log(&h, v->log);
    expect_out(&h, v->out);
    harness_end(&h);
}

static unsigned run_vector(const struct vector *v)
{
    struct sl_buf in = {0};
    notation(&in, v->in);
    assert_true(sl_buf_len(&in) > 0);
    print_message("  %s\n", v->name);
    for (size_t step = 1; step <= sl_buf_len(&in); step++)
        run_at(v, sl_buf_view(&in), step);
    unsigned runs = (unsigned)sl_buf_len(&in);
    sl_buf_fini(&in);
    return runs;
}

static void add_line(char *to, size_t cap, const char *rest)
{
    size_t n = strlen(to);
    assert_true(n + strlen(rest) < cap);
    strcpy(to + n, rest);
}

static void take_line(struct vector *v, const char *line)
{
    if (strncmp(line, "in ", 3) == 0)
        add_line(v->in, sizeof v->in, line + 3);
    else if (strncmp(line, "log ", 4) == 0)
        add_line(v->log, sizeof v->log, line + 4);
    else if (strncmp(line, "out ", 4) == 0)
        add_line(v->out, sizeof v->out, line + 4);
    else if (line[0] != '#' && line[0] != '\n')
        fail_msg("not a vector line: %s", line);
}

static void run_file(const char *path, unsigned *vectors, unsigned *runs)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    struct vector v = {0};
    char line[4096];
    bool more = true;
    while (more) {
        more = fgets(line, sizeof line, f) != NULL;
        bool starts = more && strncmp(line, "test ", 5) == 0;
        if ((starts || !more) && v.name[0] != 0) {
            *runs += run_vector(&v);
            ++*vectors;
        }
        if (starts) {
            v = (struct vector){.verdict = "accepted"};
            assert_true(sscanf(line, "test %127s %7s %15s", v.name, v.start, v.verdict) >= 2);
        } else if (more) {
            take_line(&v, line);
        }
    }
    fclose(f);
}

static void every_vector_holds_at_every_split(void **state)
{
    (void)state;
    DIR *d = opendir(MQTT_VECTORS);
    assert_non_null(d);
    unsigned vectors = 0, runs = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char path[1024];
        if (strstr(e->d_name, ".txt") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", MQTT_VECTORS, e->d_name);
        run_file(path, &vectors, &runs);
    }
    closedir(d);
    print_message("%u vectors, %u splits\n", vectors, runs);
    assert_true(vectors >= 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_vector_holds_at_every_split)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
