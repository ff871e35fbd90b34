"""The served policy on the real engine, and the images of a chat."""

import asyncio
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.runtime.storage import POLICY, Storage
from cluster.config.recipe_file import load_recipe
from cluster.record.checkpoint import Checkpoints
from cluster.record.lease import Lease
from cluster.record.run_reader import RunRecord
from cluster.record.run_writer import recipe_text
from cluster.service.chat_policy import IMAGES, MAX_PIXELS, ChatRefused, _with_images, find_source
from tests.support.service import chat_of, film
from tests.support.short_run import SMOKE


def test_a_chat_is_answered_as_the_run_answered_the_same_task(service, run, openai_client):
    """Compares without the bytes that form no character: an untrained model writes many, and each side shows them in
    its own way."""
    record, served = RunRecord(run), run.parent / "served"
    version = max(test.version for test in record.tests)
    answers = dict(list(record.answers(version).items())[:4])
    tasks = record.tasks(answers)

    def plain(text):
        return text.replace("\ufffd", "")

    async def ask():
        whole = await asyncio.gather(
            *(
                openai_client.chat.completions.create(model="served", messages=chat_of(tasks[id]), temperature=0)
                for id in answers
            )
        )
        stream = await openai_client.chat.completions.create(
            model="served",
            messages=chat_of(tasks[next(iter(answers))]),
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        return (await openai_client.models.list()).data, whole, [piece async for piece in stream]

    models, whole, pieces = asyncio.run(ask())
    assert [model.id for model in models] == ["served"]
    assert {answer.system_fingerprint for answer in whole} == {
        f"served/{sorted(os.listdir(served / 'checkpoints'))[-1]}"
    }
    texts = [answer["response"] for answer in answers.values()]
    assert [plain(answer.choices[0].message.content) for answer in whole] == [plain(text) for text in texts]
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert plain(text) == plain(texts[0]) and len(pieces) > 5
    assert pieces[-1].usage.completion_tokens == whole[0].usage.completion_tokens


def test_new_weights_are_taken_up_while_two_hundred_chat(service, run, openai_client):
    """The new commit's weights are noise; every chat is answered, some begun before it, and later ones by it."""
    served = run.parent / "served"
    checkpoints = Checkpoints(Storage(str(served / "checkpoints")), 2)
    newest = checkpoints.committed()[-1]
    state = Checkpoints.load_policy(newest)
    weights = {
        name: value + 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        for name, value in load_file(served / "checkpoints" / newest.name / POLICY).items()
    }
    record = RunRecord(run)
    task = next(iter(record.tasks(record.answers(0)).values()))

    async def chat(number):
        return await openai_client.chat.completions.create(
            model="served", messages=chat_of(task), seed=number, max_tokens=32
        )

    async def ask():
        chats = [asyncio.create_task(chat(number)) for number in range(200)]
        await asyncio.wait(chats, return_when=asyncio.FIRST_COMPLETED)
        folder = checkpoints.begin(state["step"] + 1)
        with folder.workspace() as made:
            save_file(weights, made / POLICY)
            digests = folder.take_in(made)
        checkpoints.commit(folder, digests, state | {"version": state["version"] + 1})
        while (last := await chat(200)).system_fingerprint != f"served/{folder.name}":
            chats.append(asyncio.create_task(chat(len(chats))))
            await asyncio.sleep(0.1)
        return await asyncio.gather(*chats), last

    answers, last = asyncio.run(ask())
    assert len(answers) >= 200 and all(answer.choices[0].finish_reason for answer in answers)
    assert {answer.system_fingerprint for answer in answers} >= {f"served/{newest.name}"}
    assert last.system_fingerprint != f"served/{newest.name}"


def test_images_are_counted_before_they_are_decoded(monkeypatch):
    read = []
    monkeypatch.setattr("cluster.service.chat_policy.read_image", lambda *args: read.append(args))
    chat = [{"role": "user", "content": [film(8, 8)] * IMAGES}, {"role": "user", "content": [film(8, 8)]}]
    with pytest.raises(ChatRefused, match=f"{IMAGES + 1} images; {IMAGES} at most"):
        _with_images(chat)
    assert not read


def test_the_images_of_a_chat_have_so_many_pixels_together():
    half = film(2**13, MAX_PIXELS // 2**14)
    told = _with_images([{"role": "user", "content": [half, {"type": "text", "text": "?"}, half]}])
    assert [part["type"] for part in told[0]["content"]] == ["image_pil", "text", "image_pil"]
    with pytest.raises(ChatRefused, match=r"messages.1.content.0: 1 × 1 pixels; 0 pixels at most"):
        _with_images([{"role": "user", "content": [half, half]}, {"role": "user", "content": [film(1, 1)]}])


def test_a_run_is_served_with_its_prompt_and_its_pixel_budget(tmp_path):
    recipe = load_recipe(SMOKE, ["prompt.system=Think hard.", "model.max_pixels=50000"])
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.yaml").write_text(recipe_text(recipe))
    prompt = find_source(tmp_path, "one").prompt
    assert (prompt.system, prompt.max_pixels) == ("Think hard.", 50_000)


def test_who_trains_in_a_served_run_is_told(tmp_path):
    """It is only read, so it may go on."""
    shutil.copytree(SMOKE.parent, tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / "smoke.yaml").rename(tmp_path / "runs" / "one" / "recipe.yaml")

    def told():
        return find_source(tmp_path / "runs", "one").remarks[-1]

    assert told() == (
        "policy one: this run is not in progress; it has committed no weights yet; they are served as they come"
    )
    with Lease(tmp_path / "runs" / "one"):
        assert f"one: this run is in progress, in process {os.getpid()} on" in told()
    commit = tmp_path / "runs" / "one" / "checkpoints" / "step-0000007"
    commit.mkdir(parents=True)
    (commit / "manifest.json").write_text("{}")
    assert "its commit step-0000007 is served, and newer ones as they come" in told()
