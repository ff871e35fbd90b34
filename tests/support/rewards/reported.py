"""Tasks with reports, made for the tests."""

from curriculum.task import Task

REPORT = """FINDINGS: The heart is mildly enlarged, unchanged since ___. There is a small left pleural effusion.
No pneumothorax. The lungs are clear. Mild degenerative changes of the spine.

IMPRESSION: 1. Mild cardiomegaly. 2. Small left effusion, recommend follow-up."""
NORMAL = (
    "FINDINGS: Heart size is normal. The lungs are clear. No effusion or pneumothorax.\n\nIMPRESSION: Normal chest."
)

CHOICE = Task(
    id="choice",
    domain="closed",
    family="multiple_choice",
    question="Which findings are seen?",
    options={"A": "Effusion", "B": "Mass", "C": "Cardiomegaly", "D": "No finding"},
    gold=("A", "C"),
    images=("film.png",),
    report=REPORT,
)
BINARY = CHOICE.model_copy(
    update={
        "id": "binary",
        "family": "binary",
        "question": "Is there Pneumothorax?",
        "options": {"A": "Yes", "B": "No"},
        "gold": ("B",),
    }
)
HEALTHY = CHOICE.model_copy(update={"id": "healthy", "gold": ("D",), "report": NORMAL})
NAMES = Task(
    id="names",
    domain="open",
    family="diagnosis",
    question="Name all findings.",
    gold=("Cardiomegaly", "Effusion"),
    images=("film.png",),
    report=REPORT,
)
SECTION = NAMES.model_copy(
    update={
        "id": "section",
        "family": "impression",
        "form": "text",
        "gold": ("Mild cardiomegaly and a small effusion.",),
    }
)
MATCHING = BINARY.model_copy(
    update={
        "id": "matching",
        "family": "image_text_matching",
        "question": "Does this text describe the film? Large pneumothorax on the right. Normal heart size.",
    }
)
TASKS = (CHOICE, BINARY, HEALTHY, NAMES, SECTION, MATCHING)
