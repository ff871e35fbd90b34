"""TRL's side of `bench.end_to_end`, in an environment of its own: python -m bench.end_to_end_trl SETTINGS.json

Says when it stands. Then for every line on stdin, a number of steps, it takes so many and tells each as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from bench.cheap_reward import luck


class Turns(TrainerCallback):
    """Times each step, from the end of the one before; waits where its turn is over."""

    def __init__(self) -> None:
        self.left, self.tokens, self.completions, self.generating = 0, 0, 0, 0.0

    def reward(self, completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        self.tokens += sum(map(len, completion_ids))
        self.completions += len(completions)
        return [luck(None, completion[0]["content"], None) for completion in completions]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait({"ready": True})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seconds = time.perf_counter() - self.began
        told = {
            "seconds": seconds,
            "tokens": self.tokens,
            "completions": self.completions,
            "phases": {"generate": self.generating, "learn": seconds - self.generating},
        }
        self.tokens, self.completions, self.generating = 0, 0, 0.0
        self.left -= 1
        if self.left:
            print(json.dumps(told), flush=True)
            self.began = time.perf_counter()
        else:
            control.should_training_stop = not self._wait(told)

    def _wait(self, told: dict[str, Any]) -> bool:
        print(json.dumps(told), flush=True)
        self.left = int(sys.stdin.readline() or 0)
        self.began = time.perf_counter()
        return self.left > 0


class Trainer(GRPOTrainer):
    """Times what is not learning: completions, rewards, and advantages."""

    turns: Turns

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        began = time.perf_counter()
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self.turns.generating += time.perf_counter() - began


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    processor = AutoProcessor.from_pretrained(given["model"], padding_side="left")
    data = Dataset.from_list(given["rows"]).cast_column("image", Image())
    turns = Turns()
    trainer = Trainer(
        model=AutoModelForImageTextToText.from_pretrained(
            given["model"], dtype=torch.float32, attn_implementation="sdpa"
        ),
        reward_funcs=turns.reward,
        train_dataset=data,
        processing_class=processor,
        callbacks=[turns],
        args=GRPOConfig(
            output_dir=given["out"],
            max_steps=100_000,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            shuffle_dataset=True,
            seed=0,
            **given["settings"],
        ),
    )
    trainer.turns = turns
    trainer.remove_callback(PrinterCallback)
    ids, _, _ = trainer._tokenize_prompts(
        [
            [
                given["rows"][0]["prompt"][0],
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": data[0]["image"]},
                        {"type": "text", "text": given["rows"][0]["prompt"][1]["content"]},
                    ],
                },
            ]
        ]
    )
    if list(ids[0]) != given["prompt_ids"]:
        raise ValueError(f"the peer reads another prompt: {processor.decode(ids[0])!r}")
    trainer.train()


if __name__ == "__main__":
    main()
