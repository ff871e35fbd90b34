"""`curlvpr reward explain`: one response with its steps, faults and verdicts, and how its points add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cluster.standalone.reward_file import Row
from curriculum.task import NO_FINDING, Task
from rewards.config import RewardConfig
from rewards.paper import FORMAT, OUTCOME
from rewards.reading.parser import TAG, FormatFault
from rewards.score import uses_published_score
from rewards.verdict import StepVerdict, Verdict

_STYLES = {"right": "green", "wrong": "red", "unverifiable": "yellow", "fault": "magenta"}
_MAX_UNDERLINE = 40  # characters from a fault on


@dataclass(frozen=True)
class Payment:
    """One part of a total: `value` times `weight`, or 0 if a gate holds it back; `held` is which gate and why."""

    part: str
    value: float
    weight: float
    held: str = ""

    @property
    def points(self) -> float:
        return 0.0 if self.held else self.value * self.weight


def payments(task: Task, verdict: Verdict, config: RewardConfig) -> list[Payment]:
    """The parts of the total, in order; their points sum to it."""
    if uses_published_score(task, config):  # its process and reason are amounts
        return [
            Payment("format", verdict.format, FORMAT),
            Payment("outcome", verdict.outcome, OUTCOME),
            Payment("process", verdict.process, 1),
            Payment("reason", verdict.reason, 1),
        ]
    malformed = "format gate: a malformed response earns nothing" if verdict.faults and "format" in config.gates else ""
    not_right = (
        "outcome gate: paid to a right answer only"
        if verdict.total == verdict.base and "outcome" in config.gates
        else ""
    )
    return [
        Payment("format", verdict.format, config.format),
        Payment("outcome", verdict.outcome, config.outcome, malformed),
        Payment("process", verdict.process, config.process, not_right),
        Payment("reason", verdict.reason, config.reason, not_right),
        *(Payment(name, value, config.own[name].weight, malformed) for name, value in verdict.more),
    ]


def explain(row: Row, config: RewardConfig, console: Console) -> None:
    """Prints the task, the response step by step with the reason for every verdict, its faults, and the sum."""
    verdict, task = row.score(config), row.task
    _print(console, Text(f"{row.where}, preset {config.preset}", "bold"), *_question(task))
    text = _painted(row.response, verdict.steps)
    for step, start, end in _pieces(verdict.steps, len(row.response)):
        piece = _marked(text, start, end, verdict.faults, row.response)
        if piece.plain.strip():
            _print(console, _heading(step, verdict.steps))
            console.print(Padding(piece, (0, 0, 0, 4), expand=False))
    _print(
        console,
        Text(),
        *(
            Text.assemble((_marker(number), "bold red"), f"{fault.what}, at character {fault.position}")
            for number, fault in enumerate(verdict.faults, 1)
        ),
    )
    _print(console, *map(_plain, verdict.why), Text(), *map(_sum_line, payments(task, verdict, config)))
    _print(console, Text(f"{'total':<10}{verdict.total:>22.3f}", "bold"))


def _print(console: Console, *lines: Text) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _sum_line(payment: Payment) -> Text:
    line = Text(f"{payment.part:<10}{payment.value:>6.3f} × {payment.weight:<5g} = {payment.points:.3f}")
    return line.append(f"   {payment.held}" if payment.held and payment.value else "", "yellow")


def _question(task: Task) -> Iterator[Text]:
    if task.question != "?":
        yield _plain(task.question)
    for letter, option in task.options.items():
        yield _plain(f"  {letter}  {option}")
    yield _plain(f"gold {', '.join(task.gold) or NO_FINDING}")
    yield Text()


def _pieces(steps: Sequence[StepVerdict], length: int) -> Iterator[tuple[StepVerdict | None, int, int]]:
    """Yields the response in pieces: its steps, and the text before, between and after them with None as its step."""
    done = 0
    for step in steps:
        yield None, done, step.start
        yield step, step.start, step.end
        done = step.end
    yield None, done, length + 1


def _heading(step: StepVerdict | None, steps: Sequence[StepVerdict]) -> Text:
    if step is None:
        return Text("outside every step", "dim")
    of = f", {step.candidate}" if step.candidate else ""
    grounding = "" if step.grounding is None else f", grounding {step.grounding:.2f}"
    heading = _plain(f"step {steps.index(step) + 1}{of}: {step.judgement}, {step.score:.2f}{grounding}: {step.why}")
    heading.stylize(f"bold {_STYLES[step.judgement]}")
    return heading


def _painted(response: str, steps: Sequence[StepVerdict]) -> Text:
    text = _plain(response)
    for step in steps:
        text.stylize(_STYLES[step.judgement], step.start, step.end)
    for tag in TAG.finditer(response):
        text.stylize("dim", *tag.span())
    return text


def _marked(text: Text, start: int, end: int, faults: Sequence[FormatFault], response: str) -> Text:
    """The text from `start` to `end`, with the number of each fault before it, and the faulty text underlined."""
    marked, done = Text(), start
    for number, fault in enumerate(faults, 1):
        if start <= fault.position < end:
            marked.append_text(text[done : fault.position]).append(_marker(number), "bold red")
            done = fault.position
            tag = TAG.match(response, fault.position)
            following = TAG.search(response, fault.position)
            until = tag.end() if tag else min(following.start() if following else end, fault.position + _MAX_UNDERLINE)
            text.stylize("underline red", fault.position, until)
    return marked.append_text(text[done:end])


def _marker(number: int) -> str:
    return f"⟨{number}⟩ "


def _plain(text: str) -> Text:
    """The text with a dot for every control character, so that no response can control a terminal."""
    return Text("".join(c if c.isprintable() or c in "\n\t" else "·" for c in text))
