"""Large libraries, imported while this process would wait for others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports_ahead() -> Iterator[None]:
    """Inside, a thread imports what makes and reads model folders. What fails there is told where it is used.

    Nobody else may import torch inside: two threads would see each other's modules half-made.
    """
    thread = threading.Thread(target=_import, name="imports", daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:  # the process is to end, and imports no more
        raise
    except BaseException:
        thread.join()
        raise
    thread.join()


def _import() -> None:
    try:
        import torch  # noqa: F401
        from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration  # noqa: F401
    except Exception:  # noqa: BLE001
        return
