/* The command line. */
#ifndef MAIN_CLI_H
#define MAIN_CLI_H

#include <stddef.h>

#define CLI_MAX_SETS 64

enum cli_print { CLI_PRINT_NOTHING, CLI_PRINT_REFERENCE, CLI_PRINT_SCHEMA };

struct cli_options {
    const char *config; /* -c; NULL: search */
    const char *data;   /* --data */
    const char *sets[CLI_MAX_SETS];
    size_t n_sets;
    enum cli_print print;
    int help;
};

struct cli_command {
    const char *name;
    const char *summary;
    const char *help; /* the whole text */
    int (*run)(const struct cli_options *o);
};

/* Exit status: 0 done, 1 failed while working, 2 wrong use or configuration. */
int cli_main(int argc, char **argv, const struct cli_command *commands, size_t n);

#endif
