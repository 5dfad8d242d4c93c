/* "127.0.0.1:1883", "localhost:1883", "[::1]:1883", "*:1883", "unix:PATH".
 * Names other than localhost are not looked up: what is listened on does not
 * depend on somebody's DNS. */
#include <arpa/inet.h>
#include <sys/un.h>

#include "check.h"
#include "value.h"

#define UNIX_PREFIX   "unix:"
#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
_Static_assert(UNIX_PATH_MAX == 107, "the fault's text says so");

static int parse_unix(struct config_memory *m, const char *folder, struct config_listener *l)
{
    const char *path = l->bind + strlen(UNIX_PREFIX);
    if (*path == '\0')
        return SL_EINVAL;
    l->kind = CONFIG_BIND_UNIX;
    l->path = config_value_path(m, folder, path);
    l->loopback = true;
    return strlen(l->path) > UNIX_PATH_MAX ? SL_ETOOBIG : SL_OK;
}

static int parse_v6(struct config_memory *m, struct sl_bytes host, struct config_listener *l)
{
    struct in6_addr address;
    const char *text = config_memory_text(m, host);
    if (inet_pton(AF_INET6, text, &address) != 1)
        return SL_EINVAL;
    l->host = text;
    l->loopback = IN6_IS_ADDR_LOOPBACK(&address);
    return SL_OK;
}

static int parse_v4(struct config_memory *m, struct sl_bytes host, struct config_listener *l)
{
    struct in_addr address;
    const char *text = sl_bytes_is(host, "*")           ? "0.0.0.0"
                       : sl_bytes_is(host, "localhost") ? "127.0.0.1"
                                                        : config_memory_text(m, host);
    if (inet_pton(AF_INET, text, &address) != 1)
        return SL_EINVAL;
    l->host = text;
    l->loopback = ntohl(address.s_addr) >> 24 == 127;
    return SL_OK;
}

int config_bind_parse(struct config_memory *m, const char *folder, struct config_listener *l)
{
    if (strncmp(l->bind, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(m, folder, l);
    const char *colon = strrchr(l->bind, ':');
    uint64_t port;
    if (colon == NULL || sl_bytes_u64(sl_str(colon + 1), UINT16_MAX, &port) != SL_OK)
        return SL_EINVAL;
    l->kind = CONFIG_BIND_TCP;
    l->port = (uint16_t)port;
    size_t n = (size_t)(colon - l->bind);
    if (n > 2 && l->bind[0] == '[' && l->bind[n - 1] == ']')
        return parse_v6(m, sl_bytes_of(l->bind + 1, n - 2), l);
    return parse_v4(m, sl_bytes_of(l->bind, n), l);
}
