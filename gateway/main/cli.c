/* Options and help: `sluice COMMAND [OPTION]…`. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static void usage(FILE *out, const struct cli_command *commands, size_t n)
{
    fputs("sluice " SLUICE_VERSION ": MQTT and STOMP in, durable queues, supervised workers\n\n"
          "usage: sluice COMMAND [OPTION]...\n\n",
          out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`sluice COMMAND --help` tells all about one command; `sluice --version` the version.\n", out);
}

/* The value of an option: "--name=value" or the next argument. */
static const char *value_of(int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) == 0 && argv[*i][n] == '=')
        return argv[*i] + n + 1;
    if (strcmp(argv[*i], name) == 0 && *i + 1 < argc)
        return argv[++*i];
    return NULL;
}

static int take_option(int argc, char **argv, int *i, struct cli_options *o)
{
    const char *v;
    const char *arg = argv[*i];
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
        o->help = 1;
    } else if (strcmp(arg, "--print-reference") == 0) {
        o->print = CLI_PRINT_REFERENCE;
    } else if (strcmp(arg, "--print-schema") == 0) {
        o->print = CLI_PRINT_SCHEMA;
    } else if ((v = value_of(argc, argv, i, "-c")) != NULL || (v = value_of(argc, argv, i, "--config")) != NULL) {
        o->config = v;
    } else if ((v = value_of(argc, argv, i, "--data")) != NULL) {
        o->data = v;
    } else if ((v = value_of(argc, argv, i, "--set")) != NULL && o->n_sets < CLI_MAX_SETS) {
        o->sets[o->n_sets++] = v;
    } else {
        fprintf(stderr, "sluice %s: unknown or incomplete option \"%s\"; see sluice %s --help\n", argv[1], arg, argv[1]);
        return 2;
    }
    return 0;
}

static int run_command(int argc, char **argv, const struct cli_command *c)
{
    struct cli_options o = { 0 };
    for (int i = 2; i < argc; i++) {
        int status = take_option(argc, argv, &i, &o);
        if (status != 0)
            return status;
    }
    if (o.help) {
        fputs(c->help, stdout);
        return 0;
    }
    return c->run(&o);
}

int cli_main(int argc, char **argv, const struct cli_command *commands, size_t n)
{
    if (argc < 2) {
        usage(stderr, commands, n);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("sluice " SLUICE_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout, commands, n);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_command(argc, argv, &commands[i]);
    }
    fprintf(stderr, "sluice: unknown command \"%s\"\n\n", argv[1]);
    usage(stderr, commands, n);
    return 2;
}
