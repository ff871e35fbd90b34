"""Peak memory of the learner for one long response and a large vocabulary, against the same model without its logits.

    python -m bench.logits_memory --json

Two processes, each one forward and backward over a prompt with a film and a response of 4,096 tokens, vocabulary
151,000: one through the policy; the other through the same layers, its loss the sum of the last hidden states, which
needs every activation and no logit. A peak is of weights, gradients and all that came on top, without what the
libraries take for themselves. The whole matrix alone would be 2.3 GiB in float32, and plain softmax and its gradient
hold it several times.
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
    """The most that this process held while it worked, in bytes, looked at every millisecond."""
    most, over = resident(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.001):
            most = max(most, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    over.set()
    thread.join()
    return most


def large_vocabulary(place: Path, vocabulary: int) -> Path:
    """The tiny model with so many words, of which its tokenizer knows the first few hundred."""
    tasks = draw_phantom_set(PhantomConfig(train=1, val=1, test=1), place)
    folder = make_tiny_model(TinyModelConfig(vision_steps=0), [task.reference for task in tasks], place / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    model.resize_token_embeddings(vocabulary, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


def measure(folder: Path, way: str, response: int) -> dict[str, int]:
    """Bytes of weights and gradients (`state`), and at the peak of computing the gradient, without libraries."""
    torch.set_num_threads(2)
    encoder = Encoder(folder, PromptConfig())
    task = next(iter(draw_phantom_set(PhantomConfig(train=1, val=1, test=1), folder.parent)))
    policy = Policy(folder, encoder, torch.float32)

    def learn(length: int) -> None:
        ids = np.random.default_rng(0).integers(10, 500, length).astype(np.int32)
        batch = policy.collate([Sample(encoder.expand(task), task.images, ids)], [0], torch.device("cpu"))
        (policy(batch, 1.0)[0] if way == "policy" else policy.hidden(batch)).sum().backward()

    learn(2)  # libraries load the rest of themselves; every gradient is there, the output layer's too
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.grad is None else parameter.grad
    state = 2 * 4 * sum(parameter.numel() for parameter in policy.parameters())
    before = resident()
    return {"state": state, "peak": state + peak_of(lambda: learn(response)) - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="only the last line, one JSON object")
    parser.add_argument("--response", type=int, default=4096, help="tokens")
    parser.add_argument("--vocabulary", type=int, default=151_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    quiet_libraries()
    if given.way:
        print(json.dumps(measure(given.folder, given.way, given.response)))
        return
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        folder = large_vocabulary(Path(place), given.vocabulary)
        for way in WAYS:
            run = subprocess.run(
                [sys.executable, "-m", "bench.logits_memory", *sys.argv[1:], "--way", way, "--folder", str(folder)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            peaks[way] = json.loads(run.stdout.splitlines()[-1])
            if not given.json:
                print(
                    f"{way}: {peaks[way]['state'] / 2**20:,.0f} MiB of weights and gradients, "
                    f"with the rest at most {peaks[way]['peak'] / 2**20:,.0f} MiB"
                )
    ours, theirs = (peaks[way] for way in WAYS)
    print(
        json.dumps(
            {
                "peak_mib": round(ours["peak"] / 2**20),
                "without_logits_mib": round(theirs["peak"] / 2**20),
                "logits_mib": round(given.response * given.vocabulary * 4 / 2**20),
                "ratio": round(ours["peak"] / theirs["peak"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
