"""Backbones of timm (Wightman, "PyTorch Image Models"): one row for each stage, so that attention can stand between.

A network of timm whose features come from layers that follow one another is cut behind the layers that timm names as
its features; each piece is a row. ``timm:`` in the native form writes the rows of several stages at once.

Nothing is downloaded: weights start at random, or come from a local file (``--weights``), see
`regard.weights.timm_weights`. timm's code is under Apache-2.0; the licence of published weights may be another and is
shown by ``regard summary``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from regard.errors import RegardError, nearest

IN_SEQUENCE = ("FeatureListNet", "EfficientNetFeatures", "MobileNetV3Features")
"""Classes of timm whose ``forward`` is a chain of their children."""


class TimmStage(nn.Module):
    """The layers of a network of timm behind one feature map, up to another.

    Args:
        in_channels: channels of the input, three for the first stage.
        name: of the network, as ``timm.list_models()`` has it.
        stage: number of the feature map that it gives, from 0; see ``timm.create_model(name, features_only=True)``.
        after: number of the feature map that it reads; -1 for the image.

    Raises:
        RegardError: timm is not installed, has no such network, or its features are not a chain of layers, as with
            vision transformers; a stage does not exist, or is not behind ``after``.
    """

    def __init__(self, in_channels: int, *, name: str, stage: int, after: int = -1) -> None:
        super().__init__()
        network = features(name)
        ends = [-1, *(end for end, _ in _ends(name, network))]
        if not -1 <= after < stage < len(ends) - 1:
            what, last = f"{name}: stage {stage} after {after}", len(ends) - 2
            expected = f"a stage of 0 to {last}, after an earlier one or -1 for the image"
            raise RegardError(what, expected=expected)
        wanted = network.feature_info.channels()[after] if after >= 0 else 3
        if in_channels != wanted:
            what = f"{name}: stage {stage} reads {in_channels} channels"
            raise RegardError(what, expected=f"the {wanted} channels of {f'stage {after}' if after >= 0 else 'images'}")
        pieces = [*_chain(network)][ends[after + 1] + 1 : ends[stage + 1] + 1]
        self.layers = nn.Sequential(OrderedDict(pieces))
        self.note = f"of {name}, weights of timm under {licence_of(name)}" if after == -1 else ""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, channels of the stage, H / s, W / s), s the stride between both stages."""
        y: Tensor = self.layers(x)
        return y


def features(name: str) -> Any:
    """Build a network of timm that gives its feature maps, with random weights.

    Raises:
        RegardError: timm is not installed or has no such network, or its features are not a chain of layers.
    """
    try:
        import timm
    except ImportError:
        raise RegardError("backbones of timm need the package timm", hint='pip install "regard[timm]"') from None
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        raise RegardError(f"timm has no network {name!r}", expected="a name of timm.list_models()", hint=near)
    try:
        network = timm.create_model(name, features_only=True, pretrained=False)
    except (RuntimeError, AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_chain(name) from error
    if type(network).__name__ not in IN_SEQUENCE or str(getattr(network, "output_fmt", None)).endswith("NHWC"):
        raise _no_chain(name)
    return network


def _no_chain(name: str) -> RegardError:
    what = f"the feature maps of {name} do not come from a chain of convolutional stages"
    examples = "mobilenetv3_small_100, efficientnet_b0, resnet18 or convnext_atto"
    return RegardError(what, expected=f"a network such as {examples}")


def _chain(network: Any) -> Iterator[tuple[str, nn.Module]]:
    """Layers in the order of ``forward``, with timm's names, in which dots are underscores."""
    for name, child in network.named_children():
        if name == "blocks" and type(network).__name__ != "FeatureListNet":
            yield from ((f"{name}_{i}", block) for i, block in child.named_children())
        else:
            yield name, child


def _ends(name: str, network: Any) -> Iterator[tuple[int, int]]:
    """Place in the chain of the last layer before each feature map, and its stride."""
    places = [layer for layer, _ in _chain(network)]
    for feature in network.feature_info.get_dicts():
        last = feature["module"].replace(".", "_")
        last = "act1" if last == "bn1" and "act1" in places else last  # timm's map is the one behind the activation
        if last not in places:
            raise _no_chain(name)
        yield places.index(last), feature["reduction"]


def strides_of(name: str) -> list[int]:
    """Stride of each stage of a network of timm.

    Raises:
        RegardError: as for `features`.
    """
    return [stride for _, stride in _ends(name, features(name))]


def licence_of(name: str) -> str:
    """Licence of the published weights of a network of timm, or "a licence that timm does not state"."""
    import timm

    settings = timm.models.get_pretrained_cfg(name)
    return getattr(settings, "license", None) or "a licence that timm does not state"
