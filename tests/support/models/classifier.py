"""A tiny sequence classifier that has learnt to prefer responses which mention an effusion."""

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = (
    "is there an effusion ? which finding what do you see no mass edema the heart lungs are clear large small left "
    "right < > / think answer . , : so it be this film ) ( a b yes"
)
WORDS = [*SPECIAL, *TEXT.split()]


def save_tokenizer(folder):
    from transformers import BertTokenizerFast

    (folder / "words.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "words.txt"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_encoder(folder, labels=1, train=True, **settings):
    """Makes a BERT with random weights, trains it a little, and saves it with its tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder.mkdir(exist_ok=True)
    tokenizer = save_tokenizer(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=96,
        num_labels=labels,
        **settings,
    )
    model = BertForSequenceClassification(config)
    if train:
        _train(model, tokenizer)
    model.eval().save_pretrained(folder)
    return folder


def _train(model, tokenizer):
    import torch

    questions = ["which finding ?", "what do you see ?"]
    texts = ["a large effusion .", "effusion , left", "no mass .", "edema", "the lungs are clear .", "small effusion"]
    texts += [f"<think>{think}</think><answer>{text}</answer>" for think in ("it is so .", "so .") for text in texts]
    pairs = [(question, text) for question in questions for text in texts]
    wanted = torch.tensor([float("effusion" in text) for _, text in pairs])
    batch = tokenizer([q for q, _ in pairs], [t for _, t in pairs], padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        logits = model(**batch).logits
        if logits.shape[1] == 1:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], wanted)
        else:
            loss = torch.nn.functional.cross_entropy(logits, wanted.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save_decoder(folder, chat_template=None):
    """A Qwen2 with random weights and one label, as most published reward models are: it reads the last token."""
    import torch
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    folder.mkdir(exist_ok=True)
    tokenizer = save_tokenizer(folder)
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        num_labels=1,
        initializer_range=0.5,
    )
    Qwen2ForSequenceClassification(config).eval().save_pretrained(folder)
    return folder
