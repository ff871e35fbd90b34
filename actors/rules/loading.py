"""What rules that are models need to load: a package, a folder, a device. Each fault is one line."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FAR = 10**6  # a tokenizer that was saved without its model's length says about 10**30


def load_package(module: str, install: str) -> Any:
    """The module of an optional package.

    Args:
        install: what `pip install` needs for it.

    Raises:
        ImportError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing == module:
            raise ImportError(f"the package {module} is not installed: pip install {install}") from error
        why = f"cannot be used beside the other packages ({one_line(error)})"
        if missing:
            why = f"needs {missing}, which is not installed"
        raise ImportError(f"the package {module} {why}; give the rule a runtime_env with pip: {install}") from error


@contextmanager
def using(package: str, install: str) -> Iterator[None]:
    """Says in one line which package it was, if it fails when it is set up.

    Raises:
        RuntimeError: whatever the package raised.
    """
    try:
        yield
    except Exception as error:
        raise RuntimeError(
            f"the package {package} fails: {type(error).__name__}: {one_line(error)}; if it needs other versions than "
            f"those here, give the rule a runtime_env with pip: {install}"
        ) from error


def check_model_folder(path: str) -> Path:
    """The path of a Hugging Face folder, which has a config.json.

    Raises:
        ValueError: there is no such folder, or it is none of a model.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{path}: no such folder; a folder of a model in Hugging Face's format is needed")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{path}: it has no config.json; a folder of a model in Hugging Face's format is needed")
    return folder


def load_tokenizer(folder: Path, **settings: Any) -> Any:
    """The tokenizer of a folder. No code of the folder is run, and nothing is downloaded.

    Raises:
        ValueError: the folder holds none that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except Exception as error:
        raise ValueError(f"{folder}: it holds no tokenizer that can be loaded ({one_line(error)})") from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # without its files, transformers 5 makes an empty one
        raise ValueError(f"{folder}: it holds no tokenizer")
    return tokenizer


def choose_device(device: str) -> str:
    """`cpu`, `cuda` or `cuda:N`; for `auto`, `cuda` if this process has a GPU, otherwise `cpu`.

    Raises:
        ValueError: it is another name, or a GPU is asked for and this process has none.
    """
    import torch

    check_device(device)
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device != "cpu" and not has_gpu:
        raise ValueError(f"device {device}: this process has no GPU; give the rule gpus: 1, or device: cpu")
    return device


def check_device(device: str) -> None:
    """Raises ValueError if it is no name of a device."""
    kind, colon, number = device.partition(":")
    if device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and colon and number.isdecimal()):
        raise ValueError(f"device {device}: auto, cpu, cuda or cuda:N is needed")


def gpu_number(device: str) -> int:
    """The number of the GPU of a chosen device, -1 for the CPU."""
    return -1 if device == "cpu" else int(device.partition(":")[2] or 0)


def longest_input(tokenizer: Any, config: Any) -> int:
    """The tokens that a model takes at most, special ones included."""
    positions = getattr(config, "max_position_embeddings", None) or 514
    if tokenizer.model_max_length > FAR:
        return positions - 2  # RoBERTa keeps two of its positions for itself
    return min(tokenizer.model_max_length, positions)


def one_line(error: BaseException) -> str:
    """An error of a library on one line, cut off at 200 characters."""
    return " ".join(str(error).split())[:200]
