/* Options by table: each row says how an option's value is read and where it goes. */
#ifndef CLI_TAKE_H
#define CLI_TAKE_H

#include "args.h"

enum cli_kind {
    CLI_FLAG,
    CLI_TEXT,
    CLI_TEXTS,    /* may be given again */
    CLI_NUMBER,   /* min to max */
    CLI_SECONDS,  /* "30", "5m", or "never" where max is CLI_NEVER */
    CLI_MILLIS,   /* "2" seconds, "1.5", "200ms" */
    CLI_VERSION,  /* "5", "3.1.1" and mosquitto's names of them; STOMP's "1.2" */
};

/* Where an option has a meaning. */
enum cli_place { CLI_ANYWHERE, CLI_ONLY_MQTT, CLI_ONLY_PAHO, CLI_ONLY_MQTT5, CLI_NOT_MQTT3, CLI_ONLY_STOMP };

struct cli_option {
    const char *name;
    char letter; /* 0: none */
    enum cli_kind kind;
    size_t offset;
    int64_t min, max;
    enum cli_place place;
};

struct cli_table {
    const char *command; /* "pub", "sub" */
    const struct cli_option *options;
    size_t n;
};

/* Puts the values into `args`, whose defaults are there already. `rest` is the
 * index in argv, which is reordered, of the first word that is no option.
 * SL_EINVAL is told on stderr. */
SL_CHECK int cli_take(const struct cli_table *t, int argc, char **argv, struct cli_args *args, int *rest);
/* Tells on stderr what is wrong, and where more is said; SL_EINVAL. */
SL_CHECK int cli_wrong(const char *command, const char *fmt, ...) SL_PRINTF(2, 3);
void cli_texts_add(struct cli_texts *list, const char *text);

#endif
