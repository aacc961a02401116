"""PyTorch itself, with batch norms fused into convolutions and channels last in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regard.errors import RegardError
from regard.runtimes.base import Runtime, SessionOptions
from regard.runtimes.header import Header

if TYPE_CHECKING:
    from regard.graph.detector import Detector


class PyTorch(Runtime):
    """Weights and graphs of any kind that `regard.load` reads; written as ``.safetensors``."""

    name, format, suffixes = "torch", "safetensors", (".safetensors",)

    def write(self, detector: Detector, header: Header, path: Path) -> None:
        """See `Runtime.write`; the header of such a file is that of all weights."""
        from regard.weights.detector import save_detector

        if header.nms or header.one_to_one:
            what, flag = "a .safetensors file contains weights and a graph", "--nms" if header.nms else "--no-nms"
            raise RegardError(f"{what}, without NMS or the choice of a branch", hint=f"leave out {flag}")
        save_detector(path, detector)

    def open(self, path: Path, options: SessionOptions) -> Detector:
        """Open a detector on a device, ready to predict and no longer to be trained."""
        import torch

        from regard.nn.fuse import fold_batch_norm
        from regard.system.device import choose_device
        from regard.weights.detector import load_detector

        detector = load_detector(path, modules=options.modules)
        if options.nms is not None:
            detector = detector.with_nms(options.nms)
        fold_batch_norm(detector.eval())
        placed = detector.to(choose_device(options.device))
        # A user's own layer may take maps apart with `view`, which rejects this order of memory.
        return placed if options.modules else placed.to(memory_format=torch.channels_last)
