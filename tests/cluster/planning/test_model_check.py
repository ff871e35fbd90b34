"""The commands judge a model folder by one function, before anything starts."""

import json
import shutil

import pytest
import yaml

from actors.model.encode import PromptConfig
from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.planning.model_check import check_model, model_family, remarks_for_plan, remarks_on_model
from cluster.service.chat_policy import find_source
from cluster.standalone.evaluate import find_subject

SETTING = "model.path"


def lost_weights(folder):
    (folder / "model.safetensors").unlink()
    return "has no *.safetensors file with weights"


def quantised(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    return "a quantised model cannot be trained (config.json's quantization_config: gptq)"


def no_template(folder):
    (folder / "chat_template.jinja").unlink()
    return "has no chat template"


FAULTS = [lost_weights, quantised, no_template]


def thinks_first(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n"))
    return "its chat template ends every prompt with <think>"


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def recipe(folder, clean_set, tmp_path):
    """The file of a recipe with the folder as its model."""
    text = {
        "name": "m",
        "root": str(tmp_path / "runs"),
        "data": {"tasks": str(clean_set[0])},
        "model": {"path": str(folder)},
        "stages": [
            {
                "name": "closed",
                "kind": "grpo",
                "tasks": {"binary": 1},
                "gate": {"measure": "closed_accuracy", "every": 1, "max_steps": 1},
            }
        ],
        "rollout": {"max_response_tokens": 32, "max_model_tokens": 512},
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(text))
    return tmp_path / "m.yaml"


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["curlvpr", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(SystemExit) as exit:
            main()
        return exit.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("spoil", FAULTS)
def test_every_command_refuses_a_broken_folder_in_the_same_line(spoil, folder, recipe, clean_set, command, tmp_path):
    words = spoil(folder)
    lines = set()
    for arguments in (
        ("plan", recipe),
        ("data", "check", clean_set[0], "--recipe", recipe),
        ("train", recipe),
        ("eval", "--model", folder, "--tasks", clean_set[0]),
    ):
        code, out, err = command(*arguments)
        assert code == 2 and words in err and err.count("\n") == 1 and "run folder" not in out
        lines.add(err.removeprefix("curlvpr: ").removeprefix("model.path: ").removeprefix("--model: "))
    assert len(lines) == 1 and not (tmp_path / "runs").exists()
    if spoil is lost_weights:  # doctor looks at packages too, each time in processes of its own
        code, out, _ = command("doctor", recipe)
        assert code == 1 and words in out and "model" in out.splitlines()[-1]
    with pytest.raises(UserError) as caught:
        find_source(tmp_path, str(folder))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "key, setting", [("teacher", "teacher={path: %s}"), ("reference_path", "kl=0.1 reference_path=%s")]
)
def test_every_command_refuses_another_model_with_another_tokenizer(
    key, setting, recipe, clean_set, command, tmp_path, tiny_model
):
    other = shutil.copytree(tiny_model, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    first, second = list(ids)[300:302]
    ids[first], ids[second] = ids[second], ids[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = [part for one in (setting % other).split(" ", 0 if key == "teacher" else 1) for part in ("--set", one)]
    settings = [part if part == "--set" else f"stages.closed.training.{part}" for part in settings]
    name = "teacher.path" if key == "teacher" else key
    wanted = f"curlvpr: stages.closed.training.{name}: {other}: its tokenizer is not the policy's: 2 of "
    for command_name in ("plan", "train"):
        code, out, err = command(command_name, recipe, *settings)
        assert code == 2 and err.startswith(wanted) and err.count("\n") == 1 and "run folder" not in out
    if key == "teacher":
        code, out, _ = command("doctor", recipe, *settings)
        assert code == 1 and "its tokenizer is not the policy's" in out
    text = yaml.safe_load(recipe.read_text())
    for part in settings[1::2]:
        path, _, value = part.partition("=")
        text["stages"][0].setdefault("training", {})[path.rsplit(".", 1)[1]] = yaml.safe_load(value)
    recipe.write_text(yaml.safe_dump(text))
    code, _, err = command("data", "check", clean_set[0], "--recipe", recipe)
    assert code == 2 and err.startswith(wanted)
    assert remarks_on_model(load_recipe(recipe)) == ()  # a chat with the run's policy needs no teacher


def test_a_folder_that_is_not_there_is_told_with_its_setting(recipe, command, tmp_path):
    teacher = f"stages.closed.training.teacher={{path: {tmp_path / 'nowhere'}}}"
    for name in ("plan", "train"):
        code, _, err = command(name, recipe, "--set", teacher)
        assert code == 2 and err.startswith("curlvpr: stages.closed.training.teacher.path: ")
        assert "nowhere: no such folder" in err and err.count("\n") == 1


def test_what_should_be_known_is_told_by_every_command(folder, recipe, clean_set, command, tmp_path):
    words = thinks_first(folder)
    for arguments, wanted in (
        (("plan", recipe), (0, 1)),
        (("data", "check", clean_set[0], "--recipe", recipe), (0,)),
        (("doctor", recipe), (0, 1)),
    ):
        code, out, err = command(*arguments)
        assert code in wanted and out.count(words) == 1 and not err
    (remark,) = remarks_on_model(load_recipe(recipe))
    assert words in remark and find_subject(folder).remarks == (remark,)
    assert find_source(tmp_path, str(folder)).remarks == (remark,)


def test_a_sound_folder_is_judged_without_a_word(folder, recipe, clean_set, command):
    code, out, err = command("data", "check", clean_set[0], "--recipe", recipe)
    assert code == 0 and not err and str(folder) not in out and "no fault in" in out
    assert remarks_on_model(load_recipe(recipe)) == remarks_for_plan(load_recipe(recipe)) == ()


def test_a_plan_needs_no_more_than_a_configuration(folder, recipe, command):
    for path in folder.iterdir():
        if path.name != "config.json":
            path.unlink()
    assert remarks_for_plan(load_recipe(recipe)) == ()
    assert command("plan", recipe)[0] in (0, 1)
    with pytest.raises(UserError, match=r"^model.path: .*has no \*.safetensors"):
        remarks_on_model(load_recipe(recipe))


def test_the_setting_is_named(folder, tmp_path):
    assert model_family(folder, SETTING).reads_images
    assert check_model(folder, SETTING, PromptConfig()).remarks == ()
    for check in (lambda path: model_family(path, "--x"), lambda path: check_model(path, "--x", PromptConfig())):
        with pytest.raises(UserError, match=r"^--x: .*nowhere: no such folder"):
            check(tmp_path / "nowhere")
