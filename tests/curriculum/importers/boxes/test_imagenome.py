import json
import zipfile

import pytest

from curriculum.importers.boxes.imagenome import import_imagenome
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, mimic_tables

# left, top, right, bottom in pixels of a film of 100 × 200
REGIONS = {
    "right lung": (5, 20, 40, 150),
    "right lower lung zone": (5, 90, 40, 150),
    "left lung": (60, 20, 95, 150),
    "left lower lung zone": (60, 90, 95, 150),
    "left upper lung zone": (60, 20, 95, 60),
    "cardiac silhouette": (41, 80, 59, 140),
    "abdomen": (5, 160, 95, 240),
    "trachea": (120, 5, 130, 30),  # beside the film
}
FINDING = "anatomicalfinding|yes|atelectasis"


def region(name):
    edges = zip(("original_x1", "original_y1", "original_x2", "original_y2"), REGIONS[name], strict=True)
    return {"object_id": f"x_{name}", "bbox_name": name, "x1": 1, "y1": 2, "x2": 3, "y2": 4, **dict(edges)}


def said(name, *phrases):
    return {"bbox_name": name, name: True, "attributes": list(phrases), "phrases": ["…" for _ in phrases]}


def compared(prior, current, name, *directions, finding=FINDING):
    return {
        "object_id": f"{prior}_{name}",
        "subject_id": f"{current}_{name}",
        "bbox_name": name,
        "relationship_names": [f"comparison|yes|{direction}" for direction in directions],
        "attributes": [finding, "nlp|yes|abnormal"],
    }


def graph(attributes=(), relationships=()):
    return {
        "image_id": "…",
        "viewpoint": "AP",
        "objects": [region(name) for name in REGIONS],
        "attributes": list(attributes),
        "relationships": list(relationships),
    }


GRAPHS = {
    "aa": graph(),
    "bb": graph(
        [
            said("right lower lung zone", [FINDING, "texture|yes|streaky"], ["nlp|yes|abnormal"]),
            said("left lung", ["anatomicalfinding|no|atelectasis"]),
            said("cardiac silhouette", ["disease|no|pneumonia"], ["disease|yes|pneumonia"]),
        ],
        [
            compared("aa", "bb", "right lower lung zone", "worsened"),
            compared("aa", "bb", "left lung", "improved"),
            compared("aa", "bb", "left lung", "worsened"),
        ],
    ),
    "cc": graph([], [compared("zz", "cc", "left lung", "improved")]),
}


def imagenome(folder, graphs=GRAPHS, seed=0, zipped=False):
    films = {"aa": (10000001, 50000001, "AP", "train"), "bb": (10000001, 50000002, "PA", "train")}
    tables = mimic_tables(folder, films | {"cc": (10000002, 50000003, "AP", "test")})
    path = folder / "scene_graph"
    path.mkdir(exist_ok=True)
    for id, content in graphs.items():
        (path / f"{id}_SceneGraph.json").write_text(content if isinstance(content, str) else json.dumps(content))
    if zipped:
        with zipfile.ZipFile(folder / "scene_graph.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"scene_graph/{file.name}")
        path = folder / "scene_graph.zip"
    return import_imagenome(folder / "files", path, tables, folder / "out", seed), read_tasks(folder / "out")


def test_a_film_is_asked_about_regions_findings_and_changes(tmp_path):
    _, tasks = imagenome(tmp_path)
    found = {task.family: task for task in tasks if task.id.startswith("bb-")}
    assert found["location"].question == "Where is atelectasis seen?"
    assert found["location"].options[found["location"].gold[0]] == "right lower lung zone"
    change = found["progression"]
    assert change.question == "What became of atelectasis in the right lower lung zone since the prior film?"
    assert [path[-6:] for path in change.images] == ["aa.jpg", "bb.jpg"] and change.captions[0] == "prior film"
    assert change.options[change.gold[0]] == "Worsened"
    assert {(task.patient, task.split, task.view) for task in found.values()} == {("p10000001", "train", "PA")}
    assert_gold_is_answerable(tasks)


def test_wrong_regions_overlap_none_with_the_finding(tmp_path):
    reasons = {}
    for seed in range(12):
        _, tasks = imagenome(tmp_path, seed=seed)
        (task,) = (task for task in tasks if task.family == "location")
        reasons |= {task.options[letter]: reason for letter, reason in task.why_wrong.items()}
        assert len(task.why_wrong) == 3
    assert reasons.pop("left lung") == "labelled absent"
    assert set(reasons) == {"left lower lung zone", "left upper lung zone", "cardiac silhouette", "abdomen"}
    assert set(reasons.values()) == {"other region"}  # the right lung holds the right lower zone


def test_yes_and_no_are_asked_only_where_the_report_says_one_of_them(tmp_path):
    asked = set()
    for seed in range(12):
        _, tasks = imagenome(tmp_path, seed=seed)
        asked |= {(task.question, task.gold) for task in tasks if task.family == "region_binary"}
    assert asked == {
        ("Is there atelectasis in the right lower lung zone?", ("A",)),
        ("Is there atelectasis in the left lung?", ("B",)),
    }  # not pneumonia, of which both is said


def test_boxes_are_those_in_the_film(tmp_path):
    gold = set()
    for seed in range(30):
        _, tasks = imagenome(tmp_path, seed=seed)
        gold |= {(task.question.partition("?")[0], task.gold) for task in tasks if task.family == "region_grounding"}
    assert ("Where is the abdomen", ("[50, 800, 950, 1000]",)) in gold  # cut off at the bottom of the film
    assert "Where is the trachea" not in {question for question, _ in gold}


def test_a_zip_file_is_read_like_a_folder_and_what_is_left_out_is_counted(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    summary, tasks = imagenome(tmp_path / "a", GRAPHS | {"qq": graph()}, zipped=True)
    _, again = imagenome(tmp_path / "b", GRAPHS)
    assert [task.id for task in tasks] == [task.id for task in again]
    assert summary.skipped == {
        "of films that MIMIC-CXR-JPG's metadata do not list": 1,
        "that compare with a film that MIMIC-CXR-JPG's metadata do not list": 1,
    }


@pytest.mark.parametrize(
    "broken, words",
    [
        ("{", "no scene graph of Chest ImaGenome"),
        ("[]", "no scene graph of Chest ImaGenome"),
        ({"objects": []}, "no scene graph of Chest ImaGenome .KeyError: 'attributes'"),
        (graph() | {"objects": [region("abdomen") | {"original_x1": "a"}]}, "original_x1 is 'a'; a number is needed"),
    ],
)
def test_bad_graphs_are_named_in_one_line(tmp_path, broken, words):
    with pytest.raises(TaskSetError, match=f"aa_SceneGraph.json: .*{words}") as caught:
        imagenome(tmp_path, {"aa": broken})
    assert "\n" not in str(caught.value)


def test_what_holds_no_graphs_is_refused(tmp_path):
    with pytest.raises(TaskSetError, match="no file is below this folder whose name ends with _SceneGraph.json"):
        imagenome(tmp_path, {})
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(TaskSetError, match="neither a folder of scene graphs nor scene_graph.zip"):
        import_imagenome(tmp_path, tmp_path / "x.zip", tmp_path, tmp_path / "out")
