"""A client of an OpenAI-compatible endpoint: one chat completion at a time, without tries of its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from rewards.custom_rules import RuleFault

CLIENT_S = 3600.0  # the caller's own time limit ends a try long before
BUSY = {408, 409, 425, 429}  # answers of an endpoint that may be worth another try, beside 5xx
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EndpointBusy(RuntimeError):
    """The endpoint refused a request that it may take later, in `retry_after_s` seconds if it said so."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(RuleFault):
    """The endpoint does not take such a request: another try, or another day, would not help."""


class ChatEndpoint:
    """Asks a model at an endpoint.

    Args:
        who: answers, for messages: "the judge".
        base_url: the endpoint, such as http://host:8000/v1.
        model: its name there.
        api_key_env: the name of the environment variable with the key; None if the endpoint needs none.
        extra: further fields of each request.

    Raises:
        ValueError: there is no such variable.
    """

    def __init__(self, who: str, base_url: str, model: str, api_key_env: str | None, extra: Mapping[str, Any]) -> None:
        import openai

        self.who, self.model, self.extra = who, model, dict(extra)
        key = key_of(api_key_env)
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=CLIENT_S)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int,
        temperature: float,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The model's answer to a chat.

        Args:
            headers: further headers of the request.

        Raises:
            Refused: the endpoint does not take the request.
            RuleFault: what it answered is no chat completion, empty or cut off.
            EndpointBusy: it may take the request later.
        """
        import openai

        try:
            answer = await self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                max_tokens=max_tokens,
                temperature=temperature,
                extra_body=self.extra or None,
                extra_headers=dict(headers or {}),
            )
        except openai.APIStatusError as error:
            said = f"{self.who}'s endpoint answered {error.status_code}: {_one_line(_said(error))}"
            if error.status_code in BUSY or error.status_code >= 500:
                raise EndpointBusy(said, _seconds(error.response.headers.get("retry-after"))) from error
            raise Refused(said) from error
        except (openai.APIResponseValidationError, ValueError) as error:  # the latter: broken JSON
            raise RuleFault(f"{self.who}'s endpoint gave no chat completion: {_one_line(str(error))}") from error
        choices = getattr(answer, "choices", None)
        if not choices:
            raise RuleFault(f"{self.who}'s endpoint gave no chat completion")
        message = getattr(choices[0], "message", None)
        return whole(self.who, getattr(message, "content", None), choices[0].finish_reason, max_tokens)

    async def close(self) -> None:
        """Ends the connections, in the loop that they were made in."""
        await self._client.close()


def chat_of(system: str, prompt: str) -> list[dict[str, str]]:
    """The chat that a prompt makes, with a system message unless that is empty."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": prompt.encode("utf-8", "replace").decode("utf-8")}]


def whole(who: str, text: str | None, finish_reason: str | None, max_tokens: int) -> str:
    """The text of an answer that is all there; RuleFault if it is cut off or empty."""
    if finish_reason == "length":
        raise RuleFault(f"{who}'s answer is cut off at max_tokens {max_tokens}")
    if not (isinstance(text, str) and text.strip()):
        raise RuleFault(f"{who}'s answer is empty")
    return text


def check_url(base_url: object) -> None:
    """Raises ValueError unless it is the address of an endpoint."""
    if not (isinstance(base_url, str) and re.match(r"https?://[^/\s]", base_url)):
        raise ValueError(f"base_url: it must be http://… or https://…, found {base_url!r:.80}")


def key_of(variable: str | None) -> str:
    """The key in an environment variable; a placeholder if there is none, so that no other key is sent by mistake.

    Raises:
        ValueError: there is no such variable.
    """
    if variable is None:
        return "none"
    if not isinstance(variable, str) or not VARIABLE_NAME.fullmatch(variable):
        raise ValueError("api_key_env: it must be the name of an environment variable, not a key")
    if not os.environ.get(variable):
        raise ValueError(f"api_key_env: the environment variable {variable} is not set here")
    return os.environ[variable]


def _said(error: Any) -> str:
    """What an endpoint says of a request that it refuses: the message in its answer, or all of it."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return str(message or error.message)


def _seconds(text: str | None) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date."""
    try:
        return float(text) if text else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(str(text)).timestamp() - time.time())
    except ValueError:
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]
