import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curriculum.stages import Curriculum, Gate, Plateau, StageConfig


def gate(**changes):
    return Gate(**(dict(measure="closed_accuracy", every=10, max_steps=100) | changes))


def stage(name="closed", kind="grpo", tasks=None, **changes):
    gates = {key: changes.pop(key) for key in list(changes) if key in Gate.model_fields}
    return StageConfig(name=name, kind=kind, tasks=tasks or {"binary": 1.0}, gate=gate(**gates), **changes)


@pytest.mark.parametrize(
    "changes, step, scores, reason",
    [
        ({}, 50, [0.1, 0.9], None),
        ({}, 99, [1.0], None),
        ({}, 100, [0.1], "maximum"),
        ({}, 101, [], "maximum"),
        ({"threshold": 0.8}, 10, [0.79], None),
        ({"threshold": 0.8}, 10, [0.8], "threshold"),
        ({"threshold": 0.8}, 20, [0.9, 0.7], None),  # the newest counts
        ({"threshold": 0.8}, 100, [0.9], "threshold"),
        ({"threshold": 0.8}, 0, [], None),
        ({"threshold": 0.8, "min_steps": 30}, 29, [0.9], None),
        ({"threshold": 0.8, "min_steps": 30}, 30, [0.9], "threshold"),
        ({"plateau": Plateau(evaluations=2, min_gain=0.1)}, 30, [0.5, 0.5], None),  # nothing to gain over yet
        ({"plateau": Plateau(evaluations=2, min_gain=0.1)}, 30, [0.5, 0.55, 0.59], "plateau"),
        ({"plateau": Plateau(evaluations=2, min_gain=0.1)}, 30, [0.5, 0.61, 0.5], None),
        (
            {"plateau": Plateau(evaluations=2, min_gain=0.1)},
            30,
            [0.5, 0.7, 0.3, 0.6, 0.75],
            "plateau",
        ),  # the best before
        ({"plateau": Plateau(evaluations=2, min_gain=0.0)}, 30, [0.5, 0.5, 0.5], None),  # no gain was asked for
        ({"plateau": Plateau(evaluations=2, min_gain=0.0)}, 30, [0.5, 0.4, 0.4], "plateau"),
        ({"plateau": Plateau(evaluations=1, min_gain=0.1), "min_steps": 40}, 30, [0.5, 0.5], None),
        ({"plateau": Plateau(evaluations=1, min_gain=0.1), "threshold": 0.5}, 30, [0.5, 0.5], "threshold"),
        ({"min_steps": 100}, 100, [0.1], "maximum"),
    ],
)
def test_why_a_stage_ends(changes, step, scores, reason):
    assert gate(**changes).reason(step, scores) == reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: gate(min_steps=101),
        lambda: gate(threshold=0),
        lambda: gate(threshold=1.1),
        lambda: gate(every=0),
        lambda: gate(max_steps=0),
        lambda: gate(measure="loss"),
        lambda: stage(name="a b"),
        lambda: stage(tasks={"a": -1.0, "b": 2.0}),
        lambda: stage(tasks={"a": 0.0}),
        lambda: stage(rehearsal=0.2),
        lambda: stage(rehearse={"a": 1.0}),
        lambda: stage(rehearsal=1.0, rehearse={"a": 1.0}),
        lambda: stage(rehearsal=0.2, rehearse={"a": 0.0}),
        lambda: stage(rehearsal=0.2, rehearse={"a": -1.0, "b": 2.0}),
        lambda: stage(extra=1),
        lambda: StageConfig(name="x", kind="sft", tasks={}, gate=gate()),
    ],
)
def test_stages_that_cannot_be_are_refused(make):
    with pytest.raises(ValidationError):
        make()


def test_rehearsal_takes_its_share_from_the_stage():
    assert stage(tasks={"a": 1, "b": 3}).mixture == {"a": 0.25, "b": 0.75}
    mixture = stage(tasks={"a": 1, "b": 3}, rehearsal=0.2, rehearse={"b": 1, "c": 4}).mixture
    assert mixture == pytest.approx({"a": 0.2, "b": 0.6 + 0.04, "c": 0.16})


weights = st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 9), min_size=1)


@given(weights, weights, st.floats(0.01, 0.99))
def test_shares_sum_to_one(tasks, rehearse, share):
    mixture = stage(tasks=tasks, rehearsal=share, rehearse=rehearse).mixture
    assert sum(mixture.values()) == pytest.approx(1) and set(mixture) == set(tasks) | set(rehearse)
    for family, value in mixture.items():
        ours = (1 - share) * tasks.get(family, 0) / sum(tasks.values())
        assert value == pytest.approx(ours + share * rehearse.get(family, 0) / sum(rehearse.values()))


def walk(curriculum, score, steps=10**6):
    """Runs as the run does; the steps taken."""
    for step in range(steps):
        if curriculum.finished:
            return step
        curriculum.step_done()
        if curriculum.evaluation_due:
            curriculum.observe(score(step))
    return steps


def test_a_curriculum_walks_its_stages_and_records_why():
    curriculum = Curriculum(
        [
            stage("sft", "sft", max_steps=25),
            stage("closed", every=5, threshold=0.5, max_steps=90),
            stage("open", plateau=Plateau(evaluations=1, min_gain=0.1), max_steps=90),
        ]
    )
    assert curriculum.stage.name == "sft" and not curriculum.finished
    assert walk(curriculum, lambda step: 0.3 if step < 40 else 0.6) == 25 + 20 + 20
    assert [(r.name, r.steps, r.reason) for r in curriculum.records] == [
        ("sft", 25, "maximum"),
        ("closed", 20, "threshold"),
        ("open", 20, "plateau"),
    ]
    assert curriculum.records[0].scores == [(10, 0.3), (20, 0.3), (25, 0.3)]
    assert curriculum.records[1].scores == [(5, 0.3), (10, 0.3), (15, 0.3), (20, 0.6)]


gates = st.builds(
    lambda every, low, more, threshold, plateau: dict(
        every=every, min_steps=low, max_steps=low + more, threshold=threshold, plateau=plateau
    ),
    st.integers(1, 12),
    st.integers(0, 20),
    st.integers(1, 20),
    st.none() | st.floats(0.1, 1),
    st.none() | st.builds(Plateau, evaluations=st.integers(1, 4), min_gain=st.floats(0, 0.5)),
)
scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(lambda values: lambda step: values[step % len(values)])
stages = st.lists(gates, min_size=1, max_size=4).map(lambda all: [stage(f"s{n}", **gate) for n, gate in enumerate(all)])


@given(stages, scores)
def test_a_curriculum_ends_within_the_sum_of_its_maxima(stages, score):
    curriculum = Curriculum(stages)
    steps = walk(curriculum, score)
    assert curriculum.finished and steps == sum(r.steps for r in curriculum.records)
    for config, record in zip(stages, curriculum.records, strict=True):
        assert config.gate.min_steps <= record.steps <= config.gate.max_steps and record.reason
        assert record.reason != "maximum" or record.steps == config.gate.max_steps
        assert [step for step, _ in record.scores] == sorted({step for step, _ in record.scores})


@given(stages, scores, st.integers(0, 60))
def test_a_restored_curriculum_goes_on_where_it_was(stages, score, before):
    whole, first, restored = Curriculum(stages), Curriculum(stages), Curriculum(stages)
    walk(whole, score)
    taken = walk(first, score, before)
    restored.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert restored.state_dict() == first.state_dict()
    walk(restored, lambda step: score(taken + step))
    assert restored.state_dict() == whole.state_dict()
    assert Curriculum(stages).records[0].steps == 0


def test_a_state_is_not_changed_by_going_on():
    curriculum = Curriculum([stage()])
    state = curriculum.state_dict()
    walk(curriculum, lambda step: 0.5)
    assert state == Curriculum([stage()]).state_dict()


@pytest.mark.parametrize("other", [[stage("x")], [stage("closed", "sft")], [stage(), stage("open")]])
def test_the_state_of_other_stages_is_refused(other):
    ours = Curriculum([stage()])
    with pytest.raises(ValueError, match="the recipe has .*'closed', 'grpo'"):
        ours.load_state_dict(Curriculum(other).state_dict())
    assert ours.state_dict() == Curriculum([stage()]).state_dict()


def test_what_holds_a_stage_back_keeps_it_from_its_threshold_alone():
    assert gate(threshold=0.8).reason(10, [0.9], held_back=True) is None
    assert gate(threshold=0.8).reason(100, [0.9], held_back=True) == "maximum"
    assert gate(threshold=0.8, plateau=Plateau(evaluations=1, min_gain=0.1)).reason(20, [0.9, 0.9], True) == "plateau"
    curriculum = Curriculum([stage(threshold=0.5, every=1)])
    curriculum.step_done()
    assert curriculum.observe(0.6, ["format 0.8 is below 0.9"]) is None
    assert curriculum.record.held_back == ["format 0.8 is below 0.9"]
    curriculum.step_done()
    assert curriculum.observe(0.6) == "threshold" and curriculum.records[0].held_back == []


def test_a_changed_rehearsal_is_that_of_the_present_stage_and_survives_a_resume():
    curriculum = Curriculum([stage("a"), stage("b", tasks={"diagnosis": 1.0})])
    curriculum.rehearse("b", 0.25, {"binary": 1.0})
    assert curriculum.stage.mixture == {"binary": 1.0}, "not that of another one"
    curriculum.position = 1
    assert curriculum.stage.mixture == {"diagnosis": 0.75, "binary": 0.25}
    resumed = Curriculum(curriculum.stages)
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict())))
    assert resumed.stage == curriculum.stage
    curriculum.rehearse("b", 0.0, {})
    assert curriculum.stage.mixture == {"diagnosis": 1.0}


def test_a_state_of_an_earlier_release_is_taken():
    curriculum = Curriculum([stage()])
    state = curriculum.state_dict()
    del state["rehearsed"], state["records"][0]["held_back"]
    curriculum.load_state_dict(state)
    assert curriculum.state_dict()["records"][0]["held_back"] == []


@pytest.mark.parametrize("floors", [{"format": 1.1}, {"measures": {"rouge": 0.1}}, {"recall": {"Mass": -0.1}}])
def test_a_floor_that_cannot_be_is_refused(floors):
    with pytest.raises(ValidationError):
        gate(floors=floors)
