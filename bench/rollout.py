"""The rollout worker against raw vLLM on the same work: tokens/s of the worker over those of `vllm.LLM.generate`.

    python -m bench.rollout [--json] [--shapes 64x96 256_spread] [--turns 8]

The shapes of work are those of `bench.end_to_end`: a tiny Qwen2.5-VL with random weights, one image in every prompt,
8 tasks × 8 completions of 96 tokens, and 32 tasks × 8 completions whose lengths spread from 16 to 512.

Ours is one worker as a run has it: a Ray actor behind its pool. It loads images, tokenises prompts, and returns groups
(ids, log-probabilities, weight versions, text, and the offset in it at which each token ends). A turn is timed from
the call until the groups have arrived.

Raw vLLM is a script that holds `vllm.LLM`, once with the engine in its own process and once in vLLM's default way,
with the engine in a second process; the ratio is to the faster of the two. Its prompts are tokenised and its images
decoded before the clock starts, and the clock stops when vLLM returns its outputs.

The same on all sides: model, tasks, prompts, group size (`n`), seeds, log-probabilities of the sampled tokens, no text
from vLLM, forbidden tokens, engine limits, and as many threads as the machine has cores (two). All sides stay up and
take turns, each turn on new tasks; the other sides are idle. A round gives one ratio. The result has the median,
the smallest and the largest ratio, and the share of responses that are the same on both sides, token by token. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from actors.model.encode import Encoder, PromptConfig
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import engine_environment
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.trajectory import Request
from curriculum.images import load_image
from curriculum.task import Task
from curriculum.taskset import read_tasks

from .end_to_end import CORES, GROUP, SHAPES, Shape, make_work
from .peer_process import PeerProcess

RAW = {"one_process": "0", "two_processes": "1"}  # VLLM_ENABLE_V1_MULTIPROCESSING


@dataclass
class Turn:
    """One turn of a side; `digests` are hashes of the ids of each response, in order."""

    seconds: float
    tokens: int
    digests: list[str]

    @classmethod
    def of(cls, seconds: float, responses: Sequence[Sequence[int]]) -> Turn:
        digests = [hashlib.sha256(str(list(ids)).encode()).hexdigest()[:16] for ids in responses]
        return cls(seconds, sum(map(len, responses)), digests)


def work(tasks: Sequence[Task], shape: Shape, number: int) -> list[Request]:
    """The requests of a turn: the next tasks of the set, with new seeds."""
    count = shape.completions // GROUP
    return [
        Request(str(i), tasks[(number * count + i) % len(tasks)], GROUP, 10_000 * number + GROUP * i)
        for i in range(count)
    ]


def config_of(shape: Shape) -> RolloutConfig:
    return RolloutConfig(
        cpus=1, threads=CORES, max_response_tokens=shape.max_tokens, max_model_tokens=shape.max_tokens + 128
    )


class Worker:
    """Our side: one rollout worker in its pool."""

    def __init__(self, shape: Shape, model: Path) -> None:
        from cluster.pools.rollout_pool import RolloutPool

        self.pool = RolloutPool("bench", config_of(shape), model, PromptConfig(), None, images=1)
        self.pool.ready()

    def turn(self, requests: Sequence[Request]) -> Turn:
        start = time.perf_counter()
        groups = self.pool.generate(requests, 1.0)
        seconds = time.perf_counter() - start
        return Turn.of(seconds, [t.ids.tolist() for group in groups for t in group.trajectories])

    def close(self) -> None:
        self.pool.stop()


def raw_side(way: str, name: str, folder: Path) -> PeerProcess:
    """Starts a process that holds `vllm.LLM` (`raw_process`)."""
    return PeerProcess(
        f"raw vLLM's process ({way})",
        [sys.executable, "-m", "bench.rollout", "--raw", folder, "--shapes", name],
        os.environ | engine_environment(config_of(SHAPES[name])) | {"VLLM_ENABLE_V1_MULTIPROCESSING": RAW[way]},
        folder / f"raw_{way}.log",
    )


def raw_process(folder: Path, shape: Shape) -> None:
    """Reads turn numbers from stdin, generates each turn's responses and prints the `Turn` as a line of JSON."""
    from transformers import AutoConfig
    from vllm import LLM, SamplingParams

    from actors.rollout.vllm_extension import FORBIDDEN_KEY, TokenMask

    config, encoder = config_of(shape), Encoder(folder / "model", PromptConfig())
    tasks = train_tasks(folder)
    vocab = AutoConfig.from_pretrained(folder / "model").get_text_config().vocab_size
    llm = LLM(
        str(folder / "model"),
        dtype=config.dtype,
        max_model_len=config.max_model_tokens,
        max_num_seqs=config.max_sequences,
        max_num_batched_tokens=config.max_batched_tokens,
        logprobs_mode="processed_logprobs",
        load_format="safetensors",
        seed=0,
        logits_processors=[TokenMask],
        additional_config={FORBIDDEN_KEY: encoder.forbidden(vocab)},
        limit_mm_per_prompt={"image": 1, "video": 0},
        enforce_eager=True,
        enable_chunked_prefill=False,
        distributed_executor_backend="uni",
        disable_log_stats=True,
    )
    print('{"ready": true}', flush=True)
    for line in sys.stdin:
        requests = work(tasks, shape, int(line))
        prompts = [
            {
                "prompt_token_ids": encoder.prompt_ids(r.task),
                "multi_modal_data": {"image": [load_image(path) for path in r.task.images]},
            }
            for r in requests
        ]
        sampling = [
            SamplingParams(
                n=r.count,
                temperature=1.0,
                seed=r.seed,
                logprobs=0,
                max_tokens=config.max_response_tokens,
                detokenize=False,
                flat_logprobs=True,
                stop_token_ids=[encoder.eos],
            )
            for r in requests
        ]
        start = time.perf_counter()
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        seconds = time.perf_counter() - start
        responses = [answer.token_ids for o in outputs for answer in sorted(o.outputs, key=lambda a: a.index)]
        print(json.dumps(vars(Turn.of(seconds, responses))), flush=True)


def train_tasks(folder: Path) -> list[Task]:
    return [task for task in read_tasks(folder / "data") if task.split == "train"]


def compare(name: str, folder: Path, turns: int) -> dict[str, Any]:
    """Runs all sides in turns, in the new folder, and returns the results."""
    shape = SHAPES[name]
    make_work(folder, shape)
    tasks = train_tasks(folder)
    done: dict[str, list[Turn]] = {"worker": [], **{way: [] for way in RAW}}
    with ExitStack() as stack:
        raw = {way: stack.enter_context(raw_side(way, name, folder)) for way in RAW}
        ours = Worker(shape, folder / "model")
        stack.callback(ours.close)

        def turn(side: str, number: int) -> Turn:
            if side == "worker":
                return ours.turn(work(tasks, shape, number))
            raw[side].send(number)
            return Turn(**raw[side].receive())

        for number in range(turns + 1):  # the first one is a warm-up
            for side in done if number % 2 else reversed(done):
                done[side].append(turn(side, number))
    rates = {side: [turn.tokens / turn.seconds for turn in side_turns[1:]] for side, side_turns in done.items()}
    fastest = max(RAW, key=lambda way: median(rates[way]))
    ratios = [a / b for a, b in zip(rates["worker"], rates[fastest], strict=True)]
    pairs: list[tuple[str, str]] = []
    for a, b in zip(done["worker"], done[fastest], strict=True):
        pairs += zip(a.digests, b.digests, strict=True)
    return {
        f"ratio_{name}": round(median(ratios), 3),
        f"spread_{name}": [round(min(ratios), 3), round(max(ratios), 3)],
        f"raw_{name}": fastest,
        f"same_responses_{name}": round(sum(a == b for a, b in pairs) / len(pairs), 3),
        **{f"{side}_tokens_per_s_{name}": round(median(side_rates)) for side, side_rates in rates.items()},
        f"tokens_per_completion_{name}": round(sum(t.tokens for t in done["worker"]) / len(pairs), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the result on stdout")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--turns", type=int, default=8, help="turns of each side, after a warm-up")
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)  # raw vLLM's own process
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    quiet_libraries()
    if args.raw:
        raw_process(args.raw, SHAPES[args.shapes[0]])
        return
    import ray

    os.environ["RAY_worker_niceness"] = "0"  # else other work on the machine slows down only our side
    ray.init(
        address="local",
        num_cpus=CORES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.shapes:
            (Path(scratch) / name).mkdir()
            result |= compare(name, Path(scratch) / name, args.turns)
            if not args.json:
                print(json.dumps(result, indent=1), flush=True)
    ray.shutdown()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
