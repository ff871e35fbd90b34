"""The files of weights of a model folder, by their headers: whether all are there and whole, and what they hold.

Weights are read from safetensors files alone: `model.safetensors`, or the shards that `model.safetensors.index.json`
names. A header says where each tensor of its file ends, so a file that was cut off shows without being read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from actors.model.folder.files import ModelFolderError, check_whole, is_named, listed, read_json, unfinished

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_HEADER = 100_000_000  # bytes, as the safetensors library has it
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.msgpack", "*.h5")
NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt")
AGAIN = "download it again"
BYTES_OF = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


class TensorHeader(NamedTuple):
    """What a header says of a tensor: its type in safetensors' words ("BF16"), and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Tensors = Mapping[str, TensorHeader]


def parameters(tensors: Tensors) -> int:
    """How many numbers the tensors hold."""
    return sum(tensor.size for tensor in tensors.values())


def has_weights(folder: Path) -> bool:
    """Whether the folder has, or should have, files of weights, in any form."""
    if is_named(folder / WHOLE) or is_named(folder / INDEX):
        return True
    return any(next(folder.glob(pattern), None) for pattern in ("*.safetensors", "*.index.json", *OTHER_WEIGHTS))


def read_weights(folder: Path) -> dict[str, TensorHeader]:
    """The tensors of a folder by name, each once.

    If a folder has a whole file and shards, the learner reads the one and the engine the others. That is accepted if
    both hold the same tensors.

    Raises:
        ModelFolderError: a file is missing, cut off or not safetensors.
    """
    whole = _read_header(folder / WHOLE) if is_named(folder / WHOLE) else None
    sharded = _read_shards(folder, whole is not None) if is_named(folder / INDEX) else None
    tensors = whole or sharded
    if not tensors:
        raise _no_weights(folder)
    if whole and sharded and whole != sharded:
        raise ModelFolderError(
            f"{folder} holds two models: {WHOLE} and the shards of {INDEX} have other tensors; remove one of them"
        )
    if sharded is None:
        _check_others(folder, tensors)
    return dict(tensors)


def _read_shards(folder: Path, has_whole: bool) -> dict[str, TensorHeader]:
    places = _index(folder / INDEX)
    files = sorted(set(places.values()))
    missing = [name for name in files if not is_named(folder / name)]
    if missing:
        remedy = (
            f"{INDEX} is out of date: remove it, since {WHOLE} is whole" if has_whole else "download the folder again"
        )
        raise ModelFolderError(
            f"{folder} lacks {listed(missing)} of the {len(files)} files that {INDEX} names{unfinished(folder)}; "
            f"{remedy}"
        )
    shards = {name: _read_header(folder / name) for name in files}
    for tensor, file in places.items():
        if tensor not in shards[file]:
            raise ModelFolderError(f"{folder / file} lacks {tensor}, which {INDEX} places there; download both again")
    return {tensor: shards[file][tensor] for tensor, file in places.items()}


def _index(path: Path) -> dict[str, str]:
    """The file of each tensor."""
    places = read_json(path).get("weight_map")
    if isinstance(places, dict) and places and all(_is_file_name(name) for name in places.values()):
        return places
    raise ModelFolderError(f"{path} has no weight_map that names a file beside it for each tensor; {AGAIN}")


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name


def _check_others(folder: Path, tensors: Tensors) -> None:
    """Refuses files of other tensors: without an index, the engine reads every *.safetensors file of the folder."""
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != WHOLE and any(tensors.get(name) != tensor for name, tensor in _read_header(path).items()):
            raise ModelFolderError(f"{path} holds other tensors than {WHOLE}, and would be read too; move it elsewhere")


def _no_weights(folder: Path) -> ModelFolderError:
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    if parts:
        return ModelFolderError(
            f"{folder} has no {WHOLE}, and no {INDEX} that says what {listed(parts)} hold; download the "
            f"missing file, or rename a file with the whole model to {WHOLE}"
        )
    others = {path.name for pattern in OTHER_WEIGHTS for path in folder.glob(pattern)}
    others.difference_update(NO_WEIGHTS)
    if others:
        return ModelFolderError(
            f"{folder} has no *.safetensors file with weights, and {listed(sorted(others))} is not read; load the "
            "model with transformers and save it with model.save_pretrained, which writes safetensors"
        )
    return ModelFolderError(
        f"{folder} has no *.safetensors file with weights{unfinished(folder)}; download the weights into it"
    )


def _read_header(path: Path) -> dict[str, TensorHeader]:
    """The tensors of one file. Raises ModelFolderError if the file is not as long as its header says."""
    check_whole(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length == 0:
                raise ModelFolderError(f"{path} begins with zeros, as a download that was not finished; {AGAIN}")
            if length > min(size - 8, MAX_HEADER):
                raise ModelFolderError(
                    f"{path} cannot be read as safetensors: it is cut off or another kind of file; {AGAIN}"
                )
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelFolderError):
            raise
        raise ModelFolderError(f"{path} cannot be read as safetensors ({error}); {AGAIN}") from error
    try:
        tensors, ends = _tensors(header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read as safetensors: its header is damaged; {AGAIN}") from error
    wanted = 8 + length + ends
    if size != wanted:
        how = "cut off" if size < wanted else "too long"
        raise ModelFolderError(f"{path} is {how}: it has {size:,} bytes, and its header says {wanted:,}; {AGAIN}")
    return tensors


def _tensors(header: dict[str, Any]) -> tuple[dict[str, TensorHeader], int]:
    """The tensors of a header, and the end of the last."""
    tensors = {}
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        tensor = TensorHeader(str(entry["dtype"]), tuple(int(length) for length in entry["shape"]))
        first, last = map(int, entry["data_offsets"])
        width = BYTES_OF.get(tensor.dtype)  # types of quantised weights are told elsewhere
        if width is not None and last - first != width * tensor.size:
            raise ValueError(f"{name} has another size than its shape")
        tensors[name] = tensor
        end = max(end, last)
    return tensors, end
