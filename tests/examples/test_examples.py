"""The examples do what they say. The finished run of tests/conftest.py is made by examples/train_from_python.py."""

import re
from pathlib import Path

import pytest

from cluster import Task, load_recipe, score
from cluster.cli.data import import_commands
from curriculum.taskset import read_tasks
from examples import own_importer, score_a_file
from rewards.custom_rules import check_own

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_a_file_of_responses_is_scored(capsys):
    score_a_file.main(str(EXAMPLES / "responses.jsonl"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("response")]
    # By docs/rewards.md: 0.1 for the format, 0.9 for the outcome, 0.3 for the process, 0.2 for grounded reasons.
    right = "response 1: 1.500; format 1.00, outcome 1.00, process 1.00, reason 1.00"
    wrong = "response 2: 0.100; format 1.00, outcome 0.00, process 0.00, reason 0.00"
    half = "response 3: 0.700; format 1.00, outcome 0.67, process 0.00, reason 0.00"  # F1 of one right of two named
    malformed = "response 4: 0.000; format 0.00, outcome 0.00, process 0.00, reason 0.00"
    assert lines == [right, wrong, half, malformed]


def test_the_recipe_with_a_rule_of_its_own_pays_by_that_rule(monkeypatch):
    monkeypatch.chdir(EXAMPLES / "own_rule")
    rules = load_recipe("recipe.yaml").reward.rules
    check_own(rules.own)
    task = Task(
        id="1",
        domain="closed",
        family="binary",
        question="Edema?",
        options={"A": "Yes", "B": "No"},
        gold=("A",),
        images=(),
    )
    short, long = "<think>Haze.</think><answer>A</answer>", "<think>Haze in both lungs, so</think><answer>A</answer>"
    for response, paid in ((short, 0.0), (long, 0.2)):
        verdict = score(task, response, rules)
        assert verdict.total - score(task, response).total == pytest.approx(paid)
        assert dict(verdict.more) == {"prudent": float(paid > 0)}


def test_the_page_on_python_scores_as_it_says(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    section = page.partition("\n## Score\n")[2]
    code = re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)[1]
    exec(code, {})
    printed = capsys.readouterr().out.splitlines()
    shown = re.search(r"print\(verdict\.total, verdict\.why\) +# (.*)", code)[1]
    assert printed[0] == shown
    assert [float(line) for line in printed[1:]] == pytest.approx([1.4, 0.1, 0.7, 0.0])  # process weighs 0.2, not 0.3


def test_an_importer_of_ones_own_writes_a_task_set_and_can_be_a_command(tmp_path, phantom_tasks):
    films = sorted({task.images[0] for task in phantom_tasks})[:12]
    findings = [("Edema", "Effusion"), (), ("Mass",)] * 4
    rows = [
        f"{Path(film).name},{number // 2},{';'.join(found)}"
        for number, (film, found) in enumerate(zip(films, findings, strict=True))
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["film,patient,findings", *rows]))

    summary = own_importer.import_list(Path(films[0]).parent, labels, tmp_path / "out")
    tasks = read_tasks(summary.path)
    listed = {Path(task.images[0]).name: set(task.gold) for task in tasks if task.family == "diagnosis"}
    assert listed == {Path(film).name: set(found) for film, found in zip(films, findings, strict=True)}
    splits = {}
    for task in tasks:
        splits.setdefault(task.patient, set()).add(task.split)
    assert len(splits) == 6 and all(len(of_patient) == 1 for of_patient in splits.values())

    command = import_commands([own_importer.LIST])["list"]
    assert [parameter.opts for parameter in command.params] == [["--images"], ["--labels"], ["--out"], ["--seed"]]
