"""GREEN score of the answer against the report, by the package green-score (Ostmeier et al., EMNLP Findings 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import ClassVar

from actors.rules.batches import Value
from actors.rules.loading import check_device, check_model_folder, choose_device, load_package, using
from actors.rules.report_metric import ReportMetric
from rewards.custom_rules import RuleFault
from rewards.reading.report_texts import ReportTexts

INSTALL = "green-score"  # it pins old versions of torch, transformers and numpy
_MARKUP = str.maketrans("[]<>", "()  ")
"""The package finds the model's counts by headings in brackets: an answer must not bring its own."""


class GreenScore(ReportMetric):
    """Matched findings / (matched findings + significant errors), as a language model counts them.

    Args:
        path: folder of the model. The package loads it with trust_remote_code: use only a folder that you trust.
        device: auto, cpu or cuda. The worker must see one GPU at most.
        batch_size: pairs of texts at once. Half precision and padding let a value depend on what it is batched with;
            1 rules that out.

    Raises:
        ImportError: the package is not installed, or not usable beside the others.
        ValueError: an option cannot be used, or the worker sees several GPUs.
    """

    opinion: ClassVar[bool] = True

    def __init__(self, *, path: str, device: str = "auto", batch_size: int = 1) -> None:
        import torch

        self.check_options(path=path, device=device)
        on_cpu = choose_device(device) == "cpu"
        if not on_cpu and torch.cuda.device_count() > 1:
            raise ValueError(f"{torch.cuda.device_count()} GPUs: the package needs a worker that sees one; set gpus: 1")
        package = load_package("green_score", INSTALL)
        self.batch_size = batch_size
        with using("green_score", INSTALL):
            self.scorer = package.GREEN(str(check_model_folder(path)), cpu=on_cpu, compute_summary_stats=False)
            self.scorer.batch_size = batch_size
            self.try_out()

    @staticmethod
    def check_options(*, path: str, device: str = "auto", **_: object) -> None:
        """Raises ValueError if an option cannot be used, before the model is loaded."""
        check_model_folder(path)
        check_device(device)
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device {device}: auto, cpu or cuda is needed; the package takes no number of a GPU")

    def compare(self, texts: Sequence[ReportTexts]) -> list[Value]:
        answers = [text.answer.translate(_MARKUP) for text in texts]
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it prints its progress for each batch
            _, _, values, _, _ = self.scorer([text.report for text in texts], answers)
        return [RuleFault("GREEN's model gave no counts that can be read") if v is None else v for v in values]
