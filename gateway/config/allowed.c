/* What a row allows, in words: for faults, and for the reference's comments. */
#include <stdio.h>

#include "core/units.h"
#include "keys.h"

static const char *bound(const struct config_key *key, double value, char *out, size_t cap)
{
    uint64_t whole = value > 0 ? (uint64_t)value : 0;
    if (key->type == KEY_SIZE)
        return sl_size_format(whole, out, cap);
    if (key->type == KEY_DURATION)
        return sl_duration_format(whole, out, cap);
    if (key->type == KEY_DURATION_US && whole % 1000 == 0)
        return sl_duration_format(whole / 1000, out, cap);
    (void)snprintf(out, cap, key->type == KEY_DURATION_US ? "%.0fus" : "%.10g", value);
    return out;
}

static void with_range(const struct config_key *key, const char *what, char *out, size_t cap)
{
    char from[32], to[32];
    (void)snprintf(out, cap, "%s from %s to %s", what, bound(key, key->min, from, sizeof from),
                   bound(key, key->max, to, sizeof to));
}

static void append(char *out, size_t cap, const char *text)
{
    size_t n = strlen(out);
    (void)snprintf(out + n, cap - n, "%s", text);
}

static void choices(const struct config_key *key, char *out, size_t cap)
{
    size_t last = 0, n = 0;
    *out = '\0';
    for (size_t i = 0; key->choices[i] != NULL; i++)
        if ((key->later >> i & 1) == 0)
            last = i;
    for (size_t i = 0; key->choices[i] != NULL; i++) {
        if ((key->later >> i & 1) != 0)
            continue;
        append(out, cap, n++ == 0 ? "\"" : i == last ? " or \"" : ", \"");
        append(out, cap, key->choices[i]);
        append(out, cap, "\"");
    }
}

static void by_type(const struct config_key *key, char *out, size_t cap)
{
    static const char *const fixed[] = {
        [KEY_OBJECT] = "an object",
        [KEY_MAP] = "an object of objects by name",
        [KEY_LIST] = "a list of objects",
        [KEY_STRING] = "a text",
        [KEY_PATH] = "a path",
        [KEY_BOOL] = "true or false",
        [KEY_TRI] = "true, false or null",
        [KEY_COUNT] = "a whole number",
        [KEY_INT] = "a whole number",
        [KEY_REAL] = "a number",
        [KEY_DURATION] = "a duration such as \"30s\"",
        [KEY_DURATION_US] = "a duration such as \"200us\"",
        [KEY_SIZE] = "a size such as \"64KiB\"",
        [KEY_CHOICE] = "",
        [KEY_STRINGS] = "a text or a list of texts",
        [KEY_ENV] = "an object of texts by names of A-Z a-z 0-9 _",
        [KEY_HEADERS] = "an object of texts or lists of texts",
        [KEY_WORKERS] = "a whole number",
        [KEY_FILE_MODE] = "an octal text from \"0000\" to \"0777\"",
        [KEY_RESERVED] = "",
    };
    if (key->allowed != NULL)
        (void)snprintf(out, cap, "%s", key->allowed);
    else if (key->type == KEY_CHOICE)
        choices(key, out, cap);
    else if (key->min < key->max)
        with_range(key, fixed[key->type], out, cap);
    else
        (void)snprintf(out, cap, "%s", fixed[key->type]);
}

const char *config_key_allowed(const struct config_key *key, char *out, size_t cap)
{
    if ((key->flags & KEY_LATER) != 0 || key->type == KEY_RESERVED) {
        (void)snprintf(out, cap, "%s", key->def);
        return out;
    }
    by_type(key, out, cap);
    if (key->type == KEY_STRINGS && (key->flags & KEY_NONEMPTY) != 0)
        append(out, cap, ", at least one");
    if (key->type == KEY_WORKERS)
        append(out, cap, ", or {\"min\": n, \"max\": n} with min from 0");
    if ((key->flags & KEY_NULLABLE) != 0)
        append(out, cap, " or null");
    return out;
}
