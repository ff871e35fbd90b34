"""The folder of a commit's weights."""

import filecmp

import torch
from safetensors.torch import load_file, save_file

from actors.model.encode import Encoder, PromptConfig
from actors.model.folder.export import export_weights, write_folder
from actors.model.policy import Policy


def test_a_commits_weights_become_the_folder_that_their_policy_would_write(tiny_model, tmp_path):
    """The policy's weights are changed, so that those of the folder it came from cannot be taken for them."""
    encoder = Encoder(str(tiny_model), PromptConfig())
    policy = Policy(tiny_model, encoder, torch.float32)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.5)
    write_folder(policy, encoder, policy.state(), tmp_path / "policy")
    save_file(policy.published(policy.state()), tmp_path / "policy.safetensors")
    encoder.close()

    for _ in range(2):  # the second one takes the place of the first
        export_weights(tmp_path / "policy.safetensors", tiny_model, PromptConfig(), "float32", tmp_path / "commit")
    names = sorted(path.name for path in (tmp_path / "policy").iterdir())
    assert sorted(path.name for path in (tmp_path / "commit").iterdir()) == names and "model.safetensors" in names
    assert filecmp.cmpfiles(tmp_path / "policy", tmp_path / "commit", names, shallow=False) == (names, [], [])
    before = load_file(tiny_model / "model.safetensors")
    after = load_file(tmp_path / "commit" / "model.safetensors")
    assert all(torch.equal(after[name], before[name] + 0.5) for name in before)
    assert not list(tmp_path.glob(".*")), "nothing half written is left"
