"""Files of weights, by their headers. The safetensors library itself is the reference for what a header means."""

import json
import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from actors.model.folder.files import ModelFolderError
from actors.model.folder.weights import TensorHeader, has_weights, parameters, read_weights

WEIGHTS = {"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float16), "c": np.zeros((2, 2), np.float32)}
HEADERS = {"a": TensorHeader("F32", (3, 5)), "b": TensorHeader("F16", (7,)), "c": TensorHeader("F32", (2, 2))}
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def save(folder, name, *tensors):
    save_file({tensor: WEIGHTS[tensor] for tensor in tensors}, folder / name)


def index(folder, **places):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def shards(folder):
    save(folder, ONE, "a", "b")
    save(folder, TWO, "c")
    index(folder, a=ONE, b=ONE, c=TWO)


def fault(folder):
    with pytest.raises(ModelFolderError) as caught:
        read_weights(folder)
    line = str(caught.value)
    assert str(folder) in line and "\n" not in line and ";" in line
    return line


def test_every_tensor_counts_once_however_it_is_stored(tmp_path):
    shards(tmp_path)
    assert read_weights(tmp_path) == HEADERS and parameters(HEADERS) == 15 + 7 + 4
    save(tmp_path, "model.safetensors", "a", "b", "c")
    assert read_weights(tmp_path) == HEADERS  # whole file and shards
    (tmp_path / "model.safetensors.index.json").unlink()
    assert read_weights(tmp_path) == HEADERS  # shards that nothing names, of the same tensors
    for name in (ONE, TWO):
        (tmp_path / name).unlink()
    assert read_weights(tmp_path) == HEADERS


def test_two_models_in_a_folder_are_told(tmp_path):
    shards(tmp_path)
    save(tmp_path, "model.safetensors", "a")
    assert "holds two models" in fault(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert ONE in fault(tmp_path) and "holds other tensors than model.safetensors" in fault(tmp_path)


def test_a_lost_shard_is_named(tmp_path):
    shards(tmp_path)
    (tmp_path / TWO).unlink()
    assert f"lacks {TWO} of the 2 files" in fault(tmp_path)
    (tmp_path / f"{TWO}.incomplete").write_bytes(b"1")
    assert f"({TWO}.incomplete shows that a download was not finished)" in fault(tmp_path)
    save(tmp_path, "model.safetensors", "a", "b", "c")
    assert "remove it, since model.safetensors is whole" in fault(tmp_path)


def test_shards_whose_index_is_lost_or_wrong(tmp_path):
    shards(tmp_path)
    index(tmp_path, a=ONE, b=ONE, c=ONE)
    assert f"{ONE} lacks c" in fault(tmp_path)
    for places in ({}, [], {"a": 3}, {"a": "../elsewhere/x.safetensors"}):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        assert "has no weight_map" in fault(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert f"no model.safetensors.index.json that says what {ONE}, {TWO} hold" in fault(tmp_path)


def test_weights_of_other_kinds_are_told_to_be_unread(tmp_path):
    assert not has_weights(tmp_path) and "download the weights" in fault(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"1")
    assert "is not read" not in fault(tmp_path)
    for name in ("pytorch_model-00001-of-00002.bin", "q4.gguf", "consolidated.00.pth"):
        (tmp_path / name).write_bytes(b"1")
        assert has_weights(tmp_path) and name in fault(tmp_path) and "is not read" in fault(tmp_path)
        (tmp_path / name).unlink()


@given(data=st.data())
def test_a_file_of_any_other_length_is_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "model.safetensors"
    save(folder, path.name, "a", "b", "c")
    size = path.stat().st_size
    length = data.draw(st.integers(0, size + 64).filter(lambda length: length != size))
    os.truncate(path, length)
    assert str(path) in fault(folder)


@given(content=st.binary(min_size=1, max_size=200))
def test_bytes_of_any_other_kind_are_refused(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "model.safetensors").write_bytes(content)
    fault(folder)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [None], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0]},
    ],
)
def test_a_damaged_header_is_one_line(tmp_path, entry):
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert "safetensors" in fault(tmp_path)


def test_a_folder_of_fifteen_gigabytes_is_judged_by_its_headers_alone(tmp_path):
    """Sparse files of the size of a 7B model in four shards: nothing is on the disk to be read."""
    places = {}
    for number in range(4):
        name = f"model-{number + 1:05}-of-00004.safetensors"
        shapes = {f"layers.{number}.{part}.weight": [10_000, 1_875] for part in range(100)}
        size = 2 * 10_000 * 1_875
        header = json.dumps(
            {
                tensor: {"dtype": "BF16", "shape": shape, "data_offsets": [at * size, (at + 1) * size]}
                for at, (tensor, shape) in enumerate(shapes.items())
            }
        ).encode()
        with open(tmp_path / name, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.truncate(8 + len(header) + size * len(shapes))
        places |= dict.fromkeys(shapes, name)
    index(tmp_path, **places)
    tensors = read_weights(tmp_path)
    assert parameters(tensors) == 4 * 100 * 10_000 * 1_875 == math.prod((4, 100, 18_750_000))
    os.truncate(tmp_path / "model-00003-of-00004.safetensors", 3_000_000_000)
    assert "model-00003-of-00004.safetensors is cut off: it has 3,000,000,000 bytes" in fault(tmp_path)
