"""An engine of two processes, each with half of every layer, as `rollout.gpus: 2` makes it; here on a CPU, by gloo."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import VllmEngine
from actors.weights.buckets import bucket_of, files_of
from actors.weights.process_group import WeightGroup
from actors.weights.store import Offer
from curriculum.taskset import write_tasks
from tests.support.engines.probes import probe_of
from tests.support.engines.second_runner import SECOND_RUNNER

RANKS, CPU = 2, torch.device("cpu")


@pytest.fixture(scope="module")
def model(phantom_tasks, tmp_path_factory):
    """The folder of a model whose numbers of heads are even."""
    texts = [" ".join([task.question, *task.options.values(), task.reference]) for task in phantom_tasks]
    return make_tiny_model(TinyModelConfig(vision_steps=0, vision_hidden=128), texts, tmp_path_factory.mktemp("even"))


@pytest.mark.slow
def test_weights_reach_both_halves_by_file_and_by_group(model, phantom_tasks):
    policy = Policy(model, Encoder(model, PromptConfig()), torch.float32)
    parallel = {"tensor_parallel_size": RANKS, "distributed_executor_backend": "mp"}
    config = RolloutConfig(max_model_tokens=512).model_copy(update={"engine": parallel})

    def move():
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.mul_(1.02)

    def send(group):
        group.join()
        for part in policy.parts(2**18):
            group.send(policy.published(part))
        group.send({})

    async def differences():
        """After the start, after new weights by file and by group; and before each of these two."""
        engine = VllmEngine(config, str(model), policy.encoder, 1)

        async def largest():
            return (await engine.compare(probe_of(policy, phantom_tasks[:4]))).largest

        try:
            right, stale = [await largest()], []
            move()
            stale.append(await largest())
            await engine.load(files_of(bucket_of(policy.published(part)) for part in policy.parts(2**18)), "0.1")
            right.append(await largest())
            move()
            stale.append(await largest())
            names = ["learner rank 0", *(f"engine rank {rank}" for rank in range(RANKS))]
            group = WeightGroup("127.0.0.1", 0, 0, names, CPU, 30.0)
            sending = threading.Thread(target=send, args=(group,))
            sending.start()
            async with engine.weights_swapped("0.2"):
                await engine.join(Offer("group", "127.0.0.1", group.port, 1, names, 30.0, []))
                await engine.receive()
            sending.join()
            group.close()
            return [*right, await largest()], stale
        finally:
            engine.llm.shutdown()

    right, stale = asyncio.run(differences())
    assert max(right) < 1e-4 and min(stale) > 1e-3


@pytest.mark.slow
def test_the_second_runner_in_two_halves_takes_new_weights_in_the_middle_of_a_response(model, phantom_tasks, tmp_path):
    """With asynchronous scheduling. The runner of GPUs must be chosen before vLLM is imported: in another process."""
    write_tasks(phantom_tasks[:3], tmp_path)
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.engines.second_runner_in_two", model, tmp_path],
        cwd=Path(__file__).parents[3],
        env=os.environ | SECOND_RUNNER,
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["second_runner"] and told["asynchronous"] and told["ranks"] == RANKS
    assert max(told["probe"], told["off"], told["probe_new"], told["off_new"]) < 1e-4
    assert told["repeated"] and told["forbidden"] == 0
    assert any(0 < start < told["tokens"] for start in told["starts_of_new"])
