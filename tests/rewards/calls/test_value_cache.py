import pytest

from rewards.calls.value_cache import ValueCache, content_key
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleInput
from rewards.score import score
from tests.support.rewards.responses import SINGLE, pairs

RULE = OwnRule(rule="a:b", weight=1, options={"x": 1})


def item(text, task=SINGLE):
    return RuleInput(task, text, score(task, text, RewardConfig()))


def test_the_key_is_that_of_the_content():
    key = content_key(RULE, item(pairs("B")))
    assert key == content_key(RULE.model_copy(update={"weight": 2, "timeout_s": 3}), item(pairs("B")))
    others = [
        content_key(RULE, item(pairs("A"))),
        content_key(RULE.model_copy(update={"options": {"x": 2}}), item(pairs("B"))),
        content_key(RULE.model_copy(update={"rule": "a:c"}), item(pairs("B"))),
        content_key(RULE, item(pairs("B"), SINGLE.model_copy(update={"question": "Another?"}))),
        content_key(RULE, item(pairs("B"))._replace(verdict=score(SINGLE, pairs("B"), RewardConfig(), True))),
    ]
    assert len({key, *others}) == 6
    assert content_key(RULE, item("\ud800 is no text"))


def test_what_was_used_longest_ago_goes_first():
    cache = ValueCache(size=2)
    cache.put("a", 0.1)
    cache.put("b", 0.2)
    assert cache.get("a") == 0.1
    cache.put("c", 0.3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (0.1, None, 0.3)


def test_values_on_disk_outlive_the_process_and_are_read_by_all(tmp_path):
    folder = tmp_path / "values"
    ValueCache(folder=folder, writer="worker-0").put("a", 0.0)
    ValueCache(folder=folder, writer="worker-1").put("b", 1.0)
    with (folder / "worker-1.jsonl").open("a") as file:
        file.write('\n{"key": "c", "val')  # killed while it wrote
    later = ValueCache(folder=folder, writer="worker-0")
    assert (later.get("a"), later.get("b"), later.get("c")) == (0.0, 1.0, None)
    ValueCache(folder=folder, writer="worker-1").put("d", 0.5)
    assert ValueCache(folder=folder).get("d") == 0.5


@pytest.mark.parametrize("line", ["[]", "null", '{"key": "a"}', '{"key": "a", "value": {}}', "\x00"])
def test_lines_that_are_no_values_are_passed_over(tmp_path, line):
    (tmp_path / "x.jsonl").write_text(line + "\n" + '{"key": "b", "value": 1}\n')
    assert ValueCache(folder=tmp_path).get("b") == 1


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path):
    cache = ValueCache(folder=tmp_path, writer="gone/worker")
    cache.put("a", 0.5)
    cache.put("b", 0.5)
    assert cache.get("b") == 0.5 and len(cache.notes) == 1 and "cannot be written" in cache.notes[0]
