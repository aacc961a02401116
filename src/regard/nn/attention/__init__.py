"""The catalogue: YAML name -> class. A new module is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from regard.nn.attention.agent import AgentAttention
from regard.nn.attention.area import AreaAttention
from regard.nn.attention.axial import AxialAttention
from regard.nn.attention.bam import BAM
from regard.nn.attention.bi_level_routing import BiLevelRoutingAttention
from regard.nn.attention.big_bird import BigBirdAttention
from regard.nn.attention.bottleneck_transformer import BottleneckTransformer
from regard.nn.attention.caa import CAA
from regard.nn.attention.cascaded import CascadedGroupAttention
from regard.nn.attention.cbam import CBAM
from regard.nn.attention.contextual import ContextualTransformer
from regard.nn.attention.convolution import ConvolutionAsAttention
from regard.nn.attention.coordinate import CoordinateAttention
from regard.nn.attention.core import Attention
from regard.nn.attention.cpca import CPCA
from regard.nn.attention.criss_cross import CrissCrossAttention
from regard.nn.attention.deformable import DeformableAttention
from regard.nn.attention.differential import DifferentialAttention
from regard.nn.attention.dilated import MultiScaleDilatedAttention
from regard.nn.attention.double import DoubleAttention
from regard.nn.attention.eca import ECA
from regard.nn.attention.ela import ELA
from regard.nn.attention.em_attention import EMAttention
from regard.nn.attention.external import ExternalAttention
from regard.nn.attention.gam import GAM
from regard.nn.attention.gather_excite import GatherExcite
from regard.nn.attention.gct import GCT
from regard.nn.attention.global_context import GlobalContext
from regard.nn.attention.global_tokens import GlobalTokensAttention
from regard.nn.attention.halo import HaloAttention
from regard.nn.attention.irmb import IRMB
from regard.nn.attention.kernel import EfficientAttention, LinearAttention, ReLULinearAttention
from regard.nn.attention.linformer import Linformer
from regard.nn.attention.lsh import LSHAttention
from regard.nn.attention.lsk import LSK
from regard.nn.attention.lska import LSKA
from regard.nn.attention.memory_compressed import MemoryCompressedAttention
from regard.nn.attention.mixed_heads import MixedHeads
from regard.nn.attention.mlca import MLCA
from regard.nn.attention.nam import NAM
from regard.nn.attention.non_local import NonLocal
from regard.nn.attention.nystrom import NystromAttention
from regard.nn.attention.parnet import ParNetAttention
from regard.nn.attention.performer import Performer
from regard.nn.attention.polarity import PolarityAttention
from regard.nn.attention.polarized import PolarizedSelfAttention
from regard.nn.attention.pooled import PooledAttention
from regard.nn.attention.routing import RoutingAttention
from regard.nn.attention.se import ESE, SE, ScSE
from regard.nn.attention.selective_kernel import SelectiveKernel
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention
from regard.nn.attention.sge import SGE
from regard.nn.attention.shared_deformable import SharedDeformableAttention
from regard.nn.attention.shift import S2Attention
from regard.nn.attention.shuffle import ShuffleAttention
from regard.nn.attention.simam import SimAM
from regard.nn.attention.sinkhorn import SinkhornAttention
from regard.nn.attention.sliding import DilatedNeighborhoodAttention, LocalAttention, NeighborhoodAttention
from regard.nn.attention.srm import SRM
from regard.nn.attention.strided import StridedAttention
from regard.nn.attention.strip_pooling import StripPooling
from regard.nn.attention.synthesizer import DenseSynthesizer, RandomSynthesizer
from regard.nn.attention.token_statistics import TokenStatisticsAttention
from regard.nn.attention.top_k import ApproximateTopKAttention, TopKAttention
from regard.nn.attention.transformer_block import TransformerBlock
from regard.nn.attention.triplet import TripletAttention
from regard.nn.attention.window import ShiftedWindowAttention, WindowAttention
from regard.nn.attention.xca import XCA

ATTENTION: Mapping[str, type[Attention]] = MappingProxyType(
    {
        "SE": SE,
        "ECA": ECA,
        "ESE": ESE,
        "SRM": SRM,
        "GCT": GCT,
        "XCA": XCA,
        "ParNetAttention": ParNetAttention,
        "CBAM": CBAM,
        "GAM": GAM,
        "NAM": NAM,
        "BAM": BAM,
        "ELA": ELA,
        "GatherExcite": GatherExcite,
        "StripPooling": StripPooling,
        "PolarizedSelfAttention": PolarizedSelfAttention,
        "CAA": CAA,
        "CoordinateAttention": CoordinateAttention,
        "GlobalContext": GlobalContext,
        "SimAM": SimAM,
        "SGE": SGE,
        "TripletAttention": TripletAttention,
        "ScSE": ScSE,
        "EMAttention": EMAttention,
        "ShuffleAttention": ShuffleAttention,
        "SelectiveKernel": SelectiveKernel,
        "LSK": LSK,
        "LSKA": LSKA,
        "MLCA": MLCA,
        "CPCA": CPCA,
        "SelfAttention": SelfAttention,
        "MultiHeadSelfAttention": MultiHeadSelfAttention,
        "CascadedGroupAttention": CascadedGroupAttention,
        "DifferentialAttention": DifferentialAttention,
        "LocalAttention": LocalAttention,
        "NeighborhoodAttention": NeighborhoodAttention,
        "WindowAttention": WindowAttention,
        "ShiftedWindowAttention": ShiftedWindowAttention,
        "IRMB": IRMB,
        "ContextualTransformer": ContextualTransformer,
        "ConvolutionAsAttention": ConvolutionAsAttention,
        "S2Attention": S2Attention,
        "TransformerBlock": TransformerBlock,
        "NonLocal": NonLocal,
        "MixedHeads": MixedHeads,
        "StridedAttention": StridedAttention,
        "GlobalTokensAttention": GlobalTokensAttention,
        "AxialAttention": AxialAttention,
        "AreaAttention": AreaAttention,
        "PooledAttention": PooledAttention,
        "ExternalAttention": ExternalAttention,
        "DoubleAttention": DoubleAttention,
        "Linformer": Linformer,
        "MemoryCompressedAttention": MemoryCompressedAttention,
        "NystromAttention": NystromAttention,
        "TokenStatisticsAttention": TokenStatisticsAttention,
        "AgentAttention": AgentAttention,
        "LinearAttention": LinearAttention,
        "ReLULinearAttention": ReLULinearAttention,
        "PolarityAttention": PolarityAttention,
        "Performer": Performer,
        "EfficientAttention": EfficientAttention,
        "DilatedNeighborhoodAttention": DilatedNeighborhoodAttention,
        "MultiScaleDilatedAttention": MultiScaleDilatedAttention,
        "HaloAttention": HaloAttention,
        "CrissCrossAttention": CrissCrossAttention,
        "BigBirdAttention": BigBirdAttention,
        "DenseSynthesizer": DenseSynthesizer,
        "RandomSynthesizer": RandomSynthesizer,
        "DeformableAttention": DeformableAttention,
        "SharedDeformableAttention": SharedDeformableAttention,
        "TopKAttention": TopKAttention,
        "ApproximateTopKAttention": ApproximateTopKAttention,
        "SinkhornAttention": SinkhornAttention,
        "LSHAttention": LSHAttention,
        "RoutingAttention": RoutingAttention,
        "BiLevelRoutingAttention": BiLevelRoutingAttention,
        "BottleneckTransformer": BottleneckTransformer,
    }
)
"""Attention modules by the names that graphs use; what ``regard.insert`` takes."""

__all__ = ["ATTENTION", "Attention"]
