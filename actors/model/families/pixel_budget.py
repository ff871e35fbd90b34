"""How many pixels a model reads of an image; a setting for families whose image processor bounds them."""

from __future__ import annotations

from pydantic import Field, PositiveInt, model_validator

from curriculum.strict import Strict


class PixelBudgetError(ValueError):
    """A model's image processor cannot keep a pixel budget. One line says why."""


class PixelBudget(Strict):
    """Images with more than `max_pixels` are scaled down before the model reads them, those with less than
    `min_pixels` up. None: as the model folder's own processor says.
    """

    min_pixels: PositiveInt | None = Field(None, description="of a film that the model reads; else the processor's own")
    max_pixels: PositiveInt | None = Field(None, description="as min_pixels; decides how many tokens a large film has")

    @property
    def sets_pixels(self) -> bool:
        return self.min_pixels is not None or self.max_pixels is not None

    @model_validator(mode="after")
    def _validate_pixels(self) -> PixelBudget:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self
