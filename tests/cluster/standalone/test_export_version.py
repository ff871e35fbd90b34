"""`curlvpr export`: which versions there are. tests/cluster/run/choice/test_final_model.py exports those of a run."""

import json
from pathlib import Path

import pytest

from actors.runtime.storage import POLICY, Storage
from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.record.checkpoint import Checkpoints
from cluster.record.run_writer import recipe_text
from cluster.record.validation import Validation

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


def commit(checkpoints, step, stage, score=None):
    folder = checkpoints.begin(step)
    with folder.workspace() as part:
        (part / POLICY).write_bytes(b"weights")
        digests = folder.take_in(part)
    scored = score and Validation(stage, step, step, step, "closed_accuracy", (score, score - 0.1, score + 0.1))
    checkpoints.commit(folder, digests, {"step": step}, stage, scored)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "recipe.yaml").write_text(recipe_text(load_recipe(SMOKE)))
    return path


@pytest.fixture
def export(monkeypatch, capsys):
    """Runs the command. Gives its exit code and what it printed."""

    def export(*arguments):
        monkeypatch.setattr("sys.argv", ["curlvpr", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
        out, err = capsys.readouterr()
        return exit.value.code, out or err

    return export


def test_the_versions_that_are_kept_are_listed_with_their_scores(folder, export):
    checkpoints = Checkpoints(Storage(str(folder / "checkpoints")), 1, 1)
    assert export(folder) == (0, f"{folder}: keeps no version so far\n")
    code, line = export(folder, "--step", 5)
    assert code == 2 and line == f"curlvpr: --step 5: {folder} keeps no version so far\n"
    commit(checkpoints, 5, "sft", 0.5)
    commit(checkpoints, 8, "closed")
    kept = ["step 5 (sft 5): validation closed accuracy 0.500 [0.400, 0.600] (weights alone)", "step 8: not validated"]
    assert export(folder) == (0, "\n".join(kept) + "\n")
    code, line = export(folder, "--step", 6)
    assert code == 2 and line == f"curlvpr: --step 6: {folder} keeps no such version; it keeps {' | '.join(kept)}\n"


def test_a_folder_that_is_there_or_cannot_be_and_a_damaged_version_are_refused(folder, export, tmp_path):
    commit(Checkpoints(Storage(str(folder / "checkpoints")), 1, 1), 5, "sft", 0.5)
    (tmp_path / "taken").mkdir()
    for out, words in (("taken", "exists already"), ("no/where", "there is no folder")):
        code, line = export(folder, "--step", 5, "--out", tmp_path / out)
        assert code == 2 and f"--out {tmp_path / out}: {words}" in line
    (folder / "checkpoints" / "step-0000005" / POLICY).write_bytes(b"other")
    code, line = export(folder, "--step", 5)
    assert code == 2 and f"step-0000005: {POLICY} is not what was written" in line
    assert not (folder / "model-step-5").exists()
    assert export(folder, "--out", tmp_path / "new")[1].startswith("curlvpr: --out: needs --step")
    assert "no run folder" in export(tmp_path / "nowhere")[1]


def test_the_weights_of_a_run_in_another_storage_are_found(tmp_path, export):
    path, far = tmp_path / "two", tmp_path / "far"
    path.mkdir()
    recipe = load_recipe(SMOKE, [f"checkpoint.storage=file://{far}"])
    (path / "recipe.yaml").write_text(recipe_text(recipe))
    commit(Checkpoints(Storage(f"file://{far}").child("two").child("checkpoints"), 1, 1), 3, "sft", 0.25)
    assert export(path)[1].startswith("step 3 (sft 3): validation closed accuracy 0.250")
    assert json.loads((far / "two/checkpoints/step-0000003/manifest.json").read_text())["stage"] == "sft"
