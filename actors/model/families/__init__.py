"""The model families that can be trained. To add one, write a file like its neighbours and list its family here."""

from __future__ import annotations

from actors.model.families.base import ModelFamily, UnsupportedModel
from actors.model.families.gemma3 import GEMMA3
from actors.model.families.gemma4 import GEMMA4
from actors.model.families.glm_v import GLM_V
from actors.model.families.idefics import IDEFICS
from actors.model.families.internvl import INTERNVL
from actors.model.families.llava_onevision import LLAVA_ONEVISION
from actors.model.families.qwen3_5 import QWEN3_5
from actors.model.families.qwen_vl import QWEN_VL
from actors.model.families.text import TEXT

__all__ = ["FAMILIES", "ModelFamily", "UnsupportedModel", "family_of"]

# By `model_type` of config.json.
FAMILIES: dict[str, ModelFamily] = {
    model_type: family
    for family in (QWEN_VL, QWEN3_5, GLM_V, INTERNVL, IDEFICS, LLAVA_ONEVISION, GEMMA3, GEMMA4, TEXT)
    for model_type in family.model_types
}


def family_of(model_type: str) -> ModelFamily:
    """The family of a `model_type`.

    Raises:
        UnsupportedModel: no family has this type.
    """
    if model_type not in FAMILIES:
        raise UnsupportedModel(
            f"a model of type {model_type!r} cannot be trained; those of type {', '.join(FAMILIES)} can"
        )
    return FAMILIES[model_type]
