/* `sluice pub` and `sluice sub`: clients for trying things out, and for scripts.
 *
 * They are clients like any other: they know nothing of the gateway and work
 * with every MQTT server. Eclipse Paho speaks the protocol; it is loaded when
 * one of them runs, so that it costs the gateway nothing. */
#ifndef CLI_PUBSUB_H
#define CLI_PUBSUB_H

/* argv[0] is "pub" or "sub". Exit status: 0 done; 1 failed while working; 2 wrong use.
 * The process should end afterwards: Paho's threads are left as they are. */
int cli_pub_main(int argc, char **argv);
int cli_sub_main(int argc, char **argv);

#endif
