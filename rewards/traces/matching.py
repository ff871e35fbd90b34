"""Think blocks on whether a text belongs to a film: what agrees, or what one says and the other does not."""

from __future__ import annotations

from rewards.findings.ontology import load_ontology
from rewards.traces.blocks import NO_WORDS, Blocks, NoTrace
from rewards.traces.film import Film
from rewards.traces.phrases import filled, load_phrases

NO_DIFFERENCE = "text and report do not differ in a finding"


def on_text(film: Film, text: Film, is_own: bool, blocks: Blocks) -> tuple[str, str]:
    """Two blocks on the same question: for the right answer, and against the wrong one.

    Args:
        film: by its report.
        text: as if it were the report of a film.
        is_own: whether the text belongs to the film.

    Raises:
        NoTrace: nothing tells that it does, or that it does not.
    """
    return _agreeing(film, text, blocks) if is_own else _differing(film, text, blocks)


def _agreeing(film: Film, text: Film, blocks: Blocks) -> tuple[str, str]:
    phrases, draw = load_phrases(), blocks.draw
    said = [observation.text for observation in text.observations]
    known = {observation.text for observation in film.observations}
    shared = [sentence for sentence in said if sentence in known]
    others = [observation.text for observation in film.observations if observation.text not in shared]
    draw.shuffle(shared)
    draw.shuffle(others)
    if not shared:
        raise NoTrace(NO_WORDS)
    more = [*shared[1:], *others] or shared
    return f"{shared[0]} {draw.choice(phrases.agreeing)}", f"{more[0]} {draw.choice(phrases.not_against)}"


def _differing(film: Film, text: Film, blocks: Blocks) -> tuple[str, str]:
    """Two findings that text and film do not share, or one of them twice."""
    phrases, draw = load_phrases(), blocks.draw
    told: list[tuple[str, str, bool]] = []
    for finding in sorted(load_ontology().findings):
        of_text, of_film = text.stance(finding), film.stance(finding)
        if of_text == "present" and of_film in ("absent", "silent"):
            said = filled(draw.choice(phrases.differing_asserted), finding, draw)
            told.append((f"{said} {blocks.on(finding, False)}", finding, False))
        elif of_film == "present" and of_text in ("absent", "silent"):
            told.append((f"{blocks.on(finding, True)} {draw.choice(phrases.differing_denied)}", finding, True))
    if not told:
        raise NoTrace(NO_DIFFERENCE)
    draw.shuffle(told)
    first, finding, is_present = told[0]
    second = told[1][0] if len(told) > 1 else blocks.on(finding, is_present)
    return f"{first} {draw.choice(phrases.unmatched)}", second
