"""Made-up results of tasks, and their measures."""

from cluster.measures import Result, Scores
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score


def closed(number, right, **known):
    known = {"patient": f"p{number}"} | known
    task = Task(
        id=f"c{number}",
        domain="closed",
        family="binary",
        question="Is there Mass?",
        options={"A": "Yes", "B": "No"},
        gold=("A",),
        images=("x.png",),
        **known,
    )
    return result(task, "A" if right else "B")


def opened(number, gold, found, **fields):
    fields = dict(family="diagnosis", patient=f"p{number}") | fields
    return result(
        Task(id=f"o{number}", domain="open", question="Which?", gold=gold, images=("x.png",), **fields), found
    )


def result(task, answer):
    text = f"<think>t</think><answer>{answer}</answer>"
    return Result(task, text, score(task, text, RewardConfig()))


def values(results, **options):
    return {name: value for name, (value, _, _) in Scores(results, 100, **options).measures().items()}


OPEN = [
    opened(0, ("Mass", "Edema"), "Mass, Hernia"),
    opened(1, (), "No finding"),
    opened(2, ("Mass",), "mass and nodule"),
    opened(3, ("Edema",), "who knows"),
]


REPORTS = [
    "The heart is normal. No effusion.",
    "Large left pleural effusion.",
    "Lungs are clear, without a mass or nodule.",
]


def texts(answers, golds=REPORTS):
    return [
        opened(i, (gold,), answer, family="findings", form="text")
        for i, (answer, gold) in enumerate(zip(answers, golds, strict=True))
    ]
