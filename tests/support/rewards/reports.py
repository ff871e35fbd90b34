"""Tasks that ask for a report, and what rules that score batches get of responses to them."""

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.custom_rules import RuleInput
from rewards.score import score
from tests.support.rewards.responses import pairs

REPORT = Task(
    id="r",
    domain="open",
    family="report",
    question="what do you see ?",
    images=("x.png",),
    form="text",
    gold=("The heart is large. No effusion.",),
)


def given(response, task=REPORT):
    """What a rule gets of a response."""
    return RuleInput(task, response, score(task, response, RewardConfig()))


def answered(*answers, task=REPORT):
    """What a rule gets of responses that have these final answers."""
    return [given(pairs(answer), task) for answer in answers]


def recall(answer, report):
    """A stand-in for a metric: the share of the report's words that the answer has. It tells answer from report."""
    words, said = (text.lower().replace(".", "").split() for text in (report, answer))
    return sum(word in said for word in words) / len(words)
