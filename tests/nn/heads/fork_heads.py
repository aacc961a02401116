"""Heads as forks of YOLOv5 write them: nothing of the package's contract; read by a test as a user's file."""

import torch
from torch import nn


class TupleHead(nn.Module):
    """Decodes in evaluation mode, with strides that are set from outside: (decoded, raw levels)."""

    stride = None
    size_factor = 2

    def __init__(self, nc=80, anchors=(), ch=()):
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(anchors), len(anchors[0]) // 2
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in ch)

    def forward(self, x):
        rows = []
        for i in range(self.nl):
            x[i] = self.m[i](x[i])
            b, _, ny, nx = x[i].shape
            x[i] = x[i].view(b, self.na, self.no, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
            if not self.training:
                s = x[i].sigmoid()
                down, right = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
                centre = (s[..., :2] * 2 - 0.5 + torch.stack((right, down), -1)) * self.stride[i]
                size = (s[..., 2:4] * 2) ** self.size_factor * (self.anchors[i] * self.stride[i]).view(1, -1, 1, 1, 2)
                rows.append(torch.cat((centre, size, s[..., 4:]), -1).view(b, -1, self.no))
        return x if self.training else (torch.cat(rows, 1), x)


class ListHead(nn.Module):
    """Raw outputs of each level in both modes, with no other attribute."""

    def __init__(self, nc, anchors, hidden, ch):
        super().__init__()
        self.stem = nn.ModuleList(nn.Sequential(nn.Conv2d(c, hidden, 3, 1, 1), nn.BatchNorm2d(hidden)) for c in ch)
        self.out = nn.ModuleList(nn.Conv2d(hidden, (nc + 5) * len(anchors[0]) // 2, 1) for _ in ch)

    def forward(self, maps):
        return [out(stem(x)) for stem, out, x in zip(self.stem, self.out, maps, strict=True)]


class OtherDecoding(TupleHead):
    size_factor = 1


class TooFewLevels(ListHead):
    def forward(self, maps):
        return super().forward(maps)[:1]


class Raises(ListHead):
    def forward(self, maps):
        return maps[0].nothing
