"""RaTEScore of the answer against the report, by the package of that name (Zhao et al., EMNLP 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from actors.rules.batches import Value
from actors.rules.loading import check_device, choose_device, load_package, using
from actors.rules.report_metric import ReportMetric
from rewards.custom_rules import RuleFault
from rewards.reading.report_texts import ReportTexts

INSTALL = "RaTEScore medspacy 'pandas<3' 'transformers<5'"  # 0.6.0 names none of what it needs
NOTHING_FOUND = 0.5
"""What the package gives if it finds no entity in one of the texts. As a reward it would pay for saying nothing."""


class RateScore(ReportMetric):
    """Similarity of the medical entities of both texts.

    Args:
        ner_model: folder or hub name of the model that finds entities; the package has a default.
        synonym_model: folder or hub name of the model that compares them; the package has a default.
        matrix: weights of the kinds of entities: `long` reports, `short` ones, or a JSON file.
        device: auto, cpu or cuda.
        batch_size: sentences at once.

    Raises:
        ImportError: the package, or one that it needs, is not installed, or not usable beside the others.
        ValueError: an option cannot be used.
    """

    def __init__(
        self,
        *,
        ner_model: str | None = None,
        synonym_model: str | None = None,
        matrix: str = "long",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        batch_size: int = 16,
    ) -> None:
        self.check_options(device=device)
        models = {"bert_model": ner_model, "eval_model": synonym_model}
        given = {name: model for name, model in models.items() if model}
        use_gpu = choose_device(device) != "cpu"
        package = load_package("RaTEScore", INSTALL)
        with using("RaTEScore", INSTALL):
            self.scorer = package.RaTEScore(**given, batch_size=batch_size, use_gpu=use_gpu, affinity_matrix=matrix)
            self.try_out()

    @staticmethod
    def check_options(*, device: str = "auto", **_: object) -> None:
        """Raises ValueError if an option cannot be used, before the models are loaded."""
        check_device(device)
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device {device}: auto, cpu or cuda is needed; the package takes no number of a GPU")

    def compare(self, texts: Sequence[ReportTexts]) -> list[Value]:
        """As in the base. The package leaves out a text without a sentence of three characters.

        Then the scores that follow belong to other texts, so a batch with such a text fails, and each of its texts is
        compared alone.
        """
        answers, reports = [text.answer for text in texts], [text.report for text in texts]
        try:
            values: list[float] = self.scorer.compute_score(answers, reports)
        except IndexError:  # no text has a sentence
            values = []
        if len(values) != len(texts):
            raise RuleFault("RaTEScore reads no sentence in the answer or in the report")
        return [_checked(value) for value in values]


def _checked(value: float) -> Value:
    if value == NOTHING_FOUND:
        return RuleFault("RaTEScore finds no entity in the answer or in the report")
    return value
