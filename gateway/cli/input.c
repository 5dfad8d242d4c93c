#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define READ_BYTES 65536

static int read_file(struct cli_input *in, const char *path)
{
    int err = SL_OK;
    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return SL_ESYS;
    while (err == SL_OK && !in->ended)
        err = cli_input_read(in);
    int kept = errno;
    close(in->fd);
    errno = kept;
    in->fd = -1;
    in->payload = sl_buf_view(&in->buf);
    return err;
}

int cli_input_open(struct cli_input *in, const struct cli_args *a)
{
    *in = (struct cli_input){ .source = a->source, .fd = -1, .left = a->count == CLI_NOT_GIVEN ? 1 : a->count };
    sl_buf_init(&in->buf, CLI_PAYLOAD_MAX);
    if (a->source == CLI_FROM_FILE)
        return read_file(in, a->file);
    if (a->source == CLI_FROM_ARGUMENT)
        in->payload = sl_str(a->payload);
    else
        in->fd = STDIN_FILENO;
    return SL_OK;
}

/* A payload may fill the buffer to its maximum, and only the next read shows whether that was all. */
int cli_input_read(struct cli_input *in)
{
    uint8_t over;
    size_t want = READ_BYTES;
    if (want > CLI_PAYLOAD_MAX - sl_buf_len(&in->buf))
        want = CLI_PAYLOAD_MAX - sl_buf_len(&in->buf);
    uint8_t *to = want > 0 ? sl_buf_reserve(&in->buf, want) : &over;
    ssize_t n = read(in->fd, to, want > 0 ? want : 1);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? SL_OK : SL_ESYS;
    if (n > 0 && want == 0)
        return SL_ETOOBIG;
    if (n > 0)
        sl_buf_commit(&in->buf, (size_t)n);
    in->ended = n == 0;
    return SL_OK;
}

static int next_line(struct cli_input *in, struct sl_bytes *payload)
{
    struct sl_bytes v = sl_buf_view(&in->buf);
    const uint8_t *end = v.n == 0 ? NULL : memchr(v.p, '\n', v.n);
    if (end != NULL) {
        *payload = sl_bytes_of(v.p, (size_t)(end - v.p));
        sl_buf_consume(&in->buf, payload->n + 1);
        return SL_OK;
    }
    if (!in->ended)
        return SL_EMORE;
    if (v.n == 0)
        return SL_ECLOSED;
    *payload = v; /* the last line needs no newline */
    sl_buf_consume(&in->buf, v.n);
    return SL_OK;
}

int cli_input_next(struct cli_input *in, struct sl_bytes *payload)
{
    if (in->source == CLI_FROM_LINES)
        return next_line(in, payload);
    if (in->source == CLI_FROM_STDIN && !in->ended)
        return SL_EMORE;
    if (in->source == CLI_FROM_STDIN)
        in->payload = sl_buf_view(&in->buf);
    if (in->left == 0)
        return SL_ECLOSED;
    in->left--;
    *payload = in->payload;
    return SL_OK;
}

void cli_input_stop(struct cli_input *in)
{
    in->source = CLI_FROM_ARGUMENT;
    in->left = 0;
    in->fd = -1;
}

void cli_input_fini(struct cli_input *in)
{
    sl_buf_fini(&in->buf);
}
