"""Report sentences by a grammar, finding × cue × scope × order, whose findings are known because they were built in."""

from __future__ import annotations

import random
from typing import NamedTuple

FINDINGS = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "pulmonary edema",
    "Effusion": "pleural effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "pulmonary fibrosis",
    "Hernia": "hiatal hernia",
    "Infiltration": "infiltrate",
    "Mass": "lung mass",
    "Nodule": "pulmonary nodule",
    "Pleural Thickening": "pleural thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}
CLAUSES = {  # status to the clauses that give it
    "present": (
        "there is mild {}",
        "{} is unchanged",
        "the {} has increased",
        "small {} persists",
        "stable {} is noted",
        "no change in the {}",
        "no cause for the {} is seen",
        "the {} has nearly resolved",
        "the previous {} has recurred",
        "findings are consistent with {}",
        "partial resolution of the {}",
        "{} is again seen",
    ),
    "absent": (
        "no {} is seen",
        "there is no {}",
        "the {} has resolved",
        "{} is absent",
        "there is no evidence of {}",
        "{} has been ruled out",
        "{} is not identified",
        "the film is negative for {}",
        "nothing suggests {}",
        "{} is unlikely",
        "complete resolution of the {}",
    ),
    "uncertain": (
        "{} cannot be excluded",
        "there may be {}",
        "{} is suspected",
        "possible {}",
        "there is concern for {}",
        "{} is not ruled out",
        "question of {}",
        "findings are suspicious for {}",
    ),
    "": ("history of {}", "evaluate for {}", "status post treatment of {}", "if there were {} the film would show it"),
}
LISTS = {  # status to the lists that give it to three findings
    "present": ("{}, {}, and {} are present", "stable {}, {} and {}", "there is {} with {} and {}"),
    "absent": (
        "no {}, {}, or {}",
        "no {}, {}, {}",
        "without {}, {} or {}",
        "neither {}, {}, nor {} is seen",
        "{}, {}, and {} are absent",
        "negative for {}, {} and {}",
        "no {}, no {}, and no {}",
    ),
    "uncertain": ("this may represent {}, {} or {}", "{}, {} or {} cannot be excluded", "{} versus {} versus {}"),
}
JOINTS = ("; ", ". ", ", but ", "\n", " - ", ", while ", ". However, ", ", whereas ")


class Built(NamedTuple):
    """A sentence and the findings that were built into it, status by finding."""

    text: str
    statuses: dict[str, str]


def built_sentences(count: int, seed: int = 22) -> list[Built]:
    """Sentences of one or two clauses or lists, in every order, each finding named once."""
    draw = random.Random(seed)
    return [_sentence(draw) for _ in range(count)]


def _sentence(draw: random.Random) -> Built:
    names = draw.sample(sorted(FINDINGS), 6)
    first, statuses = _part(draw, names[:3])
    if draw.random() < 0.3:
        return Built(_written(first), statuses)
    second, others = _part(draw, names[3:])
    joint = draw.choice(JOINTS)
    if joint in ("\n", ". "):
        second = second[0].upper() + second[1:]
    return Built(_written(first + joint + second), statuses | others)


def _part(draw: random.Random, names: list[str]) -> tuple[str, dict[str, str]]:
    if draw.random() < 0.4:
        status = draw.choice(sorted(LISTS))
        template = draw.choice(LISTS[status])
    else:
        status = draw.choice(sorted(CLAUSES))
        template = draw.choice(CLAUSES[status])
        names = names[:1]
    return template.format(*(FINDINGS[name] for name in names)), dict.fromkeys(names, status) if status else {}


def _written(text: str) -> str:
    return text[0].upper() + text[1:] + "."
