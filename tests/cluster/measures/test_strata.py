"""Strata of tasks, and findings by frequency."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster.measures import Scores
from cluster.measures.strata import age_band, frequency_group, strata, train_shares
from curriculum.sets.task_table import TaskTable
from tests.support.results import closed, opened


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PA", "AP", ""]),
            st.sampled_from(["F", "M", "O", ""]),
            st.one_of(st.none(), st.floats(0, 120)),
            st.sampled_from(["nih", ""]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_strata_part_the_tasks(people):
    names = ("view", "sex", "age", "source")
    results = [closed(i, True, **dict(zip(names, known, strict=True))) for i, known in enumerate(people)]
    scores = Scores(results, 10, shares={})
    for kind in ("view", "sex", "age", "source"):
        parts = [m.tasks for path, m in scores.paths.items() if path[:2] == ("strata", kind)]
        several = len({strata(r.task)[kind] for r in results}) > 1
        assert sorted(np.concatenate(parts)) == list(range(len(results))) if several else not parts
        for path, measure in scores.paths.items():
            if path[:2] == ("strata", kind):
                assert {strata(results[i].task)[kind] for i in measure.tasks} == {path[2]}


def test_age_bands():
    ages = [0, 17.9, 18, 39, 40, 59, 60, 79, 80, 120]
    assert [age_band(age) for age in ages[::2]] == ["0–17", "18–39", "40–59", "60–79", "80+"]
    assert [age_band(age) for age in ages[1::2]] == ["0–17", "18–39", "40–59", "60–79", "80+"] and age_band(None) == ""


def test_shares_count_films_once_and_healthy_ones_too():
    sick, healthy = (
        opened(0, ("Mass", "oedema"), "").task,
        opened(1, (), "").task.model_copy(update={"images": ("y.png",)}),
    )
    again, unnamed = sick.model_copy(update={"id": "again"}), closed(2, True).task
    shares = train_shares(TaskTable.of([sick, again, healthy, unnamed]))
    assert shares == {"Edema": 0.5, "Mass": 0.5} and train_shares(TaskTable.of([unnamed])) == {}
    groups = {0.11: "head", 0.10: "medium", 0.01: "medium", 0.009: "tail", 0.0: "tail"}
    assert {share: frequency_group(share) for share in groups} == groups
