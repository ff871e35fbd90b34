"""The numbers of one step: a row of metrics.parquet, and what guards, displays and gauges read."""

from __future__ import annotations

from typing import TypedDict


class StepRow(TypedDict, total=False):
    """One step. The last group of keys is there only for stages that generate.

    Rules of the recipe's own add `own_NAME`, teachers add `teacher_kl_FAMILY`, and every phase of the step adds
    `seconds_PHASE`.
    """

    event: str  # "step"
    stage: str
    kind: str  # of the stage: a key of STAGE_KINDS
    step: int  # of the run, from 1
    stage_step: int  # of the stage, from 1
    version: int  # of the weights, after the step
    max_steps: int  # of the stage

    loss: float  # not there without an update
    grad_norm: float  # before clipping
    lr: float
    film_wait_s: float  # for which the learner waited for films to be read; not there without films
    skipped: float  # updates whose gradient was not finite
    tokens: int  # that the learner trained on
    tokens_per_s: float
    tokens_per_s_per_gpu: float  # over all GPUs of the run; absent without any
    learner_tokens_per_s: float  # of a rank, while it learns
    learner_flops: float  # as above, FLOP/s that the step needs
    mfu: float  # the same as a share of the GPU's peak; absent if that is not known
    hfu: float  # with what is computed again
    learner_busy: float  # share of the step in which the learner worked
    seconds_left: float  # until the stage ends at the latest

    reward: float
    outcome: float
    format: float
    process: float
    reason: float
    unscored: float
    unread: float
    response_tokens: float
    truncated: float
    flat_groups: float
    dropped_groups: float
    expected_signal: float  # of the step's tasks, before their groups were known; only with adaptive sampling
    batch_gate: float
    entropy: float
    kl: float
    teacher_kl: float  # and teacher_kl_FAMILY for each family that has a teacher
    clipped: float
    correction: float
    logp_diff_mean: float
    logp_diff_max: float
    ratio_diff_max: float
    accepted: float  # these three only for rejection sampling: share of responses
    learnt_responses: int
    tasks_without_accepted: int
    staleness: float
    staleness_max: int
    rollout_workers: int
    rollout_busy: float
    version_bytes: int
    rollout_tokens_per_s: float  # of a GPU, while its engine writes; on CPUs of a worker
    by_collective: float
