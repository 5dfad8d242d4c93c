"""`sluice pub` and `sluice sub` as people use them: against mosquitto, with TLS too, and against sluice itself.

The server is mosquitto on a port of its own; what one of the two commands sends, the other, or paho-mqtt, sees. STOMP's other
end is a few lines here that say what a server may say, and then sluice itself.
"""

import base64
import ctypes.util
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import unittest

import harness

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
OPENSSL = shutil.which("openssl")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def reachable(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Cli(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.port = self.server()

    def server(self, *lines):
        port = free_port()
        config = self.folder / f"mosquitto-{port}.conf"
        config.write_text("\n".join(["user root", "max_queued_messages 0", f"listener {port} 127.0.0.1",
                                     *(lines or ["allow_anonymous true"]), ""]))  # root may read our folder
        log = open(self.folder / f"mosquitto-{port}.log", "wb")
        self.addCleanup(log.close)
        self.broker = self.child(subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=log, stderr=log))
        harness.wait_for(lambda: reachable(port), "mosquitto")
        return port

    def env(self, **more):
        return dict(os.environ, **more)

    def start(self, *words, port=None, env=None, **more):
        command = [harness.binary(), words[0], "-p", str(port or self.port), *map(str, words[1:])]
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return self.child(subprocess.Popen(command, env=env or self.env(), **more))

    def run_cli(self, *words, status=0, data=None, **more):
        more.update({"stdin": subprocess.PIPE} if data is not None else {})
        process = self.start(*words, **more)
        out, err = process.communicate(data, timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, status, err.decode())
        return out, err.decode()

    def pub(self, *words, **more):
        return self.run_cli("pub", *words, **more)

    def subscriber(self, *words, n=1, **more):
        """Started with -d, and returned when its subscriptions are there."""
        process = self.start("sub", "-d", *words, **more)
        for line in process.stderr:
            n -= b"subscribed to" in line
            if n == 0:
                return process
        self.fail(f"no subscription: status {process.wait()}")

    def output(self, process, status=0):
        out, err = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, status, err.decode())
        return out


class Messages(Cli):
    def test_every_version_and_qos_arrives(self):
        for version in ("3.1.1", "5"):
            for qos in (0, 1, 2):
                with self.subTest(version=version, qos=qos):
                    seen = self.subscriber("-V", version, "-q", qos, "-C", 1, "-F", "%t %q %p", "a/#")
                    self.pub("-V", version, "-q", qos, "a/b", "21.5")
                    self.assertEqual(self.output(seen), f"a/b {qos} 21.5\n".encode())

    def test_json_has_every_property(self):
        seen = self.subscriber("--json", "-C", 1, "-q", 1, "--subscription-id", 9, "a/#")
        self.pub("-q", 1, "-H", "site=north", "-H", "site=süd=", "--content-type", "text/plain", "--utf8", "--expiry", "1h",
                 "--response-topic", "back/here", "--correlation", "c-1", "a/b", "hällo")
        m = json.loads(self.output(seen))
        self.assertIn(m.pop("expiry"), range(3590, 3601))
        m.pop("received_at")
        self.assertEqual(m, {"topic": "a/b", "qos": 1, "retain": False, "dup": False, "content_type": "text/plain",
                             "headers": [["site", "north"], ["site", "süd="]], "reply_to": "back/here",
                             "correlation": "c-1", "utf8": True, "subscription_ids": [9], "payload": "hällo"})

    def test_bytes_come_from_a_file_and_from_stdin_unaltered(self):
        data = bytes(range(256)) * 4
        path = self.folder / "payload"
        path.write_bytes(data)
        seen = self.subscriber("--json", "-C", 2, "a")
        self.pub("a", "-f", path)
        self.pub("a", "-", data=data)
        for line in self.output(seen).splitlines():
            self.assertEqual(base64.b64decode(json.loads(line)["payload_base64"]), data)

    def test_each_line_of_stdin_is_a_message_in_order(self):
        lines = [b"line %d" % i for i in range(3000)]
        for qos in (1, 2):
            with self.subTest(qos=qos):
                seen = self.subscriber("-q", 2, "-C", len(lines), "-F", "%p", "a")
                self.pub("-q", qos, "-l", "a", data=b"\n".join(lines))
                self.assertEqual(self.output(seen).splitlines(), lines)

    def test_an_alias_stands_for_the_topic_from_the_second_message_on(self):
        seen = self.subscriber("-C", 3, "a/#")
        self.pub("-q", 1, "--topic-alias", 2, "-C", 3, "a/long", "x")
        self.assertEqual(self.output(seen), b"a/long x\n" * 3)
        _, err = self.pub("--topic-alias", 60000, "a", "x", status=1)
        self.assertIn("topic aliases up to", err)

    def test_retained_messages_are_kept_told_and_removed(self):
        self.pub("-r", "-q", 1, "kept/1", "old")
        self.assertEqual(self.output(self.start("sub", "-C", 1, "-F", "%p %r", "kept/#")), b"old 1\n")
        for way in ("-R", "--retain-handling=2"):
            self.assertEqual(self.output(self.start("sub", way, "-W", 0.2, "kept/#")), b"")
        seen = self.start("sub", "--retained-only", "kept/#")
        first = seen.stdout.readline()
        self.pub("kept/2", "new")
        self.assertEqual((first, self.output(seen)), (b"kept/1 old\n", b""))
        self.pub("-r", "-q", 1, "-n", "kept/1")
        self.run_cli("sub", "-W", 0.2, "-C", 1, "kept/#", status=1)

    def test_several_filters_and_a_shared_one(self):
        a = self.subscriber("-C", 1, "$share/g/work", "other/+", n=2)
        self.pub("work", "1")
        self.assertEqual(self.output(a), b"work 1\n")

    def test_no_local_and_a_kept_session(self):
        first = self.subscriber("-i", "keeper", "-x", "1h", "-q", 1, "kept", n=1)
        first.send_signal(signal.SIGTERM)
        self.output(first)
        self.pub("-q", 1, "kept", "while you were away")
        again = self.start("sub", "-d", "-i", "keeper", "-x", "1h", "-q", 1, "-C", 1, "kept")
        out, err = again.communicate(timeout=harness.PATIENCE)
        self.assertEqual(out, b"kept while you were away\n")
        self.assertIn(b"session resumed", err)
        self.run_cli("sub", "-i", "keeper", "-x", "1h", "-U", "kept")
        self.pub("-q", 1, "kept", "nobody")
        self.run_cli("sub", "-i", "keeper", "-x", "1h", "-W", 0.2, "-C", 1, "elsewhere", status=1)

    def test_a_will_is_published_when_the_client_is_killed_and_not_when_it_leaves(self):
        seen = self.subscriber("-C", 1, "wills/#")
        for number in (signal.SIGTERM, signal.SIGKILL):
            dying = self.subscriber("--will-topic", f"wills/{int(number)}", "--will-payload", "gone", "x")
            dying.send_signal(number)
            dying.communicate(timeout=harness.PATIENCE)
        self.assertEqual(self.output(seen), b"wills/9 gone\n")

    def test_wait_prints_the_result_that_carries_its_correlation(self):
        worker = self.subscriber("-C", 1, "-q", 1, "-F", "%R %D", "jobs/#")
        asking = self.start("pub", "-q", 1, "--wait", "jobs/1", "work")
        topic, correlation = self.output(worker).decode().split()
        self.pub("-q", 1, "--correlation", "another", topic, "not yours")
        self.pub("-q", 1, "--correlation", correlation, topic, "done")
        self.assertEqual(self.output(asking), b"done\n")
        _, err = self.pub("--wait", "-W", 0.2, "jobs/2", "x", status=1)
        self.assertIn("no result", err)


class Ends(Cli):
    def test_wrong_use_is_two_and_says_what(self):
        for words, said in ((["pub"], "topic"), (["pub", "t"], "payload"), (["pub", "t", "p", "-q", "3"], "--qos"),
                            (["sub"], "filter"), (["sub", "a", "--stomp", "--tls"], "TLS"), (["sub", "a/#/b"], "a/#/b")):
            with self.subTest(words=words):
                self.assertIn(said, self.run_cli(*words, status=2)[1])

    def test_help_is_on_stdout(self):
        for command in ("pub", "sub"):
            out, err = self.run_cli(command, "--help")
            self.assertTrue(out.startswith(f"usage: sluice {command}".encode()) and err == "")

    def test_nobody_there_and_a_refusal_are_one_and_say_why(self):
        self.assertIn("cannot be reached", self.pub("t", "p", status=1, port=free_port())[1])
        closed = self.server("allow_anonymous false")
        self.assertRegex(self.pub("t", "p", status=1, port=closed)[1], r"(?i)not authorized \(0x87\)")
        self.assertIn("not authorized", self.pub("-V", "3.1.1", "t", "p", status=1, port=closed)[1])

    def test_a_lost_connection_is_one(self):
        seen = self.subscriber("a")
        self.broker.kill()
        _, err = seen.communicate(timeout=harness.PATIENCE)
        self.assertEqual(seen.returncode, 1)
        self.assertIn(b"connection", err)

    def test_signals_end_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            seen = self.subscriber("a")
            seen.send_signal(number)
            self.assertEqual(self.output(seen), b"")
        seen = self.subscriber("-C", 2, "a")
        seen.send_signal(signal.SIGINT)
        self.output(seen, status=1)

    def test_a_reader_that_has_seen_enough_ends_it(self):
        seen = self.subscriber("a")
        seen.stdout.close()
        self.assertEqual(seen.wait(harness.PATIENCE), 0)
        seen.stderr.close()

    def test_a_reader_that_does_not_read_does_not_keep_it_from_a_signal(self):
        seen = self.subscriber("a")
        self.pub("-C", 40, "a", "-", data=b"x" * 65536)
        seen.send_signal(signal.SIGTERM)
        seen.send_signal(signal.SIGINT)
        harness.wait_for(lambda: seen.poll() is not None, "the end")

    def test_lines_that_are_still_coming_end_with_a_signal_and_nothing_is_lost(self):
        seen = self.subscriber("-C", 1, "a")
        sending = self.start("pub", "-q", 1, "-l", "a", stdin=subprocess.PIPE)
        sending.stdin.write(b"one\n")
        sending.stdin.flush()
        self.assertEqual(self.output(seen), b"a one\n")
        sending.send_signal(signal.SIGINT)
        self.assertEqual(sending.wait(harness.PATIENCE), 0)
        sending.communicate()


class Passwords(Cli):
    def setUp(self):
        super().setUp()
        path = self.folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(path), "me", "secret"], check=True, capture_output=True)
        self.port = self.server("allow_anonymous false", f"password_file {path}")

    def test_it_comes_from_a_file_the_environment_a_url_or_an_option(self):
        path = self.folder / "password"
        path.write_text("secret\n")
        self.pub("-q", 1, "-u", "me", "--password-file", path, "t", "p")
        self.pub("-q", 1, "-u", "me", "t", "p", env=self.env(SLUICE_PASSWORD="secret"))
        self.pub("-q", 1, "-u", "me", "-P", "secret", "t", "p")
        done = subprocess.run([harness.binary(), "pub", "-L", f"mqtt://me:secret@localhost:{self.port}", "t", "p"],
                              capture_output=True, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        _, err = self.pub("-d", "-u", "me", "-P", "wrong-one", "t", "p", status=1)
        self.assertNotIn("wrong-one", err)

    def test_it_is_not_in_the_process_list(self):
        seen = self.subscriber("-u", "me", "-P", "secret", "a")
        with open(f"/proc/{seen.pid}/cmdline", "rb") as f:
            self.assertNotIn(b"secret", f.read())
        seen.send_signal(signal.SIGTERM)
        self.output(seen)


@unittest.skipUnless(OPENSSL, "openssl is not installed")
class Tls(Cli):
    def certificate(self, name, *more):
        key, cert = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        subprocess.run([OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-keyout", str(key), "-out", str(cert), "-subj", f"/CN={name}", *more],
                       check=True, capture_output=True)
        return cert, key

    def setUp(self):
        super().setUp()
        self.cert, key = self.certificate("localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.port = self.server("allow_anonymous true", f"certfile {self.cert}", f"keyfile {key}")

    def test_a_server_that_its_authority_knows_is_spoken_to(self):
        for version in ("3.1.1", "5"):
            seen = self.subscriber("-V", version, "--cafile", self.cert, "-h", "localhost", "-C", 1, "a")
            self.pub("-V", version, "-q", 1, "--cafile", self.cert, "a", "safe")
            self.assertEqual(self.output(seen), b"a safe\n")

    def test_an_unknown_one_is_not_unless_told_so(self):
        _, err = self.pub("--tls", "a", "x", status=1)
        self.assertIn("certificate verify failed", err)
        other, _ = self.certificate("other")
        self.pub("--cafile", other, "a", "x", status=1)
        self.pub("-q", 1, "--insecure", "a", "x")

    def test_a_certificate_for_another_name_is_refused(self):
        cert, key = self.certificate("elsewhere", "-addext", "subjectAltName=DNS:elsewhere")
        port = self.server("allow_anonymous true", f"certfile {cert}", f"keyfile {key}")
        self.pub("--cafile", cert, "a", "x", port=port, status=1)

    def test_our_own_certificate_is_shown(self):
        mine, my_key = self.certificate("client")
        port = self.server("allow_anonymous true", f"certfile {self.cert}", f"keyfile {self.folder / 'localhost.key'}",
                           f"cafile {mine}", "require_certificate true")
        self.pub("-q", 1, "--cafile", self.cert, "--cert", mine, "--key", my_key, "a", "x", port=port)
        self.pub("-q", 1, "--cafile", self.cert, "a", "x", port=port, status=1)


class StompServer:
    """One connection. `script(frame)` gives what is said to each frame: a list of frames as text, or None to hang up."""

    def __init__(self, script, version="1.2", heart_beat="0,0"):
        self.script, self.connected = script, f"CONNECTED\nversion:{version}\nheart-beat:{heart_beat}\n\n"
        self.frames, self.beats, self.seen = [], 0, threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        self.peer, _ = self.listener.accept()
        data = b""
        with self.peer:
            while chunk := self.peer.recv(65536):
                data += chunk
                while (end := data.find(b"\0")) >= 0:
                    frame, data = data[:end], data[end + 1:]
                    if self.on_frame(frame.lstrip(b"\n").decode()) is False:
                        return
                with self.seen:
                    self.beats += data == b"\n"
                    self.seen.notify_all()
                data = data.lstrip(b"\n")

    def on_frame(self, frame):
        if frame.startswith("CONNECT\n"):
            said = [self.connected]
        else:
            said = self.script(frame)
        with self.seen:
            self.frames.append(frame)
            self.seen.notify_all()
        if said is None:
            return False
        self.say(*said)

    def say(self, *frames):
        self.peer.sendall(b"".join(f.encode() + b"\0" for f in frames))

    def wait(self, test, what):
        with self.seen:
            if not self.seen.wait_for(lambda: test(self), harness.PATIENCE):
                raise AssertionError(f"{what}: {self.frames}")

    def close(self):
        self.listener.close()


def header(frame, name):
    for line in frame.partition("\n\n")[0].split("\n")[1:]:
        key, _, value = line.partition(":")
        if key == name:
            return value
    return None


def receipt(frame):
    """The answer that a willing server gives."""
    wanted = header(frame, "receipt")
    return [f"RECEIPT\nreceipt-id:{wanted}\n\n"] if wanted else []


def message(n, text, more="ack:1-{n}\n"):
    return f"MESSAGE\nsubscription:1\nmessage-id:m{n}\n{more.format(n=n)}destination:/queue/q\n\n{text}"


class Stomp(harness.TestCase):
    def stomp(self, script, **more):
        server = StompServer(script, **more)
        self.addCleanup(server.close)
        return server

    def start(self, server, *words, **more):
        command = [harness.binary(), words[0], "--stomp", "-p", str(server.port), *map(str, words[1:])]
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return self.child(subprocess.Popen(command, **more))

    def run_cli(self, server, *words, status=0, data=None, **more):
        process = self.start(server, *words, **({"stdin": subprocess.PIPE} if data is not None else {}), **more)
        out, err = process.communicate(data, timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, status, err.decode())
        return out, err.decode()

    def test_pub_waits_for_every_receipt_and_leaves_in_order(self):
        server = self.stomp(receipt)
        self.run_cli(server, "pub", "-q", 1, "-C", 3, "a/b", "x")
        self.assertEqual([f.partition("\n")[0] for f in server.frames], ["CONNECT"] + ["SEND"] * 3 + ["DISCONNECT"])
        self.assertEqual(len({header(f, "receipt") for f in server.frames[1:]}), 4)

    def test_pub_without_receipts_asks_for_one_at_the_end_alone(self):
        server = self.stomp(receipt)
        self.run_cli(server, "pub", "-l", "/queue/q", data=b"1\n2\n")
        self.assertEqual([header(f, "receipt") is not None for f in server.frames], [False, False, False, True])

    def test_an_error_is_one_and_its_message_and_body_are_told(self):
        error = "ERROR\nmessage:no such queue\n\n> SEND\n> \x1b[2J"
        for qos in (0, 1):
            with self.subTest(qos=qos):
                server = self.stomp(lambda frame: [error] if frame.startswith("SEND") else [])
                _, err = self.run_cli(server, "pub", "-q", qos, "/queue/q", "x", status=1)
                self.assertIn("no such queue\n> SEND\n> \\x1b[2J", err)

    def test_a_receipt_that_never_comes_is_one(self):
        server = self.stomp(lambda frame: None if frame.startswith("SEND") else [])
        self.assertIn("connection was lost", self.run_cli(server, "pub", "-q", 1, "a", "x", status=1)[1])

    def test_every_version_is_agreed_on_and_acknowledged_in_its_form(self):
        for version, named in (("1.0", "message-id:m7"), ("1.1", "message-id:m7\nsubscription:1"), ("1.2", "id:1-7")):
            with self.subTest(version=version):
                server = self.stomp(lambda f: receipt(f) + [message(7, "hi")] if f.startswith("SUBSCRIBE") else receipt(f),
                                    version=version)
                out, _ = self.run_cli(server, "sub", "-V", version, "-C", 1, "/queue/q")
                self.assertEqual(out, b"/queue/q hi\n")
                self.assertEqual(header(server.frames[0], "accept-version"), version)
                self.assertEqual(server.frames[2:3], [f"ACK\n{named}\n\n"])

    def test_a_message_is_acknowledged_when_it_was_written_and_not_before(self):
        big = "x" * 500_000
        server = self.stomp(lambda f: receipt(f) + [message(1, "first"), message(2, big)] if f.startswith("SUBSCRIBE") else receipt(f),
                            heart_beat="0,1000")
        seen = self.start(server, "sub", "-k", "1", "/queue/q")
        server.wait(lambda s: any(f.startswith("ACK") for f in s.frames), "the first ACK")
        server.wait(lambda s: s.beats > 0, "a heart-beat, which goes when there is nothing else to say")
        self.assertEqual([header(f, "id") for f in server.frames if f.startswith("ACK")], ["1-1"])
        left = len("/queue/q first\n") + len(f"/queue/q {big}\n")
        while left > 0:
            left -= len(os.read(seen.stdout.fileno(), left))
        server.wait(lambda s: s.frames[-1].startswith("ACK\nid:1-2\n"), "the second ACK")
        seen.send_signal(signal.SIGTERM)
        seen.communicate(timeout=harness.PATIENCE)
        self.assertEqual(seen.returncode, 0)

    def test_a_slow_reader_does_not_stop_the_heart_beats(self):
        messages = [message(n, "x" * 100_000) for n in range(30)]
        server = self.stomp(lambda f: receipt(f) + messages if f.startswith("SUBSCRIBE") else receipt(f), heart_beat="0,1000")
        seen = self.start(server, "sub", "-k", "1", "/queue/q")
        server.wait(lambda s: s.beats >= 2, "heart-beats")
        seen.stdout.close()
        self.assertEqual(seen.wait(harness.PATIENCE), 0)
        seen.stderr.close()

    def test_wait_prints_the_reply_that_comes_to_its_own_queue(self):
        def serve(frame):
            if not frame.startswith("SEND"):
                return receipt(frame)
            correlation = header(frame, "correlation-id")
            replies = [f"MESSAGE\nsubscription:/temp-queue/result\nmessage-id:1\ndestination:/reply-queue/k/result\n"
                       f"correlation-id:{c}\n\n{text}" for c, text in (("other", "not yours"), (correlation, "done"))]
            return receipt(frame) + replies
        server = self.stomp(serve)
        out, _ = self.run_cli(server, "pub", "-q", 1, "--wait", "/queue/jobs", "work")
        self.assertEqual(out, b"done\n")
        self.assertEqual(header(server.frames[1], "reply-to"), "/temp-queue/result")

    def test_a_silent_server_is_given_up(self):
        server = self.stomp(lambda f: [], heart_beat="1000,0")
        self.assertIn("silent", self.run_cli(server, "sub", "-k", "1", "a", status=1)[1])

    def test_what_is_no_stomp_is_one(self):
        server = self.stomp(lambda f: ["RUBBISH\n\n"])
        self.assertIn("no STOMP", self.run_cli(server, "sub", "a", status=1)[1])


class StompGateway(harness.TestCase):
    """The same commands and the gateway they come with."""

    def setUp(self):
        super().setUp()
        self.gw = self.gateway(harness.config()).start()

    def run_cli(self, *words, status=0, **more):
        done = subprocess.run([harness.binary(), words[0], "--stomp", "-p", str(self.gw.stomp), *map(str, words[1:])],
                              capture_output=True, timeout=harness.PATIENCE, **more)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def subscriber(self, *words):
        process = self.child(subprocess.Popen([harness.binary(), "sub", "--stomp", "-d", "-p", str(self.gw.stomp), *map(str, words)],
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        for line in process.stderr:
            if b"subscribed to" in line:
                return process
        self.fail(f"no subscription: status {process.wait()}")

    def test_topics_retained_messages_and_headers(self):
        self.run_cli("pub", "-q", 1, "-r", "-H", "site=north:1", "--content-type", "text/plain", "kept/1", "old")
        seen = self.subscriber("--json", "-C", 2, "kept/+")
        self.run_cli("pub", "-q", 1, "kept/2", "new")
        out, err = seen.communicate(timeout=harness.PATIENCE)
        self.assertEqual(seen.returncode, 0, err)
        old, new = map(json.loads, out.splitlines())
        self.assertEqual((old["topic"], old["retain"], old["payload"], old["content_type"]), ("/topic/kept/1", True, "old", "text/plain"))
        self.assertIn(["site", "north:1"], old["headers"])
        self.assertEqual((new["topic"], new["retain"], new["payload"]), ("/topic/kept/2", False, "new"))

    def test_a_queue_gives_what_was_asked_for_and_keeps_the_rest(self):
        for n in range(3):
            self.run_cli("pub", "-q", 1, "/queue/work", n)
        for n in range(3):
            self.assertEqual(self.run_cli("sub", "-C", 1, "-F", "%p", "/queue/work").stdout, b"%d\n" % n)

    def test_a_refusal_quotes_the_frame(self):
        for words in (("pub", "-q", 1, "/queue/none", "x"), ("sub", "/queue/none")):
            self.assertIn(b"> destination:/queue/none", self.run_cli(*words, status=1).stderr)

    def test_wait_gets_what_another_sends_to_its_reply_destination(self):
        worker = self.subscriber("-C", 1, "-F", "%R %D", "jobs/#")
        asking = self.child(subprocess.Popen([harness.binary(), "pub", "--stomp", "-p", str(self.gw.stomp), "-q", "1", "--wait", "jobs/1",
                                              "work"], stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        destination, correlation = worker.communicate(timeout=harness.PATIENCE)[0].decode().split()
        self.run_cli("pub", "-q", 1, "--correlation", correlation, destination, "done")
        self.assertEqual(asking.communicate(timeout=harness.PATIENCE)[0], b"done\n")


class Gateway(harness.TestCase):
    """The same commands and the gateway they come with."""

    def test_what_pub_sends_a_worker_has(self):
        gw = self.gateway(harness.config(pools={"p": harness.recorder(self.folder, env={"RECORD_FULL": "1"})})).start()
        for version in ("3.1.1", "5"):
            for qos in (0, 1, 2):
                done = subprocess.run([harness.binary(), "pub", "-p", str(gw.mqtt), "-V", version, "-q", str(qos),
                                       f"work/{version}/{qos}", "hello"], capture_output=True, timeout=harness.PATIENCE)
                self.assertEqual(done.returncode, 0, done.stderr)

        def topics():
            return {json.loads(w[5])["topic"] for w in self.worked() if w[0] == "S"}
        harness.wait_for(lambda: len(topics()) == 6, "six messages")

    def test_a_refused_topic_is_told_with_its_reason(self):
        gw = self.gateway(harness.config()).start()
        done = subprocess.run([harness.binary(), "pub", "-p", str(gw.mqtt), "-q", "1", "$SYS/x", "no"],
                              capture_output=True, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"0x87", done.stderr)

    def test_a_session_that_is_taken_over_says_so(self):
        gw = self.gateway(harness.config()).start()
        command = [harness.binary(), "pub", "-d", "-p", str(gw.mqtt), "-i", "one", "-l", "work/x"]
        first, second = (self.child(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)) for _ in "12")
        lost = next(p for p in (first, second) if harness.wait_for(lambda: first.poll() or second.poll(), "the takeover")
                    and p.poll() is not None)
        (second if lost is first else first).communicate(timeout=harness.PATIENCE)
        self.assertEqual(lost.returncode, 1)
        self.assertIn(b"0x8E", lost.stderr.read())
        lost.stdin.close()
        lost.stderr.close()

    def test_running_it_loads_neither_paho_nor_tls(self):
        gw = self.gateway(harness.config()).start()
        with open(f"/proc/{gw.process.pid}/maps") as f:
            maps = f.read()
        for library in ("libpaho", "libssl"):
            self.assertNotIn(library, maps)


if __name__ == "__main__":
    if ctypes.util.find_library("paho-mqtt3as") is None and not os.path.exists("/usr/lib/x86_64-linux-gnu/libpaho-mqtt3as.so.1"):
        raise SystemExit("libpaho-mqtt1.3 is not installed")
    unittest.main()
