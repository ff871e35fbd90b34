"""Trains the vision tower of the tiny model to recognise the findings of phantoms, once for each of its settings."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from curriculum.phantoms.phantom import FINDINGS, draw_phantom

VISION_SEED = 1_000_003  # far from the seeds of runs, so that the tower sees no film of a run beforehand
VISION_BATCH = 32
LONG_STEPS = 100  # from here on it takes long enough to be told
RECIPE = 1  # of `_practise`; change it with anything that changes the result


def train_vision(
    model: Any, image_processor: Any, seed: int, steps: int, say: Callable[[str], None] = lambda line: None
) -> None:
    """Trains the model's vision tower, or takes a tower of the same settings that an earlier call left in the cache.

    The cache is `curlvpr` in $XDG_CACHE_HOME or ~/.cache. Without a place that can be written, each call trains.

    Args:
        model: the tiny model, with new weights.
        steps: of 32 films each.
        say: is told that the training takes long.
    """
    from safetensors.torch import load_file

    if steps == 0:
        return
    tower = model.model.visual
    kept = _kept_file(tower, seed, steps)
    try:
        if kept:
            tower.load_state_dict(load_file(kept))
            return
    except Exception:  # noqa: BLE001 - there is none yet, or it is damaged: it is made again
        pass
    if steps >= LONG_STEPS:
        say("training the tiny model's vision tower, which takes about a minute; later runs reuse it")
    _practise(model, image_processor, seed, steps)
    if kept:
        _keep(tower, kept)


def _kept_file(tower: Any, seed: int, steps: int) -> Path | None:
    """Where a tower of these settings is kept, by all that decides its weights; None without a home folder."""
    import torch
    import transformers

    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return None
    digest = hashlib.sha256()
    versions = (torch.__version__, transformers.__version__, torch.backends.cpu.get_cpu_capability())
    digest.update(repr((RECIPE, seed, steps, versions, torch.get_num_threads())).encode())
    for name, value in sorted(tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return Path(cache, "curlvpr", f"tiny-vision-{digest.hexdigest()[:32]}.safetensors")


def _keep(tower: Any, file: Path) -> None:
    """Writes the tower's weights, whole or not at all."""
    from safetensors.torch import save_file

    part = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in tower.state_dict().items()}, part)
        part.replace(file)
    except Exception:  # noqa: BLE001 - a full or read-only disk; the run does not need it
        with suppress(OSError):
            part.unlink()


def _practise(model: Any, image_processor: Any, seed: int, steps: int) -> None:
    """Trains with a head that is thrown away afterwards.

    A finding's logit is the log-mean-exp of a linear function of each image token, so that one token can carry it.
    """
    import torch
    from PIL import Image
    from torch.nn import functional

    count = 8 * steps  # every film is seen about four times
    phantoms = [draw_phantom(seed + VISION_SEED, index) for index in range(count)]
    images = [Image.fromarray(phantom.pixels).convert("RGB") for phantom in phantoms]
    encoded = image_processor(images=images, return_tensors="pt")
    grids = encoded["image_grid_thw"]
    pixels = encoded["pixel_values"].view(count, -1, encoded["pixel_values"].shape[-1])
    truth = torch.tensor([[float(name in phantom.sides) for name in FINDINGS] for phantom in phantoms])
    hidden = model.config.text_config.hidden_size
    head = torch.nn.Linear(hidden, len(FINDINGS))
    parameters = [*model.model.visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95))
    draw = torch.Generator().manual_seed(seed)
    for step in range(steps):
        chosen = torch.randint(count, (VISION_BATCH,), generator=draw)
        features = model.model.get_image_features(pixels[chosen].flatten(0, 1), grids[chosen]).pooler_output
        features = functional.rms_norm(torch.stack(tuple(features)), (hidden,))  # [films, tokens, hidden]
        logits = torch.logsumexp(head(features), 1) - math.log(features.shape[1])
        functional.binary_cross_entropy_with_logits(logits, truth[chosen]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / 20)
        optimizer.step()
        optimizer.zero_grad()
