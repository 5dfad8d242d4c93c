#include "take.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/units.h"

#define MAX_OPTIONS 80
#define LONG_ONLY 256 /* getopt's values of options without a letter */

int cli_wrong(const char *command, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "sluice %s: ", command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "; see sluice %s --help\n", command);
    return SL_EINVAL;
}

void cli_texts_add(struct cli_texts *list, const char *text)
{
    list->v = sl_realloc(list->v, (list->n + 1) * sizeof *list->v);
    list->v[list->n++] = text;
}

static int number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    uint64_t n;
    int err = sl_bytes_u64(sl_str(text), (uint64_t)max, &n);
    if (err == SL_OK && (int64_t)n < min)
        err = SL_EINVAL;
    if (err == SL_OK)
        *out = (int64_t)n;
    return err;
}

/* A number without a unit is seconds, as mosquitto's users write it. */
static int millis(const char *text, int64_t *out)
{
    uint64_t ms;
    char *end;
    double seconds = strtod(text, &end);
    if (end != text && *end == '\0' && seconds >= 0 && seconds < 1e9) {
        *out = (int64_t)(seconds * 1000 + 0.999); /* upwards; without libm, which would cost the gateway 320 KiB */
        return SL_OK;
    }
    int err = sl_duration_parse(sl_str(text), &ms);
    if (err == SL_OK && ms > INT64_MAX / 2)
        err = SL_EINVAL;
    if (err == SL_OK)
        *out = (int64_t)ms;
    return err;
}

static int seconds_of(const char *text, int64_t max, int64_t *out)
{
    int64_t ms;
    if (max == CLI_NEVER && strcmp(text, "never") == 0) {
        *out = CLI_NEVER;
        return SL_OK;
    }
    if (number(text, 0, max, out) == SL_OK)
        return SL_OK;
    int err = millis(text, &ms);
    if (err == SL_OK && (ms + 999) / 1000 > max)
        err = SL_EINVAL;
    if (err == SL_OK)
        *out = (ms + 999) / 1000;
    return err;
}

static int version(const char *text, int64_t *out)
{
    static const struct {
        const char *name;
        int64_t version;
    } names[] = { { "5", 5 },      { "5.0", 5 }, { "mqttv5", 5 },    { "3.1.1", 4 },
                  { "311", 4 },    { "4", 4 },   { "mqttv311", 4 },
                  { "1.0", CLI_STOMP_10 }, { "1.1", CLI_STOMP_11 }, { "1.2", CLI_STOMP_12 } };
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].version;
            return SL_OK;
        }
    }
    return SL_EINVAL;
}

static int put(const struct cli_option *o, const char *text, struct cli_args *args)
{
    void *field = (char *)args + o->offset;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return SL_OK;
    case CLI_TEXT:
        *(const char **)field = text;
        return SL_OK;
    case CLI_TEXTS:
        cli_texts_add(field, text);
        return SL_OK;
    case CLI_NUMBER:
        return number(text, o->min, o->max, field);
    case CLI_SECONDS:
        return seconds_of(text, o->max, field);
    case CLI_MILLIS:
        return millis(text, field);
    case CLI_VERSION:
        return version(text, field);
    }
    return SL_EINVAL;
}

static const char *allowed(const struct cli_option *o, char *out, size_t cap)
{
    if (o->kind == CLI_VERSION)
        return "5 or 3.1.1; with --stomp 1.0, 1.1 or 1.2";
    if (o->kind == CLI_NUMBER)
        snprintf(out, cap, "a number from %lld to %lld", (long long)o->min, (long long)o->max);
    else
        snprintf(out, cap, "seconds or a duration such as 500ms or 5m%s, up to %lld s",
                 o->max == CLI_NEVER ? ", or never" : "", (long long)o->max);
    return out;
}

static int bad_value(const struct cli_table *t, const struct cli_option *o, const char *text)
{
    char what[128];
    return cli_wrong(t->command, "--%s: \"%s\" is not %s", o->name, text, allowed(o, what, sizeof what));
}

static bool takes_value(const struct cli_option *o)
{
    return o->kind != CLI_FLAG;
}

/* getopt's two descriptions of the same table. */
static void describe(const struct cli_table *t, struct option *names, char *letters)
{
    *letters++ = ':'; /* a missing value is told apart from an unknown option */
    for (size_t i = 0; i < t->n; i++) {
        const struct cli_option *o = &t->options[i];
        names[i] = (struct option){ o->name, takes_value(o) ? required_argument : no_argument, NULL,
                                    LONG_ONLY + (int)i };
        if (o->letter != '\0') {
            *letters++ = o->letter;
            if (takes_value(o))
                *letters++ = ':';
        }
    }
    names[t->n] = (struct option){ 0 };
    *letters = '\0';
}

static const struct cli_option *find(const struct cli_table *t, int code)
{
    if (code >= LONG_ONLY)
        return &t->options[code - LONG_ONLY];
    for (size_t i = 0; i < t->n; i++) {
        if (t->options[i].letter == (char)code)
            return &t->options[i];
    }
    return NULL;
}

static int strange(const struct cli_table *t, int code, char **argv)
{
    const struct cli_option *o = optopt != 0 ? find(t, optopt) : NULL;
    if (code == ':' && o != NULL)
        return cli_wrong(t->command, "--%s needs a value", o->name);
    if (o != NULL)
        return cli_wrong(t->command, "--%s takes no value", o->name);
    if (optopt != 0)
        return cli_wrong(t->command, "unknown option -%c", optopt);
    return cli_wrong(t->command, "unknown or ambiguous option %s", argv[optind - 1]);
}

/* An option that says nothing in the protocol that is spoken was meant to say something. */
static int check_place(const struct cli_table *t, const struct cli_option *o, const struct cli_args *a)
{
    if (a->stomp && (o->place == CLI_ONLY_MQTT || o->place == CLI_ONLY_MQTT5))
        return cli_wrong(t->command, "--%s is a thing of MQTT; --stomp has no place for it", o->name);
    if (a->stomp && o->place == CLI_ONLY_PAHO)
        return cli_wrong(t->command, "--%s: TLS is Paho's, which speaks no STOMP; --stomp has TCP and Unix sockets", o->name);
    if (!a->stomp && o->place == CLI_ONLY_STOMP)
        return cli_wrong(t->command, "--%s is a thing of STOMP: --stomp is missing", o->name);
    if (a->version == 4 && (o->place == CLI_ONLY_MQTT5 || o->place == CLI_NOT_MQTT3))
        return cli_wrong(t->command, "--%s is a thing of MQTT 5; MQTT 3.1.1 has no place for it", o->name);
    return SL_OK;
}

static int check_places(const struct cli_table *t, const bool *used, struct cli_args *a)
{
    int err = SL_OK;
    if (a->version == CLI_NOT_GIVEN)
        a->version = a->stomp ? CLI_STOMP_ANY : 5;
    else if (a->stomp && a->version < CLI_STOMP_10)
        return cli_wrong(t->command, "--stomp has the versions 1.0, 1.1 and 1.2");
    else if (!a->stomp && a->version >= CLI_STOMP_10)
        return cli_wrong(t->command, "that is a version of STOMP: --stomp is missing");
    for (size_t i = 0; err == SL_OK && i < t->n; i++) {
        if (used[i])
            err = check_place(t, &t->options[i], a);
    }
    return err;
}

int cli_take(const struct cli_table *t, int argc, char **argv, struct cli_args *args, int *rest)
{
    struct option names[MAX_OPTIONS + 1];
    char letters[2 * MAX_OPTIONS + 2];
    bool used[MAX_OPTIONS] = { false };
    SL_ASSERT(t->n <= MAX_OPTIONS);
    describe(t, names, letters);
    optind = 0; /* from the beginning, however often it ran before */
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, letters, names, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return strange(t, code, argv);
        const struct cli_option *o = find(t, code);
        SL_ASSERT(o != NULL);
        if (put(o, optarg, args) != SL_OK)
            return bad_value(t, o, optarg);
        used[o - t->options] = true;
    }
    *rest = optind;
    return check_places(t, used, args);
}
