"""Generated tasks, references and transcripts of responses, and what `strict` pays for them."""

from hypothesis import settings
from hypothesis import strategies as st

from curriculum.importers.labels.nih import FINDINGS
from curriculum.task import NO_FINDING, Task
from rewards.config import RewardConfig
from rewards.score import score

CONFIG = RewardConfig()
RIGHT, WRONG = "✅", "❌"
MANY = settings(max_examples=80)
PRESENT = ["There is {0}.", "{0} is seen on the left.", "Small {0}, unchanged.", "Findings consistent with {0}."]
ABSENT = ["No {0}.", "There is no evidence of {0}.", "The film is without {0}.", "{0} is not seen."]
OWN_WORDS = {  # what radiologists say instead of the name
    "Cardiomegaly": ("The heart is enlarged.", "The heart is normal in size."),
    "Effusion": ("Pleural fluid on the right.", "No pleural effusions."),
    "Mass": ("There is a mass in the left lung.", "No mass."),
    "Edema": ("Pulmonary oedema.", "No pulmonary edema."),
}
NO_FACT = ["The film was read with care.", "Look again.", "It is the other option.", "Left and right were compared."]


def sentences(finding, present):
    """What a think block may say of a finding."""
    by_name = [text.format(finding.lower()) for text in (PRESENT if present else ABSENT)]
    return st.sampled_from(by_name + ([OWN_WORDS[finding][not present]] if finding in OWN_WORDS else []))


some_sentence = st.one_of(
    st.sampled_from(NO_FACT), st.tuples(st.sampled_from(FINDINGS), st.booleans()).flatmap(lambda said: sentences(*said))
)


@st.composite
def thoughts(draw, finding, present):
    """A think block of a reference: mostly about its candidate; now and then nothing, more, or a mistake."""
    about = [draw(sentences(finding, present))] if finding in FINDINGS else []
    said = draw(st.sampled_from([about, about, about, [], [*about, "+"], ["+", *about], ["+"]]))
    return " ".join(draw(some_sentence) if text == "+" else text for text in said) or draw(st.sampled_from(NO_FACT))


def written(pairs):
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def task_of(domain, reference, **fields):
    return Task(
        id="t",
        domain=domain,
        family="f",
        images=("x.png",),
        reference=reference and written(reference),
        **({"question": "?"} | fields),
    )


@st.composite
def closed(draw, with_reference=True):
    """A task and the pairs of its reference."""
    kind = draw(st.sampled_from(["yes/no", "single", "multiple"]))
    if kind == "yes/no":
        finding, present = draw(st.sampled_from(FINDINGS)), draw(st.booleans())
        options, gold = {"A": "Yes", "B": "No"}, ("A",) if present else ("B",)
        about = dict.fromkeys("AB", (finding, present))
        question = f"Is there {finding.lower()}?"
    else:
        names = draw(st.lists(st.sampled_from([*FINDINGS, NO_FINDING]), min_size=2, max_size=7, unique=True))
        options = dict(zip("ABCDEFG", names, strict=False))
        gold = tuple(
            sorted(draw(st.sets(st.sampled_from(sorted(options)), min_size=1, max_size=1 if kind == "single" else 7)))
        )
        about = {letter: (name, letter in gold) for letter, name in options.items()}
        question = "Which of these?"
    form = draw(st.sampled_from(["{0}", "{0})", "{0}) {1}", "{1}"]))
    pairs = [
        (draw(thoughts(*about[letter])), f"{form.format(letter, text)} {RIGHT if letter in gold else WRONG}")
        for letter, text in options.items()
    ]
    pairs.append((draw(some_sentence), ", ".join(gold) + draw(st.sampled_from(["", " " + RIGHT]))))
    return task_of("closed", pairs if with_reference else None, question=question, options=options, gold=gold), pairs


@st.composite
def opened(draw, with_reference=True):
    gold = tuple(draw(st.lists(st.sampled_from(FINDINGS), max_size=4, unique=True)))
    others = draw(
        st.lists(st.sampled_from([name for name in FINDINGS if name not in gold]), min_size=1, max_size=3, unique=True)
    )
    candidates = draw(st.permutations([*gold, *others]))
    pairs = [(draw(st.sampled_from(NO_FACT)), ", ".join(candidates))]
    pairs += [(draw(thoughts(name, name in gold)), f"{name} {RIGHT if name in gold else WRONG}") for name in candidates]
    pairs.append((draw(some_sentence), ", ".join(gold) or NO_FINDING))
    return task_of("open", pairs if with_reference else None, gold=gold), pairs


def tasks(with_reference=True):
    return closed(with_reference) | opened(with_reference)


@st.composite
def transcripts(draw, task, reference):
    """Pairs of a response: the reference, spoilt in up to four places, or pairs that are drawn freely."""
    names = list(task.options) if task.domain == "closed" else list(FINDINGS)
    marked = st.tuples(
        st.sampled_from([*names, "H", ""]), st.sampled_from([RIGHT, RIGHT, WRONG, WRONG, "", RIGHT + WRONG])
    )
    lists = st.lists(st.sampled_from([*names, NO_FINDING]), min_size=1, max_size=4).map(", ".join)
    answers = marked.map(" ".join) | lists | st.sampled_from([answer for _, answer in reference])
    pair = st.tuples(some_sentence | st.sampled_from([think for think, _ in reference]), answers)
    if draw(st.integers(0, 3)) == 0:
        return draw(st.lists(pair, min_size=1, max_size=9))
    pairs = list(reference)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(pairs) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "new", "think", "answer", "move"]))
        if change == "drop" and len(pairs) > 1:
            del pairs[at]
        elif change == "double":
            pairs.insert(draw(st.integers(0, len(pairs))), pairs[at])
        elif change == "new":
            pairs.insert(at, draw(pair))
        elif change == "move":
            pairs.insert(draw(st.integers(0, len(pairs) - 1)), pairs.pop(at))
        elif change == "swap":
            pairs[at] = (pairs[at][0], pairs[at][1].translate({ord(RIGHT): WRONG, ord(WRONG): RIGHT}))
        elif change == "think":
            pairs[at] = (draw(some_sentence), pairs[at][1])
        elif change == "answer":
            pairs[at] = (pairs[at][0], draw(answers))
    return pairs


def verdict_on(task, pairs):
    return score(task, written(pairs), CONFIG)


def total(task, pairs):
    return verdict_on(task, pairs).total


def at_most(total, other):
    return total <= other + 1e-9


def everything_rejected(task, final):
    return [("Look.", f"{letter} {WRONG}") for letter in task.options] + [("So.", final)]


def marked_by(task, final):
    return [("Look.", f"{letter} {RIGHT if letter == final else WRONG}") for letter in task.options] + [("So.", final)]
