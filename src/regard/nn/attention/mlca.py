"""Mixed local channel attention (Wan et al., MLCA, Engineering Applications of AI 123, 2023, 106442).

Efficient channel attention (1910.03151) of the whole map and of each of g x g patches, mixed:
z_p = mean over patch p of x, z = mean over p of z_p;
w_p = l sigmoid(conv_k(z_p)) + (1 - l) sigmoid(conv'_k(z)), convolutions over channels of ECA's width k;
y_i = x_i w_p for positions i in patch p, one weight per channel and patch.

Deviations: channels of each patch are convolved by themselves, with zeros beyond the first and the last; much code
convolves all patches as one sequence. Patches are as equal as can be and do not overlap; a patch's weight holds for all
its positions. k is at least 3, as for `ECA`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting, check_at_least, check_odd
from regard.nn.attention.eca import adaptive_kernel_size
from regard.nn.attention.nystrom import means_of_stretches


class MLCA(Reweighting):
    """One weight in 0..1 per channel and patch of the map, from the means of the patch and of the map.

    Args:
        in_channels: channels of the input and the output.
        grid: g, patches along each axis.
        local_weight: share l of what comes from the patch, 0 to 1.
        kernel_size: channels that a weight depends on, odd; by the number of channels, as for `ECA`, if None.

    Raises:
        RegardError: ``grid`` is not positive, ``local_weight`` not in 0..1 or ``kernel_size`` not odd and positive.
    """

    card = Card(
        family="channel and spatial",
        paper="10.1016/j.engappai.2023.106442",
        equation="y_i = x_i (l sigmoid(conv1d_k(mean(x in patch of i))) + (1 - l) sigmoid(conv1d_k(mean(x))))",
        parameters="2 * kernel_size",
        flops="C * N * (2 * grid + 1) + 2 * grid**2 * C * W + C * (grid**2 + 1) * (2 * kernel_size + 2)"
        " + 2 * grid**2 * C + grid * (H + W)",
        peers=("its definition, patch by patch", "ECA with one patch"),
        when="When ECA should see patches of the map in addition to the whole, with two small kernels as the only"
        " parameters.",
    )

    def __init__(
        self, in_channels: int, grid: int = 5, local_weight: float = 0.5, kernel_size: int | None = None
    ) -> None:
        super().__init__(in_channels)
        check_at_least("MLCA", "grid", grid, 1)
        if not 0 <= local_weight <= 1:
            raise RegardError(f"MLCA: local_weight {local_weight}", expected="a number from 0 to 1, such as 0.5")
        self.grid = grid
        self.local_weight = local_weight
        self.kernel_size = adaptive_kernel_size(in_channels) if kernel_size is None else kernel_size
        check_odd("MLCA", "kernel_size", self.kernel_size)
        self.of_patch, self.of_map = (
            nn.Conv1d(1, 1, self.kernel_size, padding=self.kernel_size // 2, bias=False) for _ in range(2)
        )

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        batch, channels, height, width = x.shape
        down, along = (means_of_stretches(n, self.grid, x) for n in (height, width))
        means = (down @ x @ along.mT).flatten(2)  # (B, C, g * g)
        local = self.of_patch(means.mT.reshape(-1, 1, channels)).sigmoid().view(batch, self.grid**2, channels).mT
        overall = self.of_map(means.mean(2)[:, None]).sigmoid().mT  # (B, C, 1)
        mixed = self.local_weight * local + (1 - self.local_weight) * overall
        rows, columns = (_patch_of(n, self.grid, x.device) for n in (height, width))
        return mixed.view(batch, channels, self.grid, self.grid).index_select(2, rows).index_select(3, columns)


def _patch_of(n: int, count: int, device: torch.device) -> Tensor:
    """Patch that each of n positions is in, of ``means_of_stretches``: (n,)."""
    return ((torch.arange(n, device=device) + 1) * count - 1) // n
