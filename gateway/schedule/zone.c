/* A time zone is a table of transitions, ascending in time. */
#include "zone.h"

#define NAME_MAX_BYTES 64u

static bool is_name_character(uint8_t c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
}

bool schedule_is_zone_name(struct sl_bytes name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES || name.p[0] == '/' || name.p[name.n - 1] == '/')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_character(name.p[i]))
            return false;
    return true;
}

/* How many transitions are not after `wall_ms`. */
static size_t passed(const struct schedule_zone *z, uint64_t wall_ms)
{
    size_t low = 0, high = z->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->v[middle].at_ms <= wall_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t begin_of(const struct schedule_zone *z, size_t stretch)
{
    return stretch == 0 ? INT64_MIN : (int64_t)(z->v[stretch - 1].at_ms / 1000);
}

static int32_t offset_of(const struct schedule_zone *z, size_t stretch)
{
    return stretch == 0 ? z->offset_s : z->v[stretch - 1].offset_s;
}

static int64_t end_of(const struct schedule_zone *z, size_t stretch)
{
    return stretch == z->n ? INT64_MAX : (int64_t)(z->v[stretch].at_ms / 1000);
}

struct stretch zone_stretch(const struct schedule_zone *z, int64_t at_s)
{
    if (z == NULL)
        return (struct stretch){ INT64_MIN, INT64_MAX, 0 };
    size_t i = passed(z, at_s < 0 ? 0 : (uint64_t)at_s * 1000);
    return (struct stretch){ begin_of(z, i), end_of(z, i), offset_of(z, i) };
}

int32_t schedule_zone_offset_s(const struct schedule_zone *z, uint64_t wall_ms)
{
    return z == NULL ? 0 : offset_of(z, passed(z, wall_ms));
}

/* Offsets are at most a day: two days before it no stretch has seen it yet. The first
 * one that ends after it has it, or begins beyond it: then it lies in the gap between. */
int64_t zone_instant_s(const struct schedule_zone *z, int64_t local_s)
{
    struct stretch s = zone_stretch(z, local_s - ZONE_OFFSET_MAX_S);
    while (s.end_s != INT64_MAX && local_s - s.offset_s >= s.end_s)
        s = zone_stretch(z, s.end_s);
    int64_t at = local_s - s.offset_s;
    return at < s.begin_s ? s.begin_s : at;
}
