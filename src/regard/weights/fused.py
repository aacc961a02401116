"""Checkpoints that were saved after ``model.fuse()``: convolutions with biases instead of batch norms.

A batch norm that only adds the bias takes its place, and a merged convolution becomes the largest of its branches, next
to branches of zeros, so that the detector computes the same and can be trained and exported as every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.graph.detector import Detector
from regard.nn.conv import Conv, SummedBranches


def unfused(detector: Detector, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the tensors that fusing has removed; other tensors are left as they are.

    Args:
        detector: the detector to be filled.
        state: the tensors of the checkpoint.

    Raises:
        RegardError: the model was fused, and lacks tensors that do not follow from those that it has.
    """
    result = dict(state)
    modules = {name: m for name, m in detector.named_modules() if isinstance(m, Conv | SummedBranches)}
    for name, module in modules.items():
        if isinstance(module, SummedBranches):
            result = _split(name, module, result)
    for name, module in modules.items():
        bias = result.get(f"{name}.conv.bias")
        if isinstance(module, Conv) and bias is not None and f"{name}.bn.weight" not in result:
            del result[f"{name}.conv.bias"]
            result |= {f"{name}.bn.{key}": tensor for key, tensor in _adds(bias, module.bn)}
    if result.keys() == state.keys():
        return result
    lost = [f"{name}.{key}" for name, m in modules.items() for key in m.state_dict() if f"{name}.{key}" not in result]
    if lost:
        raise RegardError(
            f"the model was saved after model.fuse(), which removed {lost[0]}" + _more(len(set(lost)) - 1),
            expected="a checkpoint that was saved before it was fused, such as best.pt of its training",
        )
    return result


def _more(count: int) -> str:
    return f" and {count} more tensors" if count else ""


def _adds(bias: Tensor, norm: nn.BatchNorm2d) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a batch norm that adds ``bias``."""
    mean, variance = torch.zeros_like(bias), torch.ones_like(bias)
    yield "weight", (variance + norm.eps).sqrt()
    yield "bias", bias
    yield "running_mean", mean
    yield "running_var", variance
    yield "num_batches_tracked", torch.tensor(0)


def _split(name: str, module: SummedBranches, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a merged convolution to the branch of its size, and zeros to the others."""
    weight, bias = state.get(f"{name}.conv.weight"), state.get(f"{name}.conv.bias")
    if weight is None or bias is None:
        return state
    branches = {key: branch for key in module.BRANCHES if (branch := getattr(module, key)) is not None}
    takes = next(
        (key for key, b in branches.items() if isinstance(b, Conv) and b.conv.weight.shape == weight.shape), ""
    )
    if not takes:
        return state
    result = {key: tensor for key, tensor in state.items() if not key.startswith(f"{name}.conv.")}
    nothing = torch.zeros_like(bias)
    for key, branch in branches.items():
        own, norm = (f"{name}.{key}.bn", branch.bn) if isinstance(branch, Conv) else (f"{name}.{key}", branch)
        assert isinstance(norm, nn.BatchNorm2d)
        result |= {f"{own}.{part}": tensor for part, tensor in _adds(bias if key == takes else nothing, norm)}
        if isinstance(branch, Conv):
            kernel = weight if key == takes else torch.zeros_like(branch.conv.weight)
            result[f"{name}.{key}.conv.weight"] = kernel
        else:
            result[f"{own}.weight"] = nothing
    return result
