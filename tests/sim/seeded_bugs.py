#!/usr/bin/env python3
"""Does the simulation find bugs? Each of these is put into a copy of the
sources, and the simulation must say so, by the law that is named here.

A bug whose text is no longer in the source fails as well: the list is kept
true. `seeded_bugs.py --only NAME` runs those whose name contains NAME."""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["gateway/core", "gateway/queue", "gateway/route", "gateway/hub", "protocols", "tests/sim"]
FLAGS = ["-std=c11", "-O1", "-w", "-D_GNU_SOURCE"]
SEEDS = 6000
WORKERS = 2

# name, file, old text, new text, what the simulation says (a regular expression)
BUGS = [
    ("answered before the commit", "gateway/hub/intake.c",
     "        m->ticket = ticket;\n        ((struct ticket *)sl_slab_at(&h->tickets, ticket))->pending++;",
     "        m->ticket = MESSAGE_NO_TICKET;",
     "is acknowledged, and in queue"),
    ("a refused batch is answered as stored", "gateway/hub/commit.c",
     "            body_resolved(h, op->msg, PROTO_REFUSED_STORE);",
     "            body_resolved(h, op->msg, PROTO_ACCEPTED);",
     "is acknowledged, and in queue"),
    ("a QoS 2 id is not recorded", "gateway/hub/intake.c",
     "    bool whole_batch = (exactly_once && record_qos2(h, c, o)) || o->echo;",
     "    bool whole_batch = o->echo;",
     "has two ids"),
    ("QoS 2 is leased before its commit", "gateway/hub/records.c",
     "queue, m, hold ? QUEUE_HOLD : 0);",
     "queue, m, 0);",
     "is leased before it is stored"),
    ("a QoS 2 duplicate is answered at once", "gateway/hub/intake.c",
     "(exactly_once && record_qos2(h, c, o)) || o->echo;",
     "(exactly_once && record_qos2(h, c, o));",
     "is acknowledged, and in queue"),
    ("an id is used twice", "gateway/hub/intake.c",
     "        message_set_id(it->m, ++h->next_id, h->now.wall_ms);",
     "        message_set_id(it->m, h->next_id, h->now.wall_ms);\n        h->next_id += it->to->n > 1 || h->next_id % 16 == 0;",
     "the id .*|is written twice|held by two|Assert|assert"),
    ("ids begin anew at each boot", "gateway/hub/hub.c",
     "    h->next_id = cfg->boot << 40;",
     "    h->next_id = (uint64_t)1 << 40;",
     "the id "),
    ("a settle record is left out", "gateway/hub/records.c",
     "        struct batch_op *op = record(h, BATCH_SETTLE);\n",
     "        struct batch_op *op = record(h, c->id % 5 == 0 ? BATCH_NONE : BATCH_SETTLE);\n",
     "and the disk|is dropped although"),
    ("a body is never dropped", "gateway/hub/records.c",
     "        record(h, BATCH_BODY_DROP)->id = id;",
     "        if (id % 5 != 0)\n            record(h, BATCH_BODY_DROP)->id = id;",
     "stays on the disk and nobody needs it"),
    ("a body is dropped while another queue needs it", "gateway/hub/records.c",
     "    if (left > 0)\n        return;\n    if (ours == NULL) {",
     "    if (left > 0 && ours != NULL)\n        return;\n    if (ours == NULL) {",
     "is dropped although queue"),
    ("what was restored is not counted by message", "gateway/hub/restore.c",
     "    h->restored_id = r->id;\n    if (h->restored_count > 1)",
     "    h->restored_id = r->id;\n    if (h->restored_count > 2)",
     "is dropped although queue"),
    ("an entry is cancelled though it was handed over", "gateway/hub/commit.c",
     "    if (c->stuck != NULL && m->body_batch == c->stuck->seq)",
     "    if (c->inflight != NULL && m->body_batch == c->inflight->seq)\n        return c->inflight;\n    if (c->stuck != NULL && m->body_batch == c->stuck->seq)",
     "was changed while the disk had it|is dropped although"),
    ("what left the open batch early still names it", "gateway/hub/commit.c",
     "            due->ops[i].msg->body_batch = due->seq;\n",
     "",
     "ssert|was changed while|neither stored nor worked|in the store twice|on the disk"),
    ("a body is cancelled while another queue's entry stays", "gateway/hub/records.c",
     "    if (left > 0)\n        return;\n    if (ours == NULL) {",
     "    if (left > 0 && ours == NULL)\n        return;\n    if (ours == NULL) {",
     "has no body on the disk|not on the disk|messages and the disk|ssert"),
    ("a started message is not charged", "gateway/queue/consumers.c",
     "    return !loss->timeout || l->limit_ms <= now->mono_ms;",
     "    return !loss->timeout ? l->prev != 0 : l->limit_ms <= now->mono_ms;",
     "charged were"),
    ("a waiting message is charged", "gateway/queue/consumers.c",
     "    if (!l->started || loss->charge_none)",
     "    if (loss->charge_none)",
     "charged were|has attempt"),
    ("an orderly end is charged", "gateway/queue/consumers.c",
     "    if (!l->started || loss->charge_none)",
     "    if (!l->started)",
     "charged were|has attempt|is acknowledged"),
    ("credit is not returned", "gateway/queue/consumers.c",
     "    c->solo = false;\n",
     "",
     "although all workers are well|queue/check.c"),
    ("a consumer starts too many", "gateway/queue/consumers.c",
     "    if (c->started < c->cfg.concurrency)\n        lease_start(q, c, l, now);",
     "    if (c->started <= c->cfg.concurrency)\n        lease_start(q, c, l, now);",
     "charged were|has attempt|queue/check.c"),
    ("the last attempt is not alone", "gateway/queue/places.c",
     "    bool alone = e->attempts > 0 && entry_is_last_attempt(q, e);",
     "    bool alone = e->attempts > 1 && entry_is_last_attempt(q, e);",
     "the last attempt of|queue/check.c"),
    ("others join the last attempt", "gateway/queue/dispatch.c",
     "    c->solo = e->attempts > 0 && out->last;",
     "    c->solo = false;",
     "joins a last attempt"),
    ("another's answer is taken", "gateway/hub/consumers.c",
     "    if (queue_lease_holder(q, lease) == hc->slot)",
     "    if (queue_lease_holder(q, lease) != 0)",
     "stale or foreign answer"),
    ("a stale answer is taken", "gateway/hub/consumers.c",
     "    if (q == NULL || queue_answer(q, a->lease, &a->verb, &h->now, &change) != SL_OK)\n        return SL_ESTATE;",
     "    if (q == NULL || queue_answer(q, a->lease, &a->verb, &h->now, &change) != SL_OK)\n        return SL_OK;",
     "stale or foreign answer"),
    ("a parked message is forgotten", "gateway/hub/park.c",
     "    offer_enter(h, c, &p->offer);\n    sl_free(p);",
     "    if (park->n % 4 == 1)\n        offer_drop(&p->offer);\n    else\n        offer_enter(h, c, &p->offer);\n    sl_free(p);",
     "still waits for|is acknowledged"),
    ("nobody wakes the parked", "gateway/hub/records.c",
     "    if (c->msg != NULL)\n        message_unref(c->msg);\n    h->room_made = true;",
     "    if (c->msg != NULL)\n        message_unref(c->msg);",
     "still waits for|waits for 64 receipts"),
    ("what is settled while its batch comes back refused is stored all the same", "gateway/hub/stuck.c",
     "        cancel_ops(h, stuck, kind_ended_by(op), op);\n",
     "        (void)cancel_ops, (void)kind_ended_by;\n",
     "and the disk|is dropped although|on the disk"),
    ("what settles is forgotten when even that does not fit", "gateway/hub/stuck.c",
     "    c->settles = b; /*",
     "    batch_recycle(h, b); return; /*",
     "and the disk|has no body|is dropped although|charged were"),
    ("an evicted body is not fetched again", "gateway/hub/dispatch.c",
     "    hq->fetching = false;\n",
     "    hq->fetching = f->n > 3;\n",
     "although all workers are well"),
    ("attempts are not recorded", "gateway/hub/records.c",
     "    op->attempts = c->attempts;",
     "    op->attempts = 0;",
     "charged were"),
    ("a retry's wait is not recorded", "gateway/hub/records.c",
     "    op->due_ms = c->due_steady_ms;",
     "    op->due_ms = 0;",
     "before its retry is due"),
    ("a retry does not wait", "gateway/queue/answers.c",
     "    uint64_t wait_ms = f->has_delay ? f->delay_ms : backoff_ms(q, e->attempts);",
     "    uint64_t wait_ms = f->has_delay ? f->delay_ms : 0;",
     "before its retry is due"),
    ("a broken store goes on leasing", "gateway/hub/dispatch.c",
     "    if (!h->draining && h->commit.health != HUB_BROKEN)",
     "    if (!h->draining)",
     "although the store is broken"),
    ("a draining gateway goes on leasing", "gateway/hub/dispatch.c",
     "    if (!h->draining && h->commit.health != HUB_BROKEN)",
     "    if (h->commit.health != HUB_BROKEN)",
     "although the gateway drains"),
    ("a draining gateway goes on taking", "gateway/hub/intake.c",
     "    return stops ? QUEUE_WAIT : offer_admission(h, o);",
     "    return offer_admission(h, o);",
     "although the gateway drains"),
    ("fan-out enters where there is no room", "gateway/hub/intake.c",
     "    for (uint32_t k = 0; k < o->one.to->n; k++)\n        a = worse(",
     "    for (uint32_t k = 0; k < 1; k++)\n        a = worse(",
     "of .* messages|of .* bytes"),
    ("fan-out leaves one queue out", "gateway/hub/records.c",
     "        if (!h->queues[queue].cfg->durable)\n            continue;",
     "        if (!h->queues[queue].cfg->durable || (i > 1 && message_id(m) % 7 == 0))\n            continue;",
     "is acknowledged, and in queue"),
    ("a transaction is counted message by message", "gateway/hub/intake.c",
     "            h->scratch_count[q]++;",
     "            h->scratch_count[q] = 1;",
     "of .* messages|ssert"),
    ("a clean start keeps the old QoS 2 ids", "gateway/hub/connect.c",
     "    if (s != NULL && (p->clean_start || !s->persistent)) {",
     "    if (s != NULL && !s->persistent) {",
     "asked for a clean start"),
    ("a clean start keeps the old QoS 2 ids on the disk", "gateway/hub/connect.c",
     "    if (s->persistent)\n        record(h, BATCH_SESSION_DROP)->id = s->number;\n    sessions_remove",
     "    sessions_remove",
     "cannot be restored|has two ids|neither stored"),
    ("a reconnected session still ends", "gateway/hub/connect.c",
     " || s->ends_wall_ms != UINT64_MAX;",
     ";",
     "the session of (device|subscriber)"),
    ("a session's new expiry is not recorded", "gateway/hub/connect.c",
     "        if (c->session->persistent)\n            record_session(c->h, c->session);\n",
     "",
     "the session of device"),
    ("the older connection stays", "gateway/hub/connect.c",
     "    hub_client_bye(old, PROTO_BYE_TAKEOVER);",
     "    (void)old;",
     "two connections with one identity"),
    ("a goodbye publishes the will", "gateway/hub/connect.c",
     "    if (!d->publish_will && c->session != NULL)\n        will_forget(c->h, c->session);",
     "",
     "was taken back and"),
    ("a lost connection forgets its will", "gateway/hub/connect.c",
     "    will_left(h, s);\n",
     "    will_forget(h, s);\n",
     "is neither published nor counted"),
    ("an expired message is leased", "gateway/queue/dispatch.c",
     "    if (at_ms != 0 && at_ms <= (relative ? now->steady_ms : now->wall_ms))",
     "    if (at_ms != 0 && relative && at_ms <= now->steady_ms)",
     "after it has expired"),
    ("a message expires too early", "gateway/hub/publish.c",
     "        parts.expires_at = h->now.steady_ms + p->expiry_ms;",
     "        parts.expires_at = h->now.steady_ms + p->expiry_ms / 2;",
     "neither stored nor worked|is lost"),
    ("a delay is not kept over a restart", "gateway/hub/records.c",
     "    op->due_ms = message_deliver_at(m);",
     "    op->due_ms = 0;",
     "before its delay is over"),
    ("the dead are not bounded", "gateway/hub/dispatch.c",
     "    while (queue_trim_dead(hq->q, &change)) {",
     "    while (false && queue_trim_dead(hq->q, &change)) {",
     "dead letters"),
    ("an exit is not counted", "gateway/queue/places.c",
     "        q->counters.expired++;",
     "        q->counters.expired += 0;",
     "let .* go and has|queue/check.c"),
    ("QoS 2 goes out before its packet id is stored", "gateway/hub/deliver.c",
     "    e->held = s->persistent && e->qos == 2;",
     "    e->held = false;",
     "still has|again as|twice|left in state"),
    ("PUBREL goes out before PUBREC is stored", "gateway/hub/settle.c",
     "    e->held = s->persistent && e->recorded;",
     "    e->held = false;",
     "again after PUBREL|twice"),
    ("the receive maximum is not kept", "gateway/hub/deliver.c",
     "outbox_unanswered(s->outbox) >= c->receive_maximum || ",
     "",
     "unanswered deliveries of"),
    ("a copy that is sent at once is not recorded", "gateway/hub/deliver.c",
     "    if (s->persistent)\n        record_offer(h, s, e, body);\n    if (at_once)",
     "    if (s->persistent && !at_once)\n        record_offer(h, s, e, body);\n    if (at_once)",
     "neither come|has no body|nobody needs it|ssert"),
    ("QoS 0 overtakes QoS 0", "gateway/hub/deliver.c",
     "    if (!queued && may_go_out(",
     "    if (may_go_out(",
     "\\(QoS 0\\) after one that was sent later"),
    ("a message passed on stays as well", "gateway/hub/settle.c",
     "        if (e.qos == 0 || (shared && e.shared && pass_on(h, s, &e, true)))",
     "        if (e.qos == 0 || (shared && e.shared && pass_on(h, s, &e, true) && e.qos == 0))",
     "members of shared subscription"),
    ("one of many subscribers is left out", "gateway/hub/fanout.c",
     "    for (uint32_t i = 0; i < a->n; i++) {\n        const struct audience_member *v",
     "    for (uint32_t i = a->n > 3; i < a->n; i++) {\n        const struct audience_member *v",
     "neither come|has not come|are missing"),
    ("a delivery has more QoS than its publish", "gateway/hub/fanout.c",
     "        .qos = lower(message_qos(m), v->qos),",
     "        .qos = v->qos,",
     "comes to subscriber . with QoS"),
    ("what is away is forgotten", "gateway/hub/deliver.c",
     "    if ((connection_of(s) == NULL && !s->persistent) || !make_room(",
     "    if (connection_of(s) == NULL || !make_room(",
     "neither come|to no member|no member of shared"),
    ("sessions do not count as holders of a body", "gateway/hub/intake.c",
     "        holders += fan_out(h, m);",
     "        (void)fan_out(h, m);",
     "is dropped although a session|is not on the disk"),
    ("nobody waits for the clones of a message", "gateway/hub/intake.c",
     "        promised = h->deliveries.fanning.cloned || promised;\n",
     "",
     "to no member|neither come|no member of shared"),
    ("the end of a copy is not recorded", "gateway/hub/records.c",
     "        struct batch_op *op = record(h, BATCH_COPY_DROP);",
     "        struct batch_op *op = record(h, id % 5 == 0 ? BATCH_NONE : BATCH_COPY_DROP);",
     "although a session waits|which is not on the disk|stays on the disk"),
    ("a copy's packet id is not restored", "gateway/hub/restore.c",
     "session_restore(h, s, &it, c->packet_id, c->state == BATCH_COPY_RELEASED)",
     "session_restore(h, s, &it, c->state == BATCH_COPY_RELEASED ? c->packet_id : 0, c->state == BATCH_COPY_RELEASED)",
     "still has|again as|twice|left in state"),
    ("a released copy is restored as unreleased", "gateway/hub/restore.c",
     "c->packet_id, c->state == BATCH_COPY_RELEASED)",
     "c->packet_id, false)",
     "again after PUBREL|twice"),
    ("a restored body has too few holders", "gateway/hub/restore.c",
     "h->restored_count + 1 : c->entries + 1;",
     "h->restored_count + 1 : 1;",
     "is dropped although|needs it"),
    ("a subscription is not recorded", "gateway/hub/subscribe.c",
     "    if (s->persistent)\n        record_subscription(",
     "    if (s->persistent && number != 2)\n        record_subscription(",
     "neither come"),
    ("SUBACK does not wait for the disk", "gateway/hub/subscribe.c",
     "    if (c->session->persistent)\n        answer_with_batch(",
     "    if (c->session->persistent && token == 0)\n        answer_with_batch(",
     "is lost|neither come"),
    ("a clean start does not wait for the end of the old session", "gateway/hub/connect.c",
     "    out->wait = s == NULL && ends_are_awaited(h);",
     "    out->wait = false;",
     "not subscribed to|in a new session|asked for a clean start|never had|again|still has|is left|does not know"),
    ("a bare session hides the full one before it", "gateway/hub/connect.c",
     "    if (is_missed(h, s))\n        h->sessions_dropped = h->commit.open->seq;\n    retained",
     "    h->sessions_dropped = is_missed(h, s) ? h->commit.open->seq : 0;\n    retained",
     "not subscribed to|in a new session|never had|again|still has"),
    ("the retained message before stays on the disk", "gateway/hub/retained.c",
     "    if (old != NULL)\n        drop(h, old);\n    if (removes) {",
     "    if (old != NULL && removes)\n        drop(h, old);\n    if (removes) {",
     "has two retained messages"),
    ("the answer does not wait for the retained slot", "gateway/hub/intake.c",
     "    if (fits)\n        retained_keep(h, m);",
     "    if (fits) {\n        retained_keep(h, m);\n        return false;\n    }",
     "retained message of t/. is lost|a later one is acknowledged"),
    ("a clear is not recorded", "gateway/hub/retained.c",
     "    if (old != NULL)\n        drop(h, old);\n    if (removes) {",
     "    if (old != NULL && !removes)\n        drop(h, old);\n    if (removes) {",
     "a later one is acknowledged|a new subscriber gets"),
    ("a new subscriber does not get all that is retained", "gateway/hub/retained_feed.c",
     "        if (m != NULL)\n            send_one(h, s, f, m);\n    }\n    if (all != NULL && all->first",
     "        if (m != NULL && i != 2)\n            send_one(h, s, f, m);\n    }\n    if (all != NULL && all->first",
     "a new subscriber gets"),
    ("a will is published although its client came back in time", "gateway/hub/will.c",
     "    else\n        will_forget(h, s);\n}\n\nvoid will_end",
     "    else if (s->will != NULL)\n        will_publish(h, s);\n}\n\nvoid will_end",
     "was taken back and"),
    ("a delayed will is not published after a restart", "gateway/hub/will.c",
     "    w->stored = true;\n    sl_timer_set(",
     "    w->stored = true;\n    if (w->delay_s == 0)\n        sl_timer_set(",
     "has not come to|to no member|are missing"),
    ("a will is not stored", "gateway/hub/will.c",
     "    if (c->session->persistent)\n        record_will(c->h, w);\n",
     "",
     "has not come to|to no member|neither"),
    ("a QoS 2 will is leased before it is stored", "gateway/hub/consumers.c",
     "{ .qos = parts->qos, .n = 1,",
     "{ .n = 1,",
     "is leased before it is stored"),
    ("copies do not follow a stuck batch", "gateway/hub/stuck.c",
     "op->kind == BATCH_BODY_DROP || op->kind == BATCH_COPY ||\n                     op->kind == BATCH_COPY_DROP;",
     "op->kind == BATCH_BODY_DROP;",
     "which is not on the disk|no body|although a session|still has|stays on the disk|undone|needs it"),
    ("the receipt of ACK does not wait for the disk", "gateway/hub/acknowledge.c",
     "    if (settles_pending(c))\n        answer_with_batch(",
     "    if (c->closing)\n        answer_with_batch(",
     "with a receipt by consumer"),
    ("the receipt of DISCONNECT does not wait for answers", "gateway/hub/connect.c",
     "    answer_after_settles(c, token);",
     "    if (token != 0)\n        client_answer(c, token, PROTO_ACCEPTED);",
     "with a receipt by consumer"),
    ("a cumulative ACK answers one more", "gateway/hub/acknowledge.c",
     "    if (next == 0 || next > p->delivery)",
     "    if (next == 0 || next > p->delivery + 1)",
     "the gateway counts|more than its credit"),
    ("a cumulative ACK answers only what it names", "gateway/hub/acknowledge.c",
     "    if (cc->mode == PROTO_ACK_EACH)",
     "    if (cc->mode != PROTO_ACK_AUTO)",
     "the gateway counts"),
    ("a lost consumer is not charged", "gateway/hub/client.c",
     "{ .cause = QUEUE_CAUSE_LOST, .detail = sl_str(\"connection lost\") }",
     "{ .cause = QUEUE_CAUSE_LOST, .charge_none = true }",
     "charged were"),
    ("UNSUBSCRIBE is charged", "gateway/hub/consume.c",
     "    static const struct hub_loss orderly = { .charge_none = true };",
     "    static const struct hub_loss orderly = { .cause = QUEUE_CAUSE_LOST };",
     "charged were"),
    ("a stopping gateway charges its consumers", "gateway/hub/client.c",
     "        [PROTO_BYE_SHUTDOWN] = { .charge_none = true },",
     "        [PROTO_BYE_SHUTDOWN] = { .cause = QUEUE_CAUSE_LOST },",
     "charged were"),
    ("a protocol error is not charged", "gateway/hub/client.c",
     ".charge_none = !fault,",
     ".charge_none = true,",
     "charged were"),
    ("leases stay until the socket is gone", "gateway/hub/client.c",
     "    consumers_lose(c, &(struct hub_loss){ .cause = cause,",
     "    if (!fault)\n        consumers_lose(c, &(struct hub_loss){ .cause = cause,",
     "the gateway counts|ssert"),
    ("a silent consumer keeps its leases", "gateway/hub/consumer_flow.c",
     "    hub_client_bye(cc->client, awaits_space(cc->client) ? PROTO_BYE_STORE : PROTO_BYE_ACK_TIMEOUT);",
     "    (void)awaits_space(cc->client);",
     "for an answer was over"),
    ("all of a silent consumer is charged", "gateway/hub/client.c",
     "{ .cause = QUEUE_CAUSE_TIMEOUT, .timeout = true },",
     "{ .cause = QUEUE_CAUSE_TIMEOUT },",
     "charged were"),
    ("extend changes nothing", "gateway/hub/acknowledge.c",
     "cc->session != NULL ? SL_OK : hub_extend(c->h, cc->consumer, lease, p->ms);",
     "cc->session != NULL || lease != 0 ? SL_OK : hub_extend(c->h, cc->consumer, lease, p->ms);",
     "is told that its time is over|for an answer was over"),
    ("credit is one too many", "gateway/hub/consume.c",
     "    cc->credit = p->credit > 0 ? p->credit : CREDIT_USUAL;",
     "    cc->credit = (p->credit > 0 ? p->credit : CREDIT_USUAL) + 1;",
     "more than its credit"),
    ("all of a consumer's deliveries have started", "gateway/hub/consume.c",
     "        .concurrency = 1,",
     "        .concurrency = 2,",
     "charged were"),
    ("auto is given back", "gateway/hub/consumer_flow.c",
     "{ .lease = lease, .verb = { .verb = QUEUE_ACK } };",
     "{ .lease = lease, .verb = { .verb = QUEUE_RELEASE } };",
     "and was acknowledged"),
    ("redelivery is not told", "gateway/hub/consumer_flow.c",
     ".redelivered = hd->d->redelivered };",
     ".redelivered = false };",
     "does not say so"),
    ("a topic's message comes twice", "gateway/hub/consumer_flow.c",
     "        (void)send_message(h, cc, it->msg, it->retain);",
     "        (void)(send_message(h, cc, it->msg, it->retain) && message_id(it->msg) % 5 == 0 && outbox_push(outbox_for(h, cc->session, it), it));",
     "twice|ssert"),
    ("a topic's message overtakes what waits", "gateway/hub/consumer_flow.c",
     "    else if (waiting(cc) == 0 && has_credit(cc)",
     "    else if (has_credit(cc)",
     "after a later one"),
    ("a slow consumer misses messages and is not told", "gateway/hub/consumer_flow.c",
     "    else\n        is_slow(h, cc);",
     "    else\n        (void)is_slow;",
     "has not come to consumer"),
    ("ABORT keeps its deliveries claimed", "gateway/hub/transaction.c",
     "    uncount(c, t);\n    transaction_free(c, t);",
     "    uncount(c, t);\n    transaction_free(NULL, t);",
     "the gateway counts"),
    ("a transaction's answers go without its messages", "gateway/hub/intake.c",
     "    answers_give(c, o->answers, o->n_answers, o->n > 0);",
     "    answers_give(c, o->answers, o->n_answers, false);",
     "is stored, and u.* of it is not"),
    ("the receipt of COMMIT does not wait for its answers", "gateway/hub/intake.c",
     "    return settles_pending(c);",
     "    return false;",
     "is still in the store"),
    ("a transaction waits for room in its own queue", "gateway/hub/transaction.c",
     "        .over_limit = answers_a_queue(c, t),",
     "        .over_limit = false,",
     "is refused for want of room"),
    ("a COMMIT of what is over is taken", "gateway/hub/acknowledge.c",
     "        if (cc == NULL || unacked_state(&cc->unacked, v[i].delivery) != UNACKED_CLAIMED)\n            return false;",
     "        if (cc == NULL || unacked_state(&cc->unacked, v[i].delivery) != UNACKED_CLAIMED)\n            continue;",
     "ssert"),
    ("a message sent in a transaction waits for nobody who is away", "protocols/stomp/session_send.c",
     " || p->transaction.n > 0 ? 1 : 0;",
     " ? 1 : 0;",
     "neither come|no member of shared|has not come"),
    ("the connection goes on after ERROR", "gateway/hub/client.c",
     "    c->closing = true;\n    bool fault",
     "    c->closing = c->consumers == NULL;\n    bool fault",
     "its connection goes on|is not told so|ssert"),
    ("what follows an ERROR is done", "protocols/stomp/session.c",
     "        if (handle(s, &f, ev)) {\n            s->work->consuming = ev->kind == PROTO_CONSUME;\n            return true;\n        }",
     "        uint8_t was = s->state;\n        if (handle(s, &f, ev)) {\n            s->work->consuming = ev->kind == PROTO_CONSUME;\n            return true;\n        }\n        if (was == STOMP_READY && s->state == STOMP_CLOSING && f.command == STOMP_UNSUBSCRIBE)\n            s->state = STOMP_READY;",
     "its connection goes on|is not told so|was taken back|gets a frame after"),
    ("receipts do not wait for their turn", "protocols/stomp/ring.c",
     "    if (s->ring == NULL || s->ring->count == 0)\n        put_receipt",
     "    if (s->ring == NULL || s->ring->count < 9)\n        put_receipt",
     "gets receipt .*, and waits for"),
    ("what could not be sent is charged", "gateway/hub/consumer_flow.c",
     "    consumer_give_back(cc->client->h, cc->consumer, lease, false);\n",
     "    (void)unacked_add(&cc->unacked, lease);\n",
     "charged were|as redelivered"),
    ("what could not be sent comes again as redelivered", "gateway/queue/answers.c",
     "    if (!again)\n        entry_at(q, i)->flags",
     "    if (!again && i % 100 == 99)\n        entry_at(q, i)->flags",
     "as redelivered"),
    ("a goodbye takes from a waiting COMMIT what it has answered", "gateway/hub/consume.c",
     "    if (cc->client->parked == NULL)\n        return false;",
     "    if (cc->client->parked == NULL || cc->consumer != 0)\n        return false;",
     "under way|without a reason"),
    ("a forged header comes through", "protocols/stomp/message.c",
     "        return IS(name, \"ack\");",
     "        return false;",
     "header ack"),
    ("a consumer's memory is not given back", "gateway/hub/consume.c",
     "    cc->client->h->deliveries.consumer_bytes -= cc->bytes;\n    unacked_fini",
     "    unacked_fini",
     "ssert|more and more in memory"),
]


def sources(tree):
    return sorted(p for room in ROOMS for p in (tree / room).rglob("*.c"))


def compile_one(tree, source):
    out = source.with_suffix(".o")
    subprocess.run(["gcc", *FLAGS, *includes(tree), "-c", str(source), "-o", str(out)], check=True)
    return out


def includes(tree):
    return [f"-I{p}" for room in ROOMS for p in sorted((tree / room).rglob("include"))]


def link(objects, program):
    subprocess.run(["gcc", *map(str, objects), "-lm", "-o", str(program)], check=True)


def run(program, seeds):
    p = subprocess.run([str(program), "--seeds", str(seeds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    seed = re.search(r"again: sim --seed (\d+)", p.stdout)
    lines = p.stdout.strip().splitlines()
    return p.returncode, lines[0] if lines else "", seed.group(1) if seed else "-"


def try_bug(tree, bug, folder):
    """(seed or None, message, complaint or None)"""
    name, path, old, new, law = bug
    source = tree / path
    text = source.read_text()
    if text.count(old) != 1:
        return None, "", f"its text is in {path} {text.count(old)} times, not once: bring the list up to date"
    work = folder / re.sub(r"\W+", "_", name)
    work.mkdir()
    broken = source.with_name(f"{work.name}__{source.name}")
    broken.write_text(text.replace(old, new))
    try:
        obj = compile_one(tree, broken)
        objects = [s.with_suffix(".o") for s in sources(tree) if "__" not in s.name and s != source] + [obj]
        link(objects, work / "sim")
        code, message, seed = run(work / "sim", SEEDS)
    finally:
        broken.unlink()
    if code == 0:
        return None, message, f"{SEEDS} seeds did not find it"
    if not re.search(law, message):
        return seed, message, f"it was found by another law than {law!r}"
    return seed, message.replace(str(tree) + "/", ""), None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    started = time.monotonic()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="sluice-bugs-") as folder:
        folder = Path(folder)
        tree = folder / "tree"
        for room in ROOMS:
            shutil.copytree(ROOT / room, tree / room)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            objects = list(pool.map(lambda s: compile_one(tree, s), sources(tree)))
            link(objects, folder / "sim")
            code, message, _ = run(folder / "sim", 50)
            if code != 0:
                sys.exit(f"without any bug the simulation says: {message}")
            chosen = [b for b in BUGS if only in b[0]]
            for bug, (seed, message, complaint) in zip(chosen, pool.map(lambda b: try_bug(tree, b, folder), chosen)):
                failures += complaint is not None
                print(f"{'FAIL' if complaint else 'ok':4} {bug[0]:58} seed {seed or '-':>5}  {message}")
                if complaint:
                    print(f"     {complaint}")
                sys.stdout.flush()
    print(f"{len(chosen) - failures} of {len(chosen)} bugs found in {time.monotonic() - started:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    main()
