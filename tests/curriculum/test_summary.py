from collections import Counter

from curriculum.check import check_tasks
from curriculum.summary import EXAMPLES, FAULTS_KEPT, MAX_FINDINGS, Summary
from curriculum.task import Task
from curriculum.taskset import RowFault, TaskRow


def test_the_summary_counts_what_is_there(clean_set):
    folder, rows = clean_set
    summary = Summary()
    for row in check_tasks(folder):
        summary.add(row)
    tables = {table.title: table.rows for table in summary.tables()}
    (tasks,) = (rows for title, rows in tables.items() if title.startswith("Tasks, and"))
    assert [(row[1], row[2:5]) for row in tasks if row[1] in ("binary", "grounding")] == [
        ("binary", ("6", "3", "3")),
        ("grounding", ("6", "3", "3")),
    ]
    lengths = sorted(
        len(row["question"]) + sum(len(text) for _, text in row["options"]) for row in rows if row["family"] == "binary"
    )
    assert next(row for row in tasks if row[1] == "binary")[5] == f"{lengths[5]}, {lengths[11]}, {lengths[11]}"
    golds = Counter(name for row in rows if row["form"] == "names" for name in row["gold"] or ["No finding"])
    golds.update(
        dict(row["options"])[letter] for row in rows if row["family"].endswith("choice") for letter in row["gold"]
    )
    assert {row[0]: sum(map(int, row[1:])) for row in tables["Right answers of choices and lists"]} == golds
    assert set(summary.examples) == {row["family"] for row in rows} and all(
        len(e) == 3 for e in summary.examples.values()
    )
    assert summary.conclusion() == f"no fault in {len(rows)} rows"


def row(number, family="vqa", split="train", faults=(), **fields):
    task = Task(id=f"t{number}", domain="open", family=family, question="?" * number, gold=(), images=(), split=split)
    return TaskRow(number, task.id, task, [RowFault(kind, "is bad") for kind in faults], **fields)


def summary_of(rows, **options):
    summary = Summary(**options)
    for one in rows:
        summary.add(one)
    return summary


def test_lengths_are_median_95th_percentile_and_longest():
    summary = summary_of(row(number) for number in range(1, 101))
    assert summary.tables()[0].rows == [("open", "vqa", "100", "0", "0", "50, 95, 100", "")]


def test_lengths_in_tokens_are_those_that_were_counted():
    rows = [row(1, prompt_tokens=1200, reference_tokens=7), row(2, prompt_tokens=30), row(3)]
    table = summary_of(rows, tokens=True).tables()[0]
    assert table.columns[-2:] == ("prompt", "gold trace") and "in tokens" in table.title
    assert table.rows[0][-2:] == ("30, 1,200, 1,200", "7, 7, 7")


def test_faults_are_counted_and_the_first_of_each_kind_kept():
    rows = [row(number, faults=["image", "answer"] if number == 1 else ["image"]) for number in range(1, 26)]
    summary = summary_of([*rows, row(99)])
    assert summary.conclusion() == "26 faults in 25 of 26 rows: image 25, answer 1"
    assert len(summary.faults) == FAULTS_KEPT + 1 and summary.faults[0] == "row 1 (0-based), task 't1': is bad"
    assert [task.id for tasks in summary.examples.values() for task in tasks] == ["t99"]
    assert summary_of([row(1, faults=["image"])]).conclusion() == "1 fault in 1 of 1 rows: image 1"


def test_examples_are_drawn_evenly_and_always_the_same():
    examples = [task.id for task in summary_of(row(number) for number in range(1, 201)).examples["vqa"]]
    assert len(examples) == EXAMPLES and examples != ["t1", "t2", "t3"]
    assert examples == [task.id for task in summary_of(row(number) for number in range(1, 201)).examples["vqa"]]


def test_rare_findings_and_sizes_are_joined():
    names = [f"finding {number}" for number in range(MAX_FINDINGS + 2)]
    tasks = [
        Task(id=f"t{number}{n}", domain="open", family="diagnosis", question="?", gold=(name,), images=())
        for number, name in enumerate(names)
        for n in range(2 if number < MAX_FINDINGS else 1)
    ]
    rows = [TaskRow(n, task.id, task, [], new_sizes=[(n + 1, 5)] if n < 10 else []) for n, task in enumerate(tasks)]
    tables = {table.title: table.rows for table in summary_of(rows).tables()}
    assert tables["Right answers of choices and lists"][-1] == ("2 rarer ones", "2", "0", "0")
    assert tables["Image files"][-1] == ("2 other sizes, sides of 1 to 10", "2")
    assert "Tasks by what is known of their films" not in tables  # nothing is
