import pytest

from curriculum.importers.reports.texts import import_reports
from curriculum.taskset import TaskSetError, read_tasks


def table(folder, rows, head="id,report,labels"):
    (folder / "reports.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    return folder / "reports.csv"


ROWS = [
    'a,"Large effusion,\nno mass.",Effusion',
    "b,Both lungs clear.,No finding",
    "c,Nodule or mass.,Effusion|Mass",
    "d,___,Mass",
    "e,Not read.,",
    ",No id.,Mass",
]


def test_a_table_of_reports(tmp_path):
    summary = import_reports(table(tmp_path, ROWS), tmp_path / "out")
    tasks = {task.id: task for task in read_tasks(tmp_path / "out")}
    assert tasks["a-findings"].context == "Report: Large effusion, no mass."
    assert tasks["a-findings"].gold == ("Effusion",) and tasks["a-findings"].images == ()
    # Report a could be asked about the two findings that the table names, c states both.
    assert {id for id in tasks if id.startswith("a-")} == {"a-findings", "a-binary-effusion", "a-binary-mass"}
    assert (tasks["a-binary-effusion"].gold, tasks["a-binary-mass"].gold) == (("A",), ("B",))
    assert {task.source for task in tasks.values()} == {"reports"}
    assert {task.patient for task in tasks.values()} <= {"a", "b", "c"}
    assert dict(summary.skipped) == {"without an id": 1, "without a text": 1, "whose findings are not known": 1}


def test_patients_and_splits_of_the_table_are_kept(tmp_path):
    rows = [f"r{n},Text {n}.,{'Mass' if n % 2 else 'Edema'},p{n // 2},{'train' if n < 6 else 'test'}" for n in range(8)]
    import_reports(table(tmp_path, rows, "id,report,labels,patient_id,split"), tmp_path / "out")
    tasks = list(read_tasks(tmp_path / "out"))
    assert {task.patient for task in tasks} == {"p0", "p1", "p2", "p3"}
    assert {task.patient for task in tasks if task.split == "test"} == {"p3"}


@pytest.mark.parametrize("cell", ["Effusion|Mass", "Effusion;Mass", '"Effusion, Mass"', "Effusion ;  Mass"])
def test_findings_are_listed_as_in_other_tables(tmp_path, cell):
    rows = [row.replace("Effusion|Mass", cell) for row in ROWS]
    import_reports(table(tmp_path, rows), tmp_path / "out")
    assert {task.id: task.gold for task in read_tasks(tmp_path / "out")}["c-findings"] == ("Effusion", "Mass")


@pytest.mark.parametrize("words", ["No finding", "No Finding", "None"])
def test_a_report_without_findings_is_marked_in_either_case(tmp_path, words):
    import_reports(table(tmp_path, [*ROWS, f"f,Clear.,{words}", "g,Edema.,Edema"]), tmp_path / "out")
    listed = {task.question.partition(": ")[2] for task in read_tasks(tmp_path / "out") if task.domain == "open"}
    assert listed == {"Edema, Effusion, Mass?"}


@pytest.mark.parametrize(
    "rows, head, words",
    [
        (ROWS, "id,text,labels", "column 'report' is missing"),
        (["a,Clear.,No finding", "b,Mass.,Mass"], "id,report,labels", r"names the findings \['Mass'\]"),
        ([*ROWS, "f,Clear.,No finding|Mass"], "id,report,labels", "row 6 .*or 'No finding' alone"),
        ([*ROWS, "f,Clear.,None|Mass"], "id,report,labels", "row 6 .*'None' is no finding"),
        ([*ROWS, "f,Clear.,XXXX|Mass"], "id,report,labels", "row 6 .*'XXXX' is no finding"),
        ([*ROWS, "f,Mass.,Mass|"], "id,report,labels", "row 6 .*labels 'Mass|'; findings separated by"),
        ([*ROWS, "f,Mass.,Mass|Mass"], "id,report,labels", "row 6 .*each once"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(tmp_path, rows, head, words):
    with pytest.raises(TaskSetError, match=words):
        import_reports(table(tmp_path, rows, head), tmp_path / "out")
