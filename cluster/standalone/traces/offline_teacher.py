"""Lets a model folder in vLLM write traces in batches on Ray Data: engines as actors, as many as the cluster gives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import engine_environment
from actors.trajectory import sampling_seed
from cluster.control.ray_connection import ray_cluster
from cluster.errors import UserError
from rewards.calls.chat import chat_of
from rewards.traces.teacher_config import Engines, TeacherConfig
from rewards.traces.teacher_prompt import TeacherPrompt, trace_in
from rewards.traces.teacher_writer import CUT_OFF, NO_TRACE, teacher_settings
from rewards.traces.writer import Ask, Draft

if TYPE_CHECKING:
    from cluster.standalone.traces.writers import WriterChoice


class OfflineTeacher:
    """The writer `teacher`, in vLLM's own engines. Must be used inside a Ray connection.

    Args:
        config: with `engines`.
        prompt: the template.
        attempts: how often a task is asked for.
        seed: of the sampling.
    """

    name: ClassVar[str] = "teacher"
    runs_anywhere: ClassVar[bool] = False

    def __init__(self, config: TeacherConfig, prompt: str, attempts: int, seed: int) -> None:
        assert config.engines is not None
        self.config, self.engines, self.attempts, self.seed = config, config.engines, attempts, seed
        self.template = TeacherPrompt(prompt)
        self.settings = teacher_settings(config, prompt, seed)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Reads nothing more. Any thread may call it."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def write(self, asks: Sequence[Ask]) -> Iterator[Draft]:
        """One draft for each ask, as the engines give them."""
        import ray.data

        rows = [
            {
                "number": number,
                "prompt": self.template.fill(ask),
                "seed": sampling_seed(self.seed, ask.task.id, ask.attempt),
            }
            for number, ask in enumerate(asks)
        ]
        batch = min(self.engines.batch, -(-len(rows) // self.engines.count))
        answers = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch)).map_batches(
            _Engine,
            fn_constructor_kwargs={"config": self.config, "engines": self.engines},
            batch_size=batch,
            concurrency=(1, self.engines.count) if self.engines.count > 1 else 1,
            num_gpus=self.engines.gpus,
            num_cpus=self.engines.cpus,
        )
        for row in answers.iter_rows():
            yield _draft(asks[row["number"]], str(row["answer"]), bool(row["is_whole"]))
            if self._stopping.is_set():
                return


def _draft(ask: Ask, answer: str, is_whole: bool) -> Draft:
    trace = trace_in(answer) if is_whole else ""
    fault = NO_TRACE if is_whole else CUT_OFF
    return Draft(ask.task.id, ask.attempt, (trace,) if trace else (), "" if trace else fault)


class _Engine:
    """One engine: an actor of Ray Data, which answers a batch of prompts at once."""

    def __init__(self, config: TeacherConfig, engines: Engines) -> None:
        os.environ.update(engine_environment(RolloutConfig(gpus=engines.gpus, threads=max(1, int(engines.cpus)))))
        from vllm import LLM

        self.config = config
        arguments: dict[str, Any] = {"load_format": "safetensors", "max_model_len": engines.max_model_tokens, "seed": 0}
        if not engines.gpus:
            arguments |= {"enforce_eager": True, "distributed_executor_backend": "uni"}
        self.engine = LLM(model=config.model, **(arguments | engines.options))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        from vllm import SamplingParams

        sampling = [
            SamplingParams(max_tokens=self.config.max_tokens, temperature=self.config.temperature, seed=int(seed))
            for seed in batch["seed"]
        ]
        chats = [chat_of(self.config.system, str(prompt)) for prompt in batch["prompt"]]
        outputs = [output.outputs[0] for output in self.engine.chat(chats, sampling, use_tqdm=False)]
        return {
            "number": batch["number"],
            "answer": [output.text for output in outputs],
            "is_whole": [output.finish_reason == "stop" for output in outputs],
        }


@contextmanager
def open_offline(
    config: TeacherConfig, prompt: str, choice: WriterChoice, log: Callable[[str], None]
) -> Iterator[OfflineTeacher]:
    """A Ray connection for the engines.

    Raises:
        UserError: the model is no folder.
    """
    if not (Path(config.model) / "config.json").is_file():
        raise UserError(f"--teacher: model: {config.model} is no model folder: it has no config.json")
    with ray_cluster({}, log):
        yield OfflineTeacher(config, prompt, choice.attempts, choice.seed)
