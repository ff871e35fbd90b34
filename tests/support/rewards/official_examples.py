"""Tasks and responses on which CX-Mind's own code is known to be wrong, and both verdicts on them."""

from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score

PAPER, STRICT = RewardConfig(preset="paper"), RewardConfig()
RIGHT, WRONG = "✅", "❌"
RIGHT_ALONE = 1.0  # of `strict`, in the format and without steps


def written(*pairs):
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def answers(*texts, think="Look."):
    return written(*((think, text) for text in texts))


OPTIONS = {"A": "Cardiomegaly", "B": "Edema", "C": "Mass", "D": "Effusion"}
THINKS = {
    "A": "The heart is not enlarged.",
    "B": "There is interstitial edema in both lungs with thickened septal lines.",
    "C": "No mass or nodule in either lung.",
    "D": "No pleural effusion; the angles are sharp.",
}
REFERENCE = written(
    *((THINKS[letter], f"{letter}) {RIGHT if letter == 'B' else WRONG}") for letter in OPTIONS),
    ("Only B is supported.", f"B) {RIGHT}"),
)
CLOSED = Task(
    id="c",
    domain="closed",
    family="single_choice",
    question="Which?",
    images=("x.png",),
    options=OPTIONS,
    gold=("B",),
    reference=REFERENCE,
)
SAID = {
    "Edema": "There is interstitial edema in both lungs.",
    "Pleural Effusion": "A small pleural effusion on the left.",
    "Mass": "No mass in either lung.",
}
OPEN_REFERENCE = written(
    ("These may be there.", "Edema, Pleural Effusion, Mass"),
    *((think, f"{name} {WRONG if name == 'Mass' else RIGHT}") for name, think in SAID.items()),
    ("Two are there.", "Edema, Pleural Effusion"),
)
OPEN = Task(
    id="o",
    domain="open",
    family="diagnosis",
    question="What?",
    images=("x.png",),
    gold=("Edema", "Pleural Effusion"),
    reference=OPEN_REFERENCE,
)
HEALTHY = OPEN.model_copy(update={"gold": (), "reference": None})


def both(task, response):
    return score(task, response, PAPER), score(task, response, STRICT)


def closed(gold, options=OPTIONS, **changes):
    return CLOSED.model_copy(update={"gold": tuple(gold), "options": options, "reference": None} | changes)


def with_think(letter, think):
    return REFERENCE.replace(THINKS[letter], think)
