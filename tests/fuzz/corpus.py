"""What the inputs are made from: right files of every kind, and the fault cases where they lie beside the checkout."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import yaml
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

ROOT = Path(__file__).parents[2]
FAULT_CASES = ROOT.parent / "shared/data/fault_cases"
YAML_PIECES = [
    b"&a ",
    b"*a",
    b"<<: *a\n",
    b"!!int ",
    b"!!float ",
    b"!!bool ",
    b"!!timestamp ",
    b"!!binary ",
    b"!!set ",
    b"!!python/object:os.system ",
    b"!x ",
    b"? ",
    b"- ",
    b": ",
    b"2020-13-45",
    b"0x",
    b"1:99:99",
    b"{",
    b"[",
    b"|",
    b">",
    b"%",
    b"---\n",
    b"...\n",
    b"\t",
    b"name",
    b"~: ",
]
JSON_PIECES = [
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"{}",
    b"[",
    b"[" * 2000,
    b'{"a":' * 600,
    b"\\ud83d",
    b"\\u0000",
    b"9" * 5000,
]
CSV_PIECES = [b",", b"|", b'""', b"nan", b"-1.0", b"\r\n", b"No Finding", b"9" * 400, b"1e999", b"a" * 140_000]
XML_PIECES = [
    b"<",
    b"&",
    b"&#0;",
    b"&lol;",
    b"<!DOCTYPE a [<!ENTITY lol 'lol'>]>",
    b"<a>" * 3000,
    b"]]>",
    b"<!--",
    b"XXXX",
    b"XXXX XXXX.",
]


@dataclass(frozen=True)
class Corpus:
    """Folders that several targets link to: a task set without faults and its rows, and a tiny model."""

    task_set: Path
    rows: list[dict[str, Any]]
    model: Path

    @cached_property
    def film(self) -> bytes:
        return next((self.task_set / "images").glob("*.png")).read_bytes()

    @cached_property
    def films(self) -> list[bytes]:
        """PNG and JPEG files of several kinds."""
        ramp = np.arange(64 * 48).reshape(64, 48)
        grey = Image.fromarray((ramp % 256).astype(np.uint8))
        deep = Image.fromarray(ramp.astype(np.uint16))
        exif = Image.Exif()
        exif[0x0112] = 6
        kinds = [
            (grey, "PNG", {}),
            (deep, "PNG", {}),
            (grey.convert("P"), "PNG", {}),
            (grey.convert("RGBA"), "PNG", {"exif": exif}),
            (grey.convert("RGB"), "JPEG", {"exif": exif}),
            (grey, "JPEG", {"progressive": True}),
            (grey.convert("CMYK"), "JPEG", {}),
            (deep.convert("F"), "TIFF", {}),
            (grey.convert("RGB"), "GIF", {}),
            (grey.convert("RGB"), "WEBP", {}),
            (grey, "BMP", {}),
        ]
        return [saved(image, kind, **more) for image, kind, more in kinds] + cases("image-exif/*.*")

    @cached_property
    def dicoms(self) -> list[bytes]:
        kinds = [
            {},
            {"WindowCenter": 2000, "WindowWidth": 1000, "RescaleSlope": "1.5", "RescaleIntercept": "-20"},
            {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 7, "PixelPaddingRangeLimit": 9},
            {
                "NumberOfFrames": 1,
                "SpecificCharacterSet": "ISO_IR 192",
                "ModalityLUTSequence": _lut(),
                "PatientAge": "058Y",
            },
        ]
        films = [dicom(**tags) for tags in kinds]
        films += [dicom(syntax=ImplicitVRLittleEndian, VOILUTSequence=_lut()), dicom(syntax=RLELossless)]
        return films + cases("dicom-*/*.dcm")


def cases(pattern: str) -> list[bytes]:
    """The files of the fault cases that match; none if they are not there."""
    return [path.read_bytes() for path in sorted(FAULT_CASES.glob(pattern)) if path.is_file()]


def case_rows(pattern: str) -> list[Any]:
    """The objects in the fault cases' files of JSON lines."""
    return [json.loads(line) for content in cases(pattern) for line in content.splitlines() if line.strip()]


def recipes() -> list[dict[str, Any]]:
    """The recipes of the repository, and one with every kind of part."""
    trees = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "recipes").glob("*.yaml"))]
    full = {
        "name": "full",
        "seed": 1,
        "root": "runs",
        "data": {"tasks": "data", "drop_bad_rows": True},
        "model": {"path": "model"},
        "prompt": {"system": "Answer."},
        "stages": [
            {
                "name": "closed",
                "kind": "grpo",
                "tasks": {"binary": 1, "single_choice": 2},
                "rehearsal": 0.25,
                "rehearse": {"diagnosis": 1},
                "gate": {
                    "measure": "closed_accuracy",
                    "every": 2,
                    "max_steps": 4,
                    "threshold": 0.9,
                    "plateau": {"evaluations": 2, "min_gain": 0.01},
                },
                "training": {"algorithm": "dapo", "tasks_per_step": 8, "group_size": 4},
            },
        ],
        "rollout": {"workers": 1, "cpus": 0.5, "min": 1, "max": 2},
        "reward": {
            "workers": 1,
            "rules": {
                "preset": "strict",
                "own": {"mine": {"rule": "rewards.own:stage_order", "weight": 0.1, "options": {}}},
            },
        },
        "learner": {"workers": 1, "zero_stage": 2},
        "transport": "auto",
        "evaluation": {"val_per_family": 2, "test_per_family": 2},
        "checkpoint": {"every_minutes": 5, "keep": 2},
        "trackers": [],
        "log_trajectories": 2,
    }
    return [*trees, full]


def responses() -> list[dict[str, Any]]:
    """Lines of `curlvpr reward score`, of every form."""
    closed = "<think>The angle is blunt.</think><answer>A) ✅</answer><think>So A.</think><answer>A</answer>"
    rows: list[dict[str, Any]] = [
        {
            "domain": "closed",
            "options": {"A": "Effusion", "B": "Mass"},
            "gold": ["A"],
            "response": closed,
            "question": "Which?",
        },
        {
            "domain": "open",
            "gold": ["Effusion", "Mass"],
            "response": closed.replace("A", "Effusion, Mass"),
            "reference": closed,
        },
        {"domain": "open", "form": "text", "gold": ["The heart is large."], "response": closed, "truncated": True},
        {
            "domain": "open",
            "form": "boxes",
            "gold": [[1, 2, 30, 40]],
            "response": closed.replace("A)", "[1, 2, 30, 40]"),
        },
    ]
    return rows + case_rows("answers-*/*.jsonl")[::3] + case_rows("reward_answers.jsonl")[::20]


def texts() -> list[dict[str, Any]]:
    """Lines of `curlvpr reward extract`."""
    rows = [{"text": "No effusion or pneumothorax. 1) Mild cardiomegaly; possible mass, left."}]
    return rows + case_rows("extract-*/*.jsonl")[::3] + case_rows("reward_sentences.jsonl")[::20]


def easyr1_rows() -> list[list[dict[str, Any]]]:
    rows = [
        {"problem": "<image>Which?\nA) Edema\nB) Mass", "answer": "B", "images": ["0.png"]},
        {"problem": "<image>Is there edema?", "answer": "no", "images": ["0.png"], "split": "train"},
        {"problem": "<image>Name.", "answer": "<think>x</think><answer>Edema, Mass ✅</answer>", "images": ["1.png"]},
        {
            "prompt": [{"role": "system", "content": "Be."}, {"role": "user", "content": "<image>Edema?"}],
            "reward_model": {"ground_truth": "yes"},
            "images": ["1.png"],
            "data_source": "mine",
            "extra_info": {"split": "test"},
        },
    ]
    folders = sorted(FAULT_CASES.glob("import-*/"))
    shipped = [case_rows(f"{folder.name}/*.jsonl") for folder in folders if list(folder.glob("*.jsonl"))]
    return [rows, *shipped]


def json_lines(rows: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def header(**tags: Any) -> Dataset:
    """A film of 16 × 16 pixels and 12 bits."""
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    film.PatientSex, film.PatientAge, film.ViewPosition, film.StudyDate = "F", "093Y", "PA", "20200102"
    film.PhotometricInterpretation, film.SamplesPerPixel = "MONOCHROME2", 1
    film.Rows = film.Columns = 16
    film.PixelRepresentation, film.BitsAllocated, film.BitsStored, film.HighBit = 0, 16, 12, 11
    film.PixelData = np.arange(256, dtype=np.uint16).tobytes()
    film["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(film, name, value)
    return film


def dicom(syntax: Any = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    film = header(**tags)
    if syntax == RLELossless:
        film.compress(RLELossless)
    film.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, film, enforce_file_format=True)
    return file.getvalue()


def _lut() -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 12])
    item.add_new("LUTData", "US", [0, 1000, 2000, 4095])
    return [item]
