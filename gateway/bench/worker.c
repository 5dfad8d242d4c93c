/* `sluice bench worker`: the command of a pool that is being measured. */
#include <sluice_worker.h>
#include <stdio.h>

#include "bench/witness.h"
#include "modes.h"

static const char help[] =
    "usage: sluice bench worker [OPTION]...\n"
    "\n"
    "The command of a pool of mode \"socket\": checks and measures what sluice bench sends.\n"
    "\n";

static int handle(struct sluice_worker_message *m, struct witness *seen)
{
    struct sluice_worker_view v = sluice_worker_message_payload(m);
    uint32_t attempt = sluice_worker_message_attempt(m);
    if (attempt == 1 && sluice_worker_message_redelivered(m))
        attempt = 2;
    if (witness_see(seen, sl_bytes_of(v.data, v.size), attempt) == WITNESS_FAIL)
        return sluice_worker_retry(m, -1, "on purpose");
    return sluice_worker_ack(m);
}

/* As sluice_worker_run, with reports also while nothing comes. */
static int serve(struct sluice_worker *w, struct witness *seen)
{
    int err = SLUICE_WORKER_OK;
    while (err == SLUICE_WORKER_OK) {
        struct sluice_worker_message *m;
        err = sluice_worker_next_within(w, 1000, &m);
        if (err == SLUICE_WORKER_OK) {
            err = handle(m, seen);
        } else if (err == SLUICE_WORKER_TIMEOUT) {
            witness_tick(seen);
            err = SLUICE_WORKER_OK;
        }
    }
    return err;
}

static int options(int argc, char **argv, struct witness_options *o)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s%s", help, witness_help);
            return 0;
        }
        if (witness_option(o, argc, argv, &i) != SL_OK) {
            fprintf(stderr, "sluice bench worker: unknown or incomplete option \"%s\"\n", argv[i]);
            return 2;
        }
    }
    return -1;
}

int mode_worker(int argc, char **argv)
{
    struct witness_options o = { 0 };
    struct sluice_worker *w;
    int status = options(argc, argv, &o);
    if (status >= 0)
        return status;
    int err = sluice_worker_open(&(struct sluice_worker_options){ .name = "bench" }, &w);
    if (err == SLUICE_WORKER_OK) {
        struct witness *seen = witness_new(&o);
        err = serve(w, seen);
        sluice_worker_close(w);
        witness_free(seen);
    }
    if (err == SLUICE_WORKER_DRAINED)
        return 0;
    fprintf(stderr, "sluice bench worker: %s (%s)\n", sluice_worker_error_text(err),
            sluice_worker_detail());
    return err == SLUICE_WORKER_ENOFD ? 2 : 1;
}
