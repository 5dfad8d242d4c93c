#include "drive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES (1 << 20)

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* "-" stands for no bytes, so that a line splits into words. */
static struct drive_bytes from_hex(const char *hex)
{
    struct drive_bytes out = { calloc(1, strlen(hex) / 2 + 1), 0 };
    if (out.p == NULL)
        drive_failed("memory", 0);
    for (; hex[0] != '-' && hex[0] != '\0' && hex[1] != '\0'; hex += 2)
        out.p[out.n++] = (char)(digit(hex[0]) << 4 | digit(hex[1]));
    return out;
}

void drive_read_options(struct drive_options *o, int argc, char **argv)
{
    if (argc != 5 && argc != 9)
        drive_failed("usage: PORT VERSION CLIENT_ID CLEAN [WILL_TOPIC QOS RETAIN HEX]", argc);
    memset(o, 0, sizeof *o);
    snprintf(o->uri, sizeof o->uri, "tcp://127.0.0.1:%d", atoi(argv[1]));
    o->version = atoi(argv[2]);
    o->client_id = argv[3];
    o->clean = atoi(argv[4]) != 0;
    if (argc == 9) {
        o->will_topic = argv[5];
        o->will_qos = atoi(argv[6]);
        o->will_retain = atoi(argv[7]) != 0;
        o->will = from_hex(argv[8]);
    }
}

void drive_free_options(struct drive_options *o)
{
    free(o->will.p);
}

void drive_next(struct drive_command *c)
{
    static char line[LINE_BYTES], hex[LINE_BYTES];
    int retain = 0;
    free(c->payload.p);
    memset(c, 0, sizeof *c);
    c->what = DRIVE_QUIT;
    if (fgets(line, sizeof line, stdin) == NULL)
        return;
    if (sscanf(line, "sub %1023s %d", c->topic, &c->qos) == 2) {
        c->what = DRIVE_SUBSCRIBE;
    } else if (sscanf(line, "pub %1023s %d %d %1048575s", c->topic, &c->qos, &retain, hex) == 4) {
        c->what = DRIVE_PUBLISH;
        c->retain = retain != 0;
        c->payload = from_hex(hex);
    }
}

void drive_say(const char *what, int value)
{
    flockfile(stdout);
    printf("%s %d\n", what, value);
    fflush(stdout);
    funlockfile(stdout);
}

void drive_say_message(const char *topic, int qos, bool retain, const void *payload, size_t n)
{
    const unsigned char *p = payload;
    flockfile(stdout);
    printf("message %s %d %d ", topic, qos, retain ? 1 : 0);
    for (size_t i = 0; i < n; i++)
        printf("%02x", p[i]);
    printf(n == 0 ? "-\n" : "\n");
    fflush(stdout);
    funlockfile(stdout);
}

void drive_failed(const char *what, int code)
{
    fprintf(stderr, "%s: %d\n", what, code);
    _exit(1);
}
