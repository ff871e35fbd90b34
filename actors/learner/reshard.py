"""A commit for another number of ranks, by DeepSpeed's Universal Checkpoint: weights and moments by their names."""

from __future__ import annotations

import io
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

TAG = "learner"  # the folder of a commit that DeepSpeed writes


def ranks_of(folder: Path, zero_stage: int) -> int | None:
    """How many ranks wrote the commit; None for ZeRO-0, whose commits any number can read.

    Raises:
        ValueError: it was written with another ZeRO stage (1 and 2 write the same).
    """
    parts = folder / TAG
    if not parts.is_dir():
        return None
    ranks = len(list(parts.glob("*_optim_states.pt"))) or None
    stages: tuple[int, ...] = (1, 2)
    if ranks is None:
        stages = (0,)
    elif any(parts.glob("zero_pp_rank_*_model_states.pt")):
        stages = (3,)
    if zero_stage not in stages:
        raise ValueError(
            f"{folder}: it was written with zero_stage {' or '.join(map(str, stages))}, and cannot be read with "
            f"learner.zero_stage: {zero_stage}"
        )
    return ranks


def to_universal(folder: Path, target: Path) -> None:
    """Writes the contents of a commit, for any number of ranks, into the empty folder `target`.

    Raises:
        RuntimeError: the files do not belong together; with DeepSpeed's error.
    """
    from deepspeed.checkpoint import ds_to_universal

    arguments = Namespace(
        input_folder=str(folder / TAG),
        output_folder=str(target / TAG),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=False,
        inject_missing_state=True,
    )
    output = io.StringIO()  # progress bars and the like
    try:
        with redirect_stdout(output), redirect_stderr(output):
            ds_to_universal.main(arguments)
    except Exception as error:
        raise RuntimeError(f"{folder}: it cannot be read by another number of ranks: {error!r}") from error
