"""The entry point of `curlvpr`, and of `python -m cluster.cli` where the package is not installed, as in a Ray job."""

from __future__ import annotations

import signal


def main() -> None:
    """Runs the command line. A signal that comes before it is imported ends the process without a trace."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cluster.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
