"""The asyncio flavour against a gateway that lives in the test; test_conformance.py has its frames."""

import asyncio
import contextlib
import io
import os
import signal
import tempfile
import threading
import unittest

from recorded import FRAMES, Gateway, Listener, acks, as_bytes, deliver, hello, not_for_ever, published, tagged, welcome

import sluice_worker as sdk
import sluice_worker.aio as aio


class AioTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        not_for_ever(self)
        self.gateway = Gateway()
        self.worker = aio.Worker(name="demo", fd=self.gateway.worker_end.detach())
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.addCleanup(self.gateway.close)

    async def asyncTearDown(self):
        await self.worker.close()

    async def connected(self, *frames):
        self.gateway.send(*(frames if frames and isinstance(frames[0], bytes) and frames[0][4] == 0x41
                            else ("welcome", *frames)))
        await self.worker.connect()
        self.assertEqual(self.gateway.received(), FRAMES["hello-plain"])

    async def served(self, handler):
        """What is written until the end of serve(), and what is said on stderr."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            await self.worker.serve(handler)
        return errors.getvalue()

    def expect(self, *names):
        self.assertEqual(self.gateway.received(), as_bytes(names))


class Loops(AioTest):
    async def test_messages_are_a_loop_that_drain_ends(self):
        await self.connected(deliver(1), deliver(2), "drain")
        seen = []
        async for message in self.worker.messages():
            seen.append(message.id)
            message.ack()
        await self.worker.close()
        self.assertEqual(seen, [f"{1:016x}", f"{2:016x}"])
        self.expect(tagged("ack", 1), tagged("ack", 2), "bye")

    async def test_next_within_tells_silence_from_the_end(self):
        await self.connected()
        self.assertIsNone(await self.worker.next_within(0))
        self.assertFalse(self.worker.drained)
        self.gateway.send("drain")
        self.assertIsNone(await self.worker.next())
        self.assertTrue(self.worker.drained)

    async def test_a_batch_ends_where_the_pools_batch_ends(self):
        await self.connected(FRAMES["welcome-batches"], deliver(1, flags=4), deliver(2), deliver(3))
        batch = await self.worker.next_batch(max=100, wait=30)
        batch.ack()
        self.assertEqual(len(batch), 2)
        self.assertEqual(len(await self.worker.next_batch(max=100, wait=30)), 1)
        self.expect(acks(1, 2))

    async def test_a_batch_is_full_or_its_time_is_over_or_prefetch_is(self):
        await self.connected(welcome(prefetch=3), deliver(1), deliver(2), deliver(3))
        self.assertEqual(len(await self.worker.next_batch(max=2, wait=30)), 2)
        self.assertEqual(len(await self.worker.next_batch(max=2, wait=30)), 1)
        self.gateway.send("drain")
        self.assertIsNone(await self.worker.next_batch(max=2, wait=30))

    async def gathered(self):
        """The second message comes after more than the silence that ends other batches."""
        self.gateway.send("welcome", deliver(1))
        asyncio.get_running_loop().call_later(0.05, self.gateway.send, deliver(2))
        return len(await self.worker.next_batch(max=2, wait=30))

    async def test_a_worker_that_gathers_waits_as_long_as_it_may(self):
        self.assertEqual(await self.gathered(), 2)
        self.expect("hello-gathers")

    async def test_one_that_shall_not_gather_does_not_wait(self):
        self.worker.gathers = False
        self.assertEqual(await self.gathered(), 1)
        self.expect("hello-plain")

    async def test_a_publish_is_awaited(self):
        await self.connected()
        publishes = [asyncio.ensure_future(self.worker.publish("a")) for _ in range(3)]
        await asyncio.sleep(0)
        self.gateway.send(published(2), "published-refused", published(1, code=6))
        outcomes = await asyncio.gather(*publishes, return_exceptions=True)
        self.assertEqual(outcomes[:2], [False, True])
        self.assertIsInstance(outcomes[2], sdk.PublishRefused)

    async def test_a_lost_gateway_is_a_typed_error_for_all_who_wait(self):
        await self.connected(deliver(1))
        message = await self.worker.next()
        waiting = [asyncio.ensure_future(w) for w in (self.worker.publish("a"), self.worker.next())]
        await asyncio.sleep(0)
        self.gateway.close()
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            self.assertIsInstance(error, sdk.GatewayGone)
        message.ack()
        self.assertTrue(message.stale)
        self.assertEqual(self.worker.stale_answers, 1)

    async def test_answers_are_written_together(self):
        await self.connected(deliver(1), deliver(2), deliver(3))
        written, worker = [], self.worker
        messages = [await worker.next() for _ in range(3)]
        transport = worker._session._transport
        worker._session._transport = type("T", (), {"write": lambda self, data: written.append(data)})()
        for message in messages:
            message.ack()
        await asyncio.sleep(0)
        worker._session._transport = transport
        self.assertEqual(written, [as_bytes(tagged("ack", t) for t in (1, 2, 3))])


class Handlers(AioTest):
    async def outcome(self, handler, *frames):
        await self.connected(*(frames or ("deliver-bare",)), "drain")
        return await self.served(handler)

    async def test_a_result_is_sent(self):
        async def handler(message):
            return {"ok": True}
        await self.outcome(handler)
        self.expect("ack-json", "bye")

    async def test_a_plain_function_is_a_handler_too(self):
        await self.outcome(lambda message: None)
        self.expect("ack", "bye")

    async def test_verdicts_can_be_raised(self):
        verdicts = [sdk.Retry("the database is away", delay=5), sdk.Release(), sdk.Dead("no number in it: ü")]

        async def handler(message):
            raise verdicts.pop(0)
        await self.outcome(handler, deliver(1), deliver(2), deliver(3))
        self.expect(tagged("retry-later", 1), tagged("release", 2), tagged("dead", 3), "bye")

    async def test_an_exception_is_a_failed_attempt(self):
        async def handler(message):
            return {}["unit"]
        self.assertIn("Traceback", await self.outcome(handler))
        self.assertIn(b"KeyError: 'unit'", self.gateway.received())

    async def test_a_cancelled_task_of_the_handlers_own_is_a_failed_attempt(self):
        async def handler(message):
            other = asyncio.ensure_future(asyncio.sleep(30))
            other.cancel()
            await other
        await self.outcome(handler)
        self.assertIn(b"CancelledError", self.gateway.received())

    async def at_once(self, concurrency):
        now, most = 0, 0

        async def handler(message):
            nonlocal now, most
            now, most = now + 1, max(most, now + 1)
            await asyncio.sleep(0.001)
            now -= 1
        await self.outcome(handler, welcome(concurrency=concurrency), *(deliver(t) for t in range(1, 9)))
        return most

    async def test_as_many_run_at_once_as_welcome_says(self):
        self.assertEqual(await self.at_once(4), 4)

    async def test_one_at_a_time_by_default(self):
        self.assertEqual(await self.at_once(1), 1)

    async def test_sigterm_finishes_what_has_begun_and_gives_the_rest_back(self):
        async def handler(message):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
        await self.connected(welcome(concurrency=2), deliver(1), deliver(2), deliver(3))
        await self.served(handler)
        self.expect(tagged("ack", 1), tagged("ack", 2), "bye")

    async def test_a_handler_of_batches_gathers(self):
        self.worker.batch_handler(lambda batch: None)
        self.gateway.send("welcome", "drain")
        await self.served(None)
        self.expect(hello(soft=True, gathers=True), "bye")

    async def test_a_handler_of_batches_acks_them_by_returning(self):
        @self.worker.batch_handler(max=2, wait=30)
        async def handler(batch):
            await asyncio.sleep(0)
        await self.outcome(None, deliver(1), deliver(2), deliver(3))
        self.expect(acks(1, 2), acks(3), "bye")


class SoftLimits(AioTest):
    """The soft limit is SoftTimeLimit where the handler waits, as in the plain flavour."""

    async def limited(self, handler, *frames):
        self.gateway.send(welcome(soft=50000, concurrency=2), *frames)
        return await self.served(handler)

    def late(self, *tags):
        self.gateway.send(*(tagged("soft-limit", tag) for tag in tags), "drain")

    async def test_it_is_raised_where_the_handler_waits(self):
        async def handler(message):
            self.late(1)
            try:
                await asyncio.sleep(30)
            except sdk.SoftTimeLimit:
                await asyncio.sleep(0)
                message.release()
        await self.limited(handler, deliver(1))
        got = self.gateway.received()
        self.assertEqual((got[6], got[len(FRAMES["hello-plain"]):]), (1, as_bytes([tagged("release", 1), "bye"])))

    async def test_it_goes_through_what_the_handler_awaits(self):
        async def inner():
            with contextlib.suppress(Exception):
                await asyncio.gather(asyncio.sleep(30), asyncio.sleep(31))

        async def handler(message):
            self.late(1)
            await asyncio.wait_for(inner(), 30)
        self.assertIn("SoftTimeLimit", await self.limited(handler, deliver(1)))
        self.assertIn(b"the soft time limit has passed", self.gateway.received())

    async def test_only_the_late_one_hears_of_it(self):
        async def handler(message):
            if int(message.id, 16) == 1:
                self.late(1)
                await asyncio.sleep(30)
            await asyncio.sleep(0.01)
        await self.limited(handler, deliver(1), deliver(2))
        self.assertIn(tagged("ack", 2), self.gateway.received())

    async def test_the_task_is_whole_afterwards(self):
        """Whoever catches it can use timeouts and other tasks as before."""
        async def handler(message):
            self.late(1)
            try:
                await asyncio.sleep(30)
            except sdk.SoftTimeLimit:
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.sleep(30), 0.001)
                cancelled = asyncio.ensure_future(asyncio.sleep(30))
                cancelled.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await cancelled
        await self.limited(handler, deliver(1))
        self.assertTrue(self.gateway.received().endswith(as_bytes([tagged("ack", 1), "bye"])))


class External(AioTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="sluice-")
        self.addCleanup(folder.cleanup)
        self.listener = Listener(folder.name)
        self.addCleanup(self.listener.close)
        self.worker = aio.Worker(name="demo", soft_limit=False, worker_socket=self.listener.path)

    async def test_it_comes_back_after_a_loss_and_after_a_drain(self):
        taken = threading.Event()

        def play():
            for frames in ((deliver(1),), (deliver(2), "drain"), ()):
                gateway = self.listener.accept()
                gateway.read(len(FRAMES["hello-plain"]))
                gateway.send("welcome-external", *frames)
                if frames == (deliver(1),):
                    taken.wait(30)
                elif frames:
                    self.assertEqual(gateway.read(18), as_bytes([tagged("ack", 2), "bye"]))
                else:
                    loop.call_soon_threadsafe(self.worker.stop)
                    gateway.read(5)
                gateway.close()
        loop = asyncio.get_running_loop()
        seen = []

        async def handler(message):
            seen.append(message)
            taken.set()
            while len(seen) == 1 and not message.stale:
                await asyncio.sleep(0.001)
        thread = threading.Thread(target=play)
        thread.start()
        errors = await self.served(handler)
        thread.join()
        self.assertEqual(([m.id for m in seen], self.worker.stale_answers), ([f"{t:016x}" for t in (1, 2)], 1))
        self.assertIn("again in", errors)


if __name__ == "__main__":
    unittest.main()
