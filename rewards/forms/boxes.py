"""Boxes on a film: worth the mean intersection over union with the gold boxes."""

from __future__ import annotations

from collections.abc import Sequence

from curriculum.boxes import mean_iou, read_box, read_boxes
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.forms.base import AnswerForm, JudgedAnswer, final_verdict
from rewards.reading.answers import MAX_CHARACTERS
from rewards.reading.parser import Pair


def judge(task: Task, pairs: Sequence[Pair], config: RewardConfig) -> JudgedAnswer:
    """Judges the final answer alone: steps before it are allowed, and earn nothing."""
    found = read_boxes(pairs[-1].answer[:MAX_CHARACTERS])
    gold = [read_box(text) for text in task.gold]
    outcome = mean_iou(found, gold)
    why = f"{len(found)} boxes, gold {len(gold)}: mean IoU {outcome:.2f}"
    answer = tuple(str(list(box)) for box in found)
    return JudgedAnswer(answer, outcome, (final_verdict(pairs[-1], outcome, why),), why=(why,))


FORM = AnswerForm(judge, has_number_lists=True)
