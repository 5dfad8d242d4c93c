/* What goes back to the client: answers in the order of the frames they
 * answer, last words, and the table that turns the gateway's verdicts into
 * each version's own. */
#include "core/alloc.h"
#include "session.h"

/* A client of 3.1.1 may have as many PUBRELs under way as there are ids. */
#define SLOTS_MAX       (2u * 65536u)
#define LATER_MAX_BYTES 65536u

/* ---- sending ---- */

static uint8_t *reserve(struct mqtt_session *s, size_t n)
{
    if (s->client_max_packet != 0 && n > s->client_max_packet)
        return NULL;
    uint8_t *p = sl_buf_reserve(&s->out, n);
    if (p == NULL)
        mqtt_close(s, "client_does_not_read");
    return p;
}

void mqtt_send(struct mqtt_session *s, struct sl_bytes packet)
{
    uint8_t *p = reserve(s, packet.n);
    if (p == NULL)
        return;
    sl_wr_bytes(p, packet);
    sl_buf_commit(&s->out, packet.n);
}

void mqtt_send_ack(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, uint8_t reason)
{
    bool short_form = s->version != MQTT_V5 || reason == MQTT_SUCCESS;
    size_t n = short_form ? 4 : 5;
    uint8_t *p = reserve(s, n);
    if (p == NULL)
        return;
    p = sl_wr_u8(p, (uint8_t)((unsigned)type << 4 | (type == MQTT_PUBREL ? 2u : 0)));
    p = sl_wr_u8(p, (uint8_t)(n - 2));
    p = sl_wr_u16be(p, packet_id);
    if (!short_form)
        sl_wr_u8(p, reason);
    sl_buf_commit(&s->out, n);
}

/* ---- the end ---- */

void mqtt_close(struct mqtt_session *s, const char *word)
{
    if (mqtt_over(s))
        return;
    s->state = MQTT_CLOSING;
    s->close_word = word;
    mqtt_input_drop(s);
    mqtt_ring_free(s->ring);
    s->ring = NULL;
}

void mqtt_fail(struct mqtt_session *s, enum mqtt_reason reason, const char *word)
{
    if (s->version == MQTT_V5 && s->state == MQTT_OPEN)
        mqtt_send(s, sl_bytes_of((uint8_t[]){ MQTT_DISCONNECT << 4, 1, (uint8_t)reason }, 3));
    else if (s->version == MQTT_V5 && !mqtt_over(s))
        mqtt_refuse_connect(s, (uint8_t)reason, word);
    mqtt_close(s, word);
}

void mqtt_fail_frame(struct mqtt_session *s, const struct mqtt_frame *f)
{
    mqtt_fail(s, f->fault, f->fault_word);
}

/* ---- slots ---- */

static bool owes_too_much(const struct mqtt_session *s)
{
    return mqtt_ring_count(s->ring) >= SLOTS_MAX;
}

uint32_t mqtt_owe(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id)
{
    if (owes_too_much(s)) {
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_unanswered");
        return 0;
    }
    return mqtt_ring_push(&s->ring,
                          (struct mqtt_slot){ .type = (uint8_t)type, .value = packet_id });
}

void mqtt_send_in_order(struct mqtt_session *s, struct sl_bytes packet)
{
    if (mqtt_ring_count(s->ring) == 0) {
        mqtt_send(s, packet);
        return;
    }
    if (owes_too_much(s) || sl_buf_len(&s->ring->later) + packet.n > LATER_MAX_BYTES) {
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_unanswered");
        return;
    }
    mqtt_ring_push(&s->ring, (struct mqtt_slot){ .type = MQTT_SUBACK,
                                                 .state = MQTT_SLOT_READY,
                                                 .value = (uint32_t)packet.n });
    int err = sl_buf_append_bytes(&s->ring->later, packet);
    SL_ASSERT(err == SL_OK);
}

static void send_later(struct mqtt_session *s, size_t n)
{
    struct sl_buf *later = &s->ring->later;
    mqtt_send(s, sl_bytes_of(sl_buf_view(later).p, n));
    if (mqtt_over(s))
        return;
    sl_buf_consume(later, n);
    if (sl_buf_len(later) == 0)
        sl_buf_fini(later);
}

/* The client may send one more when its PUBLISH is done with: PUBACK, PUBCOMP,
 * or a PUBREC that refuses (section 4.9). A PUBCOMP may also end what an
 * earlier connection began. */
static void count_answer(struct mqtt_session *s, const struct mqtt_slot *slot)
{
    bool ends = slot->type == MQTT_PUBACK || slot->type == MQTT_PUBCOMP ||
                (slot->type == MQTT_PUBREC && slot->reason >= MQTT_UNSPECIFIED_ERROR);
    if (ends && s->publishes_open > 0)
        s->publishes_open--;
}

static void send_slot(struct mqtt_session *s, struct mqtt_slot slot)
{
    if (slot.type == 0)
        return;
    if (slot.type == MQTT_SUBACK) {
        send_later(s, slot.value);
        return;
    }
    count_answer(s, &slot);
    mqtt_send_ack(s, slot.type, (uint16_t)slot.value, slot.reason);
}

/* Lets everything leave that has nothing unanswered before it. */
static void flush(struct mqtt_session *s)
{
    struct mqtt_slot *slot;
    while ((slot = mqtt_ring_oldest(s->ring)) != NULL) {
        if (slot->state == MQTT_SLOT_WAITING || slot->state == MQTT_SLOT_WITHHELD)
            return;
        if (slot->state == MQTT_SLOT_CLOSE) {
            mqtt_fail(s, slot->reason, mqtt_reason_word(slot->reason));
            return;
        }
        struct mqtt_slot ready = *slot;
        mqtt_ring_pop(s->ring);
        send_slot(s, ready);
    }
}

void mqtt_settle(struct mqtt_session *s, uint32_t token, uint8_t reason)
{
    struct mqtt_slot *slot = mqtt_ring_at(s->ring, token);
    SL_ASSERT(slot != NULL && slot->state == MQTT_SLOT_WAITING);
    slot->reason = reason;
    slot->state = MQTT_SLOT_READY;
    flush(s);
}

/* ---- verdicts ---- */

struct verdict {
    uint8_t publish; /* reason for PUBACK and PUBREC of MQTT 5 */
    uint8_t release; /* the same for PUBCOMP; 0x80 and above: there is no word, DISCONNECT */
    uint8_t v311;    /* enum mqtt_slot_state: what a client without reasons gets */
};

static const struct verdict verdicts[] = {
    [PROTO_ACCEPTED] = { MQTT_SUCCESS, MQTT_SUCCESS, MQTT_SLOT_READY },
    [PROTO_NO_TAKER] = { MQTT_NO_MATCHING_SUBSCRIBERS, MQTT_SUCCESS, MQTT_SLOT_READY },
    [PROTO_UNKNOWN_ID] = { MQTT_SUCCESS, MQTT_PACKET_ID_NOT_FOUND, MQTT_SLOT_READY },
    [PROTO_REFUSED_QUOTA] = { MQTT_QUOTA_EXCEEDED, MQTT_QUOTA_EXCEEDED, MQTT_SLOT_WITHHELD },
    [PROTO_REFUSED_DENIED] = { MQTT_NOT_AUTHORIZED, MQTT_NOT_AUTHORIZED, MQTT_SLOT_CLOSE },
    [PROTO_REFUSED_TARGET] = { MQTT_TOPIC_NAME_INVALID, MQTT_TOPIC_NAME_INVALID, MQTT_SLOT_CLOSE },
    [PROTO_REFUSED_STORE] = { MQTT_IMPLEMENTATION_ERROR, MQTT_IMPLEMENTATION_ERROR,
                              MQTT_SLOT_WITHHELD },
};

static void judge(const struct mqtt_session *s, struct mqtt_slot *slot, enum proto_result r)
{
    const struct verdict *v = &verdicts[r];
    bool releasing = slot->type == MQTT_PUBCOMP;
    slot->reason = releasing ? v->release : v->publish;
    slot->state = MQTT_SLOT_READY;
    if (s->version == MQTT_V311)
        slot->state = v->v311;
    else if (releasing && slot->reason >= MQTT_UNSPECIFIED_ERROR && r != PROTO_UNKNOWN_ID)
        slot->state = MQTT_SLOT_CLOSE;
}

/* A client of 3.1.1 cannot be told; it is let go after a while, and sends
 * what was not acknowledged again (decision 17). What closes when its turn
 * comes waits no longer than this for the answers before it. */
static void plan_close(struct mqtt_session *s, uint8_t reason, uint64_t now_ms)
{
    if (s->close_at_ms != UINT64_MAX)
        return;
    s->close_at_ms = now_ms + s->cfg->reject_grace_ms;
    s->close_reason = reason;
}

/* A QoS 0 publish is owed no answer; one that its sender must not make ends
 * the connection all the same (3.1.1: section 3.3.5), after the answers that
 * are owed before it. */
static void judge_unanswered(struct mqtt_session *s, enum proto_result r, uint64_t now_ms)
{
    if (r != PROTO_REFUSED_DENIED && r != PROTO_REFUSED_TARGET)
        return;
    if (owes_too_much(s)) {
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_unanswered");
        return;
    }
    mqtt_ring_push(&s->ring,
                   (struct mqtt_slot){ .state = MQTT_SLOT_CLOSE, .reason = verdicts[r].publish });
    plan_close(s, verdicts[r].publish, now_ms);
    flush(s);
}

void mqtt_answer(struct proto_session *p, uint32_t token, enum proto_result r, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    if (token == 0) {
        judge_unanswered(s, r, now_ms);
        return;
    }
    struct mqtt_slot *slot = mqtt_ring_at(s->ring, token);
    SL_ASSERT(slot != NULL && slot->state == MQTT_SLOT_WAITING && slot->type != MQTT_SUBACK);
    judge(s, slot, r);
    if (slot->state == MQTT_SLOT_WITHHELD || slot->state == MQTT_SLOT_CLOSE)
        plan_close(s, slot->reason, now_ms);
    flush(s);
}
