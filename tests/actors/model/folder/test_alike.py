"""Whether one model can score what another one writes: pairs that can, and pairs that cannot for one reason each."""

import json
import shutil

import pytest

from actors.model.encode import PromptConfig
from actors.model.folder.alike import check_alike
from actors.model.folder.files import ModelFolderError
from actors.model.folder.judge import judge
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from tests.actors.model.folder.conftest import change_json
from tests.support.models.tiny_families import make_family


@pytest.fixture(scope="module")
def texts(phantom_tasks):
    return [" ".join([t.question, *t.options.values(), t.reference]) for t in phantom_tasks]


def fault(policy, other, prompt=PromptConfig()):  # noqa: B008 - it is never changed
    with pytest.raises(ModelFolderError) as caught:
        check_alike(judge(policy, prompt), judge(other, prompt))
    line = str(caught.value)
    assert line.startswith(f"{other}: ") and "\n" not in line
    return line


def test_another_size_of_the_same_family_can(tiny_model, texts, tmp_path):
    config = TinyModelConfig(vision_steps=0, hidden=192, layers=4, vision_hidden=128, seed=3)
    larger = make_tiny_model(config, texts, tmp_path / "larger")
    assert check_alike(judge(tiny_model, PromptConfig()), judge(larger, PromptConfig())) == ()


def test_another_tokenizer_cannot(tiny_model, texts, tmp_path):
    other = make_tiny_model(TinyModelConfig(vision_steps=0), [*texts, "cardiothoracic " * 99], tmp_path / "other")
    line = fault(tiny_model, other)
    assert "its tokenizer is not the policy's" in line and line.endswith(
        "a model with the policy's tokenizer is needed"
    )
    assert "'Ġcardiothoracic'" in line or "tokens differ, such as" in line


def test_another_family_cannot(tiny_model, texts, tmp_path):
    other = make_family("smolvlm", texts[:50], tmp_path / "other")
    assert "a model of type smolvlm does not read what the policy, of type qwen2_5_vl, reads" in fault(
        tiny_model, other
    )


def test_another_end_of_responses_cannot(tiny_model, folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("<|im_end|>", "<|endoftext|>"))
    assert "responses end with token" in fault(tiny_model, folder)


def test_another_budget_of_pixels_cannot_unless_the_recipe_sets_one(tiny_model, folder):
    def shrink(settings):
        settings["image_processor"]["size"]["longest_edge"] //= 2

    change_json(folder / "processor_config.json", shrink)
    line = fault(tiny_model, folder)
    assert "its image processor has size" in line and "or set both model.min_pixels and model.max_pixels" in line
    prompt = PromptConfig(min_pixels=28**2 * 4, max_pixels=28**2 * 16)
    assert check_alike(judge(tiny_model, prompt), judge(folder, prompt)) == ()


def test_pixels_of_another_scale_cannot(tiny_model, folder):
    change_json(folder / "processor_config.json", lambda s: s["image_processor"].update(image_mean=[0.1, 0.1, 0.1]))
    assert "becomes other pixel_values there than in the policy" in fault(tiny_model, folder)


def test_another_template_is_told(tiny_model, folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("helpful assistant", "radiologist"))
    policy, other = judge(tiny_model, PromptConfig()), judge(folder, PromptConfig())
    # The system message of the recipe replaces that of the template.
    assert check_alike(policy, other) == ()
    (folder / "chat_template.jinja").write_text(template.replace("{{ message.role }}", "{{ message.role }}:"))
    (remark,) = check_alike(policy, judge(folder, PromptConfig()))
    assert remark == f"{folder}: its chat template differs from the policy's, whose prompts it reads"


def test_a_model_of_text_alone_can_teach_one(texts, tmp_path):
    small, large = (make_family("qwen2", texts[:50], tmp_path / name) for name in ("small", "large"))
    assert json.loads((small / "config.json").read_text())["model_type"] == "qwen2"
    assert check_alike(judge(small, PromptConfig()), judge(large, PromptConfig())) == ()
    shutil.rmtree(small)
