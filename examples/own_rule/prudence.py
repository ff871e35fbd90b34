"""A reward rule of your own. The recipe beside it names it as `prudence:prudent`.

    cd examples/own_rule
    curlvpr reward check prudence:prudent --options '{"least": 5}'
    curlvpr train recipe.yaml

A rule is any function of this form, in a module that is installed or in the working directory. The package itself
needs no change.
"""

from __future__ import annotations

from curriculum.task import Task
from rewards.verdict import Verdict


def prudent(task: Task, response: str, verdict: Verdict, *, least: int = 0) -> float:
    """Pays for a right answer if the response has at least `least` words.

    Args:
        task: the question and its gold.
        response: what the model wrote.
        verdict: what the built-in rules say of it.
        least: an option, which the recipe sets.

    Returns:
        A number from 0 to 1. Its weight in the recipe times this number is added to the reward.
    """
    return verdict.outcome if len(response.split()) >= least else 0.0
