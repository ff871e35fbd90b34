"""A reward model: a sequence classifier that reads the question and the response."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from actors.rules.batches import Value, judge_in_batches
from actors.rules.judged_text import TextMaker, check_template
from actors.rules.loading import (
    check_device,
    check_model_folder,
    choose_device,
    load_tokenizer,
    longest_input,
    one_line,
)
from rewards.custom_rules import RuleInput

DTYPES = ("float32", "bfloat16", "float16")
SHORTEST = 8  # tokens; a lower limit leaves nothing of a text

log = logging.getLogger(__name__)


class RewardModel:
    """A folder of `AutoModelForSequenceClassification`, with its tokenizer, as a rule. Nothing is downloaded.

    A value does not depend on the batch, except for rounding. A text that is too long loses its beginning, because the
    answer is at its end; the log says how often that happens.

    Args:
        path: the folder.
        device: auto, cpu, cuda or cuda:N.
        dtype: float32, bfloat16 or float16: what the model computes in.
        batch_size: texts at once. If the tokenizer has no padding token, each text is judged alone.
        max_tokens: limit of a text; by default what the model takes.
        template: a Jinja template of the text, with the variables question, response, answer (the final one),
            reference and task. By default the tokenizer's chat template, or a pair of texts if it has none.
        label: for a model with several labels, the one whose probability is the value: its number or its name.
        limits: for a model with one label, the outputs that are worth 0 and 1; linear between them, constant beyond.
            By default the value is the sigmoid of the output.

    Raises:
        ValueError: the folder holds no such model, or an option does not fit it.
    """

    opinion: ClassVar[bool] = True

    def __init__(
        self,
        *,
        path: str,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        batch_size: int = 16,
        max_tokens: int | None = None,
        template: str | None = None,
        label: int | str | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        self.check_options(
            path=path, device=device, dtype=dtype, batch_size=batch_size, template=template, limits=limits
        )
        self.path = path
        self.tokenizer, self.model = _load(path, dtype, choose_device(device))
        self.label = _label_number(path, self.model.config, label, has_limits=limits is not None)
        self.limits = limits
        self.batch_size = batch_size if self.tokenizer.pad_token_id is not None else 1
        longest = longest_input(self.tokenizer, self.model.config)
        self.max_tokens = longest if max_tokens is None else max_tokens
        if not SHORTEST <= self.max_tokens <= longest:
            raise ValueError(f"max_tokens {max_tokens}: the model of {path} takes {SHORTEST} to {longest}")
        self.make_texts = TextMaker(self.tokenizer, template)
        self.judged = self.cut = 0

    @staticmethod
    def check_options(
        *,
        path: str,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 16,
        template: str | None = None,
        limits: Sequence[float] | None = None,
        **_: object,
    ) -> None:
        """Raises ValueError if an option cannot be used, before the model is loaded."""
        check_model_folder(path)
        check_device(device)
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype}: {', '.join(DTYPES[:-1])} or {DTYPES[-1]} is needed")
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: at least 1 is needed")
        if template is not None:
            check_template(template)
        if limits is not None and (len(limits) != 2 or limits[0] == limits[1]):
            raise ValueError(f"limits {list(limits)}: two different outputs are needed, those worth 0 and 1")

    def score_batch(self, inputs: Sequence[RuleInput]) -> list[Value]:
        """The value of each response, in order; an error in place of a value hurts that response alone."""
        by_length = sorted(range(len(inputs)), key=lambda place: len(inputs[place].response))  # little padding
        judged = judge_in_batches(self._judge, [inputs[place] for place in by_length], self.batch_size)
        values: list[Value] = [0.0] * len(inputs)
        for place, value in zip(by_length, judged, strict=True):
            values[place] = value
        return values

    def _judge(self, inputs: Sequence[RuleInput]) -> list[float]:
        import torch

        texts = [self.make_texts(item) for item in inputs]
        columns = [list(column) for column in zip(*texts, strict=True)]
        batch = self._encode(
            columns, padding=len(texts) > 1, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        with torch.inference_mode():
            values: list[float] = self._worth(self.model(**batch).logits.float()).tolist()
        self._count_cut(texts, batch.attention_mask.sum(1).tolist())
        return values

    def _worth(self, logits: Any) -> Any:
        """What the outputs [texts, labels] are worth, in [0, 1], tensor [texts]."""
        if self.label is not None:
            if self.model.config.problem_type == "multi_label_classification":
                return logits[:, self.label].sigmoid()
            return logits.softmax(-1)[:, self.label]
        if self.limits is None:
            return logits[:, 0].sigmoid()
        low, high = self.limits
        return ((logits[:, 0] - low) / (high - low)).clamp(0, 1)

    def _encode(self, columns: Sequence[Sequence[str]], **settings: Any) -> Any:
        return self.tokenizer(*columns, add_special_tokens=not self.make_texts.has_special_tokens, **settings)

    def _count_cut(self, texts: Sequence[tuple[str, ...]], lengths: Sequence[int]) -> None:
        """Counts texts that were too long, and logs the count whenever it has doubled."""
        before = self.cut
        self.judged += len(texts)
        for text, length in zip(texts, lengths, strict=True):
            if length == self.max_tokens:
                whole = self._encode([[part] for part in text], verbose=False).input_ids[0]
                self.cut += len(whole) > self.max_tokens
        if self.cut.bit_length() > before.bit_length():
            log.warning(
                "reward model %s: %d of %d texts had more than %d tokens; the beginning was cut off",
                self.path, self.cut, self.judged, self.max_tokens,
            )  # fmt: skip


def _load(path: str, dtype: str, device: str) -> tuple[Any, Any]:
    """The tokenizer and the model of a folder. Raises ValueError if either is missing or incomplete."""
    from transformers import AutoModelForSequenceClassification

    folder = check_model_folder(path)
    tokenizer = load_tokenizer(folder, padding_side="right", truncation_side="left")
    try:
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except Exception as error:
        raise ValueError(f"{path}: it holds no classifier that can be loaded ({one_line(error)})") from error
    if missing := sorted(loaded["missing_keys"]):
        raise ValueError(f"{path}: its weights lack {', '.join(missing[:3])}; a trained sequence classifier is needed")
    if tokenizer.pad_token_id is not None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id  # a decoder reads its last token but these
    return tokenizer, model.eval().to(device)


def _label_number(path: str, config: Any, label: int | str | None, has_limits: bool) -> int | None:
    """The number of the label that is paid, None if the model has only one. Raises ValueError if it does not fit."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if len(names) == 1:
        if label is not None:
            raise ValueError(f"label {label}: the model of {path} has a single label; leave it out")
        return None
    if has_limits:
        raise ValueError(f"limits: the model of {path} has {len(names)} labels; give label instead")
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(str(label))
    given = "label: none is given" if label is None else f"label {label}: there is none such"
    raise ValueError(f"{given}; the model of {path} has {', '.join(names[:10])} (numbers 0 to {len(names) - 1})")
