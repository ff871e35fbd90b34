"""Scores a file of responses by the rules and prints what each is worth, and why. Needs neither Ray nor torch.

    python examples/score_a_file.py examples/responses.jsonl

docs/rewards.md says what a line of the file may hold.
"""

from __future__ import annotations

import sys

from cluster import UserError, score_file


def main(path: str) -> None:
    """Prints the total of each response, its parts before they are weighted, and the reasons."""
    for number, verdict in enumerate(score_file(path), 1):
        print(
            f"response {number}: {verdict.total:.3f}; format {verdict.format:.2f}, outcome {verdict.outcome:.2f}, "
            f"process {verdict.process:.2f}, reason {verdict.reason:.2f}"
        )
        for reason in verdict.why:
            print(f"    {reason}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except UserError as error:
        sys.exit(str(error))
