"""The detector network that a graph describes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.config import IMGSZ
from regard.errors import RegardError
from regard.graph.spec import IMAGE, ModelSpec
from regard.nn.heads import Head
from regard.system.interrupts import interrupts_deferred
from regard.types import Predictions

if TYPE_CHECKING:
    from regard.graph.summary import Summary


ORIGIN, PUBLISHED = "origin", "published"
"""Keys in a file of weights, see `Detector.origin` and `Detector.published`."""


class Published(NamedTuple):
    """A model that was published on the Hub.

    Attributes:
        address: as in ``hf://owner/name``.
        license: identifier of the Hub.
    """

    address: str
    license: str

    @classmethod
    def read(cls, value: object) -> Published | None:
        """Read what a file states; anything but two texts is ignored."""
        found = [value.get(name) for name in cls._fields] if isinstance(value, Mapping) else []
        address, license = (str(text) if isinstance(text, str) else "" for text in (*found, None, None)[:2])
        return cls(address, license) if address and license else None


class Detector(nn.Module):
    """A detector built from a graph by ``graph.build``.

    Args:
        spec: the graph, with the facts measured when it was built.
        layers: one module per layer of the graph.
        names: class names by class id.
        user_modules: the user's own classes that the graph needs, by name.

    Attributes:
        model: the layers in order, so that tensors are called ``model.<row>....`` as in YOLOv5.
        origin: name of the file of another package whose weights it has, or was trained from; "" without any,
            None where its own file does not say.
        published: the model on the Hub whose weights it has, or was trained from, with its licence; None without any.
        started_from: the file from which its weights were loaded, or the graph or name of the model zoo whose layers
            were newly initialised; None if unknown.
    """

    def __init__(
        self,
        spec: ModelSpec,
        layers: Sequence[nn.Module],
        names: Mapping[int, str],
        user_modules: Mapping[str, type[nn.Module]],
    ) -> None:
        super().__init__()
        self._spec = spec
        self.names = dict(names)
        self.user_modules = dict(user_modules)
        self.origin: str | None = ""
        self.published: Published | None = None
        self.started_from: str | None = None
        self.model = nn.ModuleList(layers)
        index = {row.name: i for i, row in enumerate(spec.layers)} | {IMAGE: -1}
        self._inputs = [tuple(index[name] for name in row.inputs) for row in spec.layers]
        last_reader = {source: i for i, sources in enumerate(self._inputs) for source in sources}
        self._done = [tuple(s for s, reader in last_reader.items() if reader == i) for i in range(len(layers))]
        self._many = [
            getattr(layer, "multi_input", False) or len(inputs) > 1
            for layer, inputs in zip(layers, self._inputs, strict=True)
        ]

    def inherit(self, other: Detector) -> None:
        """Take over what is known of where the weights of another detector come from."""
        self.origin, self.published, self.started_from = other.origin, other.published, other.started_from

    def history(self) -> dict[str, Any]:
        """What a file of its weights records of where they come from; see `origin` and `published`."""
        known = {} if self.origin is None else {ORIGIN: self.origin}
        return known if self.published is None else {**known, PUBLISHED: self.published._asdict()}

    def read_history(self, recorded: Mapping[str, Any]) -> None:
        """Take over what a file of its weights records."""
        self.origin = None if (origin := recorded.get(ORIGIN)) is None else str(origin)
        self.published = Published.read(recorded.get(PUBLISHED))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load tensors, after which it is unknown where the weights came from; see ``torch.nn.Module``."""
        self.started_from = None
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    @property
    def head(self) -> Head:
        """The detection head."""
        head = self.model[-1]
        if not isinstance(head, Head):  # only inside an export, whose tracing asks every property by ``hasattr``
            raise AttributeError("the head has been replaced by its raw outputs")
        return head

    @property
    def spec(self) -> ModelSpec:
        """The graph, with the current values of the head, such as its anchors."""
        return replace(self._spec, **self.head.graph_values())

    @spec.setter
    def spec(self, spec: ModelSpec) -> None:
        self._spec = spec

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each detection level."""
        return self.head.strides

    @property
    def max_stride(self) -> int:
        """The number that the sides of an input must be multiples of, in pixels."""
        deepest = max((info.stride for info in self._spec.info.values()), default=0)
        return int(max(deepest, *self.strides))

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.head.nc

    @property
    def whole_pixels(self) -> bool:
        """Whether boxes are brought back to the image in whole pixels: see `regard.data.letterbox`."""
        return self.head.whole_pixels

    @property
    def one_to_one(self) -> bool:
        """Whether the branch predicts whose boxes need no NMS."""
        return self.head.one_to_one

    def with_nms(self, nms: bool) -> Detector:
        """The same layers, predicting with the branch whose boxes need NMS, or with the one-to-one branch.

        Raises:
            RegardError: the head has no one-to-one branch.
        """
        if nms != self.one_to_one:
            return self
        if not nms and not self.head.end2end:
            raise RegardError(
                f"the model has no one-to-one branch: its head is {self._spec.layers[-1].module}, whose boxes need NMS",
                expected="YOLOv10, YOLO26 or another graph with end2end: true",
                hint="leave out --no-nms (in Python: nms=False)",
            )
        other, head = copy.copy(self), copy.copy(self.head)
        head.one_to_one = not nms
        other.__dict__["_modules"] = dict(self._modules)
        other.model = nn.ModuleList([*self.model[:-1], head])
        return other

    def named_layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Iterate over the layers with their names, in order."""
        yield from zip((row.name for row in self._spec.layers), self.model, strict=True)

    def layer(self, name: str | int) -> nn.Module:
        """Look up a layer by name or index.

        Raises:
            RegardError: there is no such layer; the nearest name is suggested.
        """
        return self.model[self._spec.index(self._spec.layer(name).name)]

    def forward(self, images: Tensor) -> Predictions | list[Tensor]:
        """Run the network.

        Args:
            images: (B, 3, H, W) float RGB in 0..1; H and W multiples of ``max_stride``.

        Returns:
            In training the raw levels of the head; in evaluation all boxes in input pixels, with their class scores.
        """
        raw = self.raw(images)
        return raw if self.training else self.head.decode(raw)

    def raw(self, images: Tensor) -> list[Tensor]:
        """Compute the raw outputs of the head in either mode."""
        kept: dict[int, Tensor] = {-1: images}
        x: Tensor | list[Tensor] = images
        for i, layer in enumerate(self.model):
            sources = [kept[source] for source in self._inputs[i]]
            x = layer(sources if self._many[i] else sources[0])
            for source in self._done[i]:
                del kept[source]
            if isinstance(x, Tensor):
                kept[i] = x
        assert isinstance(x, list)
        return x

    def predict(self, images: NDArray[np.uint8], conf: float, *, nms: bool | None = None) -> list[NDArray[np.float32]]:
        """See `regard.types.Predictor.predict`; in evaluation mode and without gradients, and left as it was.

        Args:
            images: (B, 3, H, W) RGB.
            conf: least score of a box.
            nms: whether the boxes are those to be suppressed, or of the one-to-one branch; see ``with_nms``.
        """
        if nms is not None:
            return self.with_nms(nms).predict(images, conf)
        weight, was_training = next(self.parameters()), self.training
        self.eval()
        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(images).to(weight.device, non_blocking=True).to(weight.dtype) / 255
                return [rows.float().cpu().numpy() for rows in self.head.select(self.raw(pixels), conf)]
        finally:
            self.train(was_training)

    @interrupts_deferred()
    def summary(self, imgsz: int = IMGSZ) -> Summary:
        """Table of layers with shapes, parameters and FLOPs for square images of side ``imgsz``, in pixels."""
        from regard.graph.summary import summarize

        return summarize(self, imgsz)
