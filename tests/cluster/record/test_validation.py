"""Which versions are the best."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cluster.record.validation import Validation, best_of_each_stage


def validation(step, value, stage="closed", lost=()):
    changes = dict.fromkeys(lost, (-0.2, -0.3, -0.1))
    return Validation(stage, step, step, step, "closed_accuracy", (value, value - 0.1, value + 0.1), changes)


def test_what_was_learnt_before_counts_first_then_the_score_then_the_later_step():
    versions = [
        validation(10, 0.5),
        validation(20, 0.9, lost=["sft"]),
        validation(30, 0.6),
        validation(40, 0.6),
        validation(50, 0.1, "open"),
    ]
    assert [v.step for v in best_of_each_stage(versions, 1)] == [40, 50]
    assert [v.step for v in best_of_each_stage(versions, 4)] == [40, 30, 10, 20, 50]
    assert best_of_each_stage(versions, 0) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1)), unique_by=lambda pair: pair), st.integers(1, 3))
def test_no_version_that_is_left_out_is_better_than_a_kept_one(pairs, keep):
    versions = [validation(step, value, stage) for step, (stage, value) in enumerate(pairs)]
    kept = best_of_each_stage(versions, keep)
    for stage in "ab":
        of_stage = [v for v in versions if v.stage == stage]
        mine = [v for v in kept if v.stage == stage]
        assert len(mine) == min(keep, len(of_stage))
        assert all(v in mine or v.score[0] <= min(m.score[0] for m in mine) for v in of_stage)


def test_a_vetoed_version_is_worse_than_any_that_is_not():
    vetoed = replace(validation(20, 0.9), vetoed={"away": (-0.1, -0.15, -0.05)})
    versions = [validation(10, 0.2, lost=["sft"]), vetoed]
    assert [v.step for v in best_of_each_stage(versions, 2)] == [10, 20]
    assert Validation.from_dict(json.loads(json.dumps(vetoed.to_dict()))) == vetoed
    assert vetoed.words == f"{validation(20, 0.9).words}; vetoed by source away"


def test_a_validation_of_the_release_before_is_read():
    one = validation(40, 0.6, lost=["sft"])
    older = {name: value for name, value in one.to_dict().items() if name != "vetoed"}
    assert Validation.from_dict(older) == one


def test_a_validation_is_the_same_after_json_and_says_what_it_is():
    one = validation(40, 0.612, lost=["sft"])
    assert Validation.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    words = "step 40 (closed 40): validation closed accuracy 0.612 [0.512, 0.712]"
    assert one.words == f"{words}; lost 0.200 of stage sft" and validation(40, 0.612).words == words
