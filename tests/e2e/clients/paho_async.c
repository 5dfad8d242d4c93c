/* Many publishes in flight at once, Eclipse Paho's asynchronous C client:
 *   e2e_paho_async PORT QOS TOPIC COUNT
 * Payloads are pa-1, pa-2, …. Ends with 0 when all were acknowledged. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <MQTTAsync.h>

#define WAIT_S 30

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool connected, failed;
    int acknowledged;
} state = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void change(bool connected, bool failed, int acknowledged)
{
    pthread_mutex_lock(&state.mutex);
    state.connected = state.connected || connected;
    state.failed = state.failed || failed;
    state.acknowledged += acknowledged;
    pthread_cond_signal(&state.changed);
    pthread_mutex_unlock(&state.mutex);
}

static void on_connected(void *context, MQTTAsync_successData *data)
{
    (void)context;
    (void)data;
    change(true, false, 0);
}

static void on_sent(void *context, MQTTAsync_successData *data)
{
    (void)context;
    (void)data;
    change(false, false, 1);
}

static void on_failure(void *context, MQTTAsync_failureData *data)
{
    (void)context;
    fprintf(stderr, "failed: %d\n", data == NULL ? 0 : data->code);
    change(false, true, 0);
}

static bool wait_for(int acknowledged)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_S;
    pthread_mutex_lock(&state.mutex);
    int rc = 0;
    while (rc == 0 && !state.failed && !(state.connected && state.acknowledged >= acknowledged))
        rc = pthread_cond_timedwait(&state.changed, &state.mutex, &end);
    bool good = state.connected && !state.failed && state.acknowledged >= acknowledged;
    pthread_mutex_unlock(&state.mutex);
    return good;
}

static bool send_all(MQTTAsync c, char **argv, int count)
{
    for (int i = 1; i <= count; i++) {
        char payload[32];
        MQTTAsync_responseOptions o = MQTTAsync_responseOptions_initializer;
        o.onSuccess = on_sent;
        o.onFailure = on_failure;
        int n = snprintf(payload, sizeof payload, "pa-%d", i);
        if (MQTTAsync_send(c, argv[3], n, payload, atoi(argv[2]), 0, &o) != MQTTASYNC_SUCCESS)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    char uri[64];
    MQTTAsync c;
    if (argc != 5)
        return 2;
    int count = atoi(argv[4]);
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%d", atoi(argv[1]));
    if (MQTTAsync_create(&c, uri, "paho-async", MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTASYNC_SUCCESS)
        return 1;
    MQTTAsync_connectOptions o = MQTTAsync_connectOptions_initializer;
    o.cleansession = 1;
    o.maxInflight = 1000;
    o.onSuccess = on_connected;
    o.onFailure = on_failure;
    bool good = MQTTAsync_connect(c, &o) == MQTTASYNC_SUCCESS && wait_for(0) && send_all(c, argv, count) && wait_for(count);
    MQTTAsync_disconnectOptions bye = MQTTAsync_disconnectOptions_initializer;
    if (good && MQTTAsync_disconnect(c, &bye) != MQTTASYNC_SUCCESS)
        good = false;
    MQTTAsync_destroy(&c);
    return good ? 0 : 1;
}
