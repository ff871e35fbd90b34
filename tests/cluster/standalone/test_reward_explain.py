"""`curlvpr reward explain`: steps, faults and points, and that the points sum to the total."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.standalone.reward_check import sample_rows
from cluster.standalone.reward_explain import payments
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.reward_rows import CLOSED, TRACE, run


def explained(tmp_path, monkeypatch, capsys, row, *options):
    path = tmp_path / "rows.jsonl"
    path.write_text("not JSON\n" + json.dumps(row) + "\n")
    assert run(monkeypatch, "explain", path, "--line", "2", *options) == 0
    return capsys.readouterr().out


def test_a_response_is_explained_step_by_step(tmp_path, monkeypatch, capsys):
    response = TRACE.replace("C ❌", "C ✅").replace("So.</think><answer>B", "So.</think><answer>C")
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    assert "rows.jsonl: line 2, preset strict\nWhich finding?\n  A  Mass\n" in out and "gold B" in out
    assert "step 2, B: fault, 0.40: B ✅ contradicts the final answer" in out  # 2 of 3 judged, 0.6 without reason
    assert "step 3, C: wrong" in out and "<think>No nodule.</think><answer>C ✅</answer>" in out
    assert "format     1.000 × 0.1   = 0.100" in out and "outcome    0.000 × 0.9   = 0.000" in out
    assert out.rstrip().endswith("total                      0.100")


def test_faults_are_marked_where_they_are_and_no_response_commands_the_terminal(tmp_path, monkeypatch, capsys):
    response = f"\x1b[31mSo {TRACE}\ud800<think>"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    monkeypatch.delenv("FORCE_COLOR")
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": response})
    assert "\x1b[31mSo" not in coloured and "\x1b[4;31m·[31mSo" in coloured  # underlined
    assert "⟨1⟩ ·[31mSo" in out and "⟨2⟩ ·" in out and out.count("<think>⟨3⟩") == 1 and "\x1b" not in out
    assert "⟨1⟩ text outside pairs, at character 0" in out and "⟨3⟩ unclosed pair" in out
    assert "outcome    1.000 × 0.9   = 0.000   format gate" in out


def test_paper_is_explained_with_its_amounts(tmp_path, monkeypatch, capsys):
    out = explained(tmp_path, monkeypatch, capsys, CLOSED | {"response": TRACE}, "--preset", "paper")
    assert "process    0.500 × 1     = 0.500" in out and out.rstrip().endswith("2.500")


def test_a_line_that_is_not_there_is_told(tmp_path, refused):
    (tmp_path / "rows.jsonl").write_text("{}\n{}\n")
    assert "has no line 3; it has 2" in refused("explain", tmp_path / "rows.jsonl", "--line", "3")


guards = st.fixed_dictionaries(
    {"rule": st.just("rewards.own:length_guard"), "weight": st.just(0.3), "options": st.just({"least": 5, "most": 20})}
)


configs = st.just({"preset": "paper"}) | st.fixed_dictionaries(
    {
        "format": st.sampled_from([0, 0.1]),
        "process": st.sampled_from([0, 0.3]),
        "reason": st.sampled_from([0, 0.2]),
        "gates": st.sets(st.sampled_from(["format", "outcome", "batch"])).map(tuple),
        "own": st.dictionaries(st.just("length"), guards),
    }
)


@given(configs, st.sampled_from(list(sample_rows())), st.booleans())
def test_the_explained_points_sum_to_the_total(settings, row, truncated):
    config = RewardConfig.model_validate(settings)
    verdict = score(row.task, row.response, config, truncated)
    assert sum(payment.points for payment in payments(row.task, verdict, config)) == pytest.approx(
        verdict.total, abs=2e-6
    )


def test_the_points_of_a_text_in_other_words_sum_to_its_total():
    """All its findings are right, so the outcome gate lets process through although the outcome is below 1."""
    task = Task(
        id="t", domain="open", form="text", family="f", question="?", images=("-",), gold=("Pulmonary edema. No mass.",)
    )
    response = (
        "<think>Edema is seen. No mass.</think><answer>Look</answer>"
        "<think>So.</think><answer>There is edema, no mass.</answer>"
    )
    verdict = score(task, response, RewardConfig())
    assert verdict.outcome < 1 and verdict.total > verdict.base
    assert sum(p.points for p in payments(task, verdict, RewardConfig())) == pytest.approx(verdict.total)
