import pytest
from tokenizers import decoders

from actors.model.token_bytes import token_bytes
from tests.support.models.tiny_families import byte_level, sentence_piece

TEXTS = ["Pleural effusion on the left.", "No finding", "é 🫁"] * 3


@pytest.fixture
def bytes_only():
    return byte_level(TEXTS, ["<|endoftext|>", "<|im_end|>"], "<|im_end|>")


def written(tokenizer, text):
    table, strips = token_bytes(tokenizer)
    return b"".join(table[token] for token in tokenizer(text, add_special_tokens=False).input_ids), strips


def test_tokens_of_a_byte_level_tokenizer_write_the_bytes_of_the_text(bytes_only):
    text = " Effusion: é 🫁\n<think>ok</think>"
    assert written(bytes_only, text) == (text.encode(), False)


def test_special_tokens_write_nothing(bytes_only):
    table, _ = token_bytes(bytes_only)
    ids = bytes_only.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>", "<think>"])
    assert [table[index] for index in ids] == [b"", b"", b"<think>"]


@pytest.mark.parametrize("prefix", [True, False])
def test_spaces_and_unknown_characters_of_sentence_piece(prefix):
    tokenizer = sentence_piece(TEXTS, ["<unk>", "<s>", "</s>"], ["<think>"], prefix=prefix, eos_token="</s>")
    table, strips = token_bytes(tokenizer)
    assert table[tokenizer.convert_tokens_to_ids("<0xC3>")] == b"\xc3"
    assert table[tokenizer.convert_tokens_to_ids("▁")] == b" "
    data, _ = written(tokenizer, "the 中 left")
    assert strips == prefix and data.decode() == " " * prefix + "the 中 left"


def test_a_decoder_of_another_kind_is_refused(bytes_only):
    bytes_only.backend_tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(ValueError, match="the step WordPiece, which is not known"):
        token_bytes(bytes_only)
