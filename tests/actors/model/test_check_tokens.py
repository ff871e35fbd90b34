"""Numbers of tokens, rows at the limits of a token budget, and faults of whole task sets that only tokens show."""

import re
import shutil
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.model.check_tokens import FittingSettings, TokenBudget, check_tokens
from actors.model.encode import Encoder, PromptConfig
from curriculum.check import check_tasks
from curriculum.taskset import RowFault, TaskRow
from tests.support.task_sets import copy_of, faults_of, save_rows

WIDE = TokenBudget(
    512,
    128,
    frozenset({"binary", "single_choice", "multiple_choice", "diagnosis"}),
    frozenset({"binary", "single_choice", "multiple_choice", "diagnosis", "report"}),
)


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder(tiny_model, PromptConfig())


@pytest.fixture
def task(phantom_tasks):
    return phantom_tasks[0]


@pytest.fixture
def lengths(encoder, task):
    """Tokens of the prompt and of the gold trace, end token included."""
    return len(encoder.expand(task)), len(encoder.response_ids(task.reference))


def checked(encoder, task, **budget):
    limits = dict(sequence=10**6, response=1, asked=frozenset(), taught=frozenset()) | budget
    row = TaskRow(1, task.id, task, [], ((112, 112),) * len(task.images))
    assert list(check_tokens([row], encoder, TokenBudget(**limits))) == [row]
    return row


def test_a_prompt_must_leave_room_for_a_whole_response(encoder, task, lengths):
    prompt, _ = lengths
    asked = frozenset({task.family})
    assert not checked(encoder, task, sequence=prompt + 9, response=9, asked=asked).faults
    (fault,) = checked(encoder, task, sequence=prompt + 8, response=9, asked=asked).faults
    assert fault.kind == "too long" and f"the prompt has {prompt} tokens" in fault.reason
    assert f"leaves {prompt - 1} beside a response of 9" in fault.reason


def test_a_trace_must_fit_into_a_sequence_and_of_asked_families_into_a_response(encoder, task, lengths):
    prompt, trace = lengths
    family = frozenset({task.family})
    assert not checked(encoder, task, sequence=prompt + trace, taught=family).faults
    (fault,) = checked(encoder, task, sequence=prompt + trace - 1, taught=family).faults
    assert f"prompt and trace have {prompt + trace} tokens" in fault.reason
    assert not checked(encoder, task, response=trace, taught=family, asked=family).faults
    (fault,) = checked(encoder, task, response=trace - 1, taught=family, asked=family).faults
    assert f"the trace has {trace} tokens; a response may have {trace - 1}" in fault.reason


def test_a_text_that_reads_as_a_special_token_is_a_fault_and_stops_the_count(encoder, task):
    row = checked(encoder, task.model_copy(update={"context": "see <|im_end|>"}))
    assert [(fault.kind, "context: holds '<|im_end|>'" in fault.reason) for fault in row.faults] == [
        ("special token", True)
    ]
    assert row.prompt_tokens is None


def test_an_image_that_the_processor_refuses_is_reported_once(encoder, task):
    row = TaskRow(1, task.id, task.model_copy(update={"images": task.images * 2}), [], ((2000, 3),) * 2)
    list(check_tokens([row], encoder, TokenBudget(10**6, 1, frozenset(), frozenset())))
    assert [fault.kind for fault in row.faults] == ["image"] and "2000 × 3 pixels" in row.faults[0].reason


def test_token_numbers_are_what_the_model_reads(clean_set, encoder):
    rows = list(check_tokens(check_tasks(clean_set[0]), encoder, WIDE))
    assert not faults_of(rows)
    for row in rows[:20]:
        assert row.prompt_tokens == len(encoder.expand(row.task))
        assert row.reference_tokens == (len(encoder.response_ids(row.task.reference)) if row.task.reference else None)


@settings(max_examples=20)
@given(st.data())
def test_token_faults_are_reported_and_nothing_else(clean_set, encoder, tmp_path_factory, data):
    folder, rows = clean_set
    rows = [dict(row) for row in rows]
    asked = [n for n, row in enumerate(rows) if row["family"] in WIDE.asked]
    wanted = Counter()
    for number in data.draw(st.lists(st.sampled_from(asked), unique=True, max_size=4)):
        name, kind = data.draw(
            st.sampled_from(
                [
                    ("question", "special token"),
                    ("reference", "special token"),
                    ("options", "special token"),
                    ("context", "special token"),
                    ("context", "too long"),
                    ("question", "too long"),
                    ("reference", "too long"),
                    ("images", "image"),
                ]
            )
        )
        if name == "options" and not rows[number]["options"]:
            continue
        if kind == "special token":
            mark = data.draw(st.sampled_from(["<|image_pad|>", "<|im_end|>", "<|vision_start|>"]))
            marked = [(letter, text + mark) for letter, text in rows[number]["options"]]
            rows[number][name] = marked if name == "options" else f"Is{mark}?"
        elif kind == "too long":
            rows[number][name] = "mass " * (140 if name == "reference" else 400)
        else:
            rows[number]["images"] = [f"images/thin{number}.png"]
        wanted[number, kind] += 1
    copy = save_rows(copy_of(folder, tmp_path_factory), rows)
    assert faults_of(check_tokens(check_tasks(copy), encoder, WIDE)) == wanted


def test_families_that_are_not_in_the_recipe_are_not_limited(clean_set, encoder):
    small = TokenBudget(40, 30, frozenset({"binary"}), frozenset({"report"}))
    rows = list(check_tokens(check_tasks(clean_set[0]), encoder, small))
    assert {row.task.family for row in rows if row.faults} == {"binary", "report"}
    assert all(row.prompt_tokens for row in rows)


def test_a_template_without_placeholders_is_told(clean_set, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    template = tmp_path / "model/chat_template.jinja"
    template.write_text(template.read_text().replace("<|vision_start|><|image_pad|><|vision_end|>", ""))
    rows = list(check_tokens(check_tasks(clean_set[0]), Encoder(tmp_path / "model", PromptConfig()), WIDE))
    assert faults_of(rows) == {(row.number, "placeholders"): 1 for row in rows}


SIZES = [(112, 112), (300, 290), (640, 480), (900, 2000), (2000, 60)]


@settings(max_examples=12)
@given(st.data())
def test_settings_that_would_fit_keep_as_many_rows_as_they_say(tiny_model, phantom_tasks, data):
    """Each is tried: the rows are checked again with it."""
    asked, taught = (frozenset(data.draw(st.sets(st.sampled_from(["binary", "diagnosis"])))) for _ in range(2))
    drawn = data.draw(
        st.lists(
            st.tuples(st.sampled_from(phantom_tasks), st.lists(st.sampled_from(SIZES), max_size=2), st.booleans()),
            min_size=1,
            max_size=12,
        )
    )

    def fitting(sequence, max_pixels):
        """What the settings keep, and what would keep more."""
        encoder = Encoder(tiny_model, PromptConfig(min_pixels=28**2, max_pixels=max_pixels))
        budget = TokenBudget(sequence, 40, asked, taught)
        found, rows = FittingSettings(encoder, budget), []
        for number, (task, sizes, broken) in enumerate(drawn):
            task = task.model_copy(update={"images": task.images[:1] * len(sizes)})
            faults = [RowFault("two splits", "")] if broken else []
            rows.append(TaskRow(number, task.id, task, faults, tuple(sizes)))
        kept = sum(not row.faults for row in found.counted(check_tokens(rows, encoder, budget)))
        return kept, found.words()

    kept, words = fitting(150, 100 * 28**2)
    for setting, value, told, rows in re.findall(r"(\w+\.\w+)=(\d+) keeps (\d+) of (\d+)", words):
        changed = (int(value), 100 * 28**2) if setting == "rollout.max_model_tokens" else (150, int(value))
        assert int(rows) == len(drawn) and fitting(*changed)[0] == int(told) > kept
    assert words or fitting(10**6, 100 * 28**2)[0] == kept


def test_a_few_rows_that_need_much_more_do_not_hide_what_nearly_all_need(tiny_model, task):
    encoder = Encoder(tiny_model, PromptConfig(min_pixels=28**2, max_pixels=400 * 28**2))
    text = len(encoder.expand(task)) - 16
    budget = TokenBudget(text + 100 + 9, 9, frozenset({task.family}), frozenset())
    sides = [10] + [11] * 38 + [20, 20]  # tokens
    rows = [TaskRow(0, task.id, task, [], ((28 * side, 28 * side),)) for side in sides]
    found = FittingSettings(encoder, budget)
    list(found.counted(check_tokens(rows, encoder, budget)))
    assert found.words() == (
        f"rows that are too long would fit: model.max_pixels={100 * 28**2} keeps 41 of 41, "
        f"rollout.max_model_tokens={text + 121 + 9} keeps 39 of 41, "
        f"rollout.max_model_tokens={text + 400 + 9} keeps 41 of 41"
    )
