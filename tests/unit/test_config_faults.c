/* What a broken configuration is told: the exact lines, in the order of the
 * text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/config.h"

static void append(char *out, size_t cap, const struct config_faults *faults)
{
    size_t used = 0;
    *out = '\0';
    for (size_t i = 0; i < faults->n && used < cap; i++)
        used += (size_t)snprintf(out + used, cap - used, "%s\n", faults->v[i]);
}

static bool is_zone(const char *name)
{
    return strcmp(name, "Europe/Berlin") == 0;
}

/* The faults of a text, a line each; "" when there is none. */
static const char *faults_of(const char *text, size_t n, const char *const *sets, size_t n_sets)
{
    static char out[65536];
    struct config_overrides over = { .sets = sets, .n_sets = n_sets, .is_zone = is_zone };
    struct config_faults faults = { NULL, 0 };
    struct config *c = NULL;
    int err = config_parse(sl_bytes_of(text, n), "t", &over, &c, &faults);
    assert_int_equal(err, faults.n == 0 ? SL_OK : SL_EINVAL);
    assert_true((c != NULL) == (err == SL_OK));
    append(out, sizeof out, &faults);
    config_faults_fini(&faults);
    config_free(c);
    return out;
}

struct broken {
    const char *text, *faults;
};

static void check_all(const struct broken *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = faults_of(cases[i].text, strlen(cases[i].text), NULL, 0);
        if (strcmp(got, cases[i].faults) != 0)
            print_error("of: %s\n", cases[i].text);
        assert_string_equal(got, cases[i].faults);
    }
}

#define ALLOWED_VALUES "allowed are \"text\", a number, true, false, null, […] and {…}"

/* The cases are texts, laid out as texts. */
/* clang-format off */

static void broken_json_is_told_where_and_how(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "",
          "t:1:1: a value is missing, " ALLOWED_VALUES "\n" },
        { "// only a comment",
          "t:1:18: a value is missing, " ALLOWED_VALUES "\n" },
        { "{",
          "t:1:2: the text ends, \"}\" is missing for \"{\" at 1:1\n" },
        { "[1, 2",
          "t:1:6: the text ends, \"]\" is missing for \"[\" at 1:1\n" },
        { "{ \"node\": \"a\", }",
          "t:1:14: a comma before \"}\" is not allowed\n" },
        { "{ \"listeners\": [ ,] }",
          "t:1:18: listeners: a value is missing, " ALLOWED_VALUES "\n" },
        { "{ \"listeners\": [ {}, ] }",
          "t:1:18: listeners[0]: \"bind\" is missing, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:1:18: listeners[0]: \"protocol\" is missing, must be \"mqtt\" or \"stomp\"\n"
          "t:1:20: listeners: a comma before \"]\" is not allowed\n" },
        { "{ \"node\" \"a\" }",
          "t:1:10: a colon is missing after the key\n" },
        { "{ \"node\": \"a\" \"data_dir\": \"b\" }",
          "t:1:15: a comma or \"}\" is missing\n" },
        { "{ node: \"a\" }",
          "t:1:3: a key in double quotes is missing\n" },
        { "{ 'node': \"a\" }",
          "t:1:3: a key in double quotes is missing\n" },
        { "{ \"node\": 'a' }",
          "t:1:11: node: 'a' is no value, a text must be in double quotes\n" },
        { "{ \"node\": gw-1 }",
          "t:1:11: node: gw-1 is no value, a text must be in double quotes\n" },
        { "{ \"drain_timeout\": 30s }",
          "t:1:20: drain_timeout: 30s is no value, a text must be in double quotes\n" },
        { "{ \"node\": \"a\n"
          "\" }",
          "t:1:11: node: this text is not closed, '\"' is missing\n" },
        { "{ \"node\": \"a\\q\" }",
          "t:1:13: node: unknown escape, allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX\n" },
        { "{ \"node\": \"\\u12g4\" }",
          "t:1:12: node: \\u must be followed by four hexadecimal digits\n" },
        { "{ \"node\": \"\\ud83d\" }",
          "t:1:12: node: half a surrogate pair is not a character\n" },
        { "{ \"node\": \"\\udc00\" }",
          "t:1:12: node: half a surrogate pair is not a character\n" },
        { "{ \"node\": \"\\udfff\" }",
          "t:1:12: node: half a surrogate pair is not a character\n" },
        { "{ \"node\": \"\\udbff\\u0041\" }",
          "t:1:12: node: half a surrogate pair is not a character\n" },
        { "{ \"node\": \"a\\u0000b\", \"no\\u0000de\": 1, \"nod\": 2 }",
          "t:1:13: node: \\u0000 is not allowed\n"
          "t:1:26: \\u0000 is not allowed\n"
          "t:1:40: nod: unknown key, did you mean \"node\"?\n" },
        { "{ \"node\": \"a\" } x",
          "t:1:17: text after the end of the value\n" },
        { "{ \"node\": \"a\" /* to the end }",
          "t:1:15: this comment is not closed, \"*/\" is missing\n" },
        { "{ \"a\": 01 }",
          "t:1:8: a: 01 is no value, a text must be in double quotes\n" },
        { "{ \"a\": 1. }",
          "t:1:8: a: 1. is no value, a text must be in double quotes\n" },
        { "{ \"a\": +1 }",
          "t:1:8: a: +1 is no value, a text must be in double quotes\n" },
        { "{ \"a\": 11111111111111111111111111111111111111111 }",
          "t:1:8: a: 11111111111111111111111111111111111111111 is no value, a text must be in double quotes\n" },
        { "{ \"a\": NaN }",
          "t:1:8: a: NaN is no value, a text must be in double quotes\n" },
        { "{ \"a\": 1e }",
          "t:1:8: a: 1e is no value, a text must be in double quotes\n" },
        { "{ \"a\": 1E+2, \"b\": 1x }",
          "t:1:19: b: 1x is no value, a text must be in double quotes\n" },
        { "{ \"a\": \"b\tc\" }",
          "t:1:10: a: a control character in a text must be escaped, as in \\t\n" },
        { "{ \"a\" /* b",
          "t:1:7: this comment is not closed, \"*/\" is missing\n" },
        { "{ \"a\": /* b",
          "t:1:8: this comment is not closed, \"*/\" is missing\n" },
        { "{ \"a\": 1 /* b",
          "t:1:10: this comment is not closed, \"*/\" is missing\n" },
        { "{ \"a\": 1, /* b",
          "t:1:11: this comment is not closed, \"*/\" is missing\n" },
        { "{} /* b",
          "t:1:4: this comment is not closed, \"*/\" is missing\n" },
        { "{ \"a\": { \"b\": [\"x\", \"\\u0000\"], \"\\x\": 1 } }",
          "t:1:22: a.b: \\u0000 is not allowed\n"
          "t:1:33: a: unknown escape, allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX\n" },
        { "{ \"node\": \"a\",\n"
          "  \"limits\": { \"memory\": \"2GiB\", /* ä */ \"memory\": 1,\n"
          "    \"mem\\u006fry\": 2 },\n"
          "  \"node\": 3 }",
          "t:2:41: limits.memory: is given twice, first at 2:15\n"
          "t:3:5: limits.memory: is given twice, first at 2:15\n"
          "t:4:3: node: is given twice, first at 1:3\n" },
    };
    check_all(cases, SL_COUNT(cases));
}

static void wrong_keys_and_values_are_told_where_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "7",
          "t:1:1: 7 is not allowed, must be an object\n" },
        { "[]",
          "t:1:1: [] is not allowed, must be an object\n" },
        { "{ \"nod\": \"a\" }",
          "t:1:3: nod: unknown key, did you mean \"node\"?\n" },
        { "{\n"
          "  // a comment\n"
          "  \"limits\": {\n"
          "    \"max_conections\": 1,\n"
          "\t\"Memory\": \"1GiB\", \"accept-rate\": 1, \"colour\": \"red\"\n"
          "  }\n"
          "}",
          "t:4:5: limits.max_conections: unknown key, did you mean \"max_connections\"?\n"
          "t:5:2: limits.Memory: unknown key, did you mean \"memory\"?\n"
          "t:5:20: limits.accept-rate: unknown key, did you mean \"accept_rate\"?\n"
          "t:5:38: limits.colour: unknown key, allowed are max_connections, max_message, connect_timeout, accept_rate, memory, min_free_disk, max_sessions, partial_packet, session_queue, session_subscriptions, session_output, retained\n" },
        { "{ \"zzz\": { \"node\": [1, {}] } }",
          "t:1:3: zzz: unknown key, allowed are node, data_dir, drain_timeout, sys_interval, shared_subscriptions, listeners, limits, store, auth, queues, routes, pools, schedules, bridges, jobs, trace, sessions\n" },
        { "{ \"\": 1, \"a.b\": 2, \"limits\": { \"a\\\"b\\\\ä\": 3 } }",
          "t:1:3: [\"\"]: unknown key, allowed are node, data_dir, drain_timeout, sys_interval, shared_subscriptions, listeners, limits, store, auth, queues, routes, pools, schedules, bridges, jobs, trace, sessions\n"
          "t:1:10: [\"a.b\"]: unknown key, allowed are node, data_dir, drain_timeout, sys_interval, shared_subscriptions, listeners, limits, store, auth, queues, routes, pools, schedules, bridges, jobs, trace, sessions\n"
          "t:1:32: limits[\"a\\x22b\\x5c\\xc3\\xa4\"]: unknown key, allowed are max_connections, max_message, connect_timeout, accept_rate, memory, min_free_disk, max_sessions, partial_packet, session_queue, session_subscriptions, session_output, retained\n" },
        { "{ \"node\": \"a b\" }",
          "t:1:11: node: \"a b\" is not allowed, must be a name: 1 to 64 of A-Z a-z 0-9 . _ -\n" },
        { "{ \"node\": \"\" }",
          "t:1:11: node: \"\" is not allowed, must be a name: 1 to 64 of A-Z a-z 0-9 . _ -\n" },
        { "{ \"node\": 7, \"data_dir\": null }",
          "t:1:11: node: 7 is not allowed, must be a name: 1 to 64 of A-Z a-z 0-9 . _ -\n"
          "t:1:26: data_dir: null is not allowed, must be a path\n" },
        { "{ \"node\": \"01234567890123456789012345678901234567890123456789012345678901234\" }",
          "t:1:11: node: \"01234567890123456789012345678901234567890123...\" is not allowed, must be a name: 1 to 64 of A-Z a-z 0-9 . _ -\n" },
        { "{ \"drain_timeout\": 30 }",
          "t:1:20: drain_timeout: 30 is not allowed, must be a duration such as \"30s\" from 0s to 1d\n" },
        { "{ \"listeners\": [{ \"bind\": \"localhost:1\", \"protocol\": \"mqtt\", \"response_information\": \"a/#\" }] }",
          "t:1:86: listeners[0].response_information: \"a/#\" is not allowed, must be a topic prefix of at most 1024 bytes without wildcards, such as \"reply/%c/\" or null\n" },
        { "{ \"shared_subscriptions\": \"random\" }",
          "t:1:27: shared_subscriptions: \"random\" is not allowed, must be \"free\" or \"round_robin\"\n" },
        { "{ \"drain_timeout\": \"30 s\" }",
          "t:1:20: drain_timeout: \"30 s\" is not allowed, must be a duration such as \"30s\" from 0s to 1d\n" },
        { "{ \"drain_timeout\": \"2d\" }",
          "t:1:20: drain_timeout: \"2d\" is not allowed, must be a duration such as \"30s\" from 0s to 1d\n" },
        { "{ \"limits\": [] }",
          "t:1:13: limits: [] is not allowed, must be an object\n" },
        { "{ \"limits\": { \"memory\": \"1GB\" } }",
          "t:1:25: limits.memory: \"1GB\" is not allowed, must be a size such as \"64KiB\" from 16MiB to 16TiB\n" },
        { "{ \"limits\": { \"memory\": 1024 } }",
          "t:1:25: limits.memory: 1024 is not allowed, must be a size such as \"64KiB\" from 16MiB to 16TiB\n" },
        { "{ \"limits\": { \"memory\": 33554432.5, \"max_connections\": 0, \"accept_rate\": -1 } }",
          "t:1:25: limits.memory: 33554432.5 is not allowed, must be a size such as \"64KiB\" from 16MiB to 16TiB\n"
          "t:1:56: limits.max_connections: 0 is not allowed, must be a whole number from 1 to 10000000\n"
          "t:1:74: limits.accept_rate: -1 is not allowed, must be a whole number from 0 to 1000000\n" },
        /* The ids of one delivery's subscriptions are counted in 16 bits in the store. */
        { "{ \"limits\": { \"session_subscriptions\": 65536 } }",
          "t:1:40: limits.session_subscriptions: 65536 is not allowed, must be a whole number from 1 to 65535\n" },
        { "{ \"limits\": { \"max_connections\": 1e400, \"accept_rate\": \"5000\" } }",
          "t:1:34: limits.max_connections: inf is not allowed, must be a whole number from 1 to 10000000\n"
          "t:1:56: limits.accept_rate: \"5000\" is not allowed, must be a whole number from 0 to 1000000\n" },
        { "{ \"limits\": { \"mxa_message\": 1, \"max_message_of_this_gateway_that_nobody_ever_heard_of\": 1 } }",
          "t:1:15: limits.mxa_message: unknown key, did you mean \"max_message\"?\n"
          "t:1:33: limits.max_message_of_this_gateway_that_nobody_ever_heard_of: unknown key, allowed are max_connections, max_message, connect_timeout, accept_rate, memory, min_free_disk, max_sessions, partial_packet, session_queue, session_subscriptions, session_output, retained\n" },
        { "{ \"listeners\": [ { \"bind\": \"[::1:1\", \"protocol\": \"mqtt\" }, { \"bind\": \"[::x]:1\", \"protocol\": \"mqtt\" },\n"
          "  { \"bind\": \"unix:/012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567\", \"protocol\": \"mqtt\", \"mode\": \"0680\" },\n"
          "  { \"bind\": \"127.0.0.1\", \"protocol\": 1, \"mode\": 384 }, { \"bind\": \"127.0.0.1:\", \"protocol\": \"mqtt\" } ] }",
          "t:1:28: listeners[0].bind: \"[::1:1\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:1:70: listeners[1].bind: \"[::x]:1\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:2:13: listeners[2].bind: \"unix:/01234567890123456789012345678901234567890123456789012345678901234567890123456789012345...\" is too long, with its folder allowed are 107 bytes\n"
          "t:2:159: listeners[2].mode: \"0680\" is not allowed, must be an octal text from \"0000\" to \"0777\"\n"
          "t:3:13: listeners[3].bind: \"127.0.0.1\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:3:38: listeners[3].protocol: 1 is not allowed, must be \"mqtt\" or \"stomp\"\n"
          "t:3:49: listeners[3].mode: 384 is not allowed, must be an octal text from \"0000\" to \"0777\"\n"
          "t:3:66: listeners[4].bind: \"127.0.0.1:\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n" },
        { "{ \"store\": { \"commit_delay\": \"2s\", \"engine\": \"sqlite\" } }",
          "t:1:30: store.commit_delay: \"2s\" is not allowed, must be a duration such as \"200us\" from 0s to 1s\n"
          "t:1:46: store.engine: \"sqlite\" is not allowed, must be \"lmdb\" or \"memory\"\n" },
        { "{ \"limits\": { \"memory\": \"\", \"max_message\": \"1.5MiB\" }, \"data_dir\": \"\" }",
          "t:1:25: limits.memory: \"\" is not allowed, must be a size such as \"64KiB\" from 16MiB to 16TiB\n"
          "t:1:44: limits.max_message: \"1.5MiB\" is not allowed, must be a size such as \"64KiB\" from 1 to 256MiB\n"
          "t:1:68: data_dir: \"\" is not allowed, must be a path\n" },
        { "{ \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"x\", \"rlimits\": { \"xys\": 1, \"AS\": 1 },\n"
          "  \"env\": [], \"workers\": { \"min\": 2, \"max\": 1 }, \"nice\": 1.5, \"restart\": { \"factor\": \"2\" } } } }",
          "t:1:30: pools.p.queue: there is no queue \"q\", must be one of queues\n"
          "t:1:64: pools.p.rlimits.xys: unknown key, allowed are nofile, nproc, cpu, as, core, data, fsize, memlock, stack\n"
          "t:1:74: pools.p.rlimits.AS: unknown key, did you mean \"as\"?\n"
          "t:2:10: pools.p.env: [] is not allowed, must be an object of texts by names of A-Z a-z 0-9 _\n"
          "t:2:25: pools.p.workers: an object is not allowed, must be a whole number from 0 to 1024, or {\"min\": n, \"max\": n} with min from 0\n"
          "t:2:57: pools.p.nice: 1.5 is not allowed, must be a whole number from -20 to 19\n"
          "t:2:85: pools.p.restart.factor: \"2\" is not allowed, must be a number from 1 to 100\n" },
        { "{ \"auth\": { \"anonymous\": \"yes\" } }",
          "t:1:26: auth.anonymous: \"yes\" is not allowed, must be true\n" },
        { "{ \"auth\": { \"anonymous\": 1 } }",
          "t:1:26: auth.anonymous: 1 is not allowed, must be true\n" },
        { "{ \"queues\": [] }",
          "t:1:13: queues: [] is not allowed, must be an object of objects by name\n" },
        { "{ \"queues\": { \"q\": null, \"a/b\": {}, \"\": {} } }",
          "t:1:20: queues.q: null is not allowed, must be an object\n"
          "t:1:26: queues[\"a/b\"]: \"a/b\" is not allowed as a name, must be 1 to 64 of A-Z a-z 0-9 . _ -\n"
          "t:1:37: queues[\"\"]: \"\" is not allowed as a name, must be 1 to 64 of A-Z a-z 0-9 . _ -\n" },
        { "{ \"queues\": { \"q\": { \"overflow\": \"blok\", \"max_attempts\": 2.5,\n"
          "  \"retry\": { \"factor\": 0.5, \"jitter\": 2, \"initial\": true } } } }",
          "t:1:34: queues.q.overflow: \"blok\" is not allowed, must be \"block\", \"reject\" or \"drop_oldest\"\n"
          "t:1:58: queues.q.max_attempts: 2.5 is not allowed, must be a whole number from 1 to 1000\n"
          "t:2:24: queues.q.retry.factor: 0.5 is not allowed, must be a number from 1 to 100\n"
          "t:2:39: queues.q.retry.jitter: 2 is not allowed, must be a number from 0 to 1\n"
          "t:2:53: queues.q.retry.initial: true is not allowed, must be a duration such as \"30s\" from 0s to 365d\n" },
        { "{ \"listeners\": {} }",
          "t:1:16: listeners: {} is not allowed, must be a list of objects\n" },
        { "{ \"listeners\": [ {} ] }",
          "t:1:18: listeners[0]: \"bind\" is missing, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:1:18: listeners[0]: \"protocol\" is missing, must be \"mqtt\" or \"stomp\"\n" },
        { "{ \"listeners\": [ { \"bind\": 1883, \"protocol\": \"amqp\", \"mode\": \"600\", \"anonymous\": \"no\" } ] }",
          "t:1:28: listeners[0].bind: 1883 is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:1:46: listeners[0].protocol: \"amqp\" is not allowed, must be \"mqtt\" or \"stomp\"\n"
          "t:1:62: listeners[0].mode: \"600\" is not allowed, must be an octal text from \"0000\" to \"0777\"\n"
          "t:1:82: listeners[0].anonymous: \"no\" is not allowed, must be true or null\n" },
        { "{ \"listeners\": [ { \"bind\": \"1883\", \"protocol\": \"mqtt\" }, { \"bind\": \"example.org:1\", \"protocol\": \"mqtt\" },\n"
          "  { \"bind\": \"127.0.0.1:70000\", \"protocol\": \"mqtt\" }, { \"bind\": \"unix:\", \"protocol\": \"mqtt\" },\n"
          "  { \"bind\": \"::1:1883\", \"protocol\": \"mqtt\" } ] }",
          "t:1:28: listeners[0].bind: \"1883\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:1:68: listeners[1].bind: \"example.org:1\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:2:13: listeners[2].bind: \"127.0.0.1:70000\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:2:64: listeners[3].bind: \"unix:\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n"
          "t:3:13: listeners[4].bind: \"::1:1883\" is not allowed, must be ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH\n" },
        { "{ \"routes\": [ { \"match\": \"a/#/b\", \"queues\": [] }, { \"match\": \"a+\", \"queues\": 1 }, 3,\n"
          "  { \"match\": \"+a/b\", \"queues\": \"q\" }, { \"match\": \"a#\", \"queues\": \"q\" }, { \"match\": \"\", \"queues\": \"q\" } ] }",
          "t:1:26: routes[0].match: \"a/#/b\" is not allowed, must be an MQTT topic filter such as \"site/+/up/#\"\n"
          "t:1:45: routes[0].queues: [] is not allowed, must be the name of a queue or a list of them, at least one\n"
          "t:1:62: routes[1].match: \"a+\" is not allowed, must be an MQTT topic filter such as \"site/+/up/#\"\n"
          "t:1:78: routes[1].queues: 1 is not allowed, must be the name of a queue or a list of them, at least one\n"
          "t:1:83: routes[2]: 3 is not allowed, must be an object\n"
          "t:2:14: routes[3].match: \"+a/b\" is not allowed, must be an MQTT topic filter such as \"site/+/up/#\"\n"
          "t:2:32: routes[3].queues[0]: there is no queue \"q\", must be one of queues\n"
          "t:2:50: routes[4].match: \"a#\" is not allowed, must be an MQTT topic filter such as \"site/+/up/#\"\n"
          "t:2:66: routes[4].queues[0]: there is no queue \"q\", must be one of queues\n"
          "t:2:84: routes[5].match: \"\" is not allowed, must be an MQTT topic filter such as \"site/+/up/#\"\n"
          "t:2:98: routes[5].queues[0]: there is no queue \"q\", must be one of queues\n" },
        { "{ \"pools\": { \"p\": { \"queue\": 1, \"command\": [] }, \"r\": {} } }",
          "t:1:30: pools.p.queue: 1 is not allowed, must be the name of a queue\n"
          "t:1:44: pools.p.command: [] is not allowed, must be a text or a list of texts, at least one or null\n"
          "t:1:55: pools.r: \"queue\" is missing, must be the name of a queue\n"
          "t:1:55: pools.r.command: is missing, must be a text or a list of texts, at least one; null only with workers 0\n" },
        { "{ \"queues\": { \"q\": {} }, \"pools\": { \"p\": { \"queue\": \"q\", \"command\": [\"a\", 1],\n"
          "  \"workers\": -1, \"mode\": \"tcp\", \"env\": { \"A\": 1 }, \"nice\": 20, \"user\": \"a b\",\n"
          "  \"rlimits\": { \"nofile\": 1, \"cpus\": 1 } } } }",
          "t:1:75: pools.p.command[1]: 1 is not allowed, must be a text or a list of texts, at least one or null\n"
          "t:2:14: pools.p.workers: -1 is not allowed, must be a whole number from 0 to 1024, or {\"min\": n, \"max\": n} with min from 0\n"
          "t:2:26: pools.p.mode: \"tcp\" is not allowed, must be \"socket\", \"lines\" or \"exec\"\n"
          "t:2:47: pools.p.env.A: 1 is not allowed, must be an object of texts by names of A-Z a-z 0-9 _\n"
          "t:2:60: pools.p.nice: 20 is not allowed, must be a whole number from -20 to 19\n"
          "t:2:72: pools.p.user: \"a b\" is not allowed, must be a user's name or null\n"
          "t:3:26: pools.p.rlimits.nofile: 1 is not allowed, must be a whole number from 3 to 1000000000 or null\n"
          "t:3:29: pools.p.rlimits.cpus: unknown key, did you mean \"cpu\"?\n" },
        { "{ \"queues\": { \"q\": {} }, \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"a\",\n"
          "  \"workers\": { \"min\": 2 }, \"env\": { \"1A\": \"x\" } } } }",
          "t:2:14: pools.p.workers: an object is not allowed, must be a whole number from 0 to 1024, or {\"min\": n, \"max\": n} with min from 0\n"
          "t:2:43: pools.p.env.1A: \"x\" is not allowed, must be an object of texts by names of A-Z a-z 0-9 _\n" },
    };
    check_all(cases, SL_COUNT(cases));
}

static void what_is_not_in_this_version_is_refused_by_name(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "{ \"listeners\": [ { \"bind\": \"127.0.0.1:8080\", \"protocol\": \"http\", \"token\": \"x\" },\n"
          "  { \"bind\": \"127.0.0.1:1\", \"protocol\": \"mqtt\", \"tls\": { \"cert\": \"c\" }, \"websocket\": true, \"proxy_protocol\": true } ] }",
          "t:1:58: listeners[0].protocol: \"http\" is not available in this version, must be \"mqtt\" or \"stomp\"\n"
          "t:1:75: listeners[0].token: \"x\" is not available in this version, must be null\n"
          "t:2:55: listeners[1].tls: an object is not available in this version, must be null\n"
          "t:2:85: listeners[1].websocket: true is not available in this version, must be false\n"
          "t:2:109: listeners[1].proxy_protocol: true is not available in this version, must be false\n" },
        { "{ \"queues\": { \"q\": { \"dedup\": { \"by\": [\"payload\", \"retransmit\", \"colour\", \"header:\", \"none\", \"topic\", \"topic\"], \"max\": 0, \"policy\": \"x\" } } } }",
          "t:1:65: queues.q.dedup.by[2]: \"colour\" is not allowed, must be \"client\", \"topic\", \"payload\", \"retransmit\" or \"header:NAME\"\n"
          "t:1:75: queues.q.dedup.by[3]: \"header:\" is not allowed, must be \"client\", \"topic\", \"payload\", \"retransmit\" or \"header:NAME\"\n"
          "t:1:86: queues.q.dedup.by[4]: \"none\" is not allowed, must be \"client\", \"topic\", \"payload\", \"retransmit\" or \"header:NAME\"\n"
          "t:1:103: queues.q.dedup.by[6]: \"topic\" is named twice, must be once\n"
          "t:1:120: queues.q.dedup.max: 0 is not allowed, must be a whole number from 1 to 1000000000\n"
          "t:1:133: queues.q.dedup.policy: \"x\" is not allowed, must be \"drop\" or \"replace\"\n" },
        { "{ \"queues\": { \"q\": { \"dedup\": { \"by\": [\"header:a\", \"header:b\", \"header:c\", \"header:d\", \"header:e\", \"header:f\", \"header:g\", \"header:h\", \"header:i\"] } } } }",
          "t:1:39: queues.q.dedup.by: has more than 8 parts, must be fewer\n" },
        { "{ \"queues\": { \"q\": { \"order_by\": \"header:\", \"on_failure\": \"retry\" } } }",
          "t:1:34: queues.q.order_by: \"header:\" is not allowed, must be \"none\", \"client\", \"topic\" or \"header:NAME\"\n"
          "t:1:59: queues.q.on_failure: \"retry\" is not allowed, must be \"block\", \"skip\" or \"dead\"\n" },
        { "{ \"queues\": { \"q\": { \"order_by\": \"colour\", \"dedup\": { \"window\": 5 } } } }",
          "t:1:34: queues.q.order_by: \"colour\" is not allowed, must be \"none\", \"client\", \"topic\" or \"header:NAME\"\n"
          "t:1:65: queues.q.dedup.window: 5 is not allowed, must be a duration such as \"30s\" from 0s to 365d\n" },
        { "{ \"auth\": { \"anonymous\": false }, \"listeners\": [ { \"bind\": \"127.0.0.1:1\", \"protocol\": \"mqtt\", \"anonymous\": false } ] }",
          "t:1:26: auth.anonymous: false is not available in this version, must be true\n"
          "t:1:108: listeners[0].anonymous: false is not available in this version, must be true or null\n" },
        { "{ \"auth\": { \"password_file\": \"p\", \"acl_file\": \"a\" }, \"bridges\": [ { \"name\": \"hq\" } ] }",
          "t:1:30: auth.password_file: \"p\" is not available in this version, must be null\n"
          "t:1:47: auth.acl_file: \"a\" is not available in this version, must be null\n"
          "t:1:65: bridges: a list is not available in this version, must be []\n" },
    };
    check_all(cases, SL_COUNT(cases));
}

static void what_does_not_fit_together_is_told(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "{ \"listeners\": [ { \"bind\": \"0.0.0.0:1883\", \"protocol\": \"mqtt\" },\n"
          "  { \"bind\": \"[::]:1883\", \"protocol\": \"mqtt\", \"anonymous\": null } ] }",
          "t:1:28: listeners[0].bind: anonymous clients from beyond loopback must be asked for, with \"anonymous\": true on this listener\n"
          "t:2:13: listeners[1].bind: anonymous clients from beyond loopback must be asked for, with \"anonymous\": true on this listener\n" },
        { "{ \"listeners\": [ { \"bind\": \"127.0.0.1:1\", \"protocol\": \"mqtt\" }, { \"bind\": \"localhost:1\", \"protocol\": \"stomp\" },\n"
          "  { \"bind\": \"unix:a\", \"protocol\": \"mqtt\" }, { \"bind\": \"unix:./b\", \"protocol\": \"mqtt\" }, { \"bind\": \"unix:a\", \"protocol\": \"mqtt\" },\n"
          "  { \"bind\": \"127.0.0.1:0\", \"protocol\": \"mqtt\" }, { \"bind\": \"127.0.0.1:0\", \"protocol\": \"mqtt\" } ] }",
          "t:1:75: listeners[1].bind: listeners[0] has the same address, must be another one\n"
          "t:2:99: listeners[4].bind: listeners[2] has the same address, must be another one\n" },
        { "{ \"queues\": { \"q\": {}, \"r.s\": {} }, \"routes\": [ { \"match\": \"#\", \"queues\": [\"q\", \"z\", \"q\"] } ] }",
          "t:1:81: routes[0].queues[1]: there is no queue \"z\", must be one of queues: q, r.s\n"
          "t:1:86: routes[0].queues[2]: \"q\" is named twice, must be once\n" },
        { "{ \"queues\": { \"q\": { \"dead\": { \"forward_to\": \"z\" } }, \"r\": { \"dead\": { \"forward_to\": \"r\" } },\n"
          "  \"a\": { \"dead\": { \"forward_to\": \"b\" } }, \"b\": { \"dead\": { \"forward_to\": \"c\" } }, \"c\": { \"dead\": { \"forward_to\": \"a\" } },\n"
          "  \"in\": { \"dead\": { \"forward_to\": \"a\" } }, \"ok\": { \"dead\": { \"forward_to\": \"last\" } }, \"last\": {} } }",
          "t:1:46: queues.q.dead.forward_to: there is no queue \"z\", must be one of queues: q, r, a, b, c, in, ok, last\n"
          "t:1:86: queues.r.dead.forward_to: is this queue itself, must be another one\n"
          "t:2:34: queues.a.dead.forward_to: leads back to this queue, must be one that does not\n"
          "t:2:74: queues.b.dead.forward_to: leads back to this queue, must be one that does not\n"
          "t:2:114: queues.c.dead.forward_to: leads back to this queue, must be one that does not\n" },
        { "{ \"routes\": [ { \"match\": \"#\", \"queues\": \"q\" } ], \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"x\" } } }",
          "t:1:41: routes[0].queues[0]: there is no queue \"q\", must be one of queues\n"
          "t:1:77: pools.p.queue: there is no queue \"q\", must be one of queues\n" },
        { "{ \"queues\": { \"q\": {} }, \"pools\": { \"p.1\": { \"queue\": \"q\", \"command\": [\"\", \"x\"], \"concurrency\": 65,\n"
          "  \"restart\": { \"initial\": \"1m\" } } } }",
          "t:1:44: pools[\"p.1\"].prefetch: is less than concurrency (65), must be at least that\n"
          "t:1:71: pools[\"p.1\"].command: the program is empty, must be its name or path\n"
          "t:2:14: pools[\"p.1\"].restart.max: is shorter than restart.initial, must be at least that\n" },
        { "{ \"queues\": { \"q\": {} }, \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"x\", \"time_limit\": \"10s\", \"soft_time_limit\": \"20s\" } } }",
          "t:1:114: pools.p.soft_time_limit: is longer than time_limit, must be at most that\n" },
        { "{ \"queues\": { \"q\": { \"order_by\": \"topic\" } }, \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"x\", \"max_in_flight_per_key\": 1 } } }",
          "t:1:120: pools.p.max_in_flight_per_key: is for queues without order_by, which has one message of a key in flight, must be 0\n" },
        { "{ \"queues\": { \"q\": {} }, \"pools\": { \"p\": { \"queue\": \"q\", \"command\": \"x\", \"mode\": \"exec\",\n"
          "  \"workers\": { \"min\": 0, \"max\": 2 }, \"idle_timeout\": \"0s\", \"max_jobs\": 9, \"max_rss\": \"1GiB\", \"max_age\": \"1h\" } } }",
          "t:2:54: pools.p.idle_timeout: is 0s, with workers.min 0 it must be more: the last worker would stay\n"
          "t:2:72: pools.p.max_jobs: is for workers that stay, with mode \"exec\" it must be 0\n"
          "t:2:86: pools.p.max_rss: is for workers that stay, with mode \"exec\" it must be 0\n"
          "t:2:105: pools.p.max_age: is for workers that stay, with mode \"exec\" it must be 0\n" },
        { "{ \"listeners\": [ { \"bind\": \"unix:l\", \"protocol\": \"mqtt\" } ], \"queues\": { \"q\": {} }, \"pools\": {\n"
          "  \"a\": { \"queue\": \"q\", \"workers\": 0 },\n"
          "  \"b\": { \"queue\": \"q\", \"workers\": 0, \"worker_socket\": \"w\", \"mode\": \"lines\" },\n"
          "  \"c\": { \"queue\": \"q\", \"workers\": 0, \"worker_socket\": \"w\" },\n"
          "  \"d\": { \"queue\": \"q\", \"worker_socket\": \"l\" },\n"
          "  \"e\": { \"queue\": \"q\", \"command\": \"x\", \"worker_token\": \"t\" } } }",
          "t:2:35: pools.a.workers: is 0, without a worker_socket it must be more: nobody would work\n"
          "t:3:55: pools.b.worker_socket: is for mode \"socket\", must be null with other modes\n"
          "t:4:55: pools.c.worker_socket: is the path of b too, must be another one\n"
          "t:5:8: pools.d.command: is missing, must be a text or a list of texts, at least one; null only with workers 0\n"
          "t:5:41: pools.d.worker_socket: is the path of a listener too, must be another one\n"
          "t:6:56: pools.e.worker_token: is for a worker_socket, which is missing\n" },
        { "{ \"queues\": { \"q\": { \"retry\": { \"initial\": \"10m\" } }, \"r\": { \"retry\": { \"initial\": \"2s\", \"max\": \"1s\" } } } }",
          "t:1:31: queues.q.retry.max: is shorter than retry.initial, must be at least that\n"
          "t:1:97: queues.r.retry.max: is shorter than retry.initial, must be at least that\n" },
        { "{ \"limits\": { \"memory\": \"16MiB\", \"max_message\": \"32MiB\" }, \"store\": { \"map_size\": \"256MiB\", \"reserve\": \"200MiB\" } }",
          "t:1:49: limits.max_message: is more than limits.memory, must be at most that\n"
          "t:1:104: store.reserve: is more than half of store.map_size, must be at most that\n" },
    };
    check_all(cases, SL_COUNT(cases));
}

/* clang-format on */

static void the_default_of_a_later_key_may_be_written(void **state)
{
    (void)state;
    static const char text[] =
        "{ \"queues\": { \"q\": { \"order_by\": \"none\", \"on_failure\": \"block\", \"dedup\": {"
        "\"window\": \"0ms\", \"by\": [\"client\", \"header:dedup-id\"], \"max\": 1000000 },"
        "\"dead\": { \"forward_to\": null } } }, \"schedules\": [], \"bridges\": [],"
        "\"jobs\": { \"ttl\": \"60m\" }, \"auth\": { \"acl_file\": null } }";
    assert_string_equal(faults_of(text, strlen(text), NULL, 0), "");
}

/* clang-format off */

static void a_schedule_that_makes_no_sense_is_told(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "{ \"schedules\": [ {} ] }",
          "t:1:18: schedules[0]: \"publish\" is missing, must be an object\n"
          "t:1:18: schedules[0]: cron or every is missing, must have one of them\n" },
        { "{ \"schedules\": [ { \"cron\": \"* * 30 2 *\", \"every\": \"1s\", \"publish\": { \"topic\": \"a/+\" } } ] }",
          "t:1:18: schedules[0]: has both cron and every, must have one of them\n"
          "t:1:28: schedules[0].cron: there is no such date: none of the months has such a day\n"
          "t:1:79: schedules[0].publish.topic: \"a/+\" is not allowed, must be a topic without wildcards such as \"jobs/report\", or \"/queue/NAME\"\n" },
        { "{ \"schedules\": [ { \"cron\": \"0 25 * * *\", \"publish\": { \"topic\": \"/queue/q\" } },\n"
          "  { \"every\": \"10ms\", \"publish\": { \"topic\": \"$SYS/a\" } } ] }",
          "t:1:28: schedules[0].cron: hour \"25\" is not allowed, must be 0 to 23\n"
          "t:1:64: schedules[0].publish.topic: there is no queue \"q\", must be one of queues\n"
          "t:2:14: schedules[1].every: \"10ms\" is not allowed, must be a duration such as \"30s\" from 1s to 3660d or null\n"
          "t:2:44: schedules[1].publish.topic: \"$SYS/a\" is not allowed, must be a topic without wildcards such as \"jobs/report\", or \"/queue/NAME\"\n" },
        { "{ \"schedules\": [ { \"cron\": \"@daily\", \"timezone\": \"Europe/Berlin\", \"publish\": { \"topic\": \"a\" } },\n"
          "  { \"cron\": \"@daily\", \"timezone\": \"Europe/Bonn\", \"missed\": \"some\", \"publish\": { \"topic\": \"a\" } },\n"
          "  { \"cron\": \"@daily\", \"timezone\": \"../passwd\", \"at\": 1, \"publish\": { \"topic\": \"a\", \"qos\": 3, \"priority\": 10 } } ] }",
          "t:2:35: schedules[1].timezone: there is no time zone \"Europe/Bonn\" on this machine, must be one of the zone database (tzdata)\n"
          "t:2:60: schedules[1].missed: \"some\" is not allowed, must be \"skip\", \"once\" or \"all\"\n"
          "t:3:35: schedules[2].timezone: \"../passwd\" is not allowed, must be the name of a time zone such as \"Europe/Berlin\"\n"
          "t:3:48: schedules[2].at: unknown key, allowed are name, cron, every, timezone, missed, enabled, publish\n"
          "t:3:91: schedules[2].publish.qos: 3 is not allowed, must be a whole number from 0 to 2\n"
          "t:3:106: schedules[2].publish.priority: 10 is not allowed, must be a whole number from 0 to 9\n" },
        { "{ \"limits\": { \"max_message\": \"1KiB\" }, \"schedules\": [\n"
          "  { \"name\": \"a\", \"cron\": \"@daily\", \"publish\": { \"topic\": \"a\", \"payload\": \"\", \"payload_base64\": \"AA==\" } },\n"
          "  { \"name\": \"a\", \"cron\": \"@daily\", \"publish\": { \"topic\": \"a\", \"payload_base64\": \"A===\", \"content_type\": \"\" } },\n"
          "  { \"cron\": \"@daily\", \"publish\": { \"topic\": \"a\", \"headers\": { \"x\": \"1\", \"y\": [\"1\", 2] } } },\n"
          "  { \"cron\": \"@daily\", \"publish\": { \"topic\": \"a\", \"headers\": { \"\": \"1\" } } } ] }",
          "t:2:96: schedules[0].publish.payload_base64: is there beside payload, must be one of them\n"
          "t:3:13: schedules[1].name: schedules[0] has the same name, must be another one\n"
          "t:3:81: schedules[1].publish.payload_base64: \"A===\" is not allowed, must be base64 with padding or null\n"
          "t:3:105: schedules[1].publish.content_type: \"\" is not allowed, must be a text of at most 65535 bytes or null\n"
          "t:4:84: schedules[2].publish.headers.y[1]: 2 is not allowed, must be an object of texts or lists of texts\n"
          "t:5:3: schedules[3]: has the time, topic and payload of schedules[2], must have a name of its own\n"
          "t:5:67: schedules[3].publish.headers[\"\"]: \"1\" is not allowed, must be an object of texts or lists of texts\n" },
    };
    check_all(cases, SL_COUNT(cases));
}

static void a_payload_over_the_limit_is_told(void **state)
{
    (void)state;
    char text[4096], payload[1026];
    memset(payload, 'A', sizeof payload);
    payload[sizeof payload - 1] = '\0';
    (void)snprintf(text, sizeof text, "{ \"limits\": { \"max_message\": \"1KiB\" }, \"schedules\": [ { \"every\": \"1s\", \"publish\": { \"topic\": \"a\", \"payload\": \"%s\" } } ] }", payload);
    assert_string_equal(faults_of(text, strlen(text), NULL, 0), "t:1:110: schedules[0].publish.payload: is larger than limits.max_message (1024 bytes), must be at most that\n");
}

/* clang-format on */

static void faults_of_set_come_last_and_name_it(void **state)
{
    (void)state;
    static const char text[] = "{ \"nod\": 1 }";
    static const char *const sets[] = {
        "limits.memory=lots",
        "nonsense",
        "=1",
        "limits..memory=1",
        "nod.x=1",
        "node=\"a\"",
        "listeners[1].bind=x",
        "listeners[0]=true",
        "store={\"engine\":\"lmdb\",\"engine\":\"x\"}",
        "queues[0].ttl=1s",
        "auth.acl_file=5",
        "node[0]=1",
        "a.=1",
        "[x]=1",
        "[1=1",
        "[\"a=1",
        "[\"a\"x=1",
        "a[0]b=1",
        "a.[1]=1",
    };
    assert_string_equal(
        faults_of(text, strlen(text), sets, SL_COUNT(sets)),
        "t:1:3: nod: unknown key, did you mean \"node\"?\n"
        "--set:1:1: limits.memory: \"lots\" is not allowed, must be a size such as \"64KiB\" from "
        "16MiB to 16TiB\n"
        "--set:1:1: \"nonsense\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"limits..memory=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: nod: 1 is not an object, must be one\n"
        "--set:1:1: listeners: has 0 items, must be [0] to [0]\n"
        "--set:1:1: listeners[0]: true is not allowed, must be an object\n"
        "--set:1:1: store.engine: is given twice, first at 1:1\n"
        "--set:1:1: queues: a list is not allowed, must be an object of objects by name\n"
        "--set:1:1: auth.acl_file: 5 is not allowed, must be null\n"
        "--set:1:1: node: \"a\" is not a list, must be one\n"
        "--set:1:1: \"a.=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"[x]=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"[1=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"[\\x22a=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"[\\x22a\\x22x=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"a[0]b=1\" is not allowed, must be path.to.key=value\n"
        "--set:1:1: \"a.[1]=1\" is not allowed, must be path.to.key=value\n");
}

static void a_nul_byte_is_no_end_of_the_text(void **state)
{
    (void)state;
    static const char text[] = "{ \"node\": \"a\" }\0{";
    assert_string_equal(faults_of(text, sizeof text - 1, NULL, 0),
                        "t:1:16: text after the end of the value\n");
    static const char inside[] = "{ \"node\": \"a\0b\" }";
    assert_string_equal(faults_of(inside, sizeof inside - 1, NULL, 0),
                        "t:1:13: node: a control character in a text must be escaped, as in \\t\n");
}

static void what_is_not_utf8_is_told_where(void **state)
{
    (void)state;
    static const char bad[] = "{\n \"node\": \"\xC3\xA4\xC3(\" }";
    assert_string_equal(faults_of(bad, sizeof bad - 1, NULL, 0), "t:2:12: this is not UTF-8\n");
    static const char cut[] = "\xF0\x9F\x98";
    assert_string_equal(faults_of(cut, sizeof cut - 1, NULL, 0), "t:1:1: this is not UTF-8\n");
}

static char *repeat(const char *unit, size_t times, const char *end)
{
    size_t n = strlen(unit), k = strlen(end);
    char *text = malloc(n * times + k + 1);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, unit, n);
    memcpy(text + n * times, end, k + 1);
    return text;
}

static void depth_values_and_length_are_limited(void **state)
{
    (void)state;
    char *deep = repeat("[", 40, "");
    assert_non_null(
        strstr(faults_of(deep, 40, NULL, 0), "nested too deeply, allowed are 32 levels\n"));
    free(deep);
    char *many = repeat("0,", 20001, "");
    many[0] = '[';
    assert_string_equal(faults_of(many, strlen(many), NULL, 0),
                        "t:1:2: a value is missing, " ALLOWED_VALUES "\n");
    many[1] = ' ';
    assert_string_equal(faults_of(many, strlen(many), NULL, 0),
                        "t:1:40001: too many values, allowed are 20000\n");
    free(many);
    char *large = repeat(" ", 1024 * 1024 + 1, "");
    assert_string_equal(faults_of(large, 1024 * 1024 + 1, NULL, 0),
                        "t:1:1: the text is too long, allowed is 1MiB\n");
    free(large);
}

static void more_faults_than_anybody_reads_are_counted(void **state)
{
    (void)state;
    char *list = repeat("1,", 300, "1]}");
    char text[1024];
    snprintf(text, sizeof text, "{\"routes\":[%s", list);
    const char *got = faults_of(text, strlen(text), NULL, 0);
    assert_non_null(strstr(got, "t:1:12: routes[0]: 1 is not allowed, must be an object\n"));
    assert_non_null(strstr(got, "t: 101 more faults are not shown\n"));
    free(list);
}

static void a_file_that_cannot_be_read_is_a_fault(void **state)
{
    (void)state;
    struct config_faults faults = { NULL, 0 };
    struct config *c = NULL;
    assert_int_equal(config_load("/nowhere/s.json", NULL, &c, &faults), SL_EINVAL);
    assert_int_equal(faults.n, 1);
    assert_string_equal(faults.v[0],
                        "/nowhere/s.json:1:1: cannot be read: No such file or directory");
    assert_null(c);
    config_faults_fini(&faults);
    assert_int_equal(config_load("/", NULL, &c, &faults), SL_EINVAL);
    assert_string_equal(faults.v[0], "/:1:1: cannot be read: Is a directory");
    config_faults_fini(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_json_is_told_where_and_how),
        cmocka_unit_test(wrong_keys_and_values_are_told_where_and_what_is_allowed),
        cmocka_unit_test(what_is_not_in_this_version_is_refused_by_name),
        cmocka_unit_test(what_does_not_fit_together_is_told),
        cmocka_unit_test(the_default_of_a_later_key_may_be_written),
        cmocka_unit_test(a_schedule_that_makes_no_sense_is_told),
        cmocka_unit_test(a_payload_over_the_limit_is_told),
        cmocka_unit_test(faults_of_set_come_last_and_name_it),
        cmocka_unit_test(a_nul_byte_is_no_end_of_the_text),
        cmocka_unit_test(what_is_not_utf8_is_told_where),
        cmocka_unit_test(depth_values_and_length_are_limited),
        cmocka_unit_test(more_faults_than_anybody_reads_are_counted),
        cmocka_unit_test(a_file_that_cannot_be_read_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
