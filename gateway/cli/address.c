#include "address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "take.h"

/* Values of --url, in the order they are cut off the front. */
struct parts {
    bool tls;
    struct sl_bytes user, password, host, port; /* p NULL: not there */
};

static int scheme(const char *command, const char *url, bool stomp, struct parts *p, const char **rest)
{
    static const struct {
        const char *name;
        bool tls, stomp, mqtt;
    } known[] = { { "mqtt://", false, false, true }, { "tcp://", false, true, true },  { "mqtts://", true, false, true },
                  { "ssl://", true, false, true },   { "tls://", true, false, true }, { "stomp://", false, true, false } };
    for (size_t i = 0; i < SL_COUNT(known); i++) {
        size_t n = strlen(known[i].name);
        if (strncmp(url, known[i].name, n) == 0 && (stomp ? known[i].stomp : known[i].mqtt)) {
            p->tls = known[i].tls;
            *rest = url + n;
            return SL_OK;
        }
    }
    if (stomp)
        return cli_wrong(command, "--url begins with stomp:// or unix: (TLS is Paho's, which speaks no STOMP)");
    if (strncmp(url, "unix:", 5) == 0)
        return cli_wrong(command, "--url: Paho knows no Unix sockets; mqtt://HOST:PORT and mqtts://HOST:PORT are possible");
    return cli_wrong(command, "--url begins with mqtt:// or mqtts://");
}

static struct sl_bytes cut(struct sl_bytes *from, size_t n, size_t skip)
{
    struct sl_bytes head = sl_bytes_of(from->p, n);
    *from = sl_bytes_of(from->p + n + skip, from->n - n - skip);
    return head;
}

static void user_part(struct sl_bytes *rest, struct parts *p)
{
    const uint8_t *at = memrchr(rest->p, '@', rest->n);
    if (at == NULL)
        return;
    struct sl_bytes who = cut(rest, (size_t)(at - rest->p), 1);
    const uint8_t *colon = memchr(who.p, ':', who.n);
    if (colon == NULL) {
        p->user = who;
        return;
    }
    p->user = cut(&who, (size_t)(colon - who.p), 1);
    p->password = who;
}

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT; a single slash may end it. */
static int host_part(struct sl_bytes rest, struct parts *p)
{
    if (rest.n > 0 && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (rest.n > 0 && rest.p[0] == '[') {
        const uint8_t *end = memchr(rest.p, ']', rest.n);
        if (end == NULL)
            return SL_EINVAL;
        p->host = sl_bytes_of(rest.p + 1, (size_t)(end - rest.p) - 1);
        rest = sl_bytes_of(end + 1, rest.n - p->host.n - 2);
    } else {
        const uint8_t *colon = memchr(rest.p, ':', rest.n);
        p->host = cut(&rest, colon == NULL ? rest.n : (size_t)(colon - rest.p), 0);
    }
    if (rest.n > 0 && rest.p[0] == ':')
        p->port = sl_bytes_of(rest.p + 1, rest.n - 1);
    else if (rest.n > 0)
        return SL_EINVAL;
    return p->host.n > 0 && memchr(p->host.p, '/', p->host.n) == NULL ? SL_OK : SL_EINVAL;
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* %XX in user and password. */
static char *decoded(struct sl_bytes in)
{
    char *out = sl_alloc(in.n + 1), *at = out;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '%' && i + 2 < in.n && hex(in.p[i + 1]) >= 0 && hex(in.p[i + 2]) >= 0) {
            *at++ = (char)(hex(in.p[i + 1]) * 16 + hex(in.p[i + 2]));
            i += 2;
        } else {
            *at++ = (char)in.p[i];
        }
    }
    *at = '\0';
    return out;
}

static void set_host(struct cli_address *out, struct sl_bytes host)
{
    snprintf(out->host, sizeof out->host, "%.*s", (int)host.n, (const char *)host.p);
}

static int from_path(const char *command, const char *path, struct cli_address *out)
{
    if (path[0] == '\0' || strlen(path) >= sizeof out->path)
        return cli_wrong(command, "--url is unix:PATH, and the path has at most %zu bytes", sizeof out->path - 1);
    snprintf(out->path, sizeof out->path, "%s", path);
    return SL_OK;
}

static int from_url(const char *command, const char *url, bool stomp, struct cli_address *out)
{
    if (stomp && strncmp(url, "unix:", 5) == 0)
        return from_path(command, url + 5, out);
    struct parts p = { 0 };
    const char *rest = NULL;
    uint64_t port;
    int err = scheme(command, url, stomp, &p, &rest);
    if (err != SL_OK)
        return err;
    struct sl_bytes left = sl_str(rest);
    user_part(&left, &p);
    if (host_part(left, &p) != SL_OK || p.host.n >= sizeof out->host ||
        (p.port.p != NULL && (sl_bytes_u64(p.port, 65535, &port) != SL_OK || port == 0)))
        return cli_wrong(command, "--url is %s://[USER[:PASSWORD]@]HOST[:PORT]", stomp ? "stomp" : "mqtt[s]");
    set_host(out, p.host);
    out->tls = p.tls;
    if (p.port.p != NULL)
        out->port = (uint16_t)port;
    if (p.user.p != NULL && p.user.n > 0)
        out->user = decoded(p.user);
    if (p.password.p != NULL)
        out->password = decoded(p.password);
    return SL_OK;
}

/* The file's first line. */
static int password_from(const char *command, const char *path, char **out)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "re");
    ssize_t n = f == NULL ? -1 : getline(&line, &cap, f);
    if (n < 0) {
        fprintf(stderr, "sluice %s: --password-file %s: %s\n", command, path,
                f == NULL ? strerror(errno) : "no line in it");
    } else {
        line[strcspn(line, "\r\n")] = '\0';
        *out = sl_strdup(line);
        explicit_bzero(line, cap);
    }
    free(line);
    if (f != NULL)
        fclose(f);
    return n < 0 ? SL_ENOENT : SL_OK;
}

static int who(const char *command, const struct cli_args *a, struct cli_address *out)
{
    if (a->user != NULL) {
        sl_free(out->user);
        out->user = sl_strdup(a->user);
    }
    if (a->password_file != NULL)
        return password_from(command, a->password_file, &out->password);
    const char *set = getenv(CLI_PASSWORD_VARIABLE);
    if (a->password != NULL)
        out->password = sl_strdup(a->password);
    else if (out->password == NULL && out->user != NULL && set != NULL)
        out->password = sl_strdup(set);
    if (out->password != NULL && out->user == NULL && a->version == 4)
        return cli_wrong(command, "MQTT 3.1.1 takes no password without a user");
    return SL_OK;
}

static void write_down_stomp(struct cli_address *a)
{
    const char *colon = strchr(a->host, ':');
    if (a->port == 0)
        a->port = 61613;
    if (a->path[0] != '\0')
        snprintf(a->shown, sizeof a->shown, "unix:%s", a->path);
    else
        snprintf(a->shown, sizeof a->shown, "stomp://%s%s%s:%u", colon ? "[" : "", a->host, colon ? "]" : "", a->port);
}

static void write_down(struct cli_address *a)
{
    bool v6 = strchr(a->host, ':') != NULL;
    const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    if (a->port == 0)
        a->port = a->tls ? 8883 : 1883;
    snprintf(a->uri, sizeof a->uri, "%s://%s%s%s:%u", a->tls ? "ssl" : "tcp", open, a->host, close, a->port);
    snprintf(a->shown, sizeof a->shown, "%s://%s%s%s:%u", a->tls ? "mqtts" : "mqtt", open, a->host, close, a->port);
}

int cli_address_of(const char *command, const struct cli_args *a, struct cli_address *out)
{
    int err = SL_OK;
    *out = (struct cli_address){ 0 };
    set_host(out, sl_str(a->host != NULL ? a->host : "127.0.0.1"));
    if (a->port != CLI_NOT_GIVEN)
        out->port = (uint16_t)a->port;
    if (a->url != NULL)
        err = from_url(command, a->url, a->stomp, out);
    else
        out->tls = a->tls || a->cafile != NULL || a->capath != NULL || a->cert != NULL || a->insecure;
    if (err == SL_OK && a->url != NULL && !out->tls && (a->tls || a->cafile != NULL || a->cert != NULL || a->insecure))
        err = cli_wrong(command, "TLS options need a URL that begins with mqtts://");
    if (err == SL_OK)
        err = who(command, a, out);
    if (err != SL_OK) {
        cli_address_fini(out);
        return err;
    }
    if (a->stomp)
        write_down_stomp(out);
    else
        write_down(out);
    return SL_OK;
}

void cli_address_fini(struct cli_address *a)
{
    if (a->password != NULL)
        explicit_bzero(a->password, strlen(a->password));
    sl_free(a->password);
    sl_free(a->user);
    a->password = NULL;
    a->user = NULL;
}
