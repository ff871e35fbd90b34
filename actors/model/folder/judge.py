"""The judgement on a model folder that every command asks for before it starts anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.model.encode import Encoder, PromptConfig
from actors.model.families import ModelFamily, UnsupportedModel, family_of
from actors.model.families.pixel_budget import PixelBudgetError
from actors.model.folder.dialogue import check_dialogue, check_patches, no_template
from actors.model.folder.files import ModelFolderError, check_folder, check_whole, is_named, read_json, unfinished
from actors.model.folder.trainable import (
    SIZES,
    check_dense,
    check_embedding,
    check_no_adapter,
    check_not_quantised,
    check_trainable,
    embedding_of,
)
from actors.model.folder.weights import Tensors, has_weights, read_weights

TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))  # one of these sets is needed
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/default.jinja")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # one of them
SAVED = "a Hugging Face folder saved with model.save_pretrained and processor.save_pretrained is needed"


@dataclass(frozen=True)
class FolderFiles:
    """A folder whose files are whole: its family, its configuration, and the tensors of its weights by name."""

    folder: Path
    family: ModelFamily
    config: dict[str, Any]
    tensors: Tensors


@dataclass(frozen=True)
class JudgedModel:
    """A model folder that can be trained.

    Attributes:
        files: what its files hold.
        encoder: its processor, with the prompt that was judged.
        remarks: what works and should be known, a line each.
    """

    files: FolderFiles
    encoder: Encoder
    remarks: tuple[str, ...]


def judge(folder: Path, prompt: PromptConfig) -> JudgedModel:
    """Judges a model folder whole: its files first, which takes no library, then its way to chat.

    Raises:
        ModelFolderError: it cannot be trained; one line says why.
    """
    files = judge_files(folder)
    _check_read_settings(files)
    encoder = _encoder(folder, files, prompt)
    embedding = embedding_of(files.tensors)
    rows = files.tensors[embedding].shape[0] if embedding else None
    try:
        remarks = check_dialogue(folder, encoder, rows)
        check_patches(folder, files.config, encoder)
    except ModelFolderError:
        raise
    except Exception as error:  # a setting of an odd type shows only where transformers uses it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelFolderError(
            f"{folder}: its tokenizer or its processor fails at a prompt ({reason:.200}); {SAVED}"
        ) from error
    return JudgedModel(files, encoder, remarks)


def judge_files(folder: Path) -> FolderFiles:
    """Judges the files of a model folder by names, sizes and headers; reads no weights.

    Raises:
        ModelFolderError: one is missing or broken, or they hold no model that can be trained.
    """
    config = read_config(folder)
    family = family_in(folder, config)
    check_no_adapter(folder)
    check_not_quantised(folder, config)
    tensors = read_weights(folder)
    check_trainable(folder, family, config, tensors)
    _check_tokenizer(folder)
    if family.reads_images:
        _check_processor(folder)
    return FolderFiles(folder, family, config, tensors)


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises ModelFolderError, which says where it might be."""
    check_folder(folder)
    path = folder / "config.json"
    if is_named(path):
        return read_json(path)
    check_no_adapter(folder)
    below = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    hint = f"did you mean {sorted(below)[0].parent}?" if below else SAVED
    raise ModelFolderError(f"{folder} has no config.json (the model's configuration){unfinished(folder)}; {hint}")


def family_in(folder: Path, config: dict[str, Any]) -> ModelFamily:
    """The family that a configuration names. Raises ModelFolderError."""
    check_dense(folder, config)
    try:
        return family_of(str(config.get("model_type", "")))
    except UnsupportedModel as error:
        raise ModelFolderError(f"{folder / 'config.json'}: {error}") from error


def only_described(folder: Path) -> bool:
    """Whether the folder holds a configuration alone, without tokenizer and weights: a run of it can be planned."""
    names = [TOKENIZER_CONFIG, *(name for names in TOKENIZERS for name in names)]
    return not has_weights(folder) and not any(is_named(folder / name) for name in names)


def _check_tokenizer(folder: Path) -> None:
    if not any(all(is_named(folder / name) for name in names) for names in TOKENIZERS):
        choices = " or ".join(" + ".join(names) for names in TOKENIZERS)
        raise ModelFolderError(f"{folder} has no {choices} (its tokenizer){unfinished(folder)}; {SAVED}")
    if not is_named(folder / TOKENIZER_CONFIG):
        raise ModelFolderError(f"{folder} has no {TOKENIZER_CONFIG} (its tokenizer){unfinished(folder)}; {SAVED}")
    for name in ("tokenizer.json", "vocab.json", TOKENIZER_CONFIG, "chat_template.json"):
        if is_named(folder / name):
            read_json(folder / name)
    for name in ("merges.txt", "tokenizer.model", *TEMPLATES):
        if is_named(folder / name):
            check_whole(folder / name)
    holders = (TOKENIZER_CONFIG, "processor_config.json")
    held = any(is_named(folder / name) and read_json(folder / name).get("chat_template") for name in holders)
    if not held and not any(is_named(folder / name) for name in TEMPLATES):
        raise no_template(folder)


def _check_processor(folder: Path) -> None:
    present = [name for name in PROCESSORS if is_named(folder / name)]
    if not present:
        raise ModelFolderError(f"{folder} has no {' or '.join(PROCESSORS)} (its image processor); {SAVED}")
    for name in present:
        read_json(folder / name)


def _check_read_settings(files: FolderFiles) -> None:
    """Judges the settings as transformers reads them: it fills in what a file leaves out, and checks others."""
    from transformers import AutoConfig, GenerationConfig

    folder, embedding = files.folder, embedding_of(files.tensors)
    try:
        text = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
        if is_named(folder / "generation_config.json"):
            GenerationConfig.from_pretrained(folder).validate(strict=True)
    except Exception as error:  # its checks raise what they like
        file = "generation_config.json" if "GenerationConfig" in str(error) else "config.json"
        reason = " ".join(str(error).split())
        raise ModelFolderError(
            f"{folder / file} is refused by transformers ({reason:.200}), so the model could not be loaded or saved; "
            "correct the file"
        ) from error
    if embedding:
        sizes = {name: getattr(text, name, None) for name in SIZES}
        check_embedding(folder, sizes, files.tensors[embedding].shape)


def _encoder(folder: Path, files: FolderFiles, prompt: PromptConfig) -> Encoder:
    try:
        return Encoder(folder, prompt)
    except PixelBudgetError as error:
        raise ModelFolderError(f"{folder}: {error}") from error
    except Exception as error:  # transformers raises what it likes
        old_name = _old_image_processor(folder, files)
        if old_name:
            raise old_name from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelFolderError(f"{folder}: its processor cannot be used ({reason:.200}); {SAVED}") from error


def _old_image_processor(folder: Path, files: FolderFiles) -> ModelFolderError | None:
    """What to write if a file names an image processor that this release of transformers does not have."""
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    for name in PROCESSORS:
        content = read_json(folder / name) if is_named(folder / name) else {}
        settings = content.get("image_processor", content)
        kind = settings.get("image_processor_type") if isinstance(settings, dict) else None
        if not isinstance(kind, str) or hasattr(transformers, kind.removesuffix("Fast")):
            continue
        known = IMAGE_PROCESSOR_MAPPING_NAMES.get(files.config["model_type"])
        usual = next((str(entry) for entry in _flat(known) if entry), "the name in the original model")
        return ModelFolderError(
            f"{folder / name}: image_processor_type {kind!r} is unknown to transformers {transformers.__version__}; it "
            f"was renamed: write {usual}"
        )
    return None


def _flat(names: Any) -> list[Any]:
    """transformers' table holds a name, or several for different back ends."""
    if isinstance(names, dict):
        return list(names.values())
    return list(names) if isinstance(names, tuple | list) else [names]
