/* The configuration: JSON text with comments in, one plain struct out.
 *
 * config_parse is pure; config_load finds and reads the file. Both collect
 * every fault, not only the first, and give a configuration only when there is
 * none. All memory of a configuration belongs to it and lives until
 * config_free; users borrow. Names end in their unit. What a key means, its
 * default and its range are in one table (keys.c), from which the reference
 * and the schema are printed too. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "schedule/schedule.h"

/* An optional number that was not given. */
#define CONFIG_UNSET UINT64_MAX
#define CONFIG_INT_UNSET INT_MIN

enum config_protocol { CONFIG_MQTT, CONFIG_STOMP, CONFIG_HTTP };
enum config_bind_kind { CONFIG_BIND_TCP, CONFIG_BIND_UNIX };
enum config_overflow { CONFIG_BLOCK, CONFIG_REJECT, CONFIG_DROP_OLDEST };
enum config_on_failure { CONFIG_FAIL_BLOCK, CONFIG_FAIL_SKIP, CONFIG_FAIL_DEAD };
enum config_engine { CONFIG_LMDB, CONFIG_MEMORY };
enum config_pool_mode { CONFIG_SOCKET, CONFIG_LINES, CONFIG_EXEC };
#define CONFIG_DEDUP_PARTS 8u
enum config_dedup_policy { CONFIG_DEDUP_DROP, CONFIG_DEDUP_REPLACE };
enum config_missed { CONFIG_MISSED_SKIP, CONFIG_MISSED_ONCE, CONFIG_MISSED_ALL };
enum config_sharing { CONFIG_SHARE_FREE, CONFIG_SHARE_ROUND_ROBIN };
/* null, false, true */
enum config_tri { CONFIG_INHERIT, CONFIG_NO, CONFIG_YES };

struct config_strings {
    const char **v; /* ends in NULL; NULL when n is 0 */
    size_t n;
};

struct config_listener {
    const char *bind; /* as given: "127.0.0.1:1883", "[::1]:1883", "*:1883", "unix:PATH" */
    enum config_bind_kind kind;
    const char *host; /* tcp: IPv4 or IPv6 address without brackets; "*" became "0.0.0.0" */
    uint16_t port;    /* tcp: 0 lets the system choose */
    const char *path; /* unix: resolved against the configuration's folder */
    bool loopback;    /* tcp: 127/8 or ::1; unix: true */
    enum config_protocol protocol;
    uint32_t mode; /* unix: the socket file's rights */
    enum config_tri anonymous_asked;
    bool anonymous; /* what holds: anonymous_asked, or auth.anonymous */
    bool meaning;
    uint64_t receive_maximum;
    uint64_t park_bytes;
    uint64_t max_keep_alive_ms; /* 0: no limit */
    uint64_t heart_beat_ms;     /* 0: none */
    const char *response_information; /* NULL: none; %c is the client id */
    const char *tls, *token;    /* NULL in this version */
    bool websocket, proxy_protocol;
};

struct config_cap {
    uint64_t messages;
    uint64_t bytes;
};

struct config_session_queue {
    uint64_t messages, bytes;
    uint64_t age_ms; /* 0: any */
    uint64_t in_flight;
};

struct config_limits {
    uint64_t max_connections;
    uint64_t max_message_bytes;
    uint64_t connect_timeout_ms;
    uint64_t accept_rate; /* per second; 0: no limit */
    uint64_t memory_bytes;
    uint64_t min_free_disk_bytes;
    uint64_t max_sessions;
    uint64_t partial_packet_bytes;
    struct config_session_queue session_queue;
    uint64_t session_subscriptions;
    uint64_t session_output_bytes;
    struct config_cap retained;
};

struct config_store {
    uint64_t map_size_bytes;
    uint64_t commit_delay_us;
    uint64_t reserve_bytes;
    enum config_engine engine;
};

/* The n-th wait is initial * factor^(n-1), at most max, and varied by
 * ± jitter (a share of it). */
struct config_backoff {
    uint64_t initial_ms;
    double factor;
    uint64_t max_ms;
    double jitter;
};

struct config_queue {
    const char *name;
    bool durable;
    uint64_t max_messages;
    uint64_t max_bytes;
    enum config_overflow overflow;
    uint64_t max_attempts;
    struct config_backoff retry;
    uint64_t ack_timeout_ms;
    uint64_t ttl_ms; /* 0: none */
    uint64_t reject_grace_ms;
    struct {
        uint64_t max_messages;
        uint64_t ttl_ms; /* 0: none */
        const char *forward_to; /* NULL: nowhere; else another queue, and no cycle */
        size_t forward_index;   /* the same as index into config.queues */
        bool expired;
    } dead;
    const char *order_by; /* "none" */
    enum config_on_failure on_failure;
    struct {
        uint64_t window_ms; /* 0: off */
        uint64_t max;
        struct config_strings by;
        enum config_dedup_policy policy;
    } dedup;
};

struct config_route {
    const char *match;            /* a valid MQTT topic filter */
    struct config_strings queues; /* names, each exists, none twice */
    size_t *queue_index;          /* the same as indexes into config.queues */
};

/* setrlimit for a worker; CONFIG_UNSET: as the gateway was started. */
struct config_rlimits {
    uint64_t nofile, nproc, cpu_s;
    uint64_t as_bytes, core_bytes, data_bytes, fsize_bytes, memlock_bytes, stack_bytes;
};

struct config_pool {
    const char *name;
    const char *queue; /* exists */
    size_t queue_index;
    struct config_strings command; /* run in `cwd`, found by PATH; none: only external workers */
    enum config_pool_mode mode;
    struct {
        uint64_t min, max; /* equal: a fixed number; 0 at most: only external workers */
    } workers;
    uint64_t prefetch;
    uint64_t concurrency;
    uint64_t time_limit_ms;
    uint64_t soft_time_limit_ms; /* 0: none */
    uint64_t max_jobs;           /* 0: no limit */
    uint64_t max_rss_bytes;      /* 0: no limit */
    uint64_t max_age_ms;         /* 0: no limit */
    uint64_t idle_timeout_ms; /* 0: none */
    uint64_t max_rate;
    uint64_t max_in_flight_per_key; /* 0: no limit */
    const char *max_in_flight_key;  /* "client", "topic", "header:NAME" */
    struct {
        uint64_t max;
        uint64_t wait_ms;
    } batch;
    uint64_t watchdog_ms;       /* 0: none */
    const char *worker_socket;  /* resolved; NULL: none */
    const char *worker_token;   /* or NULL */
    uint32_t worker_socket_mode;
    uint64_t worker_socket_max;
    struct config_strings env; /* "NAME=value", added to the gateway's own */
    const char *cwd;           /* resolved against the configuration's folder */
    const char *user, *group;  /* NULL: the gateway's */
    struct config_rlimits rlimits;
    int nice;
    int oom_score_adj; /* CONFIG_INT_UNSET: as the gateway's */
    bool no_new_privs;
    uint64_t grace_ms; /* from SIGTERM to SIGKILL */
    struct {
        uint64_t initial_ms;
        double factor;
        uint64_t max_ms;
    } restart;
};

struct config_schedule {
    const char *name; /* as given, or made from what it is: unique */
    const char *cron; /* as given; NULL: every */
    uint64_t every_ms; /* CONFIG_UNSET: cron */
    struct schedule_cron when; /* of either */
    const char *timezone;
    enum config_missed missed;
    bool enabled;
    struct {
        const char *topic; /* a topic, or "/queue/NAME" of a queue that exists */
        const char *payload, *payload_base64; /* one of them at most; the second is well-formed */
        const char *content_type;             /* NULL: none */
        struct config_strings headers;        /* name, value, name, value, … */
        uint64_t qos, priority;
        bool retain;
        uint64_t delay_ms, ttl_ms; /* 0: none */
    } publish;
};

struct config {
    const char *source; /* the file's name, or "built-in" */
    const char *node;
    const char *data_dir; /* resolved */
    uint64_t drain_timeout_ms;
    uint64_t sys_interval_ms; /* 0: no $SYS */
    enum config_sharing sharing;
    struct config_listener *listeners;
    size_t n_listeners;
    struct config_limits limits;
    struct config_store store;
    struct {
        bool anonymous;
        const char *password_file, *acl_file; /* NULL in this version */
    } auth;
    struct config_queue *queues;
    size_t n_queues;
    struct config_route *routes;
    size_t n_routes;
    struct config_pool *pools;
    size_t n_pools;
    struct config_schedule *schedules;
    size_t n_schedules;
    struct {
        uint64_t max;
        uint64_t ttl_ms;
    } jobs;
    struct {
        uint64_t events; /* 0: none are kept */
    } trace;
    struct {
        uint64_t default_expiry_ms;
    } sessions;
    struct config_memory *memory; /* private: everything above lives in it */
};

/* Lines "FILE:LINE:COL: path.to.key: what is wrong, what is allowed", in the
 * order of the file, those of --set last. All zero is empty. */
struct config_faults {
    char **v;
    size_t n;
};

void config_faults_fini(struct config_faults *faults);

/* The command line's part of a configuration; borrowed. */
struct config_overrides {
    const char *const *sets; /* "path=value" */
    size_t n_sets;
    const char *data_dir; /* --data, relative to the current folder, or NULL */
    bool (*is_zone)(const char *name); /* whether there is such a time zone; NULL: any is taken for one */
};

/* Pure. `filename` names the text in faults and gives the folder against which
 * relative paths are resolved ("" or no slash: the current one). `over` may be
 * NULL. `faults` must be empty.
 *
 * SL_OK      *out is the caller's, for config_free
 * SL_EINVAL  faults->v says why; *out is untouched */
SL_CHECK int config_parse(struct sl_bytes text, const char *filename,
                          const struct config_overrides *over, struct config **out,
                          struct config_faults *faults);

/* Reads `path`; NULL: ./sluice.json, /etc/sluice/sluice.json, or else the
 * built-in default (config_builtin_text). Codes as config_parse; a file that
 * cannot be read is SL_EINVAL with a fault too. */
SL_CHECK int config_load(const char *path, const struct config_overrides *over, struct config **out,
                         struct config_faults *faults);

/* Whether a gateway that runs with `before` can take `after` over without a restart:
 * they differ in their pools and schedules alone. SL_EINVAL: `faults`, which must be empty, names
 * each other key. */
SL_CHECK int config_reloadable(const struct config *before, const struct config *after,
                               struct config_faults *faults);

/* NULL is allowed. */
void config_free(struct config *c);

/* NULL when there is none. */
const struct config_queue *config_queue_find(const struct config *c, struct sl_bytes name);

/* The text used when there is no file: made for the source folder as current
 * folder. */
const char *config_builtin_text(void);

/* Append every key with default and comment, as config/reference.json; the
 * JSON Schema of it, as config/schema.json. The buffer must be unlimited. */
void config_print_reference(struct sl_buf *out);
void config_print_schema(struct sl_buf *out);

#endif
