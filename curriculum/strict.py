"""The base of every typed setting and every request body."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuses unknown keys, and cannot be changed once it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True)
