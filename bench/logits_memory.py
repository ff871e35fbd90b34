"""Peak memory of the learner for one long response and a large vocabulary, against the same model without its logits.

    python -m bench.logits_memory --json

Two processes, each with one forward and backward pass over a prompt with a film and a response of 4,096 tokens,
vocabulary 151,000: one through the policy; the other through the same layers with the sum of the last hidden states
as its loss, which needs every activation but no logits. A peak counts weights, gradients and everything on top of
them, but not the memory of the libraries themselves. The whole matrix alone would be 2.3 GiB in float32, and plain
softmax and its gradient hold it several times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.runtime.environment import quiet_libraries
from actors.trajectory import Sample
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set

WAYS = ("policy", "without logits")


def resident() -> int:
    """Bytes of this process's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_of(work: Callable[[], object]) -> int:
    """The peak memory of this process during `work`, in bytes, sampled every millisecond."""
    peak, done = resident(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    done.set()
    thread.join()
    return peak


def large_vocabulary(scratch: Path, vocabulary: int) -> Path:
    """Makes the tiny model with `vocabulary` tokens, of which its tokenizer knows the first few hundred."""
    tasks = draw_phantom_set(PhantomConfig(train=1, val=1, test=1), scratch)
    folder = make_tiny_model(TinyModelConfig(vision_steps=0), [task.reference for task in tasks], scratch / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


def measure(folder: Path, way: str, response: int) -> dict[str, int]:
    """Bytes of weights and gradients (`state`), and at the `peak` of the backward pass, without the libraries."""
    torch.set_num_threads(2)
    encoder = Encoder(folder, PromptConfig())
    task = next(iter(draw_phantom_set(PhantomConfig(train=1, val=1, test=1), folder.parent)))
    policy = Policy(folder, encoder, torch.float32)

    def learn(length: int) -> None:
        ids = np.random.default_rng(0).integers(10, 500, length).astype(np.int32)
        batch = policy.collate([Sample(encoder.expand(task), task.images, ids)], [0], torch.device("cpu"))
        (policy(batch, 1.0)[0] if way == "policy" else policy.hidden(batch)).sum().backward()

    learn(2)  # loads the libraries completely; then every gradient exists, the output layer's too
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.grad is None else parameter.grad
    state = 2 * 4 * sum(parameter.numel() for parameter in policy.parameters())
    before = resident()
    return {"state": state, "peak": state + peak_of(lambda: learn(response)) - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--response", type=int, default=4096, help="tokens")
    parser.add_argument("--vocabulary", type=int, default=151_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    quiet_libraries()
    if args.way:
        print(json.dumps(measure(args.folder, args.way, args.response)))
        return
    peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = large_vocabulary(Path(scratch), args.vocabulary)
        for way in WAYS:
            run = subprocess.run(
                [sys.executable, "-m", "bench.logits_memory", *sys.argv[1:], "--way", way, "--folder", str(folder)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            peaks[way] = json.loads(run.stdout.splitlines()[-1])
            if not args.json:
                print(
                    f"{way}: {peaks[way]['state'] / 2**20:,.0f} MiB of weights and gradients, "
                    f"peak {peaks[way]['peak'] / 2**20:,.0f} MiB"
                )
    ours, theirs = (peaks[way] for way in WAYS)
    print(
        json.dumps(
            {
                "peak_mib": round(ours["peak"] / 2**20),
                "without_logits_mib": round(theirs["peak"] / 2**20),
                "logits_mib": round(args.response * args.vocabulary * 4 / 2**20),
                "ratio": round(ours["peak"] / theirs["peak"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
