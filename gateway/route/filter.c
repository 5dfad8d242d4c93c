/* What a topic and a filter may look like [MQTT-4.7]. */
#include "core/utf8.h"
#include "levels.h"
#include "route/route.h"

#define TOPIC_BYTES_MAX 65535u /* [MQTT-4.7.3-3] */

/* [MQTT-4.7.3-1], [MQTT-4.7.3-2] */
static bool is_text(struct sl_bytes in)
{
    return in.n > 0 && in.n <= TOPIC_BYTES_MAX && sl_utf8_valid(in);
}

static bool has(struct sl_bytes in, char c)
{
    return in.n > 0 && memchr(in.p, c, in.n) != NULL;
}

bool route_topic_valid(struct sl_bytes topic)
{
    return is_text(topic) && !has(topic, '+') && !has(topic, '#');
}

bool route_filter_valid(struct sl_bytes filter)
{
    if (!is_text(filter))
        return false;
    struct levels l = levels_of(filter);
    struct sl_bytes level;
    while (levels_next(&l, &level)) {
        /* [MQTT-4.7.1-1]: alone in its level and the last one. */
        if (has(level, '#') && (level.n > 1 || !levels_ended(&l)))
            return false;
        /* [MQTT-4.7.1-2] */
        if (has(level, '+') && level.n > 1)
            return false;
    }
    return true;
}
