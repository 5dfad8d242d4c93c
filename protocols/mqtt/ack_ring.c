#include "ack_ring.h"

#include "core/alloc.h"
#include "core/err.h"

#define RING_FIRST_CAP 8u

static struct mqtt_slot *slot_of(struct mqtt_ring *ring, uint32_t token)
{
    return &ring->slots[token & (ring->cap - 1)];
}

static struct mqtt_ring *ring_with(uint32_t cap)
{
    struct mqtt_ring *ring = sl_alloc(sizeof *ring + cap * sizeof ring->slots[0]);
    ring->head = 1;
    ring->next = 1;
    ring->passed = 1;
    ring->cap = cap;
    ring->later = (struct sl_buf){ 0 };
    return ring;
}

/* A token's place depends on the capacity, so that slots move one by one. */
static struct mqtt_ring *grown(struct mqtt_ring *old)
{
    struct mqtt_ring *ring = ring_with(old->cap * 2);
    ring->head = old->head;
    ring->next = old->next;
    ring->passed = old->passed;
    ring->later = old->later;
    for (uint32_t t = old->head; t != old->next; t++)
        *slot_of(ring, t) = *slot_of(old, t);
    sl_free(old);
    return ring;
}

static uint32_t add(struct mqtt_ring **ring, struct mqtt_slot slot)
{
    if (*ring == NULL)
        *ring = ring_with(RING_FIRST_CAP);
    else if (mqtt_ring_count(*ring) == (*ring)->cap)
        *ring = grown(*ring);
    uint32_t token = (*ring)->next++;
    *slot_of(*ring, token) = slot;
    return token;
}

uint32_t mqtt_ring_push(struct mqtt_ring **ring, struct mqtt_slot slot)
{
    uint32_t token = add(ring, slot);
    if (token != 0)
        return token;
    /* After 2^32 slots: place 0 is left as one that says nothing. */
    *mqtt_ring_at(*ring, 0) = (struct mqtt_slot){ .type = 0, .state = MQTT_SLOT_READY };
    return add(ring, slot);
}

void mqtt_ring_free(struct mqtt_ring *ring)
{
    if (ring == NULL)
        return;
    sl_buf_fini(&ring->later);
    sl_free(ring);
}
