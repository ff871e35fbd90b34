"""What a response is worth, and why: parser, answers, findings, verdicts. Needs neither Ray nor torch."""
