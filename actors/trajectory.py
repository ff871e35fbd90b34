"""What travels between rollout workers, reward workers and the learner."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from curriculum.task import Task
from rewards.verdict import Verdict

ARRAYS = ("ids", "logprobs", "versions", "char_ends")  # the fields of a trajectory that hold arrays


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One response.

    Attributes:
        ids: int32 [tokens], including the end token if the model wrote it.
        logprobs: float32 [tokens], from the rollout engine, under the distribution that it sampled from.
        versions: int32 [tokens], the number of the weights that wrote each token.
        char_ends: int32 [tokens], the length of `text` in characters once the token is written.
        finish: "stop" if the model ended the response, "length" if it was cut off.
        seed: of its sampling.
    """

    text: str
    ids: np.ndarray
    logprobs: np.ndarray
    versions: np.ndarray
    char_ends: np.ndarray
    finish: Literal["stop", "length"]
    seed: int

    @property
    def truncated(self) -> bool:
        """Whether the response was cut off."""
        return self.finish == "length"


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one group: `count` responses to a task, sampled with the seeds `seed`, `seed` + 1, …"""

    group_id: str
    task: Task
    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class Group:
    """The responses to one request. `prompt_ids`: int32 [tokens] with every image placeholder in place."""

    group_id: str
    task: Task
    prompt_ids: np.ndarray
    trajectories: tuple[Trajectory, ...]

    def __reduce__(self) -> Any:
        """Packs one array of each kind, not one for each response: twice as fast to pack and to unpack."""
        arrays: list[np.ndarray | None] = [None] * len(ARRAYS)
        if self.trajectories:
            arrays = [np.concatenate([getattr(t, name) for t in self.trajectories]) for name in ARRAYS]
        rest = [(t.text, len(t.ids), t.finish, t.seed) for t in self.trajectories]
        return _unpack, (self.group_id, self.task, self.prompt_ids, arrays, rest)


def _unpack(
    group_id: str, task: Task, prompt_ids: np.ndarray, arrays: list[np.ndarray], rest: list[tuple[Any, ...]]
) -> Group:
    trajectories = []
    start = 0
    for text, length, finish, seed in rest:
        ids, logprobs, versions, char_ends = (array[start : start + length] for array in arrays)
        trajectories.append(Trajectory(text, ids, logprobs, versions, char_ends, finish, seed))
        start += length
    return Group(group_id, task, prompt_ids, tuple(trajectories))


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with the verdict on each of its responses: what the learner trains on."""

    group: Group
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to train on.

    Attributes:
        prompt_ids: int32 [tokens] with every image placeholder in place.
        images: the paths of the images.
        response_ids: int32 [tokens].
    """

    prompt_ids: np.ndarray
    images: tuple[str, ...]
    response_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def sampling_seed(run_seed: int, task_id: str, pass_number: int) -> int:
    """The first sampling seed of a group: it depends only on run, task and pass, not on the number of workers."""
    digest = hashlib.sha256(f"{run_seed}/{task_id}/{pass_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31
