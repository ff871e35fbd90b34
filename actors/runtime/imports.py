"""Large libraries, imported while this process would wait for others."""

from __future__ import annotations

import threading


def import_ahead() -> None:
    """Begins to import what makes and reads model folders, in a thread. What fails there is told where it is used."""
    threading.Thread(target=_import, name="imports", daemon=True).start()


def _import() -> None:
    try:
        import torch  # noqa: F401
        from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration  # noqa: F401
    except Exception:  # noqa: BLE001
        return
