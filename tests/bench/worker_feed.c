/* What a worker of mode "socket" costs by itself: plays the gateway for one process, keeps `prefetch` messages in
 * its hands (or gives it batches), and says how many it worked per second and what CPU time each took. No queue, no
 * store: the SDK and the socket alone. For every SDK:
 *
 *     worker_feed [--prefetch N | --batch N] [--messages N] [--payload BYTES] -- COMMAND… */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "wire/wire.h"

struct feed {
    uint64_t messages, sent, answered;
    uint32_t prefetch, batch; /* batch 0: none */
    uint32_t payload;
    int fd;
    struct sl_buf in, out;
    struct message *message;
    uint64_t reads, writes;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *why)
{
    (void)fprintf(stderr, "worker_feed: %s\n", why);
    exit(1);
}

static void flush(struct feed *f)
{
    while (sl_buf_len(&f->out) > 0) {
        struct sl_bytes v = sl_buf_view(&f->out);
        ssize_t n = send(f->fd, v.p, v.n, MSG_NOSIGNAL);
        if (n <= 0)
            die("the worker closed its socket");
        sl_buf_consume(&f->out, (size_t)n);
        f->writes++;
    }
}

static void take(struct feed *f, const struct wire_frame *frame)
{
    if (frame->type == WIRE_ACK)
        f->answered++;
    else if (frame->type == WIRE_ACKS)
        f->answered += wire_acks_count(&frame->u.acks);
    else if (frame->type != WIRE_HELLO)
        die(wire_type_name(frame->type));
}

static void receive(struct feed *f)
{
    uint8_t *p = sl_buf_reserve(&f->in, 65536);
    ssize_t n = recv(f->fd, p, 65536, 0);
    if (n <= 0)
        die("the worker closed its socket");
    sl_buf_commit(&f->in, (size_t)n);
    f->reads++;
    struct wire_reader reader = { WIRE_FROM_WORKER, WIRE_FRAME_MAX, NULL };
    struct wire_frame frame;
    size_t used;
    int err;
    while ((err = wire_decode(sl_buf_view(&f->in), &reader, &frame, &used)) == SL_OK) {
        take(f, &frame);
        sl_buf_consume(&f->in, used);
    }
    if (err != SL_EMORE)
        die(reader.fault);
}

static void deliver(struct feed *f, bool more)
{
    struct wire_deliver d = { ++f->sent, 1, 5, more ? WIRE_MORE : 0, message_record(f->message) };
    if (wire_encode_deliver(&f->out, &d) != SL_OK)
        die("a message is too large");
}

/* As the gateway does it: a pool without batches gets as many as there is room for, one with batches whole ones. */
static void fill(struct feed *f)
{
    if (f->batch == 0) {
        while (f->sent < f->messages && f->sent - f->answered < f->prefetch)
            deliver(f, false);
    } else if (f->sent == f->answered) {
        for (uint32_t i = 0; i < f->batch && f->sent < f->messages; i++)
            deliver(f, i + 1 < f->batch && f->sent + 1 < f->messages);
    }
    flush(f);
}

static void greet(struct feed *f)
{
    while (f->reads == 0)
        receive(f);
    struct wire_welcome w = { .version = WIRE_VERSION, .flags = f->batch > 0 ? WIRE_BATCHES : 0,
                              .prefetch = f->batch > 0 ? f->batch : f->prefetch, .concurrency = 1, .max_message = 1u << 20,
                              .max_result = 1u << 20, .queue = sl_str("feed"), .pool = sl_str("feed"), .node = sl_str("feed") };
    if (wire_encode_welcome(&f->out, &w) != SL_OK)
        die("WELCOME");
    flush(f);
}

static pid_t start(char **command, int fd)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char number[16];
    (void)snprintf(number, sizeof number, "%d", fd);
    (void)setenv("SLUICE_FD", number, 1);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

static double cpu_us(const struct timeval *t)
{
    return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

static int finish(struct feed *f, pid_t pid, double took)
{
    struct rusage used;
    int status;
    if (wire_encode_empty(&f->out, WIRE_DRAIN) != SL_OK)
        die("DRAIN");
    flush(f);
    if (wait4(pid, &status, 0, &used) != pid)
        die("wait4");
    double n = (double)f->messages;
    printf("%s %u: %.0f messages/s, worker CPU %.3f us user + %.3f us system per message, %.1f answers per read, %ld waits\n",
           f->batch > 0 ? "batch" : "prefetch", f->batch > 0 ? f->batch : f->prefetch, n / took, cpu_us(&used.ru_utime) / n,
           cpu_us(&used.ru_stime) / n, n / (double)f->reads, used.ru_nvcsw);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

static char **options(struct feed *f, int argc, char **argv)
{
    int i = 1;
    for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
        uint32_t v = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--prefetch") == 0)
            f->prefetch = v;
        else if (strcmp(argv[i], "--batch") == 0)
            f->batch = v;
        else if (strcmp(argv[i], "--messages") == 0)
            f->messages = v;
        else if (strcmp(argv[i], "--payload") == 0)
            f->payload = v;
        else
            die("unknown option");
    }
    if (i + 1 >= argc || f->prefetch == 0 || f->messages == 0)
        die("usage: worker_feed [--prefetch N | --batch N] [--messages N] [--payload BYTES] -- COMMAND...");
    return argv + i + 1;
}

int main(int argc, char **argv)
{
    struct feed f = { .messages = 1000000, .prefetch = 64, .payload = 256 };
    char **command = options(&f, argc, argv);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        die("socketpair");
    pid_t pid = start(command, ends[1]);
    (void)close(ends[1]);
    f.fd = ends[0];
    uint8_t *payload = sl_calloc(1, f.payload == 0 ? 1 : f.payload);
    memset(payload, 'x', f.payload);
    f.message = message_new(&(struct message_parts){ .id = 1, .protocol = MESSAGE_MQTT5, .qos = 1, .topic = sl_str("site/1/temperature"),
                                                     .client_id = sl_str("device-0001"), .payload = sl_bytes_of(payload, f.payload) });
    greet(&f);
    double from = seconds();
    while (f.answered < f.messages) {
        fill(&f);
        receive(&f);
    }
    int status = finish(&f, pid, seconds() - from);
    message_unref(f.message);
    sl_free(payload);
    sl_buf_fini(&f.in);
    sl_buf_fini(&f.out);
    return status;
}
