/* What the gateway and the nursery say to each other: one record is one packet
 * of a SOCK_SEQPACKET pair; descriptors travel beside the order that needs them.
 * Both ends are the same program, so there is no version; still nothing is
 * trusted: a packet that does not parse is refused and told. */
#ifndef POOL_NURSERY_WIRE_H
#define POOL_NURSERY_WIRE_H

#include "core/bytes.h"
#include "pool/nursery.h"

#define NURSERY_STAGE_MAX 48u
#define NURSERY_NUMBER_MAX 63 /* largest descriptor number in a worker that an order may name */

enum nursery_order_kind { ORDER_SPAWN = 1, ORDER_KILL, ORDER_LOCK, ORDER_FAIL };
enum nursery_report_kind { REPORT_LOCKED = 1, REPORT_SPAWNED, REPORT_FAILED, REPORT_EXITED, REPORT_REFUSED };

/* A spawn order as the nursery reads it. The strings point into the packet
 * (each ends in NUL there), the two lists are allocated. */
struct nursery_spawn_order {
    uint64_t token;
    char **argv, **env; /* each ends in NULL */
    const char *cwd, *user, *group; /* or NULL */
    int numbers[NURSERY_FDS_MAX];   /* where the descriptors of the packet go */
    size_t n_fds;
    struct nursery_rlimit rlimits[NURSERY_RLIMITS_MAX];
    size_t n_rlimits;
    int nice;
    bool no_new_privs;
    bool has_oom_score_adj;
    int oom_score_adj;
};

/* SL_ETOOBIG: over NURSERY_ORDER_MAX. */
SL_CHECK int nursery_spawn_encode(struct sl_buf *out, const struct nursery_spawn *s);
/* Reads what follows the kind byte. SL_EPEER: it is not one. */
SL_CHECK int nursery_spawn_decode(struct sl_reader *r, struct nursery_spawn_order *out);
void nursery_spawn_order_fini(struct nursery_spawn_order *o);

struct nursery_failure {
    uint64_t token;
    int error;
    const char *stage;
};

struct nursery_report {
    enum nursery_report_kind kind;
    uint64_t token;
    int error;
    char stage[NURSERY_STAGE_MAX]; /* FAILED, REFUSED */
    struct nursery_exit exit;      /* EXITED; SPAWNED uses its pid */
};
#define NURSERY_REPORT_BYTES_MAX 128u
/* Returns the packet's length. */
size_t nursery_report_encode(uint8_t out[NURSERY_REPORT_BYTES_MAX], const struct nursery_report *r);
SL_CHECK int nursery_report_decode(struct sl_bytes in, struct nursery_report *out);

#endif
