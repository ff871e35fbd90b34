"""The forms of an answer, one file each. A form of your own: docs/rewards.md#add-a-form."""

from __future__ import annotations

from rewards.forms import boxes, letters, names, text
from rewards.forms.base import AnswerForm

FORMS: dict[str, AnswerForm] = {
    "letters": letters.FORM,
    "names": names.FORM,
    "text": text.FORM,
    "boxes": boxes.FORM,
}
"""How the answers of each form of `curriculum.forms.FORMS` are judged."""
