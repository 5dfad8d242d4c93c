/* What goes back to the client: answers in the order of the frames they
 * answer, last words, and the table that turns the gateway's verdicts into
 * each version's own. */
#include "core/alloc.h"
#include "session.h"

/* A client of 3.1.1 may have as many PUBRELs under way as there are ids. */
#define SLOTS_MAX (2u * 65536u)
/* Answers that a client may leave unread. */
#define OUTPUT_MAX_BYTES (1024u * 1024u)
/* What SUBACK and UNSUBACK have beside their codes, a reason string included. */
#define CODES_EXTRA_BYTES 64u
#define CODES_MAX_BYTES   65536u          /* of one of them */
#define LATER_MAX_BYTES   (1024u * 1024u) /* of all that wait */
#define LOOK_BACK         1024u           /* at so many answers, for who sends again what was not answered */
#define PRINT_SHIFT       16u

/* ---- sending ---- */

static uint8_t *reserve(struct mqtt_session *s, size_t n)
{
    uint8_t *p = sl_buf_reserve(&s->out, n);
    SL_ASSERT(p != NULL); /* the buffer has no maximum of its own */
    return p;
}

/* What is delivered is bounded by who delivers, at output_bytes and one packet
 * more: a client that reads it slowly is still one that reads. */
SL_NOINLINE static bool reads_at_all(struct mqtt_session *s, size_t n)
{
    size_t most = OUTPUT_MAX_BYTES + (s->delivers ? (size_t)s->cfg->output_bytes + mqtt_packet_limit(s->cfg) : 0u);
    if (sl_buf_len(&s->out) + n <= most)
        return true;
    mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "client_does_not_read");
    return false;
}

static inline bool reads(struct mqtt_session *s, size_t n)
{
    return SL_LIKELY(sl_buf_len(&s->out) + n <= OUTPUT_MAX_BYTES) || reads_at_all(s, n);
}

void mqtt_send(struct mqtt_session *s, struct sl_bytes packet)
{
    if (!mqtt_client_takes(s, packet.n) || !reads(s, packet.n))
        return;
    sl_wr_bytes(reserve(s, packet.n), packet);
    sl_buf_commit(&s->out, packet.n);
}

/* A reason string with its property length; the words are short. */
static uint8_t *put_reason_string(uint8_t *p, struct sl_bytes word)
{
    p = sl_wr_u8(p, (uint8_t)(word.n + 3));
    p = sl_wr_u8(p, MQTT_PROP_REASON_STRING);
    p = sl_wr_u16be(p, (uint16_t)word.n);
    return sl_wr_bytes(p, word);
}

#define REASON_STRING_EXTRA 4u /* bytes over its word */

/* Head, then the word where the client asks for words and can take so many
 * bytes: [MQTT-3.1.2-29], [MQTT-3.2.2-19], [MQTT-3.4.2-2], [MQTT-3.14.2-3] and
 * their siblings. `empty_block`: without it a property length of 0 stands there. */
static void put_explained(struct mqtt_session *s, uint8_t first, struct sl_bytes head,
                          const char *text, bool empty_block)
{
    struct sl_bytes word = sl_str(text);
    size_t body = head.n + REASON_STRING_EXTRA + word.n;
    bool explain = s->wants_reasons && mqtt_client_takes(s, 2 + body);
    if (!explain)
        body = head.n + empty_block;
    if (!mqtt_client_takes(s, 2 + body))
        return;
    SL_ASSERT(body < 0x80);
    uint8_t *p = reserve(s, 2 + body);
    p = sl_wr_u8(p, first);
    p = sl_wr_u8(p, (uint8_t)body);
    p = sl_wr_bytes(p, head);
    if (explain)
        put_reason_string(p, word);
    else if (empty_block)
        sl_wr_u8(p, 0);
    sl_buf_commit(&s->out, 2 + body);
}

void mqtt_send_reason(struct mqtt_session *s, enum mqtt_type type, struct sl_bytes head,
                      const char *word)
{
    put_explained(s, (uint8_t)((unsigned)type << 4), head, word, type == MQTT_CONNACK);
}

/* Of MQTT 5, with a reason. */
SL_NOINLINE static void send_reasoned_ack(struct mqtt_session *s, uint8_t first, uint16_t packet_id,
                                          uint8_t reason)
{
    uint8_t packet[5] = { first, 3, (uint8_t)(packet_id >> 8), (uint8_t)packet_id, reason };
    if (reason < MQTT_UNSPECIFIED_ERROR)
        mqtt_send(s, sl_bytes_of(packet, sizeof packet));
    else if (reads(s, sizeof packet))
        put_explained(s, first, sl_bytes_of(packet + 2, 3), mqtt_reason_word(reason), false);
}

void mqtt_send_ack(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, uint8_t reason)
{
    uint8_t first = (uint8_t)((unsigned)type << 4 | (type == MQTT_PUBREL ? 2u : 0));
    if (reason != MQTT_SUCCESS && s->version == MQTT_V5) {
        send_reasoned_ack(s, first, packet_id, reason);
        return;
    }
    if (!mqtt_client_takes(s, 4) || !reads(s, 4))
        return;
    uint8_t *p = reserve(s, 4);
    p = sl_wr_u8(p, first);
    p = sl_wr_u8(p, 2);
    (void)sl_wr_u16be(p, packet_id);
    sl_buf_commit(&s->out, 4);
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
    uint8_t code = (uint8_t)reason;
    if (s->version == MQTT_V5 && s->state == MQTT_OPEN)
        mqtt_send_reason(s, MQTT_DISCONNECT, sl_bytes_of(&code, 1), word);
    else if (s->version == MQTT_V5 && !mqtt_over(s))
        mqtt_refuse_connect(s, code, word);
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

static inline uint32_t owe(struct mqtt_session *s, enum mqtt_type type, uint32_t value)
{
    if (owes_too_much(s)) {
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_unanswered");
        return 0;
    }
    return mqtt_ring_push(&s->ring, (struct mqtt_slot){ .type = (uint8_t)type, .value = value });
}

uint32_t mqtt_owe(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id)
{
    return owe(s, type, packet_id);
}

uint32_t mqtt_owe_puback(struct mqtt_session *s, uint16_t packet_id, uint16_t print)
{
    return owe(s, MQTT_PUBACK, (uint32_t)print << PRINT_SHIFT | packet_id);
}

static bool is_good_puback(const struct mqtt_slot *slot)
{
    bool refused = slot->state == MQTT_SLOT_CLOSE || slot->state == MQTT_SLOT_WITHHELD ||
                   (slot->state == MQTT_SLOT_READY && slot->reason >= MQTT_UNSPECIFIED_ERROR);
    return slot->type == MQTT_PUBACK && !refused;
}

bool mqtt_owes_puback(const struct mqtt_session *s, uint16_t packet_id, uint16_t print)
{
    uint32_t n = mqtt_ring_count(s->ring);
    for (uint32_t i = 1; i <= n && i <= LOOK_BACK; i++) {
        const struct mqtt_slot *slot = mqtt_ring_at(s->ring, s->ring->next - i);
        if (is_good_puback(slot) && slot->value == ((uint32_t)print << PRINT_SHIFT | packet_id))
            return true;
    }
    return false;
}

bool mqtt_owed(const struct proto_session *p, uint32_t *token, struct proto_owed *out)
{
    const struct mqtt_session *s = (const struct mqtt_session *)(const void *)p;
    uint32_t n = mqtt_ring_count(s->ring);
    uint32_t i = *token == 0 || n == 0 ? 0 : *token + 1 - s->ring->head;
    for (; i < n; i++) {
        const struct mqtt_slot *slot = mqtt_ring_at(s->ring, s->ring->head + i);
        if (!is_good_puback(slot))
            continue;
        *token = s->ring->head + i;
        *out = (struct proto_owed){ *token, (uint16_t)slot->value, (uint16_t)(slot->value >> PRINT_SHIFT) };
        return true;
    }
    return false;
}

uint32_t mqtt_owe_codes(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, size_t n)
{
    size_t waiting = s->ring == NULL ? 0 : sl_buf_len(&s->ring->later);
    size_t size = n + CODES_EXTRA_BYTES;
    if (size <= CODES_MAX_BYTES && waiting + size <= LATER_MAX_BYTES)
        return mqtt_owe(s, type, packet_id);
    mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_unanswered");
    return 0;
}

/* Most clients subscribe once and publish seldom or never: the ring is not kept for that. */
static void send_codes(struct mqtt_session *s, size_t n)
{
    struct sl_buf *later = &s->ring->later;
    mqtt_send(s, sl_bytes_of(sl_buf_view(later).p, n));
    if (mqtt_over(s))
        return;
    sl_buf_consume(later, n);
    if (sl_buf_len(later) == 0)
        sl_buf_fini(later);
    if (mqtt_ring_count(s->ring) == 0) {
        mqtt_ring_free(s->ring);
        s->ring = NULL;
    }
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

static SL_ALWAYS_INLINE void send_slot(struct mqtt_session *s, struct mqtt_slot slot)
{
    if (slot.type == 0)
        return;
    if (slot.type == MQTT_SUBACK || slot.type == MQTT_UNSUBACK) {
        send_codes(s, slot.value);
        return;
    }
    count_answer(s, &slot);
    mqtt_send_ack(s, slot.type, (uint16_t)slot.value, slot.reason);
}

static bool answers_publish(const struct mqtt_slot *slot)
{
    return slot->type == MQTT_PUBACK || slot->type == MQTT_PUBREC;
}

/* SUBACK, UNSUBACK and PUBCOMP keep their order among themselves and pass by
 * what waits for room; [MQTT-4.6.0] orders the answers of publishes alone. A
 * slot that has left early stays, and says nothing. */
SL_NOINLINE static void overtake(struct mqtt_session *s)
{
    struct mqtt_ring *r = s->ring;
    if (r == NULL)
        return;
    if (r->passed != r->next && mqtt_ring_at(r, r->passed) == NULL)
        r->passed = r->head;
    for (; r->passed != r->next; r->passed++) {
        struct mqtt_slot *slot = mqtt_ring_at(r, r->passed);
        if (answers_publish(slot))
            continue;
        if (slot->state != MQTT_SLOT_READY)
            return;
        struct mqtt_slot ready = *slot;
        *slot = (struct mqtt_slot){ .type = 0, .state = MQTT_SLOT_READY };
        send_slot(s, ready);
        if (mqtt_over(s))
            return;
    }
}

/* Lets everything leave that has nothing unanswered before it. */
static SL_ALWAYS_INLINE void flush_in_order(struct mqtt_session *s)
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

static inline void flush(struct mqtt_session *s)
{
    flush_in_order(s);
    if (SL_UNLIKELY(s->parked) && !mqtt_over(s))
        overtake(s);
}

void mqtt_parked(struct proto_session *p, bool parked)
{
    mqtt_session_of(p)->parked = parked;
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

/* The codes were granted before; what is left to say is whether they hold. A
 * client that cannot be told so in either version is let go after a while. */
static void judge_codes(struct mqtt_slot *slot, enum proto_result r)
{
    SL_ASSERT(slot->encoded && (r == PROTO_ACCEPTED || r == PROTO_REFUSED_STORE));
    slot->reason = MQTT_IMPLEMENTATION_ERROR;
    slot->state = r == PROTO_ACCEPTED ? MQTT_SLOT_READY : MQTT_SLOT_WITHHELD;
}

static void judge(const struct mqtt_session *s, struct mqtt_slot *slot, enum proto_result r)
{
    const struct verdict *v = &verdicts[r];
    bool releasing = slot->type == MQTT_PUBCOMP;
    if (slot->type == MQTT_SUBACK || slot->type == MQTT_UNSUBACK) {
        judge_codes(slot, r);
        return;
    }
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
static void plan_close(struct mqtt_session *s, uint8_t reason, uint64_t at_ms)
{
    if (s->close_at_ms != UINT64_MAX)
        return;
    s->close_at_ms = at_ms;
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
    plan_close(s, verdicts[r].publish, now_ms + s->cfg->reject_grace_ms);
    flush(s);
}

static inline void answer_slot(struct mqtt_session *s, uint32_t token, enum proto_result r, uint64_t close_at_ms)
{
    struct mqtt_slot *slot = mqtt_ring_at(s->ring, token);
    SL_ASSERT(slot != NULL && slot->state == MQTT_SLOT_WAITING);
    judge(s, slot, r);
    if (slot->state == MQTT_SLOT_WITHHELD || slot->state == MQTT_SLOT_CLOSE)
        plan_close(s, slot->reason, close_at_ms);
    flush(s);
}

void mqtt_answer(struct proto_session *p, uint32_t token, enum proto_result r, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    if (token == 0)
        judge_unanswered(s, r, now_ms);
    else
        answer_slot(s, token, r, now_ms + s->cfg->reject_grace_ms);
}

void mqtt_refuse(struct proto_session *p, uint32_t token, uint32_t grace_ms, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (!mqtt_over(s))
        answer_slot(s, token, PROTO_REFUSED_QUOTA, now_ms + grace_ms);
}
