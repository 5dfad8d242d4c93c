"""paho-mqtt on a string: see ../drivers.py."""

import sys
import threading
import warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)
import paho.mqtt.client as paho  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402

WAIT_S, EXPIRY_S = 30, 3600
port, version, name, clean = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
done = threading.Event()


def bytes_of(word):
    return b"" if word == "-" else bytes.fromhex(word)


def say(*words):
    sys.stdout.write(" ".join(str(w) for w in words) + "\n")
    sys.stdout.flush()


def on_connect(client, data, flags, code, properties=None):
    if code != 0:
        sys.exit(f"connect: {code}")
    say("connected", flags["session present"])
    done.set()


def on_subscribe(client, data, mid, granted, properties=None):
    say("subscribed", int(granted[0].value if version == 5 else granted[0]))
    done.set()


def on_message(client, data, m):
    say("message", m.topic, m.qos, int(m.retain), m.payload.hex() or "-")


def step(begin):
    done.clear()
    value = begin()
    if not done.wait(WAIT_S):
        sys.exit("no answer")
    return value


def connect(client):
    more = {}
    if version == 5:
        more = {"clean_start": clean, "properties": Properties(PacketTypes.CONNECT)}
        if not clean:
            more["properties"].SessionExpiryInterval = EXPIRY_S
    client.connect("127.0.0.1", port, 30, **more)
    client.loop_start()


def main():
    if version == 5:
        client = paho.Client(name, protocol=paho.MQTTv5)
    else:
        client = paho.Client(name, protocol=paho.MQTTv311, clean_session=clean)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    if len(sys.argv) > 5:
        topic, qos, retain, payload = sys.argv[5:9]
        client.will_set(topic, bytes_of(payload), int(qos), retain == "1")
    step(lambda: connect(client))
    for line in sys.stdin:
        words = line.split()
        if words[0] == "sub":
            step(lambda: client.subscribe(words[1], int(words[2])))
        elif words[0] == "pub":
            info = client.publish(words[1], bytes_of(words[4]), int(words[2]), words[3] == "1")
            info.wait_for_publish(WAIT_S)
            if not info.is_published():
                sys.exit("not published")
            say("published", 0)
        else:
            break
    client.disconnect()
    client.loop_stop()


main()
