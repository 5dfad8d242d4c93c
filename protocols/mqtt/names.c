#include "mqtt/names.h"

#include "core/utf8.h"

static const char share[] = "$share/";
#define SHARE_BYTES (sizeof share - 1)

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (uint8_t)(c))

/* Not 0 when one of the eight bytes is 0. */
static uint64_t zero_byte(uint64_t w)
{
    return (w - EACH_BYTE(0x01)) & ~w & EACH_BYTE(0x80);
}

/* `+` and `#` differ in one bit, and are looked for at once. */
static uint64_t forbidden(uint64_t w)
{
    return zero_byte(w) | zero_byte((w & EACH_BYTE(0xFF ^ '+' ^ '#')) ^ EACH_BYTE('+' & '#'));
}

/* Eight bytes at a time, since every PUBLISH comes through here. One pass is
 * enough for what nearly all topics are, plain ASCII; the others are looked at
 * once more by the strict decoder. The last word overlaps the one before it. */
bool mqtt_topic_valid(struct sl_bytes topic)
{
    uint64_t w = EACH_BYTE('a');
    if (topic.n < sizeof w) {
        if (topic.n == 0)
            return false;
        memcpy(&w, topic.p, topic.n);
    } else {
        memcpy(&w, topic.p + topic.n - sizeof w, sizeof w);
    }
    uint64_t seen = w, bad = forbidden(w);
    for (size_t i = 0; i + sizeof w < topic.n; i += sizeof w) {
        memcpy(&w, topic.p + i, sizeof w);
        seen |= w;
        bad |= forbidden(w);
    }
    return bad == 0 && ((seen & EACH_BYTE(0x80)) == 0 || sl_utf8_valid(topic));
}

bool mqtt_filter_is_shared(struct sl_bytes filter)
{
    return filter.n >= SHARE_BYTES && memcmp(filter.p, share, SHARE_BYTES) == 0;
}

bool mqtt_filter_has_wildcard(struct sl_bytes filter)
{
    for (size_t i = 0; i < filter.n; i++)
        if (filter.p[i] == '+' || filter.p[i] == '#')
            return true;
    return false;
}

/* A wildcard fills its whole level; `#` is also the last [MQTT-4.7.1-1, -2]. */
static bool wildcards_stand_alone(struct sl_bytes f)
{
    for (size_t i = 0; i < f.n; i++) {
        if (f.p[i] != '+' && f.p[i] != '#')
            continue;
        bool starts_level = i == 0 || f.p[i - 1] == '/';
        bool is_last = i + 1 == f.n;
        bool ends_level = is_last || (f.p[i] == '+' && f.p[i + 1] == '/');
        if (!starts_level || !ends_level)
            return false;
    }
    return true;
}

void mqtt_filter_split(struct sl_bytes whole, struct sl_bytes *group, struct sl_bytes *filter)
{
    *group = SL_BYTES_NONE;
    *filter = whole;
    if (!mqtt_filter_is_shared(whole))
        return;
    const uint8_t *name = whole.p + SHARE_BYTES;
    size_t rest = whole.n - SHARE_BYTES;
    const uint8_t *slash = rest == 0 ? NULL : memchr(name, '/', rest);
    *group = sl_bytes_of(name, slash == NULL ? rest : (size_t)(slash - name));
    *filter = slash == NULL ? SL_BYTES_NONE : sl_bytes_of(slash + 1, rest - group->n - 1);
}

/* A group name without wildcards, then a filter [MQTT-4.8.2-1, -2]. */
static bool shared_parts_valid(struct sl_bytes whole)
{
    struct sl_bytes group, filter;
    mqtt_filter_split(whole, &group, &filter);
    return group.n > 0 && filter.n > 0 && !mqtt_filter_has_wildcard(group) &&
           wildcards_stand_alone(filter);
}

bool mqtt_filter_valid(struct sl_bytes filter)
{
    if (filter.n == 0 || !sl_utf8_valid(filter))
        return false;
    return mqtt_filter_is_shared(filter) ? shared_parts_valid(filter)
                                         : wildcards_stand_alone(filter);
}
