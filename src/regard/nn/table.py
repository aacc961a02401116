"""Every layer a graph can name: YAML name -> class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from regard.nn.area_block import A2C2f
from regard.nn.asff import ASFF
from regard.nn.attention import ATTENTION
from regard.nn.attentive_blocks import AreaAggregation, PartialSelfAttention
from regard.nn.blocks import C3, SPP, SPPF, Bottleneck, BottleneckCSP
from regard.nn.c2f import C2, C2f, C2fPSA, C3k, C3k2, C3x
from regard.nn.c3_attention import C2fAttention, C3Attention, C3k2Attention
from regard.nn.cib import CIB, C2fCIB, SCDown
from regard.nn.conv import Concat, Conv, DWConv, Focus
from regard.nn.fusion import BiFPN
from regard.nn.gather import GatherAlign, Inject
from regard.nn.gelan import (
    ELAN1,
    SPPELAN,
    AConv,
    ADown,
    CBFuse,
    CBLinear,
    RepC3,
    RepConv,
    RepNCSPELAN4,
)
from regard.nn.ghost import C3Ghost, GhostBottleneck, GhostConv
from regard.nn.heads import HEADS
from regard.nn.involution import Involution
from regard.nn.light_blocks import (
    ConvHardswish,
    ConvPool,
    GSBottleneck,
    GSConv,
    InvertedResidual,
    MobileNetV3Block,
    RepVGGBlock,
    ShuffleUnit,
    VoVGSCSP,
)
from regard.nn.multi_scale import MultiScaleDeformable
from regard.nn.position_attention import C2PSA, PSA
from regard.nn.resampling import CARAFE, SpaceToDepth, SPDConv
from regard.nn.residual import ResidualConvolutions
from regard.nn.swin import C3STR, PatchEmbed, PatchMerging, SwinStage
from regard.nn.timm_stage import TimmStage
from regard.nn.transformer import C3TR

LAYERS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "Conv": Conv,
        "Focus": Focus,
        "Bottleneck": Bottleneck,
        "BottleneckCSP": BottleneckCSP,
        "A2C2f": A2C2f,
        "AConv": AConv,
        "ADown": ADown,
        "AreaAggregation": AreaAggregation,
        "C2": C2,
        "C2f": C2f,
        "C2fAttention": C2fAttention,
        "C2fCIB": C2fCIB,
        "C2fPSA": C2fPSA,
        "C2PSA": C2PSA,
        "C3": C3,
        "C3Attention": C3Attention,
        "C3Ghost": C3Ghost,
        "C3k": C3k,
        "C3k2": C3k2,
        "C3k2Attention": C3k2Attention,
        "C3STR": C3STR,
        "C3TR": C3TR,
        "C3x": C3x,
        "CBFuse": CBFuse,
        "CBLinear": CBLinear,
        "CIB": CIB,
        "DWConv": DWConv,
        "ELAN1": ELAN1,
        "GhostConv": GhostConv,
        "GhostBottleneck": GhostBottleneck,
        "MultiScaleDeformable": MultiScaleDeformable,
        "PartialSelfAttention": PartialSelfAttention,
        "PSA": PSA,
        "RepC3": RepC3,
        "RepConv": RepConv,
        "RepNCSPELAN4": RepNCSPELAN4,
        "ResidualConvolutions": ResidualConvolutions,
        "SCDown": SCDown,
        "SPP": SPP,
        "SPPELAN": SPPELAN,
        "SPPF": SPPF,
        "Concat": Concat,
        "ASFF": ASFF,
        "BiFPN": BiFPN,
        "CARAFE": CARAFE,
        "ConvHardswish": ConvHardswish,
        "ConvPool": ConvPool,
        "GSBottleneck": GSBottleneck,
        "GSConv": GSConv,
        "GatherAlign": GatherAlign,
        "Inject": Inject,
        "InvertedResidual": InvertedResidual,
        "Involution": Involution,
        "MobileNetV3Block": MobileNetV3Block,
        "PatchEmbed": PatchEmbed,
        "PatchMerging": PatchMerging,
        "RepVGGBlock": RepVGGBlock,
        "ShuffleUnit": ShuffleUnit,
        "SpaceToDepth": SpaceToDepth,
        "SPDConv": SPDConv,
        "SwinStage": SwinStage,
        "TimmStage": TimmStage,
        "VoVGSCSP": VoVGSCSP,
        **HEADS,
        **ATTENTION,
    }
)


def graph_name(module: str | type[nn.Module]) -> tuple[str, dict[str, type[nn.Module]]]:
    """Find the name of a module in a graph and, if it is a user's own class, the class by that name.

    Example:
        >>> graph_name(nn.ReLU)
        ('nn.ReLU', {})
    """
    if isinstance(module, str):
        return module, {}
    if LAYERS.get(module.__name__) is module:
        return module.__name__, {}
    if getattr(nn, module.__name__, None) is module:
        return f"nn.{module.__name__}", {}
    return module.__name__, {module.__name__: module}
