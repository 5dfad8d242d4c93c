/* A queue that is full and blocks costs nobody else an answer; and whoever asks whether
 * the gateway is ready is told the truth. */
#include "sim.h"

#define PROBE_TURNS   40u
#define PROBE_TURN_US 5000u
#define SHOWN_MS      1000u /* a reason is shown at least so long */

/* A client of its own that sends one message and waits. */
struct probe {
    struct peer peer;
    bool answered;
};

static void probe_read(struct peer *peer, struct hub_client *c)
{
    struct probe *p = SL_CONTAINER(peer, struct probe, peer);
    struct sl_buf *out = hub_client_output(c);
    struct sl_bytes v = sl_buf_view(out);
    static const char receipt[] = "RECEIPT\n";
    for (size_t i = 0; i + sizeof receipt <= v.n; i++)
        p->answered = p->answered || memcmp(v.p + i, receipt, sizeof receipt - 1) == 0;
    sl_buf_consume(out, sl_buf_len(out));
}

static uint32_t find_queue(const struct world *w, enum queue_admission a)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        bool blocks = a == QUEUE_ADMIT || w->queues[q].overflow == QUEUE_BLOCK;
        if (blocks && queue_admits(hub_queue(w->hub, q), 1, 2048) == a)
            return q;
    }
    return SIM_QUEUES;
}

static bool disk_is_well(const struct world *w)
{
    return !w->disk.full && !w->disk.broken && hub_health(w->hub) == HUB_OK;
}

static void probe_send(struct world *w, struct hub_client *c, uint32_t queue)
{
    struct text t = { "CONNECT\naccept-version:1.2\nhost:sim\n\n", 0 };
    uint32_t uid = uid_new(w, (uint8_t)(SIM_TOPICS + queue), 1);
    t.n = strlen(t.text) + 1;
    text_put(&t, "SEND\nreceipt:probe\n");
    text_put_uid(&t, w, uid);
    text_put_payload(w, &t, uid);
    world_trace(w, "u%08u is a probe of q%u", uid, queue);
    hub_client_feed(c, sl_bytes_of((const uint8_t *)t.text, t.n));
}

/* Somebody else's queue is full: the answer for this one comes as soon as the disk has it. */
void overload_probe(struct world *w)
{
    uint32_t full = find_queue(w, QUEUE_WAIT), other = find_queue(w, QUEUE_ADMIT);
    if (w->tight || w->draining || !disk_is_well(w) || full == SIM_QUEUES || other == SIM_QUEUES)
        return;
    struct probe p = { .peer = { probe_read } };
    struct hub_client *c = hub_client_open(w->hub, &w->stomp, "probe", &p.peer);
    probe_send(w, c, other);
    turn(w);
    bool well = true;
    for (uint32_t i = 0; i < PROBE_TURNS && !p.answered && well; i++) {
        world_idle_turn(w, PROBE_TURN_US);
        well = disk_is_well(w);
    }
    if (!p.answered && well)
        world_fail(w, "queue q%u has room, and who sends there is not answered: q%u is full", other, full);
    world_begin(w);
    hub_client_closed(c);
    w->counts[SIM_PROBES]++;
}

void overload_after_step(const struct world *w)
{
    struct hub_readiness r;
    hub_readiness(w->hub, &r);
    const bool holds[HUB_NOT_READY_COUNT] = {
        [HUB_NOT_READY_DRAINING] = w->draining,
        [HUB_NOT_READY_BROKEN] = hub_health(w->hub) == HUB_BROKEN,
        [HUB_NOT_READY_NO_SPACE] = hub_health(w->hub) == HUB_NO_SPACE,
    };
    for (uint32_t i = HUB_NOT_READY_DRAINING; i <= HUB_NOT_READY_NO_SPACE; i++) {
        bool told = (r.reasons & 1u << i) != 0;
        if (holds[i] && !told)
            world_fail(w, "the gateway says that it is ready, and is not: %s", hub_not_ready_name((enum hub_not_ready)i));
        if (told && !holds[i] && w->now.mono_ms > r.of[i].since_ms + SHOWN_MS)
            world_fail(w, "the gateway says that it is not ready, and is: %s", hub_not_ready_name((enum hub_not_ready)i));
    }
}
