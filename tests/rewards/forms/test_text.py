import pytest

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.responses import pairs, written

CONFIG = RewardConfig()
TEXT = Task(
    id="t",
    domain="open",
    form="text",
    family="findings",
    question="?",
    images=("x.png",),
    gold=("There is moderate pulmonary edema. No effusion.",),
)


def judged(task, answer):
    return score(task, pairs(answer), CONFIG)


def test_a_text_is_worth_its_findings_and_its_words():
    right, paraphrase, negated = (
        judged(TEXT, answer).outcome
        for answer in (
            TEXT.gold[0],
            "Lungs show oedema, moderate; pleural spaces are free of effusion.",
            "There is no moderate pulmonary edema. No effusion.",
        )
    )
    assert right == 1 and paraphrase > 0.5  # other words, the same finding
    assert negated < 0.5  # nearly the same words, another film
    assert (
        judged(TEXT, "There is edema and a pneumothorax.").outcome
        < judged(TEXT, "There is edema without more.").outcome
    )
    healthy = TEXT.model_copy(update={"gold": ("The lungs are clear.",)})
    assert judged(healthy, "Clear lungs").outcome >= 0.5 > judged(healthy, "Large mass").outcome
    assert "F1 1.00; ROUGE-L 1.00" in judged(TEXT, TEXT.gold[0]).why[0]


def test_steps_are_judged_by_the_facts_of_the_gold():
    """By hand: the first step adds two true facts, the second repeats one, the third contradicts one."""
    response = written(
        ("Edema is seen. No effusion.", "first"),
        ("Edema, as said.", "second"),
        ("There is an effusion. No mass.", "third"),
        ("So.", "There is edema, no effusion."),
    )
    verdict = score(TEXT, response, CONFIG)
    assert [step.judgement for step in verdict.steps[:3]] == ["right", "unverifiable", "wrong"]
    assert [step.score for step in verdict.steps[:3]] == [1, 0, 0]
    factuality, completeness, effectiveness = 3 / 4, 2 / 2, 1 / 3
    assert verdict.process == pytest.approx((factuality + completeness + effectiveness) / 3)
    assert verdict.outcome < 1 and verdict.total == pytest.approx(verdict.base + CONFIG.process * verdict.process)


def test_a_reference_with_a_single_pair_asks_for_no_steps():
    single = TEXT.model_copy(update={"reference": written(("Look.", TEXT.gold[0]))})
    response = written(("Edema is seen. No effusion.", "first"), ("So.", TEXT.gold[0]))
    assert score(TEXT, response, CONFIG).process == 1
    verdict = score(single, response, CONFIG)
    assert verdict.process == 0 and len(verdict.steps) == 1


@pytest.mark.parametrize("words, share", [(2, 0.5), (4, 1), (8, 1), (16, 1), (24, 0.5), (32, 0)])
def test_a_text_far_from_the_length_of_the_gold_is_worth_less(words, share):
    """Without findings the outcome is (1 + ROUGE-L) / 2, times the factor for the length."""
    gold = TEXT.model_copy(update={"gold": (" ".join(f"w{n}" for n in range(8)),)})
    shared = min(words, 8)
    precision, recall = shared / words, shared / 8
    rouge = 2 * precision * recall / (precision + recall)
    outcome = judged(gold, " ".join(f"w{n}" for n in range(words))).outcome
    assert outcome == pytest.approx((1 + rouge) / 2 * share)


def test_a_step_may_describe_a_sign_of_a_finding_and_is_worth_no_more_than_one_that_names_it():
    def process(*thinks):
        pairs = [(think, "noted") for think in thinks]
        return score(TEXT, written(*pairs, ("So.", TEXT.gold[0])), CONFIG)

    named = process("There is edema.", "There is no effusion.")
    described = process("There are Kerley lines.", "Both costophrenic angles are sharp.")
    negated = process("There are no Kerley lines.", "There is a meniscus.")
    assert named.process >= described.process > negated.process == 0
    assert [step.judgement for step in described.steps] == ["right"] * 3
    assert [step.judgement for step in negated.steps] == ["wrong", "wrong", "right"]


def test_a_side_must_fit_if_the_recipe_compares_sides():
    task = TEXT.model_copy(update={"gold": ("There is a left pleural effusion.",)})
    by_side = RewardConfig(attributes=("side",))
    right, none, wrong = (
        score(task, pairs(f"There is a {side}pleural effusion."), by_side) for side in ("left ", "", "right ")
    )
    assert (right.outcome, "Effusion" in right.why[0].split("ROUGE-L")[1]) == (1, False)
    assert right.outcome > none.outcome > wrong.outcome
    assert "F1 0.50" in none.why[0] and "Effusion: no side, gold left" in none.why[0]
    assert "F1 0.00" in wrong.why[0] and "Effusion: right, gold left" in wrong.why[0]
    ignored = score(task, pairs("There is a right pleural effusion."), CONFIG)
    assert "F1 1.00" in ignored.why[0] and "gold left" not in ignored.why[0]
