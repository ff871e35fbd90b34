"""A sample dialogue through a folder's template and tokenizer."""

import json

import pytest
from transformers import AutoTokenizer

from actors.model.encode import Encoder, PromptConfig
from actors.model.folder.dialogue import ANSWER, TAGS, check_dialogue, check_patches, no_template
from actors.model.folder.files import ModelFolderError
from rewards.reading.parser import parse
from tests.actors.model.folder.conftest import change_json

OPENING = "<|im_start|>assistant\n"


def change_template(folder, old, new):
    path = folder / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def remarks(folder, rows=None, system="Answer in steps."):
    return check_dialogue(folder, Encoder(folder, PromptConfig(system=system)), rows)


def fault(folder, rows=None):
    with pytest.raises(ModelFolderError) as caught:
        remarks(folder, rows)
    line = str(caught.value)
    assert str(folder) in line and "\n" not in line and len(line) - len(str(folder)) < 420
    return line


def test_a_sound_folder_needs_no_remark(folder):
    assert remarks(folder) == () and remarks(folder, system="") == () and remarks(folder, system=" Say: <b>. ") == ()


def test_the_template_is_found_in_every_place(folder):
    """What each place makes of a chat is what the template's own file makes of it."""
    file = folder / "chat_template.jinja"
    template, prompt = file.read_text(), Encoder(folder, PromptConfig()).chat_prompt("?", 1)
    file.unlink()
    several = [{"name": "default", "template": template}, {"name": "tool_use", "template": "x"}]
    (folder / "additional_chat_templates").mkdir()
    places = (
        ("tokenizer_config.json", json.dumps({"chat_template": template})),
        ("tokenizer_config.json", json.dumps({"chat_template": several})),
        ("chat_template.json", json.dumps({"chat_template": template})),
        ("additional_chat_templates/default.jinja", template),
    )
    for name, text in places:
        path = folder / name
        before = path.read_text() if path.exists() else None
        path.write_text(json.dumps(json.loads(before) | json.loads(text)) if before else text)
        assert remarks(folder) == () and Encoder(folder, PromptConfig()).chat_prompt("?", 1) == prompt
        if before:
            path.write_text(before)
        else:
            path.unlink()
    assert fault(folder) == str(no_template(folder))
    (folder / "additional_chat_templates/tool_use.jinja").write_text(template)
    assert "has no chat template" in fault(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{%- for message in messages -%}", "{%- for message in -%}", "TemplateSyntaxError"),
        ("{%- for message in messages -%}", "{{ raise_exception('System role not supported') }}", "Syntax|System role"),
        (
            "{%- for message in messages -%}",
            "{%- if messages[0].role == 'system' -%}{{ raise_exception('No system role') }}{%- endif -%}"
            "{%- for message in messages -%}",
            "TemplateError: No system role",
        ),
        (
            "{%- for message in messages -%}",
            "{%- for message in messages -%}{{ '' + message.content }}",
            "TypeError.*str",
        ),
        (
            "{%- for message in messages -%}",
            "{%- for message in messages if message.role != 'system' -%}",
            "leaves the system message .prompt.system. out",
        ),
        ("{{ part.text }}", "", "leaves the .* out of the prompt"),
        ("<|vision_start|><|image_pad|><|vision_end|>", "", r"writes 0 times <\|image_pad\|>"),
        ("<|image_pad|>", "<|image_pad|><|image_pad|>", r"writes 2 times <\|image_pad\|>"),
        ("<|im_start|>", "<|start_header|>", r"writes <\|start_header\|>, which is no token"),
        ("<|im_end|>", "<|eot_id|>", r"writes <\|eot_id\|>, which is no token"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(folder, old, new, words):
    import re

    change_template(folder, old, new)
    line = fault(folder)
    assert re.search(words, line) and "chat template" in line


def test_a_template_that_thinks_first_is_told_and_responses_hold_its_tag(folder):
    change_template(folder, OPENING, f"{OPENING}<think>\n")
    assert remarks(folder) == (
        f"{folder}: its chat template ends every prompt with <think>, so responses are scored with it before them",
    )
    encoder = Encoder(folder, PromptConfig())
    written = encoder.response_ids(ANSWER)
    assert "<think>" not in encoder.tokenizer.decode(written)  # the prompt has it
    text, ends = encoder.text_with_offsets(written)
    assert text == ANSWER.replace("<think>", "<think>\n") and not parse(text).faults and ends[-1] == len(text)
    assert ends[0] > len("<think>\n") and len(ends) == len(written)
    plain = encoder.text_with_offsets(encoder.response_ids("Plain words."))[0]
    assert plain == "<think>\nPlain words."  # a text without the tag is taught after it, as it is


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("<reasoning>\n", "ends every prompt with <reasoning>"),
        ("<think>\n\n</think>\n\n", "an empty <think></think>"),
        ("Let us look at every region of this film: ", "adds words of its own to every prompt: Let us look"),
        ("{{ strftime_now('%d') }}\n", "today's date"),
    ],
)
def test_what_else_a_template_writes_is_told(folder, ending, words):
    change_template(folder, OPENING, OPENING + ending)
    (line,) = remarks(folder)
    assert words in line and line.startswith(str(folder)) and "\n" not in line


def test_tags_that_are_special_tokens_are_refused(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(TAGS[2:])})
    tokenizer.save_pretrained(folder)
    line = fault(folder)
    assert "<answer> </answer> are special tokens" in line and "<think>" not in line and '"special": false' in line


def test_a_vocabulary_that_does_not_fit_the_embedding_is_refused(folder):
    tokens = len(AutoTokenizer.from_pretrained(folder))
    assert remarks(folder, tokens) == () and remarks(folder, tokens + 64) == ()
    assert f"has {tokens:,} tokens (the last is" in fault(folder, tokens - 1)
    assert "resize_token_embeddings" in fault(folder, tokens - 1)
    assert "incomplete or of another model" in fault(folder, 2 * tokens + 1)


def test_a_folder_without_an_end_of_a_response_is_refused(folder):
    change_template(folder, "<|im_end|>", "")
    assert remarks(folder) == ()  # the tokenizer's own end token serves
    change_json(folder / "tokenizer_config.json", lambda content: content.update(eos_token=None))
    assert "no token ends a response" in fault(folder)


def test_a_tokenizer_that_loses_what_it_reads_is_refused(folder):
    def lower(content):
        content["normalizer"] = {"type": "Lowercase"}

    # The class of Qwen's tokenizers has a normaliser of its own, and does not read the file's.
    change_json(folder / "tokenizer_config.json", lambda c: c.update(tokenizer_class="PreTrainedTokenizerFast"))
    change_json(folder / "tokenizer.json", lower)
    assert "its tokenizer reads" in fault(folder) and "<answer>b</answer>" in fault(folder)

    def word_pieces(content):
        content["normalizer"] = None
        content["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}

    change_json(folder / "tokenizer.json", word_pieces)
    assert "the step WordPiece" in fault(folder)


def test_an_image_that_the_model_would_not_see_is_refused(folder):
    change_json(folder / "config.json", lambda content: content.update(image_token_id=0))
    assert "without token 0, which config.json replaces" in fault(folder)
    change_json(folder / "config.json", lambda content: content.update(image_token_id=6))
    change_json(
        folder / "processor_config.json",
        lambda content: content["image_processor"].update(image_processor_type="CLIPImageProcessor"),
    )
    assert "CLIPImageProcessor) cannot read an image" in fault(folder)


def test_patches_of_another_size_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    encoder = Encoder(folder, PromptConfig())
    check_patches(folder, config, encoder)
    check_patches(folder, {}, encoder)
    for name, words in (("patch_size", "patch_size 14"), ("spatial_merge_size", "merge_size 2")):
        other = config | {"vision_config": config["vision_config"] | {name: 16}}
        with pytest.raises(ModelFolderError, match=f"its image processor has {words}, .* {name} 16"):
            check_patches(folder, other, encoder)
