"""`curlvpr compare`: a page with the runs' own numbers, and with differences that are computed independently here."""

import json
import random
import re
import shutil

import numpy as np
import pytest
import yaml

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.reporting.compare import compare, recipe_table, short_table, write_comparison
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from tests.cluster.reporting.test_report import (
    CHROMIUM,
    HOSTILE,
    SMOKE,
    Page,
    Writer,
    assert_fits_a_phone,
    assert_loads_and_runs_nothing,
    wrong,
)


def draw(folder, seed=0):
    drawn = draw_phantom_set(PhantomConfig(train=2, val=1, test=24, seed=seed), folder)
    return [task for task in drawn if task.family != "report"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("films"))


def train(path, tasks, share, settings=(), closed_steps=2, status="finished", **more):
    """A run that answers this share of the tasks rightly at its end."""
    writer = Writer(path, tasks)
    writer.folder.write_recipe(load_recipe(SMOKE, [f"stages.closed.gate.max_steps={closed_steps}", *settings]))
    rng = random.Random(path.name)
    start = writer.test("sft", "start", wrong)
    after = writer.stage(
        "sft", "sft", 3, start, lambda task: task.reference if rng.random() < share / 2 else wrong(task)
    )
    writer.stage(
        "closed", "grpo", closed_steps, after, lambda task: task.reference if rng.random() < share else wrong(task)
    )
    return writer.close(status, **more)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tasks):
    root = tmp_path_factory.mktemp("runs")
    return [train(root / "weak", tasks, 0.4), train(root / "strong", tasks, 0.8, ["seed=3", "rollout.workers=2"], 5)]


@pytest.fixture(scope="module")
def written(pair):
    path = pair[0].parent / "compare.html"
    write_comparison(compare(pair), path)
    return path


@pytest.fixture
def page(written):
    return Page(written)


def outcomes(run):
    rows = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    newest = max(row["version"] for row in rows)
    return {row["task"]: row["verdict"]["outcome"] for row in rows if row["version"] == newest}


def test_the_paired_difference_is_that_of_an_independent_computation(pair, tasks):
    comparison = compare(pair)
    closed = [task for task in tasks if task.split == "test" and task.domain == "closed"]
    weak, strong = (outcomes(run) for run in pair)
    gains = np.array([strong[task.id] - weak[task.id] for task in closed])
    _, films = np.unique([task.patient for task in closed], return_inverse=True)
    rng = np.random.default_rng(123)
    sums, counts = (np.bincount(films, weights) for weights in (gains, np.ones(len(gains))))
    drawn = rng.integers(len(sums), size=(20_000, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    found = comparison.paired.differences[0]["closed_accuracy"]
    assert found.value == pytest.approx(gains.mean())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    assert comparison.paired.tasks == len([task for task in tasks if task.split == "test"]) == 24 * 4
    assert comparison.paired.patients == 24 and not comparison.notes


def test_the_page_holds_the_numbers_of_both_runs(page, pair):
    for run in pair:
        summary = json.loads((run / "summary.json").read_text())
        for stage in summary["stages"]:
            for measure in ("closed_accuracy", "open_micro_f1"):
                end, gain = stage["evaluation"]["end"], stage["evaluation"]["gain"]
                (low, high), (least, most) = end["intervals"][measure], gain["intervals"][measure]
                cell = (
                    f"{end[measure]:.3f} [{low:.3f}, {high:.3f}], gain {gain[measure]:+.3f} [{least:+.3f}, {most:+.3f}]"
                )
                assert f"<td>{cell}</td>" in page.source, cell
    assert re.search(
        r"closed\s*2 steps; maximum: its 2 steps were used up;.*?5 steps; maximum: its 5 steps were", page.text
    )
    assert re.search(r"learn\s*50 s \(50%\)\s*50 s \(50%\)\s*generate\s*30 s \(30%\).*other\s*20 s \(20%\)", page.text)
    for words in (
        r"issued\s*48\s*48",
        r"trained\s*40\s*40",
        r"in flight\s*5\s*5",
        r"sft\s*900\s*900\s*closed\s*900\s*900",
    ):
        assert re.search(words, page.text), words
    assert {"short", "recipe", "stages", "tests", "differences", "curves", "time", "ledger"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert_loads_and_runs_nothing(page)


def test_only_the_keys_that_differ_are_told(pair):
    assert recipe_table(compare(pair)).rows == [
        ("seed", "0", "3"),
        ("stages.closed.gate.max_steps", "2", "5"),
        ("rollout.workers", "1", "2"),
    ]


def test_keys_that_only_one_recipe_has_and_stages_in_another_order_are_told(pair, tmp_path):
    shutil.copytree(pair[0], tmp_path / "other")
    recipe = yaml.safe_load((tmp_path / "other" / "recipe.yaml").read_text())
    recipe["stages"] = [recipe["stages"][0], recipe["stages"][2], recipe["stages"][1]]
    recipe["prompt"]["more"], recipe["guards"] = {"deep": [1, 2]}, []
    (tmp_path / "other" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    rows = {row[0]: row[1:] for row in recipe_table(compare([pair[0], tmp_path / "other"])).rows}
    assert rows["prompt.more.deep"] == ("–", "[1, 2]") and rows["stages"] == ("sft, closed, open", "sft, open, closed")
    assert rows["guards"] == ("–", "[]") and rows["guards.0.measure"][1] == "–"
    assert not [key for key in rows if key.startswith("stages.")]


def charts(page):
    return dict(re.findall(r'<figure class="chart"><b>(.*?)</b>(<svg.*?</svg>)', page.source, re.S))


def test_a_run_has_one_colour_in_every_chart(page, pair, tmp_path):
    """Where the first run has logged no step, its colour is not given to the second."""
    chart = charts(page)
    assert {
        "Closed accuracy, test",
        "Reward",
        "Supervised loss",
        "Entropy",
        "Speed",
        "Time by phase",
        "Difference in closed accuracy",
    } <= set(chart)
    for title in ("Closed accuracy, test", "Reward", "Speed"):
        assert "var(--c1)" in chart[title] and "var(--c2)" in chart[title] and "var(--c3)" not in chart[title]
        assert "A weak" in chart[title] and "B strong" in chart[title]
    assert (
        "var(--c2)" in chart["Difference in closed accuracy"]
        and "var(--c1)" not in chart["Difference in closed accuracy"]
    )
    for name in ("metrics.parquet", "recipe.yaml", "summary.json"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        if name != "metrics.parquet":
            shutil.copy(pair[0] / name, tmp_path / "bare" / name)
    write_comparison(compare([tmp_path / "bare", pair[1]]), tmp_path / "other.html")
    chart = charts(Page(tmp_path / "other.html"))
    assert "var(--c2)" in chart["Reward"] and "var(--c1)" not in chart["Reward"] and "B strong" in chart["Reward"]


def test_runs_of_other_films_are_not_compared_though_their_ids_are_the_same(pair, tmp_path, monkeypatch, capsys):
    other = train(tmp_path / "other", draw(tmp_path / "films", seed=7), 0.8)
    assert set(outcomes(other)) & set(outcomes(pair[0]))
    monkeypatch.setattr("sys.argv", ["curlvpr", "compare", str(pair[0]), str(other), "--out", str(tmp_path / "c.html")])
    with pytest.raises(SystemExit) as exit:
        main()
    out = " ".join(capsys.readouterr().out.split())
    assert not exit.value.code and "the runs have different task sets" in out and "minus A" not in out
    page = Page(tmp_path / "c.html")
    assert "the runs have different task sets" in page.text and "differences" not in page.ids
    assert "Difference in" not in page.text and "learnt" not in page.ids and "A weak" in page.text


def test_the_same_films_in_another_folder_are_the_same_tasks(pair, tmp_path):
    moved = train(tmp_path / "moved", draw(tmp_path / "films"), 0.8)
    assert compare([pair[0], moved]).paired.tasks == 96
    film = next(task.images[0] for task in draw(tmp_path / "films") if task.split == "test")
    shutil.copy(pair[0] / "recipe.yaml", film)  # the questions stay the same
    assert (
        "of the 96 task ids that all were tested on, 4 are other questions or films"
        in compare([pair[0], moved]).notes[0]
    )


def test_films_that_are_gone_and_tests_that_never_came_are_said(pair, tmp_path, tasks):
    films = draw(tmp_path / "films")
    moved = train(tmp_path / "moved", films, 0.8)
    shutil.rmtree(tmp_path / "films")
    [note] = compare([pair[0], moved]).notes
    assert "the films of B moved cannot be compared" in note
    shutil.rmtree(moved / "data")
    assert "the task set of B moved cannot be read" in compare([pair[0], moved]).notes[0]
    untested = Writer(tmp_path / "untested", tasks).close("failed", why="no GPU")
    comparison = compare([pair[0], untested])
    assert "B untested has no test answers yet" in comparison.notes[0]
    write_comparison(comparison, tmp_path / "c.html")
    assert "no GPU" in Page(tmp_path / "c.html").text


def test_only_what_all_were_tested_on_is_compared(pair, tasks, tmp_path):
    few = [task for task in tasks if task.family in ("binary", "diagnosis")][:-10]
    part = train(tmp_path / "part", few, 0.5)
    comparison = compare([*pair, part])
    count = len([task for task in few if task.split == "test"])
    assert comparison.paired.tasks == count and len(comparison.paired.differences) == 2
    assert comparison.notes[0].endswith(f"the runs were tested on 96, 96, {count} tasks.")
    both, first = outcomes(part), outcomes(pair[0])
    closed = [task.id for task in few if task.split == "test" and task.domain == "closed"]
    assert comparison.paired.differences[1]["closed_accuracy"].value == pytest.approx(
        np.mean([both[id] - first[id] for id in closed])
    )
    nothing = train(tmp_path / "nothing", [task for task in tasks if task.family == "single_choice"], 0.5)
    assert "no task was asked of all of them" in compare([part, nothing]).notes[0]


def test_few_patients_and_other_rules_are_said(tasks, tmp_path):
    few = [task for task in tasks if task.split != "test" or int(task.id[:6]) < 8]
    runs = [train(tmp_path / "a", few, 0.5), train(tmp_path / "b", few, 0.6, ["reward.rules.process=0.05"])]
    patients, rules = compare(runs).notes
    assert "too few for the intervals" in patients and "different reward rules" in rules


def test_hostile_text_is_shown_as_text(pair, tmp_path, tasks):
    name = "$x_{<script>alert(3)<" + "\x1b[2J #000099 #000001"
    settings = ["prompt.system=" + json.dumps(HOSTILE)]
    hostile = train(tmp_path / name, tasks, 0.5, settings, status="failed", why=HOSTILE)
    comparison = compare([hostile, pair[0]])
    write_comparison(comparison, tmp_path / "c.html")
    page = Page(tmp_path / "c.html")
    assert_loads_and_runs_nothing(page)
    assert HOSTILE in page.text and "&lt;script&gt;alert(1)" in page.source and "<script" not in page.source
    assert "A $x_{<script>alert(3" in page.text and "\x1b" not in comparison.labels[0]


def test_the_terminal_has_the_short_table(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["curlvpr", "compare", *map(str, pair)])
    with pytest.raises(SystemExit) as exit:
        main()
    out = capsys.readouterr().out
    assert not exit.value.code and (tmp_path / "compare.html").is_file() and "page → compare.html" in out
    difference = compare(pair).paired.differences[0]["closed_accuracy"].signed
    assert re.search(r"A weak +B strong", out) and re.search(
        rf"closed accuracy, minus A +– +{re.escape(difference)}", out
    )
    assert ("steps", "5", "8") in short_table(compare(pair)).rows


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["weak"], "give two or more run folders"),
        (["weak", "weak"], "the same run is given twice"),
        (["weak", "strong/../weak"], "the same run is given twice"),
        (["weak", "nowhere"], "nowhere: no run folder"),
        (["weak"] * 9, "9 runs are too many; at most 8"),
        (["weak", "strong", "--out", "nowhere/c.html"], "--out nowhere/c.html: there is no folder"),
        (["weak", "strong", "--out", "strong"], "--out strong: a folder is there"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(pair, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(pair[0].parent)
    monkeypatch.setattr("sys.argv", ["curlvpr", "compare", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    err = capsys.readouterr().err.strip()
    assert exit.value.code == 2 and words in err and len(err.splitlines()) == 1


def test_a_damaged_run_is_named(pair, tmp_path):
    shutil.copytree(pair[0], tmp_path / "torn")
    (tmp_path / "torn" / "summary.json").write_text("{")
    with pytest.raises(UserError, match="torn: the run folder cannot be read"):
        compare([pair[0], tmp_path / "torn"])
    shutil.copytree(pair[0], tmp_path / "odd")
    (tmp_path / "odd" / "evaluations.jsonl").write_text('{"task": 1}\n')
    assert "evaluations.jsonl of B odd cannot be read" in compare([pair[0], tmp_path / "odd"]).notes[0]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_phone_need_not_scroll_sideways(written, tmp_path):
    assert_fits_a_phone(written, tmp_path)
