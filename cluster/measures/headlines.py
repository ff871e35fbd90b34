"""The measures that a line or a table has room for, and the names of all measures in words."""

from __future__ import annotations

import re

HEADLINES = {
    "closed_accuracy": "closed accuracy",
    "open_micro_f1": "open micro-F1",
    "boxes_iou": "box IoU",
    "text_rouge_l": "ROUGE-L",
    "text_clinical_f1": "clinical F1",
}
"""Measure to its name in words."""
_ABBREVIATIONS = {
    "micro f1": "micro-F1",
    "macro f1": "macro-F1",
    "f1": "F1",
    "iou": "IoU",
    "rouge l": "ROUGE-L",
    "bleu": "BLEU",
    "bertscore": "BERTScore",
}


def measure_words(name: str) -> str:
    """The name of a measure in words: "binary accuracy" for "binary_accuracy"."""
    words = HEADLINES.get(name) or name.replace("_", " ")
    for raw, right in _ABBREVIATIONS.items():
        words = re.sub(rf"\b{raw}\b", right, words)
    return words
