/* sluice: the program. Each command is one function. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "cli.h"
#include "cli/pubsub.h"
#include "gateway.h"

static const char run_help[] =
    "usage: sluice run [-c FILE] [--data DIR] [--set PATH=VALUE]...\n"
    "\n"
    "Runs the gateway in the foreground; logs key=value lines to stderr.\n"
    "\n"
    "  -c FILE           configuration; without it ./sluice.json, then\n"
    "                    /etc/sluice/sluice.json, then the built-in default\n"
    "                    (MQTT on 127.0.0.1:1883, STOMP on 127.0.0.1:61613)\n"
    "  --data DIR        data directory, instead of the configuration's data_dir\n"
    "  --set PATH=VALUE  one value over the file's, as often as needed:\n"
    "                    --set queues.telemetry.max_attempts=3\n"
    "                    --set 'listeners[0].bind=127.0.0.1:1884'\n"
    "\n"
    "signals\n"
    "  SIGTERM, SIGINT   drain: stop accepting, let workers finish for up to\n"
    "                    drain_timeout, flush, exit 0; the second one: stop now\n"
    "  SIGHUP            read the configuration again: pools that changed are rolled,\n"
    "                    new ones started, those that are gone drained; schedules are\n"
    "                    taken over; a file with a fault, or with a change of another\n"
    "                    key, changes nothing\n"
    "  SIGUSR1           log a summary of all counters\n"
    "\n"
    "exit status: 0 done; 1 failed while working; 2 wrong use or configuration\n";

static const char check_help[] =
    "usage: sluice check [-c FILE] [--data DIR] [--set PATH=VALUE]...\n"
    "       sluice check --print-reference | --print-schema\n"
    "\n"
    "Reads the configuration as `sluice run` would and starts nothing. Every fault\n"
    "is told, as FILE:LINE:COL: path.to.key: what is wrong, what is allowed; of\n"
    "cron schedules, when they are next.\n"
    "\n"
    "  --print-reference  every key with its default and a comment\n"
    "  --print-schema     JSON Schema for editors\n"
    "\n"
    "exit status: 0 the configuration is good; 2 it is not\n";

static int load_again(const void *arg, struct config **out, struct config_faults *faults)
{
    const struct cli_options *o = arg;
    struct config_overrides over = { o->sets, o->n_sets, o->data, zones_exists };
    return config_load(o->config, &over, out, faults);
}

static struct config *load(const struct cli_options *o)
{
    struct config *cfg = NULL;
    struct config_faults faults = { 0 };
    if (load_again(o, &cfg, &faults) != SL_OK) {
        for (size_t i = 0; i < faults.n; i++)
            fprintf(stderr, "%s\n", faults.v[i]);
        fprintf(stderr, "%zu fault%s\n", faults.n, faults.n == 1 ? "" : "s");
    }
    config_faults_fini(&faults);
    return cfg;
}

static int run(const struct cli_options *o)
{
    struct config *cfg = load(o);
    if (cfg == NULL)
        return 2;
    static struct gateway g;
    sl_log(SL_INFO, "starting", "version=" SLUICE_VERSION " config=%s data_dir=%s", cfg->source, cfg->data_dir);
    int status = gateway_setup(&g, cfg, &(struct gateway_source){ load_again, o });
    if (status < 0)
        status = gateway_open(&g);
    if (status < 0) {
        status = gateway_run(&g);
        gateway_free(&g);
    }
    config_free(cfg);
    return status;
}

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What people get wrong in cron shows in its next firing. */
static void print_schedules(const struct config *cfg)
{
    struct zones zones = { 0 };
    for (size_t i = 0; i < cfg->n_schedules; i++) {
        const struct config_schedule *s = &cfg->schedules[i];
        char text[32];
        if (!s->enabled || s->when.every_ms > 0 || zones_read(&zones, s->timezone) != SL_OK)
            continue;
        struct schedule when = { .cron = s->when, .zone = zones_find(&zones, s->timezone) };
        printf("schedules[%zu] %s: \"%s\" in %s is next at %s\n", i, s->name, s->cron, s->timezone,
               sl_time_format(schedule_next(&when, wall_ms()), text, sizeof text));
    }
    zones_fini(&zones);
}

static int check(const struct cli_options *o)
{
    if (o->print != CLI_PRINT_NOTHING) {
        struct sl_buf out = { 0 };
        if (o->print == CLI_PRINT_REFERENCE)
            config_print_reference(&out);
        else
            config_print_schema(&out);
        fwrite(sl_buf_view(&out).p, 1, sl_buf_len(&out), stdout);
        sl_buf_fini(&out);
        return 0;
    }
    struct config *cfg = load(o);
    if (cfg == NULL)
        return 2;
    printf("%s: good\n", cfg->source);
    print_schedules(cfg);
    config_free(cfg);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct { /* commands with options of their own */
        const char *name;
        int (*main)(int argc, char **argv);
    } own[] = { { "bench", bench_main }, { "pub", cli_pub_main }, { "sub", cli_sub_main } };
    static const struct cli_command commands[] = {
        { "run", "the gateway, in the foreground", run_help, run },
        { "check", "read the configuration and tell every fault", check_help, check },
        { "pub", "publish to an MQTT server, and wait for its answer or a result", NULL, NULL },
        { "sub", "subscribe at an MQTT server, and show what comes", NULL, NULL },
        { "bench", "load generator, worker and subscriber that check what arrives", NULL, NULL },
    };
    for (size_t i = 0; argc > 1 && i < SL_COUNT(own); i++) {
        if (strcmp(argv[1], own[i].name) == 0)
            return own[i].main(argc - 1, argv + 1);
    }
    return cli_main(argc, argv, commands, SL_COUNT(commands));
}
