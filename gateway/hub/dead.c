/* Work on dead letters: lists, drops, redrives, and what is left for the queue that a
 * queue forwards to. Each walks the dead letters from the oldest on, with a cursor of its
 * own, a bounded part in each turn.
 *
 *   looks ──▶ passes by (other cause, age, topic; hop limit) ──▶ next
 *     │ fits
 *     ├─ body is in the store ──▶ asks for it and for those that follow ──▶ looks again
 *     ├─ no room, no time (rate), no space ──▶ waits
 *     └─ shown, dropped, moved ──▶ next; a portion for each batch, so that no batch grows
 *                                  without end while the disk is slow
 *
 * Nothing of this is stored: a restart ends lists, drops and redrives where they are, and
 * forwarding begins anew with the oldest. */
#include "dead.h"

#include "route/route.h"

#define WORKS_MAX  16u
#define PAGE_MAX   1000u
#define LOOKS      4096u /* in one turn of one work */
#define PORTION    1024u /* letters that leave with one batch */
#define BURST_NS   UINT64_C(100000000)

/* ---- one letter ---- */

static void pass(struct hub *h, struct dead_work *w)
{
    queue_dead_pass(dead_queue(h, w), &w->cursor);
    w->progress.left -= w->progress.left > 0;
}

/* It has left, and the cursor with it. */
static void count_moved(struct dead_work *w)
{
    w->progress.moved++;
    w->progress.left -= w->progress.left > 0;
}

static void left_alone(struct hub *h, const struct dead_work *w, uint64_t id, const char *why)
{
    sl_log(SL_WARN, "dead_letter_stays", "queue=%s id=%016llx reason=%s", h->queues[w->queue].cfg->name, (unsigned long long)id, why);
}

static void show(struct hub *h, struct dead_work *w, const struct queue_change *c, struct message *m)
{
    struct dead_pages *p = &w->page;
    bool with_body = p->ask.bodies && m != NULL;
    p->letters[p->n++] = (struct hub_dead_letter){
        .place = { c->due_steady_ms, c->id, c->entry },
        .age_ms = dead_age_ms(h, c),
        .cause = c->cause,
        .attempts = c->attempts,
        .bytes = c->bytes,
        .msg = with_body ? message_ref(m) : NULL,
    };
    uint64_t bytes = with_body ? message_bytes(m) : 0;
    p->bytes += bytes;
    h->dead.bytes += bytes;
    pass(h, w);
    if (p->n == p->ask.limit || p->bytes >= DEAD_AHEAD_BYTES)
        w->mood = MOOD_END;
}

static void drop(struct hub *h, struct dead_work *w, const struct queue_change *c)
{
    struct queue_change gone;
    int err = queue_dead_leave(dead_queue(h, w), c->entry, c->id, QUEUE_EXIT_DEAD_REMOVED, &gone);
    SL_ASSERT(err == SL_OK);
    record_change(h, w->queue, &gone, NULL);
    count_moved(w);
}

/* As much as 100 ms of it may go at once. */
static bool rate_allows(const struct hub *h, struct dead_work *w)
{
    uint64_t now_ns = h->now.mono_us * 1000;
    if (w->cost_ns == 0)
        return true;
    if (w->due_ns + BURST_NS < now_ns)
        w->due_ns = now_ns - BURST_NS;
    return w->due_ns <= now_ns;
}

static void move_letter(struct hub *h, struct dead_work *w, const struct queue_change *c, const struct message *m)
{
    if (message_hops(m) >= HUB_HOPS_MAX) {
        queue_counters(dead_queue(h, w))->hop_limit++;
        w->progress.hop_limit++;
        left_alone(h, w, c->id, "hop_limit");
        pass(h, w);
    } else if (never_takes(h, w->to, c->bytes)) {
        w->progress.too_large++;
        left_alone(h, w, c->id, "too_large");
        pass(h, w);
    } else if (!rate_allows(h, w)) {
        w->mood = MOOD_TIME;
    } else if (!takes_dead(h, w->to, c->bytes)) {
        w->mood = MOOD_ROOM;
    } else {
        move_on(h, w->queue, w->to, c, m, w->kind == KIND_FORWARD);
        w->due_ns += w->cost_ns;
        count_moved(w);
    }
}

static void act(struct hub *h, struct dead_work *w, const struct queue_change *c, struct message *m)
{
    if (w->kind == KIND_LIST)
        show(h, w, c, m);
    else if (w->kind == KIND_DROP)
        drop(h, w, c);
    else
        move_letter(h, w, c, m);
    bool only_one = w->match.id != 0 && w->mood == MOOD_GOES_ON;
    if (only_one || (w->max > 0 && w->progress.moved == w->max))
        w->mood = MOOD_END;
}

static void unreadable(struct hub *h, struct dead_work *w, const struct queue_change *c)
{
    sl_log(SL_ERROR, "body_missing", "queue=%s id=%016llx error=%s", h->queues[w->queue].cfg->name, (unsigned long long)c->id, sl_err_name(w->got->err));
    w->progress.unreadable++;
    if (w->kind == KIND_LIST && sl_buf_len(&w->match.topic) == 0)
        act(h, w, c, NULL);
    else
        pass(h, w);
}

static void look_inside(struct hub *h, struct dead_work *w, const struct queue_change *c)
{
    struct message *m = c->msg;
    if (m == NULL && !dead_body(w, c->id, &m))
        dead_ask_bodies(h, w);
    else if (m == NULL)
        unreadable(h, w, c);
    else if (sl_buf_len(&w->match.topic) > 0 && !subscription_takes(sl_buf_view(&w->match.topic), message_topic(m)))
        pass(h, w);
    else
        act(h, w, c, m);
}

static bool needs_body(const struct dead_work *w)
{
    return dead_moves(w) || sl_buf_len(&w->match.topic) > 0 || (w->kind == KIND_LIST && w->page.ask.bodies);
}

/* ---- a turn of one work ---- */

/* A disk without space is no reason to keep what is to be dropped: that makes room. */
static bool makes_room(const struct hub *h, const struct dead_work *w)
{
    return w->kind == KIND_DROP && h->commit.health == HUB_NO_SPACE;
}

/* What it recorded last, in a queue that is not durable, is nowhere. While there is no
 * space the open batch stays open, and what settles goes from it. */
static bool portion_stored(const struct hub *h, const struct dead_work *w)
{
    bool gone = makes_room(h, w) && h->commit.open->live < PORTION;
    return gone || w->portion_in == 0 || hub_batch_stored(h, w->portion_in);
}

static bool may_change(const struct hub *h, const struct dead_work *w)
{
    return (h->commit.health == HUB_OK || makes_room(h, w)) && !h->draining;
}

static void walk(struct hub *h, struct dead_work *w)
{
    struct queue_change c;
    uint64_t begin = w->progress.moved;
    uint32_t looks = LOOKS;
    while (w->mood == MOOD_GOES_ON && looks-- > 0 && w->progress.moved - begin < PORTION) {
        if (!queue_dead_look(dead_queue(h, w), &w->cursor, &c))
            w->mood = MOOD_END;
        else if (!dead_fits(w, &c))
            pass(h, w);
        else if (needs_body(w))
            look_inside(h, w, &c);
        else
            act(h, w, &c, c.msg);
    }
}

/* In the place where its page was told to go on. */
static void begin(struct hub *h, struct dead_work *w)
{
    struct queue_depth d;
    struct queue *q = dead_queue(h, w);
    const struct hub_dead_place *from = &w->page.ask.from;
    queue_depth(q, &d);
    w->progress.left = d.count[QUEUE_DEAD];
    w->begun = true;
    queue_dead_begin(q, &w->cursor, w->kind == KIND_FORWARD);
    if (w->kind != KIND_LIST || from->id == 0)
        return;
    if (queue_dead_seek(q, &w->cursor, from->entry, from->id))
        queue_dead_pass(q, &w->cursor);
    else if (w->match.died_from_ms < from->died_ms)
        w->match.died_from_ms = from->died_ms; /* it has left: those of its time come again */
}

/* Forwarding never ends: it waits for the next that dies. */
static bool has_ended(const struct dead_work *w)
{
    return w->mood == MOOD_END && w->kind != KIND_FORWARD;
}

static void at_end(struct hub *h, struct dead_work *w)
{
    const struct hub_dead_progress *p = &w->progress;
    const char *event = w->kind == KIND_DROP ? "dead_letters_removed" : "dead_letters_moved";
    dead_drop_bodies(h, w);
    if (w->kind != KIND_LIST && p->moved > w->told)
        sl_log(SL_INFO, event, "queue=%s to=%s n=%llu", h->queues[w->queue].cfg->name, w->kind == KIND_DROP ? "-" : h->queues[w->to].cfg->name,
               (unsigned long long)(p->moved - w->told));
    w->told = p->moved;
}

static void work_turn(struct hub *h, struct dead_work *w)
{
    if (!w->begun)
        begin(h, w);
    if (has_ended(w))
        return;
    w->mood = MOOD_GOES_ON;
    if (w->kind != KIND_LIST && !may_change(h, w))
        w->mood = MOOD_ROOM;
    else if (!portion_stored(h, w))
        w->mood = MOOD_BATCH;
    uint32_t recorded = h->commit.open->n;
    uint64_t before = w->progress.moved;
    walk(h, w);
    if (w->progress.moved > before)
        w->portion_in = h->commit.open->n > recorded ? h->commit.open->seq : 0;
    if (w->mood == MOOD_END)
        at_end(h, w);
}

/* ---- the end of one ---- */

static void page_free(struct hub *h, struct dead_pages *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->letters[i].msg != NULL)
            message_unref((struct message *)(uintptr_t)p->letters[i].msg);
    }
    h->dead.bytes -= p->bytes;
    sl_free(p->letters);
}

static void take_out(struct hub *h, const struct dead_work *w)
{
    struct dead_work **at = &h->dead.first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    h->dead.n -= w->kind != KIND_FORWARD;
}

/* It stands in no list any more. */
static void dispose(struct hub *h, struct dead_work *w)
{
    if (w->begun)
        queue_dead_end(dead_queue(h, w), &w->cursor);
    dead_drop_bodies(h, w);
    page_free(h, &w->page);
    sl_buf_fini(&w->match.topic);
    sl_free(w);
}

static void work_free(struct hub *h, struct dead_work *w)
{
    take_out(h, w);
    dispose(h, w);
}

/* Whoever is told may ask for more, and stop others. */
static void page_done(struct hub *h, struct dead_work *w)
{
    take_out(h, w);
    const struct dead_pages *p = &w->page;
    struct hub_dead_page page = { .letters = p->letters, .n = p->n, .more = w->cursor.at != 0, .next = p->ask.from };
    if (p->n > 0)
        page.next = p->letters[p->n - 1].place;
    p->ask.done(p->ask.arg, &page);
    dispose(h, w);
}

static struct dead_work *first_page(const struct hub *h)
{
    struct dead_work *w = h->dead.first;
    while (w != NULL && !(w->kind == KIND_LIST && w->mood == MOOD_END))
        w = w->next;
    return w;
}

void dead_turn(struct hub *h)
{
    struct dead_work *w;
    for (w = h->dead.first; SL_UNLIKELY(w != NULL); w = w->next)
        work_turn(h, w);
    while (SL_UNLIKELY((w = first_page(h)) != NULL))
        page_done(h, w);
}

/* ---- when the next turn is wanted ---- */

static bool is_wanted_now(const struct hub *h, const struct dead_work *w)
{
    struct queue_change c;
    if (!w->begun || w->mood == MOOD_GOES_ON)
        return true;
    if (w->kind != KIND_LIST && !may_change(h, w))
        return false;
    if (w->mood == MOOD_BATCH)
        return portion_stored(h, w);
    if (w->mood == MOOD_BODIES)
        return !h->queues[w->queue].fetching;
    bool there = queue_dead_look(dead_queue(h, w), &w->cursor, &c);
    if (w->mood == MOOD_ROOM)
        return !there || !dead_moves(w) || takes_dead(h, w->to, c.bytes);
    return w->mood == MOOD_END && w->kind == KIND_FORWARD && there;
}

uint64_t dead_deadline_us(const struct hub *h)
{
    uint64_t us = UINT64_MAX;
    for (const struct dead_work *w = h->dead.first; w != NULL; w = w->next) {
        uint64_t due_us = w->mood == MOOD_TIME && may_change(h, w) ? (w->due_ns + 999) / 1000 : UINT64_MAX;
        if (is_wanted_now(h, w))
            due_us = h->now.mono_us;
        us = due_us < us ? due_us : us;
    }
    return us;
}

/* ---- what is asked for ---- */

static struct dead_work *work_new(struct hub *h, enum dead_kind kind, uint32_t queue)
{
    SL_ASSERT(queue < h->n_queues);
    struct dead_work *w = SL_NEW(struct dead_work);
    w->handle = ++h->dead.last_handle;
    w->kind = kind;
    w->queue = w->to = queue;
    w->match.upto_id = w->match.died_to_ms = UINT64_MAX;
    w->next = h->dead.first;
    h->dead.first = w;
    h->dead.n += kind != KIND_FORWARD;
    return w;
}

/* One that has ended and was not forgotten yet makes room. */
static bool too_many(struct hub *h)
{
    struct dead_work *oldest = NULL;
    for (struct dead_work *w = h->dead.first; w != NULL; w = w->next) {
        if (has_ended(w))
            oldest = w;
    }
    if (h->dead.n >= WORKS_MAX && oldest != NULL)
        work_free(h, oldest);
    return h->dead.n >= WORKS_MAX;
}

static void match_set(const struct hub *h, struct dead_match *m, const struct hub_dead_filter *f)
{
    uint64_t now_ms = h->now.steady_ms;
    m->id = f->id;
    m->causes = f->causes;
    m->upto_id = h->next_id;
    if (f->older_than_ms > 0)
        m->died_to_ms = f->older_than_ms < now_ms ? now_ms - f->older_than_ms : 0;
    if (f->younger_than_ms > 0 && f->younger_than_ms < now_ms)
        m->died_from_ms = now_ms - f->younger_than_ms;
    int err = sl_buf_append_bytes(&m->topic, f->topic);
    SL_ASSERT(err == SL_OK);
}

static int work_begin(struct hub *h, enum dead_kind kind, uint32_t queue, const struct hub_dead_filter *f, struct dead_work **out)
{
    if (f->topic.n > 0 && !route_filter_valid(f->topic))
        return SL_EINVAL;
    if (too_many(h))
        return SL_EFULL;
    *out = work_new(h, kind, queue);
    match_set(h, &(*out)->match, f);
    return SL_OK;
}

int hub_dead_list(struct hub *h, uint32_t queue, const struct hub_dead_ask *ask, uint64_t *handle)
{
    struct dead_work *w;
    if (ask->limit == 0 || ask->limit > PAGE_MAX)
        return SL_EINVAL;
    int err = work_begin(h, KIND_LIST, queue, &ask->filter, &w);
    if (err != SL_OK)
        return err;
    w->page.ask = *ask;
    w->page.letters = sl_calloc(ask->limit, sizeof *w->page.letters);
    *handle = w->handle;
    return SL_OK;
}

int hub_dead_redrive(struct hub *h, uint32_t queue, const struct hub_dead_redrive *r, uint64_t *handle)
{
    struct dead_work *w;
    uint32_t to = r->to == HUB_SAME_QUEUE ? queue : r->to;
    if (to >= h->n_queues || h->queues[to].orphan)
        return SL_EINVAL;
    int err = work_begin(h, KIND_REDRIVE, queue, &r->filter, &w);
    if (err != SL_OK)
        return err;
    w->to = to;
    w->max = r->max;
    w->cost_ns = r->per_second == 0 ? 0 : DEAD_NS_PER_S / r->per_second;
    w->due_ns = h->now.mono_us * 1000;
    *handle = w->handle;
    return SL_OK;
}

int hub_dead_drop(struct hub *h, uint32_t queue, const struct hub_dead_filter *f, uint64_t *handle)
{
    struct dead_work *w;
    int err = work_begin(h, KIND_DROP, queue, f, &w);
    if (err == SL_OK)
        *handle = w->handle;
    return err;
}

void hub_forward_dead(struct hub *h, uint32_t from, uint32_t to)
{
    SL_ASSERT(from != to && to < h->n_queues && h->queues[from].deaths.forward_to == 0);
    work_new(h, KIND_FORWARD, from)->to = to;
    h->queues[from].deaths.forward_to = to + 1;
}

int hub_dead_progress(const struct hub *h, uint64_t handle, struct hub_dead_progress *out)
{
    const struct dead_work *w = dead_find(h, handle);
    if (w == NULL || (w->kind != KIND_REDRIVE && w->kind != KIND_DROP))
        return SL_ENOENT;
    *out = w->progress;
    out->done = w->mood == MOOD_END;
    return SL_OK;
}

void hub_dead_stop(struct hub *h, uint64_t handle)
{
    struct dead_work *w = dead_find(h, handle);
    if (w != NULL && w->kind != KIND_FORWARD)
        work_free(h, w);
}

/* ---- end, check ---- */

void dead_free(struct hub *h)
{
    while (h->dead.first != NULL)
        work_free(h, h->dead.first);
}

void dead_check(const struct hub *h)
{
    uint64_t bytes = 0;
    uint32_t n = 0;
    for (const struct dead_work *w = h->dead.first; w != NULL; w = w->next) {
        bytes += dead_bodies_bytes(w) + w->page.bytes;
        n += w->kind != KIND_FORWARD;
        SL_ASSERT(w->kind == KIND_FORWARD || n <= WORKS_MAX);
    }
    SL_ASSERT(bytes == h->dead.bytes && n == h->dead.n);
}
