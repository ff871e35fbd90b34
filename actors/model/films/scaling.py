"""Scaling films down as they are read, to the size that the model's image processor would scale them to."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torchvision.transforms.v2 import functional
from transformers.image_utils import pil_torch_interpolation_mapping

from actors.model.families import ModelFamily
from curriculum.taskset import Size


class ProcessorScaling:
    """The scaling of an image processor, with its own filter: it finds nothing left to scale then.

    Args:
        family: one whose `scaled_size` is known.
        images: its image processor.
    """

    def __init__(self, family: ModelFamily, images: Any) -> None:
        assert family.scaled_size is not None
        self.scaled_size, self.images = family.scaled_size, images

    def target(self, size: Size) -> Size:
        """What an image of this size is scaled down to; its own size if it is not, or if the processor refuses it."""
        try:
            width, height = self.scaled_size(self.images, size)
            if width > size[0] or height > size[1] or self.scaled_size(self.images, (width, height)) != (width, height):
                return size
        except ValueError:
            return size
        return width, height

    def scaled(self, image: Image.Image, size: Size) -> Image.Image:
        """An image, grey (L) or RGB, at this size."""
        filter_name = pil_torch_interpolation_mapping[self.images.resample]
        pixels = functional.resize(functional.pil_to_tensor(image), [size[1], size[0]], filter_name, antialias=True)
        return functional.to_pil_image(pixels)

    def settings(self) -> str:
        """Everything that decides what becomes of an image, as a text."""
        images = self.images
        return f"{type(images).__name__} {images.size} {images.patch_size} {images.merge_size} {images.resample}"
