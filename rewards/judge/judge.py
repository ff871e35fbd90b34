"""A model's opinion of a response, from any OpenAI-compatible endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from curriculum.task import Task
from rewards.calls.chat import ChatEndpoint, chat_of, check_url, key_of
from rewards.judge.parse import SCORE, ScoreFormat
from rewards.judge.prompt import PROMPT, SYSTEM, PromptTemplate
from rewards.verdict import Verdict

WHO = "the judge"
BYTES_PER_TOKEN = 3  # on the safe side for English


class Judge:
    """Asks a model for a score and maps it to [0, 1].

    Args:
        model: its name at the endpoint.
        base_url: the endpoint, such as http://host:8000/v1.
        prompt: a jinja2 template with task, question, options, gold, reference, response, answer and fence.
        system: the system message; "" for none.
        score_regex: its first group is the score, and its last match counts.
        score_key: the key of the score in a JSON object, instead of `score_regex`.
        score_range: the scores that mean 0 and 1.
        max_tokens: the budget of its answer, thoughts included. An answer that is cut off has no score.
        temperature: of its sampling; 0 gives the most repeatable scores.
        api_key_env: the name of the environment variable with the key of the endpoint; none if it needs no key.
        extra: further fields of the request, such as {chat_template_kwargs: {enable_thinking: false}}.
    """

    opinion: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        prompt: str = PROMPT,
        system: str = SYSTEM,
        score_regex: str = SCORE,
        score_key: str = "",
        score_range: Sequence[float] = (0, 10),
        max_tokens: int = 512,
        temperature: float = 0.0,
        api_key_env: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.system, self.max_tokens, self.temperature = system, max_tokens, temperature
        self.template = PromptTemplate(prompt)
        self.format = score_format(score_regex, score_key, score_range)
        self._endpoint = ChatEndpoint(WHO, base_url, model, api_key_env, extra or {})

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raises ValueError if an option cannot be used."""
        check_url(options.get("base_url"))
        check_shared_options(options)
        key_of(options.get("api_key_env"))

    async def __call__(self, task: Task, response: str, verdict: Verdict) -> float:
        """The judge's score of a response, in [0, 1].

        Raises:
            RuleFault: the judge gave no score, or the endpoint refuses such a request.
            EndpointBusy: it may take the request later.
        """
        return self.format.value(await self.ask(self.template.fill(task, response, verdict)))

    def estimate_tokens(self, task: Task, response: str, verdict: Verdict) -> int:
        """The most tokens that a request may take, about."""
        prompt = self.system + self.template.fill(task, response, verdict)
        return len(prompt.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN + self.max_tokens

    async def ask(self, prompt: str) -> str:
        """The model's answer to a prompt.

        Raises:
            RuleFault, EndpointBusy: as `__call__`.
        """
        return await self._endpoint.ask(self.messages(prompt), self.max_tokens, self.temperature)

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """The chat that a prompt makes."""
        return chat_of(self.system, prompt)


def check_shared_options(options: Mapping[str, Any]) -> None:
    """Raises ValueError if an option that every judge has cannot be used."""
    PromptTemplate(options.get("prompt", PROMPT))
    score_format(options.get("score_regex", SCORE), options.get("score_key", ""), options.get("score_range", (0, 10)))
    max_tokens = options.get("max_tokens", 1)
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ValueError(f"max_tokens: it must be a whole number above 0, found {max_tokens!r:.80}")


def score_format(regex: str, key: str, score_range: Sequence[float]) -> ScoreFormat:
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        raise ValueError(f"score_regex: no regular expression ({error})") from error
    if not groups:
        raise ValueError("score_regex: it needs a group, (…), around the score")
    try:
        low, high = (float(end) for end in score_range)
    except (TypeError, ValueError):
        raise ValueError(f"score_range: it must be two numbers, found {score_range!r:.80}") from None
    if low == high:
        raise ValueError(f"score_range: its ends must differ, found {score_range!r:.80}")
    return ScoreFormat(regex, key, low, high)
