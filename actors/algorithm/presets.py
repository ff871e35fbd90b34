"""The algorithms that a recipe can name. Each is one entry here: the switches of `GrpoTraining` that it sets.

Switches that an entry leaves out keep their defaults, and a key of the recipe wins over both. docs/algorithms.md has
the sources, and says how to add an entry.
"""

from __future__ import annotations

import difflib
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "dr_grpo": {
        "normalise": "none",
        "aggregation": "sequence_sum",
        "clip_high": 0.2,
        "dual_clip": None,
    },
    "dapo": {
        "clip_high": 0.28,
        "dual_clip": None,
        "dynamic_sampling": 3,
        "overlong": 0.2,
    },
    "gspo": {
        "ratio": "sequence",
        "aggregation": "sequence_mean",
        "clip_low": 3e-4,
        "clip_high": 4e-4,
        "dual_clip": None,
    },
    "cispo": {
        "clip": "cispo",
        "clip_low": None,
        "clip_high": 4.0,
        "dual_clip": None,
    },
    "rloo": {
        "baseline": "leave_one_out",
        "normalise": "none",
        "aggregation": "sequence_sum",
        "clip_high": 0.2,
        "dual_clip": None,
        "kl_in": "reward",
        "kl_estimator": "k1",
    },
    "reinforce_plus_plus": {
        "baseline": "batch",
        "normalise": "batch",
        "clip_high": 0.2,
        "dual_clip": None,
        "kl_in": "reward",
        "kl_estimator": "k1",
    },
}


def check_algorithm(name: Any) -> str:
    """Returns `name`.

    Raises:
        ValueError: no preset has that name; the error offers the nearest one and lists all.
    """
    if isinstance(name, str) and name in PRESETS:
        return name
    nearest = difflib.get_close_matches(str(name), PRESETS, 1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    raise ValueError(f"unknown algorithm {name!r}{hint} Known: {', '.join(PRESETS)}")
