"""Lets a model behind an OpenAI-compatible endpoint write traces: many at once, within limits, nothing paid twice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from curriculum.images import ImageError, load_image
from rewards.calls.chat import ChatEndpoint, Refused, chat_of
from rewards.calls.clock import Clock
from rewards.calls.outage import EndpointDown, Outage
from rewards.calls.rate_limit import MINUTE_S, RateLimit
from rewards.calls.retries import is_worth_retrying, pause_s
from rewards.custom_rules import RuleFault
from rewards.traces.teacher_config import TeacherConfig
from rewards.traces.teacher_prompt import TeacherPrompt, trace_in
from rewards.traces.writer import Ask, Draft

BYTES_PER_TOKEN = 3  # on the safe side for English
MAX_WAIT_S = 600.0  # that an endpoint may ask for by Retry-After
MAX_REFUSALS = 10  # in a row, before the endpoint takes none: its key is wrong, or the model's name
NO_TRACE = "its answer holds no trace"
CUT_OFF = "its answer is cut off at max_tokens"
STOPPED = "stopped before it was asked"


class TeacherWriter:
    """The writer `teacher`, at an endpoint.

    A request that was not answered is tried again, and a later run asks again if no try was answered. An answer that
    is broken or no trace uses up the ask, since it was paid for.

    Args:
        config: with `base_url`.
        prompt: the template.
        attempts: how often a task is asked for.
        seed: distinguishes runs that should not share their answers.
    """

    name: ClassVar[str] = "teacher"
    runs_anywhere: ClassVar[bool] = False

    def __init__(self, config: TeacherConfig, prompt: str, attempts: int, seed: int) -> None:
        self.config, self.attempts, self.seed = config, attempts, seed
        self.template = TeacherPrompt(prompt)
        self.settings = teacher_settings(config, prompt, seed)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Asks nothing more. What is under way is awaited. Any thread may call it."""
        self._stopping.set()

    def write(self, asks: Sequence[Ask]) -> Iterator[Draft]:
        """One draft for each ask, as they come. After `stop`, those that were not begun have none.

        KeyboardInterrupt stops it too: it is raised once what was under way has come.

        Raises:
            Refused: the endpoint refuses one request after the other.
        """
        answers: queue.SimpleQueue[Draft | BaseException | None] = queue.SimpleQueue()
        work = threading.Thread(target=self._run, args=(asks, answers), name="teacher", daemon=True)
        work.start()
        interrupt: KeyboardInterrupt | None = None
        try:
            while True:
                try:
                    answer = answers.get()
                except KeyboardInterrupt as error:
                    self.stop()
                    interrupt = error
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                if answer is None:
                    break
                yield answer
        except BaseException:  # nobody reads the answers any more
            self.stop()
            raise
        if interrupt:
            raise interrupt

    def _run(self, asks: Sequence[Ask], answers: queue.SimpleQueue[Draft | BaseException | None]) -> None:
        try:
            asyncio.run(_Round(self, answers).ask_all(asks))
        except BaseException as error:  # noqa: BLE001 (it is raised where the answers are read)
            answers.put(error)
        else:
            answers.put(None)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()


class _Round:
    """One round of asks, in one event loop."""

    def __init__(self, writer: TeacherWriter, answers: queue.SimpleQueue[Draft | BaseException | None]) -> None:
        config = writer.config
        assert config.base_url is not None
        self.writer, self.config, self.answers = writer, config, answers
        self.clock = Clock()
        self.endpoint = ChatEndpoint("the teacher", config.base_url, config.model, config.api_key_env, config.extra)
        self.outage = Outage("teacher", self.clock)
        self.refusals = 0  # in a row
        self.closed_until = 0.0  # by the clock: the endpoint asked to be left alone until then
        self.requests = self._limit(config.requests_per_minute)
        self.tokens = self._limit(config.tokens_per_minute)

    def _limit(self, per_minute: float | None) -> RateLimit | None:
        return None if per_minute is None else RateLimit(per_minute, MINUTE_S, self.clock)

    async def ask_all(self, asks: Sequence[Ask]) -> None:
        waiting = iter(asks)

        async def work() -> None:
            for ask in waiting:
                if self.writer.is_stopping:
                    return
                self.answers.put(await self._draft(ask))

        try:
            await asyncio.gather(*(work() for _ in range(min(self.config.concurrency, len(asks)))))
        finally:
            await self.endpoint.close()

    async def _draft(self, ask: Ask) -> Draft:
        """What becomes of an ask: a trace, an answer that holds none, or no answer after all tries."""
        prompt = self.writer.template.fill(ask)
        try:
            messages = await asyncio.to_thread(self._messages, ask, prompt)
        except ImageError as error:
            return Draft(ask.task.id, ask.attempt, (), str(error), is_final=True, is_answered=False)
        # A gateway that knows this header neither does nor charges a repeated request again.
        known = f"{self.writer.settings}\n{ask.attempt}\n{prompt}"
        key = hashlib.sha256(known.encode("utf-8", "replace")).hexdigest()
        cost = len(prompt.encode("utf-8", "replace")) // BYTES_PER_TOKEN + self.config.max_tokens
        why = STOPPED
        for tries in range(1, self.config.retries + 2):
            if tries > 1 and self.writer.is_stopping:
                break
            try:
                probe = await self.outage.wait()
            except EndpointDown as error:
                why = f"the teacher: {error}"
                break
            await self._take_turn(cost)
            try:
                answer = await self._ask_once(messages, key)
            except Refused as error:
                self._refused(error)
                return Draft(ask.task.id, ask.attempt, (), str(error), is_answered=False)
            except RuleFault as error:
                self._answered()
                return Draft(ask.task.id, ask.attempt, (), str(error))
            except Exception as error:
                if not is_worth_retrying(error):
                    raise
                why = str(error)[:200] or f"no answer in {self.config.timeout_s:g} s"
                await self._step_back(error, why, probe, tries, key)
            else:
                self._answered()
                trace = trace_in(answer)
                return Draft(ask.task.id, ask.attempt, (trace,) if trace else (), "" if trace else NO_TRACE)
        return Draft(ask.task.id, ask.attempt, (), why, is_answered=False)

    async def _ask_once(self, messages: list[dict[str, Any]], key: str) -> str:
        headers = {"Idempotency-Key": key}
        work = self.endpoint.ask(messages, self.config.max_tokens, self.config.temperature, headers)
        return await asyncio.wait_for(work, self.config.timeout_s)

    def _answered(self) -> None:
        self.outage.answered()
        self.refusals = 0

    def _refused(self, error: Refused) -> None:
        self.outage.answered()
        self.refusals += 1
        if self.refusals >= MAX_REFUSALS:
            raise error

    async def _take_turn(self, cost: float) -> None:
        while (wait_s := self.closed_until - self.clock.now()) > 0:
            await self.clock.sleep(wait_s)
        if self.requests:
            await self.requests.take()
        if self.tokens:
            await self.tokens.take(cost)

    async def _step_back(self, error: Exception, why: str, probe: bool, tries: int, key: str) -> None:
        """Waits before another try: as long as the endpoint asks for, with all other requests, or a growing pause."""
        asked_s = getattr(error, "retry_after_s", None)
        if asked_s is None:
            self.outage.failed(why, probe, first=tries == 1)
            await self.clock.sleep(pause_s(tries, key, error))
        else:
            self.outage.answered()
            self.closed_until = max(self.closed_until, self.clock.now() + min(MAX_WAIT_S, float(asked_s)))

    def _messages(self, ask: Ask, prompt: str) -> list[dict[str, Any]]:
        chat: list[dict[str, Any]] = [*chat_of(self.config.system, prompt)]
        if self.config.images:
            films = [_part_of(path) for path in ask.task.images]
            chat[-1]["content"] = [*films, {"type": "text", "text": chat[-1]["content"]}]
        return chat


def teacher_settings(config: TeacherConfig, prompt: str, seed: int) -> dict[str, object]:
    """What a teacher's texts depend on."""
    asked = config.model_dump(include={"model", "system", "images", "max_tokens", "temperature", "extra"})
    return {**asked, "prompt": hashlib.sha256(prompt.encode()).hexdigest()[:16], "seed": seed}


def _part_of(path: str) -> dict[str, Any]:
    """A film as a part of a chat message. Raises ImageError."""
    buffer = io.BytesIO()
    load_image(path).save(buffer, "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
