"""The smallest whole run: every stage, a minute on two cores; and waiting for what it does."""

import time
from pathlib import Path

SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.yaml"
SHORT = [
    "stages.sft.gate.max_steps=12",
    "stages.sft.gate.every=12",
    "stages.closed.gate.max_steps=2",
    "stages.open.gate.max_steps=2",
    "data.phantoms.train=60",
    "data.phantoms.val=8",
    "data.phantoms.test=12",
    "model.tiny.vision_steps=0",
    "learner.micro_batch_tokens=400",
]  # several micro-batches for each update
REPLACING = ["stages.open.training.algorithm=dapo", "stages.open.training.sampling=adaptive"]
"""The last stage replaces flat groups, and draws by what tasks teach."""


def wait_until(holds, seconds=600):
    until = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < until
        time.sleep(0.2)
    return value
