/* What a good configuration becomes: defaults, values, --set, files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

static struct config *parse_as(const char *text, const char *filename,
                               const struct config_overrides *over)
{
    struct config_faults faults = { NULL, 0 };
    struct config *c = NULL;
    int err = config_parse(sl_str(text), filename, over, &c, &faults);
    for (size_t i = 0; i < faults.n; i++)
        print_error("%s\n", faults.v[i]);
    assert_int_equal(err, SL_OK);
    assert_int_equal(faults.n, 0);
    return c;
}

static struct config *parse(const char *text)
{
    return parse_as(text, "t.json", NULL);
}

static struct config *parse_set(const char *text, const char *const *sets, size_t n)
{
    struct config_overrides over = { .sets = sets, .n_sets = n };
    return parse_as(text, "t.json", &over);
}

/* ---- defaults ---- */

static void defaults_of_the_top_are_those_of_the_contract(void **state)
{
    (void)state;
    struct config *c = parse("{}");
    assert_string_equal(c->source, "t.json");
    assert_string_equal(c->node, "sluice");
    assert_string_equal(c->data_dir, "data");
    assert_int_equal(c->drain_timeout_ms, 30000);
    assert_int_equal(c->sys_interval_ms, 10000);
    assert_int_equal(c->sharing, CONFIG_SHARE_FREE);
    assert_int_equal(c->limits.max_connections, 100000);
    assert_int_equal(c->limits.max_message_bytes, 1 << 20);
    assert_int_equal(c->limits.connect_timeout_ms, 10000);
    assert_int_equal(c->limits.accept_rate, 5000);
    assert_int_equal(c->limits.memory_bytes, 1 << 30);
    assert_int_equal(c->limits.min_free_disk_bytes, 64 << 20);
    assert_int_equal(c->limits.max_sessions, 100000);
    assert_int_equal(c->limits.partial_packet_bytes, 128 << 10);
    assert_int_equal(c->limits.session_queue.messages, 1000);
    assert_int_equal(c->limits.session_queue.bytes, 1 << 20);
    assert_int_equal(c->limits.session_queue.age_ms, 0);
    assert_int_equal(c->limits.session_queue.in_flight, 1024);
    assert_int_equal(c->limits.session_subscriptions, 10000);
    assert_int_equal(c->limits.session_output_bytes, 256 << 10);
    assert_int_equal(c->limits.retained.messages, 100000);
    assert_int_equal(c->limits.retained.bytes, 256 << 20);
    assert_int_equal(c->store.map_size_bytes, UINT64_C(64) << 30);
    assert_int_equal(c->store.commit_delay_us, 200);
    assert_int_equal(c->store.reserve_bytes, 64 << 20);
    assert_int_equal(c->store.engine, CONFIG_LMDB);
    assert_true(c->auth.anonymous);
    assert_null(c->auth.password_file);
    assert_null(c->auth.acl_file);
    assert_int_equal(c->jobs.max, 100000);
    assert_int_equal(c->jobs.ttl_ms, 3600000);
    assert_int_equal(c->trace.events, 0);
    assert_int_equal(c->sessions.default_expiry_ms, UINT64_C(7) * 86400000);
    assert_int_equal(c->n_queues + c->n_routes + c->n_pools, 0);
    config_free(c);
}

static void without_listeners_mqtt_and_stomp_are_on_loopback(void **state)
{
    (void)state;
    struct config *c = parse("{}");
    assert_int_equal(c->n_listeners, 2);
    assert_string_equal(c->listeners[0].bind, "127.0.0.1:1883");
    assert_int_equal(c->listeners[0].protocol, CONFIG_MQTT);
    assert_string_equal(c->listeners[1].bind, "127.0.0.1:61613");
    assert_int_equal(c->listeners[1].protocol, CONFIG_STOMP);
    config_free(c);
    c = parse("{ \"listeners\": [] }");
    assert_int_equal(c->n_listeners, 0);
    config_free(c);
}

static void defaults_of_a_listener_are_those_of_the_contract(void **state)
{
    (void)state;
    struct config *c = parse("{}");
    const struct config_listener *l = &c->listeners[0];
    assert_int_equal(l->kind, CONFIG_BIND_TCP);
    assert_string_equal(l->host, "127.0.0.1");
    assert_int_equal(l->port, 1883);
    assert_null(l->path);
    assert_true(l->loopback);
    assert_int_equal(l->mode, 0600);
    assert_int_equal(l->anonymous_asked, CONFIG_INHERIT);
    assert_true(l->anonymous);
    assert_true(l->meaning);
    assert_int_equal(l->receive_maximum, 1024);
    assert_int_equal(l->park_bytes, 1 << 20);
    assert_int_equal(l->max_keep_alive_ms, 0);
    assert_int_equal(l->heart_beat_ms, 10000);
    assert_null(l->response_information);
    assert_null(l->tls);
    assert_null(l->token);
    assert_false(l->websocket);
    assert_false(l->proxy_protocol);
    config_free(c);
}

static void defaults_of_a_queue_are_those_of_the_contract(void **state)
{
    (void)state;
    struct config *c = parse("{ \"queues\": { \"q\": {} } }");
    const struct config_queue *q = config_queue_find(c, sl_str("q"));
    assert_ptr_equal(q, &c->queues[0]);
    assert_null(config_queue_find(c, sl_str("r")));
    assert_string_equal(q->name, "q");
    assert_true(q->durable);
    assert_int_equal(q->max_messages, 1000000);
    assert_int_equal(q->max_bytes, UINT64_C(4) << 30);
    assert_int_equal(q->overflow, CONFIG_BLOCK);
    assert_int_equal(q->max_attempts, 5);
    assert_int_equal(q->retry.initial_ms, 1000);
    assert_true(q->retry.factor == 2.0);
    assert_int_equal(q->retry.max_ms, 300000);
    assert_true(q->retry.jitter == 0.2);
    assert_int_equal(q->ack_timeout_ms, 30000);
    assert_int_equal(q->ttl_ms, 0);
    assert_int_equal(q->reject_grace_ms, 1000);
    assert_int_equal(q->dead.max_messages, 100000);
    assert_int_equal(q->dead.ttl_ms, UINT64_C(14) * 86400000);
    assert_null(q->dead.forward_to);
    assert_false(q->dead.expired);
    assert_string_equal(q->order_by, "none");
    assert_int_equal(q->on_failure, CONFIG_FAIL_BLOCK);
    assert_int_equal(q->dedup.window_ms, 0);
    assert_int_equal(q->dedup.max, 1000000);
    assert_int_equal(q->dedup.by.n, 2);
    assert_string_equal(q->dedup.by.v[0], "client");
    assert_string_equal(q->dedup.by.v[1], "header:dedup-id");
    assert_int_equal(q->dedup.policy, CONFIG_DEDUP_DROP);
    config_free(c);
}

static void no_rlimit_is_set_by_default(const struct config_rlimits *r)
{
    assert_true(r->nofile == CONFIG_UNSET && r->nproc == CONFIG_UNSET && r->cpu_s == CONFIG_UNSET);
    assert_true(r->as_bytes == CONFIG_UNSET && r->core_bytes == CONFIG_UNSET);
    assert_true(r->data_bytes == CONFIG_UNSET && r->fsize_bytes == CONFIG_UNSET);
    assert_true(r->memlock_bytes == CONFIG_UNSET && r->stack_bytes == CONFIG_UNSET);
}

static void defaults_of_a_pool_are_those_of_the_contract(void **state)
{
    (void)state;
    struct config *c =
        parse("{ \"queues\": { \"a\": {}, \"q\": {} },"
              "  \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"true\" } } }");
    const struct config_pool *p = &c->pools[0];
    assert_string_equal(p->name, "p");
    assert_string_equal(p->queue, "q");
    assert_int_equal(p->queue_index, 1);
    assert_int_equal(p->command.n, 1);
    assert_string_equal(p->command.v[0], "true");
    assert_null(p->command.v[1]);
    assert_int_equal(p->mode, CONFIG_SOCKET);
    assert_int_equal(p->workers.min, 1);
    assert_int_equal(p->workers.max, 1);
    assert_int_equal(p->prefetch, 64);
    assert_int_equal(p->concurrency, 1);
    assert_int_equal(p->time_limit_ms, 60000);
    assert_int_equal(p->soft_time_limit_ms + p->max_jobs + p->max_rss_bytes + p->max_age_ms, 0);
    assert_int_equal(p->idle_timeout_ms, 30000);
    assert_int_equal(p->max_rate + p->max_in_flight_per_key, 0);
    assert_true(p->no_new_privs);
    assert_int_equal(p->batch.max, 1);
    assert_int_equal(p->batch.wait_ms, 0);
    assert_null(p->worker_socket);
    assert_int_equal(p->env.n, 0);
    assert_null(p->env.v);
    assert_string_equal(p->cwd, ".");
    assert_null(p->user);
    assert_null(p->group);
    assert_int_equal(p->nice, 0);
    assert_int_equal(p->grace_ms, 5000);
    assert_int_equal(p->restart.initial_ms, 100);
    assert_true(p->restart.factor == 2.0);
    assert_int_equal(p->restart.max_ms, 30000);
    no_rlimit_is_set_by_default(&p->rlimits);
    config_free(c);
}

/* ---- values ---- */

static void every_kind_of_value_reaches_its_field(void **state)
{
    (void)state;
    struct config *c = parse(
        "{ \"limits\": { \"memory\": 33554432, \"max_message\": \"64KiB\" },"
        "  \"store\": { \"engine\": \"memory\", \"commit_delay\": \"2ms\" },"
        "  \"queues\": { \"a.b\": { \"durable\": false, \"overflow\": \"drop_oldest\","
        "      \"retry\": { \"factor\": 1.5e0, \"jitter\": 0 }, \"dead\": { \"ttl\": \"0s\" } } },"
        "  \"pools\": { \"p\": { \"queue\": \"a.b\", \"command\": [\"sh\", \"\"], \"nice\": -5,"
        "      \"mode\": \"exec\", \"workers\": { \"min\": 3, \"max\": 3 }, \"user\": \"nobody\","
        "      \"env\": { \"A\": \"1\", \"B_2\": \"x=y\" },"
        "      \"rlimits\": { \"nofile\": 64, \"as\": \"1GiB\", \"core\": null } } } }");
    const struct config_pool *p = &c->pools[0];
    assert_int_equal(c->limits.memory_bytes, 32 << 20);
    assert_int_equal(c->limits.max_message_bytes, 64 << 10);
    assert_int_equal(c->store.engine, CONFIG_MEMORY);
    assert_int_equal(c->store.commit_delay_us, 2000);
    assert_false(c->queues[0].durable);
    assert_int_equal(c->queues[0].overflow, CONFIG_DROP_OLDEST);
    assert_true(c->queues[0].retry.factor == 1.5 && c->queues[0].retry.jitter == 0.0);
    assert_int_equal(c->queues[0].dead.ttl_ms, 0);
    assert_int_equal(p->command.n, 2);
    assert_string_equal(p->command.v[1], "");
    assert_int_equal(p->nice, -5);
    assert_int_equal(p->mode, CONFIG_EXEC);
    assert_int_equal(p->workers.min, 3);
    assert_int_equal(p->workers.max, 3);
    assert_string_equal(p->user, "nobody");
    assert_int_equal(p->env.n, 2);
    assert_string_equal(p->env.v[0], "A=1");
    assert_string_equal(p->env.v[1], "B_2=x=y");
    assert_null(p->env.v[2]);
    assert_int_equal(p->rlimits.nofile, 64);
    assert_int_equal(p->rlimits.as_bytes, 1 << 30);
    assert_true(p->rlimits.core_bytes == CONFIG_UNSET);
    config_free(c);
}

static void what_subscribers_may_cost_is_taken_from_the_configuration(void **state)
{
    (void)state;
    struct config *c = parse(
        "{ \"sys_interval\": \"0s\", \"shared_subscriptions\": \"round_robin\","
        "  \"listeners\": [{ \"bind\": \"*:1\", \"protocol\": \"mqtt\", \"anonymous\": true, \"response_information\": \"reply/%c/\" }],"
        "  \"limits\": { \"session_queue\": { \"messages\": 7, \"bytes\": \"2KiB\", \"age\": \"1h\", \"in_flight\": 9 },"
        "      \"session_subscriptions\": 11, \"session_output\": \"8KiB\", \"retained\": { \"messages\": 0, \"bytes\": 13 } } }");
    assert_int_equal(c->sys_interval_ms, 0);
    assert_int_equal(c->sharing, CONFIG_SHARE_ROUND_ROBIN);
    assert_string_equal(c->listeners[0].response_information, "reply/%c/");
    assert_int_equal(c->limits.session_queue.messages, 7);
    assert_int_equal(c->limits.session_queue.bytes, 2048);
    assert_int_equal(c->limits.session_queue.age_ms, 3600000);
    assert_int_equal(c->limits.session_queue.in_flight, 9);
    assert_int_equal(c->limits.session_subscriptions, 11);
    assert_int_equal(c->limits.session_output_bytes, 8192);
    assert_int_equal(c->limits.retained.messages, 0);
    assert_int_equal(c->limits.retained.bytes, 13);
    config_free(c);
}

static void comments_may_stand_anywhere_and_are_text_inside_strings(void **state)
{
    (void)state;
    struct config *c = parse("// first\n/**/{/*a*/\"node\"/* \" */:/*b*/\"n\"//c\n,\n"
                             "\"data_dir\":\"/d//x/*y*/\" /* {,, */ /***/}// last");
    assert_string_equal(c->node, "n");
    assert_string_equal(c->data_dir, "/d//x/*y*/");
    config_free(c);
}

static void escapes_and_utf8_in_texts_are_read(void **state)
{
    (void)state;
    struct config *c =
        parse("\xEF\xBB\xBF{ \"data_dir\": \"/\\u00e4\\ud83d\\ude00\\t\\\"\xC3\xB6\" }");
    assert_string_equal(c->data_dir, "/\xC3\xA4\xF0\x9F\x98\x80\t\"\xC3\xB6");
    config_free(c);
}

static void routes_know_their_queues_by_index(void **state)
{
    (void)state;
    struct config *c = parse("{ \"queues\": { \"a\": {}, \"b\": {} }, \"routes\": ["
                             "{ \"match\": \"+/x/#\", \"queues\": [\"b\", \"a\"] },"
                             "{ \"match\": \"#\", \"queues\": \"b\" }] }");
    assert_int_equal(c->n_routes, 2);
    assert_string_equal(c->routes[0].match, "+/x/#");
    assert_int_equal(c->routes[0].queue_index[0], 1);
    assert_int_equal(c->routes[0].queue_index[1], 0);
    assert_int_equal(c->routes[1].queues.n, 1);
    assert_int_equal(c->routes[1].queue_index[0], 1);
    config_free(c);
}

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *bind, *host;
        uint16_t port;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:1883", "127.0.0.1", 1883,  true },
        { "127.9.9.9:0",   "127.9.9.9", 0,     true },
        { "localhost:1",   "127.0.0.1", 1,     true },
        { "[::1]:65535",   "::1",       65535, true },
        { "*:1883",        "0.0.0.0",   1883,  false},
        { "0.0.0.0:1883",  "0.0.0.0",   1883,  false},
        { "[::]:1883",     "::",        1883,  false},
        { "10.0.0.1:7",    "10.0.0.1",  7,     false},
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{ \"listeners\": [{ \"bind\": \"%s\", \"protocol\": \"mqtt\", \"anonymous\": "
                 "true }] }",
                 cases[i].bind);
        struct config *c = parse(text);
        const struct config_listener *l = &c->listeners[0];
        assert_int_equal(l->kind, CONFIG_BIND_TCP);
        assert_string_equal(l->bind, cases[i].bind);
        assert_string_equal(l->host, cases[i].host);
        assert_int_equal(l->port, cases[i].port);
        assert_int_equal(l->loopback, cases[i].loopback);
        config_free(c);
    }
}

static void beyond_loopback_a_listener_is_anonymous_when_it_says_so(void **state)
{
    (void)state;
    struct config *c =
        parse("{ \"auth\": { \"anonymous\": true }, \"listeners\": ["
              "{ \"bind\": \"0.0.0.0:1\", \"protocol\": \"mqtt\", \"anonymous\": true },"
              "{ \"bind\": \"127.0.0.1:2\", \"protocol\": \"stomp\", \"anonymous\": null }] }");
    assert_int_equal(c->listeners[0].anonymous_asked, CONFIG_YES);
    assert_true(c->listeners[0].anonymous);
    assert_int_equal(c->listeners[1].anonymous_asked, CONFIG_INHERIT);
    assert_true(c->listeners[1].anonymous);
    config_free(c);
}

static void relative_paths_are_relative_to_the_file(void **state)
{
    (void)state;
    static const struct {
        const char *filename, *data_dir, *cwd, *sock;
    } cases[] = {
        {"s.json",              "d",             ".",           "./m.sock"          },
        { "./s.json",           "./d",           ".",           "./m.sock"          },
        { "etc/s.json",         "etc/d",         "etc",         "etc/m.sock"        },
        { "/etc/sluice/s.json", "/etc/sluice/d", "/etc/sluice", "/etc/sluice/m.sock"},
        { "/s.json",            "/d",            "/",           "/m.sock"           },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct config *c = parse_as("{ \"data_dir\": \"d\", \"queues\": { \"q\": {} }, \"pools\": {"
                                    "\"p\": { \"queue\": \"q\", \"command\": \"./x\" } },"
                                    "\"listeners\": [{ \"bind\": \"unix:./m.sock\","
                                    "\"protocol\": \"mqtt\", \"mode\": \"0660\" }] }",
                                    cases[i].filename, NULL);
        assert_string_equal(c->data_dir, cases[i].data_dir);
        assert_string_equal(c->pools[0].cwd, cases[i].cwd);
        assert_string_equal(c->pools[0].command.v[0], "./x");
        assert_int_equal(c->listeners[0].kind, CONFIG_BIND_UNIX);
        assert_string_equal(c->listeners[0].path, cases[i].sock);
        assert_int_equal(c->listeners[0].mode, 0660);
        assert_true(c->listeners[0].loopback);
        config_free(c);
    }
}

static void absolute_paths_stay_as_they_are(void **state)
{
    (void)state;
    struct config *c =
        parse_as("{ \"data_dir\": \"/d\", \"queues\": { \"q\": {} }, \"pools\": {"
                 "\"p\": { \"queue\": \"q\", \"command\": \"x\", \"cwd\": \"/w/.\" } },"
                 "\"listeners\": [{ \"bind\": \"unix:/m.sock\","
                 "\"protocol\": \"stomp\" }] }",
                 "/etc/sluice/s.json", NULL);
    assert_string_equal(c->data_dir, "/d");
    assert_string_equal(c->pools[0].cwd, "/w/.");
    assert_string_equal(c->listeners[0].path, "/m.sock");
    config_free(c);
}

/* ---- --set and --data ---- */

static void set_replaces_and_makes_what_is_missing(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "node=gw-1",
        "queues.foo.max_attempts=3",
        "queues.foo.retry.max=\"1h\"",
        "queues[\"a.b\"].durable=false",
        "limits={\"accept_rate\":7}",
        "listeners[0].bind=127.0.0.1:0",
        "listeners[1].bind=unix:/tmp/x.sock",
        "listeners[1].protocol=stomp",
        "routes[0].match=#",
        "routes[0].queues[0]=foo",
        "queues.foo.ttl=9s",
        "queues.foo.ttl=10s",
    };
    struct config *c = parse_set("{ \"node\": \"x\", \"limits\": { \"memory\": \"2GiB\" },"
                                 "\"listeners\": [{ \"bind\": \"*:1\", \"protocol\": \"mqtt\" }] }",
                                 sets, SL_COUNT(sets));
    assert_string_equal(c->node, "gw-1");
    assert_int_equal(c->n_queues, 2);
    assert_int_equal(c->queues[0].max_attempts, 3);
    assert_int_equal(c->queues[0].retry.max_ms, 3600000);
    assert_int_equal(c->queues[0].ttl_ms, 10000);
    assert_string_equal(c->queues[1].name, "a.b");
    assert_false(c->queues[1].durable);
    assert_int_equal(c->limits.accept_rate, 7);
    assert_int_equal(c->limits.memory_bytes, 1 << 30);
    assert_int_equal(c->n_listeners, 2);
    assert_int_equal(c->listeners[0].port, 0);
    assert_int_equal(c->listeners[1].kind, CONFIG_BIND_UNIX);
    assert_int_equal(c->n_routes, 1);
    assert_int_equal(c->routes[0].queue_index[0], 0);
    config_free(c);
}

static void data_on_the_command_line_is_relative_to_the_current_folder(void **state)
{
    (void)state;
    struct config_overrides over = { .data_dir = "here" };
    struct config *c = parse_as("{ \"data_dir\": \"there\" }", "/etc/s.json", &over);
    assert_string_equal(c->data_dir, "here");
    config_free(c);
}

/* ---- files ---- */

static struct config *load(const char *path)
{
    struct config_faults faults = { NULL, 0 };
    struct config *c = NULL;
    int err = config_load(path, NULL, &c, &faults);
    for (size_t i = 0; i < faults.n; i++)
        print_error("%s\n", faults.v[i]);
    assert_int_equal(err, SL_OK);
    return c;
}

static void the_built_in_default_runs_the_demo_from_the_source_folder(void **state)
{
    (void)state;
    struct config *c = parse_as(config_builtin_text(), "built-in", NULL);
    assert_int_equal(c->n_listeners, 2);
    assert_string_equal(c->listeners[0].bind, "127.0.0.1:1883");
    assert_string_equal(c->listeners[1].bind, "127.0.0.1:61613");
    assert_string_equal(c->queues[0].name, "demo");
    assert_string_equal(c->routes[0].match, "demo/#");
    assert_string_equal(c->routes[1].match, "telemetry/#");
    assert_string_equal(c->pools[0].command.v[1], "workers/python/examples/print_telemetry.py");
    assert_string_equal(c->pools[0].cwd, ".");
    config_free(c);
}

static void the_file_that_people_start_from_has_no_fault(void **state)
{
    (void)state;
    struct config *c = load(CONFIG_SOURCE "/sluice.json");
    assert_int_equal(c->n_listeners, 2);
    assert_string_equal(c->queues[0].name, "telemetry");
    assert_string_equal(c->pools[0].name, "ingest");
    assert_string_equal(c->pools[0].cwd, CONFIG_SOURCE);
    config_free(c);
}

static void the_reference_has_no_fault_and_is_the_defaults(void **state)
{
    (void)state;
    struct config *c = load(CONFIG_SOURCE "/reference.json"), *d = parse("{}");
    assert_string_equal(c->node, d->node);
    assert_memory_equal(&c->limits, &d->limits, sizeof c->limits);
    assert_memory_equal(&c->store, &d->store, sizeof c->store);
    assert_int_equal(c->pools[0].time_limit_ms, 60000);
    no_rlimit_is_set_by_default(&c->pools[0].rlimits);
    config_free(c);
    config_free(d);
}

static void same_as_file(const struct sl_buf *made, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = sl_buf_len(made), cap = n + 1;
    char *text = malloc(cap);
    assert_non_null(text);
    size_t got = fread(text, 1, cap, f);
    fclose(f);
    bool same = got == n && memcmp(text, sl_buf_view(made).p, n) == 0;
    free(text);
    if (!same)
        fail_msg("%s is not what the table of keys makes: print it anew", path);
}

static void a_schedule_is_what_is_written_or_its_defaults(void **state)
{
    (void)state;
    struct config *c = parse("{ \"queues\": { \"q\": {} }, \"schedules\": [\n"
                             "  { \"name\": \"night\", \"cron\": \"30 2 * * *\", \"timezone\": \"Europe/Berlin\", \"missed\": \"once\", \"enabled\": false,\n"
                             "    \"publish\": { \"topic\": \"/queue/q\", \"payload\": \"\", \"content_type\": \"text/plain\", \"headers\": { \"a\": [\"1\", \"2\"], \"b\": \"\" },\n"
                             "      \"qos\": 2, \"priority\": 9, \"retain\": true, \"delay\": \"5s\", \"ttl\": \"1h\" } },\n"
                             "  { \"every\": \"90s\", \"publish\": { \"topic\": \"t\" } },\n"
                             "  { \"cron\": \"@every 90s\", \"publish\": { \"topic\": \"t\", \"payload_base64\": \"AAE=\" } } ] }");
    assert_int_equal(c->n_schedules, 3);
    const struct config_schedule *s = &c->schedules[0];
    assert_string_equal(s->name, "night");
    assert_int_equal(s->when.minutes, 1u << 30);
    assert_int_equal(s->when.hours, 1u << 2);
    assert_int_equal(s->when.every_ms, 0);
    assert_string_equal(s->timezone, "Europe/Berlin");
    assert_int_equal(s->missed, CONFIG_MISSED_ONCE);
    assert_false(s->enabled);
    assert_string_equal(s->publish.topic, "/queue/q");
    assert_string_equal(s->publish.payload, "");
    assert_null(s->publish.payload_base64);
    assert_string_equal(s->publish.content_type, "text/plain");
    static const char *const headers[] = { "a", "1", "a", "2", "b", "" };
    assert_int_equal(s->publish.headers.n, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(s->publish.headers.v[i], headers[i]);
    assert_int_equal(s->publish.qos, 2);
    assert_int_equal(s->publish.priority, 9);
    assert_true(s->publish.retain);
    assert_int_equal(s->publish.delay_ms, 5000);
    assert_int_equal(s->publish.ttl_ms, 3600000);
    s = &c->schedules[1];
    assert_null(s->cron);
    assert_int_equal(s->when.every_ms, 90000);
    assert_string_equal(s->timezone, "UTC");
    assert_int_equal(s->missed, CONFIG_MISSED_SKIP);
    assert_true(s->enabled);
    assert_null(s->publish.payload);
    assert_null(s->publish.content_type);
    assert_int_equal(s->publish.headers.n, 0);
    assert_int_equal(s->publish.qos, 1);
    assert_int_equal(s->publish.priority, 4);
    assert_false(s->publish.retain);
    assert_int_equal(c->schedules[2].when.every_ms, 90000);
    assert_string_equal(c->schedules[2].publish.payload_base64, "AAE=");
    config_free(c);
}

/* What was done is found again by it: it is the same in every version. */
static void a_schedule_without_a_name_has_the_same_one_at_each_start(void **state)
{
    (void)state;
    static const char text[] = "{ \"schedules\": [ { \"cron\": \"@daily\", \"publish\": { \"topic\": \"t\" } }, { \"every\": \"1d\", \"publish\": { \"topic\": \"t\" } },"
                               "{ \"cron\": \"@daily\", \"publish\": { \"topic\": \"t\", \"payload\": \"a\" } }, { \"cron\": \"@daily\", \"publish\": { \"topic\": \"u\" } },"
                               "{ \"cron\": \"@daily\", \"timezone\": \"Asia/Tokyo\", \"publish\": { \"topic\": \"t\" } } ] }";
    struct config *c = parse(text), *again = parse(text);
    assert_string_equal(c->schedules[0].name, "schedule-69f0f9f77c7af890");
    for (size_t i = 0; i < c->n_schedules; i++)
        assert_string_equal(c->schedules[i].name, again->schedules[i].name);
    config_free(c);
    config_free(again);
}

static void what_a_reload_takes_over_is_pools_and_schedules(void **state)
{
    (void)state;
    struct config *before = parse("{}"), *schedule = parse("{ \"schedules\": [ { \"every\": \"1s\", \"publish\": { \"topic\": \"t\" } } ] }");
    struct config *other = parse("{ \"node\": \"b\", \"schedules\": [ { \"every\": \"1s\", \"publish\": { \"topic\": \"t\" } } ] }");
    struct config_faults faults = { NULL, 0 };
    assert_int_equal(config_reloadable(before, schedule, &faults), SL_OK);
    assert_int_equal(config_reloadable(before, other, &faults), SL_EINVAL);
    assert_int_equal(faults.n, 1);
    assert_string_equal(faults.v[0], "t.json: node: was changed, that needs a restart");
    config_faults_fini(&faults);
    config_free(before);
    config_free(schedule);
    config_free(other);
}

static void the_checked_in_reference_and_schema_are_those_of_the_table(void **state)
{
    (void)state;
    struct sl_buf out;
    sl_buf_init(&out, 0);
    config_print_reference(&out);
    same_as_file(&out, CONFIG_SOURCE "/reference.json");
    sl_buf_clear(&out);
    config_print_schema(&out);
    same_as_file(&out, CONFIG_SOURCE "/schema.json");
    sl_buf_fini(&out);
}

static void without_a_path_the_current_folder_is_looked_in_first(void **state)
{
    (void)state;
    char folder[] = "/tmp/sluice-test-XXXXXX", before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    FILE *f = fopen("sluice.json", "w");
    assert_non_null(f);
    fputs("{ \"node\": \"found\" }", f);
    fclose(f);
    struct config *c = load(NULL);
    assert_string_equal(c->node, "found");
    assert_string_equal(c->source, "./sluice.json");
    assert_string_equal(c->data_dir, "./data");
    config_free(c);
    assert_int_equal(unlink("sluice.json"), 0);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_the_top_are_those_of_the_contract),
        cmocka_unit_test(without_listeners_mqtt_and_stomp_are_on_loopback),
        cmocka_unit_test(defaults_of_a_listener_are_those_of_the_contract),
        cmocka_unit_test(defaults_of_a_queue_are_those_of_the_contract),
        cmocka_unit_test(defaults_of_a_pool_are_those_of_the_contract),
        cmocka_unit_test(every_kind_of_value_reaches_its_field),
        cmocka_unit_test(what_subscribers_may_cost_is_taken_from_the_configuration),
        cmocka_unit_test(comments_may_stand_anywhere_and_are_text_inside_strings),
        cmocka_unit_test(escapes_and_utf8_in_texts_are_read),
        cmocka_unit_test(routes_know_their_queues_by_index),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(beyond_loopback_a_listener_is_anonymous_when_it_says_so),
        cmocka_unit_test(relative_paths_are_relative_to_the_file),
        cmocka_unit_test(absolute_paths_stay_as_they_are),
        cmocka_unit_test(set_replaces_and_makes_what_is_missing),
        cmocka_unit_test(data_on_the_command_line_is_relative_to_the_current_folder),
        cmocka_unit_test(the_built_in_default_runs_the_demo_from_the_source_folder),
        cmocka_unit_test(the_file_that_people_start_from_has_no_fault),
        cmocka_unit_test(the_reference_has_no_fault_and_is_the_defaults),
        cmocka_unit_test(a_schedule_is_what_is_written_or_its_defaults),
        cmocka_unit_test(a_schedule_without_a_name_has_the_same_one_at_each_start),
        cmocka_unit_test(what_a_reload_takes_over_is_pools_and_schedules),
        cmocka_unit_test(the_checked_in_reference_and_schema_are_those_of_the_table),
        cmocka_unit_test(without_a_path_the_current_folder_is_looked_in_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
