#include "bench/args.h"

#include <stdlib.h>

#include "core/units.h"

static int set_u32(void *field, struct sl_bytes v)
{
    uint64_t n;
    int err = sl_bytes_u64(v, UINT32_MAX, &n);
    if (err == SL_OK)
        *(uint32_t *)field = (uint32_t)n;
    return err;
}

static int set_size(void *field, struct sl_bytes v)
{
    uint64_t n;
    int err = sl_size_parse(v, &n);
    if (err != SL_OK || n > UINT32_MAX)
        return SL_EINVAL;
    *(uint32_t *)field = (uint32_t)n;
    return SL_OK;
}

static int set_seconds(void *field, const char *text)
{
    uint64_t us;
    char *end;
    double seconds = strtod(text, &end);
    if (*end == '\0' && end != text && seconds >= 0 && seconds < 1e6) {
        *(uint64_t *)field = (uint64_t)(seconds * 1e9);
        return SL_OK;
    }
    int err = sl_duration_parse_us(sl_str(text), &us);
    if (err == SL_OK)
        *(uint64_t *)field = us * 1000;
    return err;
}

static int set(void *field, enum arg_kind kind, const char *text)
{
    switch (kind) {
    case ARG_U32:
        return set_u32(field, sl_str(text));
    case ARG_U64:
        return sl_bytes_u64(sl_str(text), UINT64_MAX, field);
    case ARG_SIZE:
        return set_size(field, sl_str(text));
    case ARG_DURATION_US:
        return sl_duration_parse_us(sl_str(text), field);
    case ARG_SECONDS:
        return set_seconds(field, text);
    case ARG_TEXT:
        *(const char **)field = text;
        return SL_OK;
    case ARG_FLAG:
        break;
    }
    return SL_EINVAL;
}

static const char *value_of(const char *name, int argc, char **argv, int *i)
{
    const char *rest = argv[*i] + 2 + strlen(name);
    if (*rest == '=')
        return rest + 1;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool is(const char *word, const char *name)
{
    size_t n = strlen(name);
    return strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, n) == 0 &&
           (word[2 + n] == '\0' || word[2 + n] == '=');
}

int args_take(const struct arg_table *t, void *options, int argc, char **argv, int *i)
{
    for (size_t k = 0; k < t->n; k++) {
        const struct arg *a = &t->args[k];
        if (!is(argv[*i], a->name))
            continue;
        void *field = (char *)options + a->offset;
        if (a->kind == ARG_FLAG) {
            *(bool *)field = true;
            return SL_OK;
        }
        const char *text = value_of(a->name, argc, argv, i);
        return text == NULL ? SL_EINVAL : set(field, a->kind, text);
    }
    return SL_ENOENT;
}
