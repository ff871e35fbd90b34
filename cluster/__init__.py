"""curlvpr from Python, and how a run lives on Ray: recipe, run loop, ledger, evaluation, run folder, command line.

The names of `__all__` are the public interface (docs/python-api.md). They are imported on first use, so that
`import cluster` and the command line start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.api import RunFailed, evaluate, load_recipe, read_run, resume, score, score_file, train
    from cluster.config.recipe import Recipe
    from cluster.errors import UserError
    from cluster.record.run_reader import RunRecord
    from curriculum.task import Task
    from rewards.config import RewardConfig
    from rewards.verdict import Verdict

__all__ = [
    "Recipe",
    "RewardConfig",
    "RunFailed",
    "RunRecord",
    "Task",
    "UserError",
    "Verdict",
    "evaluate",
    "load_recipe",
    "read_run",
    "resume",
    "score",
    "score_file",
    "train",
]

_MODULES = {
    "Recipe": "cluster.config.recipe",
    "RewardConfig": "rewards.config",
    "RunRecord": "cluster.record.run_reader",
    "Task": "curriculum.task",
    "UserError": "cluster.errors",
    "Verdict": "rewards.verdict",
}
"""Where a public name is defined, if not in cluster.api."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES.get(name, "cluster.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
