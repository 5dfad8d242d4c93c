/* The worker that does nothing: what is measured is the way to it. */
#include <sluice_worker.h>

static enum sluice_worker_verdict handle(struct sluice_worker_message *m, void *arg)
{
    (void)m;
    (void)arg;
    return SLUICE_WORKER_ACK;
}

int main(void)
{
    return sluice_worker_main(handle, NULL);
}
