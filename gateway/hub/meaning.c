/* Headers with a meaning (contract: the same names in MQTT 5 user properties
 * and STOMP headers). They stay headers as well, so that subscribers and
 * workers see what was sent; an ill-formed value is only that (decision 26). */
#include "core/units.h"
#include "hub_internal.h"

typedef bool (*meaning_fn)(struct message_parts *m, struct sl_bytes value, const struct sl_now *now);

static bool take_priority(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    (void)now;
    uint64_t v;
    if (sl_bytes_u64(value, 9, &v) != SL_OK)
        return false;
    m->priority = (uint8_t)v;
    return true;
}

/* "10s", or bare milliseconds; at most about 30 years. */
static bool take_delay(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    uint64_t ms;
    if (sl_bytes_u64(value, 1000000000000u, &ms) != SL_OK && sl_duration_parse(value, &ms) != SL_OK)
        return false;
    if (ms > 1000000000000u)
        return false;
    m->deliver_at = ms == 0 ? 0 : now->steady_ms + ms;
    m->flags = (uint8_t)(m->flags | MESSAGE_DELIVER_RELATIVE);
    return true;
}

static bool take_deliver_at(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    (void)now;
    uint64_t wall;
    if (sl_time_parse(value, &wall) != SL_OK)
        return false;
    m->deliver_at = wall;
    m->flags = (uint8_t)(m->flags & ~MESSAGE_DELIVER_RELATIVE);
    return true;
}

/* Milliseconds since 1970, as STOMP's users write it. */
static bool take_expires(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    (void)now;
    uint64_t wall;
    if (sl_bytes_u64(value, UINT64_MAX / 2, &wall) != SL_OK)
        return false;
    m->expires_at = wall;
    m->flags = (uint8_t)(m->flags & ~MESSAGE_EXPIRES_RELATIVE);
    return true;
}

static bool take_dedup_id(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    (void)now;
    m->dedup_id = value;
    return value.n > 0;
}

static bool job_character(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '~' || c == '-';
}

static bool take_job_id(struct message_parts *m, struct sl_bytes value, const struct sl_now *now)
{
    (void)now;
    if (value.n == 0 || value.n > 128)
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (!job_character(value.p[i]))
            return false;
    }
    m->job_id = value;
    return true;
}

static const struct {
    const char *name;
    meaning_fn take;
} meanings[] = {
    { "priority",   take_priority   },
    { "delay",      take_delay      },
    { "deliver-at", take_deliver_at },
    { "expires",    take_expires    },
    { "dedup-id",   take_dedup_id   },
    { "job-id",     take_job_id     },
};

uint32_t meaning_apply(struct message_parts *parts, const struct sl_now *now)
{
    uint32_t ignored = 0;
    for (size_t i = 0; i < parts->n_headers; i++) {
        for (size_t k = 0; k < SL_COUNT(meanings); k++) {
            if (sl_bytes_is(parts->headers[i].name, meanings[k].name)) {
                ignored += !meanings[k].take(parts, parts->headers[i].value, now);
                break;
            }
        }
    }
    return ignored;
}
