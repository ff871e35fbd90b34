"""Places in the code that a document names: [`FILE:LINE`](../FILE#LLINE) `NAME`, with the line that defines NAME.

`python -m tests.support.code_lines docs/architecture.md` writes the lines again after the code has changed.
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"\[`(?P<file>[\w/]+\.py):\d+`\]\(\.\./[^)]*\) `(?P<name>[\w.]+)`")


def with_lines(text: str) -> str:
    """The document with the present line of every place. Raises KeyError: a file does not define such a name."""
    return PLACE.sub(_place, text)


def _place(match: re.Match[str]) -> str:
    file, name = match["file"], match["name"]
    lines = _definitions(file)
    if name not in lines:
        raise KeyError(f"{file} does not define {name}")
    return f"[`{file}:{lines[name]}`](../{file}#L{lines[name]}) `{name}`"


@cache
def _definitions(file: str) -> dict[str, int]:
    """Lines of classes, functions and methods by name."""
    lines: dict[str, int] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                lines[prefix + node.name] = node.lineno
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")).body, "")
    return lines


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_lines(page.read_text(encoding="utf-8")), encoding="utf-8")
