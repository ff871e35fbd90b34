"""A model's opinion of a response, from any OpenAI-compatible endpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from curriculum.task import Task
from rewards.custom_rules import RuleFault
from rewards.judge.parse import SCORE, ScoreFormat
from rewards.judge.prompt import PROMPT, SYSTEM, PromptTemplate
from rewards.verdict import Verdict

CLIENT_S = 3600.0  # the rule's own `timeout_s` ends a try long before
BUSY = {408, 409, 425, 429}  # answers of an endpoint that may be worth another try, beside 5xx
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BYTES_PER_TOKEN = 3  # on the safe side for English


class EndpointBusy(RuntimeError):
    """The endpoint refused a request that it may take later, in `retry_after_s` seconds if it said so."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


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
        self.model, self.system = model, system
        self.max_tokens, self.temperature = max_tokens, temperature
        self.extra = dict(extra or {})
        self.template = PromptTemplate(prompt)
        self.format = score_format(score_regex, score_key, score_range)
        self._client = self._connect(base_url, _key(api_key_env))

    @staticmethod
    def check_options(**options: Any) -> None:
        """Raises ValueError if an option cannot be used."""
        base_url = options.get("base_url")
        if not (isinstance(base_url, str) and re.match(r"https?://[^/\s]", base_url)):
            raise ValueError(f"base_url: it must be http://… or https://…, found {base_url!r:.80}")
        check_shared_options(options)
        _key(options.get("api_key_env"))

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
        import openai

        try:
            answer = await self._client.chat.completions.create(
                model=self.model,
                messages=self.messages(prompt),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                extra_body=self.extra or None,
            )
        except openai.APIStatusError as error:
            said = f"the judge's endpoint answered {error.status_code}: {_one_line(str(error.message))}"
            if error.status_code in BUSY or error.status_code >= 500:
                raise EndpointBusy(said, _seconds(error.response.headers.get("retry-after"))) from error
            raise RuleFault(said) from error
        except openai.APIResponseValidationError as error:
            raise RuleFault(f"the judge's endpoint gave no chat completion: {_one_line(str(error))}") from error
        choices = getattr(answer, "choices", None)
        if not choices:
            raise RuleFault("the judge's endpoint gave no chat completion")
        return self.whole(choices[0].message.content, choices[0].finish_reason)

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """The chat that a prompt makes."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": prompt.encode("utf-8", "replace").decode("utf-8")}]

    def whole(self, text: str | None, finish_reason: str | None) -> str:
        """The text of an answer that is all there; RuleFault if it is cut off or empty."""
        if finish_reason == "length":
            raise RuleFault(f"the judge's answer is cut off at max_tokens {self.max_tokens}")
        if not (text and text.strip()):
            raise RuleFault("the judge's answer is empty")
        return text

    @staticmethod
    def _connect(base_url: str, key: str) -> Any:
        import openai

        return openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=CLIENT_S)


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


def _key(variable: str | None) -> str:
    """The key in an environment variable; a placeholder if there is none, so that no other key is sent by mistake."""
    if variable is None:
        return "none"
    if not isinstance(variable, str) or not VARIABLE_NAME.fullmatch(variable):
        raise ValueError("api_key_env: it must be the name of an environment variable, not a key")
    if not os.environ.get(variable):
        raise ValueError(f"api_key_env: the environment variable {variable} is not set here")
    return os.environ[variable]


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # a date
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]
