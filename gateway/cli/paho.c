#include "paho.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int find(void *library, const char *name, void *field)
{
    void *symbol = dlsym(library, name);
    memcpy(field, &symbol, sizeof symbol); /* POSIX: a function's address fits an object pointer */
    return symbol == NULL;
}

const struct cli_paho *cli_paho_load(const char *command)
{
    static struct cli_paho table;
    int missing = 0;
    void *library = dlopen(CLI_PAHO_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "sluice %s: %s; on Debian: apt install libpaho-mqtt1.3\n", command, dlerror());
        return NULL;
    }
#define X(field, name) missing += find(library, #name, &table.field);
    CLI_PAHO_FUNCTIONS(X)
#undef X
    if (missing > 0) {
        fprintf(stderr, "sluice %s: %s is too old: %d functions are missing\n", command, CLI_PAHO_LIBRARY, missing);
        return NULL;
    }
    return &table;
}
