"""BigBird: blocks see near, global and random blocks (Zaheer et al., 2007.14062, section 2 and appendix D), on maps.

A(i) = all positions, if i lies in a global block; else the 3 x 3 blocks around i, the global and the random ones;
b_i = sum over j in A(i) of softmax_j(q_i . k_j / sqrt(d)) v_j, one softmax over the union, each key once.

The map is cut into T blocks of b x b in reading order. Global are the blocks floor((2 a + 1) T / (2 g)), a = 0 .. g - 1
(the paper's internal construction, ITC; all of them where T <= g). The random plan is drawn once, as whole numbers u
below 2^16 in a buffer of 16 x 16 x r: the n-th random block of the block at row y and column x is
floor(u[y mod 16, x mod 16, n] T / 2^16). So one plan serves maps of every size, and it is saved, copied and sent to
other processes with the weights; being whole numbers, it survives any change of precision.

Deviations: blocks are squares of the map, near blocks the 8 around; global blocks are spread over the map instead of
standing at its beginning; a random block that is near or global already is not drawn again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, ceil_div, check_at_least, fused_attention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.partition import Axis, gather, pairs, put_back, seen_by, slots
from regard.nn.attention.position import check_pos_embed

PERIOD = 16
"""Rows and columns of blocks after which the random numbers repeat; their blocks differ, as a rule, where T does."""
BITS = 16
"""Bits of a random number; products with the number of blocks stay far below 2^63."""
NEAR = 9
"""Number of blocks around a block, with itself."""


class BigBirdAttention(MultiHead):
    """Each block sees its surroundings, a few global blocks, which see and are seen by all, and a few random ones.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        block: side b of a block.
        random_blocks: r, for each block.
        global_blocks: g.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2007.14062",
        equation="b_i = W_o [sum_{j in near(i), global or random(i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * block**2 * (ceiling(H / block) * ceiling(W / block) * block**2"
        " * (9 + global_blocks + random_blocks) + global_blocks * N)",
        peers=("attention under an explicit mask",),
        when="When near, global and random blocks should be combined, so that few layers join all positions; the"
        " cost grows linearly with N.",
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        block: int = 8,
        random_blocks: int = 2,
        global_blocks: int = 2,
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("BigBirdAttention", pos_embed)
        check_at_least("BigBirdAttention", "block", block, 1)
        check_at_least("BigBirdAttention", "random_blocks", random_blocks, 0)
        check_at_least("BigBirdAttention", "global_blocks", global_blocks, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        self.block = block
        self.random_blocks = random_blocks
        self.global_blocks = global_blocks
        self.plan: Tensor
        self.register_buffer("plan", torch.randint(2**BITS, (PERIOD, PERIOD, random_blocks)))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        rows, columns = (Axis.blocks(n, self.block, ceil_div(n, self.block), q.device) for n in size)
        tokens = pairs(rows.keys, columns.keys, size[1])  # (T, b * b)
        real = seen_by(rows, columns)[:, 0, 0]
        seen, once = self._key_blocks(rows.keys.shape[0], columns.keys.shape[0])
        allowed = (real[seen] & once[..., None]).flatten(1)[:, None, None]
        keys = tokens[seen].flatten(1)
        mixed = fused_attention(gather(q, tokens), gather(k, keys), gather(v, keys), allowed=allowed)
        at = slots(rows, columns)
        chosen = self.globals_of(tokens.shape[0])
        of_globals = fused_attention(q.index_select(2, tokens[chosen].flatten()), k, v)
        block, inside = at // self.block**2, at % self.block**2
        # A gather and a choice, not a scatter: of few blocks one is chosen twice, and its gradient would be too.
        rank = (chosen < block[:, None]).sum(1).clamp(max=self.global_blocks - 1)
        is_global = (chosen == block[:, None]).any(1)[:, None]
        return torch.where(is_global, of_globals.index_select(2, rank * self.block**2 + inside), put_back(mixed, at, q))

    def globals_of(self, blocks: int) -> Tensor:
        """Global ones of a number of blocks, in order, repeated where there are too few: (g,)."""
        return (2 * torch.arange(self.global_blocks, device=self.plan.device) + 1) * blocks // (2 * self.global_blocks)

    def random_of(self, down: int, along: int) -> Tensor:
        """Random blocks of each of ``down`` x ``along`` blocks: (T, r)."""
        y, x = (torch.arange(n, device=self.plan.device) % PERIOD for n in (down, along))
        return (self.plan[y[:, None], x] * (down * along) // 2**BITS).flatten(0, 1)

    def _key_blocks(self, down: int, along: int) -> tuple[Tensor, Tensor]:
        """Blocks that each block sees, (T, 9 + g + r), and whether they count: once each, and on the map."""
        device = self.plan.device
        step = torch.arange(-1, 2, device=device)
        y, x = (torch.arange(n, device=device)[:, None] + step for n in (down, along))
        is_inside = ((y >= 0) & (y < down))[:, None, :, None] & ((x >= 0) & (x < along))[None, :, None]
        row, column = y.clamp(min=0).clamp(max=down - 1), x.clamp(min=0).clamp(max=along - 1)
        near = row[:, None, :, None] * along + column[:, None]
        chosen = self.globals_of(down * along).expand(down * along, -1)
        blocks = torch.cat((near.flatten(2).flatten(0, 1), chosen, self.random_of(down, along)), 1)
        inside = is_inside.flatten(2).flatten(0, 1)
        valid = torch.cat((inside, torch.ones_like(blocks[:, NEAR:], dtype=torch.bool)), 1)
        place = torch.arange(blocks.shape[1], device=device)
        same = (blocks[:, :, None] == blocks[:, None]) & valid[:, None] & (place[:, None] > place)
        return blocks, valid & ~same.any(-1)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What ``query`` sees: (H, W), boolean."""
        down, along = (ceil_div(n, self.block) for n in size)
        y, x = (at // self.block for at in query)
        chosen = self.globals_of(down * along).tolist()
        seen = torch.zeros(down, along, dtype=torch.bool)
        seen[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        seen.view(-1)[[*chosen, *self.random_of(down, along)[y * along + x].tolist()]] = True
        if y * along + x in chosen:
            seen[:] = True
        rows, columns = (torch.arange(n) // self.block for n in size)
        return seen[rows[:, None], columns]
