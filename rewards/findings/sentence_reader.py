"""Reads the statements of a sentence: which findings they assert, deny or leave open.

A cue sets the status of what follows it, or changes the status of what came before, within its own statement
(rewards/findings/clauses.py says where statements end).

Each line below has a sentence, what is read from it (+ present, - absent, ? uncertain) and the cue or rule at work,
whose handler is `on_…`:

    There is edema.                                     +Edema                  no cue
    No edema, mass or nodule.                           -Edema -Mass -Nodule    negation, up to the end of the list
    No edema, but a mass is seen.                       -Edema +Mass            a new statement
    No pneumothorax, the heart is enlarged.             -Pneumothorax +Cardiomegaly   a new statement
    Effusion has resolved.                              -Effusion               resolved
    Effusion has nearly resolved.                       +Effusion               resolved, after a degree
    Near-complete resolution of the edema.              +Edema                  resolution, after a degree
    No change in the effusion.                          +Effusion               change: only that is denied
    No air within the mass.                             +Mass                   within: "no … in the …"
    Possible edema.                                     ?Edema                  uncertain
    Effusion suspected.                                 ?Effusion               uncertain_weak, after what it is about
    Mass cannot be excluded.                            ?Mass                   uncertain_after
    Edema versus pneumonia.                             ?Edema ?Pneumonia       versus
    Edema is favored over pneumonia.                    +Edema ?Pneumonia       over
    Edema?                                              ?Edema                  question
    Is there edema? No.                                 -Edema                  a question, and its answer
    Edema: no.                                          -Edema                  colon, then a negation
    History of effusion.                                                        history: not a finding of this film
    The prior effusion has increased.                   +Effusion               prior, and what has become of it
    If there were edema, we would see it.                                       hypothetical
    The nodule is a nipple shadow.                                              artifact_after
    The heart is enlarged.                              +Cardiomegaly           part and state
    The heart is normal.                                -Cardiomegaly           part in the state "normal"
    Left effusion.                                      +Effusion:left          side
    Edema, left more than right.                        +Edema:left             side, after its finding
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.findings.clauses import Statement, statements_of
from rewards.findings.entry import Entry
from rewards.findings.mention import Mention, Severity, Side, Status
from rewards.findings.ontology import load_ontology
from rewards.findings.phrases import Event

__all__ = ["Entry", "Mention", "SentenceReader", "Severity", "Side", "Status"]

_NEAR = 10  # words between a part of the body and its state, or between a finding and its side
_NO_NORMAL = frozenset(["lung", "bone", "spine"])  # parts whose normal look denies no finding


class SentenceReader:
    """Reads the phrases of one sentence from left to right. `on_…` handles the phrases of one kind."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.statements = statements_of(events)
        self.ontology = load_ontology()
        self.found: list[Entry] = []
        self.parts: list[tuple[str, int, int]] = []  # parts of the body, each with its first word and the one after it
        self.is_described = False  # the parts have got their state
        self.state: tuple[str, Event] | None = None  # a state that waits for its part
        self.pending: dict[str, tuple[str, int]] = {}  # attributes that wait for their finding, with the word after
        self.is_differential = False  # all that follows is uncertain
        self.is_favored = False  # "over" will name what is less likely
        self.events: Sequence[Event] = ()  # of the statement at hand
        self.start = self.end = 0  # the first word of the statement, and the one after the last
        self.index = 0  # of the phrase at hand
        self.status: Status | None = "present"  # of the next mention; None: it is no finding of this film
        self.cue: Event | None = None  # what gave that status
        self.rule = "asserted"
        self.block = 0  # index of the first mention that a cue after it applies to
        self.verb_since = False  # a verb has followed the last mention
        self.denial_end = -9  # word after the last negation, or after "evidence of" that follows it
        self.within_end = -9  # word after "in the" that a denied thing is said to be in

    def read(self) -> list[Entry]:
        """What the sentence says of findings, those that are none of this film included (their status is None)."""
        for statement in self.statements:
            self.begin(statement)
            for index, event in enumerate(self.events):
                self.index = index
                handler = _HANDLERS.get(event.kind)
                if handler is not None:
                    handler(self, event)
            if statement.is_question:
                self.on_question(statement)
        return self.found

    # --- the frame: where a statement begins, and what lies around a phrase

    def begin(self, statement: Statement) -> None:
        self.events, self.start, self.end = statement.events, statement.start, statement.end
        previous_block, self.verb_since = self.block, False
        self.block = len(self.found)
        carries_doubt = self.status == "uncertain" and (self.cue is None or not self.found_since(self.cue))
        if self.is_differential:
            self.status = "uncertain"
        elif not (statement.link == "end" and carries_doubt):
            self.status, self.cue, self.rule = "present", None, "asserted"
        self.within_end = self.denial_end = -9
        if statement.link in ("end", "question"):
            self.state, self.pending = None, {}
            if self.has_finding(statement):
                self.parts, self.is_described = [], False
        elif statement.link and self.found:
            self.pending = {}
        if statement.link == "comma":
            self.state = None
        first = statement.events[0] if statement.events else None
        if first is None:
            return
        if statement.link == "question":
            self.answer(statement, self.found[previous_block:])
        elif statement.link == "end" and not self.has_finding(statement):
            first = next((event for event in statement.events if event.kind != "pronoun"), first)
            if first.kind in _ABOUT_BEFORE:
                self.block = previous_block  # "effusion, which has resolved"; "edema, but it is unchanged"
        opening = next((event for event in statement.events if event.kind != "comma"), first)  # "Hmm, could …"
        asks = opening.kind == "uncertain" or (first.kind == "verb" and first.start == statement.start)
        if statement.is_question and asks:
            self.status, self.cue, self.rule = "uncertain", first, "asked"

    def found_since(self, event: Event) -> bool:
        return any(entry.start >= event.end for entry in self.found)

    @staticmethod
    def has_finding(statement: Statement) -> bool:
        return any(event.kind in ("finding", "part") for event in statement.events)

    def previous(self) -> Event | None:
        return self.events[self.index - 1] if self.index else None

    def following(self) -> Event | None:
        return self.events[self.index + 1] if self.index + 1 < len(self.events) else None

    def kind_after(self, event: Event) -> str:
        """The kind of the next phrase if it follows at once; "stop" at the end of the statement; else ""."""
        following = self.following()
        if following is None:
            return "stop" if event.end == self.end else ""
        return following.kind if following.start == event.end else ""

    def finding_follows(self) -> bool:
        """Whether the statement has a finding or a part after the phrase at hand."""
        return any(later.kind in ("finding", "part") for later in self.events[self.index + 1 :])

    def is_after(self, kind: str, event: Event) -> bool:
        """Whether the phrase before is of a kind, and at most two words before this one."""
        before = self.previous()
        return before is not None and before.kind == kind and event.start - before.end <= 2

    def cues(self, status: Status | None, event: Event) -> None:
        """Lets a cue govern what follows."""
        self.status, self.cue, self.rule = status, event, event.kind

    # --- findings, parts and states

    def mention(self, finding: str, event: Event, status: Status | None = "present", rule: str = "") -> None:
        if self.verb_since:
            self.block, self.verb_since = len(self.found), False
        cue, rule = (event, rule) if rule else (self.cue, self.rule)
        if self.within_end <= event.start <= self.within_end + 4 and status == "absent" and rule != "normal":
            status, rule = "present", "within"
        attributes = {}
        for name, (value, end) in self.pending.items():
            if event.start - end <= _NEAR:
                attributes[name] = value
        self.pending.pop("severity", None)
        attributes |= dict(event.attributes)
        words = (event.start, event.end)
        if event.kind != "finding" and self.parts:  # "the heart … is enlarged"
            words = (min(self.parts[-1][1], event.start), max(self.parts[-1][2], event.end))
        scope = (self.start, self.end)
        self.found.append(Entry(finding, status, event.start, words, scope, cue, rule, attributes))

    def on_finding(self, event: Event) -> None:
        self.mention(event.payload, event, self.status)
        self.state = None

    def on_part(self, event: Event) -> None:
        following = self.following()
        if following is None or following.kind != "finding" or following.start != event.end:
            self.within_end = -9
        self.on_attribute(event)
        if self.is_described:
            self.parts, self.is_described = [], False
        self.parts.append((event.payload, event.start, event.end))
        if self.state is not None:
            state, state_event = self.state
            if event.start - state_event.end <= 4 and self.describe([event.payload], state, event):
                self.is_described, self.state = True, None

    def on_state(self, event: Event) -> None:
        following = self.following()
        self.on_attribute(event)
        if following is not None and following.kind == "finding" and following.start - event.end <= 1:
            return  # "a large effusion" says nothing about the heart
        before = [earlier.kind for earlier in self.events[max(0, self.index - 2) : self.index]]
        near: list[str] = []
        if "or" in before or not self.is_described:  # "normal or mildly enlarged"
            near = [part for part, _, part_end in self.parts if event.start - part_end <= _NEAR]
        if self.describe(near, event.payload, event):
            self.is_described = True
        elif event.payload != "normal" or self.status != "absent":
            self.state = (event.payload, event)
        if event.payload in ("increased", "enlarged"):
            self.lift()

    def describe(self, parts: list[str], state: str, event: Event) -> bool:
        """Mentions the findings of parts in a state. Returns whether the state fits the parts."""
        if state == "normal":
            for part in parts if self.status != "absent" else ():
                for name in self.ontology.of_part[part] if part not in _NO_NORMAL else ():
                    self.mention(name, event, "absent", "normal")
            return bool(parts)
        names = [self.ontology.pairs[part, state] for part in parts if (part, state) in self.ontology.pairs]
        for name in names:
            self.mention(name, event, self.status)
        return bool(names)

    # --- attributes: side, severity and place

    def on_attribute(self, event: Event) -> None:
        if not event.attributes:
            return
        following = next((e for e in self.events[self.index + 1 :] if e.kind not in ("attribute", "resume")), None)
        is_before = following is not None and following.kind == "finding" and following.start - event.end <= 4
        last = self.found[-1] if self.found else None
        for name, value in event.attributes:
            if not is_before and last and name not in last.attributes and event.start - last.start <= _NEAR:
                last.attributes[name] = value
            self.pending[name] = (value, event.end)

    # --- cues that govern what follows

    def on_negation(self, event: Event) -> None:
        before = [earlier.kind for earlier in self.events[max(0, self.index - 2) : self.index]]
        if before == ["finding", "colon"] and self.found:
            self.found[-1].judge("absent", event)  # "Edema: no …"
        elif before[-1:] == ["finding"] and self.found and self.is_value(event):
            self.found[-1].judge("absent", event)  # "cardiomegaly yes, edema no"
            return
        self.cues("absent", event)
        self.denial_end = event.end

    def is_value(self, event: Event) -> bool:
        """Whether a word follows its finding at once and ends what is said: "edema no"."""
        before = self.previous()
        return before is not None and before.end == event.start and self.kind_after(event) in ("stop", "comma")

    def on_uncertain(self, event: Event) -> None:
        if self.rule != "asked" and (self.status != "absent" or event.start - self.denial_end > 1):
            self.cues("uncertain", event)

    def on_uncertain_weak(self, event: Event) -> None:
        before = self.previous()
        if self.status == "absent" and (before is None or before.kind not in ("comma", "and")):
            return
        is_value = before is not None and before.kind == "colon" and not self.finding_follows()  # "Edema: possible"
        ends_here = is_value or self.kind_after(event) in ("stop", "comma")
        if ends_here and self.found[self.block :]:
            self.after("uncertain", event)  # "effusion suspected"
        else:
            self.cues("uncertain", event)

    def on_differential(self, event: Event) -> None:
        self.cues("uncertain", event)
        self.is_differential = True

    def on_history(self, event: Event) -> None:
        self.cues(None, event)

    on_after_event = on_prior = on_hypothetical = on_history

    def on_resolution(self, event: Event) -> None:
        if self.is_after("degree", event) or self.is_after("negation", event):
            self.cues("present", event)
        elif not self.finding_follows():
            self.after("absent", event)
        elif self.status is not None:
            self.cues("absent", event)

    def on_change(self, event: Event) -> None:
        if self.status == "absent":
            self.cues("present", event)

    on_cause = on_change

    def on_evidence(self, event: Event) -> None:
        self.denial_end, self.within_end = event.end, -9

    def on_within(self, event: Event) -> None:
        if self.status == "absent" and event.start > self.denial_end >= 0:
            self.within_end = event.end

    def on_favored(self, event: Event) -> None:
        self.is_favored = True

    def on_over(self, event: Event) -> None:
        if self.is_favored:
            self.cues("uncertain", event)

    def on_versus(self, event: Event) -> None:
        if self.status == "present":
            if self.found[self.block :] and self.found[-1].status == "present":
                self.found[-1].judge("uncertain", event)
            self.cues("uncertain", event)

    def on_colon(self, event: Event) -> None:
        if self.status == "absent" or self.rule == "after_event":  # "S/p thoracentesis: …"
            self.status = "present"

    def on_verb(self, event: Event) -> None:
        self.verb_since = True

    def on_separator(self, event: Event) -> None:
        self.within_end = -9
        if event.kind == "comma" and self.found:
            self.state, self.pending = None, {}
        elif self.found and self.kind_after(event) in ("attribute", "resume", "state"):
            self.pending = {}

    on_comma = on_and = on_or = on_separator

    # --- cues about what came before

    def on_negation_after(self, event: Event) -> None:
        self.after("absent", event)

    def on_uncertain_after(self, event: Event) -> None:
        self.after("uncertain", event)

    def on_resolved(self, event: Event) -> None:
        if self.is_after("degree", event) or self.is_after("negation", event):
            if self.rule == "negation":
                self.cues("present", event)
            self.lift()
        elif self.found[self.block :] or self.kind_after(event) in ("finding", "attribute", "part"):
            self.after("absent", event)

    def on_steady(self, event: Event) -> None:
        self.lift()

    on_asserted = on_unresolved = on_steady

    def on_artifact_after(self, event: Event) -> None:
        for entry in self.found[self.block :]:
            if entry.status == "present":
                entry.judge(None, event)

    def on_conditional(self, event: Event) -> None:
        for entry in self.found[self.block :]:
            entry.judge(None, event)
        self.cues(None, event)

    def on_question(self, statement: Statement) -> None:
        if self.rule != "asked" and self.events:
            self.after("uncertain", self.events[-1]._replace(kind="question"))

    def answer(self, statement: Statement, asked: Sequence[Entry]) -> None:
        """ "Is there edema? No." In a text that goes on otherwise, a question says nothing of what it asks about."""
        first = statement.events[0]
        is_alone = len(statement.events) == 1 or statement.events[1].kind == "comma" or not self.has_finding(statement)
        for entry in asked:
            if is_alone and first.kind in ("negation", "asserted", "negation_after"):
                entry.judge("present" if first.kind == "asserted" else "absent", first)
            elif entry.rule == "asked":
                entry.judge(None, first)

    def after(self, status: Status, event: Event) -> None:
        """Applies a cue to the mentions before it or, if there are none, to those that follow."""
        block = [entry for entry in self.found[self.block :] if entry.status is not None or entry.can_become(status)]
        for entry in block:
            entry.judge(status, event)
        if block:
            self.status, self.cue, self.rule = "present", None, "asserted"
        else:
            self.cues(status, event)
        self.denial_end = event.end

    def lift(self) -> None:
        """What is said to have changed or stayed is there now, even if it is called prior."""
        for entry in self.found[self.block :]:
            if entry.status is None and entry.can_become("present"):
                entry.status, entry.rule = "present", "prior"


_ABOUT_BEFORE = frozenset(
    ["negation_after", "uncertain_after", "resolved", "unresolved", "steady", "asserted", "verb", "artifact_after"]
)
_HANDLERS = {
    name.removeprefix("on_"): method
    for name, method in vars(SentenceReader).items()
    if name.startswith("on_") and name not in ("on_question", "on_separator")
}
