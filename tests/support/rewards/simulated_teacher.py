"""A simulated teacher: an OpenAI-compatible endpoint that answers with given traces and with faults, without a model.

Its prompt must be `PROMPT`, which names the task and the attempt. A task's `faults` happen in their order, one at each
request, before its trace is given.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from aiohttp import web

from tests.support.simulated_judge import NEVER_S, SimulatedJudge

PROMPT = "{{ task.id }}|{{ attempt }}"
Fault = Literal["busy", "rate", "never", "json", "wrong", "cut", "prose", "refuse"]
UNPAID: tuple[Fault, ...] = ("busy", "rate", "never", "refuse")
"""After these, nothing was answered, so the same ask comes again."""


class SimulatedTeacher(SimulatedJudge):
    """A context, inside which the endpoint is up.

    Args:
        traces: task to the trace that is right.
        faults: task to what happens before it is given.
        latency_s: until it answers.

    Attributes:
        paid: how often each (task, attempt) was answered, well or badly.
        asked: how often each was asked for.
    """

    def __init__(
        self, traces: Mapping[str, str], faults: Mapping[str, Sequence[Fault]], latency_s: float = 0.0
    ) -> None:
        super().__init__(latency_s)
        self.traces = traces
        self.paid: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[tuple[str, str]] = Counter()
        self._left = {id: list(kinds) for id, kinds in faults.items()}

    async def _grade(self, prompt: str | list[dict[str, str]]) -> web.Response:
        if isinstance(prompt, list):  # with films
            prompt = prompt[-1]["text"]
        id, attempt = prompt.rsplit("|", 1)
        self.asked[id, attempt] += 1
        kinds = self._left.get(id, [])
        fault = kinds.pop(0) if kinds else None
        await asyncio.sleep(NEVER_S if fault == "never" else self.latency_s)
        if fault in UNPAID:
            status = {"busy": 503, "rate": 429, "never": 503, "refuse": 400}[fault]
            headers = {"Retry-After": "0.2"} if fault == "rate" else {}
            return web.Response(status=status, headers=headers, text=json.dumps({"error": {"message": "not now"}}))
        self.paid[id, attempt] += 1
        if fault == "json":
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        text = self.traces[id]
        if fault == "wrong":
            text = text.replace("✅", "?").replace("❌", "✅").replace("?", "❌")
        if fault == "prose":
            text = "I would say that it is B."
        choice = {
            "index": 0,
            "finish_reason": "length" if fault == "cut" else "stop",
            "message": {"role": "assistant", "content": f"Here it is:\n```\n{text}\n```"},
        }
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "simulated", "choices": [choice]}
        )
