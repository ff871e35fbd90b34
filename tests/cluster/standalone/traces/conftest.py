"""A task set with reports."""

import pytest
from PIL import Image

from curriculum.taskset import write_tasks
from tests.support.rewards.reported import TASKS


@pytest.fixture
def reported(tmp_path):
    """The folder of a set of six tasks about one film."""
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("L", (32, 32), 90).save(folder / "film.png")
    write_tasks([task.model_copy(update={"images": (str(folder / "film.png"),)}) for task in TASKS], folder)
    return folder
