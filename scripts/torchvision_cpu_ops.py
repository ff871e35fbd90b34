"""Lets torchvision's Python part load beside a CPU build of torch.

PyPI's torchvision is linked to CUDA. If only that wheel is available, its operators do not load, and
`import torchvision` stops at a missing operator schema. A .pth file starts this module in every process (vLLM inspects
models in a subprocess); it declares the two schemas just before torchvision is imported. scripts/setup.sh installs it
only if `import torchvision` fails without it.
"""

import sys


class _DeclareOpsFirst:
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        global _library  # the declarations live as long as this object
        _library = torch.library.Library("torchvision", "FRAGMENT")
        _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _DeclareOpsFirst())
