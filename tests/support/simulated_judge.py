"""A simulated judge: an OpenAI-compatible endpoint that grades by a mark in the response. No model is behind it.

A response that holds `grade=N` gets N of 10. One that holds `answer-never` gets no answer, `answer-nonsense` one
without a score, `answer-refuse` the status 400. The answer says that it is simulated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections import Counter
from typing import Any

from aiohttp import web

NEVER_S = 3600.0


class SimulatedJudge:
    """A context, inside which the endpoint is up.

    Args:
        latency_s: until it answers.

    Attributes:
        url: for `base_url`.
        requests: how often it was asked about each grade or mark.
        bodies: every request.
        status: answered to every request instead of a grade if it is not 200, with `headers`.
        dead_until: by `time.monotonic`; before it, every connection is cut.
        most_at_once: how many requests it ever held at the same time.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.requests: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.authorizations: set[str] = set()
        self.finish_reason = "stop"
        self.dead_until = 0.0
        self.most_at_once = 0
        self.url = ""
        self._now = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> SimulatedJudge:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def die(self, seconds: float) -> None:
        """Answers nothing for so long."""
        self.dead_until = time.monotonic() + seconds

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self._answer)
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients that give up are what it is for
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._up.set()
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(runner.cleanup())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if time.monotonic() < self.dead_until:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        self.bodies.append(body)
        self.authorizations.add(request.headers.get("Authorization", ""))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._grade(body["messages"][-1]["content"])
        finally:
            self._now -= 1

    async def _grade(self, prompt: str) -> web.Response:
        mark = re.search(r"answer-\w+|grade=(-?[\d.]+)", prompt)
        self.requests[mark[0] if mark else ""] += 1
        await asyncio.sleep(NEVER_S if mark and mark[0] == "answer-never" else self.latency_s)
        if self.status != 200 or (mark and mark[0] == "answer-refuse"):
            status = 400 if self.status == 200 else self.status
            return web.Response(status=status, headers=self.headers, text=json.dumps({"error": {"message": "no"}}))
        grade = mark[1] if mark else None
        text = f"This grade is simulated.\nScore: {grade}" if grade else "This is a simulated judge without an opinion."
        choice = {"index": 0, "finish_reason": self.finish_reason, "message": {"role": "assistant", "content": text}}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "simulated", "choices": [choice]}
        return web.json_response(answer)
