"""TRL's side of `bench.end_to_end`, in an environment of its own: python -m bench.end_to_end_trl SETTINGS.json

Prints a line once it is up. Then reads numbers from stdin, one a line: it takes that many steps and prints each of
them as a line of JSON.
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
    """Times each step from the end of the previous one; waits when its turn is over."""

    def __init__(self) -> None:
        self.steps_left, self.tokens, self.completions, self.generating = 0, 0, 0, 0.0

    def reward(self, completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        self.tokens += sum(map(len, completion_ids))
        self.completions += len(completions)
        return [luck(None, completion[0]["content"], None) for completion in completions]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._wait({"ready": True})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seconds = time.perf_counter() - self.start
        step = {
            "seconds": seconds,
            "tokens": self.tokens,
            "completions": self.completions,
            "phases": {"generate": self.generating, "learn": seconds - self.generating},
        }
        self.tokens, self.completions, self.generating = 0, 0, 0.0
        self.steps_left -= 1
        if self.steps_left:
            print(json.dumps(step), flush=True)
            self.start = time.perf_counter()
        else:
            control.should_training_stop = not self._wait(step)

    def _wait(self, message: dict[str, Any]) -> bool:
        print(json.dumps(message), flush=True)
        self.steps_left = int(sys.stdin.readline() or 0)
        self.start = time.perf_counter()
        return self.steps_left > 0


class Trainer(GRPOTrainer):
    """Times everything but learning: completions, rewards, and advantages."""

    turns: Turns

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        start = time.perf_counter()
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self.turns.generating += time.perf_counter() - start


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(settings["threads"])
    processor = AutoProcessor.from_pretrained(settings["model"], padding_side="left")
    data = Dataset.from_list(settings["rows"]).cast_column("image", Image())
    turns = Turns()
    trainer = Trainer(
        model=AutoModelForImageTextToText.from_pretrained(
            settings["model"], dtype=torch.float32, attn_implementation="sdpa"
        ),
        reward_funcs=turns.reward,
        train_dataset=data,
        processing_class=processor,
        callbacks=[turns],
        args=GRPOConfig(
            output_dir=settings["out"],
            max_steps=100_000,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            shuffle_dataset=True,
            seed=0,
            **settings["settings"],
        ),
    )
    trainer.turns = turns
    trainer.remove_callback(PrinterCallback)
    ids, _, _ = trainer._tokenize_prompts(
        [
            [
                settings["rows"][0]["prompt"][0],
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": data[0]["image"]},
                        {"type": "text", "text": settings["rows"][0]["prompt"][1]["content"]},
                    ],
                },
            ]
        ]
    )
    if list(ids[0]) != settings["prompt_ids"]:
        raise ValueError(f"TRL's prompt differs from ours: {processor.decode(ids[0])!r}")
    trainer.train()


if __name__ == "__main__":
    main()
