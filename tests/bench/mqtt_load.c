/* A closed-loop MQTT 3.1.1 load: CONNECTIONS clients keep WINDOW publishes of
 * PAYLOAD bytes unanswered at QoS 1 for SECONDS, and count the PUBACKs.
 *
 *   mqtt_load PORT [CONNECTIONS [WINDOW [PAYLOAD [SECONDS [TOPIC]]]]]
 *
 * Prints one line: messages, seconds, messages per second, own CPU µs per
 * message. One thread, one epoll; a connection's whole window is one write. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int fd;
    uint16_t next_id;
    unsigned partial; /* bytes of an incomplete PUBACK */
    uint8_t *out;     /* publishes not taken by the socket yet */
    size_t out_n, out_cap;
};

struct load {
    unsigned connections, window, payload, seconds;
    const char *topic;
    uint8_t *packet; /* one PUBLISH; the id is patched in */
    size_t packet_n, id_at;
    int epoll;
    uint64_t acked;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_packet(struct load *l)
{
    size_t topic_n = strlen(l->topic);
    size_t rest = 2 + topic_n + 2 + l->payload;
    l->packet = calloc(1, rest + 5);
    if (l->packet == NULL)
        die("calloc");
    uint8_t *p = l->packet;
    *p++ = 0x32;
    for (size_t v = rest;; v >>= 7) {
        *p++ = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        if (v <= 0x7F)
            break;
    }
    *p++ = (uint8_t)(topic_n >> 8);
    *p++ = (uint8_t)topic_n;
    memcpy(p, l->topic, topic_n);
    p += topic_n;
    l->id_at = (size_t)(p - l->packet);
    p += 2;
    memset(p, 'x', l->payload);
    l->packet_n = (size_t)(p - l->packet) + l->payload;
}

static void flush_out(struct client *c)
{
    while (c->out_n > 0) {
        ssize_t n = write(c->fd, c->out, c->out_n);
        if (n < 0) {
            if (errno == EAGAIN)
                return;
            die("write");
        }
        memmove(c->out, c->out + n, c->out_n - (size_t)n);
        c->out_n -= (size_t)n;
    }
}

static void publish(struct load *l, struct client *c, unsigned count)
{
    size_t need = c->out_n + count * l->packet_n;
    if (need > c->out_cap) {
        c->out = realloc(c->out, need);
        if (c->out == NULL)
            die("realloc");
        c->out_cap = need;
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t *p = c->out + c->out_n;
        memcpy(p, l->packet, l->packet_n);
        if (++c->next_id == 0)
            c->next_id = 1;
        p[l->id_at] = (uint8_t)(c->next_id >> 8);
        p[l->id_at + 1] = (uint8_t)c->next_id;
        c->out_n += l->packet_n;
    }
    flush_out(c);
}

static void open_client(struct load *l, struct client *c, uint16_t port, unsigned number)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char id[16];
    int n = snprintf(id, sizeof id, "load%05u", number);
    uint8_t hello[64] = { 0x10, (uint8_t)(12 + n), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, (uint8_t)n };
    memcpy(hello + 14, id, (size_t)n);
    uint8_t connack[4];
    if (write(c->fd, hello, 14 + (size_t)n) != 14 + n || recv(c->fd, connack, 4, MSG_WAITALL) != 4 || connack[3] != 0)
        die("connack");
    struct epoll_event ev = { .events = EPOLLIN, .data = { .ptr = c } };
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
}

static void on_readable(struct load *l, struct client *c)
{
    uint8_t in[65536];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    if (n == 0)
        die("closed by the server");
    if (n < 0)
        return;
    size_t bytes = c->partial + (size_t)n;
    unsigned acks = (unsigned)(bytes / 4);
    c->partial = (unsigned)(bytes % 4);
    l->acked += acks;
    publish(l, c, acks);
}

static void run(struct load *l)
{
    struct epoll_event events[256];
    double start = now_s(), end = start + l->seconds;
    while (now_s() < end) {
        int n = epoll_wait(l->epoll, events, 256, 100);
        for (int i = 0; i < n; i++)
            on_readable(l, events[i].data.ptr);
    }
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    double cpu = (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
    double took = now_s() - start;
    printf("%llu messages, %.2f s, %.0f/s, generator %.2f us/message\n", (unsigned long long)l->acked, took,
           (double)l->acked / took, cpu * 1e6 / (double)(l->acked == 0 ? 1 : l->acked));
}

int main(int argc, char **argv)
{
    struct load l = { .connections = 50, .window = 20, .payload = 256, .seconds = 5, .topic = "telemetry/load" };
    if (argc < 2) {
        fprintf(stderr, "usage: mqtt_load PORT [CONNECTIONS [WINDOW [PAYLOAD [SECONDS [TOPIC]]]]]\n");
        return 2;
    }
    unsigned *numbers[] = { &l.connections, &l.window, &l.payload, &l.seconds };
    for (int i = 2; i < argc && i < 6; i++)
        *numbers[i - 2] = (unsigned)strtoul(argv[i], NULL, 10);
    if (argc > 6)
        l.topic = argv[6];
    l.epoll = epoll_create1(0);
    make_packet(&l);
    struct client *clients = calloc(l.connections, sizeof *clients);
    if (clients == NULL)
        die("calloc");
    for (unsigned i = 0; i < l.connections; i++)
        open_client(&l, &clients[i], (uint16_t)strtoul(argv[1], NULL, 10), i);
    for (unsigned i = 0; i < l.connections; i++)
        publish(&l, &clients[i], l.window);
    run(&l);
    return 0;
}
