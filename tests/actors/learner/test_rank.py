"""A rank of the learner: what it keeps in a checkpoint, and what it publishes. Its steps are tested in
test_algorithms.py.
"""

import os
import subprocess
import sys

import pytest
import ray
import torch
from PIL import Image
from safetensors.torch import load

from actors.algorithm.config import GrpoTraining
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import Export, Load, Publish, Save, StartStage
from actors.learner.rank import REFERENCE
from actors.learner.sft_update import SftUpdate
from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.runtime.remote import wait_for
from actors.runtime.storage import Storage
from actors.weights.store import WeightStore
from actors.weights.version import Version
from tests.support.learner.learner_groups import groups  # noqa: F401 - a fixture
from tests.support.learner.ranks import ENTIRELY, same

LR = 1e-3


def test_another_optimiser_state_and_reference_come_back_from_a_checkpoint(one, groups, tmp_path):  # noqa: F811
    training, storage, ends = GrpoTraining(kl=0.1), Storage(str(tmp_path / "commit")), []
    storage.clear()
    one.make()
    one.call(StartStage(True, True, False))
    one.update(GrpoUpdate(groups, training, LR, 1.0))
    files = one.call(Save(storage))
    assert REFERENCE in files and all(storage.digest(name) == digest for name, digest in files.items())
    for fresh in (False, True):
        if fresh:
            one.make()
            one.call(Load(storage))
        one.update(GrpoUpdate(groups, training, LR, 1.0))
        ends.append(one.first("state"))
    assert same(*ends)


@pytest.mark.parametrize(
    "lora",
    [
        pytest.param(None, id="full"),
        pytest.param(Lora(rank=4, alpha=8), id="merged adapters", marks=pytest.mark.slow),
    ],
)
def test_publishing_gathers_one_bucket_at_a_time(two, tiny_model, phantom_tasks, lora):
    """And what comes is what the ranks hold."""
    tasks, bucket = phantom_tasks[:4], 3 * 2**18
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=9).remote()
    two.make_unchecked(ENTIRELY, store=store, zero_stage=3, lora=lora)
    two.update(SftUpdate(tasks, LR))
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32)
    wanted = policy.published({name: torch.from_numpy(value.copy()) for name, value in two.first("state").items()})
    sizes = [value.nbytes for value in wanted.values()]
    assert max(sizes) < bucket < sum(sizes) / 5
    peaks = {}
    for version, most in ((Version(0, 1), 2**40), (Version(0, 2), bucket)):
        peaks[most] = max(two.all("publish_watched", version, tasks[:1], most))
        references, _ = wait_for(store.fetch.remote(version), 60, "the store")
        found = {
            name: value for part in ray.get(references, timeout=60) for name, value in load(b"".join(part)).items()
        }
        assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert peaks[2**40] >= sum(sizes) and peaks[bucket] < 1.01 * bucket
    ray.kill(store)


def test_adapters_that_travel_alone_are_all_that_is_gathered(two, tiny_model, phantom_tasks):
    """B with its scale, and the size of a version is told."""
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=9).remote()
    two.make_unchecked(ENTIRELY, store=store, zero_stage=3, lora=Lora(rank=4, alpha=12), alone=True)
    two.update(SftUpdate(phantom_tasks[:4], LR))
    trained = {name: value for name, value in two.first("weights").items() if ".lora_" in name}
    size = sum(value.nbytes for value in trained.values())
    assert two.call(Publish(Version(0, 1), phantom_tasks[:1])).bytes == size
    assert max(two.all("publish_watched", Version(0, 2), phantom_tasks[:1], 2**13)) < 1.01 * 2**13 < size / 5
    references, _ = wait_for(store.fetch.remote(Version(0, 2)), 60, "the store")
    found = {name: value for part in ray.get(references, timeout=60) for name, value in load(b"".join(part)).items()}
    scaled = {
        name.replace(".default.", "."): torch.from_numpy(value * (3 if ".lora_B." in name else 1))
        for name, value in trained.items()
    }
    wanted = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32).published(scaled)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    ray.kill(store)


ON_A_NODE_WITH_GPUS = """
import torch
torch.cuda.is_available, torch.cuda.device_count = (lambda: True), (lambda: 4)
from actors.learner.rank import import_deepspeed
print(import_deepspeed(gpus=0).accelerator.get_accelerator().device_name())
"""


def test_a_rank_without_gpus_takes_none_that_its_node_has():
    command = [sys.executable, "-c", ON_A_NODE_WITH_GPUS]
    environment = {name: value for name, value in os.environ.items() if name != "DS_ACCELERATOR"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert output.stdout.splitlines()[-1] == "cpu", output.stderr


def test_an_exported_model_reads_films_within_the_budget_that_it_was_trained_with(one, tiny_model, tmp_path):
    """By whoever loads the folder, without any setting."""
    from transformers import AutoProcessor

    one.make_unchecked(prompt=PromptConfig(min_pixels=28**2 * 20, max_pixels=28**2 * 60))
    one.call(Export(tmp_path / "model"))
    for size, tokens in (((900, 700), 48), ((30, 30), 25)):
        film = Image.new("RGB", size)
        read = AutoProcessor.from_pretrained(tmp_path / "model").image_processor(film)
        assert len(read["pixel_values"]) == 4 * tokens
        assert Encoder(tmp_path / "model", PromptConfig()).read(film).text.count("<|image_pad|>") == tokens
        assert Encoder(tiny_model, PromptConfig()).read(film).text.count("<|image_pad|>") != tokens
