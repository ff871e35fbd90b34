"""The rollout worker around a real engine, against the learner's own policy."""

from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import torch
from PIL import Image

from actors.algorithm.loss import off_policy_weights
from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.rollout.config import RolloutConfig
from actors.runtime.remote import RemoteFailure, wait_for
from actors.trajectory import Request, Sample
from actors.weights.store import WeightStore
from actors.weights.transports import TRANSPORTS
from actors.weights.transports.base import Sent
from actors.weights.version import ASLEEP, Version
from tests.support.documented_transport import documented_transport
from tests.support.engines.faulty_loader import DAMAGES
from tests.support.engines.probes import logprobs, probe_of
from tests.support.engines.second_runner import SECOND_RUNNER
from tests.support.engines.worker import WatchedWorker
from tests.support.sender import start_sender

CONFIG = RolloutConfig(cpus=0.5, max_response_tokens=24, max_model_tokens=256)
PROMPT = PromptConfig(max_pixels=224**2)  # at least 112², which phantoms have, by the processor itself


@pytest.fixture(scope="module")
def policy(tiny_model):
    return Policy(tiny_model, Encoder(tiny_model, PROMPT), torch.float32)


@pytest.fixture(scope="module")
def store(ray_session):
    return ray.remote(WeightStore).options(num_cpus=0).remote()


@pytest.fixture(scope="module")
def sender(store):
    sender = start_sender(store)
    yield sender
    ray.kill(sender)


@pytest.fixture(
    scope="module",
    params=[pytest.param({}, id="runner of CPUs"), pytest.param(SECOND_RUNNER, id="of GPUs", marks=pytest.mark.slow)],
)
def worker(request, ray_session, store, tiny_model):
    here = {"PYTHONPATH": str(Path(__file__).parents[3])}  # for tests.support
    worker = (
        ray.remote(WatchedWorker)
        .options(num_cpus=0.5, max_concurrency=8, runtime_env={"env_vars": here | request.param})
        .remote(0, CONFIG, str(tiny_model), PROMPT, store, 1)
    )
    wait_for(worker.ready.remote(), 300, "the worker")
    yield worker
    ray.kill(worker)


def publish(policy, sender, task, version):
    """Publishes the policy's weights, in buckets that cut layers apart, with a probe that it computes."""
    buckets = [policy.published(part) for part in policy.parts(2**18)]
    wait_for(sender.publish.remote(Version(0, version), buckets, probe_of(policy, [task])), 60, "the sender")


def generate(worker, requests, version, temperature=1.0):
    return groups_of(worker.generate.remote(requests, temperature, Version(0, version)))


def ask(worker, method, *arguments):
    return wait_for(worker.ask_engine.remote(method, *arguments), 60, "the engine")


def groups_of(stream):
    """The groups of a worker's stream, in the order of their requests."""
    numbered = [wait_for(ref, 120, "the worker") for ref in stream]
    return [group for _, group in sorted(numbered, key=lambda pair: pair[0])]


@pytest.fixture
def ready(policy, sender, worker, phantom_tasks):
    """The worker on version 1, which are the policy's weights."""
    publish(policy, sender, phantom_tasks[0], 1)
    assert wait_for(worker.update.remote(Version(0, 1)), 120, "the worker") < 1e-4
    return worker


def test_a_group_carries_what_the_learner_needs(ready, policy, phantom_tasks):
    requests = [Request(f"g{i}", task, 3, 100 * i) for i, task in enumerate(phantom_tasks[:6])]
    groups = generate(ready, requests, 1)
    assert [g.group_id for g in groups] == [r.group_id for r in requests]
    forbidden = set(policy.encoder.forbidden(policy.bias.numel()))
    for group in groups:
        assert (group.prompt_ids == policy.encoder.expand(group.task)).all()
        samples = [Sample(group.prompt_ids, group.task.images, t.ids) for t in group.trajectories]
        for trajectory, expected in zip(group.trajectories, logprobs(policy, samples), strict=True):
            assert (
                len(trajectory.ids) == len(trajectory.logprobs) == len(trajectory.versions) == len(trajectory.char_ends)
            )
            assert np.abs(trajectory.logprobs - expected).max() < 1e-4
            assert (trajectory.versions == 1).all() and not forbidden & set(trajectory.ids.tolist())
            assert trajectory.truncated == (trajectory.ids[-1] != policy.encoder.eos)
        assert len({t.ids.tobytes() for t in group.trajectories}) == 3  # samples of a group differ


def test_a_large_film_is_read_within_the_pixel_budget(ready, policy, phantom_tasks, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 700), np.uint8)).save(tmp_path / "film.png")
    task = phantom_tasks[0].model_copy(update={"images": (str(tmp_path / "film.png"),)})
    (group,) = generate(ready, [Request("g", task, 2, 7)], 1)
    assert group.prompt_ids.tolist() == policy.encoder.expand(task).tolist()
    assert group.prompt_ids.tolist().count(policy.encoder.image_token) == 63  # 9 rows of 7, in 64 × 28² pixels
    samples = [Sample(group.prompt_ids, task.images, t.ids) for t in group.trajectories]
    for trajectory, expected in zip(group.trajectories, logprobs(policy, samples), strict=True):
        assert np.abs(trajectory.logprobs - expected).max() < 1e-4


def test_the_process_is_called_by_role_rank_and_version(ready):
    pid = wait_for(ready.__ray_call__.remote(lambda worker: __import__("os").getpid()), 60, "the worker")
    with open(f"/proc/{pid}/cmdline") as file:
        assert "rollout-0 v1" in file.read()


def test_the_same_seeds_give_the_same_responses(ready, phantom_tasks):
    requests = [Request("g", task, 2, 7) for task in phantom_tasks[:3]]
    first, second = ([t.ids.tolist() for g in generate(ready, requests, 1) for t in g.trajectories] for _ in range(2))
    assert first == second


def test_films_are_read_once_and_before_prompts_are_held_back(ready, phantom_tasks):
    def watch(worker):
        worker.events, read = [], worker.encoder.image
        core = worker.engine.llm.engine_core
        pause = core.pause_scheduler_async

        def watched_read(path):
            worker.events.append(path)
            return read(path)

        async def watched_pause(*arguments, **options):
            worker.events.append("hold back")
            await pause(*arguments, **options)

        worker.encoder.image, core.pause_scheduler_async = watched_read, watched_pause

    tasks = phantom_tasks[:6]
    films = {image for task in tasks for image in task.images}
    assert len(films) < len(tasks)  # some ask about the same
    ray.get(ready.__ray_call__.remote(watch))
    generate(ready, [Request(f"g{i}", task, 2, i) for i, task in enumerate(tasks)], 1)
    *read, last = ray.get(ready.__ray_call__.remote(lambda worker: worker.events))
    assert sorted(read) == sorted(films) and last == "hold back"


def test_the_film_of_a_group_goes_to_the_engines_process_once(ready, phantom_tasks, tmp_path):
    def watch(worker):
        worker.sent, core = [], worker.engine.llm.engine_core
        send = core._send_input

        def watched(kind, request, *rest):
            worker.sent += [film.data is not None for film in getattr(request, "mm_features", None) or ()]
            return send(kind, request, *rest)

        core._send_input = watched

    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 60), np.uint8)).save(tmp_path / "new.png")
    task = phantom_tasks[0].model_copy(update={"images": (str(tmp_path / "new.png"),)})
    ray.get(ready.__ray_call__.remote(watch))
    for wanted in ([True, False, False, False], [False] * 4):
        (group,) = generate(ready, [Request("g", task, 4, 7)], 1)
        assert len(group.trajectories) == 4
        assert ray.get(ready.__ray_call__.remote(lambda worker: worker.sent))[-4:] == wanted


def test_new_weights_reach_an_engine_that_is_writing(ready, policy, sender, phantom_tasks):
    """Every token keeps the version that wrote it, and has the log-probability that this version gives it."""
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    task = phantom_tasks[0]
    requests = [Request(f"g{i}", t, 4, 100 * i) for i, t in enumerate(phantom_tasks[:6])]
    try:
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        after = {name: value.clone() for name, value in policy.model.state_dict().items()}
        publish(policy, sender, task, 4)
        pending = ready.generate.remote(requests, 1.0, Version(0, 1))
        assert wait_for(ready.update.remote(Version(0, 4)), 120, "the worker") < 1e-4
        trajectories = [(g, t) for g in groups_of(pending) for t in g.trajectories]
        assert {1, 4} == {int(v) for _, t in trajectories for v in t.versions}, "the update came too early or too late"
        for version, state in ((1, before), (4, after)):
            policy.model.load_state_dict(state)
            for group, trajectory in trajectories:
                (expected,) = logprobs(policy, [Sample(group.prompt_ids, group.task.images, trajectory.ids)])
                own = trajectory.versions == version
                assert np.abs(trajectory.logprobs - expected)[own].max(initial=0) < 1e-4
        assert all((np.diff(t.versions) >= 0).all() for _, t in trajectories)
    finally:
        policy.model.load_state_dict(before)


def test_forbidden_tokens_cannot_be_sampled_even_where_the_model_wants_them(ready, policy, sender, phantom_tasks):
    state = {name: value.clone() for name, value in policy.model.state_dict().items()}
    state["lm_head.weight"][policy.encoder.image_token] = 50 * state["lm_head.weight"].mean(0).sign()
    original = policy.model.lm_head.weight.detach().clone()
    try:
        policy.model.load_state_dict(state)
        publish(policy, sender, phantom_tasks[0], 2)
        wait_for(ready.update.remote(Version(0, 2)), 120, "the worker")
        groups = generate(ready, [Request("g", t, 4, 5) for t in phantom_tasks[:4]], 2)
    finally:
        policy.model.lm_head.weight.data.copy_(original)
    assert not any(policy.encoder.image_token in t.ids for g in groups for t in g.trajectories)


def test_an_engine_that_lost_its_mask_proves_nothing(ready, policy, sender, phantom_tasks):
    def probe_for(worker, tokens):
        before, worker.engine.forbidden = worker.engine.forbidden, tokens
        return before

    publish(policy, sender, phantom_tasks[0], 2)
    word = policy.encoder.response_ids("effusion").tolist()[:1]  # to the engine no forbidden one
    before = ray.get(ready.__ray_call__.remote(probe_for, word))
    try:
        with pytest.raises(RemoteFailure, match=f"forbidden token {word[0]} a chance: its mask was lost"):
            wait_for(ready.update.remote(Version(0, 2)), 120, "the worker")
    finally:
        ray.get(ready.__ray_call__.remote(probe_for, before))
    wait_for(ready.update.remote(Version(0, 2)), 120, "the worker")


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_did_not_arrive_are_noticed_before_anything_is_generated(
    ready, policy, sender, phantom_tasks, damage
):
    """The learner moved on, and the engine's own loader lets fall what it is given."""
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        publish(policy, sender, phantom_tasks[0], 3)
        ask(ready, "break_loader", damage)
        with pytest.raises(RemoteFailure, match="does not hold weights version 0.3"):
            wait_for(ready.update.remote(Version(0, 3)), 120, "rollout-0")
        with pytest.raises(RemoteFailure, match="0.3 is wanted"):
            generate(ready, [Request("g", phantom_tasks[0], 1, 0)], 3)
        ask(ready, "break_loader", "")
        assert wait_for(ready.update.remote(Version(0, 3)), 120, "rollout-0") < 1e-4  # the loader alone was at fault
    finally:
        policy.model.load_state_dict(before)


def test_a_worker_that_sleeps_writes_nothing_until_it_is_given_weights_again(ready, phantom_tasks):
    """Its memory is lost in the meantime: weights, cache, and what vLLM makes beside them."""
    requests = [Request(f"g{i}", task, 4, 100 * i) for i, task in enumerate(phantom_tasks[:4])]
    before = [t.ids.tolist() for g in generate(ready, requests, 1) for t in g.trajectories]
    for _ in range(2):
        wait_for(ready.update.remote(ASLEEP), 60, "rollout-0")
    with pytest.raises(RemoteFailure, match="0.1 is wanted"):
        generate(ready, requests, 1)
    assert wait_for(ready.update.remote(Version(0, 1)), 120, "rollout-0") < 1e-4
    assert [t.ids.tolist() for g in generate(ready, requests, 1) for t in g.trajectories] == before


def test_memory_comes_back_in_parts_once_the_weights_are_there(ready):
    """New weights need no room beside the cache; and nothing is taken for a version that cannot be had."""
    ask(ready, "memory_events")
    wait_for(ready.update.remote(ASLEEP), 60, "rollout-0")
    with pytest.raises(RemoteFailure, match="version 0.99 is not kept"):
        wait_for(ready.update.remote(Version(0, 99)), 60, "rollout-0")
    assert ask(ready, "memory_events") == ["sleep 2"]
    wait_for(ready.update.remote(Version(0, 1)), 120, "rollout-0")
    assert ask(ready, "memory_events") == ["wake weights", "load", "wake kv_cache"]


def test_nothing_of_ours_lies_in_memory_that_a_sleeping_engine_loses(ready):
    assert ask(ready, "own_tensors") == {"TokenMask.forbidden": False}


def test_words_that_are_left_out_are_never_written_and_the_correction_is_their_share(
    request, ready, policy, phantom_tasks
):
    """The learner counts all words. By the correction a token then weighs as much as those it was sampled from."""
    if "runner of CPUs" not in request.node.name:
        pytest.skip("Triton's interpreter cannot run vLLM's kernel for top_p")

    def sampling(worker, changes):
        before, worker.config = worker.config, worker.config.model_copy(update=changes)
        return before

    before = ray.get(ready.__ray_call__.remote(sampling, {"top_p": 0.3, "stop": ("</think>",)}))
    try:
        groups = generate(ready, [Request(f"g{i}", t, 3, 9 * i) for i, t in enumerate(phantom_tasks[:3])], 1)
    finally:
        ray.get(ready.__ray_call__.remote(sampling, dict(before)))
    left_out = 0
    for group in groups:
        for trajectory in group.trajectories:
            sample = Sample(group.prompt_ids, group.task.images, trajectory.ids)
            batch = policy.collate([sample], [0], torch.device("cpu"))
            with torch.no_grad():
                hidden = policy.hidden(batch).flatten(0, 1).index_select(0, batch.where)
                every = (policy.model.get_output_embeddings()(hidden) + policy.bias).log_softmax(-1)
            chosen = every.gather(1, batch.targets[:, None])
            better = every.exp().where(every > chosen, 0).sum(-1)
            assert (better < 0.3 + 1e-4).all()
            (learner,) = logprobs(policy, [sample])
            weights = off_policy_weights(
                torch.from_numpy(learner), torch.tensor(trajectory.logprobs), [len(learner)], "token", 2.0
            )
            assert (weights < 1 + 1e-4).all() and (weights > 0.3 - 1e-4).all()  # the words kept have that much
            left_out += int((weights < 0.9).sum())
            if trajectory.finish == "stop" and trajectory.ids[-1] != policy.encoder.eos:
                assert "</think>" in trajectory.text
    assert left_out > 50


def test_a_transport_from_outside_brings_weights_that_the_engine_proves(ready, policy, phantom_tasks, tmp_path):
    """The example of docs/learner.md, in place of the store."""
    version, parts = Version(0, 5), (policy.published(part) for part in policy.parts(2**18))
    with documented_transport() as example:
        transport = example.FolderTransport(tmp_path)
        assert transport.sender(None).send(version, parts, probe_of(policy, phantom_tasks[:1]), {}) == Sent(0, [])
        wait_for(ready.use_transport.remote(transport), 60, "rollout-0")
        try:
            assert wait_for(ready.update.remote(version), 120, "rollout-0") < 1e-4
        finally:
            wait_for(ready.use_transport.remote(TRANSPORTS["store"]), 60, "rollout-0")
    assert len(generate(ready, [Request("g", phantom_tasks[0], 2, 7)], 5)) == 1


def test_a_version_that_is_not_kept_is_named(ready):
    with pytest.raises(RemoteFailure, match="version 0.99 is not kept"):
        wait_for(ready.update.remote(Version(0, 99)), 60, "rollout-0")


def test_a_killed_worker_takes_its_engine_along(ready):
    """The last test here: the worker is gone after it."""
    pid = wait_for(ready.__ray_call__.remote(lambda worker: __import__("os").getpid()), 60, "the worker")
    engine = psutil.Process(pid).children(recursive=True)
    assert engine
    psutil.Process(pid).kill()
    _, alive = psutil.wait_procs(engine, timeout=20)
    assert not alive
