"""Writes a policy as a Hugging Face folder: from a learner, or from the weights of a commit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.folder.weights import INDEX, OTHER_WEIGHTS, WHOLE
from actors.model.policy import Policy
from actors.runtime.files import disk_named


def write_folder(policy: Policy, encoder: Encoder, state: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Writes a folder that `AutoModelForImageTextToText`, `AutoProcessor` and vLLM load.

    It is there when it is complete, not before; one that was there is replaced.

    Args:
        state: as `Policy.state` returns it.
    """
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_named(folder):
            policy.model.save_pretrained(partial, state_dict=dict(state))
            encoder.processor.save_pretrained(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier end of the same run
    partial.rename(folder)


def export_weights(weights: Path, base: Path, prompt: PromptConfig, dtype: str, folder: Path) -> None:
    """Writes the folder of a commit's weights, as the learner that committed them would.

    Args:
        weights: the commit's `POLICY`.
        base: the model that the run started from.
        dtype: that the learner holds weights in, such as "float32".
    """
    with tempfile.TemporaryDirectory() as place:
        changed = Path(place) / "model"
        changed.mkdir()
        unread = {INDEX, *(path.name for pattern in ("*.safetensors", *OTHER_WEIGHTS) for path in base.glob(pattern))}
        for path in base.iterdir():
            if path.name not in unread:
                (changed / path.name).symlink_to(path.absolute())
        (changed / WHOLE).symlink_to(weights.absolute())
        encoder = Encoder(str(changed), prompt)
        try:
            policy = Policy(changed, encoder, getattr(torch, dtype))
            write_folder(policy, encoder, policy.state(), folder)
        finally:
            encoder.close()
