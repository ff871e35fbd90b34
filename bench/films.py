"""What large films cost: read alone, in the learner's steps, and before the engine.

    python -m bench.films OUT [--json] [--films 200] [--parts read learner engine]

The films are phantoms, drawn large and noisy, of 2,544 × 3,056 pixels: JPEG, 16-bit PNG and DICOM. They are written to
OUT/films once (about 6 GB with 200 of each kind).

read: seconds of CPU on one thread from a file to the RGB image that the model's processor gets, over those of the
decoder and the resize alone, for pixel budgets that a JPEG can and cannot be decoded at a reduced scale for. Turns
alternate; a ratio is the median over turns. Then the seconds with the film in the node's cache, those of the
processor's patches on top, and for JPEG the mean difference of pixels (of 255 levels) by the reduced scale.

learner: a real rank on a tiny Qwen2.5-VL, whose steps have films that it has never seen and eight questions about each.
Seconds of each step, and those that it waited for films, with the films of the next step known, as in a run, and
without any reading ahead. One thread learns and one reads. Memory is told from the step on from which the limit of what
is kept of films, here 64 MiB, is reached.

engine: a real engine that writes a long response. Milliseconds from one token to the next while a share of prompts with
new films, 8 responses to each, is read and handed over; and without that. Their own computation comes afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from actors.runtime.environment import ENVIRONMENT, quiet_libraries

WIDTH, HEIGHT = 2544, 3056
KINDS = ("jpg", "png", "dcm")
BUDGETS = (2**18, 2**20, 2**22)  # pixels; at the last one a JPEG is decoded whole
SMALL = 2**16  # the budget of learner and engine: on a CPU more tokens would only take the model longer
LARGE = 2**21  # the engine's other budget: 49 MiB a film as the model reads it
STEP = 20  # films of a step
QUESTIONS = 8  # about each film of the learner's steps
KEPT = 2**26  # bytes of films that the learner keeps


def write_films(folder: Path, count: int) -> dict[str, list[str]]:
    """The paths of `count` different films of each kind; those that are there already are left as they are."""
    from curriculum.phantoms.phantom import draw_phantom

    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, 90, (HEIGHT, WIDTH)).astype(np.int16)
    paths: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for number in range(count):
        files = {kind: folder / f"{number}.{kind}" for kind in KINDS}
        for kind, path in files.items():
            paths[kind].append(str(path))
        if all(path.exists() for path in files.values()):
            continue
        large = Image.fromarray(draw_phantom(0, number).pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        deep = np.asarray(large).astype(np.int16) * 14 + np.roll(noise, 1000 * number) + 300
        deep = deep.clip(0, 4095).astype(np.uint16)
        Image.fromarray((deep >> 4).astype(np.uint8)).save(files["jpg"], quality=95)
        Image.fromarray(deep).save(files["png"], compress_level=1)
        write_dicom(files["dcm"], deep)
    return paths


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    header.PhotometricInterpretation, header.SamplesPerPixel, header.PixelRepresentation = "MONOCHROME2", 1, 0
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.WindowCenter, header.WindowWidth = 2048, 4096
    header.PixelData = pixels.tobytes()
    header["PixelData"].VR = "OW"
    pydicom.dcmwrite(path, header, enforce_file_format=True)


def decoded(path: str) -> Image.Image:
    """A film by its decoder alone, in 8 bits: nothing is stretched or windowed."""
    if path.endswith("dcm"):
        import pydicom

        return Image.fromarray(pydicom.dcmread(path).pixel_array.astype(np.uint8))
    with Image.open(path) as image:
        image.load()
        return Image.fromarray(np.asarray(image).astype(np.uint8)) if path.endswith("png") else image


def cpu_seconds(work: Callable[[Any], Any], films: Sequence[Any]) -> float:
    """Seconds of CPU of this process for each film."""
    start = time.process_time()
    for film in films:
        work(film)
    return (time.process_time() - start) / len(films)


def measure_reading(model: Path, paths: dict[str, list[str]], turns: int = 5) -> Iterator[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    for budget in BUDGETS:
        for kind, films in paths.items():
            yield {"kind": kind, "budget": budget} | measure_kind(model, budget, films[:10], turns)


def measure_kind(model: Path, budget: int, films: Sequence[str], turns: int) -> dict[str, Any]:
    from actors.model.encode import Encoder, PromptConfig

    plain = Encoder(model, PromptConfig(min_pixels=28**2, max_pixels=budget))
    cached = Encoder(model, PromptConfig(min_pixels=28**2, max_pixels=budget, film_cache_gib=4))
    scaling = plain.scaling
    assert scaling is not None
    size = scaling.target((WIDTH, HEIGHT))
    ours, floor = [], []
    for _ in range(turns):
        ours.append(cpu_seconds(plain.image, films))
        floor.append(cpu_seconds(lambda path: scaling.scaled(decoded(path), size), films))
    ratios = sorted(a / b for a, b in zip(ours, floor, strict=True))
    images = [plain.image(path) for path in films[:3]]
    for path in films:
        cached.image(path)
    row = {
        "size": f"{size[0]} × {size[1]}",
        "ours_ms": 1000 * statistics.median(ours),
        "decode_and_resize_ms": 1000 * statistics.median(floor),
        "films_per_s_and_core": 1 / statistics.median(ours),
        "ratio": statistics.median(ratios),
        "ratio_min": ratios[0],
        "ratio_max": ratios[-1],
        "cached_ms": 1000 * cpu_seconds(cached.image, films),
        "patches_ms": 1000 * cpu_seconds(plain.read, images),
    }
    cached.close()
    if films[0].endswith("jpg"):
        differences = []
        for path in films:
            whole = np.asarray(scaling.scaled(decoded(path), size).convert("RGB")).astype(float)
            differences.append(np.abs(np.asarray(plain.image(path)) - whole).mean())
        row["reduced_scale_levels"] = float(np.mean(differences))
    return row


def tasks_of(films: Sequence[str], questions: int = 1) -> list[Any]:
    from curriculum.task import Task

    return [
        Task(
            id=f"film-{number}-{asked}",
            domain="closed",
            family="binary",
            question=f"Is there an effusion, {asked}?",
            options={"A": "Yes", "B": "No"},
            gold=("A",),
            images=(film,),
            reference="<think>The left angle is blunted, and the heart is of normal size.</think><answer>A</answer>",
            split="train",
        )
        for number, film in enumerate(films)
        for asked in range(questions)
    ]


def mixed(paths: dict[str, list[str]]) -> list[str]:
    """All films, the kinds in turn."""
    return [film for together in zip(*paths.values(), strict=True) for film in together]


def measure_learner(model: Path, films: Sequence[str]) -> dict[str, Any]:
    from actors.learner.config import LearnerConfig
    from actors.learner.orders import UpdateAndReadAhead
    from actors.learner.rank import DeepSpeedRank
    from actors.learner.setup import RankSetup
    from actors.learner.sft_update import SftUpdate
    from actors.model.encode import PromptConfig
    from actors.model.films.read_ahead import Films

    steps = [films[start : start + STEP] for start in range(0, len(films) - STEP + 1, STEP)]
    result: dict[str, Any] = {"films_of_a_step": STEP}
    prompt = PromptConfig(min_pixels=28**2, max_pixels=SMALL)
    rank = DeepSpeedRank(
        RankSetup(LearnerConfig(threads=1, film_threads=1, micro_batch_tokens=512), prompt, str(model), None, 0), 0, 1
    )
    for way in ("read_ahead", "as_needed"):
        rank.encoder.films = Films(rank.encoder.films._read, 1 if way == "read_ahead" else 0, KEPT)
        waits, seconds, memory = [], [], []
        for number, step in enumerate(steps):
            after = steps[number + 1] if number + 1 < len(steps) else []
            start = time.perf_counter()
            order = UpdateAndReadAhead(SftUpdate(tasks_of(step, QUESTIONS), 1e-5), after)
            waits.append(order.run(rank).numbers["film_wait_s"])
            seconds.append(time.perf_counter() - start)
            memory.append(resident_mib())
        result[way] = {
            "step_s": statistics.median(seconds[1:]),
            "first_wait_s": waits[0],
            "later_waits_s": {"median": statistics.median(waits[1:]), "largest": max(waits[1:])},
            "resident_mib": {"after_step_4": memory[3], "at_the_end": memory[-1]},
        }
    return result


async def measure_engine(model: Path, films: Sequence[str], pixels: int, step: int) -> dict[str, Any]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from actors.model.encode import Encoder, PromptConfig
    from actors.rollout.config import RolloutConfig
    from actors.rollout.vllm_engine import EnginePrompt, VllmEngine

    config = RolloutConfig(film_threads=1, max_response_tokens=16, max_model_tokens=4096, max_batched_tokens=2**15)
    encoder = Encoder(model, PromptConfig(min_pixels=28**2, max_pixels=pixels))
    engine = VllmEngine(config, str(model), encoder, 1)
    resume = engine.llm.resume_generation
    taken_in = 0.0

    async def watched_resume() -> None:
        nonlocal taken_in
        taken_in = time.perf_counter()
        await resume()

    engine.llm.resume_generation = watched_resume
    endless = SamplingParams(
        max_tokens=4000, ignore_eos=True, seed=0, detokenize=False, output_kind=RequestOutputKind.DELTA
    )
    no_film = tasks_of(["none"])[0].model_copy(update={"images": ()})
    alone: list[float] = []
    beside: list[float] = []
    memory, seconds = [], []
    for start in range(0, len(films) - step + 1, step):
        prompts = []
        for number, task in enumerate(tasks_of(films[start : start + step])):
            parameters = SamplingParams(
                n=8, max_tokens=16, seed=number, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
            )
            prompts.append(EnginePrompt(encoder.prompt_ids(task), task.images, parameters))
        tokens: list[float] = []
        (written,) = await engine.submit_all([EnginePrompt(encoder.prompt_ids(no_film), (), endless)])
        writing = asyncio.create_task(note_tokens(written, tokens))
        await asyncio.sleep(1)
        began = time.perf_counter()
        queues = await engine.submit_all(prompts)
        seconds.append(time.perf_counter() - began)
        writing.cancel()
        await engine.llm.abort(written.request_id)
        for queue in queues:
            await engine.finish(queue)
        memory.append(resident_mib())
        for previous, token in itertools.pairwise(tokens):
            if token < began:
                alone.append(1000 * (token - previous))
            elif began < previous and token < taken_in:
                beside.append(1000 * (token - previous))
    engine.llm.shutdown()
    return {
        "max_pixels": pixels,
        "films_of_a_step": step,
        "ms_between_tokens_alone": {"median": statistics.median(alone), "largest": max(alone)},
        "ms_between_tokens_while_films_come": {"median": statistics.median(beside), "largest": max(beside)},
        "reading_and_submitting_s": statistics.median(seconds),
        "resident_mib": {"after_step_4": memory[3], "at_the_end": memory[-1]},
    }


async def note_tokens(written: Any, times: list[float]) -> None:
    """The time of each token of a response."""
    while not (written.get_nowait() or await written.get()).finished:
        times.append(time.perf_counter())


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--json", action="store_true", help="print only one JSON object")
    parser.add_argument("--films", type=int, default=200, help="of each kind")
    parser.add_argument("--parts", nargs="+", default=["read", "learner", "engine"])
    args = parser.parse_args()
    if not ENVIRONMENT.items() <= os.environ.items():  # the C library reads it at start-up
        alone = {"OMP_NUM_THREADS": "1"}
        os.execve(
            sys.executable, [sys.executable, "-m", "bench.films", *sys.argv[1:]], os.environ | ENVIRONMENT | alone
        )
    quiet_libraries()
    paths = write_films(args.out / "films", args.films)
    result: dict[str, Any] = {"cores": os.cpu_count(), "films_of_each_kind": args.films}
    with tempfile.TemporaryDirectory() as scratch:
        model = make_model(Path(scratch) / "model")
        if "read" in args.parts:
            result["read"] = []
            for row in measure_reading(model, paths):
                result["read"].append(row)
                if not args.json:
                    print(row, flush=True)
        if "learner" in args.parts:
            one_rank()
            result["learner"] = measure_learner(model, mixed(paths)[: 3 * args.films])
        if "engine" in args.parts:
            # Few large films: on a CPU the model takes seconds for each.
            result["engine"] = [
                asyncio.run(measure_engine(model, mixed(paths), SMALL, STEP)),
                asyncio.run(measure_engine(model, mixed(paths)[:25], LARGE, 5)),
            ]
    (args.out / "films.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result) if args.json else json.dumps(result, indent=1))


def make_model(folder: Path) -> Path:
    from actors.model.tiny_model import TinyModelConfig, make_tiny_model

    texts = [f"{task.question} {task.reference}" for task in tasks_of(["film"])]
    return make_tiny_model(TinyModelConfig(vision_steps=0), texts, folder)


def one_rank() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= alone


if __name__ == "__main__":
    main()
