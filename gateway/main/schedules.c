/* Configured schedules as the hub wants them. */
#include <openssl/evp.h>

#include "gateway.h"

int gateway_read_zones(struct gateway *g)
{
    for (size_t i = 0; i < g->cfg->n_schedules; i++) {
        const char *zone = g->cfg->schedules[i].timezone;
        int err = zones_read(&g->zones, zone);
        if (err == SL_OK)
            continue;
        sl_log(SL_ERROR, "zone_failed", "schedule=%s timezone=%s error=%s", g->cfg->schedules[i].name, zone, sl_err_name(err));
        return err;
    }
    return SL_OK;
}

bool gateway_has_zones(const struct gateway *g, const struct config *cfg, const char **zone)
{
    for (size_t i = 0; i < cfg->n_schedules; i++) {
        *zone = cfg->schedules[i].timezone;
        if (strcmp(*zone, "UTC") != 0 && zones_find(&g->zones, *zone) == NULL)
            return false;
    }
    return true;
}

/* Memory of one schedule's message, while the hub copies it. */
struct built {
    struct message_parts parts;
    struct message_header *headers;
    uint8_t *bytes; /* decoded payload */
};

static struct message_header *headers_of(const struct config_strings *s)
{
    struct message_header *headers = sl_calloc(s->n / 2, sizeof *headers);
    for (size_t i = 0; i < s->n / 2; i++)
        headers[i] = (struct message_header){ sl_str(s->v[2 * i]), sl_str(s->v[2 * i + 1]) };
    return headers;
}

/* Its form was checked with the configuration; the padding counts as zeros. */
static struct sl_bytes decoded(const char *base64, uint8_t *to)
{
    size_t n = strlen(base64);
    int length = EVP_DecodeBlock(to, (const unsigned char *)base64, (int)n);
    SL_ASSERT(length >= 0 && (size_t)length == n / 4 * 3);
    int padding = n == 0 ? 0 : (base64[n - 1] == '=') + (base64[n - 2] == '=');
    return sl_bytes_of(to, (size_t)(length - padding));
}

static void build(const struct config_schedule *s, struct built *b)
{
    b->headers = headers_of(&s->publish.headers);
    b->parts = (struct message_parts){
        .protocol = MESSAGE_SCHEDULE,
        .qos = (uint8_t)s->publish.qos,
        .priority = (uint8_t)s->publish.priority,
        .flags = s->publish.retain ? MESSAGE_RETAIN : 0,
        .topic = sl_str(s->publish.topic),
        .headers = b->headers,
        .n_headers = s->publish.headers.n / 2,
    };
    if (s->publish.content_type != NULL)
        b->parts.content_type = sl_str(s->publish.content_type);
    if (s->publish.payload != NULL)
        b->parts.payload = sl_str(s->publish.payload);
    if (s->publish.payload_base64 != NULL) {
        b->bytes = sl_alloc(strlen(s->publish.payload_base64) + 1);
        b->parts.payload = decoded(s->publish.payload_base64, b->bytes);
    }
}

static enum schedule_missed missed_of(enum config_missed m)
{
    static const enum schedule_missed map[] = {
        [CONFIG_MISSED_SKIP] = SCHEDULE_SKIP, [CONFIG_MISSED_ONCE] = SCHEDULE_ONCE, [CONFIG_MISSED_ALL] = SCHEDULE_ALL,
    };
    return map[m];
}

/* One that is switched off is none: nothing of it is remembered, and nothing is missed. */
void gateway_set_schedules(struct gateway *g, const struct config *cfg)
{
    struct hub_schedule *v = sl_calloc(cfg->n_schedules, sizeof *v);
    struct built *built = sl_calloc(cfg->n_schedules, sizeof *built);
    uint32_t n = 0;
    for (size_t i = 0; i < cfg->n_schedules; i++) {
        const struct config_schedule *s = &cfg->schedules[i];
        if (!s->enabled)
            continue;
        build(s, &built[i]);
        v[n++] = (struct hub_schedule){
            .name = s->name,
            .when = { s->when, zones_find(&g->zones, s->timezone), missed_of(s->missed) },
            .publish = &built[i].parts,
            .delay_ms = s->publish.delay_ms,
            .ttl_ms = s->publish.ttl_ms,
        };
    }
    hub_set_schedules(g->hub, v, n);
    for (size_t i = 0; i < cfg->n_schedules; i++) {
        sl_free(built[i].headers);
        sl_free(built[i].bytes);
    }
    sl_free(built);
    sl_free(v);
}
