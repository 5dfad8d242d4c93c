/* What the drivers of C clients share: their command line, the commands that come on stdin and the
 * events that go out on stdout. ../drivers.py tells the words. */
#ifndef E2E_DRIVE_H
#define E2E_DRIVE_H

#include <stdbool.h>
#include <stddef.h>

#define DRIVE_EXPIRY_S 3600
#define DRIVE_KEEP_ALIVE_S 30
#define DRIVE_WAIT_MS 30000

struct drive_bytes {
    char *p;
    size_t n;
};

struct drive_options {
    char uri[64];
    int version; /* 4 or 5 */
    const char *client_id;
    bool clean;
    const char *will_topic; /* NULL: no will */
    int will_qos;
    bool will_retain;
    struct drive_bytes will;
};

struct drive_command {
    enum { DRIVE_SUBSCRIBE, DRIVE_PUBLISH, DRIVE_QUIT } what;
    char topic[1024];
    int qos;
    bool retain;
    struct drive_bytes payload; /* owned by the command until the next one */
};

/* Ends the program when they make no sense. */
void drive_read_options(struct drive_options *o, int argc, char **argv);
void drive_free_options(struct drive_options *o);
/* Waits for the next command; the end of stdin is DRIVE_QUIT. */
void drive_next(struct drive_command *c);

void drive_say(const char *what, int value);
/* May be called on any thread. */
void drive_say_message(const char *topic, int qos, bool retain, const void *payload, size_t n);
/* Says on stderr what went wrong, and ends with 1. */
_Noreturn void drive_failed(const char *what, int code);

#endif
