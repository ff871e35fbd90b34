"""report.html and the model card of a run folder that the real RunWriter wrote: true, self-contained, safe."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.measures import Result, Scores
from cluster.record.console import LineDisplay
from cluster.record.run_writer import RunWriter
from cluster.record.validation import Validation
from cluster.reporting.model_card import write_model_card
from cluster.reporting.report import write_report
from cluster.run.launch import write_pages
from curriculum.taskset import SCHEMA, write_tasks
from rewards.config import RewardConfig
from rewards.score import score

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)></pre></style>"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def wrong(task):
    if task.domain == "closed":
        letter = next(letter for letter in task.options if letter not in task.gold)
        return f"<think>Hm.</think><answer>{letter}</answer>"
    return "<think>Hm.</think><answer>Pneumonia</answer>"


def flat(measures):
    return {
        **{name: value for name, (value, _, _) in measures.items()},
        "intervals": {name: [low, high] for name, (_, low, high) in measures.items()},
    }


class Writer:
    """Writes a run as the run loop does, on phantoms: nothing right at the start, everything right at the end."""

    def __init__(self, path, tasks):
        self.path, self.tasks = path, [task for task in tasks if task.split == "test"]
        self.folder = RunWriter(path)
        self.folder.write_recipe(load_recipe(SMOKE))
        write_tasks(tasks, path / "data")
        self.stages, self.steps, self.scores = [], 0, {}

    def test(self, stage, when, text_of):
        results = [Result(task, text_of(task), score(task, text_of(task), RewardConfig())) for task in self.tasks]
        self.folder.add_evaluation({"stage": stage, "when": when, "step": self.steps, "version": self.steps}, results)
        self.scores[self.steps] = Scores(results, 50)
        return flat(self.scores[self.steps].measures()) | {"version": self.steps}

    def stage(self, name, kind, steps, start, end, **numbers):
        first = self.steps
        evaluation = {"start": start}
        rl = {
            "reward": 0.5,
            "outcome": 0.4,
            "format": 0.9,
            "process": 0.3,
            "response_tokens": 50.0,
            "truncated": 0.0,
            "flat_groups": 0.5,
            "kl": 0.0,
            "entropy": 0.1,
            "logp_diff_max": 2e-5,
            "logp_diff_mean": 1e-7,
            "ratio_diff_max": 2e-5,
            "seconds_generate": 1.0,
            "seconds_score": 0.1,
        }
        for step in range(1, steps + 1):
            self.steps += 1
            self.folder.add_metrics(
                {
                    "event": "step",
                    "stage": name,
                    "kind": kind,
                    "step": self.steps,
                    "stage_step": step,
                    "version": self.steps,
                    "loss": 1.0 / step,
                    "tokens": 1000,
                    "tokens_per_s": 900.0,
                    "seconds_learn": 0.5,
                    **(rl if kind == "grpo" else {}),
                    **numbers,
                }
            )
        reason, scores = None, []
        if end:
            evaluation["end"] = self.test(name, "end", end)
            evaluation["gain"] = flat(self.scores[self.steps].gain_over(self.scores[first]))
            reason, scores = "maximum", [[steps, 0.25]]
        self.stages.append(
            {"name": name, "kind": kind, "steps": steps, "reason": reason, "scores": scores, "evaluation": evaluation}
        )
        return evaluation.get("end")

    def close(self, status, **more):
        summary = {
            "status": status,
            "name": self.path.name,
            "recipe": "smoke",
            "seed": 0,
            "steps": self.steps,
            "version": self.steps,
            "stages": self.stages,
            "logp_diff_max": 2e-5,
            "ratio_diff_max": 2e-5,
            "ledger": {"issued": 48, "trained": 40, "dropped": 3, "in_flight": 5},
            "seconds": {"all": 100.0, "learn": 50.0, "generate": 30.0},
            **more,
        }
        self.folder.write_summary(summary)
        self.folder.close()
        return self.path


@pytest.fixture
def writer(tmp_path, phantom_tasks):
    return Writer(tmp_path / "run", phantom_tasks)


@pytest.fixture
def finished(writer):
    start = writer.test("sft", "start", lambda task: HOSTILE)
    after_sft = writer.stage("sft", "sft", 3, start, lambda task: wrong(task) + HOSTILE)
    after_closed = writer.stage(
        "closed", "grpo", 2, after_sft, lambda task: task.reference if task.domain == "closed" else wrong(task)
    )
    writer.stage("open", "grpo", 2, after_closed, lambda task: task.reference)
    (writer.path / "model").mkdir()
    (writer.path / "model" / "config.json").write_text("{}")
    return writer.close("finished")


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text outside of style."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._open = [], "", ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.text.split())
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        if self._open != "style":
            self.text += data


def test_the_report_holds_the_numbers_of_the_summary(finished):
    page = Page(write_report(finished))
    summary = json.loads((finished / "summary.json").read_text())
    for stage in summary["stages"]:
        for measure in ("closed_accuracy", "open_micro_f1"):
            cells = []
            for when, form in (("start", ".3f"), ("end", ".3f"), ("gain", "+.3f")):
                low, high = stage["evaluation"][when]["intervals"][measure]
                cells.append(f"{stage['evaluation'][when][measure]:{form}}{low:{form}} to {high:{form}}")
            words = {"closed_accuracy": "closed accuracy", "open_micro_f1": "open micro-F1"}[measure]
            row = rf"{stage['name']}\s*{words}\s*" + r"\s*".join(map(re.escape, cells))
            assert re.search(row, page.text), row
    assert "48 issued = 40 trained + 3 dropped + 5 in flight" in page.text
    assert re.search(r"other\s*20 s\s*20\.0%", page.text)  # 100 s − 50 s − 30 s
    assert "2.0e-05" in page.text
    assert {"learnt", "curriculum", "training", "time", "books", "examples", "recipe"} <= set(page.ids)
    assert "maximum its 40 steps were used up; validation closed accuracy 0.250, no threshold" in page.text
    assert len(page.ids) == len(set(page.ids))


def assert_loads_and_runs_nothing(page):
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert "default-src 'none'" in page.source


def test_the_report_loads_nothing_and_runs_nothing(finished):
    page = Page(write_report(finished))
    assert_loads_and_runs_nothing(page)
    assert html.escape(HOSTILE, quote=False).split("&lt;img")[0] in page.source  # it is shown, as text


def test_every_picture_has_words(finished):
    page = Page(write_report(finished))
    films = [attributes for tag, attributes in page.tags if tag == "img"]
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert films and all(film["alt"].startswith("Film 1 of 1 of task ") for film in films)
    assert charts and all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_examples_are_the_same_tasks_before_and_after(finished, phantom_tasks):
    page = Page(write_report(finished))
    ids = {task.id for task in phantom_tasks if task.split == "test"}
    shown = re.findall(r'<article class="example">.*?</article>', page.source, re.S)
    families = {task.family for task in phantom_tasks}
    assert len(shown) == 2 * len(families)  # all became right, so two of each family
    for example in shown:
        assert re.search(r"<code>(.*?)</code>", example)[1] in ids and "became right" in example
        before, after = re.findall(r"<section.*?</section>", example, re.S)
        assert "End of sft" in before and "✗ not right" in before and "! outside of steps" in before
        assert "End of open" in after and "✓ right" in after and "✗" not in re.sub("<.*?>", "", after).replace("❌", "")


def test_images_are_left_out_where_asked(finished):
    assert Page(write_report(finished)).source.count("data:image/jpeg") == 8
    page = Page(write_report(finished, no_images=True))
    assert "data:image" not in page.source and "The films are left out of this page" in page.text
    assert "Is there" in page.text
    recipe = yaml.safe_load((finished / "recipe.yaml").read_text())
    (finished / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"report": {"images": False}}))
    assert "data:image" not in Page(write_report(finished)).source  # as the report at a run's end is written


def test_a_missing_task_set_or_film_is_said(finished):
    rows = pq.read_table(finished / "data" / "tasks.parquet").to_pylist()
    moved = [row | {"images": ["gone.png"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(moved, schema=SCHEMA), finished / "data" / "tasks.parquet")
    page = Page(write_report(finished))
    assert "gone.png: no such image file" in page.text and "Is there" in page.text
    shutil.rmtree(finished / "data")
    page = Page(write_report(finished))
    assert "cannot be read, so questions and films are left out" in page.text and "End of open" in page.text
    assert "could not be read when this card was written" in write_model_card(finished).read_text()


def test_a_failed_run_and_one_that_goes_on(writer):
    start = writer.test("sft", "start", wrong)
    after = writer.stage("sft", "sft", 3, start, wrong)
    writer.stage("closed", "grpo", 1, after, None)
    page = Page(write_report(writer.close("running")))
    assert (
        "This run is still running" in page.text and "closed (reinforcement learning), 1 step: not ended" in page.text
    )
    assert "There is no later test to compare with yet" in page.text and "End of sft" in page.text
    page = Page(write_report(writer.close("failed", why="rollout worker 1 did not answer <in time>")))
    assert "This run failed. rollout worker 1 did not answer <in time>" in page.text
    assert write_model_card(writer.path) is None  # it has no model


def test_a_run_that_stopped_before_its_first_step(writer):
    page = Page(write_report(writer.close("failed", why="no GPU")))
    assert "No step was logged yet" in page.text and "No test task was answered yet" in page.text


def test_a_fault_in_the_report_is_told_and_fails_no_run(finished, capsys):
    (finished / "evaluations.jsonl").write_text('{"task": 1}\n')
    write_pages(finished, LineDisplay())
    out = capsys.readouterr().out
    assert "the report was not written: KeyError" in out and "the model card was not written: KeyError" in out


def test_the_baseline_by_view_stands_beside_the_tests(writer):
    start = writer.test("closed", "start", wrong)
    writer.stage("closed", "grpo", 2, start, lambda task: task.reference)
    view = {"closed_accuracy": (0.4321, 0.4, 0.5)}
    page = Page(write_report(writer.close("finished", baseline={"view": flat(view)})))
    assert (
        re.search(r"closed accuracy\s*0\.000.*1\.000.*0\.432", page.text)
        and "a model that does not beat it" in page.text
    )


def test_what_adaptive_sampling_drew_is_a_table(writer):
    start = writer.test("closed", "start", wrong)
    writer.stage("closed", "grpo", 2, start, lambda task: task.reference)
    shares = {"offered": 8, "drawn": 3, "offered_share": 0.25, "drawn_share": 0.375}
    groups = {"groups": 3, "flat": 1, "pass_rate": 0.5, "flat_share": 1 / 3}
    row = {"family": "binary", "finding": "<b>", **groups, **shares}
    unseen = row | {"finding": "Mass", "groups": 0, "pass_rate": None, "flat_share": None}
    writer.stages[-1]["sampling"] = [row, unseen]
    page = Page(write_report(writer.close("finished")))
    assert "What adaptive sampling drew in stage closed" in page.text
    assert re.search(r"binary\s*<b>\s*25\.0%\s*37\.5%\s*3\s*0\.50\s*33%", page.text)
    assert re.search(r"binary\s*Mass\s*25\.0%\s*37\.5%\s*0\s*–\s*–", page.text)


def test_teachers_and_rejection_sampling_have_charts_and_worst_steps(writer):
    start = writer.test("closed", "start", wrong)
    numbers = {"teacher_kl": 0.5, "teacher_kl_binary": 0.25, "teacher_kl_diagnosis": 0.75, "accepted": 0.125}
    writer.stage("closed", "grpo", 2, start, lambda task: task.reference, **numbers)
    page = Page(write_report(writer.close("finished")))
    words = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    taught = "all from 0.5 to 0.5; binary from 0.25 to 0.25; diagnosis from 0.75 to 0.75"
    assert f"KL to the teacher over the steps: {taught}." in words
    assert "Accepted responses over the steps: share from 0.125 to 0.125." in words
    assert re.search(r"largest KL to the teacher\s*0\.500", page.text)
    assert re.search(r"lowest share of accepted responses \(rejection sampling\)\s*0\.125", page.text)


def test_kept_versions_the_choice_and_what_was_lost_are_shown(finished):
    path = finished / "summary.json"
    summary = json.loads(path.read_text())
    best = Validation("open", 6, 1, 6, "open_micro_f1", (0.5, 0.4, 0.6), {"closed": (-0.2, -0.3, -0.1)})
    event = {"stage": "open", "step": 6, "stage_step": 1, "why": "stage closed lost 0.2", "did": "rehearsal 0% → 10%"}
    veto = {"stage": "open", "step": 4, "stage_step": 0, "why": "source away vetoes it: it fell"}
    model = {"holds": "best", "step": 6, "version": 6, "why": "the best of stage open by its score"}
    more = {"kept": [best.to_dict()], "forgetting": [event], "vetoes": [veto], "model": model}
    path.write_text(json.dumps(summary | more))
    page = Page(write_report(finished))
    score = r"open micro-F1\s*0\.500\s*0\.400 to 0\.600\s*closed -0\.200 \[-0\.300, -0\.100\]"
    assert re.search(rf"6\s*open 1\s*{score}", page.text)
    assert re.search(r"6\s*open 1\s*stage closed lost 0\.2\s*rehearsal 0% → 10%", page.text)
    assert re.search(r"4\s*open 0\s*source away vetoes it: it fell", page.text)
    assert "model/ holds step 6: the best of stage open by its score." in page.text
    card = write_model_card(finished).read_text(encoding="utf-8")
    assert "These are the weights of step 6 of 7: the best of stage open by its score." in card
    assert "- Step 4 (open 0) was vetoed: source away vetoes it: it fell." in card


def test_a_folder_that_is_no_run_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["curlvpr", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2 and "no run folder; it has no recipe.yaml" in capsys.readouterr().err
    (tmp_path / "recipe.yaml").write_text("name: x")
    with pytest.raises(UserError, match="has no summary.json"):
        write_report(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        write_report(tmp_path)


def test_the_model_card(finished, phantom_tasks):
    text = write_model_card(finished).read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    summary = json.loads((finished / "summary.json").read_text())
    end = summary["stages"][-1]["evaluation"]["end"]
    assert front["license"] == "other" and front["library_name"] == "transformers" and "chest-x-ray" in front["tags"]
    [result] = front["model-index"][0]["results"]
    values = {metric["name"].split(" (")[0]: metric["value"] for metric in result["metrics"]}
    assert values["closed accuracy"] == pytest.approx(end["closed_accuracy"], abs=1e-4)
    assert values["open micro-F1"] == pytest.approx(end["open_micro_f1"], abs=1e-4)
    asked = {family for stage in load_recipe(SMOKE).stages for family in (*stage.tasks, *stage.rehearse)}
    train = [task for task in phantom_tasks if task.split == "train" and task.family in asked]
    films = len({task.images for task in train})
    assert f"| phantom | {len(train)} | {films} | CC0-1.0 | not stated |" in text
    assert "Not for clinical use" in text and "training and test are drawn phantoms" in text
    assert "| closed accuracy | 0.000 [0.000, 0.000] | 1.000 [1.000, 1.000] |" in text


def assert_fits_a_phone(path, tmp_path):
    frame = tmp_path / "frame.html"
    page = html.escape(path.read_text(encoding="utf-8"))
    frame.write_text(
        f"""<body><iframe width=390 height=844 srcdoc="{page}"></iframe>
        <script>onload = () => {{
            const root = document.querySelector("iframe").contentDocument.documentElement;
            document.title = "width " + root.scrollWidth + " of " + root.clientWidth + ", height " + root.scrollHeight;
        }}</script>""",
        encoding="utf-8",
    )
    run = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    width, of, height = map(int, re.search(r"<title>width (\d+) of (\d+), height (\d+)</title>", run.stdout).groups())
    assert width <= of <= 390 and height > 2000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_phone_need_not_scroll_sideways(finished, tmp_path):
    assert_fits_a_phone(write_report(finished), tmp_path)
