"""Sets whose films come with a report, as text or annotated."""
