"""A transport from outside: the example of docs/learner.md, without a change to the source."""

import asyncio

import pytest
import torch
from safetensors.torch import load_file

from actors.learner.orders import Publish
from actors.learner.sft_update import SftUpdate
from actors.weights.transports import TRANSPORTS, automatic_transport
from actors.weights.transports.base import Gpus, ReceiverContext
from actors.weights.version import Version
from tests.support.documented_transport import documented_transport


@pytest.fixture(scope="module")
def example():
    with documented_transport() as module:
        yield module


class Files:
    """What a delivery loads its weights into; the worker's engine hands such files to vLLM."""

    def __init__(self):
        self.weights = {}

    async def read(self, files):
        for file in files:
            self.weights |= load_file(file)


def test_the_learner_sends_by_it_and_a_receiver_gets_what_the_ranks_hold(
    two, example, phantom_tasks, tmp_path, monkeypatch
):
    monkeypatch.setitem(TRANSPORTS, "folder", example.FolderTransport(tmp_path))
    two.make_unchecked(transport="folder", zero_stage=2)
    two.first("publish_in", 2**18)
    for number in (1, 2):
        two.update(SftUpdate(phantom_tasks[:4], 1e-2))
        sent = two.call(Publish(Version(0, number), phantom_tasks[:1]))
        assert (sent.reached, sent.events) == (0, [])
    assert len(list((tmp_path / "0.2").glob("*.safetensors"))) > 1
    engine = Files()
    receiver = TRANSPORTS["folder"].receiver(ReceiverContext("rollout-0", None, 1, 60.0))

    async def fetch():
        delivery = await receiver.fetch(Version(0, 2))
        return await delivery.load(engine)

    ((task, sample, logprobs),) = asyncio.run(fetch())
    held = two.first("state")
    assert task == phantom_tasks[0] and len(logprobs) == len(sample.response_ids)
    assert len(engine.weights) == len(held)
    sent, kept = (sorted(float(torch.as_tensor(v).abs().sum()) for v in w.values()) for w in (engine.weights, held))
    assert sent == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize(
    "gpus, automatic, refused",
    [
        (Gpus(0, 0, False), "store", False),
        (Gpus(1, 1, False), "collective", False),
        (Gpus(2, 1, False), "collective", False),
        (Gpus(1, 1, True), "store", True),
        (Gpus(0.5, 0.5, False), "store", True),
        (Gpus(0, 1, False), "store", True),
    ],
    ids=str,
)
def test_what_suits_the_gpus(gpus, automatic, refused):
    assert automatic_transport(gpus).name == automatic
    assert TRANSPORTS["store"].refusal(gpus) is None
    assert (TRANSPORTS["collective"].refusal(gpus) is not None) == refused
