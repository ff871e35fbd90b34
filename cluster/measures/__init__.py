"""What held-out answers are worth in sum: a measure for each form of answer, each with a bootstrap interval. No Ray."""

from .result import Result
from .scores import MIN_PATIENTS, Interval, Scores

__all__ = ["MIN_PATIENTS", "Interval", "Result", "Scores"]
