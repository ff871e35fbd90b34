"""Runs inside verl's environment: its own code on our numbers. JSON list of questions on stdin, answers on stdout."""

import contextlib
import json
import sys

import numpy as np
import torch
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo import core_algos
from verl.workers.config import ActorConfig


def matrices(question):
    return {name: torch.tensor(rows, dtype=torch.float64) for name, rows in question["arrays"].items()}


def advantages(question):
    arrays = matrices(question)
    values, _ = core_algos.get_adv_estimator_fn(question["estimator"])(
        token_level_rewards=arrays["rewards"],
        response_mask=arrays["mask"],
        index=np.array(question["groups"]),
        config=AlgoConfig(gamma=1.0),
        **question["settings"],
    )
    return {"value": values.tolist()}


def loss(question):
    arrays = matrices(question)
    logp = arrays["logp"].requires_grad_()
    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **question["settings"])
    value, _ = core_algos.get_policy_loss_fn(question["loss"])(
        arrays["old"],
        logp,
        arrays["advantages"],
        arrays["mask"],
        question["aggregation"],
        config,
        arrays.get("weights"),
    )
    if question.get("kl"):
        estimates = core_algos.kl_penalty(logp, arrays["reference"], question["kl"])
        value = value + question["kl_weight"] * core_algos.agg_loss(
            estimates, arrays["mask"], question["aggregation"], **config.global_batch_info
        )
    value.backward()
    return {"value": value.item(), "gradient": logp.grad.tolist()}


def entropy(question):
    logits = torch.tensor(question["logits"], dtype=torch.float64, requires_grad=True)
    value = core_algos.compute_entropy_loss(logits, matrices(question)["mask"], question["aggregation"])
    value.backward()
    return {"value": value.item(), "gradient": logits.grad.tolist()}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        ways = {"advantages": advantages, "loss": loss, "entropy": entropy}
        answers = [ways[question["what"]](question) for question in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
