#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

static int resolve_unix(const char *path, struct dial *out)
{
    struct sockaddr_un *a = (struct sockaddr_un *)(void *)&out->to;
    if (strlen(path) >= sizeof a->sun_path)
        return SL_EINVAL;
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path, path, strlen(path) + 1);
    out->n = sizeof *a;
    return SL_OK;
}

static int resolve_host(const char *host, const char *port, struct dial *out)
{
    struct addrinfo want = { .ai_socktype = SOCK_STREAM }, *found;
    if (getaddrinfo(host, port, &want, &found) != 0)
        return SL_EINVAL;
    memcpy(&out->to, found->ai_addr, found->ai_addrlen);
    out->n = found->ai_addrlen;
    freeaddrinfo(found);
    return SL_OK;
}

int dial_resolve(const char *address, uint16_t port, struct dial *out)
{
    char host[256], number[8];
    if (address == NULL) {
        (void)snprintf(number, sizeof number, "%u", port);
        return resolve_host("127.0.0.1", number, out);
    }
    if (strncmp(address, "unix:", 5) == 0)
        return resolve_unix(address + 5, out);
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return resolve_host("127.0.0.1", address, out);
    int n = snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    return n < 0 || (size_t)n >= sizeof host ? SL_EINVAL : resolve_host(host, colon + 1, out);
}

int dial_open(const struct dial *d, bool nonblocking)
{
    int one = 1;
    int fd =
        socket(d->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0)
        return -1;
    if (d->to.ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&d->to, d->n) != 0 && errno != EINPROGRESS) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

void dial_raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}
