"""Whether a model can score what another one reads and writes: the same tokens must mean the same to both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from actors.model.encode import Encoder
from actors.model.folder.files import ModelFolderError
from actors.model.folder.judge import JudgedModel

FILMS = ((96, 64), (500, 900))  # width and height of the images that are compared
NEAR = 0.1  # of normalised pixels; image processors in Python and in torch differ by less
SIZES = ("size", "min_pixels", "max_pixels", "max_image_size", "crop_size", "min_patches", "max_patches")


def check_alike(model: JudgedModel, other: JudgedModel) -> tuple[str, ...]:
    """Checks that `other` can score the responses of `model`, given the prompts and films as `model` reads them.

    Returns:
        What works and should be known, a line each.

    Raises:
        ModelFolderError: it cannot; one line says why.
    """
    ours, theirs, folder = model.encoder, other.encoder, other.files.folder
    if ours.family is not theirs.family:
        kind, wanted = (judged.files.config["model_type"] for judged in (other, model))
        raise ModelFolderError(
            f"{folder}: a model of type {kind} does not read what the policy, of type {wanted}, reads; one of "
            f"{' or '.join(ours.family.model_types)} is needed"
        )
    _check_tokenizers(ours, theirs, folder)
    if ours.family.reads_images:
        _check_films(ours, theirs, folder)
    prompts = [encoder.chat_prompt("?", int(ours.family.reads_images)) for encoder in (ours, theirs)]
    if prompts[0] == prompts[1]:
        return ()
    return (f"{folder}: its chat template differs from the policy's, whose prompts it reads",)


def _check_tokenizers(ours: Encoder, theirs: Encoder, folder: Any) -> None:
    """Raises ModelFolderError: a token of one is none, or another one, of the other."""
    remedy = "a model with the policy's tokenizer is needed"
    own, other = ours.tokenizer.get_vocab(), theirs.tokenizer.get_vocab()
    if own != other:
        differing = sorted(token for token in own.keys() | other.keys() if own.get(token) != other.get(token))
        raise ModelFolderError(
            f"{folder}: its tokenizer is not the policy's: {len(differing):,} of {len(own.keys() | other.keys()):,} "
            f"tokens differ, such as {differing[0]!r}; {remedy}"
        )
    for what, mine, its in (
        ("responses end", ours.eos, theirs.eos),
        ("images are marked", ours.image_token, theirs.image_token),
    ):
        if mine != its:
            raise ModelFolderError(f"{folder}: {what} with token {its} there, with {mine} in the policy; {remedy}")


def _check_films(ours: Encoder, theirs: Encoder, folder: Any) -> None:
    """Raises ModelFolderError: films become other tokens or other pixels."""
    remedy = "give it the policy's image processor"
    if ours.family.has_pixel_budget:
        remedy += ", or set both model.min_pixels and model.max_pixels"
    mine, its = (_sizes(encoder) for encoder in (ours, theirs))
    for name in sorted(mine.keys() & its.keys()):
        if mine[name] != its[name]:
            raise ModelFolderError(
                f"{folder}: its image processor has {name} {its[name]}, the policy's {mine[name]}; {remedy}"
            )
    noise = np.random.default_rng(0)
    for width, height in FILMS:
        film = Image.fromarray(noise.integers(0, 256, (height, width, 3), np.uint8))
        own, other = ours.read(film), theirs.read(film)
        if own.text != other.text:
            raise ModelFolderError(
                f"{folder}: a film of {width} × {height} pixels becomes other tokens there than in the policy; {remedy}"
            )
        for name, pixels in own.pixels.items():
            same = pixels.shape == other.pixels[name].shape and np.allclose(pixels, other.pixels[name], atol=NEAR)
            if not same:
                raise ModelFolderError(
                    f"{folder}: a film of {width} × {height} pixels becomes other {name} there than in the policy; "
                    f"{remedy}"
                )


def _sizes(encoder: Encoder) -> Mapping[str, Any]:
    """The settings of the image processor that say how large images may be."""
    settings = encoder.processor.image_processor.to_dict()
    return {name: settings[name] for name in SIZES if settings.get(name) is not None}
