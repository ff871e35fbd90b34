"""A choice between two findings, and responses to it in groups."""

import numpy as np

from actors.trajectory import Group, Trajectory
from curriculum.task import Task

TASK = Task(
    id="t",
    domain="closed",
    family="single_choice",
    question="Which finding is seen?",
    images=("x.png",),
    gold=("B",),
    options={"A": "Mass", "B": "Edema"},
)


def say(thought, answer="B"):
    return f"<think>{thought}</think><answer>{answer}</answer>"


def groups(*texts, size=2):
    empty = np.array([], np.int32)
    made = [Trajectory(text, empty, empty, empty, empty, "stop", 0) for text in texts]
    return [Group(str(i), TASK, empty, tuple(made[i : i + size])) for i in range(0, len(made), size)]
