"""Figures about the shape of the code: `python scripts/figures.py [CHECKOUT]`.

Folders (most and median files), the longest file and function, characters a code line, nested comprehensions per 1,000
lines, imports that go up, and circles of imports. Counts the four packages, as parsed by `ast`.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path
from statistics import mean, median

PACKAGES = ("cluster", "actors", "rewards", "curriculum")  # imports go down this list
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def main(root: Path) -> None:
    sources = {
        path.relative_to(root): path.read_text(encoding="utf-8") for p in PACKAGES for path in (root / p).rglob("*.py")
    }
    trees = {path: ast.parse(text) for path, text in sources.items()}
    folders = Counter(path.parent for path in sources)
    lines = {path: text.count("\n") for path, text in sources.items()}
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path}:{node.name}")
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    nested = sum(is_nested(node) for tree in trees.values() for node in ast.walk(tree))
    folder, most = folders.most_common(1)[0]
    longest = max(lines, key=lines.__getitem__)
    imports = {path: list(imported(path, tree, sources)) for path, tree in trees.items()}
    print(f"files {len(sources)}, lines {sum(lines.values())}, folders {len(folders)}")
    print(f"files in a folder: most {most} ({folder}), median {median(folders.values()):g}")
    print(f"longest file: {lines[longest]} lines ({longest}); files above 400: {sum(n > 400 for n in lines.values())}")
    print("longest function: {} lines ({})".format(*max(functions)))
    print(f"characters a code line: {mean(len(line) for text in sources.values() for line in code_lines(text)):.1f}")
    print(f"nested comprehensions per 1,000 lines: {1000 * nested / sum(lines.values()):.2f} ({nested})")
    print(
        f"upward imports: {sum(level(target) < level(path) for path, targets in imports.items() for target in targets)}"
    )
    print(f"circles: {len(circles(imports))}")


def is_nested(node: ast.AST) -> bool:
    """A comprehension with another one in it, or with two loops."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    inside = (child for child in ast.walk(node) if child is not node)
    return len(node.generators) > 1 or any(isinstance(child, COMPREHENSIONS) for child in inside)


def code_lines(text: str) -> list[str]:
    """Lines that hold code, without their indentation; docstrings and comments left out."""
    rows: set[int] = set()
    at_start = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in NO_CODE:
            at_start = token.type not in (tokenize.COMMENT, tokenize.NL) or at_start
            continue
        if token.type == tokenize.STRING and at_start:
            continue
        at_start = False
        rows.update(range(token.start[0], token.end[0] + 1))
    lines = text.splitlines()
    return [lines[row - 1].strip() for row in sorted(rows) if lines[row - 1].strip()]


def level(path: Path) -> int:
    return PACKAGES.index(path.parts[0])


def imported(path: Path, tree: ast.Module, sources: dict[Path, str]) -> list[Path]:
    """The project's files that a file imports when it is loaded; not those for type checkers, nor within functions."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(path.parts[: len(path.parts) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names = [f"{module}.{alias.name}" for alias in node.names] + [module]
        else:
            continue
        for name in names:
            file = Path(*name.split(".")).with_suffix(".py")
            if file in sources and file != path:
                found.append(file)
    return found


def circles(imports: dict[Path, list[Path]]) -> list[list[Path]]:
    """Groups of files that import each other, by Tarjan's algorithm."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    groups: list[list[Path]] = []

    def visit(path: Path) -> None:
        index[path] = low[path] = len(index)
        stack.append(path)
        for target in imports.get(path, ()):
            if target not in index:
                visit(target)
                low[path] = min(low[path], low[target])
            elif target in stack:
                low[path] = min(low[path], index[target])
        if low[path] == index[path]:
            start = stack.index(path)
            groups.append(stack[start:])
            del stack[start:]

    for path in imports:
        if path not in index:
            visit(path)
    return [group for group in groups if len(group) > 1]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
