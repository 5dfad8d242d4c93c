#include "keys.h"

#include <stdio.h>

#include "config/config.h"
#include "rules.h"

/* Where a field is; does not compile when it has another type than the row's. */
#define U64_AT(s, f)   _Generic(((s *)0)->f, uint64_t : offsetof(s, f))
#define REAL_AT(s, f)  _Generic(((s *)0)->f, double : offsetof(s, f))
#define BOOL_AT(s, f)  _Generic(((s *)0)->f, bool : offsetof(s, f))
#define INT_AT(s, f)   _Generic(((s *)0)->f, int : offsetof(s, f))
#define U32_AT(s, f)   _Generic(((s *)0)->f, uint32_t : offsetof(s, f))
#define TEXT_AT(s, f)  _Generic(((s *)0)->f, const char * : offsetof(s, f))
#define TEXTS_AT(s, f) _Generic(((s *)0)->f, struct config_strings : offsetof(s, f))
_Static_assert(sizeof(enum config_tri) == sizeof(int), "enums are stored as int");

#define TEXT(s, f)          .type = KEY_STRING, .at = TEXT_AT(s, f)
#define PATH(s, f)          .type = KEY_PATH, .at = TEXT_AT(s, f)
#define FLAG(s, f)          .type = KEY_BOOL, .at = BOOL_AT(s, f)
#define TRI(s, f)           .type = KEY_TRI, .at = offsetof(s, f)
#define COUNT(s, f)         .type = KEY_COUNT, .at = U64_AT(s, f)
#define INT(s, f)           .type = KEY_INT, .at = INT_AT(s, f)
#define REAL(s, f)          .type = KEY_REAL, .at = REAL_AT(s, f)
#define TIME(s, f)          .type = KEY_DURATION, .at = U64_AT(s, f)
#define TIME_US(s, f)       .type = KEY_DURATION_US, .at = U64_AT(s, f)
#define SIZE(s, f)          .type = KEY_SIZE, .at = U64_AT(s, f)
#define CHOICE(s, f, names) .type = KEY_CHOICE, .at = offsetof(s, f), .choices = (names)
#define HEADERS(s, f)       .type = KEY_HEADERS, .at = TEXTS_AT(s, f)
#define TEXTS(s, f)         .type = KEY_STRINGS, .at = TEXTS_AT(s, f)
#define ELEMENTS(s, f)                                                                             \
    .at = offsetof(s, f), .n_at = offsetof(s, n_##f), .size = sizeof(*((s *)0)->f)
#define RANGE(from, to)     .min = (double)(from), .max = (double)(to)
#define CHECKED(rule, text) .check = (rule), .allowed = (text)
#define DEF(json)           .def = (json)

#define KIB    1024.0
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define TIB    (1024 * GIB)
#define SECOND 1000.0
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)
#define MANY   1e12

static const char *const protocols[] = { "mqtt", "stomp", "http", NULL };
static const char *const engines[] = { "lmdb", "memory", NULL };
static const char *const overflows[] = { "block", "reject", "drop_oldest", NULL };
static const char *const on_failures[] = { "block", "skip", "dead", NULL };
static const char *const policies[] = { "drop", "replace", NULL };
static const char *const sharings[] = { "free", "round_robin", NULL };
static const char *const missed[] = { "skip", "once", "all", NULL };
static const char *const modes[] = { "socket", "lines", "exec", NULL };

#define C struct config
#define L struct config_listener
#define Q struct config_queue
#define R struct config_route
#define P struct config_pool
#define S struct config_schedule

/* clang-format off */
static const struct config_key keys[] = {
    { "node", TEXT(C, node), CHECKED(config_is_name, "a name: " CONFIG_NAME_ALLOWED), DEF("\"sluice\""), .doc = "the name of this gateway" },
    { "data_dir", PATH(C, data_dir), DEF("\"data\""), .doc = "the folder of the store, relative to that of this file" },
    { "drain_timeout", TIME(C, drain_timeout_ms), RANGE(0, DAY), DEF("\"30s\""), .doc = "how long workers may take to finish when the gateway stops" },
    { "sys_interval", TIME(C, sys_interval_ms), RANGE(0, HOUR), DEF("\"10s\""), .doc = "how often changed values are told at $SYS/broker/#; 0s: there is no $SYS" },
    { "shared_subscriptions", CHOICE(C, sharing, sharings), DEF("\"free\""), .doc = "who has the next message of a shared subscription: the member with the most room in flight, or each in turn" },

    { "listeners", KEY_LIST, ELEMENTS(C, listeners), DEF("[{\"bind\":\"127.0.0.1:1883\",\"protocol\":\"mqtt\"},{\"bind\":\"127.0.0.1:61613\",\"protocol\":\"stomp\"}]"), .doc = "where clients come in; without this key: MQTT on 127.0.0.1:1883, STOMP on 127.0.0.1:61613" },
    { "listeners[].bind", TEXT(L, bind), .flags = KEY_REQUIRED, .allowed = CONFIG_BIND_ALLOWED, .example = "\"127.0.0.1:1883\"", .doc = "where to listen" },
    { "listeners[].protocol", CHOICE(L, protocol, protocols), .flags = KEY_REQUIRED, .later = 1u << CONFIG_HTTP, .example = "\"mqtt\"", .doc = "what is spoken there" },
    { "listeners[].mode", .type = KEY_FILE_MODE, .at = U32_AT(L, mode), DEF("\"0600\""), .doc = "rights of a unix socket's file" },
    { "listeners[].anonymous", TRI(L, anonymous_asked), .later = 1u << CONFIG_NO, .allowed = "true or null", DEF("null"), .doc = "clients without a name may come in; null: on loopback and unix only, elsewhere it must be said" },
    { "listeners[].meaning", FLAG(L, meaning), DEF("true"), .doc = "whether headers such as priority and delay mean something" },
    { "listeners[].receive_maximum", COUNT(L, receive_maximum), RANGE(1, 65535), DEF("1024"), .doc = "publishes without an answer per connection" },
    { "listeners[].park_bytes", SIZE(L, park_bytes), RANGE(4 * KIB, GIB), DEF("\"1MiB\""), .doc = "parked publishes per connection while a queue is full" },
    { "listeners[].max_keep_alive", TIME(L, max_keep_alive_ms), RANGE(0, 65535 * SECOND), DEF("\"0s\""), .doc = "longest keep-alive that is granted; 0s: as the client asks" },
    { "listeners[].heart_beat", TIME(L, heart_beat_ms), RANGE(0, 65535 * SECOND), DEF("\"10s\""), .doc = "STOMP: the shortest time between heart-beats that is offered and asked for; 0s: none" },
    { "listeners[].response_information", TEXT(L, response_information), .flags = KEY_NULLABLE, CHECKED(config_is_response_information, "a topic prefix of at most 1024 bytes without wildcards, such as \"reply/%c/\""), DEF("null"), .doc = "told to MQTT 5 clients that ask where to expect answers; %c is the client id" },
    { "listeners[].tls", KEY_RESERVED, DEF("null"), .doc = "certificate, key, client CA" },
    { "listeners[].websocket", FLAG(L, websocket), .flags = KEY_LATER, DEF("false"), .doc = "MQTT and STOMP inside WebSocket" },
    { "listeners[].proxy_protocol", FLAG(L, proxy_protocol), .flags = KEY_LATER, DEF("false"), .doc = "a PROXY header comes first" },
    { "listeners[].token", TEXT(L, token), .flags = KEY_NULLABLE | KEY_LATER, DEF("null"), .doc = "bearer token of an HTTP listener" },

    { "limits", KEY_OBJECT, .doc = "limits of the whole gateway" },
    { "limits.max_connections", COUNT(C, limits.max_connections), RANGE(1, 10000000), DEF("100000"), .doc = "clamped to the file descriptors that the system grants" },
    { "limits.max_message", SIZE(C, limits.max_message_bytes), RANGE(1, 256 * MIB), DEF("\"1MiB\""), .doc = "largest payload" },
    { "limits.connect_timeout", TIME(C, limits.connect_timeout_ms), RANGE(100, HOUR), DEF("\"10s\""), .doc = "from accept to CONNECT" },
    { "limits.accept_rate", COUNT(C, limits.accept_rate), RANGE(0, 1000000), DEF("5000"), .doc = "accepts per second; 0: no limit" },
    { "limits.memory", SIZE(C, limits.memory_bytes), RANGE(16 * MIB, 16 * TIB), DEF("\"1GiB\""), .doc = "messages, buffers and queue nodes in memory" },
    { "limits.min_free_disk", SIZE(C, limits.min_free_disk_bytes), RANGE(0, 16 * TIB), DEF("\"64MiB\""), .doc = "with less free, intake stops" },
    { "limits.max_sessions", COUNT(C, limits.max_sessions), RANGE(1, 10000000), DEF("100000"), .doc = "sessions, connected or not" },
    { "limits.partial_packet", SIZE(C, limits.partial_packet_bytes), RANGE(KIB, 16 * MIB), DEF("\"128KiB\""), .doc = "largest packet before authentication" },
    { "limits.session_queue", KEY_OBJECT, .doc = "what waits for one session, connected or not; over it the oldest of QoS 0 goes first, then what is new is dropped" },
    { "limits.session_queue.messages", COUNT(C, limits.session_queue.messages), RANGE(1, 10000000), DEF("1000"), .doc = "messages, beside those in flight" },
    { "limits.session_queue.bytes", SIZE(C, limits.session_queue.bytes), RANGE(KIB, TIB), DEF("\"1MiB\""), .doc = "their bytes" },
    { "limits.session_queue.age", TIME(C, limits.session_queue.age_ms), RANGE(0, 100 * YEAR), DEF("\"0s\""), .doc = "older ones are dropped; 0s: at any age" },
    { "limits.session_queue.in_flight", COUNT(C, limits.session_queue.in_flight), RANGE(1, 65535), DEF("1024"), .doc = "messages of QoS 1 and 2 on their way that the client has not answered; its own Receive Maximum may be less" },
    { "limits.session_subscriptions", COUNT(C, limits.session_subscriptions), RANGE(1, 65535), DEF("10000"), .doc = "subscriptions of one session" },
    { "limits.session_output", SIZE(C, limits.session_output_bytes), RANGE(4 * KIB, GIB), DEF("\"256KiB\""), .doc = "output that waits for a slow reader; more waits in its queue" },
    { "limits.retained", KEY_OBJECT, .doc = "retained messages; over it new ones are refused" },
    { "limits.retained.messages", COUNT(C, limits.retained.messages), RANGE(0, 100000000), DEF("100000"), .doc = "messages; 0: none are kept, and clients are told" },
    { "limits.retained.bytes", SIZE(C, limits.retained.bytes), RANGE(0, TIB), DEF("\"256MiB\""), .doc = "bytes, held in memory" },

    { "store", KEY_OBJECT, .doc = "the store on disk" },
    { "store.map_size", SIZE(C, store.map_size_bytes), RANGE(256 * MIB, 64 * TIB), DEF("\"64GiB\""), .doc = "most that the store may hold; sparse" },
    { "store.commit_delay", TIME_US(C, store.commit_delay_us), RANGE(0, 1000000), DEF("\"200us\""), .doc = "how long messages may wait unwritten for workers that are about to finish them" },
    { "store.reserve", SIZE(C, store.reserve_bytes), RANGE(64 * MIB, TIB), DEF("\"64MiB\""), .doc = "kept free to settle when intake has stopped" },
    { "store.engine", CHOICE(C, store.engine, engines), DEF("\"lmdb\""), .doc = "memory: nothing outlives the process" },

    { "auth", KEY_OBJECT, .doc = "who may come in" },
    { "auth.anonymous", FLAG(C, auth.anonymous), .flags = KEY_LATER, DEF("true"), .doc = "clients without a name may come in; beyond loopback the listener must say it too" },
    { "auth.password_file", PATH(C, auth.password_file), .flags = KEY_NULLABLE | KEY_LATER, DEF("null"), .doc = "users and password hashes" },
    { "auth.acl_file", PATH(C, auth.acl_file), .flags = KEY_NULLABLE | KEY_LATER, DEF("null"), .doc = "who may publish and subscribe where" },

    { "queues", KEY_MAP, ELEMENTS(C, queues), DEF("{}"), .example = "telemetry", .doc = "queues by name; in each what is ready of a higher priority goes first, always: a lower one waits while there is any" },
    { "queues.*.durable", FLAG(Q, durable), DEF("true"), .doc = "false: lost with the process" },
    { "queues.*.max_messages", COUNT(Q, max_messages), RANGE(1, MANY), DEF("1000000"), .doc = "ready, delayed and leased" },
    { "queues.*.max_bytes", SIZE(Q, max_bytes), RANGE(KIB, 64 * TIB), DEF("\"4GiB\""), .doc = "ready, delayed and leased" },
    { "queues.*.overflow", CHOICE(Q, overflow, overflows), DEF("\"block\""), .doc = "what happens to a message for a full queue" },
    { "queues.*.max_attempts", COUNT(Q, max_attempts), RANGE(1, 1000), DEF("5"), .doc = "after so many failed ones a message is dead" },
    { "queues.*.retry", KEY_OBJECT, .doc = "how long a failed message waits" },
    { "queues.*.retry.initial", TIME(Q, retry.initial_ms), RANGE(0, YEAR), DEF("\"1s\""), .doc = "after the first failure" },
    { "queues.*.retry.factor", REAL(Q, retry.factor), RANGE(1, 100), DEF("2"), .doc = "longer each time by" },
    { "queues.*.retry.max", TIME(Q, retry.max_ms), RANGE(0, YEAR), DEF("\"5m\""), .doc = "never longer than" },
    { "queues.*.retry.jitter", REAL(Q, retry.jitter), RANGE(0, 1), DEF("0.2"), .doc = "varied by this share" },
    { "queues.*.ack_timeout", TIME(Q, ack_timeout_ms), RANGE(100, YEAR), DEF("\"30s\""), .doc = "for consumers that are not the gateway's own processes" },
    { "queues.*.ttl", TIME(Q, ttl_ms), RANGE(0, 100 * YEAR), DEF("\"0s\""), .doc = "messages older than this expire; 0s: never" },
    { "queues.*.reject_grace", TIME(Q, reject_grace_ms), RANGE(0, HOUR), DEF("\"1s\""), .doc = "from a refused 3.1.1 publish to the end of its connection" },
    { "queues.*.dead", KEY_OBJECT, .doc = "dead letters" },
    { "queues.*.dead.max_messages", COUNT(Q, dead.max_messages), RANGE(1, MANY), DEF("100000"), .doc = "over it the oldest are lost, with an error in the log" },
    { "queues.*.dead.ttl", TIME(Q, dead.ttl_ms), RANGE(0, 100 * YEAR), DEF("\"14d\""), .doc = "kept this long; 0s: until removed" },
    { "queues.*.dead.forward_to", TEXT(Q, dead.forward_to), .flags = KEY_NULLABLE, .allowed = "the name of another queue", DEF("null"), .doc = "a queue that takes them instead" },
    { "queues.*.dead.expired", FLAG(Q, dead.expired), DEF("false"), .doc = "messages that expire while they wait are dead letters too" },
    { "queues.*.order_by", TEXT(Q, order_by), CHECKED(config_is_order, "\"none\", \"client\", \"topic\" or \"header:NAME\""), DEF("\"none\""), .doc = "messages that have this in common go one after the other, in the order of their acceptance; changes only on an empty queue" },
    { "queues.*.on_failure", CHOICE(Q, on_failure, on_failures), DEF("\"block\""), .doc = "with order_by, what a failed message does to its key: block, the others wait for its retry; skip, they go on and it comes again later; dead, it is dead at once" },
    { "queues.*.dedup", KEY_OBJECT, .doc = "duplicates" },
    { "queues.*.dedup.window", TIME(Q, dedup.window_ms), RANGE(0, YEAR), DEF("\"0s\""), .doc = "a message whose key came within this time before is a duplicate: it is accepted and does not enter; 0s: off" },
    { "queues.*.dedup.max", COUNT(Q, dedup.max), RANGE(1, 1e9), DEF("1000000"), .doc = "keys that are remembered, the latest; all queues' together may take a quarter of limits.memory, about 56 bytes each" },
    { "queues.*.dedup.by", TEXTS(Q, dedup.by), .flags = KEY_NONEMPTY, DEF("[\"client\",\"header:dedup-id\"]"), .doc = "what makes the key: client, topic, payload, header:NAME, and retransmit (client, packet id, topic and payload, of what MQTT sends with DUP); without one of the headers there is no key" },
    { "queues.*.dedup.policy", CHOICE(Q, dedup.policy, policies), DEF("\"drop\""), .doc = "drop: the first one stays; replace: the newer takes its place while it waits" },

    { "routes", KEY_LIST, ELEMENTS(C, routes), DEF("[]"), .doc = "from topics to queues; every route that matches applies" },
    { "routes[].match", TEXT(R, match), .flags = KEY_REQUIRED, CHECKED(config_is_filter, "an MQTT topic filter such as \"site/+/up/#\""), .example = "\"telemetry/#\"", .doc = "topic filter" },
    { "routes[].queues", TEXTS(R, queues), .flags = KEY_REQUIRED | KEY_NONEMPTY, .allowed = "the name of a queue or a list of them", .example = "[\"telemetry\"]", .doc = "where they go" },

    { "pools", KEY_MAP, ELEMENTS(C, pools), DEF("{}"), .example = "ingest", .doc = "worker processes by name" },
    { "pools.*.queue", TEXT(P, queue), .flags = KEY_REQUIRED, .allowed = "the name of a queue", .example = "\"telemetry\"", .doc = "the queue they work on" },
    { "pools.*.command", TEXTS(P, command), .flags = KEY_NULLABLE | KEY_NONEMPTY, DEF("null"), .example = "[\"python3\",\"../workers/python/examples/print_telemetry.py\"]", .doc = "program and arguments; no shell; null: only external workers, with workers 0" },
    { "pools.*.mode", CHOICE(P, mode, modes), DEF("\"socket\""), .doc = "how messages reach a worker" },
    { "pools.*.workers", .type = KEY_WORKERS, .at = U64_AT(P, workers.min), RANGE(0, 1024), DEF("1"), .doc = "processes, 0 with a worker_socket alone; {\"min\": 1, \"max\": 8} follows the load, min 0 starts the first one with the first message" },
    { "pools.*.prefetch", COUNT(P, prefetch), RANGE(1, 65535), DEF("64"), .doc = "most messages in one worker, started or not; of large ones, those started and 1 MiB" },
    { "pools.*.concurrency", COUNT(P, concurrency), RANGE(1, 65535), DEF("1"), .doc = "messages that a worker works on at once" },
    { "pools.*.time_limit", TIME(P, time_limit_ms), RANGE(1, YEAR), DEF("\"60s\""), .doc = "a worker that takes longer is killed" },
    { "pools.*.soft_time_limit", TIME(P, soft_time_limit_ms), RANGE(0, YEAR), DEF("\"0s\""), .doc = "a worker that takes longer is told; 0s: not" },
    { "pools.*.max_jobs", COUNT(P, max_jobs), RANGE(0, MANY), DEF("0"), .doc = "a worker is replaced after so many messages, up to 15 % earlier; 0: never" },
    { "pools.*.max_rss", SIZE(P, max_rss_bytes), RANGE(0, 16 * TIB), DEF("\"0\""), .doc = "a worker with more resident memory is replaced, up to 15 % earlier, and at twice as much at once; 0: never" },
    { "pools.*.max_age", TIME(P, max_age_ms), RANGE(0, YEAR), DEF("\"0s\""), .doc = "an older worker is replaced, up to 15 % earlier; 0s: never" },
    { "pools.*.idle_timeout", TIME(P, idle_timeout_ms), RANGE(0, YEAR), DEF("\"30s\""), .doc = "without work for so long a pool goes down to workers.min; 0s: only one by one" },
    { "pools.*.max_rate", COUNT(P, max_rate), RANGE(0, 1e9), DEF("0"), .doc = "messages per second to all its workers together, a tenth of a second of it at once; 0: no limit" },
    { "pools.*.max_in_flight_per_key", COUNT(P, max_in_flight_per_key), RANGE(0, 65535), DEF("0"), .doc = "messages of one key in workers' hands; others wait and hold up nobody; the same for all pools of a queue; 0: no limit" },
    { "pools.*.max_in_flight_key", TEXT(P, max_in_flight_key), CHECKED(config_is_key, "\"client\", \"topic\" or \"header:NAME\""), DEF("\"client\""), .doc = "what that key is: client, topic or header:NAME" },
    { "pools.*.batch", KEY_OBJECT, .doc = "several messages as one delivery" },
    { "pools.*.batch.max", COUNT(P, batch.max), RANGE(1, 65535), DEF("1"), .doc = "most messages; a worker gets the next batch when it has answered all of one; of a key of order_by there is one in it; 1: no batches" },
    { "pools.*.batch.wait", TIME(P, batch.wait_ms), RANGE(0, HOUR), DEF("\"0s\""), .doc = "how long a batch may fill; 0s: what is there goes" },
    { "pools.*.worker_socket", PATH(P, worker_socket), .flags = KEY_NULLABLE, DEF("null"), .doc = "a Unix socket where workers that somebody else supervises join: those of the gateway's user, of this pool's, and root" },
    { "pools.*.worker_token", TEXT(P, worker_token), .flags = KEY_NULLABLE, CHECKED(config_is_token, "a text of 1 to 255 bytes"), DEF("null"), .doc = "what external workers have to say; null: nothing" },
    { "pools.*.worker_socket_mode", .type = KEY_FILE_MODE, .at = U32_AT(P, worker_socket_mode), DEF("\"0600\""), .doc = "rights of the socket's file" },
    { "pools.*.worker_socket_max", COUNT(P, worker_socket_max), RANGE(1, 65535), DEF("1024"), .doc = "external workers at once" },
    { "pools.*.watchdog", TIME(P, watchdog_ms), RANGE(0, YEAR), DEF("\"10s\""), .doc = "a worker that does not read for so long what it was given is replaced, and nobody is charged; 0s: never" },
    { "pools.*.env", .type = KEY_ENV, .at = TEXTS_AT(P, env), DEF("{}"), .doc = "added to the environment" },
    { "pools.*.cwd", PATH(P, cwd), DEF("\".\""), .doc = "where the command runs; \".\": the folder of this file" },
    { "pools.*.user", TEXT(P, user), .flags = KEY_NULLABLE, CHECKED(config_is_account, "a user's name"), DEF("null"), .doc = "null: the gateway's" },
    { "pools.*.group", TEXT(P, group), .flags = KEY_NULLABLE, CHECKED(config_is_account, "a group's name"), DEF("null"), .doc = "null: the gateway's" },
    { "pools.*.rlimits", KEY_OBJECT, .doc = "limits of each worker process, as setrlimit has them; null: as the gateway" },
    { "pools.*.rlimits.nofile", COUNT(P, rlimits.nofile), .flags = KEY_NULLABLE, RANGE(3, 1e9), DEF("null"), .doc = "open files" },
    { "pools.*.rlimits.nproc", COUNT(P, rlimits.nproc), .flags = KEY_NULLABLE, RANGE(0, 1e9), DEF("null"), .doc = "processes of the user" },
    { "pools.*.rlimits.cpu", COUNT(P, rlimits.cpu_s), .flags = KEY_NULLABLE, RANGE(1, 1e9), DEF("null"), .doc = "seconds of processor time" },
    { "pools.*.rlimits.as", SIZE(P, rlimits.as_bytes), .flags = KEY_NULLABLE, RANGE(MIB, 64 * TIB), DEF("null"), .doc = "address space" },
    { "pools.*.rlimits.core", SIZE(P, rlimits.core_bytes), .flags = KEY_NULLABLE, RANGE(0, 64 * TIB), DEF("null"), .doc = "core file" },
    { "pools.*.rlimits.data", SIZE(P, rlimits.data_bytes), .flags = KEY_NULLABLE, RANGE(MIB, 64 * TIB), DEF("null"), .doc = "data segment" },
    { "pools.*.rlimits.fsize", SIZE(P, rlimits.fsize_bytes), .flags = KEY_NULLABLE, RANGE(0, 64 * TIB), DEF("null"), .doc = "files that are written" },
    { "pools.*.rlimits.memlock", SIZE(P, rlimits.memlock_bytes), .flags = KEY_NULLABLE, RANGE(0, 64 * TIB), DEF("null"), .doc = "locked memory" },
    { "pools.*.rlimits.stack", SIZE(P, rlimits.stack_bytes), .flags = KEY_NULLABLE, RANGE(64 * KIB, 64 * TIB), DEF("null"), .doc = "stack" },
    { "pools.*.nice", INT(P, nice), RANGE(-20, 19), DEF("0"), .doc = "scheduling priority; 19 is the most modest" },
    { "pools.*.oom_score_adj", INT(P, oom_score_adj), .flags = KEY_NULLABLE, RANGE(-1000, 1000), DEF("null"), .doc = "1000: the first to go when memory is short; less than the gateway has needs CAP_SYS_RESOURCE; null: as the gateway" },
    { "pools.*.no_new_privs", FLAG(P, no_new_privs), DEF("true"), .doc = "a worker gains no rights by programs that it runs (setuid, capabilities)" },
    { "pools.*.grace", TIME(P, grace_ms), RANGE(0, DAY), DEF("\"5s\""), .doc = "from SIGTERM to SIGKILL" },
    { "pools.*.restart", KEY_OBJECT, .doc = "how long a worker that died is not started again" },
    { "pools.*.restart.initial", TIME(P, restart.initial_ms), RANGE(1, DAY), DEF("\"100ms\""), .doc = "after the first death" },
    { "pools.*.restart.factor", REAL(P, restart.factor), RANGE(1, 100), DEF("2"), .doc = "longer each time by" },
    { "pools.*.restart.max", TIME(P, restart.max_ms), RANGE(1, DAY), DEF("\"30s\""), .doc = "never longer than" },

    { "schedules", KEY_LIST, ELEMENTS(C, schedules), DEF("[]"), .doc = "messages at given times" },
    { "schedules[].name", TEXT(S, name), .flags = KEY_NULLABLE, CHECKED(config_is_name, "a name: " CONFIG_NAME_ALLOWED), DEF("null"), .doc = "what it has done is remembered under it; null: made from the other keys" },
    { "schedules[].cron", TEXT(S, cron), .flags = KEY_NULLABLE, .allowed = "five fields (minute, hour, day of month, month, day of week), @hourly, @daily, @weekly, @monthly, @yearly or \"@every 30s\"", DEF("null"), .example = "\"*/5 * * * *\"", .doc = "when; or every" },
    { "schedules[].every", TIME(S, every_ms), .flags = KEY_NULLABLE, RANGE(SECOND, 3660 * DAY), DEF("null"), .doc = "so long after the one before; or cron" },
    { "schedules[].timezone", TEXT(S, timezone), CHECKED(schedule_is_zone_name, "the name of a time zone such as \"Europe/Berlin\""), DEF("\"UTC\""), .doc = "where cron's fields are local time" },
    { "schedules[].missed", CHOICE(S, missed, missed), DEF("\"skip\""), .doc = "what becomes of times at which the gateway did not run: nothing, one message, or one for each (the latest 1000)" },
    { "schedules[].enabled", FLAG(S, enabled), DEF("true"), .doc = "false: nothing is published, and nothing is missed" },
    { "schedules[].publish", KEY_OBJECT, .flags = KEY_REQUIRED, .doc = "the message" },
    { "schedules[].publish.topic", TEXT(S, publish.topic), .flags = KEY_REQUIRED, CHECKED(config_is_topic, "a topic without wildcards such as \"jobs/report\", or \"/queue/NAME\""), .example = "\"jobs/report\"", .doc = "where to" },
    { "schedules[].publish.payload", TEXT(S, publish.payload), .flags = KEY_NULLABLE, CHECKED(config_is_any, "a text"), DEF("null"), .example = "\"{}\"", .doc = "its content as text" },
    { "schedules[].publish.payload_base64", TEXT(S, publish.payload_base64), .flags = KEY_NULLABLE, CHECKED(config_is_base64, "base64 with padding"), DEF("null"), .doc = "or as bytes" },
    { "schedules[].publish.content_type", TEXT(S, publish.content_type), .flags = KEY_NULLABLE, CHECKED(config_is_short, "a text of at most 65535 bytes"), DEF("null"), .example = "\"application/json\"", .doc = "what the payload is" },
    { "schedules[].publish.headers", HEADERS(S, publish.headers), DEF("{}"), .doc = "user properties of MQTT 5, headers of STOMP; those with a meaning have it" },
    { "schedules[].publish.qos", COUNT(S, publish.qos), RANGE(0, 2), DEF("1"), .doc = "quality of service for subscribers" },
    { "schedules[].publish.priority", COUNT(S, publish.priority), RANGE(0, 9), DEF("4"), .doc = "9 goes first" },
    { "schedules[].publish.retain", FLAG(S, publish.retain), DEF("false"), .doc = "kept for later subscribers" },
    { "schedules[].publish.delay", TIME(S, publish.delay_ms), RANGE(0, 10 * YEAR), DEF("\"0s\""), .doc = "queues hand it out so much later" },
    { "schedules[].publish.ttl", TIME(S, publish.ttl_ms), RANGE(0, 10 * YEAR), DEF("\"0s\""), .doc = "it expires so long after its time; 0s: never" },
    { "bridges", KEY_RESERVED, DEF("[]"), .doc = "other brokers" },
    { "jobs", KEY_OBJECT, .doc = "job status at $jobs" },
    { "jobs.max", COUNT(C, jobs.max), RANGE(0, 1e9), DEF("100000"), .doc = "jobs whose status is known; 0: none" },
    { "jobs.ttl", TIME(C, jobs.ttl_ms), RANGE(0, YEAR), DEF("\"1h\""), .doc = "kept this long after their end" },
    { "trace", KEY_OBJECT, .doc = "what happened to each message" },
    { "trace.events", COUNT(C, trace.events), RANGE(0, 100000), DEF("0"), .doc = "the latest events of all messages are kept, 64 bytes each; 0: none" },
    { "sessions", KEY_OBJECT, .doc = "sessions of clients" },
    { "sessions.default_expiry", TIME(C, sessions.default_expiry_ms), RANGE(0, 100 * YEAR), DEF("\"7d\""), .doc = "after so long an absence sessions end of clients that cannot say it themselves (3.1.1, clean session off); 0s: never" },
};
/* clang-format on */

const struct config_key *config_keys(size_t *n)
{
    *n = SL_COUNT(keys);
    return keys;
}

bool config_key_is_in(const struct config_key *key, const char *scope)
{
    size_t n = strlen(scope);
    const char *rest = key->path;
    if (n > 0) {
        if (strncmp(rest, scope, n) != 0 || rest[n] != '.')
            return false;
        rest += n + 1;
    }
    return strchr(rest, '.') == NULL;
}

const char *config_key_name(const struct config_key *key)
{
    const char *dot = strrchr(key->path, '.');
    return dot == NULL ? key->path : dot + 1;
}

const struct config_key *config_key_find(const char *scope, struct sl_bytes name)
{
    for (size_t i = 0; i < SL_COUNT(keys); i++)
        if (config_key_is_in(&keys[i], scope) && sl_bytes_is(name, config_key_name(&keys[i])))
            return &keys[i];
    return NULL;
}

const char *config_key_scope(const struct config_key *key, char *out, size_t cap)
{
    const char *end = key->type == KEY_MAP ? ".*" : key->type == KEY_LIST ? "[]" : "";
    (void)snprintf(out, cap, "%s%s", key->path, end);
    return out;
}
