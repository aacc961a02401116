"""The contract of a detection head; the graph, the training loop and the runtimes depend on nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.config import LossSettings
from regard.errors import RegardError, nearest, one_of
from regard.nn.dynamic_head import DynamicHead, GatedLevels
from regard.nn.raw_levels import DistanceDecoder, RawDecoder
from regard.types import Predictions, Targets

HEAD_ATTENTION: Mapping[str, type[nn.Module]] = MappingProxyType({"DyHead": DynamicHead})
"""Attention that the levels of a head can pass first: name in a graph -> class."""


def identity_reduce(counts: Tensor) -> Tensor:
    """Sum over the processes where there is only one: ``counts`` unchanged."""
    return counts


@dataclass(frozen=True)
class LossContext:
    """What a loss depends on besides raw outputs and labels.

    Attributes:
        settings: gains and thresholds of the recipe.
        image_size: the longer side of the input in pixels.
        sum_over_processes: computes the sum of a tensor over all processes, without gradient. Processes average their
            gradients, so a loss that divides by counts over all of them and multiplies by the number of processes has
            the value and the gradients of one process with all images.
        progress: part of the training that is over, 0 in the first epoch and 1 in the last.
        class_weights: factor of each class's terms in the class loss, for heads that support it; 1 where None.
    """

    settings: LossSettings
    image_size: int
    sum_over_processes: Callable[[Tensor], Tensor] = identity_reduce
    progress: float = 0.0
    class_weights: Sequence[float] | None = None


class ClassChannels(NamedTuple):
    """Where the classes are among the first dimension of a tensor: ``groups`` times ``others`` rows, then the classes.

    Attributes:
        groups: equal blocks, one after another, such as the anchors of YOLOv5.
        others: rows before the classes in each block, such as those for box and objectness.
    """

    groups: int = 1
    others: int = 0


class Head(nn.Module, ABC):
    """The last layer of a detector: from feature maps to raw outputs, from these to predictions and to losses.

    A head is constructed as ``Class(in_channels, nc, ..., *, strides)``: the channels of each level that it reads, the
    number of classes, and the input pixels per cell of each level. The last row of a graph names it, either by its row
    in `regard.nn.heads.HEADS` or as a user's own class (``--module file.py:Class``). Only ``levels``, ``decode``,
    ``criterion`` and the names of the ``losses`` have to be written.

    Attributes:
        nc: number of classes.
        strides: input pixels per cell of each level, in the order of the levels.
        losses: names of the losses that ``criterion`` computes, in the order in which they are shown.
        kept_with_other_classes: meaning of the rows of a tensor before the classes, for messages.
        whole_pixels: whether boxes are brought back to the image as in Ultralytics: see `regard.data.letterbox`.
        one_to_one: whether predictions are those of the one-to-one branch, which need no suppression.
        per_level: names of the module lists that have one entry per level, which are matched by their strides.
    """

    multi_input: ClassVar[bool] = True
    options_of: ClassVar[Mapping[str, tuple[str, Mapping[str, type[nn.Module]]]]] = {
        "attention_options": ("attention", HEAD_ATTENTION)
    }
    losses: ClassVar[tuple[str, ...]]
    kept_with_other_classes: ClassVar[str] = "boxes"
    per_level: ClassVar[tuple[str, ...]] = ()
    nc: int
    strides: tuple[int, ...]
    whole_pixels: ClassVar[bool] = False
    one_to_one: bool = False

    @property
    def end2end(self) -> bool:
        """Whether there is a one-to-one branch, which predicts each object once."""
        return False

    @abstractmethod
    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Compute the raw outputs from the feature maps [(B, C_i, H / stride_i, W / stride_i)] of all levels."""

    @abstractmethod
    def decode(self, levels: Sequence[Tensor]) -> Predictions:
        """Turn raw outputs into boxes in input pixels and class scores, always in float32.

        The levels follow in order, each with the same number of predictions per cell.
        """

    @abstractmethod
    def criterion(self, levels: Sequence[Tensor], targets: Targets, context: LossContext) -> dict[str, Tensor]:
        """Compute the losses of a batch by name, each a scalar after its gain, in the order of ``losses``.

        They are means over the batch; the training minimises their sum times the number of images in the batch. Every
        parameter of the head has to be reached, in a batch without boxes too.

        Args:
            levels: raw outputs in training mode.
            targets: the labelled boxes, in fractions of the input.
            context: gains, image size, and the sum over processes.
        """

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Compute the raw outputs; see ``levels``."""
        return self.levels(self.attended(features))

    def attend_first(
        self, attention: str | None, options: Mapping[str, Any] | None, in_channels: Sequence[int]
    ) -> None:
        """Let the levels pass attention behind a closed gate, which changes nothing at the start.

        Args:
            attention: a name of `HEAD_ATTENTION`; nothing is added if None.
            options: its options.
            in_channels: channels of each level.

        Raises:
            RegardError: there is no such attention, or the options do not fit.
        """
        if attention is None:
            if options:
                raise RegardError("a head has attention_options but no attention", expected="attention: DyHead")
            return
        if attention not in HEAD_ATTENTION:
            what, expected = f"a head has no attention {attention!r}", one_of(HEAD_ATTENTION)
            raise RegardError(what, expected=expected, hint=nearest(attention, HEAD_ATTENTION))
        build: Any = HEAD_ATTENTION[attention]
        self.attend = GatedLevels(build(in_channels, **(options or {}), strides=self.strides))

    def attended(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The feature maps behind the attention of the head, if it has any."""
        attend = getattr(self, "attend", None)
        return features if attend is None else attend(features)

    def select(self, levels: Sequence[Tensor], conf: float) -> list[Tensor]:
        """Decode the predictions of each image of which some class scores above ``conf``.

        Heads that can select likely cells before decoding override this; the results are those of ``decode``.

        Returns:
            For each image (n, 4 + nc): centre x, centre y, width, height in input pixels, class scores.
        """
        boxes, scores = self.decode(levels)
        rows = torch.cat((boxes, scores), 2)
        return [own[likely] for own, likely in zip(rows, scores.amax(2) > conf, strict=True)]

    def fit_to(self, sizes: NDArray[np.float64], *, settings: LossSettings, seed: int) -> str | None:  # noqa: ARG002
        """Adapt to the objects of a data set before training, where the head has anything to adapt.

        Args:
            sizes: (N, 2) widths and heights of all labelled boxes, in input pixels.
            settings: gains and thresholds of the recipe.
            seed: makes the result reproducible.

        Returns:
            What was found, to be reported to the user; None where there is nothing to adapt.
        """
        return None

    def class_channels(self) -> Mapping[str, ClassChannels]:
        """Name its tensors that have channels for the classes, so that other classes can replace them.

        Where classes are replaced, these tensors keep the channels of all classes of the same name and everything else;
        tensors that are not named here and differ in shape start from fresh values.
        """
        return {}

    def class_parameters(self) -> list[nn.Parameter]:
        """Parameters of the branches that predict nothing but classes, which some optimisers train faster."""
        return []

    def kept_options(self, in_channels: Sequence[int], nc: int) -> dict[str, Any]:  # noqa: ARG002
        """Options with which a head of this class for other classes or channels has tensors of the same shapes.

        Args:
            in_channels: channels of each level of the other head.
            nc: its number of classes.
        """
        return {}

    def graph_values(self) -> dict[str, Any]:
        """Current values of the keys at the top of a model graph that belong to this head, such as anchors."""
        return {}

    def prefers_own(self, key: str, source: Tensor) -> bool:  # noqa: ARG002
        """Decide whether its tensor ``key``, as the graph states it, precedes that of a detector it is filled from."""
        return False

    def object_sizes(self) -> tuple[tuple[float, ...], ...] | None:
        """Sizes of objects that each level is meant for, as w, h, w, h, ... in input pixels; None where not stated."""
        return None

    def raw_export(self) -> tuple[nn.Module, RawDecoder | DistanceDecoder] | None:
        """Prepare a compiled model whose raw outputs are decoded outside, only where something is likely.

        Returns:
            The module that replaces the head, and what decodes its outputs without torch; None where the compiled
            model is to decode everything itself.
        """
        return None


def total_loss(losses: Mapping[str, Tensor], images: int) -> Tensor:
    """Combine named losses into the scalar to minimise: their sum times the images of the whole batch.

    Example:
        >>> total_loss({"box": torch.tensor(0.5), "cls": torch.tensor(0.25)}, images=4)
        tensor(3.)
    """
    return torch.stack(list(losses.values())).sum() * images
