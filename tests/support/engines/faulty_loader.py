"""An engine that can be made to load weights wrongly, without a word."""

import torch

from actors.rollout.vllm_extension import WeightReader

DAMAGES = {  # what becomes of the tensors that vLLM's own loader is given
    "one layer zeroed": lambda name, value: (
        torch.zeros_like(value) if ".layers.1." in name and "visual" not in name else value
    ),
    "one tensor skipped": lambda name, value: (
        None if name.endswith("layers.0.mlp.down_proj.weight") and "visual" not in name else value
    ),
    "old head kept": lambda name, value: None if name == "lm_head.weight" else value,
}


class FaultyReader(WeightReader):
    """In the engine's process."""

    def break_loader(self, damage):
        """From here on the model's loader is faulty; sound again with ""."""
        model = self.model_runner.get_model()
        vars(model).pop("load_weights", None)
        assert damage or self.spoilt, "the fault struck nothing"
        if damage:
            load, spoil = model.load_weights, DAMAGES[damage]
            self.spoilt = spoilt = []

            def load_spoilt(weights):
                def given():
                    for name, value in weights:
                        changed = spoil(name, value)
                        if changed is not value:
                            spoilt.append(name)
                        if changed is not None:
                            yield name, changed

                return load(given())

            model.load_weights = load_spoilt
