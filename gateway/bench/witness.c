#include "bench/witness.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bench/args.h"
#include "bench/stamp.h"
#include "clock.h"
#include "core/alloc.h"
#include "core/hash.h"

#define REPORT_EVERY_NS UINT64_C(1000000000)

struct witness {
    struct witness_options o;
    char report[1024];
    struct ledger *ledger;
    uint64_t run;             /* of the latest stamp; 0: none yet */
    struct ledger_seat *seat; /* in the ledger, or `own` */
    struct ledger_seat own;
    uint64_t *latest; /* by connection: the highest sequence here, + 1 */
    uint32_t n_latest;
    uint64_t reported_ns;
};

const char witness_help[] =
    "  --ledger FILE        note every message there (the generator's --ledger)\n"
    "  --report FILE        findings as a line of JSON, once a second and at the end;\n"
    "                       %p in the name becomes the process id\n"
    "  --work DURATION      time to spend with each message (0)\n"
    "  --busy               spend it computing, not sleeping\n"
    "  --fail-percent N     fail these messages when they come for the first time (0)\n";

int witness_option(struct witness_options *o, int argc, char **argv, int *i)
{
    static const struct arg args[] = {
        { "ledger", ARG_TEXT, offsetof(struct witness_options, ledger) },
        { "report", ARG_TEXT, offsetof(struct witness_options, report) },
        { "work", ARG_DURATION_US, offsetof(struct witness_options, work_us) },
        { "busy", ARG_FLAG, offsetof(struct witness_options, busy) },
        { "fail-percent", ARG_U32, offsetof(struct witness_options, fail_percent) },
    };
    return args_take(&(struct arg_table){ args, SL_COUNT(args) }, o, argc, argv, i);
}

static void name_report(struct witness *w, const char *pattern)
{
    const char *pid = strstr(pattern, "%p");
    if (pid == NULL)
        (void)snprintf(w->report, sizeof w->report, "%s", pattern);
    else
        (void)snprintf(w->report, sizeof w->report, "%.*s%ld%s", (int)(pid - pattern), pattern,
                       (long)getpid(), pid + 2);
}

struct witness *witness_new(const struct witness_options *o)
{
    struct witness *w = SL_NEW(struct witness);
    w->o = *o;
    w->seat = &w->own;
    if (o->report != NULL)
        name_report(w, o->report);
    return w;
}

static int print_report(const struct ledger_seat *s, struct sl_buf *out)
{
    double seconds = (double)(s->last_ns - s->first_ns) / 1e9;
    int err = sl_buf_printf(
        out,
        "{\"pid\":%ld,\"received\":%llu,\"repeated\":%llu,\"redelivered\":%llu,\"out_of_order\":%"
        "llu,"
        "\"failed\":%llu,\"foreign\":%llu,\"untracked\":%llu,\"seconds\":%.3f,\"latency_us\":",
        (long)getpid(), (unsigned long long)s->received, (unsigned long long)s->repeated,
        (unsigned long long)s->redelivered, (unsigned long long)s->out_of_order,
        (unsigned long long)s->failed, (unsigned long long)s->foreign,
        (unsigned long long)s->untracked, s->received > 0 ? seconds : 0.0);
    if (err == SL_OK)
        err = histogram_print_json(&s->latency, out);
    return err == SL_OK ? sl_buf_append(out, "}\n", 2) : err;
}

/* Whole or not at all: a reader never finds half a line. */
static void write_report(struct witness *w)
{
    if (w->o.report == NULL)
        return;
    char fresh[sizeof w->report + 8];
    struct sl_buf line = { 0 };
    (void)snprintf(fresh, sizeof fresh, "%s.new", w->report);
    FILE *f = fopen(fresh, "w");
    if (f != NULL && print_report(w->seat, &line) == SL_OK) {
        (void)fwrite(line.p, 1, line.end, f);
        (void)fclose(f);
        (void)rename(fresh, w->report);
    } else if (f != NULL) {
        (void)fclose(f);
    }
    sl_buf_fini(&line);
}

void witness_tick(struct witness *w)
{
    uint64_t now = clock_ns();
    if (now - w->reported_ns < REPORT_EVERY_NS)
        return;
    w->reported_ns = now;
    write_report(w);
}

void witness_free(struct witness *w)
{
    write_report(w);
    ledger_free(w->ledger);
    sl_free(w->latest);
    sl_free(w);
}

/* A new run: its ledger is another file of the same name. */
static void follow_run(struct witness *w, uint64_t run)
{
    ledger_free(w->ledger);
    w->ledger = NULL;
    w->run = run;
    memset(&w->own, 0, sizeof w->own);
    w->seat = &w->own;
    if (w->latest != NULL)
        memset(w->latest, 0, w->n_latest * sizeof *w->latest);
    if (w->o.ledger != NULL && ledger_attach(w->o.ledger, run, &w->ledger) == SL_OK)
        w->seat = ledger_seat(w->ledger);
}

/* Whether it is behind a later one of its connection. */
static bool out_of_order(struct witness *w, const struct stamp *s)
{
    if (s->connection >= LEDGER_MAX_CONNECTIONS)
        return false;
    if (s->connection >= w->n_latest) {
        uint32_t n = s->connection + 64;
        w->latest = sl_realloc(w->latest, n * sizeof *w->latest);
        memset(w->latest + w->n_latest, 0, (n - w->n_latest) * sizeof *w->latest);
        w->n_latest = n;
    }
    uint64_t *latest = &w->latest[s->connection];
    if (s->sequence + 1 <= *latest)
        return true;
    *latest = s->sequence + 1;
    return false;
}

static void work(const struct witness *w, uint64_t from_ns)
{
    if (w->o.work_us == 0)
        return;
    uint64_t until = from_ns + w->o.work_us * 1000;
    struct timespec t = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
    if (w->o.busy) {
        while (clock_ns() < until)
            ;
    } else {
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
}

/* Not every server tells a message's attempt: the ledger knows. */
static bool fails(struct witness *w, const struct stamp *s, uint32_t attempt)
{
    if (attempt > 1 || w->o.fail_percent == 0)
        return false;
    if (sl_hash_u64((uint64_t)s->connection << 40 ^ s->sequence) % 100 >= w->o.fail_percent)
        return false;
    return w->ledger == NULL || ledger_fail(w->ledger, s->connection, s->sequence) == LEDGER_FIRST;
}

static void note(struct witness *w, const struct stamp *s, uint64_t now, bool first_delivery)
{
    enum ledger_sight sight = LEDGER_UNTRACKED;
    bool late = out_of_order(w, s);
    if (w->ledger != NULL)
        sight = ledger_see(w->ledger, s->connection, s->sequence);
    w->seat->repeated += sight == LEDGER_REPEATED;
    w->seat->untracked += sight == LEDGER_UNTRACKED;
    if (sight == LEDGER_REPEATED || !first_delivery)
        return;
    w->seat->out_of_order += late;
    if (w->ledger == NULL || ledger_is_measured(w->ledger, s->sent_ns))
        histogram_record(&w->seat->latency, now > s->sent_ns ? now - s->sent_ns : 0);
}

enum witness_verdict witness_see(struct witness *w, struct sl_bytes payload, uint32_t attempt)
{
    struct stamp s;
    uint64_t now = clock_ns();
    if (stamp_read(payload, &s) != SL_OK) {
        w->seat->foreign++;
        return WITNESS_ACK;
    }
    if (s.run != w->run)
        follow_run(w, s.run);
    w->seat->received++;
    w->seat->redelivered += attempt > 1;
    if (w->seat->first_ns == 0)
        w->seat->first_ns = now;
    w->seat->last_ns = now;
    bool failing = fails(w, &s, attempt);
    w->seat->failed += failing;
    if (!failing)
        note(w, &s, now, attempt == 1);
    work(w, now);
    if (now - w->reported_ns >= REPORT_EVERY_NS)
        witness_tick(w);
    return failing ? WITNESS_FAIL : WITNESS_ACK;
}
