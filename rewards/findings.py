"""One name for each chest X-ray finding, however it is written."""

from __future__ import annotations

from curriculum.task import NO_FINDING

# The names of NIH ChestX-ray14, as `curriculum.nih` writes them, and what else radiologists call the same thing.
# Only true synonyms: a word that may mean two findings ("opacity", "collapse") is left unknown.
_SYNONYMS = {
    "Atelectasis": ("atelectases", "atelectatic change"),
    "Cardiomegaly": ("enlarged heart", "enlarged cardiac silhouette", "cardiac enlargement", "heart enlargement"),
    "Consolidation": ("pulmonary consolidation", "lung consolidation", "airspace consolidation"),
    "Edema": ("pulmonary edema", "lung edema"),
    "Effusion": ("pleural effusion", "pleural fluid"),
    "Emphysema": ("pulmonary emphysema",),
    "Fibrosis": ("fibroses", "pulmonary fibrosis", "lung fibrosis"),
    "Hernia": ("herniae", "hiatal hernia", "hiatus hernia"),
    "Infiltration": ("infiltrate", "pulmonary infiltrate", "lung infiltrate", "pulmonary infiltration"),
    "Mass": ("lung mass", "pulmonary mass"),
    "Nodule": ("lung nodule", "pulmonary nodule"),
    "Pleural Thickening": ("thickened pleura", "thickening of the pleura"),
    "Pneumonia": (),
    "Pneumothorax": ("pneumothoraces",),
    NO_FINDING: ("none", "normal", "healthy", "unremarkable", "no acute finding", "no abnormal finding", "no abnormality",
                 "no acute abnormality"),
}
_CANONICAL = {name.casefold(): canonical for canonical, others in _SYNONYMS.items() for name in (canonical, *others)}


def canonical(name: str) -> str:
    """The NIH-14 name or "No finding" for its synonyms, plurals and spellings, in any case; "_" and "-" are spaces.

    A name that is not known comes back casefolded, with single spaces, and is equal only to itself.
    """
    plain = " ".join(name.casefold().replace("_", " ").replace("-", " ").split()).replace("oedema", "edema")
    for form in (plain, plain.removesuffix("s"), plain.removesuffix("es"), plain.removesuffix("ies") + "y"):
        if form in _CANONICAL:
            return _CANONICAL[form]
    return plain
