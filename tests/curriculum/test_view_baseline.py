from curriculum.sets.task_table import TaskTable
from curriculum.task import Task
from curriculum.view_baseline import view_baseline


def test_view_baseline_answers_from_view_and_question():
    def film(id, view, mass, seen):
        common = dict(images=("x.png",), view=view)
        options = {"A": "Mass", "B": "Edema", "C": "Hernia"}
        return [
            Task(
                id=f"{id}b",
                domain="closed",
                family="binary",
                question="Is there Mass?",
                options={"A": "Yes", "B": "No"},
                gold=("A" if mass else "B",),
                **common,
            ),
            Task(
                id=f"{id}m",
                domain="closed",
                family="multiple_choice",
                question="Which?",
                options=options,
                gold=tuple(letter for letter, name in options.items() if name in seen) or ("C",),
                **common,
            ),
            Task(id=f"{id}d", domain="open", family="diagnosis", question="All?", gold=tuple(seen), **common),
        ]

    train = [task for n in range(4) for task in film(f"ap{n}", "AP", n > 0, ["Mass", "Edema"] if n > 0 else [])]
    train += [task for n in range(4) for task in film(f"pa{n}", "PA", n == 0, ["Edema"] if n == 0 else [])]
    answers = view_baseline(
        TaskTable.of(train),
        film("x", "AP", False, []) + film("y", "PA", True, ["Mass"]) + film("z", "", True, ["Mass"]),
    )
    assert [answers[key] for key in ("xb", "xm", "xd")] == [("A",), ("A", "B"), ("Edema", "Mass")]
    assert [answers[key] for key in ("yb", "ym", "yd")] == [("B",), ("C",), ("No finding",)]
    assert answers["zd"] == ("No finding",) and len(answers["zb"]) == 1  # a view that train never had
