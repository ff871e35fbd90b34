"""Whether a model folder can chat: a sample dialogue goes through its template and tokenizer, and back to text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from actors.model.encode import THINK, Encoder
from actors.model.folder.files import ModelFolderError
from rewards.reading.parser import TAG

QUESTION = "Is there a small effusion?"
ANSWER = "<think>No effusion.</think><answer>B</answer>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ORIGINAL = "copy the file from the original model"
OWN_WORDS = 4  # words of a template's own in a prompt that are told; names of roles are fewer
_MARK = re.compile(r"<\|[^<>|\s]{1,40}\|>")
_OPENED = re.compile(r"<(\w{1,20})>\s*\Z")
_WORD = re.compile(r"[^\W\d_]{2,}")
_ROLES = {"system", "user", "assistant", "model", "human", "inst", "sys"}


def check_dialogue(folder: Path, encoder: Encoder, rows: int | None) -> tuple[str, ...]:
    """Lets a system message, a question, an image and an answer go through the folder's template and tokenizer.

    Args:
        folder: is named in the messages.
        encoder: of the folder.
        rows: of the token embedding; None if it is not known.

    Returns:
        Remarks on what works and should be known, each in one line.

    Raises:
        ModelFolderError: prompts or responses would not mean what they should.
    """
    if not encoder.template:
        raise no_template(folder)
    prompt = _prompt(folder, encoder)
    _check_marks(folder, encoder, prompt)
    _check_vocabulary(folder, encoder, rows)
    _check_tags(folder, encoder)
    _check_response(folder, encoder)
    if encoder.family.reads_images:
        _check_image(folder, encoder)
    return _remarks(folder, encoder, prompt)


def no_template(folder: Path) -> ModelFolderError:
    """The fault of a folder without a chat template."""
    return ModelFolderError(
        f"{folder} has no chat template (chat_template.jinja, chat_template.json or the key chat_template of "
        f"tokenizer_config.json); {ORIGINAL}"
    )


def _prompt(folder: Path, encoder: Encoder) -> str:
    images = int(encoder.family.reads_images)
    try:
        prompt = encoder.chat_prompt(QUESTION, images)
    except Exception as error:  # a template is a program, and raises what it likes
        reason = " ".join(str(error).split())
        raise ModelFolderError(
            f"{folder}: its chat template cannot write a system message and a question ({type(error).__name__}: "
            f"{reason:.160}); {ORIGINAL}, or change the template"
        ) from error
    for part, text in (("system message (prompt.system)", encoder.prompt.system), ("question", QUESTION)):
        if text.strip() not in prompt:
            raise ModelFolderError(
                f"{folder}: its chat template leaves the {part} out of the prompt; {ORIGINAL}, or change the template"
            )
    placeholders = len(encoder.placeholders(prompt)) - 1
    if placeholders != images:
        raise ModelFolderError(
            f"{folder}: its chat template writes {placeholders} times {encoder.processor.image_token}, which its "
            f"processor ({type(encoder.processor).__name__}) expects once for each image; copy template and processor "
            "from the original model"
        )
    return prompt


def _check_marks(folder: Path, encoder: Encoder, prompt: str) -> None:
    """Refuses a template whose marks of turns are no tokens of this tokenizer: one of them is of another model."""
    vocabulary = encoder.tokenizer.get_vocab()
    for text in (prompt, encoder.after_answer):
        unknown = next((mark for mark in _MARK.findall(text) if mark not in vocabulary), None)
        if unknown:
            raise ModelFolderError(
                f"{folder}: its chat template writes {unknown}, which is no token of its tokenizer: they are of two "
                "models; copy both from the original model"
            )


def _check_vocabulary(folder: Path, encoder: Encoder, rows: int | None) -> None:
    vocabulary = encoder.tokenizer.get_vocab()
    tokens = max(vocabulary.values(), default=-1) + 1
    if encoder.eos is None:
        raise ModelFolderError(
            f"{folder}: no token ends a response: tokenizer_config.json has no eos_token, and the chat template writes "
            f"no special token after an answer; {ORIGINAL}"
        )
    if rows is None:
        return
    if tokens > rows:
        last = max(vocabulary, key=lambda token: vocabulary[token])
        raise ModelFolderError(
            f"{folder}: its tokenizer has {tokens:,} tokens (the last is {last!r}), the embedding {rows:,} rows; copy "
            "the tokenizer that belongs to the weights, or save the model after model.resize_token_embeddings"
        )
    if 2 * tokens < rows:
        raise ModelFolderError(
            f"{folder}: its tokenizer has {tokens:,} tokens, the embedding {rows:,} rows: the tokenizer is incomplete "
            "or of another model; copy its files from the original model"
        )


def _check_tags(folder: Path, encoder: Encoder) -> None:
    special = [tag for tag in TAGS if encoder.is_special(tag)]
    if special:
        raise ModelFolderError(
            f"{folder}: {' '.join(special)} are special tokens of its tokenizer, and responses may hold none; set "
            '"special": false for them in tokenizer.json and tokenizer_config.json, and take them out of its lists of '
            "special tokens"
        )


def _check_response(folder: Path, encoder: Encoder) -> None:
    try:
        back = encoder.text_with_offsets(encoder.response_ids(ANSWER))[0]
    except ValueError as error:
        raise ModelFolderError(f"{folder}: its tokenizer cannot be used: {error}") from error
    wanted = encoder.opened + ANSWER.removeprefix(THINK) if encoder.opened else ANSWER
    if back.strip() != wanted:
        raise ModelFolderError(
            f"{folder}: its tokenizer reads {ANSWER!r} and writes {back!r}; copy the files of the tokenizer from the "
            "original model"
        )


def _check_image(folder: Path, encoder: Encoder) -> None:
    try:
        image = encoder.blank
    except Exception as error:  # a processor raises what it likes
        kinds = f"{type(encoder.processor).__name__} with {type(encoder.processor.image_processor).__name__}"
        raise ModelFolderError(
            f"{folder}: its processor ({kinds}) cannot read an image ({type(error).__name__}: {error!s:.120}); copy "
            "processor_config.json and preprocessor_config.json from the original model"
        ) from error
    if encoder.image_token not in encoder.tokenizer(image.text, add_special_tokens=False).input_ids:
        raise ModelFolderError(
            f"{folder}: its processor writes images without token {encoder.image_token}, which config.json replaces by "
            "what the model sees (image_token_id); copy config.json and the tokenizer from the original model"
        )


def check_patches(folder: Path, config: dict[str, Any], encoder: Encoder) -> None:
    """Raises ModelFolderError if the image processor cuts an image into other patches than the vision tower reads."""
    vision = config.get("vision_config")
    settings = getattr(encoder.processor, "image_processor", None)
    if not isinstance(vision, dict) or settings is None:
        return
    for theirs, ours in (("patch_size", "patch_size"), ("spatial_merge_size", "merge_size")):
        wanted, made = vision.get(theirs), getattr(settings, ours, None)
        if isinstance(wanted, int) and isinstance(made, int) and wanted != made:
            raise ModelFolderError(
                f"{folder}: its image processor has {ours} {made}, the vision tower in config.json {theirs} {wanted}; "
                "copy preprocessor_config.json from the original model"
            )


def _remarks(folder: Path, encoder: Encoder, prompt: str) -> tuple[str, ...]:
    remarks = []
    opened = _OPENED.search(prompt)
    if encoder.opened:
        remarks.append(
            f"{folder}: its chat template ends every prompt with {encoder.opened.strip()}, so responses are scored "
            "with it before them"
        )
    elif opened and not TAG.fullmatch(f"<{opened[1]}>"):
        remarks.append(
            f"{folder}: its chat template ends every prompt with <{opened[1]}>; responses are to begin with <think>"
        )
    elif prompt.rstrip().endswith("</think>"):
        remarks.append(
            f"{folder}: its chat template ends every prompt with an empty <think></think>, which is not scored"
        )
    own = _own_words(encoder, prompt)
    if len(own) >= OWN_WORDS:
        remarks.append(
            f"{folder}: its chat template adds words of its own to every prompt: {' '.join(own[:12])}; "
            "prompt.system does not replace them"
        )
    if "strftime_now" in encoder.template:
        remarks.append(f"{folder}: its chat template may write today's date, so prompts can differ from day to day")
    return tuple(remarks)


def _own_words(encoder: Encoder, prompt: str) -> list[str]:
    """The words of a prompt that neither the messages nor tokens of the chat account for."""
    added = [token.content for token in encoder.tokenizer.added_tokens_decoder.values() if token.content.strip()]
    for text in sorted((encoder.prompt.system.strip(), QUESTION, *added), key=len, reverse=True):
        if text:
            prompt = prompt.replace(text, "\n")
    return [word for word in _WORD.findall(prompt) if word.lower() not in _ROLES]
