import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.algorithm.advantage import (
    batch_advantages,
    group_advantages,
    outcome_advantages,
    step_advantages,
    step_of_token,
    step_returns,
    token_advantages,
)
from curriculum.questions import RIGHT, WRONG
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import StepVerdict, Verdict

TASK = Task(
    id="t",
    domain="closed",
    family="single_choice",
    question="?",
    images=("x.png",),
    gold=("B",),
    options={"A": "Mass", "B": "Edema", "C": "Hernia", "D": "Nodule"},
)
OPEN = Task(id="o", domain="open", family="diagnosis", question="?", images=("x.png",), gold=("Edema",))
EPS = 1e-6
rewards = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=10)


def step(candidate, value, start=0, end=1, stake=1.0):
    return StepVerdict(start, end, candidate, "right", value, "", stake=stake)


def normalised(value, pool):
    """One value against a pool, by the definition: arithmetic in plain Python."""
    if len(pool) < 2 or all(other == pool[0] for other in pool):
        return 0.0
    mean = sum(pool) / len(pool)
    return (value - mean) / ((sum((other - mean) ** 2 for other in pool) / (len(pool) - 1)) ** 0.5 + EPS)


@given(rewards)
def test_group_advantages(values):
    ours = group_advantages(values)
    assert ours.dtype == np.float64 and ours == pytest.approx([normalised(v, values) for v in values], abs=1e-9)
    assert ours.sum() == pytest.approx(0, abs=1e-6)
    assert all(
        (a > b) == (x > y) for a, x in zip(ours, values, strict=True) for b, y in zip(ours, values, strict=False)
    )


@given(st.floats(-1e6, 1e6), st.integers(1, 16))
def test_equal_rewards_give_exactly_zero(value, count):
    assert group_advantages([value] * count).tolist() == [0.0] * count
    steps = [[step("A", value), step(None, value)] for _ in range(count)]
    assert all(advantages.tolist() == [0.0, 0.0] for advantages in step_advantages(steps))


def test_eight_times_seven_tenths_in_float32():
    values = [np.float32(0.7)] * 8
    assert not group_advantages(values).any()
    verdicts = [Verdict(0.7, 0.7, 1, 1, 0, 0, None, (step("A", np.float32(0.7)),)) for _ in values]
    for credit in ("response", "step"):
        assert not np.concatenate(token_advantages(verdicts, [np.array([1, 2])] * 8, credit, 0.3)).any()


def test_a_group_of_one_learns_nothing():
    assert group_advantages([0.9]).tolist() == [0.0]
    assert step_advantages([[step("A", 1.0)]])[0].tolist() == [0.0]


candidates = st.sampled_from(["A", "B", "C"])
values = st.sampled_from([0.0, 0.5, 1.0])
stakes = st.sampled_from([1.0, 1 / 3, 0.0])
responses = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(candidates, values, stakes), max_size=4), values),
    min_size=1,
    max_size=6,
)


@given(responses)
def test_a_step_is_compared_with_its_like_or_with_all(drawn):
    """Independent: for each step, its pool is collected by walking over all responses again."""
    steps = [
        [
            *([step(None, 1.0)] if listed and judged else []),
            *(step(c, v, stake=s) for c, v, s in judged),
            step(None, last),
        ]
        for listed, judged, last in drawn
    ]

    def kind(response, index):
        if steps[response][index].candidate:
            return steps[response][index].candidate
        return "summary" if index + 1 == len(steps[response]) else "list"

    places = [(r, i) for r, response in enumerate(steps) for i in range(len(response))]
    ours = step_advantages(steps)
    for r, i in places:
        alike = [steps[a][b].score for a, b in places if kind(a, b) == kind(r, i)]
        own, everything = steps[r][i], [steps[a][b].score for a, b in places]
        expected = normalised(own.score, alike if len(alike) > 1 else everything)
        if len(alike) == 1:
            expected = min(0, expected)
        assert ours[r][i] == pytest.approx(own.stake * expected, abs=1e-9)
    assert [len(a) for a in ours] == [len(s) for s in steps]


def respond(task, said, final):
    answers = [", ".join(said)] if task.domain == "open" else []
    answers += [f"{name} {RIGHT if true else WRONG}" for name, true in said.items()] + [final]
    response = "".join(f"<think>Look.</think><answer>{answer}</answer>" for answer in answers)
    return score(task, response, RewardConfig()), response


def of_characters(verdict_and_response):
    return np.arange(1, len(verdict_and_response[1]) + 1)


@pytest.mark.parametrize("task, names, final", [(TASK, "ABCD", "C"), (OPEN, ["Edema", "Mass", "Nodule"], "No finding")])
def test_marking_everything_wrong_earns_nothing_where_all_do(task, names, final):
    group = [respond(task, dict.fromkeys(names, False), final)] * 8
    verdicts = [verdict for verdict, _ in group]
    assert any(s.score for s in verdicts[0].steps[:-1])  # most of the marks are right
    assert not np.concatenate(step_advantages([v.steps for v in verdicts])).any()
    assert not np.concatenate(token_advantages(verdicts, list(map(of_characters, group)), "step", 0.5)).any()


def test_reading_the_image_beats_marking_everything_wrong():
    reader = respond(TASK, {letter: letter == "B" for letter in "ABCD"}, "B")
    lazy = [respond(TASK, dict.fromkeys("ABCD", False), final) for final in "ABCDABC"]
    verdicts = [verdict for verdict, _ in (reader, *lazy)]
    own, *others = step_advantages([v.steps for v in verdicts])
    gold = list("ABCD").index("B")
    assert own[gold] > 0 and all(other[gold] < 0 for other in others)
    assert (own >= 0).all() and all((own >= other).all() for other in others)
    tokens = token_advantages(verdicts, list(map(of_characters, [reader, *lazy])), "step", 0.5)
    assert all(tokens[0].mean() > other.mean() for other in tokens[1:])


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 5), max_size=8))
def test_a_token_belongs_to_the_step_of_its_last_character(lengths, borders):
    """Independent: an owner is written on every character; a token without any waits for the next one."""
    ends = np.cumsum(lengths).astype(np.int32) if lengths else np.array([], np.int32)
    edges = np.cumsum(borders)
    spans = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=False) if b > a]
    owner = dict.fromkeys(range(100), -1)
    for number, (start, end) in enumerate(spans):
        owner.update(dict.fromkeys(range(start, end), number))
    expected = [owner[end - 1] if length else owner[end] for end, length in zip(ends.tolist(), lengths, strict=True)]
    assert step_of_token(ends, [step("A", 1.0, *span) for span in spans]).tolist() == expected


def test_step_credit_of_tokens_by_hand():
    #       a  a  ab b  b(half emoji, other half)  outside  end token
    ends = np.array([1, 2, 4, 5, 5, 6, 8, 8], np.int32)
    spans = [(0, 3), (3, 6)]
    scores = [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)]
    verdicts = [
        Verdict(
            9.0 * n,
            base,
            1,
            1,
            0,
            0,
            None,
            tuple(step(c, v, *span) for c, v, span in zip("AB", pair, spans, strict=True)),
        )
        for n, (base, pair) in enumerate(zip([1.0, 0.0, 0.5], scores, strict=True))
    ]
    ours = token_advantages(verdicts, [ends] * 3, "step", 0.5)
    outcome, a, b = ([normalised(v, pool) for v in pool] for pool in ([1.0, 0.0, 0.5], [1.0, 0, 0], [0, 0, 1.0]))
    for n, tokens in enumerate(ours):
        first, second = outcome[n] + 0.5 * a[n], outcome[n] + 0.5 * b[n]
        assert tokens.dtype == np.float32
        assert tokens == pytest.approx([first, first, second, second, second, second, outcome[n], outcome[n]], abs=1e-5)


@given(st.lists(st.lists(st.floats(-3, 3), max_size=6), max_size=4))
def test_a_return_is_the_mean_of_what_is_still_to_come(advantages):
    """Independent: each suffix is summed by itself."""
    ours = step_returns([np.array(a, np.float64) for a in advantages])
    for returns, own in zip(ours, advantages, strict=True):
        assert returns == pytest.approx([sum(own[i:]) / (len(own) - i) for i in range(len(own))], abs=1e-9)


def test_return_credit_of_tokens_by_hand():
    ends, spans, scores = np.array([1, 2, 3, 4], np.int32), [(0, 2), (2, 3)], [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
    verdicts = [
        Verdict(
            0, 0.5, 1, 1, 0, 0, None, tuple(step(c, v, *span) for c, v, span in zip("AB", pair, spans, strict=True))
        )
        for pair in scores
    ]
    first, second = ([normalised(v, pool) for v in pool] for pool in ([1.0, 0, 0], [0, 1.0, 0]))
    for n, tokens in enumerate(token_advantages(verdicts, [ends] * 3, "return", 2.0)):
        whole = first[n] + second[n]  # twice the mean of both
        assert tokens == pytest.approx([whole, whole, 2 * second[n], 0], abs=1e-5)


@pytest.mark.parametrize("credit", ["response", "step", "return"])
@pytest.mark.parametrize("extra", ["A ❌", "B ✅", "E ❌", "B", "A ✅❌"])
def test_no_credit_pays_for_more_steps(credit, extra):
    """One response of a group says a step more, which is a fault: its tokens are worth no more than without it."""
    plain = ["A ❌", "B ✅", "C ❌", "D ❌", "B"]
    others = [["A ❌", "B ❌", "C ✅", "D ❌", "C"], ["A ✅", "B ❌", "C ❌", "D ❌", "A"], plain]
    means = []
    for own in (plain, [*plain[:4], extra, "B"]):
        texts = ["".join(f"<think>Look.</think><answer>{a}</answer>" for a in answers) for answers in (own, *others)]
        verdicts = [score(TASK, text, RewardConfig()) for text in texts]
        tokens = token_advantages(verdicts, [np.arange(1, len(text) + 1) for text in texts], credit, 1.0)
        means.append(tokens[0].mean())
    assert means[1] <= means[0] + 1e-6


def test_response_credit_gives_every_token_the_advantage_of_the_total():
    verdicts = [Verdict(total, 0.0, 1, 1, 0, 0, None, (step("A", total),)) for total in (0.0, 0.4, 1.3)]
    lengths = [3, 0, 5]
    ours = token_advantages(verdicts, [np.arange(1, n + 1) for n in lengths], "response", 0.5)
    for tokens, length, total in zip(ours, lengths, (0.0, 0.4, 1.3), strict=True):
        assert tokens.dtype == np.float32 and len(tokens) == length
        assert tokens == pytest.approx([normalised(total, [0.0, 0.4, 1.3])] * length, abs=1e-5)


def test_step_credit_without_weight_or_steps_is_the_outcome_alone():
    verdicts = [
        Verdict(5.0 - n, float(n), 1, 1, 0, 0, None, (step("A", 1.0 - n, 0, 2),) if n else ()) for n in range(2)
    ]
    ends = [np.array([1, 2, 3])] * 2
    for weight, chosen in ((0.0, verdicts), (0.5, [Verdict(0, float(n), 0, 0, 0, 0, None) for n in range(2)])):
        ours = token_advantages(chosen, ends, "step", weight)
        assert [tokens.tolist() for tokens in ours] == [
            [np.float32(normalised(float(n), [0.0, 1.0]))] * 3 for n in range(2)
        ]


step_rewards = st.lists(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(0, 4)), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)


def spread(values):
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5 + EPS


@given(
    step_rewards,
    st.floats(0, 0.5),
    st.sampled_from(["group", "leave_one_out"]),
    st.sampled_from(["group", "batch", "none"]),
)
def test_outcomes_within_their_group(drawn, beta, baseline, normalise):
    """Independent: each response against the others, in plain Python, less its tokens' penalties (KL in the reward)."""
    rng = np.random.default_rng(len(drawn))
    fines = [[beta * rng.normal(size=n) for _, n in group] for group in drawn]
    rewards = [
        [reward - sum(fine) for (reward, _), fine in zip(*both, strict=True)]
        for both in zip(drawn, fines, strict=False)
    ]
    ours = outcome_advantages(
        [[reward for reward, _ in group] for group in drawn],
        [[n for _, n in group] for group in drawn],
        baseline,
        normalise,
        fines if beta else None,
    )
    everything = [reward for group in rewards for reward in group]
    for group, given_rewards, lengths in zip(ours, rewards, drawn, strict=True):
        for i, (tokens, (_, length)) in enumerate(zip(group, lengths, strict=True)):
            others = given_rewards[:i] + given_rewards[i + 1 :]
            assert len(tokens) == length
            if not others or len(set(given_rewards)) == 1:
                assert not tokens.any()
                continue
            pool = others if baseline == "leave_one_out" else given_rewards
            divisor = {"group": given_rewards, "batch": everything}.get(normalise)
            expected = (given_rewards[i] - sum(pool) / len(pool)) / (spread(divisor) if divisor else 1)
            assert tokens == pytest.approx([expected] * length, rel=1e-6, abs=1e-9)


@given(step_rewards, st.floats(0, 0.5), st.sampled_from(["batch", "none"]))
def test_outcomes_against_the_whole_batch(drawn, beta, normalise):
    """Independent: a token's return is its response's reward without its own fine and those of the tokens after it."""
    rng = np.random.default_rng(len(drawn))
    fines = [[beta * rng.normal(size=n) for _, n in group] for group in drawn]
    returns = [
        reward - sum(fine[t:])
        for group, of in zip(drawn, fines, strict=True)
        for (reward, n), fine in zip(group, of, strict=True)
        for t in range(n)
    ]
    ours = outcome_advantages(
        [[reward for reward, _ in group] for group in drawn],
        [[n for _, n in group] for group in drawn],
        "batch",
        normalise,
        fines if beta else None,
    )
    assert [[len(tokens) for tokens in group] for group in ours] == [[n for _, n in group] for group in drawn]
    flat = [float(a) for group in ours for tokens in group for a in tokens]
    if len(set(returns)) < 2:
        assert not any(flat)
        return
    mean, divisor = sum(returns) / len(returns), spread(returns) if normalise == "batch" else 1
    assert flat == pytest.approx([(value - mean) / divisor for value in returns], rel=1e-6, abs=1e-8)


@given(
    st.lists(st.lists(st.tuples(values, values), min_size=2, max_size=4), min_size=2, max_size=4),
    st.randoms(),
    st.sampled_from(["group", "leave_one_out", "batch"]),
    st.sampled_from(["batch", "none"]),
    st.sampled_from(["response", "step", "return"]),
)
def test_advantages_do_not_depend_on_the_order_of_groups_and_responses(drawn, random, baseline, normalise, credit):
    verdicts = [
        [Verdict(base, base, 1, 1, 0, 0, None, (step("A", score), step("B", 1 - score, 1, 2))) for base, score in group]
        for group in drawn
    ]
    ends = [[np.array([1, 2, 3])] * len(group) for group in drawn]
    ours = batch_advantages(verdicts, ends, credit, 0.5, baseline, normalise)
    places = [(g, i) for g, group in enumerate(drawn) for i in range(len(group))]
    order = random.sample(range(len(drawn)), len(drawn))
    within = [random.sample(range(len(drawn[g])), len(drawn[g])) for g in order]
    again = batch_advantages(
        [[verdicts[g][i] for i in chosen] for g, chosen in zip(order, within, strict=True)],
        [ends[g] for g in order],
        credit,
        0.5,
        baseline,
        normalise,
    )
    back = {
        (g, i): tokens
        for g, chosen, group in zip(order, within, again, strict=True)
        for i, tokens in zip(chosen, group, strict=False)
    }
    for g, i in places:
        assert ours[g][i] == pytest.approx(back[g, i], abs=1e-6)


@given(
    st.floats(-1e3, 1e3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["group", "leave_one_out", "batch"]),
    st.sampled_from(["group", "batch", "none"]),
    st.sampled_from(["response", "step", "return"]),
)
def test_equal_rewards_give_exactly_zero_by_every_switch(value, groups, count, baseline, normalise, credit):
    verdicts = [[Verdict(value, value, 1, 1, 0, 0, None, (step("A", value),))] * count] * groups
    ours = batch_advantages(verdicts, [[np.array([1, 2])] * count] * groups, credit, 0.5, baseline, normalise)
    assert not np.concatenate([tokens for group in ours for tokens in group]).any()


def test_steps_are_left_out_and_normalised_as_outcomes_are():
    scores = [[(1.0, 0.0), (0.0, 0.0), (0.5, 1.0)], [(1.0, 1.0), (0.0, 1.0), (0.0, 0.25)]]
    verdicts = [
        [Verdict(0, 0, 1, 1, 0, 0, None, (step("A", a), step("B", b, 1, 2))) for a, b in group] for group in scores
    ]
    everything = spread([score for group in scores for pair in group for score in pair])
    for normalise, divisor in (("none", 1.0), ("batch", everything)):
        ours = batch_advantages(verdicts, [[np.array([1, 2])] * 3] * 2, "step", 2.0, "leave_one_out", normalise)
        for tokens, group in zip(ours, scores, strict=True):
            for n in range(3):
                others = [pair for i, pair in enumerate(group) if i != n]
                expected = [2 * (group[n][c] - (others[0][c] + others[1][c]) / 2) / divisor for c in (0, 1)]
                assert tokens[n] == pytest.approx(expected, abs=1e-5)
