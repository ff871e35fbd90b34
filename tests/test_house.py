"""The rules of the house that no linter knows: sizes, tests that mirror the code, documents that name what exists."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "actors", "rewards", "curriculum")
MAX_LINES = 400
MAX_FILES = 16  # modules in a folder
MAX_STATEMENTS = 5  # of a function that needs no test of its own
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

RUN = "tests/end_to_end/test_run.py"
SMOKE = "tests/cluster/standalone/test_smoke.py"
REPORT = "tests/cluster/reporting/test_report.py"
COMPARE = "tests/cluster/reporting/test_compare.py"
TESTED_ELSEWHERE = {
    "cluster/control/probe.py": "tests/cluster/planning/test_machine.py",  # a process that the machine's look starts
    "cluster/record/run_writer.py": RUN,  # what it writes is read back
    "cluster/reporting/compare_figures.py": COMPARE,  # on the page
    "cluster/reporting/compare_pairs.py": COMPARE,
    "cluster/reporting/examples.py": REPORT,  # on the page
    "cluster/reporting/model_card.py": REPORT,
    "cluster/reporting/report_figures.py": REPORT,
    "cluster/run/loop.py": RUN,  # parts of one loop, each with the others, on real workers
    "cluster/run/progress/prometheus.py": "tests/end_to_end/test_monitoring.py",
    "cluster/run/progress/step_log.py": RUN,
    "cluster/run/stage_tests.py": RUN,
    "cluster/run/workers.py": RUN,
    "cluster/service/serving.py": "tests/cluster/service/conftest.py",  # starts the service of all its tests
    "cluster/stages/grpo.py": RUN,
    "cluster/stages/response_metrics.py": RUN,
    "cluster/standalone/smoke_context.py": SMOKE,  # checks of one command
    "cluster/standalone/smoke_numbers.py": SMOKE,
    "cluster/standalone/smoke_runs.py": SMOKE,
}
"""A source file that has no test file of its name, and the file whose tests run it."""


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _longest_function(path):
    """Statements of the longest function of a file, its docstring not counted."""
    lengths = [0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
            lengths.append(statements - (ast.get_docstring(node) is not None))
    return max(lengths)


def _test_of(path):
    folder = path.relative_to(ROOT).parent
    return ROOT / "tests" / folder / f"test_{path.stem}.py"


def test_no_file_is_too_long():
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in (*SOURCES, *TESTS)}
    too_long = [f"{name}: {length} lines" for name, length in lengths.items() if length > MAX_LINES]
    assert not too_long, "\n".join(too_long)


def test_no_folder_is_too_full():
    counts = Counter(_name(path.parent) for path in (*SOURCES, *TESTS) if path.name != "__init__.py")
    too_full = [f"{folder}: {count} files" for folder, count in counts.items() if count > MAX_FILES]
    assert not too_full, "\n".join(too_full)


def test_a_file_with_logic_has_a_test_file_of_its_name():
    untested = [
        _name(path)
        for path in SOURCES
        if path.name != "__init__.py" and _longest_function(path) > MAX_STATEMENTS and not _test_of(path).is_file()
    ]
    unknown = sorted(set(untested) - set(TESTED_ELSEWHERE))
    assert not unknown, "\n".join(unknown)
    assert set(TESTED_ELSEWHERE) <= set(untested)  # else an entry is out of date
    assert all((ROOT / test).is_file() for test in TESTED_ELSEWHERE.values())


def test_every_data_file_is_in_the_installed_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    left_out = []
    for package in PACKAGES:
        folder = ROOT / package
        packaged = {path for pattern in patterns[package] for path in folder.glob(pattern)}
        data = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        left_out += sorted(_name(path) for path in data - packaged)
    assert not left_out, "\n".join(left_out)


def _headings(path):
    """The anchors of a Markdown file, as GitHub makes them."""
    anchors = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            words = line.lstrip("#").strip().lower()
            anchors.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return anchors


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_link_of_a_document_leads_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = document.parent / file if file else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _headings(path)):
            broken.append(target)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_source_file_that_a_document_names_exists(document):
    text = document.read_text(encoding="utf-8")
    text = re.sub(r"^#+ Add an? .*?(?=^#+ [A-Z]|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)  # files to be written
    folders = "|".join((*PACKAGES, "tests", "bench", "examples", "scripts", "monitoring"))
    named = re.findall(rf"\b(?:{folders})/[\w/.-]+\.(?:py|yaml|yml|json|toml|sh)\b", text)
    missing = sorted({name for name in named if not (ROOT / name).is_file()})
    assert not missing, "\n".join(missing)
