"""The preset `paper` against the formulas of CX-Mind's rewards, computed again here with nltk and rouge-score."""

import random
import re

import pytest

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score

bleu_score = pytest.importorskip("nltk.translate.bleu_score")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")

PAPER = RewardConfig(preset="paper")
ROUGE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
PAIR = r"<think>(.*?)</think>\s*<answer>(.*?)</answer>"
RIGHT, WRONG = "✅", "❌"


# The formulas, as a reader of the paper's rules would write them down: regular expressions and public packages alone.


def pairs_of(text):
    return re.findall(PAIR, text or "", re.DOTALL | re.IGNORECASE)


def last_answer(text):
    return ["", *re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL | re.IGNORECASE)][-1]


def letter_of(answer):
    match = re.search("[A-G]", answer, re.IGNORECASE)
    return match and match.group().upper()


def names_of(answer):
    return {name.strip().lower() for name in re.split(r"[,;\n]", answer)} - {""}


def without_marks(answer):
    return re.sub(f"[{RIGHT}{WRONG}]", "", answer).strip().lower()


def bleu_and_rouge(think, gold, split):
    ours, theirs = (split(text.lower().replace(".", " .")) for text in (think, gold))
    return bleu_score.sentence_bleu([theirs], ours, weights=(1,)), ROUGE.score(gold, think)["rougeL"].fmeasure


def by_the_formulas_closed(response, gold, reference):
    form = 1 if re.fullmatch(rf"(?:{PAIR}\s*)+", response, re.DOTALL) else 0
    accuracy = 1 if letter_of(last_answer(response)) == gold else 0
    pairs = pairs_of(response)
    steps = [
        (RIGHT in answer and letter_of(answer) == gold) or (WRONG in answer and letter_of(answer) not in (gold, None))
        for _, answer in pairs
    ]
    process = 0.5 if pairs and all(steps) else 0
    reason = 0
    own, theirs = (
        [think for think, answer in pairs_of(text) if letter_of(answer) == gold] for text in (response, reference)
    )
    if accuracy and own and theirs:
        bleu, rouge = bleu_and_rouge(own[0], theirs[0], lambda text: text.split(" "))
        reason = 0.3 * round(bleu, 4) + 0.7 * round(rouge, 4)
    return form, accuracy, process, reason


def by_the_formulas_open(response, gold, reference):
    form = (
        1
        if re.fullmatch(rf"(?:{PAIR})+", re.sub(r"\s*([<>/])\s*", r"\1", response.strip()), re.DOTALL | re.IGNORECASE)
        else 0
    )
    gold, found = {name.lower() for name in gold}, names_of(last_answer(response))
    hits = len(gold & found)
    precision, recall = (hits / len(names) if names else 0 for names in (found, gold))
    f1 = 2 * precision * recall / (precision + recall) if hits else float(not gold and not found)
    pairs = pairs_of(response)
    middle = pairs[1:-1] if len(pairs) > 2 else []
    steps = [
        (RIGHT in answer and without_marks(answer) in gold) or (WRONG in answer and without_marks(answer) not in gold)
        for _, answer in middle
    ]
    process = 0.2 if middle and all(steps) else 0
    values = []
    for think, answer in middle:
        name = without_marks(answer)
        if RIGHT in answer and name in gold:
            theirs = [other for other, listed in pairs_of(reference) if name in names_of(listed)]
            bleu, rouge = bleu_and_rouge(think, theirs[0], str.split) if theirs else (0, 0)
            values.append(0.3 * bleu + 0.7 * rouge)
    return form, f1, process, sum(values) / len(values) if values else 0


def assert_by_the_formulas(task, response):
    if task.domain == "closed":
        form, outcome, process, reason = by_the_formulas_closed(response, task.gold[0], task.reference)
    else:
        form, outcome, process, reason = by_the_formulas_open(response, task.gold, task.reference)
    base = 0.1 * form + 0.9 * outcome
    verdict = score(task, response, PAPER)
    ours = (verdict.format, verdict.outcome, verdict.process, verdict.reason, verdict.base, verdict.total)
    wanted = (form, outcome, process, reason, base, round(base + process + reason, 6))
    assert ours == pytest.approx(wanted, abs=1e-6, rel=0), (task, response)
    return verdict


# Transcripts: sound ones, then broken in one or more ways.

NAMES = ["Edema", "Pleural Effusion", "Cardiomegaly", "Mass", "Nodule", "Hernia", "Fibrosis", "No finding"]
OTHER_NAMES = [
    "Edemas",
    "pulmonary oedema",
    "effusion",
    "Enlarged heart",
    "masses",
    "EDEMA",
    "pleural effusion ",
    "Unicorn",
]
TEXT_WORDS = """\
no the heart is enlarged effusion. effusions Edema seen on left right 1.5 cm, there was pleural line  opacity
    . .. haze; (old) — generally relational traditional increased…"""
WORDS = TEXT_WORDS.split(" ")


def sentence(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.choice([0, 1, 3, 8, 16, 32])))


def reworded(rng, text):
    words = text.split(" ")
    match rng.randrange(5):
        case 0:
            rng.shuffle(words)
        case 1:
            words = [word for word in words if rng.random() < 0.7]
        case 2:
            words = words * 2
        case 3:
            words = sentence(rng).split(" ")
    return rng.choice([" ", " ", "  ", "\n"]).join(words)


def closed_task(rng):
    options = dict(zip("ABCDEFG", rng.sample(NAMES, rng.randint(2, 7)), strict=False))
    gold = tuple(sorted(rng.sample(sorted(options), rng.choice([1, 1, 2]))))
    pairs = [(sentence(rng), f"{letter}) {RIGHT if letter in gold else WRONG}") for letter in options]
    pairs.append((sentence(rng), f"{', '.join(gold)} {rng.choice(['', RIGHT])}"))
    return task_of(rng, "closed", pairs, options=options, gold=gold), pairs


def open_task(rng):
    gold = tuple(rng.sample(NAMES[:-1], rng.choice([0, 1, 1, 2, 3, 4])))
    candidates = [*gold, *rng.sample([name for name in NAMES if name not in gold], 2)]
    rng.shuffle(candidates)
    pairs = [
        (sentence(rng), ", ".join(candidates)),
        *((sentence(rng), f"{name} {RIGHT if name in gold else WRONG}") for name in candidates),
        (sentence(rng), ", ".join(gold) or rng.choice(["", "No finding"])),
    ]
    return task_of(rng, "open", pairs, gold=gold), pairs


def task_of(rng, domain, pairs, **fields):
    reference = rng.choice([written(pairs), written(pairs), broken(rng, pairs), None])
    return Task(id="t", domain=domain, family="f", question="?", images=("x.png",), reference=reference, **fields)


def written(pairs, between=""):
    return between.join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def other_answer(rng, domain, answer):
    named = (
        [*NAMES, *OTHER_NAMES]
        if domain == "open"
        else ["A", "B.", "(c)", "Answer: D", r"\boxed{E}", "Ｂ", "Yes", "No", "7", "h"]
    )
    match rng.randrange(8):
        case 0:
            return answer.replace(RIGHT, "").replace(WRONG, "")
        case 1:
            return answer + WRONG
        case 2:
            return RIGHT + WRONG + answer
        case 3:
            return answer.translate({ord(RIGHT): WRONG, ord(WRONG): RIGHT})
        case 4:
            return ""
        case 5:
            return rng.choice([", ", "; ", " and ", "\n", " ; ,"]).join(rng.sample(named, rng.randint(1, 4)))
        case 6:
            return f"{rng.choice(named)}{rng.choice(['', ' '])}{rng.choice([RIGHT, WRONG])}\ufe0f"
    return f" {answer.upper()}\n"


def broken(rng, pairs):
    """The text of the pairs with tags, white space and order spoilt in one or two places."""
    text = written(pairs, rng.choice(["", "", "\n", " \n "]))
    for _ in range(rng.choice([1, 1, 2])):
        tag = rng.choice(["<think>", "</think>", "<answer>", "</answer>"])
        places = [match.start() for match in re.finditer(re.escape(tag), text)] or [0]
        at = rng.choice(places)
        after = at + len(tag)
        text = rng.choice(
            [
                "\n" + text,
                text + "\n",
                text + " so",
                "So: " + text,
                text[: rng.randrange(len(text) + 1)],
                re.sub("</?(think|answer)>", lambda m: m.group().upper(), text),
                text[:at] + tag.upper() + text[after:],
                text[:at] + tag.title() + text[after:],
                text[:at] + text[after:],
                text[:at] + tag + text[at:],
                text[:at] + "\n " + text[at:],
                text[:after] + " \n" + text[after:],
                text[:at] + " and then " + text[at:],
                text[:at] + tag.replace("<", "< ").replace("/", "/ ") + text[after:],
                text[:at]
                + rng.choice(["<think>", "</think>", "<answer>", "</answer>", "<think>a</think>"])
                + text[at:],
            ]
        )
    return text


def transcript(rng, domain, pairs):
    pairs = [(reworded(rng, think) if rng.random() < 0.5 else think, answer) for think, answer in pairs]
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        at = rng.randrange(len(pairs))
        match rng.randrange(5):
            case 0:
                pairs = pairs[:at] + pairs[at + 1 :] or pairs
            case 1:
                pairs.insert(at, pairs[at])
            case 2:
                rng.shuffle(pairs)
            case _:
                pairs[at] = (pairs[at][0], other_answer(rng, domain, pairs[at][1]))
    return broken(rng, pairs) if rng.random() < 0.4 else written(pairs, rng.choice(["", "", "\n", " "]))


@pytest.mark.filterwarnings("ignore:.*0 counts of 1-gram")
@pytest.mark.parametrize("make", [closed_task, open_task])
def test_paper_is_the_formulas(make):
    rng = random.Random(0)
    verdicts = []
    for _ in range(150):
        task, pairs = make(rng)
        verdicts += [assert_by_the_formulas(task, transcript(rng, task.domain, pairs)) for _ in range(4)]
    for part in ("format", "outcome", "process", "reason"):  # every part of the sum was there, and was missing
        values = {getattr(verdict, part) for verdict in verdicts}
        assert min(values) == 0 < max(values), part


CLOSED = Task(
    id="c",
    domain="closed",
    family="f",
    question="?",
    images=("x.png",),
    gold=("B",),
    options={"A": "Mass", "B": "Edema", "C": "Hernia"},
)
OPEN = Task(id="o", domain="open", family="f", question="?", images=("x.png",), gold=("Edema", "Mass"))
SOUND = written([("a.", f"A {WRONG}"), ("b.", f"B {RIGHT}"), ("c", f"C {WRONG}"), ("d", f"B {RIGHT}")])


@pytest.mark.parametrize(
    "closed, opened, response",
    [  # format of a closed and of an open response
        (1, 1, SOUND),
        (0, 1, "\n" + SOUND),
        (1, 1, SOUND + "\n"),
        (0, 1, SOUND.upper()),
        (0, 0, SOUND + "."),
        (0, 0, ""),
        (1, 1, SOUND.replace("</answer><", "</answer> text <")),
        (0, 1, SOUND.replace("</", "< /")),
        (1, 1, SOUND.replace("<answer>", "\n<answer>")),
        (0, 0, SOUND.replace("<answer>", ": <answer>", 4)),
        (0, 0, "<think>a</think>"),
        (0, 0, "<think><answer>a</answer>"),
        (1, 1, "<think>a<think>b</think>c</think><answer>B</answer>"),
        (0, 0, "<think>a</think><answer>"),
        (1, 1, "<think>a</think><think>b</think><think>c</think><answer>B</answer>"),
        (0, 0, "<think></think><answer></answer"),
        (1, 1, "<think></think><answer></answer>"),
        (0, 0, "<answer>B</answer>"),
        (0, 1, "<THINK>a</think><answer>B</answer>"),
    ],
)
def test_format(closed, opened, response):
    for task, form in ((CLOSED, closed), (OPEN, opened)):
        assert assert_by_the_formulas(task, response).format == form


@pytest.mark.filterwarnings("ignore:.*0 counts of 1-gram")
@pytest.mark.parametrize(
    "think, gold",
    [
        (" ".join(["edema"] + ["x"] * n), " ".join(["edema"] + ["y"] * m))
        for n in (15, 31, 63, 159)
        for m in (15, 31, 159)
    ]
    + [("", ""), ("", "a"), ("a", ""), (" ", ""), ("  a  b", "a b"), (". .", ".."), ("A.B", "a . b")],
)
def test_reason_where_rounding_is_on_edge(think, gold):
    """1/32 = 0.03125 lies between two numbers of four digits: the last bit of the packages' floats decides."""
    for task, answer in ((CLOSED, f"B {RIGHT}"), (OPEN, f"Edema {RIGHT}")):
        reference = written(
            [("list", "Mass, Edema")] * (task is OPEN) + [(gold, answer.replace(RIGHT, "")), ("s", "Edema")]
        )
        head = [("list", "Mass, Edema")] * (task is OPEN)
        assert_by_the_formulas(
            task.model_copy(update={"reference": reference}),
            written([*head, (think, answer), ("sum", "B" if task is CLOSED else "Edema")]),
        )


def test_the_first_of_several_right_letters_counts():
    task = CLOSED.model_copy(update={"gold": ("B", "C")})
    assert score(task, written([("a", "C")]), PAPER).outcome == 0 < score(task, written([("a", "B, C")]), PAPER).outcome


@pytest.mark.parametrize(
    "response",
    [
        *(
            tag * 100_000
            for tag in ("<think>", "</think>", "<answer>", "</answer>", "<think></think>", "<THINK>\n", "<", "< /")
        ),
        "<think>a" + " " * 1_000_000 + "b</think><answer>B</answer>",
        "</think>" + "\n" * 1_000_000 + "<answer>",
        "<think>a</think><answer>" + "B," * 500_000 + "</answer>",
        ("</think>" + " " * 1000) * 1000,
        written([("list", "Edema"), (" ".join(map(str, range(150_000))), f"Edema {RIGHT}"), ("sum", "Edema")]),
        written([("thought", f"A {WRONG}")] * 20_000),
    ],
    ids=range(14),
)
def test_a_response_of_any_length_comes_back(response):
    """Patterns that try every cut of a long run would not."""
    reference = written([("A long line.", "Edema"), ("so", "B")])
    for task in (CLOSED, OPEN):
        verdict = score(task.model_copy(update={"reference": reference}), response, PAPER)
        assert 0 <= verdict.total <= 2.5
