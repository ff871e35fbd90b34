"""What held-out answers are worth in sum: a measure for each form of answer, each with a bootstrap interval. No Ray."""

from cluster.measures.result import Result
from cluster.measures.scores import MIN_PATIENTS, Interval, Scores

__all__ = ["MIN_PATIENTS", "Interval", "Result", "Scores"]
