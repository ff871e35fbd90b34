"""The learner alone against a plain padded DeepSpeed loop: same model, batch, loss and optimiser, in one process.

The batch is a GRPO batch for the tiny Qwen2.5-VL: groups of eight responses to phantoms, lengths spread from 16 to
512 tokens. The loop is what a reader of transformers' and DeepSpeed's documentation would write: micro-batches of
samples in order, padded on the right to the longest, logits at the response's positions, log-softmax, clipped loss,
backward. Both sides must arrive at the same loss and gradient norm.

    python -m bench.learner --json
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch

from actors.algorithm.advantage import token_advantages
from actors.algorithm.config import GrpoTraining
from actors.learner.config import LearnerConfig
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.setup import RankSetup
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import FORBIDDEN_BIAS
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.trajectory import Group, ScoredGroup, Trajectory
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from rewards.verdict import Verdict

LR = 1e-5


def draw_groups(
    encoder: Encoder, tasks: Sequence, count: int, size: int, low: int, high: int, seed: int
) -> list[ScoredGroup]:
    """`count` groups of `size` responses of random text, `low` to `high` tokens, with random rewards."""
    rng = np.random.default_rng(seed)
    words = np.setdiff1d(np.arange(len(encoder.tokenizer)), encoder.forbidden(len(encoder.tokenizer)))
    groups = []
    for number, task in enumerate(tasks[:count]):
        lengths = rng.integers(low, high + 1, size)
        trajectories = tuple(
            Trajectory(
                "",
                rng.choice(words, n).astype(np.int32),
                np.full(n, -6, np.float32),
                np.zeros(n, np.int32),
                np.arange(1, n + 1, dtype=np.int32),
                "stop",
                0,
            )
            for n in lengths
        )
        verdicts = tuple(Verdict(r, r, 1.0, r, 0.0, 0.0, None, ()) for r in rng.random(size))
        groups.append(ScoredGroup(Group(str(number), task, encoder.expand(task), trajectories), verdicts))
    return groups


class PaddedLoop:
    """A plain DeepSpeed loop over padded micro-batches of `size` samples."""

    def __init__(self, folder: Path, encoder: Encoder, config: LearnerConfig, size: int) -> None:
        import deepspeed
        from transformers import AutoModelForImageTextToText

        self.encoder, self.size = encoder, size
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LR, betas=config.betas, weight_decay=config.weight_decay
        )
        self.engine, *_ = deepspeed.initialize(
            model=self.model,
            optimizer=optimizer,
            config={
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": 1,
                "gradient_clipping": config.clip_grad,
                "zero_optimization": {"stage": 0},
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
                "steps_per_print": 10**9,
            },
        )
        self.bias = torch.zeros(self.model.lm_head.weight.shape[0])
        self.bias[encoder.forbidden(len(self.bias))] = FORBIDDEN_BIAS

    def step(self, groups: Sequence[ScoredGroup], training: GrpoTraining) -> dict[str, float]:
        rows = []
        for g in groups:
            advantages = token_advantages(
                g.verdicts, [t.char_ends for t in g.group.trajectories], training.credit, training.process_weight
            )
            rows += [(g.group, t.ids, a) for t, a in zip(g.group.trajectories, advantages, strict=True)]
        tokens, total = sum(len(ids) for _, ids, _ in rows), 0.0
        for start in range(0, len(rows), self.size):
            part = rows[start : start + self.size]
            width = max(len(group.prompt_ids) + len(ids) for group, ids, _ in part)
            keep = width - min(len(group.prompt_ids) for group, *_ in part) + 1
            input_ids = torch.full((len(part), width), self.encoder.tokenizer.pad_token_id)
            mask = torch.zeros_like(input_ids)
            advantage = torch.zeros(input_ids.shape)
            loss_mask = torch.zeros(input_ids.shape)
            for row, (group, ids, values) in enumerate(part):
                before, end = len(group.prompt_ids), len(group.prompt_ids) + len(ids)
                input_ids[row, :end] = torch.from_numpy(np.concatenate([group.prompt_ids, ids]))
                mask[row, :end] = 1
                advantage[row, before:end] = torch.from_numpy(values)
                loss_mask[row, before:end] = 1
            films = [self.encoder.film(path).pixels for group, *_ in part for path in group.task.images]
            logits = (
                self.engine(
                    input_ids=input_ids,
                    attention_mask=mask,
                    **{name: torch.from_numpy(np.concatenate([film[name] for film in films])) for name in films[0]},
                    mm_token_type_ids=(input_ids == self.encoder.image_token).int(),
                    logits_to_keep=keep,
                ).logits[:, :-1]
                + self.bias
            )
            logp = torch.log_softmax(logits, -1).gather(-1, input_ids[:, -keep + 1 :, None])[..., 0]
            ratio = (logp - logp.detach()).exp()
            advantage, loss_mask = advantage[:, -keep + 1 :], loss_mask[:, -keep + 1 :]
            loss = torch.maximum(
                -advantage * ratio, -advantage * ratio.clamp(1 - training.clip_low, 1 + training.clip_high)
            )
            loss = (loss * loss_mask).sum() / tokens
            total += loss.item()
            last = start + self.size >= len(rows)
            self.engine.set_gradient_accumulation_boundary(last)
            self.engine.backward(loss)
            if not last:
                self.engine.step()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        self.engine.step()
        return {"loss": total, "grad_norm": float(norm)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--tasks", type=int, default=32, help="groups of responses in a batch")
    parser.add_argument("--group", type=int, default=8, help="responses in a group")
    parser.add_argument(
        "--hidden", type=int, default=TinyModelConfig().hidden, help="size of the model's language layers"
    )
    parser.add_argument(
        "--lengths", type=int, nargs=2, default=(16, 512), help="shortest and longest response, in tokens"
    )
    parser.add_argument("--padded-size", type=int, default=8, help="samples in a micro-batch of the padded loop")
    parser.add_argument(
        "--micro-batch-tokens",
        type=int,
        default=LearnerConfig().micro_batch_tokens,
        help="tokens in a micro-batch of the learner",
    )
    parser.add_argument("--passes", type=int, default=5, help="steps of each side, in turn, after a warm-up")
    args = parser.parse_args()
    # The learner's ranks have this environment. The C library reads it at start-up.
    if not ENVIRONMENT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "bench.learner", *sys.argv[1:]], os.environ | ENVIRONMENT)
    quiet_libraries()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(Path(scratch), args)
    print(json.dumps(result))


def compare(scratch: Path, args: argparse.Namespace) -> dict[str, float]:
    from actors.learner.rank import DeepSpeedRank

    tasks = [
        t for t in draw_phantom_set(PhantomConfig(train=2 * args.tasks, val=4, test=4), scratch) if t.family != "report"
    ]
    model = TinyModelConfig(vision_steps=0, hidden=args.hidden)
    folder = make_tiny_model(model, [f"{t.question} {t.reference}" for t in tasks], scratch / "model")
    config = LearnerConfig(threads=2, micro_batch_tokens=args.micro_batch_tokens)
    rank = DeepSpeedRank(RankSetup(config, PromptConfig(), str(folder), None, 0), 0, 1)
    tasks = list({task.images: task for task in tasks}.values())  # one for each film
    groups = draw_groups(rank.encoder, tasks, args.tasks, args.group, *args.lengths, seed=0)
    training = GrpoTraining(dual_clip=None)
    loop = PaddedLoop(folder, rank.encoder, config, args.padded_size)
    tokens = sum(len(t.ids) for g in groups for t in g.group.trajectories)
    update = GrpoUpdate(groups, training, LR, 1.0)
    sides = {"learner": lambda: update.run(rank).numbers, "padded": lambda: loop.step(groups, training)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(args.passes + 1):
        rows = {}
        for name, step in sides.items():
            start = time.perf_counter()
            rows[name] = step()
            if number:
                times[name].append(time.perf_counter() - start)
        if not number:  # in later passes rounding lets the weights drift apart
            for name in ("loss", "grad_norm"):
                ours, theirs = rows["learner"][name], rows["padded"][name]
                assert abs(ours - theirs) < 1e-4 * max(abs(theirs), 1e-2), (name, ours, theirs)
        elif not args.json:
            print(f"pass {number}: learner {times['learner'][-1]:.2f} s, padded loop {times['padded'][-1]:.2f} s")
    ratios = sorted(theirs / ours for ours, theirs in zip(times["learner"], times["padded"], strict=True))
    return {
        "responses": len(groups) * args.group,
        "response_tokens": tokens,
        "learner_tokens_per_s": round(tokens / statistics.median(times["learner"])),
        "padded_tokens_per_s": round(tokens / statistics.median(times["padded"])),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_min": round(ratios[0], 2),
        "ratio_max": round(ratios[-1], 2),
    }


if __name__ == "__main__":
    main()
