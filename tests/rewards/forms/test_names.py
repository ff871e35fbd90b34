import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.importers.labels import nih
from curriculum.phantoms import phantom
from curriculum.questions import RIGHT, WRONG
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.forms.base import WrittenGold
from rewards.forms.names import key_of, read_gold
from rewards.score import score
from tests.support.rewards.responses import HEALTHY, OPEN, pairs

CONFIG = RewardConfig()


def judged(task, *answers):
    return score(task, pairs(*answers), CONFIG)


@pytest.mark.parametrize(
    "answers, score_of_list, process",
    [
        (["Edema, Mass, Edema", "Edema ✅", "Mass ❌", "Edema"], 0, 0),
        (["Edema, pulmonary oedema", "Edema ✅", "Edema"], 0, 0),
        ([", ".join(phantom.FINDINGS[: CONFIG.max_candidates]), "Edema"], None, 0),
        (
            [
                ", ".join(nih.FINDINGS),
                *(f"{name} {RIGHT if name in OPEN.gold else WRONG}" for name in nih.FINDINGS),
                ", ".join(OPEN.gold),
            ],
            0,
            0,
        ),
    ],
)
def test_a_list_with_doubles_or_without_an_end_earns_nothing(answers, score_of_list, process):
    verdict = judged(OPEN, *answers)
    assert verdict.process == process and (score_of_list is None or verdict.steps[0].score == score_of_list)


@pytest.mark.parametrize(
    "answer, outcome",
    [
        ("Edema, Pleural Thickening, Mass, Nodule, Hernia, Fibrosis", 2 * 2 / (6 + 2)),  # six names, four of them wrong
        ("Edema, Mass, Nodule, Hernia", 0),  # three wrong names for one right one
        ("Edema, Mass, Nodule", 2 * 1 / (3 + 2)),
        ("Edema, Pleural Thickening, Mass, Nodule, Hernia, Fibrosis, Effusion", 0),  # seven names
        ("Edema, Mass " * 100, 0),  # more than 1,000 characters
    ],
)
def test_a_list_that_guesses_earns_nothing(answer, outcome):
    assert judged(OPEN, answer).outcome == pytest.approx(outcome)


def test_the_gold_decides_neither_on_its_kinds_nor_on_what_it_is_a_kind_of():
    """Effusion has kinds of its own in the ontology; a loculated one is no fault, and no hit."""
    key = key_of(OPEN.model_copy(update={"gold": ("Hydropneumothorax",)}))
    assert {"Effusion", "Pneumothorax"} <= key.undecided
    assert not key.is_verifiable("Effusion") and key.is_verifiable("Hydropneumothorax") and key.is_verifiable("Mass")
    assert key.truth["Effusion"] and not key.is_right("Effusion")
    assert key.is_verifiable("No finding") and not key.is_verifiable("a word that no ontology has")
    assert key_of(HEALTHY).is_right("No finding") and not key.is_right("No finding")


@pytest.mark.parametrize(
    "texts, is_one_string, gold, published",
    [
        (["Edema, Mass"], True, ["Edema", "Mass"], ("Edema", "Mass")),
        (["Edema, Mass"], False, ["Edema, Mass"], ("Edema, Mass",)),
        (["No finding"], True, [], ("No finding",)),
        (["normal chest"], False, [], ("normal chest",)),
        ([], False, [], ()),
    ],
)
def test_a_written_gold(texts, is_one_string, gold, published):
    read = read_gold(WrittenGold(texts, is_one_string, {}))
    assert (read.gold, read.published) == (gold, published)


def test_a_gold_that_names_a_finding_and_none_is_refused():
    with pytest.raises(ValueError, match="names a finding and No finding"):
        read_gold(WrittenGold(["Edema, No finding"], True, {}))


SIDED = OPEN.model_copy(update={"gold": ("Left pleural effusion", "Mass")})
BY_SIDE = RewardConfig(attributes=("side",))


@pytest.mark.parametrize(
    "answer, hits, told",
    [
        ("Left pleural effusion, mass", 2, None),
        ("Pleural effusion on the left; right mass", 2, None),  # the gold knows no side of the mass
        ("Right pleural effusion, mass", 1, "Effusion: right, gold left"),
        ("Pleural effusion, mass", 1.5, "Effusion: no side, gold left"),
        ("Bilateral pleural effusions, mass", 1.5, "Effusion: bilateral, gold left"),
        ("Left pleural effusion, right pleural effusion, mass", 1.5, "Effusion: bilateral, gold left"),
        ("left right effusion, mass", 1.5, "Effusion: bilateral, gold left"),
        ("Mass", None, None),
    ],
)
def test_a_side_must_fit_if_the_recipe_compares_sides(answer, hits, told):
    verdict = score(SIDED, pairs(answer), BY_SIDE)
    found = len(verdict.answer)
    assert verdict.outcome == pytest.approx(2 * (1 if hits is None else hits) / (found + 2))
    assert ("gold left" in verdict.why[0]) == (told is not None) and (told or "F1") in verdict.why[0]
    assert score(SIDED, pairs(answer), CONFIG).outcome == pytest.approx(2 * found / (found + 2))


def test_a_step_that_accepts_the_wrong_side_is_wrong():
    responses = [
        pairs("Effusion, Mass", f"{name} {RIGHT}", f"Mass {RIGHT}", "Left effusion, mass")
        for name in ("Effusion", "Left effusion", "Right effusion")
    ]
    steps = [score(SIDED, response, BY_SIDE).steps[1] for response in responses]
    assert [step.judgement for step in steps] == ["right", "right", "wrong"]
    assert steps[2].why == "Effusion: right, gold left"
    assert score(SIDED, responses[2], CONFIG).steps[1].judgement == "right"


@pytest.mark.parametrize("gold", ["Right upper lobe", "Chest", "Bilateral", "2"])
def test_a_place_is_an_answer_where_the_gold_is_one(gold):
    task = Task(id="t", domain="open", family="vqa", question="Where?", gold=(gold,), images=("x.png",))
    outcomes = [
        score(task, f"<think>So.</think><answer>{answer}</answer>", RewardConfig()).outcome
        for answer in (gold, gold.lower(), f"{gold}, edema", "Left lower lobe", " ".join([gold] * 400))
    ]
    assert outcomes[:2] == [1, 1] and outcomes[2] < 1 and outcomes[3:] == [0, 0]


def test_what_a_right_name_is_a_kind_of_is_no_wrong_name():
    task = Task(id="t", domain="open", family="vqa", question="Which?", gold=("Pneumonia",), images=("x.png",))
    assert judged(task, "Opacity at the base consistent with pneumonia").outcome == 1
    assert judged(task, "Lung Opacity").outcome == 0  # alone it says less than the gold
    assert judged(task, "Lung Opacity, Mass").outcome == 0
    assert 0 < judged(task, "Pneumonia, Mass").outcome < 1


def test_the_stake_of_a_step_by_hand():
    """Gold Edema and Pleural Thickening, answered with Edema alone: F1 2/3."""
    listed = "Edema, Pleural Thickening, Mass"
    verdict = judged(OPEN, listed, "Edema ✅", "Pleural Thickening ❌", "Mass ❌", "Edema")
    assert [step.stake for step in verdict.steps] == pytest.approx(
        [
            0,  # the list
            2 / 3,  # without Edema nothing is found
            1 / 3,  # with both, all is found
            2 / 3 - 1 / 2,  # with Mass beside Edema: 2 · 1 / (2 + 2)
            1,  # the final answer
        ]
    )
    healthy = judged(HEALTHY, "Mass, Edema", "Mass ❌", "Edema ❌", "No finding")
    assert [step.stake for step in healthy.steps] == [0, 1, 1, 1]
    two_wrong = judged(HEALTHY, "Mass, Edema", "Mass ✅", "Edema ✅", "Mass, Edema")
    assert [step.stake for step in two_wrong.steps] == [0, 0, 0, 1]  # taking back one of them would change nothing


NAMES = ("Edema", "Pleural Thickening", "Mass", "Nodule", "Hernia")


def with_marks(marks):
    """The list of all names in `marks`, a step on each, and the accepted ones as final answer."""
    final = ", ".join(name for name, accepted in marks.items() if accepted) or "No finding"
    return judged(OPEN, ", ".join(marks), *(f"{name} {RIGHT if marks[name] else WRONG}" for name in marks), final)


@given(st.dictionaries(st.sampled_from(NAMES), st.booleans(), min_size=1), st.data())
def test_the_stake_is_what_the_other_mark_would_change(marks, data):
    """Independent: the same response is written with that mark the other way, and scored."""
    name = data.draw(st.sampled_from(sorted(marks)))
    own, other = with_marks(marks), with_marks(marks | {name: not marks[name]})
    step, turned = (next(s for s in verdict.steps if s.candidate == name) for verdict in (own, other))
    assert step.stake == pytest.approx(abs(own.outcome - other.outcome)) == pytest.approx(turned.stake)
    right, wrong = (own, other) if step.judgement == "right" else (other, own)
    assert right.outcome >= wrong.outcome


def test_faults_and_unreadable_answers_keep_the_whole_stake():
    verdict = judged(OPEN, "Edema, Mass", "Edema ✅", "Mass ✅", "Edema")
    assert [(step.judgement, step.stake) for step in verdict.steps[1:3]] == [("right", 2 / 3), ("fault", 1)]
    unread = judged(OPEN, "Edema, Mass", "Edema ✅", "Mass ❌", "Edema, no edema")
    assert [step.stake for step in unread.steps] == [0, 1, 1, 1]
    undecided = judged(HEALTHY, "No finding, Mass", "No finding ✅", "Mass ❌", "No finding")
    assert [step.stake for step in undecided.steps] == [0, 1, 1, 1]
    doubled = judged(OPEN, "Edema, Edema", "Edema ✅", "Edema")
    assert (doubled.steps[0].judgement, doubled.steps[0].stake) == ("fault", 1)


def test_a_gold_finding_named_with_a_place_has_the_stake_of_the_finding():
    task = OPEN.model_copy(update={"gold": ("Fracture",)})
    verdict = judged(task, "Rib fracture, Mass", "Rib fracture ✅", "Mass ❌", "Rib fracture")
    assert verdict.outcome == 1
    assert [step.stake for step in verdict.steps[1:3]] == pytest.approx([1, 1 / 3])
