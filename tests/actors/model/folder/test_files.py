"""Single files of a model folder."""

import pytest

from actors.model.folder.files import (
    ModelFolderError,
    check_folder,
    check_whole,
    is_named,
    listed,
    mapping,
    read_json,
    unfinished,
)

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11421896\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "Git LFS pointer.*git lfs pull"),
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><title>502</title>", "is a web page"),
        (b"Entry not found", "cannot be read as JSON"),
        (b"\xff\xfe{\x00}\x00", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[1]", "holds no mapping"),
    ],
)
def test_a_file_that_is_not_its_content_is_named_in_one_line(tmp_path, content, words):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and ";" in str(caught.value)


def test_a_link_to_a_file_that_is_gone_is_listed_and_not_whole(tmp_path):
    (tmp_path / "config.json").symlink_to(tmp_path / "blobs/1234")
    assert is_named(tmp_path / "config.json") and not is_named(tmp_path / "other.json")
    with pytest.raises(ModelFolderError, match="link to a file that is gone"):
        check_whole(tmp_path / "config.json")


def test_an_unfinished_download_shows_by_the_file_beside_it(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    check_whole(tmp_path / "model.safetensors")
    assert unfinished(tmp_path) == ""
    (tmp_path / "model.safetensors.aria2").write_bytes(b"1")
    with pytest.raises(ModelFolderError, match=r"unfinished download \(model.safetensors.aria2"):
        check_whole(tmp_path / "model.safetensors")
    assert "model.safetensors.aria2" in unfinished(tmp_path)


@pytest.mark.parametrize(
    "name", [".cache/huggingface/download/abc.incomplete", "._____temp/model.safetensors", "model.safetensors.part"]
)
def test_what_downloads_leave_behind_is_known(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"1")
    assert (tmp_path / name).name in unfinished(tmp_path)


def test_folders_mappings_and_lists(tmp_path):
    check_folder(tmp_path)
    with pytest.raises(ModelFolderError, match="nowhere: no such folder"):
        check_folder(tmp_path / "nowhere")
    assert mapping({"a": {"b": 1}}, "a") == {"b": 1} and mapping({"a": 3}, "a") == mapping({}, "a") == {}
    assert listed(["a"]) == "a" and listed(["a", "b"]) == "a, b" and listed("abcd") == "a, b and 2 more"
