/* The ring of owed answers: one slot for each frame that gets an answer, in
 * the order of the frames. A token is the slot's place in the sequence of all
 * slots; 0 is never one. Inside the room. */
#ifndef MQTT_ACK_RING_H
#define MQTT_ACK_RING_H

#include "core/bytes.h"
#include "mqtt/packet.h"

enum mqtt_slot_state {
    MQTT_SLOT_WAITING,
    MQTT_SLOT_READY,    /* leaves when it is the oldest */
    MQTT_SLOT_WITHHELD, /* never leaves, nor does what is younger */
    MQTT_SLOT_CLOSE,    /* when it is the oldest, the connection ends with `reason` */
};

struct mqtt_slot {
    uint8_t type; /* MQTT_PUBACK, PUBREC, PUBCOMP; SUBACK, UNSUBACK: bytes in `later`; 0: nothing */
    uint8_t state; /* enum mqtt_slot_state */
    uint8_t reason;
    bool encoded;   /* its bytes are in `later` */
    uint32_t value; /* packet id, PUBACK: above it the print of its PUBLISH; once encoded: number of bytes */
};

struct mqtt_ring {
    uint32_t head, next; /* tokens: oldest slot, the one to come; equal: empty */
    uint32_t cap;        /* power of two */
    uint32_t passed;     /* what answers control packets has left up to here */
    struct sl_buf later; /* the packets of SUBACK and UNSUBACK slots, in their order */
    struct mqtt_slot slots[];
};

/* Adds the youngest slot and returns its token. The ring is made or moved:
 * *ring may change. NULL is an empty ring. */
uint32_t mqtt_ring_push(struct mqtt_ring **ring, struct mqtt_slot slot);
void mqtt_ring_free(struct mqtt_ring *ring);

static inline uint32_t mqtt_ring_count(const struct mqtt_ring *ring)
{
    return ring == NULL ? 0 : ring->next - ring->head;
}

/* NULL when the token is not, or no longer, in the ring. */
static inline struct mqtt_slot *mqtt_ring_at(struct mqtt_ring *ring, uint32_t token)
{
    if (ring == NULL || token - ring->head >= ring->next - ring->head)
        return NULL;
    return &ring->slots[token & (ring->cap - 1)];
}

/* The oldest slot, NULL when empty. */
static inline struct mqtt_slot *mqtt_ring_oldest(struct mqtt_ring *ring)
{
    return ring == NULL ? NULL : mqtt_ring_at(ring, ring->head);
}

static inline void mqtt_ring_pop(struct mqtt_ring *ring)
{
    SL_ASSERT(mqtt_ring_count(ring) > 0);
    ring->head++;
}

#endif
