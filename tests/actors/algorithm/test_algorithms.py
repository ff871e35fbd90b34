"""The switches of reinforcement learning: what a recipe may say, and that a step does what it says, by plain mathematics."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file

from actors.algorithm.advantage import batch_advantages
from actors.algorithm.config import GrpoTraining
from actors.algorithm.loss import Tokens, objective, response_weights
from actors.algorithm.overlong import with_overlong_penalty
from actors.algorithm.presets import PRESETS
from actors.learner.config import LearnerConfig
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.runtime.storage import Storage
from actors.trajectory import Group, Sample, ScoredGroup, Trajectory
from cluster.run.dynamic_sampling import replace_flat_groups
from rewards.verdict import StepVerdict, Verdict
from tests.actors.learner.test_handle import groups, plain  # noqa: F401, F811 - the first is a fixture

LR, CONFIG = 1e-3, LearnerConfig()
LONGEST = 64  # tokens of a response
EVERY_KEY = [
    ("baseline", "leave_one_out"),
    ("normalise", "batch"),
    ("ratio", "sequence"),
    ("clip_low", 0.1),
    ("clip_high", 0.15),
    ("dual_clip", 2.5),
    ("aggregation", "sequence_mean"),
    ("kl_in", "loss"),
    ("kl_estimator", "k2"),
    ("overlong", 0.5),
]


# -- what a recipe may say --------------------------------------------------------------------------------------------


def test_without_a_name_nothing_is_set():
    assert GrpoTraining() == GrpoTraining(algorithm="grpo")
    told = GrpoTraining().model_dump()
    assert (told["clip_low"], told["clip_high"], told["dual_clip"], told["aggregation"]) == (
        0.2,
        0.3,
        3.0,
        "token_mean",
    )
    assert (told["baseline"], told["normalise"], told["ratio"], told["clip"]) == ("group", "group", "token", "ppo")
    assert not any(told[off] for off in ("kl", "entropy", "dynamic_sampling", "overlong", "max_staleness"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_what_it_names_and_a_key_of_the_recipe_wins(name):
    assert GrpoTraining(algorithm=name).model_dump() == GrpoTraining().model_dump() | PRESETS[name] | {
        "algorithm": name
    }
    for key, value in EVERY_KEY:
        if (name, key) != ("cispo", "dual_clip"):
            assert getattr(GrpoTraining(**{"algorithm": name, key: value}), key) == value
    whole = GrpoTraining(algorithm=name, lr=1e-4)
    assert (
        GrpoTraining.model_validate(whole.model_dump(mode="json")) == whole
    )  # as a run folder's recipe.yaml is read again
    for credit in ("response", "step", "return"):
        assert GrpoTraining(algorithm=name, credit=credit).credit == credit


@pytest.mark.parametrize(
    "keys, message",
    [
        (
            {"algorithm": "ppo"},
            "unknown algorithm 'ppo'. Known: grpo, dr_grpo, dapo, gspo, cispo, rloo, reinforce_plus_plus",
        ),
        ({"clip": "cispo"}, "set dual_clip to null, found 3"),
        ({"algorithm": "cispo", "dual_clip": 3.0}, "set dual_clip to null, found 3"),
        ({"dual_clip": 1.0}, "greater than 1"),
        ({"baseline": "batch"}, "set normalise to batch or none"),
        (
            {"group_size": 1},
            "baseline: group compares responses to the same task: group_size must be at least 2, found 1",
        ),
        ({"algorithm": "rloo", "group_size": 1}, "baseline: leave_one_out compares responses to the same task"),
        ({"algorithm": "reinforce_plus_plus", "dynamic_sampling": 1}, "set dynamic_sampling to 0"),
        ({"overlong": 1.5}, "less than or equal to 1"),
        ({"max_staleness": 1}, "set correction to token, sequence or mask"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_would(keys, message):
    with pytest.raises(ValidationError) as refused:
        GrpoTraining(**keys)
    assert message in str(refused.value) and refused.value.error_count() == 1


def test_against_the_whole_step_one_response_to_a_task_is_enough():
    assert GrpoTraining(algorithm="reinforce_plus_plus", group_size=1).group_size == 1


def test_the_scale_of_summed_losses_is_the_longest_response():
    assert GrpoTraining(algorithm="dr_grpo").within(96).length_scale == 96
    assert GrpoTraining(algorithm="dr_grpo", length_scale=10).within(96).length_scale == 10
    with pytest.raises(ValueError, match="length_scale, which is missing"):
        response_weights([3], [True], "sequence_sum")


# -- the loss ---------------------------------------------------------------------------------------------------------


def naive(responses, training):
    """The loss of an update, token by token. `responses`: (logp, entropy, old, rollout, advantages, reference, kept)."""
    kept = [len(logp) for logp, *_, keep in responses if keep and len(logp)]
    total = 0.0
    for logp, entropy, old, rollout, advantages, ref, keep in responses:
        if not keep:
            continue
        length = len(logp)
        for t in range(length):
            ratio = (logp[t] - old[t]).exp()
            if training.ratio == "sequence":
                whole = math.exp(sum((logp[i] - old[i]).item() for i in range(length)) / length)
                ratio = whole * (logp[t] - logp[t].item()).exp()
            low = -math.inf if training.clip_low is None else 1 - training.clip_low
            high = math.inf if training.clip_high is None else 1 + training.clip_high
            a = advantages[t].item()
            if training.clip == "cispo":
                loss = -min(max(ratio.item(), low), high) * a * logp[t]
            else:
                loss = max(
                    -a * ratio,
                    -a * min(max(ratio, logp.new_tensor(low)), logp.new_tensor(high)),
                    key=lambda x: x.item(),
                )
                if a < 0 and training.dual_clip is not None and loss.item() > -a * training.dual_clip:
                    loss = logp.new_tensor(-a * training.dual_clip)
            away = math.exp((old[t] - rollout[t]).item())
            if training.correction == "sequence":
                away = math.exp(sum((old[i] - rollout[i]).item() for i in range(length)))
            if training.correction != "none":
                loss = loss * min(away, training.correction_cap)
            if training.kl and training.kl_in == "loss":
                d = logp[t] - ref[t]
                loss = loss + training.kl * {"k1": d, "k2": d * d / 2, "k3": (-d).exp() + d - 1}[training.kl_estimator]
            loss = loss - training.entropy * entropy[t]
            total = (
                total
                + loss
                / {
                    "token_mean": sum(kept),
                    "sequence_mean": len(kept) * length,
                    "sequence_sum": len(kept) * (training.length_scale or LONGEST),
                }[training.aggregation]
            )
    return total


switches = st.fixed_dictionaries(
    {
        "algorithm": st.sampled_from(list(PRESETS)),
        "kl": st.sampled_from([0.0, 0.3]),
        "kl_in": st.sampled_from(["loss", "reward"]),
        "kl_estimator": st.sampled_from(["k1", "k2", "k3"]),
        "entropy": st.sampled_from([0.0, 0.2]),
        "correction": st.sampled_from(["none", "token", "sequence"]),
        "aggregation": st.sampled_from(["token_mean", "sequence_mean", "sequence_sum"]),
        "ratio": st.sampled_from(["token", "sequence"]),
    }
)


@settings(deadline=None, max_examples=50)
@given(
    switches,
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_the_objective_and_its_gradient_however_responses_are_laid_out(keys, shapes, ranks, seed):
    training = GrpoTraining(**keys).within(LONGEST)
    rng = np.random.default_rng(seed)
    draw = lambda n, spread=0.5: torch.from_numpy(rng.normal(0, spread, n))  # noqa: E731
    responses = []
    for length, keep in shapes:
        old = -draw(length).abs() - 0.1
        responses.append(
            [
                old + draw(length),
                draw(length).abs(),
                old,
                old + draw(length),
                draw(length, 1.0),
                old + draw(length),
                keep,
            ]
        )
    lengths, kept = zip(*shapes)
    weights = response_weights(lengths, kept, training.aggregation, training.length_scale)
    ours = [[logp.clone().requires_grad_(), entropy.clone().requires_grad_()] for logp, entropy, *_ in responses]
    total = 0.0
    for rank in range(ranks):
        mine = range(rank, len(responses), ranks)
        if not mine:
            continue
        logp, entropy = (torch.cat([ours[i][k] for i in mine]) for k in (0, 1))
        old, rollout, advantages, reference = (torch.cat([responses[i][k] for i in mine]) for k in (2, 3, 4, 5))
        held = [lengths[i] for i in mine]
        tokens = Tokens(
            old,
            rollout,
            advantages,
            torch.from_numpy(np.repeat(weights[list(mine)], held)),
            reference if training.kl else None,
        )
        loss, told = objective(logp, entropy, tokens, held, training)
        total = total + loss
        assert all(not values.requires_grad and len(values) == len(logp) for values in told.values())
    leaves = [leaf for both in ours for leaf in both]
    plainly = [
        [logp.clone().requires_grad_(), entropy.clone().requires_grad_(), *rest] for logp, entropy, *rest in responses
    ]
    expected = naive(plainly, training)
    if not torch.is_tensor(expected):  # no token is kept
        assert float(torch.as_tensor(total).detach()) == pytest.approx(0.0, abs=1e-12)
        return
    assert total.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    theirs = [leaf for both in plainly for leaf in both[:2]]
    for a, b in zip(
        *(
            torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
            for loss, inputs in ((total, leaves), (expected, theirs))
        )
    ):
        assert a.tolist() == pytest.approx(b.tolist(), rel=1e-8, abs=1e-12)


# -- a step -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moved(one, groups, tmp_path_factory):  # noqa: F811
    """A rank whose policy is a step away from its reference, which is the model that it began with; and a commit of that."""
    folder = tmp_path_factory.mktemp("moved")
    storage = Storage(str(folder / "commit"))
    one.make()
    one.call("start_stage", True, True, False)
    one.call("grpo", groups, GrpoTraining(kl=0.1), 5e-3, 1.0)
    storage.clear()
    one.call("save", storage)
    one.call("export", str(folder / "model"))
    return one, storage, folder / "model"


def written(scored, policy, spread, seed):
    """The same group as `policy` would have written it; or with `spread` weights that differ a little."""
    rng = np.random.default_rng(seed)
    group = scored.group
    samples = (Sample(group.prompt_ids, group.task.images, t.ids) for t in group.trajectories)
    logprobs = [plain(policy, sample).detach().numpy() for sample in samples]
    logprobs = [own + rng.normal(0, spread, len(own)).astype(np.float32) for own in logprobs]
    trajectories = tuple(replace(t, logprobs=own) for t, own in zip(group.trajectories, logprobs, strict=True))
    return replace(scored, group=replace(group, trajectories=trajectories))


def plain_step(folder, first, scored, training):
    """A step in plain PyTorch: (state after it, loss and gradient norm of each update)."""
    encoder = Encoder(folder, PromptConfig())
    policy, start, reference = (Policy(path, encoder, torch.float32) for path in (folder, folder, first))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in policy.parameters() if p.ndim >= 2], "weight_decay": CONFIG.weight_decay},
            {"params": [p for p in policy.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=LR,
        betas=CONFIG.betas,
    )
    samples = [[Sample(s.group.prompt_ids, s.group.task.images, t.ids) for t in s.group.trajectories] for s in scored]
    old, ref = (
        [[plain(model, sample).detach() for sample in group] for group in samples] for model in (start, reference)
    )
    fines = None
    if training.kl and training.kl_in == "reward":
        d = [[a.double() - b.double() for a, b in zip(*both)] for both in zip(old, ref)]
        fines = [
            [training.kl * {"k1": x, "k3": (-x).exp() + x - 1}[training.kl_estimator].numpy() for x in group]
            for group in d
        ]
    advantages = batch_advantages(
        [s.verdicts for s in scored],
        [[t.char_ends for t in s.group.trajectories] for s in scored],
        training.credit,
        training.process_weight,
        training.baseline,
        training.normalise,
        fines,
    )
    numbers = []
    for update in range(training.updates_per_step):
        responses = []
        for g in range(update, len(scored), training.updates_per_step):
            for r, trajectory in enumerate(scored[g].group.trajectories):
                logp, entropy = policy(policy.collate([samples[g][r]], [0], torch.device("cpu")), 1.0)
                arrays = map(torch.from_numpy, (trajectory.logprobs, advantages[g][r]))
                responses.append(
                    (
                        logp,
                        entropy,
                        old[g][r],
                        *arrays,
                        ref[g][r],
                        not (training.truncated == "mask" and trajectory.truncated),
                    )
                )
        loss = naive(responses, training)
        loss.backward()
        numbers.append((loss.item(), float(torch.nn.utils.clip_grad_norm_(policy.parameters(), CONFIG.clip_grad))))
        optimizer.step()
        optimizer.zero_grad()
    return policy.model.state_dict(), numbers


@pytest.mark.parametrize(
    "keys",
    [
        *({"algorithm": name} for name in PRESETS),
        {"algorithm": "gspo", "credit": "response", "kl": 0.2, "kl_estimator": "k2"},
        {"algorithm": "rloo", "kl": 0.5, "credit": "return", "truncated": "mask"},
        {"algorithm": "reinforce_plus_plus", "kl": 0.5},
        {"algorithm": "cispo", "entropy": 0.1, "correction": "token", "normalise": "batch"},
        {"updates_per_step": 1},
        {"kl": 0.5},
        {"updates_per_step": 1, "truncated": "mask"},
        {"updates_per_step": 1, "correction": "token"},
        {"correction": "sequence"},
    ],
    ids=lambda keys: "-".join(str(value) for value in keys.values()),
)
def test_a_step_of_each_algorithm_is_the_plain_one(moved, groups, tiny_model, tmp_path, keys):  # noqa: F811
    rank, storage, folder = moved
    training = GrpoTraining(**{"updates_per_step": 2, **keys}).within(LONGEST)
    policy = Policy(folder, Encoder(folder, PromptConfig()), torch.float32)
    groups = [written(group, policy, 0.4 * (training.correction != "none"), n) for n, group in enumerate(groups)]
    rank.call("load", storage)
    rank.call("start_stage", True, training.kl > 0, True)
    row = rank.call("grpo", groups, training, LR, 1.0)
    rank.call("export", str(tmp_path))
    expected, numbers = plain_step(folder, tiny_model, groups, training)
    assert row["loss"] == pytest.approx(np.mean([loss for loss, _ in numbers]), rel=1e-3, abs=2e-5)
    assert row["grad_norm"] == pytest.approx(np.mean([norm for _, norm in numbers]), rel=1e-3)
    assert (row["logp_diff_max"] < 1e-5) == (training.correction == "none") == (row["correction"] == 1)
    assert row["tokens"] == sum(len(t.ids) for g in groups for t in g.group.trajectories)
    assert (row["kl"] > 0) == (training.kl > 0) and row["entropy"] > 0
    for name, value in load_file(tmp_path / "model.safetensors").items():
        known = next(
            v
            for n, v in expected.items()
            if n.replace("model.visual.", "visual.").replace("model.language_model.", "model.") == name
        )
        # AdamW's first step is the gradient's sign: where the gradient is next to nothing, rounding decides it.
        assert ((value - known).abs() > 1e-5).float().mean() < 1e-3, name


# -- what comes before the step ---------------------------------------------------------------------------------------


def scored_group(name, rewards, lengths=None, finish="stop", steps=()):
    lengths = lengths or [4] * len(rewards)
    ids = [np.zeros(n, np.int32) for n in lengths]
    trajectories = tuple(Trajectory("", i, i.astype(np.float32), i, i, finish, 0) for i in ids)
    return ScoredGroup(
        Group(name, None, np.zeros(1, np.int32), trajectories),
        tuple(Verdict(r, r, 1, r, 0, 0, None, steps) for r in rewards),
    )


@pytest.mark.parametrize(
    "tokens, cut, lost",
    [(10, False, 0.0), (80, False, 0.0), (85, False, 0.25), (90, False, 0.5), (100, False, 1.0), (40, True, 1.0)],
)
def test_a_long_response_loses_more_the_longer_it_is(tokens, cut, lost):
    group = scored_group("g", [0.75, 0.5], [tokens, 3], "length" if cut else "stop")
    verdict, other = with_overlong_penalty(group.verdicts, group.group.trajectories, 100, 0.2, 2.0)
    assert verdict.total == pytest.approx(0.75 - 2 * lost) and verdict.base == pytest.approx(0.75 - 2 * lost)
    assert bool(verdict.why) == (lost > 0) and verdict.outcome == 0.75
    assert cut or other == group.verdicts[1]


def answers(*batches):
    """Gives a batch at each call, and writes down what it was asked."""
    left, asked = list(batches), []

    def more(so_far, missing):
        asked.append((so_far, missing))
        return left.pop(0)

    return more, asked


def named(groups):  # noqa: F811
    return [scored.group.group_id for scored in groups]


def test_groups_without_variance_are_replaced_until_there_are_enough_or_the_rounds_are_over():
    good, flat = (lambda name: scored_group(name, [0, 1])), (lambda name: scored_group(name, [1, 1]))
    training = GrpoTraining(dynamic_sampling=2, tasks_per_step=3, group_size=2)
    more, asked = answers([flat("d"), good("e")], [good("f")])
    kept, dropped = replace_flat_groups([good("a"), flat("b"), flat("c")], training, 1, more)
    assert (named(kept), named(dropped), asked) == (["a", "e", "f"], ["b", "c", "d"], [(3, 2), (5, 1)])
    more, asked = answers([flat("d"), flat("e")], [])  # workers may give up all of them
    kept, dropped = replace_flat_groups([good("a"), flat("b"), flat("c")], training, 2, more)
    assert (named(kept), named(dropped), asked) == (["a", "b"], ["c", "d", "e"], [(3, 2), (5, 2)])
    more, asked = answers()
    assert (
        named(replace_flat_groups([good("a"), good("b"), good("c")], training, 1, more)[0]) == ["a", "b", "c"]
        and not asked
    )


def test_a_group_teaches_by_its_steps_where_they_have_credit():
    steps = [(StepVerdict(0, 1, "A", "right", score, ""),) for score in (0.0, 1.0)]
    group = scored_group("g", [1, 1])
    group = replace(group, verdicts=tuple(v._replace(steps=s) for v, s in zip(group.verdicts, steps)))
    for keys, teaches in (
        ({}, True),
        ({"process_weight": 0}, False),
        ({"credit": "response"}, False),
        ({"credit": "return"}, True),
    ):
        more, _ = answers([])
        kept, _ = replace_flat_groups([group], GrpoTraining(dynamic_sampling=1, tasks_per_step=1, **keys), 0, more)
        assert bool(kept) == teaches
