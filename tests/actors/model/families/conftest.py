"""A tiny model of every family, and tasks for it."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from tests.support.models.tiny_families import make_family

QUESTIONS = ["one film", "another film", "wide", "two films", "three films", "no film"]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory, phantom_tasks):
    """Of a family's tiny model; made once."""
    texts = [" ".join([t.question, *t.options.values(), t.reference]) for t in phantom_tasks]

    @cache
    def folder(name):
        return make_family(name, texts, tmp_path_factory.mktemp(name))

    return folder


@pytest.fixture(scope="session")
def policy_of(folder_of):
    return cache(lambda name: Policy(folder_of(name), Encoder(folder_of(name), PromptConfig()), torch.float32))


@pytest.fixture(scope="session")
def tasks(phantom_tasks, tmp_path_factory):
    """A task for each of `QUESTIONS`; the first two differ in their film alone."""
    wide, tall = (str(tmp_path_factory.mktemp("films") / "film.png") for _ in range(2))
    for path, size in ((wide, (100, 160, 3)), (tall, (150, 60, 3))):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, size, np.uint8)).save(path)
    first, other = phantom_tasks[0].images[0], phantom_tasks[8].images[0]
    images = [(first,), (other,), (wide,), (first, other), (wide, first, tall), ()]
    made = [
        task.model_copy(update={"id": name, "images": paths})
        for name, task, paths in zip(QUESTIONS, [phantom_tasks[n] for n in (0, 0, 1, 2, 3, 4)], images, strict=True)
    ]
    prior = {"captions": ("prior film, 3 May", "current film"), "context": "Prior report: no effusion."}
    return [task.model_copy(update=prior) if task.id == "two films" else task for task in made]
