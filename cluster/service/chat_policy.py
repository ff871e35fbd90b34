"""The policy as it is served: an engine that follows a run's commits, or holds a model folder, and chats through vLLM's own
chat server."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Deployment

from actors.model.encode import Encoder, PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import VllmEngine
from actors.runtime.storage import POLICY, Storage
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.record.checkpoint import CheckpointError, Checkpoints, run_checkpoints
from cluster.standalone.evaluate import find_subject
from curriculum.images import ImageError, read_image

DEPLOYMENT = "ChatPolicy"
TIMEOUT_S = 600  # for an answer, or the next piece of a stream
FOLLOW_S = 2.0  # between two looks at what the run has committed
IMAGES = 4  # most of a chat
MOST_PIXELS = 2**26  # of a chat's images together; a film has 2**24


class Refused(Exception):
    """A chat that is not answered: an HTTP status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status, self.why = status, why


@dataclass(frozen=True)
class Source:
    """What is served: the folder with configuration and processor, how the engine is set up, and the run that is followed."""

    name: str
    model: Path
    prompt: PromptConfig
    config: RolloutConfig
    commits: Checkpoints | None

    def newest(self) -> Storage | None:
        """The newest commit of the run; None where there is none, or no run."""
        committed = self.commits.committed() if self.commits else []
        return committed[-1] if committed else None


def find_source(root: Path, policy: str) -> Source:
    """A run below `root` by its name, else a model folder.

    Raises:
        UserError: it is neither.
    """
    run = root / policy
    if "/" not in policy and (run / "recipe.yaml").is_file():
        recipe = load_recipe(run / "recipe.yaml")
        return Source(
            policy,
            run / "base" if recipe.model.path is None else recipe.model.path.absolute(),
            recipe.prompt,
            recipe.rollout,
            run_checkpoints(recipe, run),
        )
    try:
        subject = find_subject(Path(policy))
    except UserError as error:
        raise UserError(f"--policy {policy}: neither a run of {root} nor a model folder: {error}") from error
    return Source(subject.name, subject.folder, subject.prompt, subject.roles["rollout"], None)


def deployment(source: Source, replicas: int) -> Deployment:
    """Up to `replicas` engines, as many as there are chats for."""
    config = source.config
    return serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=2 * config.max_sequences,
        health_check_timeout_s=60,
        graceful_shutdown_timeout_s=TIMEOUT_S,  # a replica that is not needed any more ends its chats first
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": replicas,
            "target_ongoing_requests": max(1, config.max_sequences // 2),
        },
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
    )(ChatPolicy)


class ChatPolicy:
    """One replica. Chats that are being answered when a new commit is taken up go on with the new weights."""

    async def __init__(self, source: Source) -> None:
        from actors.runtime.environment import quiet_libraries

        quiet_libraries()
        self.source = source
        self.held: str | None = None if source.commits else source.model.name  # which weights
        self.encoder = Encoder(source.model, source.prompt)
        self.engine = VllmEngine(source.config, str(source.model), self.encoder, IMAGES, image_cache=False)
        self.chats = _chat_server(self.engine, source)
        if newest := source.newest():
            await self._take(newest)
        self.following = asyncio.create_task(self._follow())

    def __repr__(self) -> str:
        return f"policy {self.source.name} {self.held or ''}".rstrip()

    async def check_health(self) -> None:
        """Raises RuntimeError: Serve then starts another replica."""
        if self.engine.llm.errored or self.following.done():
            raise RuntimeError("the engine is dead")

    async def _follow(self) -> None:
        while self.source.commits:
            await asyncio.sleep(FOLLOW_S)
            try:
                newest = await asyncio.to_thread(self.source.newest)
                if newest and newest.name != self.held:
                    await self._take(newest)
            except (
                OSError,
                CheckpointError,
            ) as error:  # it went meanwhile, or the storage did; the next look will tell
                print(f"policy {self.source.name}: {error}", flush=True)
        await asyncio.Event().wait()

    async def _take(self, commit: Storage) -> None:
        """Takes up a commit's weights, whose hash is that of its manifest. Raises CheckpointError, OSError."""
        state = await asyncio.to_thread(Checkpoints.load_policy, commit)
        with commit.file(POLICY) as file:
            await self.engine.load([file], str(state["version"]))
        self.held = commit.name

    async def chat(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """The answer as JSON, in one piece or, where the body says `stream`, as server-sent events.

        Args:
            body: a `ChatRequest` as a dict.

        Raises:
            Refused: the run has no commit yet, or the chat is not one that can be answered.
        """
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.serve.engine.protocol import ErrorResponse
        from vllm.exceptions import VLLMClientError, VLLMError

        if self.held is None:
            raise Refused(503, f"run {self.source.name} has committed no weights yet")
        messages = await asyncio.to_thread(_with_images, body.pop("messages"))
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.source.prompt.system}, *messages]
        limit = body.pop("max_tokens", None)
        limit = body.pop("max_completion_tokens", None) or limit or self.source.config.max_response_tokens
        try:
            # As our own request is checked already, and pictures are no JSON, this one is built unchecked.
            request = ChatCompletionRequest.model_validate(
                body | {"messages": [], "max_completion_tokens": limit, "stop_token_ids": [self.encoder.eos]}
            )
            request.messages = messages
            answer = await self.chats.create_chat_completion(request)
        except (VLLMClientError, ValueError, TypeError) as error:
            why = str(error).partition(" on data=")[0]  # what follows is vLLM's own
            raise Refused(400, " ".join(why.split())[:500]) from error
        except VLLMError as error:
            raise Refused(503, "the engine failed on this chat; try again") from error
        if isinstance(answer, ErrorResponse):
            raise Refused(answer.error.code, answer.error.message)
        if body.get("stream"):
            async for event in answer:
                yield event
        else:
            answer.system_fingerprint = f"{self.source.name}/{self.held}"
            yield answer.model_dump_json(exclude_none=True)


def _chat_server(engine: VllmEngine, source: Source) -> Any:
    """vLLM's own, which knows templates, stop words, streams and usage."""
    from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
    from vllm.entrypoints.openai.models.protocol import BaseModelPath
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels
    from vllm.renderers.online_renderer import OnlineRenderer

    llm = engine.llm
    template = dict(chat_template=None, chat_template_content_format="auto", request_logger=None)
    models = OpenAIServingModels(llm, [BaseModelPath(source.name, str(source.model))])
    return OpenAIServingChat(
        llm, models, "assistant", **template, online_renderer=OnlineRenderer(llm.model_config, llm.renderer, **template)
    )


def _with_images(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with pictures instead of data URIs, read as the films of tasks are. Raises Refused."""
    places = [
        (number, place)
        for number, message in enumerate(messages)
        if not isinstance(message["content"], str)
        for place, part in enumerate(message["content"])
        if part["type"] == "image_url"
    ]
    if len(places) > IMAGES:  # before any is decoded
        raise Refused(422, f"messages: {len(places)} images; {IMAGES} at most")
    told, left = [dict(message) for message in messages], MOST_PIXELS
    for number, place in places:
        image = _image(
            messages[number]["content"][place]["image_url"]["url"], f"messages.{number}.content.{place}", left
        )
        left -= image.width * image.height
        told[number]["content"] = [*told[number]["content"]]
        told[number]["content"][place] = {"type": "image_pil", "image_pil": image}
    return told


def _image(uri: str, where: str, most_pixels: int) -> Any:
    head, comma, data = uri.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise Refused(
            422, f"{where}: an image comes as data:image/png;base64,… (or jpeg); nothing is fetched from elsewhere"
        )
    try:
        return read_image(io.BytesIO(base64.b64decode(data, validate=True)), where, most_pixels)
    except (ValueError, ImageError) as error:  # binascii.Error, and characters that are not ASCII
        raise Refused(
            422, str(error) if isinstance(error, ImageError) else f"{where}: broken base64 ({error})"
        ) from error
