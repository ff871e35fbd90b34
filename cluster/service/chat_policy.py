"""The served policy: an engine that follows a run's commits, or holds a model folder, behind vLLM's own chat server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
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
from cluster.errors import UserError, error_line, one_line
from cluster.planning.model_check import remarks_on_model
from cluster.record.checkpoint import CheckpointError, Checkpoints, run_checkpoints
from cluster.record.lease import owner_of
from cluster.standalone.evaluate import find_subject
from curriculum.images import ImageError, Scaling, read_image

DEPLOYMENT = "ChatPolicy"
TIMEOUT_S = 600  # for an answer, or the next piece of a stream
FOLLOW_S = 2.0  # between two looks for a newer commit
IMAGES = 4  # maximum in a chat
MAX_PIXELS = 2**26  # in all images of a chat; a film has 2**24


class ChatRefused(Exception):
    """A chat that is not answered: an HTTP status, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Source:
    """The model to serve: a folder with configuration and processor, the engine settings, and a run to follow.

    `remarks` says what should be known of the folder.
    """

    name: str
    model: Path
    prompt: PromptConfig
    config: RolloutConfig
    commits: Checkpoints | None
    remarks: tuple[str, ...] = ()

    def newest(self) -> Storage | None:
        """The newest commit of the run; None if it has none, or there is no run to follow."""
        committed = self.commits.committed() if self.commits else []
        return committed[-1] if committed else None


def find_source(root: Path, policy: str) -> Source:
    """Finds a run below `root` by its name, else a model folder.

    Raises:
        UserError: `policy` is neither, or its model folder cannot be used.
    """
    run = root / policy
    if "/" not in policy and (run / "recipe.yaml").is_file():
        recipe = load_recipe(run / "recipe.yaml")
        commits = run_checkpoints(recipe, run)
        remarks = (*remarks_on_model(recipe), _follows(run, commits))
        return Source(
            policy,
            run / "base" if recipe.model.path is None else recipe.model.path.absolute(),
            recipe.prompt_config,
            recipe.rollout,
            commits,
            remarks,
        )
    try:
        subject = find_subject(Path(policy))
    except UserError as error:
        raise UserError(f"--policy {policy}: neither a run of {root} nor a model folder: {error}") from error
    return Source(subject.name, subject.folder, subject.prompt, subject.rollout, None, subject.remarks)


def _follows(run: Path, commits: Checkpoints) -> str:
    """What is served of a run: it is only read, whether or not a process trains in it."""
    owner = owner_of(run)
    state = f"in progress, in {owner}" if owner else "not in progress"
    try:
        newest = commits.committed()[-1:]
    except OSError as error:
        raise UserError(f"{commits.storage}: the commits cannot be read: {error_line(error)}") from error
    if newest:
        served = f"its commit {newest[0].name} is served, and newer ones as they come"
    else:
        served = "it has committed no weights yet; they are served as they come"
    return f"policy {run.name}: this run is {state}; {served}"


def deployment(source: Source, replicas: int) -> Deployment:
    """A deployment of one to `replicas` engines, depending on the number of chats."""
    config = source.config
    return serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=2 * config.max_sequences,
        health_check_timeout_s=60,
        graceful_shutdown_timeout_s=TIMEOUT_S,  # a surplus replica finishes its chats first
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": replicas,
            "target_ongoing_requests": max(1, config.max_sequences // 2),
        },
        ray_actor_options={"num_cpus": config.cpus, "num_gpus": config.gpus},
    )(ChatPolicy)


class ChatPolicy:
    """One replica. Chats in progress when a new commit is loaded continue with the new weights."""

    async def __init__(self, source: Source) -> None:  # type: ignore[misc]  # Serve awaits the constructor
        from actors.runtime.environment import quiet_libraries

        quiet_libraries()
        self.source = source
        self.loaded: str | None = None if source.commits else source.model.name  # the weights: a commit or a folder
        self.encoder = Encoder(source.model, source.prompt)
        self.engine = VllmEngine(source.config, str(source.model), self.encoder, IMAGES, image_cache=False)
        self.chats = _chat_server(self.engine, source)
        with contextlib.suppress(OSError, CheckpointError):  # the run has just removed it for a newer one
            if newest := source.newest():
                await self._load(newest)
        self.following = asyncio.create_task(self._follow())

    def __repr__(self) -> str:
        return f"policy {self.source.name} {self.loaded or ''}".rstrip()

    async def check_health(self) -> None:
        """Raises RuntimeError: Serve then starts another replica."""
        if self.engine.llm.errored or self.following.done():
            raise RuntimeError("the engine is dead")

    async def _follow(self) -> None:
        while self.source.commits:
            await asyncio.sleep(FOLLOW_S)
            try:
                newest = await asyncio.to_thread(self.source.newest)
                if newest and newest.name != self.loaded:
                    await self._load(newest)
            except (OSError, CheckpointError) as error:  # the commit or the storage is gone; the next look tries again
                print(f"policy {self.source.name}: {error}", flush=True)
        await asyncio.Event().wait()

    async def _load(self, commit: Storage) -> None:
        """Loads a commit's weights after checking their hash. Raises CheckpointError, OSError."""
        state = await asyncio.to_thread(Checkpoints.load_policy, commit)
        with commit.file(POLICY) as file:
            await self.engine.load([file], str(state["version"]))
        self.loaded = commit.name

    async def chat(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """The answer as JSON, in one piece or, if the body sets `stream`, as server-sent events.

        Args:
            body: a `ChatRequest` as a dict.

        Raises:
            ChatRefused: the run has no commit yet, or the chat cannot be answered.
        """
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.serve.engine.protocol import ErrorResponse
        from vllm.exceptions import VLLMClientError, VLLMError

        if self.loaded is None:
            raise ChatRefused(503, f"run {self.source.name} has committed no weights yet")
        messages = await asyncio.to_thread(_with_images, body.pop("messages"), self.encoder.scaling)
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.source.prompt.system}, *messages]
        limit = body.pop("max_tokens", None)
        limit = body.pop("max_completion_tokens", None) or limit or self.source.config.max_response_tokens
        try:
            # The messages are set without validation: our own request is validated already, and images are not JSON.
            request = ChatCompletionRequest.model_validate(
                body | {"messages": [], "max_completion_tokens": limit, "stop_token_ids": [self.encoder.eos]}
            )
            request.messages = messages
            answer = await self.chats.create_chat_completion(request)
        except (VLLMClientError, ValueError, TypeError) as error:
            reason = str(error).partition(" on data=")[0]  # the rest is about vLLM's internals
            raise ChatRefused(400, one_line(reason)[:500]) from error
        except VLLMError as error:
            raise ChatRefused(503, "the engine failed on this chat; try again") from error
        if isinstance(answer, ErrorResponse):
            raise ChatRefused(answer.error.code, answer.error.message)
        if body.get("stream"):
            async for event in answer:
                yield event
        else:
            answer.system_fingerprint = f"{self.source.name}/{self.loaded}"
            yield answer.model_dump_json(exclude_none=True)


def _chat_server(engine: VllmEngine, source: Source) -> Any:
    """vLLM's own chat server, which handles templates, stop words, streams and usage."""
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


def _with_images(messages: list[dict[str, Any]], scaling: Scaling | None = None) -> list[dict[str, Any]]:
    """The messages with images in place of data URIs, read as the films of tasks are. Raises ChatRefused."""
    count = sum(part["type"] == "image_url" for message in messages for part in _parts(message))
    if count > IMAGES:  # before any is decoded
        raise ChatRefused(422, f"messages: {count} images; {IMAGES} at most")
    pixels_left = MAX_PIXELS
    converted = []
    for number, message in enumerate(messages):
        if isinstance(message["content"], str):
            converted.append(dict(message))
            continue
        parts = []
        for index, part in enumerate(message["content"]):
            if part["type"] == "image_url":
                image = _image(part["image_url"]["url"], f"messages.{number}.content.{index}", pixels_left, scaling)
                pixels_left -= image.width * image.height
                part = {"type": "image_pil", "image_pil": image}
            parts.append(part)
        converted.append(message | {"content": parts})
    return converted


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a message's content; none if it is plain text."""
    return [] if isinstance(message["content"], str) else message["content"]


def _image(uri: str, where: str, max_pixels: int, scaling: Scaling | None) -> Any:
    head, comma, data = uri.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise ChatRefused(422, f"{where}: an image must be data:image/png;base64,… (or jpeg); no other URL is fetched")
    try:
        return read_image(io.BytesIO(base64.b64decode(data, validate=True)), where, max_pixels, scaling)
    except ImageError as error:
        raise ChatRefused(422, str(error)) from error
    except ValueError as error:  # binascii.Error, and characters that are not ASCII
        raise ChatRefused(422, f"{where}: broken base64 ({error})") from error
