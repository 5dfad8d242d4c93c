#include "output.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

void cli_output_init(struct cli_output *o, int fd)
{
    struct stat st;
    *o = (struct cli_output){ .fd = fd, .chunk = PIPE_BUF, .terminal = isatty(fd) == 1 };
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        o->chunk = SIZE_MAX; /* a file never waits for a reader */
}

int cli_output_write(struct cli_output *o)
{
    struct sl_bytes v = sl_buf_view(&o->buf);
    ssize_t n = write(o->fd, v.p, v.n < o->chunk ? v.n : o->chunk);
    if (n >= 0) {
        sl_buf_consume(&o->buf, (size_t)n);
        o->written += (uint64_t)n;
        return SL_OK;
    }
    if (errno == EINTR || errno == EAGAIN)
        return SL_OK;
    return errno == EPIPE ? SL_ECLOSED : SL_ESYS;
}

void cli_output_fini(struct cli_output *o)
{
    sl_buf_fini(&o->buf);
}
