#include "out_aliases.h"

#include "core/alloc.h"

struct mqtt_out_aliases {
    uint32_t n;
    struct mqtt_out_alias of[]; /* alias a stands at a - 1 */
};

static struct mqtt_out_aliases *made(uint16_t client_max)
{
    uint32_t n = client_max < MQTT_OUT_ALIASES_MAX ? client_max : MQTT_OUT_ALIASES_MAX;
    struct mqtt_out_aliases *all = sl_calloc(1, sizeof *all + n * sizeof all->of[0]);
    all->n = n;
    return all;
}

struct mqtt_out_alias *mqtt_out_alias_at(struct mqtt_out_aliases **all, uint16_t client_max,
                                         uint64_t hash)
{
    if (*all == NULL)
        *all = made(client_max);
    return &(*all)->of[(uint32_t)hash % (*all)->n];
}

void mqtt_out_alias_set(struct mqtt_out_alias *slot, struct sl_bytes topic)
{
    SL_ASSERT(topic.n > 0);
    slot->topic = sl_realloc(slot->topic, topic.n);
    slot->n = (uint32_t)topic.n;
    memcpy(slot->topic, topic.p, topic.n);
}

uint16_t mqtt_out_alias_number(const struct mqtt_out_aliases *all,
                               const struct mqtt_out_alias *slot)
{
    return (uint16_t)(slot - all->of + 1);
}

void mqtt_out_aliases_free(struct mqtt_out_aliases *all)
{
    if (all == NULL)
        return;
    for (uint32_t i = 0; i < all->n; i++)
        sl_free(all->of[i].topic);
    sl_free(all);
}
