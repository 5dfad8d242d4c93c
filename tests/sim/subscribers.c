/* What fake subscribers do: they come, subscribe, answer in time, late or
 * never, stop reading for a while, break off at any moment, and come back. */
#include "subscribers.h"

const char *const subscriber_filters[SIM_FILTERS] = { "t/#", "t/+", "#", "t/1", "t/2", "t/7", "+/3", "$share/g0/t/#", "$share/g1/t/+" };

#define ORDINARY ((1u << SIM_GROUPED) - 1)
#define SHARED   (((1u << SIM_FILTERS) - 1) & ~ORDINARY)

/* MQTT 3.1.1 has no subscription identifiers, which tell copies apart: such a
 * client has ordinary subscriptions or one shared one. */
static uint16_t some_filters(struct world *w, const struct subscriber *s)
{
    bool ordinary = s->number < 4;
    if (!s->v5)
        return (uint16_t)(ordinary ? ORDINARY : 1u << (SIM_GROUPED + pick(w, SIM_GROUPS)));
    if (ordinary)
        return (uint16_t)(chance(w, 30) ? ORDINARY | SHARED : ORDINARY);
    return (uint16_t)(chance(w, 40) ? ORDINARY | SHARED : SHARED);
}

void subscribers_make(struct world *w)
{
    w->subscribers = sl_calloc(SIM_SUBSCRIBERS, sizeof *w->subscribers);
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        struct subscriber *s = &w->subscribers[i];
        s->peer.read = subscriber_read;
        s->w = w;
        s->number = i;
        s->v5 = chance(w, 60);
        s->persistent = chance(w, 70);
        s->expiry_s = s->v5 && chance(w, 30) ? 1 + pick(w, 5) : UINT32_MAX;
        s->may = some_filters(w, s);
    }
}

void subscribers_free(struct world *w)
{
    sl_free(w->subscribers);
}

void subscriber_must(const struct subscriber *s, int err)
{
    if (err != SL_OK)
        world_fail(s->w, "subscriber %u cannot encode its packet: %s", s->number, sl_err_name(err));
}

void subscriber_send(struct subscriber *s, struct sl_buf *out)
{
    struct sl_bytes all = sl_buf_view(out);
    size_t at = 0;
    while (at < all.n && s->client != NULL && hub_client_reading(s->client)) {
        size_t n = chance(s->w, 80) ? all.n - at : 1 + pick(s->w, (uint32_t)(all.n - at));
        hub_client_feed(s->client, sl_bytes_of(all.p + at, n));
        at += n;
    }
    sl_buf_fini(out);
    if (at < all.n && s->client != NULL)
        subscriber_lost(s);
}

static enum mqtt_version version_of(const struct subscriber *s)
{
    return s->v5 ? MQTT_V5 : MQTT_V311;
}

/* ---- coming and going ---- */

void subscriber_forget(struct subscriber *s)
{
    laws_on_session_end(s->w, s);
    memset(s->slots, 0, sizeof s->slots);
    memset(s->subs, 0, sizeof s->subs);
    memset(s->asked, 0, sizeof s->asked);
    s->session_stored = false;
}

/* 3.1.1 cannot have a lasting session and a clean start at once: such a session
 * ends with the connection. */
static void choose_session(struct subscriber *s)
{
    struct world *w = s->w;
    s->lasting = s->persistent && (s->v5 || (!s->forgotten && (w->calm || !chance(w, 5))));
    s->clean = !s->lasting || s->forgotten || (s->v5 && !w->calm && chance(w, 8));
    if (s->clean)
        subscriber_forget(s);
    s->forgotten = s->clean;
}

static void connect_subscriber(struct subscriber *s)
{
    struct world *w = s->w;
    struct sl_buf out = { 0 };
    char id[16];
    snprintf(id, sizeof id, "sub%u", s->number);
    choose_session(s);
    s->confirmed = s->resumed = s->greeted = s->slow = false;
    s->lazy = !w->calm && chance(w, 10);
    s->receive_maximum = (uint16_t)(chance(w, 60) ? 1 + pick(w, 4) : 1 + pick(w, 30));
    s->connection++;
    s->unanswered = s->pings = 0;
    s->resent = 0;
    struct mqtt_connect c = { .version = (uint8_t)version_of(s), .clean_start = s->clean, .client_id = sl_str(id) };
    mqtt_props_init(&c.props);
    if (s->v5 && s->lasting)
        mqtt_props_set_number(&c.props, MQTT_PROP_SESSION_EXPIRY, s->expiry_s);
    if (s->v5)
        mqtt_props_set_number(&c.props, MQTT_PROP_RECEIVE_MAXIMUM, s->receive_maximum);
    else
        s->receive_maximum = UINT16_MAX;
    world_trace(w, "subscriber %u connects: v%u clean %d lasting %d expiry %u", s->number, version_of(s), s->clean, s->lasting, s->expiry_s);
    s->client = hub_client_open(w->hub, &w->mqtt, "subscriber", &s->peer);
    subscriber_must(s, mqtt_encode_connect(&out, &c));
    subscriber_send(s, &out);
}

/* What it asked for without an answer may stand or not. */
static void left(struct subscriber *s)
{
    struct world *w = s->w;
    bool surely_there = s->session_stored && w->now.wall_ms < s->sure_until;
    if (!s->greeted && !s->clean && !surely_there) {
        subscriber_forget(s); /* it never got the CONNACK that may have said so */
        s->forgotten = true;
    }
    s->greeted = false;
    world_trace(w, "subscriber %u left", s->number);
    sl_buf_fini(&s->rx);
    memset(s->asked, 0, sizeof s->asked);
    for (uint32_t f = 0; f < SIM_FILTERS; f++) {
        s->subs[f].sure = s->subs[f].sure && s->subs[f].asked == 0;
        s->subs[f].asked = 0;
    }
    if (s->confirmed)
        s->sure_until = s->expiry_s == UINT32_MAX ? UINT64_MAX : w->now.wall_ms + (uint64_t)s->expiry_s * 1000;
    if (!s->lasting)
        subscriber_forget(s);
}

void subscriber_lost(struct subscriber *s)
{
    struct hub_client *c = s->client;
    s->client = NULL;
    left(s);
    hub_client_closed(c);
}

void subscriber_gone(struct subscriber *s)
{
    if (s->client != NULL)
        subscriber_lost(s);
    if (s->ghost != NULL)
        hub_client_closed(s->ghost);
    s->ghost = NULL;
}

static void come_back_early(struct subscriber *s)
{
    s->ghost = s->client;
    s->client = NULL;
    s->w->counts[SIM_TAKEOVERS]++;
    left(s);
    connect_subscriber(s);
}

/* An expiry of 0 ends the session with the connection; until that is known to
 * be stored, a clean start has to say so again. */
static void say_goodbye(struct subscriber *s)
{
    struct world *w = s->w;
    struct sl_buf out = { 0 };
    struct mqtt_word bye = { 0 };
    mqtt_props_init(&bye.props);
    bool ends = s->v5 && s->lasting && chance(w, 30);
    if (ends)
        mqtt_props_set_number(&bye.props, MQTT_PROP_SESSION_EXPIRY, 0);
    subscriber_must(s, mqtt_encode_disconnect(&out, version_of(s), &bye));
    if (ends) {
        s->lasting = s->confirmed = false;
        s->forgotten = true;
    }
    subscriber_send(s, &out);
    if (s->client != NULL)
        subscriber_lost(s);
}

/* ---- subscribing ---- */

static struct asked *free_ask(struct subscriber *s)
{
    for (uint32_t i = 0; i < SIM_ASKED; i++) {
        if (s->asked[i].packet_id == 0)
            return &s->asked[i];
    }
    return NULL;
}

static bool add_filter(struct subscriber *s, struct asked *a, uint32_t f)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->filters[i] == f)
            return false;
    }
    if ((s->may & 1u << f) == 0)
        return false;
    a->filters[a->n] = (uint8_t)f;
    a->qos[a->n++] = (uint8_t)(f >= SIM_GROUPED ? 1 + pick(s->w, 2) : pick(s->w, 3)); /* one that is shared loses nothing */
    return true;
}

static void change(struct subscriber *s, const struct asked *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        struct subscription_of *sub = &s->subs[a->filters[i]];
        laws_on_change(s->w, s, a->filters[i]);
        sub->sure = false;
        sub->since = sub->since || !a->unsubscribe;
        sub->asked++;
    }
}

static void send_ask(struct subscriber *s, const struct asked *a)
{
    struct sl_buf out = { 0 };
    struct mqtt_filter list[SIM_ASK_MAX] = { 0 };
    for (uint32_t i = 0; i < a->n; i++)
        world_trace(s->w, "subscriber %u %s %s QoS %u (%u)", s->number, a->unsubscribe ? "unsubscribes" : "subscribes", subscriber_filters[a->filters[i]], a->qos[i], a->packet_id);
    for (uint32_t i = 0; i < a->n; i++)
        list[i] = (struct mqtt_filter){
            .filter = sl_str(subscriber_filters[a->filters[i]]),
            .qos = a->unsubscribe ? 0 : a->qos[i],
            .retain_handling = (uint8_t)(s->v5 ? a->filters[0] % 3 : 0),
        };
    struct mqtt_filters p = { .packet_id = a->packet_id, .list = list, .n = a->n };
    uint32_t id = a->filters[0] + 1u;
    mqtt_props_init(&p.props);
    if (s->v5 && !a->unsubscribe)
        mqtt_props_set_subscription_ids(&p.props, &id, 1);
    if (a->unsubscribe)
        subscriber_must(s, mqtt_encode_unsubscribe(&out, version_of(s), &p));
    else
        subscriber_must(s, mqtt_encode_subscribe(&out, version_of(s), &p));
    subscriber_send(s, &out);
}

/* Shared ones are asked for alone, so that their identifier tells of them. */
static void subscribe(struct subscriber *s)
{
    struct world *w = s->w;
    struct asked *a = free_ask(s);
    if (a == NULL || !hub_client_reading(s->client))
        return;
    *a = (struct asked){ .unsubscribe = chance(w, 20) };
    for (uint32_t n = 1 + pick(w, SIM_ASK_MAX); n > 0; n--) {
        uint32_t f = pick(w, SIM_FILTERS);
        bool alone = f >= SIM_GROUPED || (a->n > 0 && a->filters[0] >= SIM_GROUPED);
        if (!alone || a->n == 0)
            (void)add_filter(s, a, f);
    }
    if (a->n == 0)
        return;
    a->packet_id = ++s->next_packet_id;
    struct asked own = *a; /* what is sent may end the connection */
    change(s, &own);
    send_ask(s, &own);
}

/* ---- steps ---- */

/* Whatever waits for the disk or for room, this is answered at once. */
static void ping(struct subscriber *s)
{
    struct sl_buf out = { 0 };
    if (s->slow || !hub_client_reading(s->client))
        return;
    s->pings++;
    subscriber_must(s, mqtt_encode_ping(&out, MQTT_PINGREQ));
    subscriber_send(s, &out);
}

void subscriber_step(struct subscriber *s)
{
    struct world *w = s->w;
    if (s->client == NULL) {
        if (chance(w, 40))
            connect_subscriber(s);
        return;
    }
    if (!s->greeted)
        return;
    uint32_t r = pick(w, 100);
    if (r < 3) {
        subscriber_lost(s);
    } else if (r < 5) {
        say_goodbye(s);
    } else if (r < 8 && s->ghost == NULL) {
        come_back_early(s);
    } else if (r < 14) {
        s->slow = !s->slow;
        if (!s->slow)
            subscriber_read(&s->peer, s->client);
    } else if (r < 34) {
        subscribe(s);
    } else if (r < 38) {
        ping(s);
    } else if (!s->lazy) {
        subscriber_answer(s, 1 + pick(w, 6));
    }
}

void subscriber_finish(struct subscriber *s)
{
    s->slow = s->lazy = false;
    if (s->ghost != NULL)
        hub_client_closed(s->ghost);
    s->ghost = NULL;
    if (s->client == NULL && (s->persistent || s->w->step % 8 == 0))
        connect_subscriber(s);
    if (s->client != NULL)
        subscriber_read(&s->peer, s->client);
    if (s->client != NULL && s->greeted)
        subscriber_answer(s, UINT32_MAX);
}

void subscribers_probe(struct world *w)
{
    struct subscriber *s = &w->subscribers[0];
    if (s->client != NULL)
        subscriber_lost(s);
    s->persistent = s->lasting = false;
    s->v5 = true;
    s->may = ORDINARY;
    memset(s->retained, 0xFF, sizeof s->retained);
    connect_subscriber(s);
}

void subscribers_probe_all(struct world *w)
{
    struct subscriber *s = &w->subscribers[0];
    if (!s->greeted)
        world_fail(w, "%s", "a new client is not greeted");
    struct asked a = { .packet_id = 1, .n = 1, .filters = { 0 }, .qos = { 2 } }; /* with retain handling 0 */
    s->asked[0] = a;
    change(s, &a);
    send_ask(s, &a);
}
