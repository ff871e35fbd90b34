"""BERTScore against its formula, written out token by token, on a small encoder with random weights."""

import numpy as np
import pytest
import torch

from actors.rules.bert_scorer import BertScorer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "the heart is normal large effusion left no right lungs are clear ."
WORDS = [*SPECIAL, *TEXT.split()]
PAIRS = [
    ("The heart is large.", "heart is normal"),
    ("", "lungs are clear"),
    ("no effusion", "Large left effusion. No."),
    ("lungs are clear", "lungs are clear"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "words.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(folder / "words.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=40,
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("layer", [None, 2])
def test_it_is_the_formula(folder, layer):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def tokens(text):
        with torch.no_grad():
            out = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        return out.hidden_states[layer or 3][0].numpy()

    def nearest(a, b):  # start and end tokens are matched, and are not counted
        cosine = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
        return cosine.max(1)[1:-1].mean()

    scores = BertScorer(folder, layer)(PAIRS)
    for i, (answer, gold) in enumerate(PAIRS):
        if not answer:
            assert scores["bertscore_f1"][i] == 0
            continue
        precision, recall = nearest(tokens(answer), tokens(gold)), nearest(tokens(gold), tokens(answer))
        assert scores["bertscore_precision"][i] == pytest.approx(precision, abs=1e-5)
        assert scores["bertscore_recall"][i] == pytest.approx(recall, abs=1e-5)
        assert scores["bertscore_f1"][i] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)
    assert scores["bertscore_f1"][3] == pytest.approx(1)


def test_a_text_beyond_the_models_length_is_cut(folder):
    long = "heart " * 100
    assert BertScorer(folder)([(long, long + "effusion")])["bertscore_f1"] == pytest.approx(1)


def test_a_layer_that_is_not_there_is_refused(folder):
    with pytest.raises(ValueError, match="layers 1 to 3"):
        BertScorer(folder, 4)
