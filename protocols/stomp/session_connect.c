/* CONNECT or STOMP: version, host, heart-beat, credentials; then CONNECTED. */
#include "session.h"

#include <stdio.h>

static const enum stomp_version newest_first[] = {STOMP_V12, STOMP_V11, STOMP_V10};

static bool listed(struct sl_bytes list, const char *name)
{
    while (list.n > 0) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);
        struct sl_bytes item = {list.p, n};
        while (item.n > 0 && item.p[0] == ' ')
            item = sl_bytes_of(item.p + 1, item.n - 1);
        while (item.n > 0 && item.p[item.n - 1] == ' ')
            item.n--;
        if (sl_bytes_is(item, name))
            return true;
        size_t step = comma == NULL ? n : n + 1;
        list = sl_bytes_of(list.p + step, list.n - step);
    }
    return false;
}

/* No accept-version means 1.0; else the newest that both know. */
static bool choose_version(const struct stomp_frame *f, enum stomp_version *v)
{
    *v = STOMP_V10;
    if (!stomp_has(f, STOMP_H_ACCEPT_VERSION))
        return true;
    for (size_t i = 0; i < SL_COUNT(newest_first); i++) {
        *v = newest_first[i];
        if (listed(f->own[STOMP_H_ACCEPT_VERSION], stomp_version_name(*v)))
            return true;
    }
    return false;
}

/* A client that leaves out host (as common ones do) gets the one that there is. */
static bool connect_valid(struct stomp_session *s, const struct stomp_frame *f)
{
    enum stomp_version v;
    if (!choose_version(f, &v))
        return stomp_fail_frame(s, STOMP_E_VERSION, f, NULL);
    s->version = (uint8_t)v;
    if (v == STOMP_V10)
        return true; /* no host, no heart-beat; a body is ignored */
    if (f->body.n > 0)
        return stomp_fail_frame(s, (enum stomp_error)STOMP_FAULT_BODY_FORBIDDEN, f, NULL);
    if (stomp_has(f, STOMP_H_HEART_BEAT) && !stomp_heartbeat_agree(s, f->own[STOMP_H_HEART_BEAT]))
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "heart-beat");
    return true;
}

static struct sl_bytes own(const struct stomp_frame *f, enum stomp_header h)
{
    return stomp_has(f, h) ? f->own[h] : SL_BYTES_NONE;
}

bool stomp_on_connect(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    if (!connect_valid(s, f))
        return false;
    *ev = (struct proto_event){.kind = PROTO_CONNECT};
    struct proto_connect *c = &ev->u.connect;
    c->protocol = MESSAGE_STOMP;
    c->clean_start = true; /* STOMP keeps nothing when the connection goes */
    c->client_id = own(f, STOMP_H_CLIENT_ID);
    c->host = own(f, STOMP_H_HOST);
    c->has_username = stomp_has(f, STOMP_H_LOGIN);
    c->username = own(f, STOMP_H_LOGIN);
    c->has_password = stomp_has(f, STOMP_H_PASSCODE);
    c->password = own(f, STOMP_H_PASSCODE);
    s->state = STOMP_JUDGED;
    return true;
}

static enum stomp_error refusal(enum proto_connect_result r)
{
    static const enum stomp_error errors[] = {
        [PROTO_CONNECT_BAD_CREDENTIALS] = STOMP_E_CREDENTIALS,
        [PROTO_CONNECT_DENIED] = STOMP_E_DENIED,
        [PROTO_CONNECT_QUOTA] = STOMP_E_CONNECTIONS_MANY,
        [PROTO_CONNECT_RATE] = STOMP_E_RATE,
        [PROTO_CONNECT_UNAVAILABLE] = STOMP_E_UNAVAILABLE,
    };
    SL_ASSERT((size_t)r < SL_COUNT(errors));
    return errors[r];
}

void stomp_accept(struct stomp_session *s, const struct proto_connected *a)
{
    if (a->result != PROTO_CONNECT_OK) {
        stomp_fail_answer(s, refusal(a->result), 0);
        return;
    }
    struct stomp_writer w;
    stomp_begin(&w, &s->out, (enum stomp_version)s->version, STOMP_CONNECTED);
    stomp_put(&w, "version", sl_str(stomp_version_name((enum stomp_version)s->version)));
    if (a->client_id.n > 0)
        stomp_put(&w, "session", a->client_id);
    if (s->cfg->server_name != NULL)
        stomp_put(&w, "server", sl_str(s->cfg->server_name));
    if (s->version != STOMP_V10) {
        char beat[32];
        snprintf(beat, sizeof beat, "%u,%u", s->cfg->heart_beat_ms, s->cfg->heart_beat_ms);
        stomp_put(&w, "heart-beat", sl_str(beat));
    }
    if (stomp_end(&w, SL_BYTES_NONE) != SL_OK) {
        stomp_close(s, "output_limit");
        return;
    }
    s->reply_key = a->reply_key;
    s->names_from = a->names_from;
    s->state = STOMP_READY;
    s->fresh = true;
}
