"""Names of other projects for the package's layers and blocks, and how those order their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "SELayer": "SE",
        "SEAttention": "SE",
        "SEBlock": "SE",
        "SE_Block": "SE",
        "SEModule": "SE",
        "SqueezeExcitation": "SE",
        "ECALayer": "ECA",
        "ECAAttention": "ECA",
        "ECA_layer": "ECA",
        "eca_layer": "ECA",
        "eca_block": "ECA",
        "EfficientChannelAttention": "ECA",
        "CBAMBlock": "CBAM",
        "cbam_block": "CBAM",
        "CBAM_Block": "CBAM",
        "CBAMAttention": "CBAM",
        "CA": "CoordinateAttention",
        "CABlock": "CoordinateAttention",
        "CA_Block": "CoordinateAttention",
        "CoordAtt": "CoordinateAttention",
        "CoordAttn": "CoordinateAttention",
        "CoordAttention": "CoordinateAttention",
        "SimAm": "SimAM",
        "simam": "SimAM",
        "simam_module": "SimAM",
        "Simam_module": "SimAM",
        "EMA": "EMAttention",
        "EMA_attention": "EMAttention",
        "Triplet": "TripletAttention",
        "GC": "GlobalContext",
        "ContextBlock": "GlobalContext",
        "NonLocalBlock": "NonLocal",
        "CrissCross": "CrissCrossAttention",
        "eSE": "ESE",
        "scSE": "ScSE",
        "SpatialGroupEnhance": "SGE",
        "NAMAttention": "NAM",
        "NAM_Attention": "NAM",
        "BAMBlock": "BAM",
        "BAM_Attention": "BAM",
        "A2Attention": "DoubleAttention",
        "CoT": "ContextualTransformer",
        "CoTAttention": "ContextualTransformer",
        "CoTNetLayer": "ContextualTransformer",
        "SequentialPolarizedSelfAttention": "PolarizedSelfAttention",
        "MSDA": "MultiScaleDilatedAttention",
        "MultiDilatelocalAttention": "MultiScaleDilatedAttention",
        "TSSA": "TokenStatisticsAttention",
        "AttentionTSSA": "TokenStatisticsAttention",
        "PolaLinearAttention": "PolarityAttention",
        "DiffAttention": "DifferentialAttention",
        "SK": "SelectiveKernel",
        "SKAttention": "SelectiveKernel",
        "SKConv": "SelectiveKernel",
        "LSKblock": "LSK",
        "LSKBlock": "LSK",
        "LSKModule": "LSK",
        "sa_layer": "ShuffleAttention",
        "ShuffleAttn": "ShuffleAttention",
        "iRMB": "IRMB",
        "DAT": "SharedDeformableAttention",
        "DAttention": "SharedDeformableAttention",
        "DAttentionBaseline": "SharedDeformableAttention",
        "BRA": "BiLevelRoutingAttention",
        "BiLevelRoutingAttention_nchw": "BiLevelRoutingAttention",
    }
)
"""Other name -> the package's."""

BLOCKS: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = MappingProxyType(
    {
        "BiFPN_Add2": ("BiFPN", ("channels", "channels"), {"mode": "sum", "convolve": True}),
        "BiFPN_Add3": ("BiFPN", ("channels", "channels"), {"mode": "sum", "convolve": True}),
        "BiFPN_Concat2": ("BiFPN", ("dim",), {"mode": "concat"}),
        "BiFPN_Concat3": ("BiFPN", ("dim",), {"mode": "concat"}),
        "Concat_bifpn": ("BiFPN", ("dim",), {"mode": "concat"}),
        "Concat_BiFPN": ("BiFPN", ("dim",), {"mode": "concat"}),
        "space_to_depth": ("SpaceToDepth", ("dim",), {}),
        "SPD": ("SpaceToDepth", ("dim",), {}),
        "conv_bn_relu_maxpool": ("ConvPool", ("out",), {}),
        "CBRM": ("ConvPool", ("out",), {}),
        "Conv_maxpool": ("ConvPool", ("out",), {}),
        "Shuffle_Block": ("ShuffleUnit", ("out", "stride"), {}),
        "ShuffleNetV2": ("ShuffleUnit", ("out", "stride"), {}),
        "ShuffleV2Block": ("ShuffleUnit", ("out", "stride"), {}),
        "conv_bn_hswish": ("ConvHardswish", ("out", "stride"), {}),
        "MobileNet_Block": (
            "MobileNetV3Block",
            ("out", "hidden", "kernel_size", "stride", "squeeze", "hardswish"),
            {},
        ),
        "MobileNetV3_InvertedResidual": (
            "MobileNetV3Block",
            ("out", "hidden", "kernel_size", "stride", "squeeze", "hardswish"),
            {},
        ),
        "SimFusion_4in": ("GatherAlign", (), {"level": 2}),
        "CARAFE": ("CARAFE", ("kernel_encoder", "kernel_up", "hidden", "scale"), {}),
        "ASFF_Detect": ("ASFFDetect", ("nc", "anchors"), {}),
        "Decoupled_Detect": ("DecoupledDetect", ("nc", "anchors", "hidden"), {}),
        "GAM_Attention": ("GAM", ("out", "channels", "reduction"), {}),
        "GAMAttention": ("GAM", ("out", "channels", "reduction"), {}),
        "involution": ("Involution", ("out", "kernel_size", "stride"), {}),
    }
)
"""Other name -> the package's block, what its arguments are in order, and options that the name implies.

``out`` are channels as the package has them first; further ``channels`` and ``dim`` (1) say nothing that is not known.
"""
