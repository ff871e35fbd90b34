"""The judgement on whole folders: sound ones of every family, and broken ones as people have had them."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from actors.model.encode import PromptConfig
from actors.model.folder.files import ModelFolderError
from actors.model.folder.judge import judge, judge_files, only_described
from actors.model.folder.weights import parameters
from tests.actors.model.folder.conftest import change_json
from tests.support.models.tiny_families import MAKERS, make_family


def fault(folder):
    with pytest.raises(ModelFolderError) as caught:
        judge(folder, PromptConfig())
    line = str(caught.value)
    assert str(folder) in line and "\n" not in line and len(line) - len(str(folder)) < 420
    return line


@pytest.mark.parametrize("name", MAKERS)
def test_sound_folders_of_every_family_pass_without_a_remark(name, phantom_tasks, tmp_path):
    texts = [" ".join([task.question, *task.options.values(), task.reference]) for task in phantom_tasks[:50]]
    judged = judge(make_family(name, texts, tmp_path / name), PromptConfig())
    assert judged.remarks == () and name.split()[0] in judged.files.family.model_types
    assert parameters(judged.files.tensors) > 10_000 and judged.encoder.eos is not None


def test_layers_of_a_tower_for_sounds_are_none_of_the_language_model(phantom_tasks, tmp_path):
    folder = make_family("gemma4", [task.question for task in phantom_tasks[:50]], tmp_path / "gemma4")
    weights = load_file(folder / "model.safetensors")
    left = {key: value for key, value in weights.items() if "language_model.layers.0." not in key}
    assert any("audio_tower.layers.0." in key for key in left)
    save_file(left, folder / "model.safetensors", {"format": "pt"})
    assert "lack 1 of the 4 layers that config.json says" in fault(folder)


def test_a_folder_that_lacks_its_tokenizer_template_or_processor(folder):
    for names, words in (
        (["tokenizer.json"], r"has no tokenizer.json or vocab.json \+ merges.txt or tokenizer.model"),
        (["tokenizer_config.json"], "has no tokenizer_config.json"),
        (["processor_config.json"], "has no preprocessor_config.json or processor_config.json"),
        (["chat_template.jinja"], "has no chat template"),
    ):
        kept = {name: (folder / name).read_bytes() for name in names}
        for name in names:
            (folder / name).unlink()
        with pytest.raises(ModelFolderError, match=words):
            judge_files(folder)
        for name, content in kept.items():
            (folder / name).write_bytes(content)
    judge_files(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_pointer_in_place_of_any_file_is_told(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11421896\n")
    assert f"{name} is a Git LFS pointer" in fault(folder)


@pytest.mark.parametrize("kind", ["Qwen2_5_VLImageProcessor", "Qwen2_5_VLImageProcessorFast"])
def test_an_image_processor_by_its_old_name_is_told_with_the_new_one(folder, kind):
    def rename(content):
        content["image_processor"]["image_processor_type"] = kind

    change_json(folder / "processor_config.json", rename)
    assert f"image_processor_type '{kind}' is unknown" in fault(folder) and "write Qwen2VLImageProcessor" in fault(
        folder
    )
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    (folder / "processor_config.json").unlink()
    assert "preprocessor_config.json: image_processor_type" in fault(folder)


def test_a_name_that_transformers_still_reads_is_no_fault(folder):
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    settings["image_processor_type"] = "Qwen2VLImageProcessorFast"
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    (folder / "processor_config.json").unlink()
    assert judge(folder, PromptConfig()).remarks == ()


def test_settings_with_which_transformers_could_not_save_are_told_before(folder):
    change_json(folder / "generation_config.json", lambda content: content.update(temperature=0.1, do_sample=False))
    assert "generation_config.json is refused by transformers" in fault(folder) and "temperature" in fault(folder)


def test_sizes_that_transformers_would_fill_in_are_compared_with_the_weights(folder):
    """Without its text_config, the model would be built in the size of the published one."""
    change_json(folder / "config.json", lambda content: content.update(text_config=None))
    assert "config.json says vocab_size" in fault(folder)


def test_a_processor_that_cannot_be_made_is_one_line(folder):
    change_json(folder / "tokenizer.json", lambda content: content.update(model={"type": "Nothing"}))
    assert "its processor cannot be used" in fault(folder)


def test_the_folder_that_was_meant_is_named(folder, tmp_path):
    (tmp_path / "recipe.yaml").write_text("")
    assert f"did you mean {folder}?" in fault(tmp_path)
    snapshot = tmp_path / "models--org--name/snapshots/0a1b"
    shutil.copytree(folder, snapshot)
    assert f"did you mean {snapshot}?" in fault(tmp_path / "models--org--name")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no config.json" in fault(empty) and "did you mean" not in fault(empty)
    assert "no such folder" in fault(tmp_path / "nowhere")


def test_a_model_of_no_family_is_named_first(folder):
    change_json(folder / "config.json", lambda content: content.update(model_type="mllama"))
    (folder / "model.safetensors").unlink()
    assert "a model of type 'mllama' cannot be trained" in fault(folder)
    (folder / "config.json").write_text('{"model_type": 3}')
    assert "a model of type '3' cannot be trained" in fault(folder)


def test_a_configuration_alone_is_known_as_such(folder):
    assert not only_described(folder)
    (folder / "model.safetensors").unlink()
    assert not only_described(folder)  # a tokenizer without weights is a download that has stopped
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert only_described(folder)
    (folder / "pytorch_model.bin").write_bytes(b"1")
    assert not only_described(folder)


def test_a_setting_of_an_odd_type_that_shows_only_at_a_prompt(folder):
    change_json(folder / "tokenizer_config.json", lambda content: content.update(model_max_length="512"))
    assert "its tokenizer or its processor fails at a prompt (TypeError: '>' not supported" in fault(folder)


@pytest.mark.parametrize("name", MAKERS)
def test_a_pixel_budget_is_refused_for_a_family_that_has_none(name, phantom_tasks, tmp_path):
    texts = [task.question for task in phantom_tasks]
    folder, prompt = make_family(name, texts, tmp_path / name), PromptConfig(min_pixels=1, max_pixels=50_000)
    if name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm4v"):
        assert judge(folder, prompt).encoder.blank.text
    else:
        with pytest.raises(ModelFolderError, match=f"{name}.*no pixel budget; leave model.min_pixels and"):
            judge(folder, prompt)
