"""A training step of a detector on made-up labels, whole or part by part."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.config import DEFAULT_RECIPE
from regard.graph.detector import Detector
from regard.nn.heads import LossContext, total_loss
from regard.training.optim import Length, build_optimizer
from regard.types import Targets

BOXES = 8
"""Labelled boxes per image."""


class Step:
    """Forward pass, loss, backward pass and optimiser, to be called in this order.

    Gradients are enabled in any case, as clocks run everything without.

    Args:
        detector: trained in place, in channels-last order unless ``order`` says otherwise.
        batch: images.
        imgsz: side of the input in pixels.
        lower: bfloat16 by autocast.
        order: of memory.
    """

    def __init__(
        self,
        detector: Detector,
        batch: int,
        imgsz: int,
        *,
        lower: bool,
        order: torch.memory_format = torch.channels_last,
    ) -> None:
        self.detector = detector.train().to(memory_format=order)
        self.optimizer = build_optimizer(detector, DEFAULT_RECIPE.optim, Length(1, 1, batch))
        self.images = torch.rand(batch, 3, imgsz, imgsz).to(memory_format=order)
        self.lower = lower
        index = torch.arange(batch).repeat_interleave(BOXES)
        boxes = torch.cat((torch.rand(len(index), 2), 0.05 + 0.3 * torch.rand(len(index), 2)), dim=1)
        self.targets = Targets(index, torch.randint(detector.nc, (len(index),)), boxes)
        self.raw: list[Tensor] = []
        self.total = torch.zeros(())

    def forward(self) -> None:
        """Run the network."""
        lower = torch.autocast("cpu", torch.bfloat16, enabled=self.lower)
        with torch.inference_mode(False), torch.enable_grad(), lower:
            self.raw = self.detector.raw(self.images)

    def loss(self) -> None:
        """Compute the loss."""
        context = LossContext(DEFAULT_RECIPE.loss, self.images.shape[2])
        with torch.inference_mode(False), torch.enable_grad():
            self.total = total_loss(self.detector.head.criterion(self.raw, self.targets, context), len(self.images))

    def backward(self) -> None:
        """Differentiate it."""
        with torch.inference_mode(False), torch.enable_grad():
            torch.autograd.backward(self.total)
        self.raw, self.total = [], torch.zeros(())

    def update(self) -> None:
        """Change the weights."""
        with torch.inference_mode(False):
            self.optimizer.step()
            self.optimizer.zero_grad()

    def whole(self) -> None:
        """Do all of it."""
        self.forward()
        self.loss()
        self.backward()
        self.update()
