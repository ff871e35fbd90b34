"""Rollout workers: Ray actors around an engine that turn requests into groups of responses."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from actors.model.encode import Encoder, PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import VllmEngine
from actors.runtime.process_title import set_title
from actors.runtime.remote import RemoteFailure
from actors.trajectory import Group, Request, Trajectory
from actors.weights.store import ASLEEP, Bucket, Offer, Probe, Version, files_of

log = logging.getLogger(__name__)


class WeightsMismatch(RuntimeError):
    """After an update the engine's numbers are not the learner's."""


class RolloutWorker:
    """One engine. It may be given new weights while it generates: each token keeps the version that wrote it.

    Args:
        rank: its number, for its name.
        store: the `WeightStore` actor; None where nobody trains: then the model folder's own weights are version 0.
    """

    extension = "actors.rollout.vllm_extension.WeightReader"  # vLLM mixes it into its own worker

    def __init__(
        self, rank: int, config: RolloutConfig, model: str, prompt: PromptConfig, store: Any, images: int
    ) -> None:
        from actors.runtime.environment import quiet_libraries

        quiet_libraries()
        self.rank, self.config, self.model, self.store, self.images = rank, config, model, store, images
        self.version: Version | None = None
        self.group = ""  # that weights came through, and the next may
        self.encoder = Encoder(model, prompt)

    def __repr__(self) -> str:
        return f"rollout-{self.rank}" + (f" v{self.version.number}" if self.version else "")

    async def ping(self) -> None:
        """Answers as long as the process is alive."""

    async def ready(self) -> str:
        """Builds the engine on the model folder's weights; where there is a store, it may not generate before `update`.

        Returns:
            The id of the worker's node.
        """
        self.engine = VllmEngine(self.config, self.model, self.encoder, self.images, self.extension)
        self.watching = asyncio.create_task(self._end_with_engine())
        if self.store is None:
            self.version = Version(0, 0)
            await self.engine.llm.update_weight_version(str(self.version))
            set_title(repr(self))
        return ray.get_runtime_context().get_node_id()

    async def _end_with_engine(self) -> None:
        """Without its engine, whose calls may never come back, the worker is of no use; its pool starts another."""
        await self.engine.over()
        os._exit(1)

    async def update(self, version: Version, awaited: bool = False) -> float:
        """Takes the weights `version` from the store and proves that the engine holds them; or sleeps, where it is `ASLEEP`.

        Responses that are being written go on with the new weights, which read their beginning anew.

        Args:
            awaited: the version may still be on its way; it is taken straight from the learner where that invites the worker.

        Returns:
            The largest log-probability difference over the probe.

        Raises:
            WeightsMismatch: the engine's numbers are not the learner's; the worker stays without a version.
            RemoteFailure: the weights did not come; the worker keeps the version that it has.
        """
        if version == ASLEEP:
            await self.engine.sleep()
            self.version = version
            return 0.0
        if self.version == ASLEEP:
            await self.engine.wake()
        offer = await self._attend(version) if awaited else None
        buckets, probe = ([], offer.probe) if offer else await self._fetch(version)
        self.version = None
        async with self.engine.renewed(str(version)):  # until it has all, however it comes: half a model must not write
            if offer and not await self._receive(offer):
                await self._attend(version)
                buckets, probe = await self._fetch(version)
            if buckets:
                await self.engine.read(files_of(buckets))
        difference = await self.engine.difference(probe)
        if not difference <= self.config.probe_tolerance:
            raise WeightsMismatch(
                f"rollout-{self.rank} does not hold weights version {version}: log-probabilities of the probe "
                f"differ by {difference:.2g} (at most {self.config.probe_tolerance:g} is allowed)"
            )
        self.version = version
        set_title(repr(self))
        return difference

    async def _attend(self, version: Version) -> Offer | None:
        """How the version comes straight from the learner; None once it is at the store."""
        me, limit = ray.get_runtime_context().get_actor_id(), self.config.timeout_s
        try:
            return await asyncio.wait_for(
                self.store.attend.remote(me, version, max(1, int(self.config.gpus)), self.group), limit
            )
        except asyncio.TimeoutError as error:
            raise RemoteFailure(
                f"rollout-{self.rank} waited in vain for weights version {version}, {limit:g} s"
            ) from error

    async def _receive(self, offer: Offer) -> bool:
        """Whether all has come. (The learner tells the run why not.)"""
        try:
            if self.group != offer.group:
                self.group = ""
                await self.engine.join(offer)
                self.group = offer.group
            await self.engine.receive()
            return True
        except Exception as error:  # noqa: BLE001 - vLLM hands errors of its processes over as several kinds
            log.warning("rollout-%d takes its weights from the store: %s", self.rank, error)
            self.group = ""
            return False

    async def _fetch(self, version: Version) -> tuple[list[Bucket], Probe]:
        """What the store has of a version, mapped on this node, where it is copied to if it is not there."""
        limit = self.config.timeout_s
        try:
            references, probe = await asyncio.wait_for(self.store.fetch.remote(version), limit)
            return await asyncio.wait_for(asyncio.gather(*references), limit), probe
        except asyncio.TimeoutError as error:
            raise RemoteFailure(
                f"rollout-{self.rank} did not get weights version {version} from the weight store within {limit:g} s"
            ) from error

    async def generate(self, requests: Sequence[Request], temperature: float, version: Version) -> list[Group]:
        """The groups of `requests`, in order.

        All requests are in the engine's queue before it starts, so that batches, and with them bits, are repeatable.

        Raises:
            WeightsMismatch: the worker does not hold `version`.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if self.version != version:
            raise WeightsMismatch(f"rollout-{self.rank} holds weights version {self.version}, {version} is wanted")
        queues = []
        async with self.engine.paused():
            for request in requests:
                parameters = SamplingParams(
                    n=request.count,
                    temperature=temperature,
                    seed=request.seed if temperature else None,
                    logprobs=0,
                    max_tokens=self.config.max_response_tokens,
                    detokenize=False,
                    flat_logprobs=True,
                    output_kind=RequestOutputKind.FINAL_ONLY,
                    stop_token_ids=[self.encoder.eos],
                )
                queues.append(
                    await self.engine.submit(self.encoder.prompt_ids(request.task), request.task.images, parameters)
                )
        try:
            return [
                self._group(request, await self.engine.finish(queue))
                for request, queue in zip(requests, queues, strict=True)
            ]
        except asyncio.CancelledError:  # nobody waits for them any more
            await self.engine.llm.abort([queue.request_id for queue in queues], internal=True)
            raise

    def _group(self, request: Request, output: Any) -> Group:
        trajectories = []
        for index, answer in enumerate(sorted(output.outputs, key=lambda o: o.index)):
            ids = np.array(answer.token_ids, np.int32)
            text, char_ends = self.encoder.text_with_offsets(ids)
            trajectories.append(
                Trajectory(
                    text=text,
                    ids=ids,
                    logprobs=np.array(answer.logprobs.logprobs, np.float32),
                    versions=_versions(answer, len(ids)),
                    char_ends=char_ends,
                    finish="stop" if answer.finish_reason == "stop" else "length",
                    seed=request.seed + index,
                )
            )
        return Group(request.group_id, request.task, np.array(output.prompt_token_ids, np.int32), tuple(trajectories))


def _versions(answer: Any, count: int) -> np.ndarray:
    """int32 [tokens] from the engine's spans of versions."""
    versions = np.zeros(count, np.int32)
    for span in answer.weight_versions:
        versions[span.start :] = int(span.version.partition(".")[2])
    return versions
