"""Runs inside vLLM's worker process: reads new weights. vLLM mixes this class into its worker."""

from __future__ import annotations


class WeightReader:
    def read_weights(self, path: str) -> None:
        """Loads the safetensors file `path` (the names of a Hugging Face checkpoint) over the present weights."""
        from safetensors.torch import load_file

        self.model_runner.reload_weights(weights_iterator=iter(load_file(path).items()))
