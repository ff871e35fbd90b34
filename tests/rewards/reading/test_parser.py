import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.reading.parser import MAX_FAULTS, MAX_PAIRS, _parse_any, _parse_sound, parse

PAIR = "<think>t</think><answer>a</answer>"
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
BODY = r"(?:(?!</?(?:think|answer)>)[\s\S])*"
WELL_FORMED = re.compile(
    rf"(?:\s*<think>(?=\s*[^\s<])({BODY})</think>\s*<answer>(?=\s*[^\s<]){BODY}</answer>)+\s*", re.IGNORECASE
)
mixed = st.lists(
    st.sampled_from([*TAGS, "<THINK>", "</Answer>", PAIR, PAIR, PAIR, " ", "\n", "x", "✅", "B)"]), max_size=12
)


@pytest.mark.parametrize(
    "response, pairs",
    [
        (PAIR, [("t", "a")]),
        (PAIR * 3, [("t", "a")] * 3),
        (
            "\n<think> two\nlines </think>\n\t<answer> A) ✅ </answer>\n" + PAIR + "\n ",
            [(" two\nlines ", " A) ✅ "), ("t", "a")],
        ),
        ("<THINK>t</Think><Answer>a</ANSWER>", [("t", "a")]),
        ("<think>1 < 2, <b>, </ think></think><answer>a</answer>", [("1 < 2, <b>, </ think>", "a")]),
    ],
)
def test_well_formed(response, pairs):
    parsed = parse(response)
    assert [(p.think, p.answer) for p in parsed.pairs] == pairs and parsed.faults == ()


@pytest.mark.parametrize(
    "response, pairs, faults",
    [
        ("", 0, ["no pair"]),
        ("Edema.", 0, ["no pair", "text outside pairs at 0"]),
        ("<think>t</think>", 0, ["no pair", "unclosed pair: <answer> is missing at 16"]),
        ("<think>t", 0, ["no pair", "unclosed pair: </think> is missing at 8"]),
        (PAIR + "<think>t</think><answer>a", 1, ["unclosed pair: </answer> is missing"]),
        (PAIR + "<thi", 1, ["text outside pairs at 34"]),
        (f"So {PAIR}", 1, ["text outside pairs at 0"]),
        (f"{PAIR} and {PAIR}", 2, ["text outside pairs at 35"]),
        (f"{PAIR}\n end", 1, ["text outside pairs at 36"]),
        ("<think>t</think> so <answer>a</answer>", 0, ["no pair", "text between think and answer at 17"]),
        ("<think> </think><answer>a</answer>", 1, ["empty think at 7"]),
        ("<think>t</think><answer>\n</answer>", 1, ["empty answer at 24"]),
        ("<answer>a</answer>" + PAIR, 1, ["answer without a think at 0"]),
        (f"{PAIR}</answer>{PAIR}", 2, ["</answer> closes nothing at 34"]),
        (f"{PAIR}</think>", 1, ["</think> closes nothing at 34"]),
        ("<think>t</think></answer>" + PAIR, 1, ["</answer> where <answer> was expected at 16"]),
        ("<think>t<think>u</think><answer>a</answer>", 1, ["nested tag: <think> where </think> was expected at 8"]),
        ("<think>t<answer>a</answer>" + PAIR, 1, ["nested tag: <answer> where </think> was expected at 8"]),
        ("<think>t</answer><answer>a</think>" + PAIR, 1, ["swapped tag: </answer> where </think> was expected at 8"]),
        ("<think>t</think><answer>a</think>" + PAIR, 1, ["swapped tag: </think> where </answer> was expected at 25"]),
        ("<think>t</think><answer>a" + PAIR, 1, ["nested tag: <think> where </answer> was expected at 25"]),
        ("＜think＞t＜/think＞＜answer＞a＜/answer＞", 0, ["no pair", "text outside pairs at 0"]),
        ("<think >t</think><answer>a</answer>" + PAIR, 1, ["text outside pairs at 0", "</think> closes nothing at 9"]),
    ],
)
def test_a_fault_is_told_once_with_its_place_and_reading_goes_on(response, pairs, faults):
    parsed = parse(response)
    assert len(parsed.pairs) == pairs and len(parsed.faults) == len(faults)
    assert all(str(told).startswith(fault) for told, fault in zip(parsed.faults, faults, strict=True)), parsed.faults


@given(mixed | st.lists(st.sampled_from(TAGS) | st.text(max_size=5)))
def test_pairs_are_the_characters_they_name_and_faults_agree_with_a_grammar(pieces):
    response = "".join(pieces)
    parsed = parse(response)
    end = 0
    for pair in parsed.pairs:
        assert pair.start >= end
        end = pair.end
        inner = re.fullmatch(
            rf"<think>({BODY})</think>\s*<answer>({BODY})</answer>", response[pair.start : end], re.IGNORECASE
        )
        assert inner.groups() == (pair.think, pair.answer)
    assert (parsed.faults == ()) == (WELL_FORMED.fullmatch(response) is not None)
    assert len(parsed.faults) <= MAX_FAULTS


@pytest.mark.parametrize("unit", ["</THINK>", "</answer>x", "<think>", f"x{PAIR}", "<think></think><answer></answer>"])
def test_a_babbling_response_has_few_faults(unit):
    assert 1 <= len(parse(unit * 500).faults) <= MAX_FAULTS


def test_no_more_pairs_are_read_than_any_film_needs():
    assert not parse(PAIR * MAX_PAIRS).faults
    parsed = parse(PAIR * (MAX_PAIRS + 1))
    assert len(parsed.pairs) == MAX_PAIRS and [f.what for f in parsed.faults] == [f"more than {MAX_PAIRS} pairs"]
    assert parsed.faults[0].position == len(PAIR) * MAX_PAIRS


@given(
    mixed
    | st.lists(st.sampled_from([PAIR, PAIR, " ", "\n", "<think>1 < 2</think><answer>b</answer>", "<think> </think>"]))
)
def test_the_quick_way_finds_what_the_long_way_finds(pieces):
    response = "".join(pieces)
    quick = _parse_sound(response)
    assert quick is None or quick == _parse_any(response)
