"""The `curlvpr reward` commands on rows, and a report of `curlvpr eval`."""

import json

import numpy as np
import pytest

from cluster.measures import Scores
from cluster.standalone.evaluate import (
    EvaluationSet,
    find_subject,
    report,
)
from tests.support.results import closed, opened
from tests.support.rewards.reward_rows import run


@pytest.fixture
def scored(tmp_path, monkeypatch, capsys):
    """Scores rows by the command; gives the objects that it prints."""

    def scored(*rows, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        more = [word for name, value in options.items() for word in (f"--{name}", value)]
        assert run(monkeypatch, "score", path, *more) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(found) == len(rows)
        return found

    return scored


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command that must be refused; gives the one line that it prints."""

    def refused(*arguments):
        assert run(monkeypatch, *arguments) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and err.startswith("curlvpr: "), err
        return err

    return refused


def results(right):
    rng = np.random.default_rng(right)
    return [
        *(closed(i, rng.random() < right / 10, view="PA" if i % 2 else "AP") for i in range(40)),
        *(
            opened(i, ("Mass",) if i % 3 else ("Edema",), "Mass" if rng.random() < right / 10 else "Edema")
            for i in range(40)
        ),
    ]


@pytest.fixture
def reported(tiny_model):
    """Three models; the third answers as the first."""
    subjects = [find_subject(tiny_model)] * 3
    asked = EvaluationSet([], {"Mass": 0.5, "Edema": 0.004})
    return report(subjects, [Scores(results(right), 100, shares=asked.shares) for right in (4, 9, 4)], asked)
