"""Trains from Python and prints what each stage gained.

    python examples/train_from_python.py recipes/smoke.yaml seed=1 rollout.workers=1

The settings after the recipe are those of `curlvpr train --set`. With the recipe above it takes a minute on two cores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import RunFailed, RunRecord, UserError, load_recipe, train


def main(recipe: str | Path, settings: Sequence[str] = (), folder: Path | None = None) -> RunRecord:
    """Trains in `folder`, by default the one that the recipe names, and returns the finished run."""
    run = train(load_recipe(recipe, settings), folder)
    print(f"{run.path}: {run.summary['status']} after {run.summary['steps']} steps")
    for gain in run.gains:
        print(f"  {gain.stage}: {gain.measure} {gain.start} -> {gain.end}, {gain.words}")
    return run


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except (UserError, RunFailed) as error:
        sys.exit(str(error))
