"""What a response is worth, and why: parser, answers, findings, forms, verdicts. Needs neither Ray nor torch."""
