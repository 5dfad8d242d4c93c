"""The accounts of a run: what producers say they sent and were told, what workers say they did,
what is left in the store; and the promises that must hold between them."""

import collections


class Ledger:
    def __init__(self):
        self.sent, self.acknowledged, self.received = set(), set(), set()
        self.refused, self.lost_sessions, self.resumed = [], 0, 0
        self.worked = set()                            # uids that a worker acked
        self.ids = collections.defaultdict(set)        # uid -> ids
        self.starts = collections.Counter()            # id -> deliveries that began
        self.verdicts = collections.Counter()
        self.deaths = collections.Counter()
        self.lies = collections.Counter()              # answers that must not count
        self.dead = {}                                 # uid -> entry
        self.left = []                                 # entries that are neither done nor dead
        self.overlaps = []
        self.late_ids = []

    # -- taking in

    def producer(self, path):
        for line in path.read_text().splitlines() if path.exists() else []:
            what, *rest = line.split(" ")
            if what == "sent":
                self.sent.add(rest[0])
            elif what == "ok":
                self.acknowledged.add(rest[0])
            elif what == "rec":
                self.received.add(rest[0])
            elif what == "refused":
                self.refused.append(line)
            elif what == "lost-session":
                self.lost_sessions += 1
            elif what == "resumed":
                self.resumed += 1

    def workers(self, lines):
        notes = [(int(l[1]), l[0], l[2], l[3], l[5]) for l in lines if len(l) == 6]
        notes.sort(key=lambda n: n[0])
        uid_of = {}
        for _, what, _, message, word in notes:
            if what == "S":
                uid_of[message] = word
                self.ids[word].add(message)
                self.starts[message] += 1
            elif what == "E":
                self.verdicts[word] += 1
                if word == "ack":
                    self.worked.add(uid_of[message])
            elif what == "X":
                self.deaths[word] += 1
            elif what == "F":
                self.lies[word] += 1
        self._find_overlaps(notes)

    def _find_overlaps(self, notes):
        """Who began a message holds it until his E or X, or until he says nothing ever again."""
        last_word = {}
        for at, _, who, _, _ in notes:
            last_word[who] = at
        holder = {}
        for at, what, who, message, _ in notes:
            if what == "S":
                before = holder.get(message)
                if before is not None and (before == who or last_word[before] > at):
                    self.overlaps.append((message, before, who, at))
                holder[message] = who
            elif what == "E":
                if holder.get(message) != who:
                    self.overlaps.append((message, who, "ended what another holds", at))
                holder.pop(message, None)
            elif what == "X" and holder.get(message) == who:
                del holder[message]

    def store(self, entries):
        for e in entries:
            uid = e["payload"].split(b" ")[0].decode("ascii", "replace")
            if e["state"] == "dead":
                self.dead[uid] = e
                self.ids[uid].add(e["id"])
            else:
                self.left.append(e)

    # -- what must hold

    def missing(self):
        """Acknowledged (PUBREC is an acknowledgement too), and neither worked nor dead."""
        return (self.acknowledged | self.received) - self.worked - set(self.dead)

    def doubled(self, prefix):
        """Messages of these producers that were given more than one id."""
        return {u: sorted(i) for u, i in self.ids.items() if u.startswith(prefix) and len(i) > 1}

    def duplicates(self):
        return sum(1 for i in self.ids.values() if len(i) > 1)

    def counts(self, **more):
        return {
            "sent": len(self.sent), "acknowledged": len(self.acknowledged),
            "worked": len(self.worked), "deliveries": sum(self.starts.values()),
            "redelivered": sum(n - 1 for n in self.starts.values()),
            "duplicates": self.duplicates(), "dead": len(self.dead), "verdicts": dict(self.verdicts),
            "deaths": dict(self.deaths), "resumed": self.resumed, **more,
        }

    def check(self, test, exactly_once=()):
        test.assertEqual(self.lost_sessions, 0, "a session that was acknowledged was lost")
        test.assertEqual(self.refused, [], "a publish was refused")
        test.assertEqual(self.sent - self.acknowledged, set(), "a producer was never answered")
        test.assertEqual(self.left, [], "the store still holds what nobody works on")
        missing = sorted(self.missing())
        test.assertEqual(missing[:20], [], f"{len(missing)} acknowledged messages were lost")
        test.assertEqual(self.overlaps[:5], [], f"{len(self.overlaps)} times held by two at once")
        for prefix in exactly_once:
            test.assertTrue(any(u.startswith(prefix) for u in self.ids), f"nothing of {prefix}")
            doubled = self.doubled(prefix)
            test.assertEqual(dict(list(doubled.items())[:5]), {},
                             f"{len(doubled)} QoS 2 messages of {prefix} have several ids")
