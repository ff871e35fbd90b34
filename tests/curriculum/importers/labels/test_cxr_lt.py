import pytest

from curriculum.importers.labels.cxr_lt import import_cxr_lt
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, draw_film, names_in, write_csv

META = "dicom_id,subject_id,study_id,ViewPosition,ViewCodeSequence_CodeMeaning,fpath"
COMMON = ["Edema", "Hernia", "Mass", "Normal", "Support Devices"]
ZERO_SHOT = ["Bulla", "Scoliosis"]


def row(id, *shown, subject=None, columns=(*COMMON, *ZERO_SHOT), **changes):
    subject = subject or 10000000 + int(id[1:])
    labels = {name: int(name in shown) for name in columns}
    return (
        dict(dicom_id=id, subject_id=subject, study_id=1, ViewPosition="PA", fpath=f"files/{id}.jpg") | labels | changes
    )


def table(folder, name, rows):
    for each in rows:
        draw_film(folder / f"files/{each['dicom_id']}.jpg")
    columns = [name for name in rows[0] if name not in META.split(",")]
    return write_csv(folder / name, ",".join([META, *columns]), rows)


def cxr_lt(folder, *tables):
    return import_cxr_lt(folder / "files", tables, folder / "out"), read_tasks(folder / "out")


def all_labels(folder):
    """201 train films, in which edema is common, a mass is not, and a hernia is rare; and two test films."""
    rows = [row(f"f{n}", "Edema", split="train") for n in range(150)]
    rows += [row(f"f{n}", "Mass", split="train") for n in range(150, 160)]
    rows += [row(f"f{n}", "Normal", "Support Devices", split="train") for n in range(160, 198)]
    rows += [row("f198", "Hernia", "Edema", split="train"), row("f199", "Edema", "Scoliosis", split="train")]
    rows += [row("f200", "Scoliosis", split="development"), row("f201", "Scoliosis", "Mass", split="test")]
    rows += [row("f202", split="train"), row("f203", "Normal", "Mass", split="test")]
    return table(folder, "labels.csv", rows)


def test_the_source_says_which_part_of_the_distribution_a_film_is_of(tmp_path):
    summary, tasks = cxr_lt(tmp_path, all_labels(tmp_path))
    source = {task.images[-1].rpartition("/")[2]: task.source.partition("/")[2] for task in tasks}
    assert [source[f"f{n}.jpg"] for n in (0, 150, 160, 198, 199, 200, 201)] == [
        *("head", "medium", "head", "tail", "head", "zero-shot", "zero-shot"),
    ]
    assert {task.split for task in tasks if task.images[-1].endswith("f200.jpg")} == {"val"}
    # nothing at all, and normal with a mass, do not say what the film shows
    assert summary.unlabelled == 2


def test_zero_shot_labels_are_asked_about_in_val_and_test_only(tmp_path):
    _, tasks = cxr_lt(tmp_path, all_labels(tmp_path))
    for task in tasks:
        if task.split == "train" and task.family not in ("image_text_matching", "view"):
            assert not names_in(task) & set(ZERO_SHOT), task
    assert by_family(tasks, "f201.jpg")["diagnosis"].gold == ("Mass", "Scoliosis")
    assert "diagnosis" not in by_family(tasks, "f199.jpg")  # it shows one that must not be named
    assert by_family(tasks, "f160.jpg")["diagnosis"].gold == ("Support Devices",)


def test_tables_without_some_labels_leave_these_unasked(tmp_path):
    train = [row(f"f{n}", "Edema", columns=COMMON) for n in range(4)] + [row("f4", "Normal", columns=COMMON)]
    task3 = [row("f8", "Bulla", columns=ZERO_SHOT), row("f9", columns=ZERO_SHOT)]
    _, tasks = cxr_lt(
        tmp_path, table(tmp_path, "train_labeled.csv", train), table(tmp_path, "test_labeled_task3.csv", task3)
    )
    assert {task.split for task in tasks if "f9" in task.id} == {"test"}
    for task in tasks:
        asked = names_in(task) & {*COMMON, *ZERO_SHOT}
        if task.family != "image_text_matching":
            assert asked <= set(ZERO_SHOT if task.id[:2] in ("f8", "f9") else COMMON), task
    # nobody looked for other findings in the films of task 3
    assert "diagnosis" not in by_family(tasks, "f8.jpg") and "diagnosis" in by_family(tasks, "f0.jpg")
    assert "single_choice" not in by_family(tasks, "f9.jpg") and "binary" in by_family(tasks, "f9.jpg")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"Mass": "2"}, "row 0 .*'f1'.*Mass is '2'; a label is 0 or 1"),
        ({"Mass": "yes"}, "row 0 .*'f1'.*Mass is 'yes'; a number is needed"),
        ({"subject_id": ""}, "row 0 .*dicom_id, subject_id and columns of labels are needed"),
        ({"split": "fold"}, "row 0 .*split 'fold' must be train, val or test"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        cxr_lt(tmp_path, table(tmp_path, "labels.csv", [row("f1", "Mass", split="train") | changes]))
    assert "\n" not in str(caught.value)
