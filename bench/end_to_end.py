"""End to end on two CPU cores: completions/s of a GRPO step here against TRL 1.16.0's GRPOTrainer, on the same work.

    python -m bench.end_to_end [--json] [--out FOLDER] [--shapes 64x96 256_spread] [--set a.b=c ...]

Two shapes of work, with one image in every prompt (a tiny Qwen2.5-VL, 1.4 million parameters, fp32):

    64x96        8 tasks × 8 completions a step, random weights: nearly all completions have the full 96 tokens
    256_spread   32 tasks × 8 completions a step; the model is taught beforehand (`bench.taught_lengths`) to end its
                 completions at lengths spread evenly from 16 to 512 tokens

The same on both sides: model folder, tasks, prompts token by token (checked), forbidden tokens, temperature 1 without
top-p or top-k, one AdamW update a step (learning rate 1e-6, betas 0.9 and 0.95, weight decay 0.01, gradients clipped
at 1), group-normalised advantages, clipping at 0.2 and 0.3, mean over tokens, no KL term, and the reward
(`bench.cheap_reward`, which leaves no group flat). Both are strictly on-policy: each step uses completions of the
weights that the previous step produced.

Our side is a whole run as `curlvpr train` makes it, with run folder, ledger and metrics: two rollout workers (vLLM)
and two learner ranks (DeepSpeed) of one thread each, a reward worker, weights published and proven after every step.
TRL is one process of two threads in an environment of its own (made by `scripts/peers.sh`): transformers generation,
its defaults for the generation batch, SDPA attention, fp32, no gradient checkpointing, no checkpoints or trackers,
and micro-batches of 64: of 16, 32 and 64, tried for the first shape, these took the least CPU time (4.8, 5.7 and 3.8
s a step, on a busy machine). Its vLLM mode needs a GPU.

Both sides stay up and take turns of a few steps each. A step is timed from the end of the previous one and includes
everything. Each side's first turn is a warm-up and is left out. The resting side uses no CPU: TRL waits for a line,
and SIGSTOP stops all our processes but the driver. The result has the CPU time that each side uses nevertheless, and
the CPU time of a step. A pair of turns gives one ratio: the median of our steps' completions/s over TRL's. The ratio
of a shape is the median of these, its spread the smallest and largest. `learner_ratio` compares the time for learning
alone: TRL's step without generation and rewards over our learner's. Tokens a completion are in the result for both
sides; they differ by chance only. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from actors.model.encode import Encoder, PromptConfig
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.runtime.environment import quiet_libraries
from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_connection import ray_cluster
from cluster.record.console import LoggedDisplay
from cluster.record.timeline import STEP_PHASES
from cluster.run.launch import open_run
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task
from curriculum.taskset import read_tasks, write_tasks

from .peer_process import ROOT, PeerProcess
from .taught_lengths import teach_lengths

CORES = 2
GROUP = 8
RESTING_S = 3600.0  # how long our workers may be silent: they are stopped during TRL's turns
SIDES = ("ours", "trl")
PEER = ROOT / ".peers" / "trl" / "bin" / "python"
FAMILY = "single_choice"


@dataclass(frozen=True)
class Shape:
    """One comparison. A turn has `steps`; each side has `turns` after the warm-up."""

    completions: int
    max_tokens: int
    lengths: tuple[int, int] | None  # the range of response lengths that the model is taught
    micro_batch: int  # TRL's
    warm_up: int
    steps: int
    turns: int


SHAPES = {"64x96": Shape(64, 96, None, 64, 3, 5, 6), "256_spread": Shape(256, 512, (16, 512), 64, 1, 2, 4)}


@dataclass
class Step:
    seconds: float
    completions: int
    tokens: int
    phases: dict[str, float] = field(default_factory=dict)


class Ours:
    """A run's display: times the steps, and passes control to the other side at the end of a turn."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.steps_left, self.steps = shape, 0, []
        self.turn_over: Callable[[], int] = lambda: 0
        self.start = 0.0

    def step(self, row: dict[str, Any]) -> None:
        if row["flat_groups"]:
            raise RuntimeError("a group has equal rewards, so our side would skip its backward pass")
        phases = {name: row.get(f"seconds_{name}", 0.0) for name in STEP_PHASES}
        self.steps.append(Step(time.perf_counter() - self.start, self.shape.completions, row["tokens"], phases))
        self.steps_left -= 1
        if self.steps_left <= 0:
            self.steps_left = self.turn_over()
        self.start = time.perf_counter()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def evaluation(self, *_: Any) -> None:
        self.start = time.perf_counter()

    def close(self) -> None:
        pass


def trl_side(settings: dict[str, Any], folder: Path) -> PeerProcess:
    path = folder / "peer.json"
    path.write_text(json.dumps(settings))
    return PeerProcess(
        "TRL's process",
        [PEER, "-m", "bench.end_to_end_trl", path],
        {
            **{name: os.environ[name] for name in ("PATH", "HOME")},
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(CORES),
            "OMP_WAIT_POLICY": "PASSIVE",
        },
        folder / "peer.log",
    )


def make_work(folder: Path, shape: Shape) -> tuple[Path, Path]:
    """Makes the task set and the model of a shape, in new folders; returns both paths."""
    drawn = draw_phantom_set(PhantomConfig(train=200, val=4, test=4), folder / "films")
    tasks = [task for task in drawn if task.family == FAMILY]
    write_tasks(tasks, folder / "data")
    texts = (" ".join([PromptConfig().system, task.question, *task.options.values(), task.reference]) for task in tasks)
    model = make_tiny_model(TinyModelConfig(vision_steps=0), texts, folder / "model")
    if shape.lengths:
        teach_lengths(model, Encoder(model, PromptConfig()), tasks, *shape.lengths)
    return folder / "data", model


def our_recipe(shape: Shape, data: Path, model: Path, folder: Path, changes: Sequence[str]) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(
        json.dumps(
            {  # JSON is YAML
                "name": "ours",
                "root": str(folder / "runs"),
                "data": {"tasks": str(data)},
                "model": {"path": str(model)},
                "stages": [
                    {
                        "name": "closed",
                        "kind": "grpo",
                        "tasks": {FAMILY: 1},
                        "gate": {"measure": "closed_accuracy", "every": 1000, "max_steps": 1000},
                        "training": {
                            "lr": 1e-6,
                            "tasks_per_step": shape.completions // GROUP,
                            "group_size": GROUP,
                            "credit": "response",
                            "process_weight": 0.0,
                            "clip_low": 0.2,
                            "clip_high": 0.3,
                            "dual_clip": None,
                        },
                    }
                ],
                "rollout": {
                    "workers": 2,
                    "cpus": 0.5,
                    "threads": 1,
                    "temperature": 1.0,
                    "max_response_tokens": shape.max_tokens,
                    "max_model_tokens": shape.max_tokens + 128,
                    "silent_s": RESTING_S,
                },
                "reward": {
                    "workers": 1,
                    "cpus": 0.1,
                    "rules": {
                        "process": 0,
                        "reason": 0,
                        "gates": [],
                        "own": {"luck": {"rule": "bench.cheap_reward:luck", "weight": 0.3}},
                    },
                },
                "learner": {"workers": 2, "cpus": 0.4, "threads": 1, "silent_s": RESTING_S},
                "evaluation": {"val_per_family": 4, "test_per_family": 4},
                "checkpoint": {"every_minutes": 1000},
                "guards": [],
            }
        )
    )
    return load_recipe(path, changes)


def peer_settings(shape: Shape, tasks: Sequence[Task], model: Path, folder: Path) -> dict[str, Any]:
    encoder = Encoder(model, PromptConfig())
    vocab = json.loads((model / "config.json").read_text())["text_config"]["vocab_size"]
    rows = [
        {
            "prompt": [
                {"role": "system", "content": PromptConfig().system},
                {"role": "user", "content": task.question + "".join(f"\n{k}) {v}" for k, v in task.options.items())},
            ],
            "image": task.images[0],
        }
        for task in tasks
        if task.split == "train"
    ]
    return {
        "model": str(model),
        "rows": rows,
        "out": str(folder / "trl"),
        "threads": CORES,
        "prompt_ids": encoder.expand(tasks[0]).tolist(),
        "settings": {
            "per_device_train_batch_size": shape.micro_batch,
            "num_generations": GROUP,
            "gradient_accumulation_steps": shape.completions // shape.micro_batch,
            "max_completion_length": shape.max_tokens,
            "temperature": 1.0,
            "learning_rate": 1e-6,
            "lr_scheduler_type": "constant",
            "adam_beta1": 0.9,
            "adam_beta2": 0.95,
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
            "beta": 0.0,
            "epsilon": 0.2,
            "epsilon_high": 0.3,
            "loss_type": "dapo",
            "generation_kwargs": {"suppress_tokens": encoder.forbidden(vocab)},
        },
    }


def compare(name: str, folder: Path, changes: Sequence[str], turns: int | None) -> dict[str, Any]:
    """Runs both sides in turns, in the new folder, and returns the results."""
    shape = SHAPES[name]
    data, model = make_work(folder, shape)
    recipe = our_recipe(shape, data, model, folder, changes)
    ours: list[list[Step]] = []
    theirs: list[list[Step]] = []
    working: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    resting: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    display = Ours(shape)
    with (
        trl_side(peer_settings(shape, read_tasks(data), model, folder), folder) as peer,
        ray_cluster(recipe.roles),
        open_run(recipe, folder / "runs" / "ours", LoggedDisplay(display, "ours")) as run,
    ):

        def turn_over() -> int:
            steps = shape.steps if ours else shape.warm_up
            ours.append(display.steps[:])
            display.steps.clear()
            working["ours"].append(clock.since_last("ours"))
            resting["trl"].append(clock.since_last("trl"))
            with all_stopped(except_pid=peer.process.pid):
                peer.send(steps)
                theirs.append([Step(**peer.receive("did not end a step")) for _ in range(steps)])
                working["trl"].append(clock.since_last("trl"))
                resting["ours"].append(clock.since_last("ours"))
            run.requests.stopping = len(ours) > (turns or shape.turns)
            return shape.steps

        clock = CpuClock(peer.process.pid)
        display.steps_left, display.turn_over = shape.warm_up, turn_over
        run.train()
        run.close()
    return summary(name, ours[1:], theirs[1:]) | {
        f"cpu_s_per_step_{name}": {
            side: round(median(cpu for _, cpu in spans[1:]) / shape.steps, 2) for side, spans in working.items()
        },
        f"cores_burned_at_rest_{name}": {
            side: round(median(cpu / seconds for seconds, cpu in spans[1:]), 4) for side, spans in resting.items()
        },
    }


def own_processes(except_pid: int) -> list[psutil.Process]:
    """All descendants of this process, without `except_pid` and its descendants."""
    processes: list[psutil.Process] = []
    for child in psutil.Process().children():
        if child.pid != except_pid:
            processes += [child, *child.children(recursive=True)]
    return processes


@contextmanager
def all_stopped(except_pid: int) -> Iterator[None]:
    """Stops our processes, except this one and TRL's, while the context lasts."""
    stopped = own_processes(except_pid)
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


class CpuClock:
    """CPU seconds of each side; `peer` is the PID of TRL's process."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.last = {side: (time.perf_counter(), self._cpu_seconds(side)) for side in SIDES}

    def since_last(self, side: str) -> tuple[float, float]:
        """(seconds, CPU seconds) since the last call for this side."""
        start, cpu_start = self.last[side]
        now, cpu = time.perf_counter(), self._cpu_seconds(side)
        self.last[side] = now, cpu
        return now - start, cpu - cpu_start

    def _cpu_seconds(self, side: str) -> float:
        total = 0.0
        for process in [psutil.Process(self.peer)] if side == "trl" else [psutil.Process(), *own_processes(self.peer)]:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def summary(name: str, ours: Sequence[Sequence[Step]], theirs: Sequence[Sequence[Step]]) -> dict[str, Any]:
    def rate(steps: Sequence[Step]) -> float:
        return median(step.completions / step.seconds for step in steps)

    ratios = [rate(a) / rate(b) for a, b in zip(ours, theirs, strict=True)]
    all_steps = {"ours": list(chain.from_iterable(ours)), "trl": list(chain.from_iterable(theirs))}
    result: dict[str, Any] = {
        f"ratio_{name}": round(median(ratios), 3),
        f"spread_{name}": [round(min(ratios), 3), round(max(ratios), 3)],
        f"turns_{name}": len(ratios),
    }
    for side, steps in all_steps.items():
        tokens = sum(s.tokens for s in steps)
        result |= {
            f"{side}_completions_per_s_{name}": round(rate(steps), 2),
            f"{side}_tokens_per_completion_{name}": round(tokens / sum(s.completions for s in steps), 1),
            f"{side}_seconds_{name}": {p: round(median(s.phases[p] for s in steps), 3) for p in steps[0].phases},
        }
    learning = [[median(step.phases["learn"] for step in steps) for steps in side] for side in (ours, theirs)]
    learners = [b / a for a, b in zip(*learning, strict=True)]
    result |= {
        f"learner_ratio_{name}": round(median(learners), 3),
        f"learner_spread_{name}": [round(min(learners), 3), round(max(learners), 3)],
    }
    rest = median(step.seconds - sum(step.phases.values()) for step in all_steps["ours"])
    result[f"ours_seconds_{name}"]["rest"] = round(rest, 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the result on stdout")
    parser.add_argument("--out", type=Path, help="keep all files here; default: a temporary folder")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--turns", type=int, help="turns of each side; default: the shape's own")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="a.b=c", help="in our recipe")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    os.environ["RAY_ADDRESS"] = "local"
    os.environ["RAY_worker_niceness"] = "0"  # else other work on the machine slows down only our side
    quiet_libraries()
    subprocess.run(["bash", "scripts/peers.sh", ".peers", "trl"], cwd=ROOT, check=True, stdout=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        folder, result = (args.out or Path(scratch)).absolute(), {}
        for name in args.shapes:
            (folder / name).mkdir(parents=True)
            result |= compare(name, folder / name, args.changes, args.turns)
            if not args.json:
                print(json.dumps(result, indent=1), flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
