#include "core/units.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *name;
    uint64_t size;
};

/* Descending, so that the first that divides is the shortest form. */
static const struct unit times[] = {
    {"d",  UINT64_C(86400000000)},
    {"h",  UINT64_C(3600000000) },
    {"m",  60000000             },
    {"s",  1000000              },
    {"ms", 1000                 },
    {"us", 1                    },
};

static const struct unit sizes[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"B",   1                },
    {"",    1                },
};

static size_t count_digits(struct sl_bytes in)
{
    size_t n = 0;
    while (n < in.n && in.p[n] >= '0' && in.p[n] <= '9')
        n++;
    return n;
}

static const struct unit *find_unit(const struct unit *units, size_t n, struct sl_bytes name)
{
    for (size_t i = 0; i < n; i++) {
        if (sl_bytes_is(name, units[i].name))
            return &units[i];
    }
    return NULL;
}

static int duration(struct sl_bytes in, uint64_t smallest_us, uint64_t *out)
{
    if (sl_bytes_is(in, "0")) {
        *out = 0;
        return SL_OK;
    }
    size_t digits = count_digits(in);
    struct sl_bytes name = {digits < in.n ? in.p + digits : NULL, in.n - digits};
    const struct unit *unit = find_unit(times, SL_COUNT(times), name);
    if (unit == NULL || unit->size < smallest_us)
        return SL_EINVAL;
    uint64_t factor = unit->size / smallest_us;
    uint64_t number;
    int err = sl_bytes_u64(sl_bytes_of(in.p, digits), UINT64_MAX / factor, &number);
    if (err == SL_OK)
        *out = number * factor;
    return err;
}

int sl_duration_parse(struct sl_bytes in, uint64_t *ms)
{
    return duration(in, 1000, ms);
}

int sl_duration_parse_us(struct sl_bytes in, uint64_t *us)
{
    return duration(in, 1, us);
}

int sl_size_parse(struct sl_bytes in, uint64_t *bytes)
{
    size_t digits = count_digits(in);
    struct sl_bytes name = {digits < in.n ? in.p + digits : NULL, in.n - digits};
    const struct unit *unit = find_unit(sizes, SL_COUNT(sizes), name);
    if (unit == NULL)
        return SL_EINVAL;
    uint64_t number;
    int err = sl_bytes_u64(sl_bytes_of(in.p, digits), UINT64_MAX / unit->size, &number);
    if (err == SL_OK)
        *bytes = number * unit->size;
    return err;
}

const char *sl_duration_format(uint64_t ms, char *out, size_t cap)
{
    const struct unit *unit = &times[3]; /* "0s" */
    if (ms > 0) {
        unit = times;
        while (ms % (unit->size / 1000) != 0)
            unit++;
    }
    (void)snprintf(out, cap, "%" PRIu64 "%s", ms / (unit->size / 1000), unit->name);
    return out;
}

const char *sl_size_format(uint64_t bytes, char *out, size_t cap)
{
    const struct unit *unit = sizes;
    while (unit->size > 1 && (bytes == 0 || bytes % unit->size != 0))
        unit++;
    const char *name = unit->size > 1 ? unit->name : "";
    (void)snprintf(out, cap, "%" PRIu64 "%s", bytes / unit->size, name);
    return out;
}
