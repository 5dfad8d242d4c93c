/* The outbox: claims by clause, then a random walk beside a plain list. */
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "route/outbox.h"

static struct message *message_of(uint64_t id, size_t payload)
{
    static const uint8_t zeros[64];
    struct message_parts parts = { .id = id, .protocol = MESSAGE_MQTT5, .topic = sl_str("t"), .payload = sl_bytes_of(zeros, payload) };
    return message_new(&parts);
}

/* Pushes message `id`; the outbox has the only reference. */
static void push(struct outbox *o, uint64_t id, uint8_t qos)
{
    struct message *m = message_of(id, 8);
    struct outbox_entry *e = outbox_push(o, &(struct outbox_item){ .msg = m, .qos = qos });
    assert_int_equal(e->state, OUTBOX_QUEUED);
    message_unref(m);
    outbox_check(o);
}

static uint16_t number(struct outbox *o)
{
    uint16_t id = outbox_number(o)->packet_id;
    outbox_check(o);
    return id;
}

/* Numbers and sends everything that waits. */
static void send_all(struct outbox *o)
{
    while (outbox_queued(o) > 0)
        (void)number(o);
    while (outbox_next(o) != NULL)
        outbox_sent(o);
    outbox_check(o);
}

static struct outbox *flying(uint32_t n, uint8_t qos)
{
    struct outbox *o = outbox_new();
    for (uint32_t i = 1; i <= n; i++)
        push(o, i, qos);
    send_all(o);
    return o;
}

static void drop(struct outbox_entry *e)
{
    message_unref(e->msg);
    outbox_entry_fini(e);
}

static void ack(struct outbox *o, uint16_t packet_id)
{
    struct outbox_entry e;
    assert_int_equal(outbox_acked(o, packet_id, &e), SL_OK);
    assert_int_equal(e.packet_id, packet_id);
    drop(&e);
    outbox_check(o);
}

static void complete(struct outbox *o, uint16_t packet_id)
{
    struct outbox_entry e;
    assert_int_equal(outbox_completed(o, packet_id, &e), SL_OK);
    drop(&e);
    outbox_check(o);
}

static struct outbox_entry *receive(struct outbox *o, uint16_t packet_id, bool held)
{
    struct outbox_entry *e = NULL;
    assert_int_equal(outbox_received(o, packet_id, &e), SL_OK);
    e->held = held;
    outbox_check(o);
    return e;
}

/* What goes out from now on: "P1 P2+ R3 ", + is dup. */
static const char *goes_out(struct outbox *o)
{
    static char text[256];
    size_t n = 0;
    struct outbox_entry *e;
    text[0] = '\0';
    while ((e = outbox_next(o)) != NULL) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%c%u%s ", e->state == OUTBOX_RELEASED ? 'R' : 'P', e->packet_id,
                              e->state == OUTBOX_UNSENT && e->dup ? "+" : "");
        outbox_sent(o);
        outbox_check(o);
    }
    return text;
}

static void what_is_pushed_first_is_numbered_first(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    assert_true(outbox_empty(o));
    assert_null(outbox_head(o));
    assert_null(outbox_next(o));
    push(o, 10, 1);
    push(o, 11, 2);
    assert_int_equal(outbox_queued(o), 2);
    assert_int_equal(message_id(outbox_head(o)->msg), 10);
    assert_int_equal(number(o), 1);
    assert_int_equal(message_id(outbox_head(o)->msg), 11);
    assert_int_equal(number(o), 2);
    assert_int_equal(outbox_queued(o), 0);
    assert_int_equal(outbox_queued_bytes(o), 0);
    assert_int_equal(outbox_in_flight(o), 2);
    assert_string_equal(goes_out(o), "P1 P2 ");
    outbox_free(o);
}

static void what_finds_the_queue_empty_is_numbered_behind_the_flight(void **state)
{
    (void)state;
    struct outbox *o = flying(2, 1);
    struct message *m = message_of(3, 8);
    const uint32_t ids[2] = { 7, 9 };
    const struct outbox_entry *e = outbox_push_numbered(o, &(struct outbox_item){ .msg = m, .qos = 1, .ids = ids, .n_ids = 2 });
    message_unref(m);
    outbox_check(o);
    assert_int_equal(e->packet_id, 3);
    assert_int_equal(e->state, OUTBOX_UNSENT);
    assert_memory_equal(outbox_ids(e), ids, sizeof ids);
    assert_int_equal(outbox_queued(o), 0);
    assert_ptr_equal(outbox_next(o), e);
    outbox_free(o);
}

static void qos_0_leaves_from_the_head_and_never_has_an_id(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    push(o, 1, 0);
    push(o, 2, 1);
    assert_int_equal(outbox_head(o)->packet_id, 0);
    outbox_pop(o);
    outbox_check(o);
    assert_int_equal(number(o), 1);
    outbox_free(o);
}

static void subscription_ids_are_copied_and_given_back_with_the_entry(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    struct message *m = message_of(1, 0);
    uint32_t ids[] = { 7, 268435455, 9 };
    size_t empty = outbox_bytes(o);
    (void)outbox_push(o, &(struct outbox_item){ .msg = m, .qos = 1, .ids = ids, .n_ids = 3 });
    (void)outbox_push(o, &(struct outbox_item){ .msg = m, .qos = 1, .ids = ids, .n_ids = 1 });
    assert_int_equal(m->refs, 3);
    ids[0] = 0;
    send_all(o);
    struct outbox_entry e;
    assert_int_equal(outbox_acked(o, 1, &e), SL_OK);
    assert_int_equal(e.n_ids, 3);
    assert_int_equal(outbox_ids(&e)[0], 7);
    assert_int_equal(outbox_ids(&e)[1], 268435455);
    drop(&e);
    assert_int_equal(outbox_acked(o, 2, &e), SL_OK);
    assert_int_equal(outbox_ids(&e)[0], 7);
    drop(&e);
    assert_int_equal(m->refs, 1);
    assert_int_equal(outbox_bytes(o), empty);
    message_unref(m);
    outbox_free(o);
}

static void memory_is_held_only_while_something_waits(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    size_t empty = outbox_bytes(o);
    assert_true(empty <= 128);
    for (uint32_t i = 1; i <= 1000; i++)
        push(o, i, 1);
    assert_true(outbox_bytes(o) <= empty + 1024 * sizeof(struct outbox_entry));
    send_all(o);
    assert_true(outbox_bytes(o) <= empty + 1024 * sizeof(struct outbox_entry));
    for (uint16_t i = 1; i <= 990; i++)
        ack(o, i);
    assert_true(outbox_bytes(o) <= empty + 64 * sizeof(struct outbox_entry));
    for (uint16_t i = 991; i <= 1000; i++)
        ack(o, i);
    assert_int_equal(outbox_bytes(o), empty);
    assert_true(outbox_empty(o));
    outbox_free(o);
}

static void the_oldest_that_is_stuck_keeps_no_memory_for_those_that_left(void **state)
{
    (void)state;
    struct outbox *o = flying(1, 1);
    size_t one = outbox_bytes(o);
    for (uint32_t i = 2; i <= 5000; i++) {
        push(o, i, 1);
        send_all(o);
        ack(o, (uint16_t)i);
        assert_true(outbox_bytes(o) <= one + 4 * sizeof(struct outbox_entry));
    }
    ack(o, 1);
    outbox_free(o);
}

/* [MQTT-2.2.1-4]: a packet id that is currently unused. */
static void ids_go_around_and_skip_those_in_use(void **state)
{
    (void)state;
    struct outbox *o = flying(3, 1);
    ack(o, 2);
    for (uint32_t i = 4; i <= 65535; i++) {
        struct message *m = message_of(i, 0);
        (void)outbox_push(o, &(struct outbox_item){ .msg = m, .qos = 1 });
        message_unref(m);
        assert_int_equal(outbox_number(o)->packet_id, i);
        outbox_sent(o);
        struct outbox_entry e;
        assert_int_equal(outbox_acked(o, (uint16_t)i, &e), SL_OK);
        drop(&e);
    }
    push(o, 70000, 1);
    push(o, 70001, 1);
    assert_int_equal(number(o), 2); /* 1 and 3 have not been answered */
    assert_int_equal(number(o), 4);
    assert_string_equal(goes_out(o), "P2 P4 ");
    outbox_resume(o);
    assert_string_equal(goes_out(o), "P1+ P3+ P2+ P4+ ");
    ack(o, 3);
    ack(o, 4);
    ack(o, 2);
    ack(o, 1);
    outbox_free(o);
}

static void every_id_can_be_in_flight_and_is_given_again_when_it_is_free(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    struct message *m = message_of(1, 0);
    struct outbox_entry e;
    for (uint32_t i = 1; i <= OUTBOX_FLIGHT_MAX; i++) {
        (void)outbox_push(o, &(struct outbox_item){ .msg = m, .qos = 1 });
        assert_int_equal(outbox_number(o)->packet_id, i);
        outbox_sent(o);
    }
    assert_int_equal(outbox_acked(o, 40000, &e), SL_OK);
    drop(&e);
    (void)outbox_push(o, &(struct outbox_item){ .msg = m, .qos = 1 });
    assert_int_equal(outbox_number(o)->packet_id, 40000);
    outbox_free(o);
    message_unref(m);
}

/* [MQTT-4.9.0-*]: the quota of a connection. */
static void what_is_published_counts_until_it_is_finished(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    push(o, 1, 1);
    push(o, 2, 2);
    push(o, 3, 2);
    (void)number(o);
    assert_int_equal(outbox_unanswered(o), 0); /* not sent yet */
    send_all(o);
    assert_int_equal(outbox_unanswered(o), 3);
    ack(o, 1);
    assert_int_equal(outbox_unanswered(o), 2);
    (void)receive(o, 2, false);
    assert_int_equal(outbox_unanswered(o), 2); /* PUBREC does not give it back */
    complete(o, 2);
    assert_int_equal(outbox_unanswered(o), 1);
    struct outbox_entry e;
    assert_int_equal(outbox_refused(o, 3, &e), SL_OK); /* PUBREC of 0x80 and above does */
    drop(&e);
    assert_int_equal(outbox_unanswered(o), 0);
    assert_true(outbox_empty(o));
    outbox_free(o);
}

static void a_pubrel_that_is_sent_again_does_not_count(void **state)
{
    (void)state;
    struct outbox *o = flying(2, 2);
    (void)receive(o, 1, false);
    outbox_resume(o);
    assert_int_equal(outbox_unanswered(o), 0);
    assert_string_equal(goes_out(o), "R1 P2+ ");
    assert_int_equal(outbox_unanswered(o), 1);
    complete(o, 1);
    assert_int_equal(outbox_unanswered(o), 1);
    outbox_free(o);
}

/* [MQTT-4.4.0-1], [MQTT-4.6.0-1]: under their ids and in their order. */
static void a_resumed_flight_goes_out_again_in_order_whatever_left_from_its_middle(void **state)
{
    (void)state;
    struct outbox *o = flying(8, 2);
    struct outbox_entry e;
    (void)receive(o, 5, false);
    complete(o, 5);
    assert_int_equal(outbox_refused(o, 2, &e), SL_OK);
    drop(&e);
    (void)receive(o, 8, false);
    complete(o, 8);
    (void)receive(o, 4, false);
    push(o, 9, 1);
    assert_int_equal(number(o), 9); /* numbered, never sent: not dup */
    outbox_resume(o);
    assert_string_equal(goes_out(o), "P1+ P3+ R4 P6+ P7+ P9 ");
    assert_string_equal(goes_out(o), "");
    outbox_resume(o);
    assert_string_equal(goes_out(o), "P1+ P3+ R4 P6+ P7+ P9+ ");
    outbox_free(o);
}

static void what_is_held_stops_what_comes_after_it_until_it_is_stored(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    push(o, 10, 1);
    push(o, 11, 2);
    push(o, 12, 1);
    (void)number(o);
    outbox_number(o)->held = true;
    (void)number(o);
    assert_string_equal(goes_out(o), "P1 ");
    assert_int_equal(outbox_unhold(o, 1, 10, false), SL_ENOENT); /* it is not held */
    assert_int_equal(outbox_unhold(o, 9, 11, false), SL_ENOENT);
    assert_int_equal(outbox_unhold(o, 0, 11, false), SL_ENOENT); /* it was stored before it had its id */
    assert_int_equal(outbox_unhold(o, 2, 99, false), SL_ENOENT); /* the id was another message's before */
    assert_int_equal(outbox_unhold(o, 2, 11, true), SL_ENOENT);
    assert_string_equal(goes_out(o), "");
    assert_int_equal(outbox_unhold(o, 2, 11, false), SL_OK);
    assert_int_equal(outbox_unhold(o, 2, 11, false), SL_ENOENT);
    assert_string_equal(goes_out(o), "P2 P3 ");
    outbox_free(o);
}

static void a_pubrel_that_waits_for_the_store_keeps_no_publish_waiting(void **state)
{
    (void)state;
    struct outbox *o = flying(2, 2);
    (void)receive(o, 1, true);
    push(o, 3, 1);
    (void)number(o);
    assert_string_equal(goes_out(o), "P3 ");
    assert_int_equal(outbox_unhold(o, 1, 1, false), SL_ENOENT); /* that was the PUBLISH */
    assert_int_equal(outbox_unhold(o, 1, 1, true), SL_OK);
    outbox_check(o);
    assert_string_equal(goes_out(o), "R1 ");
    (void)receive(o, 2, true);
    outbox_resume(o); /* the connection went before that was stored */
    outbox_check(o);
    assert_string_equal(goes_out(o), "R1 P3+ ");
    assert_int_equal(outbox_unhold(o, 2, 2, true), SL_OK);
    assert_string_equal(goes_out(o), "R2 ");
    outbox_free(o);
}

static void an_answer_that_fits_no_entry_changes_nothing(void **state)
{
    (void)state;
    struct outbox *o = flying(1, 1);
    struct outbox_entry e, *at = NULL;
    push(o, 2, 2);
    send_all(o);
    push(o, 3, 1);
    (void)number(o);                                          /* 3: never sent */
    assert_int_equal(outbox_acked(o, 0, &e), SL_ENOENT);
    assert_int_equal(outbox_acked(o, 7, &e), SL_ENOENT);      /* unknown */
    assert_int_equal(outbox_acked(o, 2, &e), SL_ENOENT);      /* PUBACK for QoS 2 */
    assert_int_equal(outbox_acked(o, 3, &e), SL_ENOENT);
    assert_int_equal(outbox_refused(o, 3, &e), SL_ENOENT);
    assert_int_equal(outbox_received(o, 1, &at), SL_ENOENT);  /* PUBREC for QoS 1 */
    assert_int_equal(outbox_completed(o, 1, &e), SL_ENOENT);
    assert_int_equal(outbox_completed(o, 2, &e), SL_ENOENT);  /* PUBCOMP before PUBREC */
    (void)receive(o, 2, false);
    assert_int_equal(outbox_received(o, 2, &at), SL_ENOENT);
    assert_int_equal(outbox_refused(o, 2, &e), SL_ENOENT);
    assert_int_equal(outbox_in_flight(o), 3);
    assert_int_equal(outbox_unanswered(o), 2);
    outbox_check(o);
    outbox_free(o);
}

static void an_answer_to_an_earlier_connection_spares_the_second_sending(void **state)
{
    (void)state;
    struct outbox *o = flying(2, 1);
    outbox_resume(o);
    ack(o, 1);
    assert_int_equal(outbox_unanswered(o), 0);
    assert_string_equal(goes_out(o), "P2+ ");
    outbox_free(o);
}

static void the_oldest_of_qos_0_is_shed_and_the_others_keep_their_order(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    const uint8_t qos[] = { 1, 0, 2, 0, 1, 0 };
    for (uint32_t i = 0; i < SL_COUNT(qos); i++)
        push(o, i + 1, qos[i]);
    struct outbox_entry e;
    for (uint64_t id = 2; id <= 6; id += 2) {
        assert_true(outbox_shed_qos0(o, &e));
        assert_int_equal(message_id(e.msg), id);
        drop(&e);
        outbox_check(o);
    }
    assert_false(outbox_shed_qos0(o, &e));
    for (uint64_t id = 1; id <= 5; id += 2) {
        assert_int_equal(message_id(outbox_head(o)->msg), id);
        (void)number(o);
    }
    outbox_free(o);
}

static void a_session_that_ends_gives_up_its_queue_and_then_its_flight(void **state)
{
    (void)state;
    struct outbox *o = flying(2, 1);
    push(o, 3, 0);
    push(o, 4, 1);
    struct outbox_entry e;
    const uint64_t order[] = { 3, 4, 1, 2 };
    for (uint32_t i = 0; i < SL_COUNT(order); i++) {
        assert_true(outbox_take(o, &e));
        assert_int_equal(message_id(e.msg), order[i]);
        drop(&e);
        outbox_check(o);
    }
    assert_false(outbox_take(o, &e));
    outbox_free(o);
}

static void a_restored_flight_has_its_ids_and_new_ones_follow_them(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    struct message *m = message_of(1, 0);
    struct outbox_item it = { .msg = m, .qos = 2 };
    assert_int_equal(outbox_restore(o, &it, 65534, true), SL_OK);
    assert_int_equal(outbox_restore(o, &it, 2, false), SL_OK);
    it.qos = 1;
    assert_int_equal(outbox_restore(o, &it, 3, false), SL_OK);
    assert_int_equal(outbox_restore(o, &it, 0, false), SL_OK);
    outbox_check(o);
    assert_int_equal(outbox_queued(o), 1);
    assert_true(outbox_head(o)->recorded);
    outbox_resume(o);
    assert_int_equal(number(o), 4);
    assert_string_equal(goes_out(o), "R65534 P2+ P3+ P4 ");
    outbox_free(o);
    message_unref(m);
}

static void what_cannot_have_been_stored_is_not_restored(void **state)
{
    (void)state;
    struct outbox *o = outbox_new();
    struct message *m = message_of(1, 0);
    struct outbox_item it = { .msg = m, .qos = 1 };
    assert_int_equal(outbox_restore(o, &it, 5, false), SL_OK);
    assert_int_equal(outbox_restore(o, &it, 5, false), SL_EEXIST);
    assert_int_equal(outbox_restore(o, &it, 6, true), SL_EINVAL); /* QoS 1 is never released */
    it.qos = 2;
    assert_int_equal(outbox_restore(o, &it, 0, true), SL_EINVAL);
    it.qos = 0;
    assert_int_equal(outbox_restore(o, &it, 6, false), SL_EINVAL);
    it.qos = 3;
    assert_int_equal(outbox_restore(o, &it, 6, false), SL_EINVAL);
    assert_int_equal(m->refs, 2);
    outbox_check(o);
    outbox_free(o);
    message_unref(m);
}

/* ---- beside a plain list ---- */

#define MODEL_MAX 200u

struct model_entry {
    uint64_t message;
    uint32_t first_id, n_ids;
    uint16_t packet_id; /* 0: queued */
    uint8_t qos;
    bool sent, ever_sent, released, rel_sent, held, counted, retain, shared;
};

/* In one list: the flight, then the queue. */
struct model {
    struct sl_rng rng;
    struct outbox *o;
    struct model_entry v[MODEL_MAX];
    uint32_t n, flight;
    uint16_t last_id;
    uint64_t next_message;
};

static uint32_t below(struct model *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

static void model_remove(struct model *w, uint32_t i)
{
    w->flight -= i < w->flight;
    memmove(&w->v[i], &w->v[i + 1], (w->n - i - 1) * sizeof w->v[0]);
    w->n--;
}

static bool model_uses(const struct model *w, uint16_t id)
{
    for (uint32_t i = 0; i < w->flight; i++) {
        if (w->v[i].packet_id == id)
            return true;
    }
    return false;
}

/* The place of what goes out next; w->n: nothing does. */
static uint32_t model_next(const struct model *w)
{
    for (uint32_t i = 0; i < w->flight; i++) {
        const struct model_entry *e = &w->v[i];
        if (!e->released && !e->sent)
            return e->held ? w->n : i;
        if (e->released && !e->rel_sent && !e->held)
            return i;
    }
    return w->n;
}

static void same(const struct model_entry *want, const struct outbox_entry *e)
{
    assert_int_equal(message_id(e->msg), want->message);
    assert_int_equal(e->packet_id, want->packet_id);
    assert_int_equal(e->qos, want->qos);
    assert_int_equal(e->retain, want->retain);
    assert_int_equal(e->shared, want->shared);
    assert_int_equal(e->subscription, (uint16_t)want->message);
    assert_int_equal(e->n_ids, want->n_ids);
    for (uint32_t i = 0; i < want->n_ids; i++)
        assert_int_equal(outbox_ids(e)[i], want->first_id + i);
}

static void same_in_all(struct model *w)
{
    uint32_t pos = 0, n = 0;
    struct outbox_entry *e;
    for (; (e = outbox_walk(w->o, &pos)) != NULL; n++)
        same(&w->v[n], e);
    assert_int_equal(n, w->n);
}

static void model_compare(struct model *w)
{
    outbox_check(w->o);
    same_in_all(w);
    uint32_t counted = 0, qos0 = 0, next = model_next(w);
    for (uint32_t i = 0; i < w->flight; i++)
        counted += w->v[i].counted;
    for (uint32_t i = w->flight; i < w->n; i++)
        qos0 += w->v[i].qos == 0;
    assert_int_equal(outbox_in_flight(w->o), w->flight);
    assert_int_equal(outbox_queued_qos0(w->o), qos0);
    assert_int_equal(outbox_queued(w->o), w->n - w->flight);
    assert_int_equal(outbox_unanswered(w->o), counted);
    assert_int_equal(outbox_empty(w->o), w->n == 0);
    struct outbox_entry *head = outbox_head(w->o), *out = outbox_next(w->o);
    assert_int_equal(head != NULL, w->n > w->flight);
    assert_int_equal(out != NULL, next < w->n);
    if (head != NULL)
        same(&w->v[w->flight], head);
    if (out == NULL)
        return;
    same(&w->v[next], out);
    assert_int_equal(out->state, w->v[next].released ? OUTBOX_RELEASED : OUTBOX_UNSENT);
    assert_true(w->v[next].released || out->dup == w->v[next].ever_sent);
}

static struct outbox_item item_of(const struct model_entry *e, struct message *m, uint32_t ids[4])
{
    for (uint32_t i = 0; i < e->n_ids; i++)
        ids[i] = e->first_id + i;
    return (struct outbox_item){ .msg = m, .qos = e->qos, .retain = e->retain, .shared = e->shared, .subscription = (uint16_t)e->message, .ids = ids, .n_ids = e->n_ids };
}

static void step_push(struct model *w)
{
    if (w->n == MODEL_MAX)
        return;
    struct model_entry *e = &w->v[w->n++];
    *e = (struct model_entry){ .message = w->next_message++, .first_id = below(w, 100), .n_ids = below(w, 4),
                               .qos = (uint8_t)below(w, 3), .retain = below(w, 2) == 0, .shared = below(w, 3) == 0 };
    uint32_t ids[4];
    struct message *m = message_of(e->message, below(w, 20));
    struct outbox_item it = item_of(e, m, ids);
    same(e, outbox_push(w->o, &it));
    message_unref(m);
}

static void step_pop(struct model *w)
{
    if (w->n == w->flight)
        return;
    outbox_pop(w->o);
    model_remove(w, w->flight);
}

static void step_number(struct model *w)
{
    if (w->n == w->flight || w->v[w->flight].qos == 0)
        return;
    struct model_entry *e = &w->v[w->flight];
    do
        w->last_id = w->last_id == UINT16_MAX ? 1 : (uint16_t)(w->last_id + 1);
    while (model_uses(w, w->last_id));
    w->flight++;
    e->packet_id = w->last_id;
    e->held = e->qos == 2 && below(w, 2) == 0;
    struct outbox_entry *got = outbox_number(w->o);
    got->held = e->held;
    same(e, got);
}

static void step_send(struct model *w)
{
    uint32_t i = model_next(w);
    if (i == w->n)
        return;
    struct model_entry *e = &w->v[i];
    outbox_sent(w->o);
    if (e->released)
        e->rel_sent = true;
    else
        e->sent = e->ever_sent = e->counted = true;
}

/* One of the flight, the oldest mostly. */
static struct model_entry *someone(struct model *w)
{
    return w->flight == 0 ? NULL : &w->v[below(w, 3) > 0 ? 0 : below(w, w->flight)];
}

static void left(struct model *w, struct model_entry *e, int err, bool expected, struct outbox_entry *out)
{
    assert_int_equal(err, expected ? SL_OK : SL_ENOENT);
    if (!expected)
        return;
    same(e, out);
    drop(out);
    model_remove(w, (uint32_t)(e - w->v));
}

static void step_answer(struct model *w)
{
    struct model_entry *e = someone(w);
    struct outbox_entry out;
    if (e == NULL)
        return;
    bool published = e->ever_sent && !e->released;
    switch (below(w, 8)) {
    case 0:
        left(w, e, outbox_refused(w->o, e->packet_id, &out), published, &out);
        return;
    case 1:
    case 2:
    case 3:
        left(w, e, outbox_completed(w->o, e->packet_id, &out), e->released, &out);
        return;
    default:
        left(w, e, outbox_acked(w->o, e->packet_id, &out), published && e->qos == 1, &out);
    }
}

static void step_received(struct model *w)
{
    struct model_entry *e = someone(w);
    struct outbox_entry *out;
    if (e == NULL)
        return;
    bool expected = e->qos == 2 && e->ever_sent && !e->released;
    assert_int_equal(outbox_received(w->o, e->packet_id, &out), expected ? SL_OK : SL_ENOENT);
    if (!expected)
        return;
    same(e, out);
    e->released = true;
    e->held = out->held = below(w, 2) == 0;
    e->rel_sent = !e->held; /* the caller sends it at once */
}

static void step_unhold(struct model *w)
{
    for (uint32_t i = 0; i < w->flight; i++) {
        if (!w->v[i].held || below(w, 4) == 0)
            continue;
        w->v[i].held = false;
        assert_int_equal(outbox_unhold(w->o, w->v[i].packet_id, w->v[i].message, w->v[i].released), SL_OK);
        return;
    }
}

static void step_resume(struct model *w)
{
    outbox_resume(w->o);
    for (uint32_t i = 0; i < w->flight; i++)
        w->v[i].sent = w->v[i].rel_sent = w->v[i].counted = false;
}

static void step_shed(struct model *w)
{
    struct outbox_entry out;
    uint32_t i = w->flight;
    while (i < w->n && w->v[i].qos > 0)
        i++;
    assert_int_equal(outbox_shed_qos0(w->o, &out), i < w->n);
    if (i < w->n)
        left(w, &w->v[i], SL_OK, true, &out);
}

static void step_take(struct model *w)
{
    struct outbox_entry out;
    assert_int_equal(outbox_take(w->o, &out), w->n > 0);
    if (w->n > 0)
        left(w, &w->v[w->flight < w->n ? w->flight : 0], SL_OK, true, &out);
}

/* A crash: what is of QoS 1 and 2 comes back, and was sent for all that anybody knows. */
static void step_restore(struct model *w)
{
    outbox_free(w->o);
    w->o = outbox_new();
    w->last_id = 0;
    for (uint32_t i = w->n; i-- > 0;) {
        if (w->v[i].qos == 0)
            model_remove(w, i);
    }
    for (uint32_t i = 0; i < w->n; i++) {
        struct model_entry *e = &w->v[i];
        uint32_t ids[4];
        struct message *m = message_of(e->message, 1);
        struct outbox_item it = item_of(e, m, ids);
        assert_int_equal(outbox_restore(w->o, &it, e->packet_id, e->released), SL_OK);
        message_unref(m);
        e->held = false;
        e->ever_sent = e->packet_id > 0;
        w->last_id = e->packet_id > 0 ? e->packet_id : w->last_id;
    }
    step_resume(w);
}

/* So that the ids go around soon: one of a high id goes through. */
static void start_near_the_end(struct model *w)
{
    struct message *m = message_of(1, 0);
    struct outbox_entry out;
    w->last_id = (uint16_t)(65500 + below(w, 36));
    assert_int_equal(outbox_restore(w->o, &(struct outbox_item){ .msg = m, .qos = 1 }, w->last_id, false), SL_OK);
    assert_true(outbox_take(w->o, &out));
    drop(&out);
    message_unref(m);
}

static void model_step(struct model *w, const uint8_t *weights)
{
    static void (*const steps[])(struct model *) = { step_push, step_number, step_send, step_answer, step_received, step_unhold,
                                                     step_pop, step_shed, step_take, step_resume, step_restore };
    uint32_t total = 0, i = 0;
    for (uint32_t k = 0; k < SL_COUNT(steps); k++)
        total += weights[k];
    uint32_t at = below(w, total);
    while (at >= weights[i])
        at -= weights[i++];
    steps[i](w);
}

static void walk(uint64_t seed, uint32_t steps)
{
    static const uint8_t weights[][11] = {
        { 60, 60, 80, 60, 30, 30, 3, 3, 1, 1, 1 },  /* a reader that keeps up */
        { 90, 60, 60, 40, 15, 15, 3, 3, 1, 1, 0 },  /* a slow one */
        { 60, 50, 50, 45, 30, 20, 2, 9, 6, 5, 5 },  /* an unsteady one */
    };
    struct model w = { .o = outbox_new(), .next_message = 100 };
    sl_rng_seed(&w.rng, seed);
    if (below(&w, 2) == 0)
        start_near_the_end(&w);
    for (uint32_t i = 0; i < steps; i++) {
        model_step(&w, weights[seed % 3]);
        model_compare(&w);
    }
    while (w.n > 0)
        step_take(&w);
    model_compare(&w);
    outbox_free(w.o);
}

static void any_walk_agrees_with_a_plain_list(void **state)
{
    (void)state;
    const char *more = getenv("OUTBOX_SEEDS");
    uint64_t seeds = more != NULL ? strtoull(more, NULL, 10) : 150;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        walk(seed, 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pushed_first_is_numbered_first),
        cmocka_unit_test(what_finds_the_queue_empty_is_numbered_behind_the_flight),
        cmocka_unit_test(qos_0_leaves_from_the_head_and_never_has_an_id),
        cmocka_unit_test(subscription_ids_are_copied_and_given_back_with_the_entry),
        cmocka_unit_test(memory_is_held_only_while_something_waits),
        cmocka_unit_test(the_oldest_that_is_stuck_keeps_no_memory_for_those_that_left),
        cmocka_unit_test(ids_go_around_and_skip_those_in_use),
        cmocka_unit_test(every_id_can_be_in_flight_and_is_given_again_when_it_is_free),
        cmocka_unit_test(what_is_published_counts_until_it_is_finished),
        cmocka_unit_test(a_pubrel_that_is_sent_again_does_not_count),
        cmocka_unit_test(a_resumed_flight_goes_out_again_in_order_whatever_left_from_its_middle),
        cmocka_unit_test(what_is_held_stops_what_comes_after_it_until_it_is_stored),
        cmocka_unit_test(a_pubrel_that_waits_for_the_store_keeps_no_publish_waiting),
        cmocka_unit_test(an_answer_that_fits_no_entry_changes_nothing),
        cmocka_unit_test(an_answer_to_an_earlier_connection_spares_the_second_sending),
        cmocka_unit_test(the_oldest_of_qos_0_is_shed_and_the_others_keep_their_order),
        cmocka_unit_test(a_session_that_ends_gives_up_its_queue_and_then_its_flight),
        cmocka_unit_test(a_restored_flight_has_its_ids_and_new_ones_follow_them),
        cmocka_unit_test(what_cannot_have_been_stored_is_not_restored),
        cmocka_unit_test(any_walk_agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
