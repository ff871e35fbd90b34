"""The policy's own responses as drafts: by light workers, and on the real engine."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
from typer.testing import CliRunner

from actors.model.encode import PromptConfig
from actors.reward import RewardWorkersConfig
from actors.rollout.config import RolloutConfig
from actors.trajectory import Group, Trajectory
from cluster.cli.app import app
from cluster.errors import UserError
from cluster.pools import rollout_pool
from cluster.pools.rollout_pool import RolloutPool
from cluster.standalone.evaluate import Subject
from cluster.standalone.traces.policy_writer import CUT_OFF, PolicyWriter
from cluster.standalone.traces.writers import WriterChoice
from rewards.traces.writer import Ask
from tests.support.rewards.reported import BINARY, CHOICE, NAMES

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests
SUBJECT = Subject("m", Path("model"), PromptConfig(), RolloutConfig(), RewardWorkersConfig(), "", ())


class LightWorker:
    """Answers as a rollout worker does: each response is its seed, and every third is cut off."""

    def __init__(self, rank, config, model, prompt, store, images, transport, lora):
        pass

    async def ready(self):
        return ray.get_runtime_context().get_node_id()

    async def ping(self):
        pass

    async def close(self):
        pass

    async def generate(self, requests, temperature, version):
        none = np.zeros(0, np.int32)
        return [
            Group(
                request.group_id,
                request.task,
                none,
                tuple(
                    Trajectory(
                        f"{request.task.id} {temperature} {request.seed + n}",
                        *(none, none.astype(np.float32), none, none),
                        "length" if request.task.id == "names" or n % 3 == 2 else "stop",
                        request.seed + n,
                    )
                    for n in range(request.count)
                ),
            )
            for request in requests
        ]


@pytest.fixture
def policy(ray_session, monkeypatch):
    monkeypatch.setattr(rollout_pool, "RolloutWorker", LightWorker)
    config = RolloutConfig(workers=1, cpus=0.1, max_sequences=4)
    pool = RolloutPool(f"test-{os.urandom(4).hex()}", config, Path("model"), PromptConfig(), None, 1)
    pool.ready()
    yield lambda seed=0: PolicyWriter(SUBJECT, pool, WriterChoice("policy", seed, 3, samples=3, temperature=0.9))
    pool.stop()


def test_each_ask_has_as_many_responses_as_asked_without_those_cut_off(policy):
    asks = [Ask(CHOICE, 0), Ask(BINARY, 0), Ask(NAMES, 0), Ask(CHOICE, 1)]
    drafts = {(draft.task_id, draft.attempt): draft for draft in policy().write(asks)}
    assert [text.split()[:2] for text in drafts["choice", 0].texts] == [["choice", "0.9"]] * 2
    assert not set(drafts["choice", 0].texts) & set(drafts["choice", 1].texts)
    assert drafts["names", 0].texts == () and drafts["names", 0].fault == CUT_OFF
    assert {(d.task_id, d.attempt): d for d in policy().write(asks[::-1])} == drafts  # by task, not by order
    assert next(iter(policy(1).write(asks[:1]))) != drafts["choice", 0]


def test_after_a_stop_no_part_is_begun(policy):
    writer = policy()
    found = []
    for draft in writer.write([Ask(CHOICE.model_copy(update={"id": f"t{n}"}), 0) for n in range(20)]):
        found.append(draft)
        writer.stop()
    assert len(found) == 2  # one part: twice four sequences, three for each ask


@pytest.mark.slow
def test_a_model_with_random_weights_writes_no_trace(ray_session, tiny_model, reported, tmp_path):
    arguments = [
        "--writer",
        "policy",
        "--model",
        tiny_model,
        "--samples",
        2,
        "--attempts",
        2,
        "--out",
        tmp_path / "out",
    ]
    result = CliRunner().invoke(app, ["data", "traces", str(reported), *map(str, arguments)])
    assert isinstance(result.exception, UserError) and "no trace was accepted" in str(result.exception)
    rows = [json.loads(line) for line in (tmp_path / "out/journal.jsonl").read_text().split("\n") if line]
    assert rows[0]["writer"] == "policy" and len(rows) == 1 + 6 * 2
