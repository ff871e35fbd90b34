"""The walk through the code in docs/architecture.md names the lines on which things are defined."""

from pathlib import Path

from tests.support.code_lines import PLACE, with_lines

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_the_walk_names_the_lines_on_which_things_are_defined():
    text = PAGE.read_text(encoding="utf-8")
    assert len(PLACE.findall(text)) > 20
    assert with_lines(text) == text, "run: python -m tests.support.code_lines docs/architecture.md"
