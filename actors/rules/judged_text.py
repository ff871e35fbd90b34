"""What a reward model reads of a response: the question and the response, as its tokenizer or a template joins them."""

from __future__ import annotations

import re
from typing import Any

import jinja2
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rewards.custom_rules import RuleInput
from rewards.reading.parser import parse

VARIABLES = ("question", "response", "answer", "reference", "task")


def check_template(source: str) -> jinja2.Template:
    """The template of a text.

    Raises:
        ValueError: it is no template of Jinja, uses an unknown variable, or does not use the response.
    """
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        used = find_undeclared_variables(environment.parse(source))
        template = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"template, line {error.lineno}: {error.message}") from error
    if unknown := sorted(used - set(VARIABLES)):
        raise ValueError(f"template: {', '.join(unknown)} is unknown; it may use {', '.join(VARIABLES)}")
    if not used & {"response", "answer"}:
        raise ValueError("template: it uses neither response nor answer, so all responses would be worth the same")
    return template


class TextMaker:
    """Turns a response into what the model reads.

    By the template if there is one; otherwise by the tokenizer's chat template, with the question as the user's turn
    and the response as the assistant's; otherwise as a pair of texts. Special tokens that a question or a response
    spells out become blanks, so that a response cannot end its own turn and begin another.

    Attributes:
        has_special_tokens: whether the texts have their special tokens in place, as those of a chat template do.
    """

    def __init__(self, tokenizer: Any, template: str | None) -> None:
        self._tokenizer = tokenizer
        self._template = None if template is None else check_template(template)
        self.has_special_tokens = self._template is None and bool(tokenizer.chat_template)
        special = sorted(filter(None, tokenizer.all_special_tokens), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")

    def __call__(self, item: RuleInput) -> tuple[str, ...]:
        """One text, or the two of a pair."""
        question, response = self._clean(item.task.asked), self._clean(item.response)
        if self._template is not None:
            pairs = parse(item.response).pairs
            answer = self._clean(pairs[-1].answer.strip()) if pairs else ""
            reference = self._clean(item.task.reference or "")
            variables = {"question": question, "response": response, "answer": answer, "reference": reference}
            return (self._template.render(variables, task=item.task),)
        if not self.has_special_tokens:
            return question, response
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
        return (self._tokenizer.apply_chat_template(turns, tokenize=False),)

    def _clean(self, text: str) -> str:
        return self._special.sub(" ", text)
