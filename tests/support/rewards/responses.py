"""Small tasks, and responses to them."""

from curriculum.task import Task

SINGLE = Task(
    id="s",
    domain="closed",
    family="single_choice",
    question="?",
    images=("x.png",),
    gold=("B",),
    options={"A": "Mass", "B": "Edema", "C": "Hernia", "D": "Nodule"},
)
MULTIPLE = SINGLE.model_copy(update={"family": "multiple_choice", "gold": ("B", "D")})
OPEN = Task(
    id="o", domain="open", family="diagnosis", question="?", images=("x.png",), gold=("Edema", "Pleural Thickening")
)
HEALTHY = OPEN.model_copy(update={"gold": ()})


def written(*pairs):
    """The response with these (think, answer) pairs."""
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def pairs(*answers, think="It is so."):
    """The response with these answers, each after the same think block."""
    return written(*((think, answer) for answer in answers))


def plain_f1(found, gold):
    """F1 of two sets, from precision and recall."""
    if not found and not gold:
        return 1
    hits = sum(name in gold for name in found)
    precision, recall = (hits / len(names) if names else 0 for names in (found, gold))
    return 2 * precision * recall / (precision + recall) if hits else 0
