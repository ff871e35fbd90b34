"""TRL 1.16.0 and verl 0.9.1 on the same numbers, by their own code: value and gradient, float64, to 1e-6.

They run in environments of their own, which `make peers` makes; without these the tests are skipped.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from actors.algorithm.advantage import outcome_advantages
from actors.algorithm.config import GrpoTraining
from actors.algorithm.loss import Tokens, objective, response_weights

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / ".peers"
SCALE = 8  # of summed losses
LENGTHS = [5, 3, 7, 1, 4, 6]
AGGREGATIONS = {
    "token_mean": "token-mean",
    "sequence_mean": "seq-mean-token-mean",
    "sequence_sum": "seq-mean-token-sum-norm",
}


def ask(peer, questions):
    python = PEERS / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{peer} is not there: make peers")
    done = subprocess.run(
        [python, HERE / f"ask_{peer}.py"], input=json.dumps(questions), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def close(ours, theirs):
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < 1e-6


# -- advantages -------------------------------------------------------------------------------------------------------

REWARDS = [[0.3, 1.0, 0.0, 0.55], [0.7, 0.1, 0.9, 0.2], [1.0, 0.0, 0.0, 0.0], [0.25, 0.5, 0.75, 0.6]]
LENGTHS_OF = [[3, 5, 2, 4], [1, 6, 3, 3], [4, 4, 5, 2], [2, 2, 6, 1]]


def outcomes(baseline, normalise, eps, penalties=None, rewards=REWARDS):
    groups = outcome_advantages(rewards, LENGTHS_OF, baseline, normalise, penalties, eps)
    return [tokens for group in groups for tokens in group]


def test_advantages_of_trl():
    """TRL adds 1e-4 to the std. Its std of a batch is that of all rewards."""
    cases = [
        ("grpo", {"scale_rewards": "group"}, "group", "group"),
        ("grpo", {"scale_rewards": "none"}, "group", "none"),
        ("grpo", {"scale_rewards": "batch"}, "group", "batch"),
        ("rloo", {"beta": 0.0}, "leave_one_out", "none"),
    ]
    answers = ask(
        "trl",
        [
            {"what": "advantages", "trainer": trainer, "settings": settings, "rewards": REWARDS}
            for trainer, settings, *_ in cases
        ],
    )
    for answer, (*_, baseline, normalise) in zip(answers, cases, strict=True):
        close([tokens[0] for tokens in outcomes(baseline, normalise, 1e-4)], answer["value"])


def test_advantages_of_verl():
    width = max(n for group in LENGTHS_OF for n in group)
    lengths = [n for group in LENGTHS_OF for n in group]
    rng = np.random.default_rng(0)
    fines = [[rng.normal(0, 0.05, n) for n in group] for group in LENGTHS_OF]

    def padded(rows):
        return [[*row, *[0.0] * (width - len(row))] for row in rows]

    mask = padded([[1.0] * n for n in lengths])
    plain = [[0.0] * (n - 1) + [reward] for n, reward in zip(lengths, np.ravel(REWARDS).tolist(), strict=True)]
    fined = [
        (np.array(row) - fine).tolist() for row, fine in zip(plain, (f for group in fines for f in group), strict=True)
    ]
    whitened = 5e-9  # verl has 1e-8 on the variance, which is near one
    cases = [
        ("grpo", {"norm_adv_by_std_in_grpo": True}, "group", "group", 1e-6),
        ("grpo", {"norm_adv_by_std_in_grpo": False}, "group", "none", 1e-6),
        ("rloo", {}, "leave_one_out", "none", 1e-6),
        ("reinforce_plus_plus", {}, "batch", "batch", whitened),
    ]
    for rows, penalties in ((plain, None), (fined, fines)):
        answers = ask(
            "verl",
            [
                {
                    "what": "advantages",
                    "estimator": estimator,
                    "settings": settings,
                    "groups": np.repeat(range(4), 4).tolist(),
                    "arrays": {"rewards": padded(rows), "mask": mask},
                }
                for estimator, settings, *_ in cases
            ],
        )
        for answer, (_, _, baseline, normalise, eps) in zip(answers, cases, strict=True):
            close(padded(outcomes(baseline, normalise, eps, penalties)), answer["value"])


# -- losses -----------------------------------------------------------------------------------------------------------


def numbers(seed=0):
    """What a batch of responses has at each token; ratios from 0.2 to 4, so that every clip is met."""
    rng = np.random.default_rng(seed)
    old = [-rng.uniform(0.1, 3, n) for n in LENGTHS]

    def away(spread):
        return [o + rng.normal(0, spread, len(o)) for o in old]

    per_response = rng.normal(0, 1, len(LENGTHS))
    return {
        "old": old,
        "logp": away(0.7),
        "reference": away(0.5),
        "rollout": away(0.6),
        "entropy": [np.abs(o) for o in old],
        "advantages": [np.full(n, a) for n, a in zip(LENGTHS, per_response, strict=True)],
    }, per_response


def pad(rows):
    return [[*map(float, row), *[0.0] * (max(LENGTHS) - len(row))] for row in rows]


def mask():
    return pad([np.ones(n) for n in LENGTHS])


def ours(training, arrays):
    """Value, gradient of logp and of entropy, padded."""
    training = training.within(SCALE)
    flat = {name: torch.from_numpy(np.concatenate(rows)) for name, rows in arrays.items()}
    logp, entropy = (flat[name].clone().requires_grad_() for name in ("logp", "entropy"))
    weights = response_weights(LENGTHS, [True] * len(LENGTHS), training.aggregation, training.length_scale)
    each = torch.from_numpy(np.repeat(weights, LENGTHS))  # they count all responses: `count_flat_groups: true`
    loss, _ = objective(
        logp,
        entropy,
        Tokens(
            flat["old"],
            flat["rollout"],
            flat["advantages"],
            each,
            each,
            flat["reference"] if training.kl else None,
        ),
        LENGTHS,
        training,
    )
    gradients = torch.autograd.grad(loss, (logp, entropy), allow_unused=True, materialize_grads=True)
    return loss.item(), *(pad(g.numpy() for g in gradient.split(LENGTHS)) for gradient in gradients)


def test_losses_of_trl():
    arrays, per_response = numbers()
    sent = {name: pad(rows) for name, rows in arrays.items()} | {"advantages": per_response.tolist(), "mask": mask()}
    weights = pad(np.minimum(np.exp(o - r), 2.0) for o, r in zip(arrays["old"], arrays["rollout"], strict=True))
    bounds = {"clip_low": 0.2, "clip_high": 0.3}
    theirs = {"epsilon": 0.2, "epsilon_high": 0.3, "max_completion_length": SCALE}
    names = {"token_mean": "dapo", "sequence_mean": "grpo", "sequence_sum": "dr_grpo"}
    cases = [
        (bounds | {"dual_clip": None, "aggregation": ours_} | more, theirs | {"loss_type": loss_type} | trl_more, extra)
        for ours_, loss_type in names.items()
        for more, trl_more, extra in (
            ({}, {}, {}),
            ({"kl": 0.3}, {"beta": 0.3, "use_bias_correction_kl": False}, {}),
            ({"correction": "token"}, {}, {"importance_sampling_ratio": weights}),
        )
    ]
    cases += [
        (bounds | {"dual_clip": None}, theirs | {"loss_type": "bnpo"}, {}),  # in one micro-batch, a mean over tokens
        (bounds | {"dual_clip": 3.0}, theirs | {"loss_type": "dapo", "delta": 3.0}, {}),
        (
            {"algorithm": "gspo"},
            theirs
            | {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
            {},
        ),
        (
            {"algorithm": "gspo", "clip_low": 0.2, "clip_high": 0.3},
            theirs | {"loss_type": "grpo", "importance_sampling_level": "sequence"},
            {},
        ),
        (
            {"algorithm": "cispo", "clip_high": 0.5},
            theirs | {"loss_type": "cispo", "epsilon_high": 1.5},
            {},
        ),  # theirs is the cap
        (bounds | {"dual_clip": None, "entropy": 0.2}, theirs | {"loss_type": "dapo", "entropy_coef": 0.2}, {}),
    ]
    answers = ask(
        "trl", [{"what": "loss", "settings": settings, "arrays": sent | extra} for _, settings, extra in cases]
    )
    for answer, (keys, *_) in zip(answers, cases, strict=True):
        value, gradient, by_entropy = ours(GrpoTraining(**keys), arrays)
        close(value, answer["value"])
        close(gradient, answer["gradient"])
        close(by_entropy, answer["entropy_gradient"])
        assert np.abs(gradient).max() > 1e-4


def test_losses_of_verl():
    arrays, _ = numbers(1)
    sent = {name: pad(rows) for name, rows in arrays.items()} | {"mask": mask()}
    weights = pad(np.minimum(np.exp(o - r), 2.0) for o, r in zip(arrays["old"], arrays["rollout"], strict=True))
    verl = {
        "clip_ratio": 0.2,
        "clip_ratio_low": 0.2,
        "clip_ratio_high": 0.3,
        "clip_ratio_c": 3.0,
        "global_batch_info": {"loss_scale_factor": SCALE},
    }
    cases = []
    for ours_, theirs in AGGREGATIONS.items():
        common = {"clip_low": 0.2, "clip_high": 0.3, "aggregation": ours_}
        for keys, loss, more in (
            ({}, "vanilla", {}),
            ({"dual_clip": 1.5}, "vanilla", {"settings": {"clip_ratio_c": 1.5}}),
            ({"correction": "token"}, "vanilla", {"weights": weights}),
            ({"algorithm": "gspo"}, "gspo", {}),
            ({"algorithm": "cispo"}, "cispo", {}),
            *(({"kl": 0.3, "kl_estimator": k}, "vanilla", {"kl": k, "kl_weight": 0.3}) for k in ("k1", "k2", "k3")),
        ):
            own = {name: more[name] for name in ("kl", "kl_weight") if name in more}
            cases.append(
                (
                    common | keys,
                    {
                        "what": "loss",
                        "loss": loss,
                        "aggregation": theirs,
                        "settings": verl | more.get("settings", {}),
                        **own,
                        "arrays": sent | ({"weights": weights} if "weights" in more else {}),
                    },
                )
            )
    answers = ask("verl", [question for _, question in cases])
    for answer, (keys, _) in zip(answers, cases, strict=True):
        value, gradient, _ = ours(GrpoTraining(**keys), arrays)
        close(value, answer["value"])
        close(gradient, answer["gradient"])
        assert np.abs(gradient).max() > 1e-4


def test_tokens_with_advantages_of_their_own_in_a_sequence_ratio_as_verl_has_them():
    arrays, _ = numbers(2)
    rng = np.random.default_rng(3)
    arrays["advantages"] = [rng.normal(0, 1, n) for n in LENGTHS]
    (answer,) = ask(
        "verl",
        [
            {
                "what": "loss",
                "loss": "gspo",
                "aggregation": "seq-mean-token-mean",
                "settings": {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.3},
                "arrays": {name: pad(rows) for name, rows in arrays.items()} | {"mask": mask()},
            }
        ],
    )
    value, gradient, _ = ours(GrpoTraining(algorithm="gspo", clip_low=0.2, clip_high=0.3), arrays)
    close(value, answer["value"])
    close(gradient, answer["gradient"])


def test_entropy_bonus_of_verl():
    """From logits: theirs has no coefficient, and a bonus is what is taken off."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (len(LENGTHS), max(LENGTHS), 9))
    answers = ask(
        "verl",
        [
            {"what": "entropy", "logits": logits.tolist(), "arrays": {"mask": mask()}, "aggregation": theirs}
            for theirs in ("token-mean", "seq-mean-token-mean")
        ],
    )
    for answer, aggregation in zip(answers, ("token_mean", "sequence_mean"), strict=True):
        leaf = torch.from_numpy(logits).requires_grad_()
        flat = torch.cat([leaf[i, :n] for i, n in enumerate(LENGTHS)]).log_softmax(-1)
        entropy = -(flat.exp() * flat).sum(-1)
        weights = torch.from_numpy(np.repeat(response_weights(LENGTHS, [True] * 6, aggregation), LENGTHS))
        nothing = torch.zeros(sum(LENGTHS), dtype=torch.float64)
        loss, _ = objective(
            nothing,
            entropy,
            Tokens(nothing, nothing, nothing, weights, weights, None),
            LENGTHS,
            GrpoTraining(entropy=1.0, aggregation=aggregation),
        )
        (gradient,) = torch.autograd.grad(loss, leaf)
        close(-loss.item(), answer["value"])
        close(-gradient.numpy(), answer["gradient"])
