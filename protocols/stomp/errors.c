/* ERROR frames: every way in which a session ends badly, in one table.
 *
 *   ERROR
 *   message:<short and stable>
 *   version:1.0,1.1,1.2         when no version was agreed on
 *   retry-after:<seconds>       when trying again later may help
 *   receipt-id:<id>             when the offending frame asked for a receipt
 *   content-type:text/plain
 *
 *   <one sentence>
 *   > <the offending frame's command and headers, escaped and cut>
 */
#include "session.h"

#include <stdio.h>

#include "core/utf8.h"

#define QUOTE_LINES      12u
#define QUOTE_LINE_BYTES 160u

struct error_text {
    const char *message; /* for programs */
    const char *reason;  /* for our log */
    const char *text;    /* for people */
    uint32_t retry_after_s;
};

/* id, message, seconds until trying again may help, reason, explanation */
#define E(id, message, retry, reason, text) [id] = {message, reason, text, retry}
static const struct error_text errors[STOMP_NERRORS] = {
    E(STOMP_FAULT_COMMAND_UNKNOWN, "unknown command", 0, "unknown_command",
      "The frame does not start with a command that this version of STOMP has."),
    E(STOMP_FAULT_COMMAND_TOO_LONG, "command too long", 0, "unknown_command",
      "The frame's first line is longer than any command."),
    E(STOMP_FAULT_HEADER_COLON, "malformed header", 0, "malformed_header",
      "A header line has no colon."),
    E(STOMP_FAULT_HEADER_NAME, "malformed header", 0, "malformed_header",
      "A header line has an empty name."),
    E(STOMP_FAULT_HEADER_NUL, "malformed header", 0, "malformed_header",
      "The frame ends inside its headers: the blank line is missing."),
    E(STOMP_FAULT_HEADER_CR, "malformed header", 0, "malformed_header",
      "A header line has a carriage return that is not escaped."),
    E(STOMP_FAULT_HEADER_UTF8, "malformed header", 0, "malformed_header",
      "A header line is not UTF-8."),
    E(STOMP_FAULT_HEADER_ESCAPE, "undefined escape", 0, "undefined_escape",
      "A header line has an escape that this version of STOMP does not define."),
    E(STOMP_FAULT_HEADER_TOO_LONG, "header too long", 0, "header_too_long",
      "A header line is longer than the server's limit."),
    E(STOMP_FAULT_HEADERS_TOO_MANY, "too many headers", 0, "too_many_headers",
      "The frame has more header lines than the server's limit."),
    E(STOMP_FAULT_CONTENT_LENGTH, "invalid content-length", 0, "invalid_content_length",
      "The header content-length is not a decimal number."),
    E(STOMP_FAULT_BODY_FORBIDDEN, "body not allowed", 0, "body_not_allowed",
      "Only SEND, MESSAGE and ERROR may have a body."),
    E(STOMP_FAULT_BODY_TOO_LARGE, "message too large", 0, "message_too_large",
      "The body is larger than the server's limit."),
    E(STOMP_FAULT_BODY_NUL, "missing NUL", 0, "missing_nul",
      "The body of content-length bytes is not followed by NUL."),
    E(STOMP_FAULT_FRAME_TOO_LARGE, "frame too large", 0, "frame_too_large",
      "The frame is larger than the server's limit before CONNECTED."),
    E(STOMP_E_NOT_CONNECTED, "not connected", 0, "not_connected",
      "The first frame must be CONNECT or STOMP."),
    E(STOMP_E_CONNECTED_ALREADY, "already connected", 0, "connected_twice",
      "CONNECT may be sent once."),
    E(STOMP_E_VERSION, "unsupported version", 0, "unsupported_version",
      "The server speaks STOMP 1.0, 1.1 and 1.2."),
    E(STOMP_E_HEADER_MISSING, "missing header", 0, "missing_header",
      "A required header is missing"),
    E(STOMP_E_HEADER_INVALID, "invalid header", 0, "invalid_header",
      "A header has a value that is not allowed"),
    E(STOMP_E_DESTINATION, "invalid destination", 0, "invalid_destination",
      "A destination is /queue/NAME, /topic/a.b or /topic/a/b."),
    E(STOMP_E_TOPIC, "invalid destination", 0, "invalid_destination",
      "A topic has at least one character and neither + nor #."),
    E(STOMP_E_SOURCE, "invalid destination", 0, "invalid_destination",
      "A subscription is to /topic/..., /queue/NAME or /temp-queue/NAME."),
    E(STOMP_E_FILTER, "invalid destination", 0, "invalid_destination",
      "In a topic * or + stands for one whole level, and # for all that follow, as the last one."),
    E(STOMP_E_TEMP_NAME, "invalid destination", 0, "invalid_destination",
      "The name of a reply destination has 1 to 256 bytes and neither + nor #."),
    E(STOMP_E_REPLY_FOREIGN, "not authorized", 0, "subscribe_denied",
      "A reply destination can be subscribed to by the connection that it belongs to."),
    E(STOMP_E_SUBSCRIPTION_EXISTS, "duplicate subscription", 0, "duplicate_subscription",
      "A subscription of this id, or to this reply destination, stands already."),
    E(STOMP_E_SUBSCRIPTION_UNKNOWN, "unknown subscription", 0, "unknown_subscription",
      "There is no such subscription on this connection."),
    E(STOMP_E_SUBSCRIPTIONS_MANY, "too many subscriptions", 0, "too_many_subscriptions",
      "A connection may have 4096 subscriptions, with 1 MiB of names."),
    E(STOMP_E_TRANSACTION_UNKNOWN, "unknown transaction", 0, "unknown_transaction",
      "The transaction is not open."),
    E(STOMP_E_TRANSACTION_EXISTS, "transaction already begun", 0, "transaction_begun_twice",
      "A transaction of this name is open."),
    E(STOMP_E_TRANSACTIONS_MANY, "too many transactions", 0, "too_many_transactions",
      "A connection may have 64 open transactions."),
    E(STOMP_E_RECEIPTS_MANY, "too many receipts", 0, "too_many_receipts",
      "Too many frames wait for their receipt."),
    E(STOMP_E_NOT_SUPPORTED, "not supported", 0, "not_supported",
      "The server does not support this header of SUBSCRIBE"),
    E(STOMP_E_CONNECT_TIMEOUT, "connect timeout", 0, "connect_timeout",
      "No complete CONNECT came in time."),
    E(STOMP_E_HEART_BEAT, "heart-beat timeout", 0, "heart_beat_timeout",
      "Nothing came for longer than the agreed heart-beat."),
    E(STOMP_E_CREDENTIALS, "authentication failed", 0, "bad_credentials",
      "Login or passcode is wrong."),
    E(STOMP_E_DENIED, "not authorized", 0, "not_authorized", "This client may not connect."),
    E(STOMP_E_CONNECTIONS_MANY, "too many connections", 5, "too_many_connections",
      "The server has reached its limit of connections."),
    E(STOMP_E_RATE, "connection rate exceeded", 1, "connection_rate",
      "Too many connections at once."),
    E(STOMP_E_UNAVAILABLE, "server unavailable", 5, "unavailable",
      "The server does not take connections now."),
    E(STOMP_E_QUOTA, "quota exceeded", 5, "quota_exceeded",
      "The message was refused: a queue is full."),
    E(STOMP_E_NOT_PERMITTED, "not authorized", 0, "publish_denied",
      "This client may not publish there."),
    E(STOMP_E_TARGET, "invalid destination", 0, "invalid_destination",
      "The destination does not exist or cannot be published to."),
    E(STOMP_E_SOURCE_DENIED, "not authorized", 0, "subscribe_denied",
      "This client may not subscribe there."),
    E(STOMP_E_SOURCE_UNKNOWN, "invalid destination", 0, "invalid_destination",
      "The destination does not exist or cannot be subscribed to."),
    E(STOMP_E_CONSUMERS_MANY, "quota exceeded", 5, "quota_exceeded",
      "The server has reached its limit of subscriptions."),
    E(STOMP_E_STORE, "store unavailable", 30, "store_unavailable",
      "The server cannot store anything now."),
    E(STOMP_E_TAKEOVER, "session taken over", 0, "session_taken_over",
      "Another connection uses the same client-id."),
    E(STOMP_E_SHUTDOWN, "server shutting down", 5, "shutdown", "The server is shutting down."),
    E(STOMP_E_ADMIN, "closed by administrator", 0, "administrator",
      "An administrator closed the connection."),
    E(STOMP_E_MEMORY, "quota exceeded", 5, "memory_limit",
      "The server has reached its memory limit."),
    E(STOMP_E_EARLY_DATA, "frame too large", 0, "early_data",
      "Too much was sent before CONNECTED."),
    E(STOMP_E_DELIVERY_UNKNOWN, "unknown delivery", 0, "unknown_delivery",
      "No message was given to this connection, to be acknowledged, under this id."),
    E(STOMP_E_TRANSACTION_STALE, "transaction failed", 0, "stale_transaction",
      "The transaction acknowledges a message that is no longer this client's. Nothing of it was done."),
    E(STOMP_E_TRANSACTION_LARGE, "transaction too large", 0, "transaction_too_large",
      "The transaction would hold more messages or bytes than the server's limit."),
    E(STOMP_E_SLOW, "slow consumer", 5, "slow_consumer",
      "More messages wait than the server keeps: read them faster, acknowledge them sooner, or ask "
      "for a larger prefetch-count."),
    E(STOMP_E_ACK_TIMEOUT, "acknowledgement timeout", 0, "ack_timeout",
      "The oldest message was neither acknowledged nor extended in time: work that takes longer "
      "sends NACK with the header extend:30s, and a smaller prefetch-count leaves less to wait."),
};
#undef E

_Static_assert((int)STOMP_FAULT_FRAME_TOO_LARGE < (int)STOMP_E_NOT_CONNECTED,
               "faults are the first errors");

/* Half a frame has a receipt, too, if its line was complete. */
static bool receipt_in(struct sl_bytes head, enum stomp_version v, struct sl_buf *plain)
{
    struct stomp_line line;
    bool command = stomp_line_next(&head, &line);
    enum stomp_command c = command ? stomp_command_of(line.name, true) : STOMP_NO_COMMAND;
    if (c == STOMP_NO_COMMAND || !stomp_command_escapes(c))
        return false; /* no receipt is defined for CONNECT */
    while (stomp_line_next(&head, &line)) {
        if (stomp_header_of(line.name) != STOMP_H_RECEIPT || !sl_utf8_valid(line.value) ||
            !stomp_escapes_valid(v, line.value))
            continue;
        uint8_t *out = sl_buf_reserve(plain, line.value.n);
        if (out != NULL)
            sl_buf_commit(plain, stomp_unescape(v, line.value, out));
        return out != NULL;
    }
    return false;
}

/* The value of passcode is not for logs that print ERROR frames. */
static void quote_line(struct sl_buf *body, struct sl_bytes line)
{
    char text[QUOTE_LINE_BYTES];
    struct sl_bytes secret = sl_str("passcode:");
    if (line.n >= secret.n && memcmp(line.p, secret.p, secret.n) == 0)
        snprintf(text, sizeof text, "passcode:***");
    else
        (void)sl_escape(line, text, sizeof text);
    if (sl_buf_printf(body, "> %s\n", text) != SL_OK)
        return; /* the quotation ends here */
}

static void quote(struct sl_buf *body, struct sl_bytes head)
{
    for (size_t i = 0; i < QUOTE_LINES && head.n > 0; i++) {
        const uint8_t *lf = memchr(head.p, '\n', head.n);
        size_t n = lf == NULL ? head.n : (size_t)(lf - head.p);
        size_t text = n > 0 && head.p[n - 1] == '\r' ? n - 1 : n;
        if (text == 0)
            return;
        quote_line(body, sl_bytes_of(head.p, text));
        size_t step = lf == NULL ? n : n + 1;
        head = sl_bytes_of(head.p + step, head.n - step);
    }
}

struct explanation {
    const struct error_text *e;
    const char *detail;
    struct sl_bytes head;
};

static void explain(struct sl_buf *body, const struct explanation *x)
{
    int err = x->detail == NULL ? sl_buf_printf(body, "%s\n", x->e->text)
                                : sl_buf_printf(body, "%s: %s.\n", x->e->text, x->detail);
    if (err == SL_OK)
        quote(body, x->head);
}

static void write_error(struct stomp_session *s, const struct explanation *x,
                        const struct sl_bytes *receipt)
{
    struct sl_buf body = {0};
    sl_buf_init(&body, 8192);
    explain(&body, x);
    struct stomp_writer w;
    stomp_begin(&w, &s->out, (enum stomp_version)s->version, STOMP_ERROR);
    stomp_put(&w, "message", sl_str(x->e->message));
    if (x->e == &errors[STOMP_E_VERSION])
        stomp_put(&w, "version", sl_str("1.0,1.1,1.2"));
    if (x->e->retry_after_s > 0)
        stomp_put_u64(&w, "retry-after", x->e->retry_after_s);
    if (receipt != NULL)
        stomp_put(&w, "receipt-id", *receipt);
    stomp_put(&w, "content-type", sl_str("text/plain"));
    bool fits = stomp_end(&w, sl_buf_view(&body)) == SL_OK;
    sl_buf_fini(&body);
    stomp_close(s, fits ? x->e->reason : "output_limit"); /* a peer that does not read misses it */
}

void stomp_close(struct stomp_session *s, const char *reason)
{
    if (s->state >= STOMP_CLOSING)
        return;
    s->state = STOMP_CLOSING;
    s->reason = reason;
    stomp_input_drop(&s->in);
    stomp_transactions_free(s);
}

void stomp_fail(struct stomp_session *s, enum stomp_error e, struct sl_bytes head,
                const char *detail)
{
    if (s->state >= STOMP_CLOSING)
        return;
    SL_ASSERT(errors[e].message != NULL);
    struct sl_buf plain = {0};
    struct explanation x = {&errors[e], detail, head};
    struct sl_bytes receipt = SL_BYTES_NONE;
    bool asked = receipt_in(head, (enum stomp_version)s->version, &plain);
    if (asked)
        receipt = sl_buf_view(&plain);
    write_error(s, &x, asked ? &receipt : NULL);
    sl_buf_fini(&plain);
}

bool stomp_fail_frame(struct stomp_session *s, enum stomp_error e, const struct stomp_frame *f,
                      const char *detail)
{
    stomp_fail(s, e, f->head, detail);
    return false;
}

void stomp_fail_answer(struct stomp_session *s, enum stomp_error e, uint32_t token)
{
    if (s->work != NULL && s->work->head.n > 0 && s->work->token == token) {
        stomp_fail(s, e, s->work->head, NULL);
        return;
    }
    struct sl_bytes receipt;
    struct explanation x = {&errors[e], NULL, SL_BYTES_NONE};
    bool asked = token != 0 && stomp_ring_receipt(s, token, &receipt);
    write_error(s, &x, asked ? &receipt : NULL);
}
