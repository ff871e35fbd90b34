import json

import pytest

from curriculum.importers.reports.radgraph import import_radgraph
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, mimic_tables, names_in


def graph(*entities):
    """Entities as (tokens, label) or (tokens, label, relation, number of the other entity)."""
    numbered = {}
    for number, (tokens, label, *relation) in enumerate(entities, 1):
        relations = [[relation[0], str(relation[1])]] if relation else []
        numbered[str(number)] = dict(tokens=tokens, label=label, start_ix=number, end_ix=number, relations=relations)
    return {"text": "…", "entities": numbered, "data_source": None, "data_split": "inference"}


GRAPHS = {
    "p10/p10000001/s50000001.txt": graph(
        ("pericardial", "ANAT-DP"),
        ("effusion", "OBS-DP", "located_at", 1),
        ("pleural", "ANAT-DP"),
        ("thickening", "OBS-DP", "located_at", 3),
        ("pneumothorax", "OBS-DA"),
        ("Heart", "ANAT-DP"),
        ("enlarged", "OBS-DP", "located_at", 6),
    ),
    "p10/p10000002/s50000002.txt": graph(
        ("right", "ANAT-DP"),
        ("opacity", "OBS-DP", "located_at", 1),
        ("pneumonia", "OBS-U"),
        ("effusion", "OBS-DA"),
        ("effusion", "OBS-DP"),
    ),
    "p10/p10000003/s50000003.txt": graph(
        ("lungs", "ANAT-DP"), ("clear", "OBS-DP", "located_at", 1), ("edema", "OBS-DA")
    ),
    "p10/p10000004/s50000004.txt": graph(("scoliosis", "OBS-DP"), ("edema", "OBS-DA")),
}
FILMS = {
    f"f{n}": (10000000 + n, 50000000 + n, "LATERAL" if n == 3 else "PA", "test" if n == 4 else "train")
    for n in range(1, 7)
}


def radgraph(folder, graphs=GRAPHS, **options):
    path = folder / "MIMIC-CXR_graphs.json"
    path.write_text(json.dumps(graphs))
    tables = mimic_tables(folder, FILMS)
    summary = import_radgraph(folder / "files", path, tables, folder / "out", **options)
    return summary, read_tasks(folder / "out")


def test_observations_become_findings_by_what_they_are_related_to(tmp_path):
    summary, tasks = radgraph(tmp_path)
    films = [by_family(tasks, f"f{n}.jpg") for n in range(1, 5)]
    assert films[0]["diagnosis"].gold == ("Cardiomegaly", "Pleural Thickening")  # the effusion is pericardial
    assert "Pleural Effusion, Lung Opacity" not in films[1] and "diagnosis" not in films[1]  # pneumonia is unsure
    assert set(films[1]["multiple_choice"].gold) and films[2]["diagnosis"].gold == ()
    # scoliosis is none of the findings, so that it is not known that the film shows nothing
    assert "diagnosis" not in films[3] and "single_choice" not in films[3] and films[3]["binary"].gold == ("B",)
    assert summary.films == 4 and films[2]["view"].view == "Lateral" and films[3]["view"].split == "test"


def test_one_mention_that_is_present_outweighs_one_that_is_absent(tmp_path):
    _, tasks = radgraph(tmp_path)
    for task in tasks:
        if task.images[-1].endswith("f2.jpg") and task.family.endswith("_choice"):
            right = {task.options[letter] for letter in task.gold}
            assert right <= {"Lung Opacity", "Pleural Effusion"} and "Pneumonia" not in names_in(task)


def test_the_reason_of_a_wrong_option_is_what_the_report_says(tmp_path):
    reasons = {}
    for seed in range(20):
        for task in radgraph(tmp_path, seed=seed)[1]:
            if task.images[-1].endswith("f1.jpg"):
                reasons |= {task.options[letter]: reason for letter, reason in task.why_wrong.items()}
    assert reasons["Pneumothorax"] == "labelled absent" and reasons["Mass"] == "not mentioned"
    assert reasons["No finding"] == "the film shows a finding"


def test_labelers_who_disagree_leave_a_finding_unsure(tmp_path):
    mass, both = ("mass", "Observation::definitely present"), ("edema", "OBS-DP")
    two = {"text": "…", "labeler_1": graph(mass, both), "labeler_2": graph(both, ("hernia", "OBS-DA"))}
    _, tasks = radgraph(tmp_path, {"p10/p10000001/s50000001.txt": two}, uncertain=True)
    asked = {task.question: task.options[task.gold[0]] for task in tasks if task.family == "certainty"}
    assert asked.pop("Is there mass?".replace("mass", "Mass")) == "Uncertain" and len(asked) == 1
    assert not [task for task in tasks if task.family != "certainty" and "Mass" in names_in(task)]


def test_reports_without_films_are_counted(tmp_path):
    more = {"p19/p19/s59999999.txt": graph(("mass", "OBS-DP")), "train/patient1/study1": graph(("mass", "OBS-DP"))}
    summary, _ = radgraph(tmp_path, GRAPHS | more)
    assert summary.skipped == {
        "whose study is not in MIMIC-CXR-JPG's metadata": 1,
        "whose name is no report of MIMIC-CXR": 1,
    }


@pytest.mark.parametrize(
    "broken, words",
    [
        ({"text": "…"}, "neither 'entities' nor 'labeler_1' is there"),
        (graph(("mass", "OBS-XX")), "no graph of RadGraph .KeyError: 'XX'"),
        (graph(("mass", "OBS-DP", "modify", 7)), "no graph of RadGraph .KeyError: '7'"),
        ({"entities": [1]}, "no graph of RadGraph"),
    ],
)
def test_bad_graphs_are_named_in_one_line(tmp_path, broken, words):
    with pytest.raises(TaskSetError, match=f"report 'p10/p10000001/s50000001.txt': {words}") as caught:
        radgraph(tmp_path, {"p10/p10000001/s50000001.txt": broken})
    assert "\n" not in str(caught.value)


def test_a_list_is_no_file_of_graphs(tmp_path):
    with pytest.raises(TaskSetError, match="an object of objects is needed"):
        radgraph(tmp_path, [graph()])
