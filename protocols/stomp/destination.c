/* Destinations, in both directions.
 *
 *   /queue/NAME            the queue NAME, no routing
 *   /topic/a/b             the topic a/b
 *   /topic/a.b             the same: dots are slashes where no slash follows /topic/
 *   %2E, %25               a dot that stays one, a percent sign that does
 *   /temp-queue/NAME       a reply destination of this connection: $temp/KEY/NAME
 *   /reply-queue/KEY/NAME  the same as others see it, who may only send there
 *
 * In a filter `*` is `+` where it is a whole level, as RabbitMQ's users write
 * it; MQTT knows no `#` before the last level, so there is none here. */
#include "session.h"

#define REPLY_PREFIX PROTO_REPLY_ROOT "/"
#define KEY_DIGITS   16u

static bool strip(struct sl_bytes *in, const char *prefix)
{
    size_t n = strlen(prefix);
    if (in->n < n || memcmp(in->p, prefix, n) != 0)
        return false;
    *in = sl_bytes_of(in->p + n, in->n - n);
    return true;
}

enum stomp_place stomp_place_of(struct sl_bytes destination, struct sl_bytes *rest)
{
    *rest = destination;
    if (strip(rest, "/topic/"))
        return STOMP_TO_TOPIC;
    if (strip(rest, "/queue/"))
        return STOMP_TO_QUEUE;
    if (strip(rest, "/temp-queue/"))
        return STOMP_TO_TEMP;
    if (strip(rest, "/reply-queue/"))
        return STOMP_TO_REPLY;
    return STOMP_TO_NOWHERE;
}

/* ---- topics ---- */

/* What `%` at i stands for with the two bytes behind it; 0: itself. */
static uint8_t percent(struct sl_bytes in, size_t i)
{
    if (in.n - i < 3 || in.p[i] != '%' || in.p[i + 1] != '2')
        return 0;
    uint8_t c = in.p[i + 2];
    return c == 'E' || c == 'e' ? '.' : c == '5' ? '%' : 0;
}

static bool is_dotted(struct sl_bytes in)
{
    return in.n > 0 && memchr(in.p, '/', in.n) == NULL;
}

static size_t write_topic(struct sl_bytes in, uint8_t *out)
{
    bool dotted = is_dotted(in);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i], meant = percent(in, i);
        out[n++] = meant != 0 ? meant : c == '.' && dotted ? '/' : c;
        i += meant != 0 ? 2 : 0;
    }
    return n;
}

struct sl_bytes stomp_topic_of(struct stomp_arena *a, struct sl_bytes rest)
{
    if (rest.n == 0 || (!is_dotted(rest) && memchr(rest.p, '%', rest.n) == NULL))
        return rest;
    uint8_t *out = stomp_arena_take(a, rest.n);
    return sl_bytes_of(out, write_topic(rest, out));
}

/* A topic name of MQTT: not empty, no wildcards; it is UTF-8 without NUL
 * already [MQTT-4.7.3-1, -3.3.2-2]. */
bool stomp_topic_valid(struct sl_bytes t)
{
    return t.n > 0 && memchr(t.p, '+', t.n) == NULL && memchr(t.p, '#', t.n) == NULL;
}

/* One level of a filter. A wildcard fills its level, and `#` is the last one
 * [MQTT-4.7.1-1, -2]. */
static bool level_valid(uint8_t *level, size_t n, bool last)
{
    if (n == 1 && level[0] == '*')
        level[0] = '+';
    if (n == 1)
        return level[0] != '#' || last;
    return n == 0 || (memchr(level, '+', n) == NULL && memchr(level, '#', n) == NULL);
}

/* In MQTT it would be shared: as a plain filter it would match nothing that is meant. */
static bool names_a_share(struct sl_bytes filter)
{
    return filter.n >= 7 && memcmp(filter.p, "$share/", 7) == 0;
}

bool stomp_filter_of(struct stomp_arena *a, struct sl_bytes rest, struct sl_bytes *filter)
{
    uint8_t *out = stomp_arena_take(a, rest.n);
    size_t n = write_topic(rest, out), from = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && out[i] != '/')
            continue;
        if (!level_valid(out + from, i - from, i == n))
            return false;
        from = i + 1;
    }
    *filter = sl_bytes_of(out, n);
    return n > 0 && !names_a_share(*filter);
}

/* ---- reply destinations ---- */

static uint8_t *write_key(uint8_t *p, uint64_t key)
{
    for (unsigned i = 0; i < KEY_DIGITS; i++)
        p[i] = (uint8_t) "0123456789abcdef"[key >> (60 - 4 * i) & 15u];
    return p + KEY_DIGITS;
}

bool stomp_temp_topic_of(struct stomp_session *s, struct sl_bytes name, struct sl_bytes *topic)
{
    if (!stomp_topic_valid(name) || name.n > STOMP_MAX_TEMP_NAME)
        return false;
    size_t n = sizeof REPLY_PREFIX - 1 + KEY_DIGITS + 1 + name.n;
    uint8_t *out = stomp_arena_take(&s->work->arena, n);
    uint8_t *p = sl_wr_bytes(out, sl_str(REPLY_PREFIX));
    p = write_key(p, s->reply_key);
    p = sl_wr_u8(p, '/');
    (void)sl_wr_bytes(p, name);
    *topic = sl_bytes_of(out, n);
    return true;
}

bool stomp_reply_topic_of(struct stomp_arena *a, struct sl_bytes rest, struct sl_bytes *topic)
{
    if (!stomp_topic_valid(rest) || rest.n > KEY_DIGITS + 1 + STOMP_MAX_TEMP_NAME)
        return false;
    size_t n = sizeof REPLY_PREFIX - 1 + rest.n;
    uint8_t *out = stomp_arena_take(a, n);
    (void)sl_wr_bytes(sl_wr_bytes(out, sl_str(REPLY_PREFIX)), rest);
    *topic = sl_bytes_of(out, n);
    return true;
}

bool stomp_temp_is_own(const struct stomp_session *s, struct sl_bytes rest, struct sl_bytes *name)
{
    uint8_t key[KEY_DIGITS];
    (void)write_key(key, s->reply_key);
    if (rest.n <= KEY_DIGITS || memcmp(rest.p, key, KEY_DIGITS) != 0 || rest.p[KEY_DIGITS] != '/')
        return false;
    *name = sl_bytes_of(rest.p + KEY_DIGITS + 1, rest.n - KEY_DIGITS - 1);
    return true;
}

/* ---- as a receiver sees them ---- */

/* Where all dots would be slashes, those of the topic are written %2E; what
 * would be read as such an escape has its percent sign written %25. */
static uint8_t *write_marked(uint8_t *p, enum stomp_version v, struct sl_bytes topic)
{
    bool dotted = is_dotted(topic);
    size_t from = 0;
    for (size_t i = 0; i < topic.n; i++) {
        bool dot = dotted && topic.p[i] == '.';
        if (!dot && percent(topic, i) == 0)
            continue;
        p = stomp_wr_escaped(p, v, sl_bytes_of(topic.p + from, i - from));
        p = sl_wr_bytes(p, sl_str(dot ? "%2E" : "%25"));
        from = i + 1;
    }
    return stomp_wr_escaped(p, v, sl_bytes_of(topic.p + from, topic.n - from));
}

static uint8_t *write_after(uint8_t *p, enum stomp_version v, const char *prefix,
                            struct sl_bytes rest)
{
    return stomp_wr_escaped(sl_wr_bytes(p, sl_str(prefix)), v, rest);
}

uint8_t *stomp_wr_topic(uint8_t *p, enum stomp_version v, struct sl_bytes topic)
{
    struct sl_bytes rest = topic;
    if (strip(&rest, REPLY_PREFIX))
        return write_after(p, v, "/reply-queue/", rest);
    if (!is_dotted(topic) && (topic.n == 0 || memchr(topic.p, '%', topic.n) == NULL))
        return write_after(p, v, "/topic/", topic);
    return write_marked(sl_wr_bytes(p, sl_str("/topic/")), v, topic);
}

uint8_t *stomp_wr_queue(uint8_t *p, enum stomp_version v, struct sl_bytes name)
{
    return write_after(p, v, "/queue/", name);
}

uint8_t *stomp_wr_reply_to(uint8_t *p, enum stomp_version v, struct sl_bytes reply_to)
{
    struct sl_bytes rest = reply_to;
    return strip(&rest, "/queue/") ? stomp_wr_escaped(p, v, reply_to)
                                   : stomp_wr_topic(p, v, reply_to);
}
