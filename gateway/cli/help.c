/* What --help says. */
#include "args.h"

#define CONNECTION                                                                        \
    "connection\n"                                                                        \
    "  -h, --host HOST          (127.0.0.1)\n"                                            \
    "  -p, --port PORT          (1883; with TLS 8883; with --stomp 61613)\n"              \
    "  -L, --url URL            mqtt://[USER[:PASSWORD]@]HOST[:PORT], or mqtts:// for\n"  \
    "                           TLS, instead of the two above; %XX in user and password;\n"\
    "                           with --stomp: stomp:// or unix:PATH\n"                    \
    "  -V, --mqtt-version V     5 or 3.1.1 (5); with --stomp 1.0, 1.1 or 1.2\n"           \
    "  -i, --id ID              client identifier (sluice-COMMAND-RANDOM)\n"              \
    "      --vhost NAME         + the header host, where a server has several (HOST)\n"   \
    "  -c, --resume             keep the session and go on with it next time, under the\n"\
    "                           same --id; it never expires (MQTT only)\n"                \
    "  -x, --session-expiry D   ** the same, and it expires D after the connection's end\n"\
    "      --clean              begin anew, whatever there was; without the two above\n"  \
    "                           this is so anyway\n"                                      \
    "  -k, --keep-alive D       (60 s); 0: none\n"                                        \
    "      --connect-timeout D  (30 s)\n"                                                 \
    "  -u, --user NAME\n"                                                                 \
    "      --password-file FILE its first line is the password; else $SLUICE_PASSWORD\n"  \
    "                           is, when there is a user\n"                               \
    "  -P, --password TEXT      is wiped from the command line, but may have been seen\n" \
    "\n"                                                                                  \
    "TLS (MQTT only: it is Paho's, which speaks no STOMP)\n"                              \
    "      --tls                check the server's certificate against the system's\n"    \
    "                           authorities; each option below turns TLS on, too\n"       \
    "      --cafile FILE        against these instead (PEM); --capath DIR likewise\n"     \
    "      --cert FILE          our own certificate, and --key FILE its key (PEM)\n"      \
    "      --insecure           check neither the certificate nor the name in it\n"       \
    "\n"                                                                                  \
    "will, which the server publishes when this client vanishes (MQTT only)\n"            \
    "      --will-topic TOPIC   --will-payload TEXT  --will-qos N  --will-retain\n"       \
    "      --will-delay D       ** after the connection's end\n"                          \
    "\n"

#define ENDING                                                                            \
    "      --quiet              no remarks, only errors\n"                                \
    "  -d, --debug              tell each step on stderr\n"                               \
    "      --stomp              speak STOMP instead of MQTT\n"                            \
    "      --help\n"                                                                      \
    "\n"                                                                                  \
    "*: not in MQTT 3.1.1; **: in MQTT 5 only; +: with --stomp only. D is seconds or a\n" \
    "duration: 30, 500ms, 5m, 1h, 7d. Letters are those of mosquitto's clients where they\n"\
    "have the same option. -- ends the options: what comes after it may begin with a dash.\n"\
    "\n"                                                                                  \
    "signals\n"                                                                           \
    "  SIGINT, SIGTERM          end in order, with DISCONNECT; the second one: at once\n" \
    "\n"

const char cli_pub_help[] =
    "usage: sluice pub [OPTION]... TOPIC PAYLOAD\n"
    "       sluice pub [OPTION]... TOPIC -f FILE | - | -l | -n\n"
    "\n"
    "Publishes to an MQTT or STOMP server and ends when the server has answered: with QoS 1\n"
    "and 2 the message is then safe there.\n"
    "\n"
    "  sluice pub -q 1 telemetry/room1 '{\"temperature\":21.5}'\n"
    "  produce | sluice pub -q 1 -l telemetry/room1\n"
    "  sluice pub -q 1 --wait jobs/thumbnail -f photo.jpg\n"
    "  sluice pub --stomp -q 1 -H priority=9 /queue/mail '{\"to\":\"me\"}'\n"
    "\n"
    "message\n"
    "  TOPIC                    or -t TOPIC; with --stomp a/b is /topic/a/b, and what begins\n"
    "                           with a slash is the destination itself, as /queue/NAME\n"
    "  PAYLOAD                  or -m PAYLOAD\n"
    "  -f, --file FILE          the file's content\n"
    "  -, -s, --stdin-file      all of stdin as one message\n"
    "  -l, --stdin-line         each line of stdin, without its newline\n"
    "  -n, --null-message       no payload: removes a retained message with -r\n"
    "  -q, --qos N              0, 1 or 2 (0); with --stomp 1 asks for receipts\n"
    "  -r, --retain             the server keeps it for later subscribers\n"
    "  -C, --count N            the same message N times; --repeat is the same\n"
    "      --interval D         between them, or between lines (0)\n"
    "      --window N           how many may be unanswered (20, with --stomp 1000;\n"
    "                           never more than an MQTT server's Receive Maximum)\n"
    "  -H, --header NAME=VALUE  * user property or STOMP header; as often as needed\n"
    "      --content-type TEXT  *\n"
    "      --utf8               ** the payload is said to be UTF-8\n"
    "      --expiry D           * not delivered later than that\n"
    "      --response-topic T   * where an answer shall go\n"
    "      --correlation TEXT   * what it shall carry\n"
    "      --topic-alias N      ** the first message sets it, later ones have no topic\n"
    "\n"
    "result\n"
    "  -w, --wait               * give the message a response topic and correlation (or\n"
    "                           those above), wait for what comes there and print its\n"
    "                           payload; with --stomp it comes to /temp-queue/result\n"
    "  -j, --json               the result as an object with all its properties\n"
    "  -W, --timeout D          give up after that (never; with --wait 60 s)\n"
    "\n" CONNECTION "other\n" ENDING
    "exit status: 0 the server has taken everything, and the result came; 1 it was refused\n"
    "(the reason is told), the connection was lost, or time was up; 2 wrong use\n";

const char cli_sub_help[] =
    "usage: sluice sub [OPTION]... FILTER...\n"
    "\n"
    "Subscribes at an MQTT or STOMP server and shows what comes, one line per message, until\n"
    "a signal, --count or --timeout ends it, or nobody reads its output any more.\n"
    "\n"
    "  sluice sub 'telemetry/#'\n"
    "  sluice sub -q 1 --json '$share/viewers/telemetry/+' | jq .payload\n"
    "  sluice sub --count 1 --timeout 5 jobs/7/result && echo done\n"
    "  sluice sub --stomp --json /queue/mail\n"
    "\n"
    "subscription\n"
    "  FILTER                   or -t FILTER; several, + and # as wildcards;\n"
    "                           $share/GROUP/FILTER shares the messages with others;\n"
    "                           with --stomp also a destination such as /queue/NAME\n"
    "  -q, --qos N              at most this (0); with --stomp 0 is --ack auto, 1 the other\n"
    "      --ack MODE           + auto: a message is done when it was sent; or\n"
    "                           client-individual: when its line was written, else it goes\n"
    "                           to another consumer (for /queue/NAME that, else auto)\n"
    "      --prefetch N         + messages that may be unacknowledged (the server's choice)\n"
    "      --no-local           ** not what this client published\n"
    "      --retain-as-published ** the retain flag as it was published\n"
    "      --retain-handling N  ** retained messages at once: 0 always (0), 1 only if the\n"
    "                           subscription is new, 2 never\n"
    "      --subscription-id N  ** comes back with each message\n"
    "  -R, --no-retained        retained messages are not shown\n"
    "      --retained-only      only those; ends with the first other one\n"
    "  -U, --unsubscribe FILTER first, for a kept session; alone: do that and end (MQTT)\n"
    "      --receive-maximum N  ** unanswered messages of QoS 1 and 2\n"
    "\n"
    "output\n"
    "  -F, --format PATTERN     (\"%t %p\") with \\n and \\t, and\n"
    "                           %t topic   %p payload  %x payload in hex  %l its bytes\n"
    "                           %q QoS     %r retain   %d duplicate  %m packet id\n"
    "                           %P headers %C content type  %R response topic\n"
    "                           %D correlation  %E expiry left  %F payload format\n"
    "                           %S subscription ids  %I time  %U the same in seconds\n"
    "                           %j as --json  %% percent\n"
    "  -j, --json               one object per message: received_at, topic, qos, retain,\n"
    "                           dup, headers, content_type, reply_to, correlation,\n"
    "                           expiry, utf8, subscription_ids, payload; what is not\n"
    "                           UTF-8 as NAME_base64 instead. With --stomp, dup is\n"
    "                           redelivered, and message-id is among the headers\n"
    "  -N, --no-newline         nothing after a message\n"
    "  -v, --verbose            topic and payload: the default, as mosquitto_sub -v\n"
    "                           On a terminal, bytes that could steer it show as \\xHH.\n"
    "\n"
    "end\n"
    "  -C, --count N            after so many messages\n"
    "  -W, --timeout D          after that time; with --count this is a failure\n"
    "\n" CONNECTION "other\n" ENDING
    "exit status: 0 done; 1 refused (the reason is told), the connection was lost, or an end\n"
    "before --count was reached; 2 wrong use\n";
