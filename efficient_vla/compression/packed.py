# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights in few bits, unpacked a block of rows at a time where they are multiplied.

The fused kernels that torch has for such weights on a CPU were measured on AVX2 (one core, 170 x
192 by 576): int8 and int4 with activations in bfloat16 took 2.0 and 1.7 times as long as the
product in float32, with activations in float32 40 and 60 times. Unpacking first costs 3 %.

Rows of 2 and 4 bits lie in memory as FBGEMM has them: codes, the first in the lowest bits, then a
scale and the least value as two float16, so that its unpacking, which torch ships, reads them.
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.settings import InvalidSettingError

BLOCK = 1 << 18
"""Weights that are unpacked at a time: 1 MB, which a processor keeps in its cache."""
SHRINKS = (1.0, 0.94, 0.88, 0.82, 0.76)
"""Shares of a group's range that are tried; weights beyond are clipped."""


class ByteRows(nn.Module):
    """Weights in 8 bits, symmetric, with one scale a row, which is left out of ``rows``."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        self.scale: torch.Tensor
        self.codes: torch.Tensor
        self.register_buffer('scale', scale)  # [N]
        self.register_buffer('codes', (weight / scale[:, None]).round().to(torch.int8))  # [N, K]

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Return whole numbers from -127 to 127, [stop - start, K]."""
        return self.codes[start:stop].float()


class GroupedInt4(nn.Module):
    """Weights in 4 bits, a scale and a least value for each group of a row."""

    scale: torch.Tensor | None = None

    def __init__(self, weight: torch.Tensor, group: int) -> None:
        super().__init__()
        self.inputs, self.each = weight.shape[1], -(-weight.shape[1] // group)
        codes, scale, least = rounded(grouped(weight, group))
        self.packed: torch.Tensor
        self.register_buffer('packed', fbgemm_rows(codes, scale, least, 4))

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Return weights, [stop - start, K]."""
        groups = unpacked(self.packed[start * self.each : stop * self.each], 4)
        return groups.view(stop - start, -1)[:, : self.inputs]


class GroupedNormal(nn.Module):
    """NF4 (arXiv 2305.14314, appendix E): quantiles of a normal distribution, scaled by group.

    Its scales are float16; QLoRA has them in float32, or quantized once more.
    """

    scale: torch.Tensor | None = None

    def __init__(self, weight: torch.Tensor, group: int) -> None:
        super().__init__()
        self.inputs, self.group = weight.shape[1], group
        groups, levels = grouped(weight, group), normal_levels().to(weight.device)
        largest = half(groups.abs().amax(1, keepdim=True).clamp_min(2**-24), 'groups')
        middle = (levels[1:] + levels[:-1]) / 2
        codes = torch.bucketize(groups / largest.float(), middle).to(torch.uint8)
        count = len(weight)
        self.codes: torch.Tensor
        self.largest: torch.Tensor
        self.pairs: torch.Tensor
        self.register_buffer('codes', joined(codes, 4).view(count, -1))
        self.register_buffer('largest', largest.view(count, -1, 1))
        self.register_buffer('pairs', normal_pairs(weight.device))

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Return weights, [stop - start, K]."""
        codes = self.codes[start:stop].flatten().int()
        found = torch.view_as_real(self.pairs.index_select(0, codes))
        groups = found.view(stop - start, -1, self.group) * self.largest[start:stop]
        return groups.flatten(1)[:, : self.inputs]


class TernaryRows(nn.Module):
    """Weights -1, 0 and 1 in 2 bits, times the mean size of all (BitNet b1.58, as BitVLA has it).

    The layers here hold several projections of the published ones in one weight; these share their
    scale where they were not trained for one each.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.inputs = weight.shape[1]
        scale, codes = ternary(weight)
        digits = F.pad((codes + 1).to(torch.uint8), (0, -self.inputs % 4))
        one = torch.ones(len(weight), 1, dtype=torch.float16, device=weight.device)
        self.scale: torch.Tensor
        self.packed: torch.Tensor
        self.register_buffer('scale', scale)
        self.register_buffer('packed', fbgemm_rows(digits, one, -one, 2))

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Return -1, 0 and 1, [stop - start, K]."""
        return unpacked(self.packed[start:stop], 2)[:, : self.inputs]


class PackedLinear(nn.Module):
    """A linear layer whose weights are packed, and whose inputs may be rounded by row."""

    def __init__(
        self,
        linear: nn.Linear,
        weight: nn.Module,
        bits: int = 0,
        rotation: torch.Tensor | None = None,
    ) -> None:
        """Multiply by ``weight``, which was made of that of ``linear``.

        Inputs are rounded to ``bits``, unless 0, and rotated by ``rotation`` [h, h] before, as
        were blocks of the weight's rows.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bits = weight, bits
        self.register_buffer('bias', None if linear.bias is None else linear.bias.detach())
        self.register_buffer('rotation', rotation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., K] to [..., N]."""
        if self.rotation is not None:
            x = rotated(x, self.rotation)
        size = None
        if self.bits:
            x, size = whole_rows(x, self.bits)
        count = max(1, BLOCK // self.in_features)
        starts = range(0, self.out_features, count)
        blocks = [(start, min(start + count, self.out_features)) for start in starts]
        found = [F.linear(x, self.weight.rows(*block)) for block in blocks]
        y = found[0] if len(found) == 1 else torch.cat(found, -1)
        for factor in (self.weight.scale, size):
            if factor is not None:
                y = y.mul_(factor)
        return y if self.bias is None else y.add_(self.bias)


def grouped(weight: torch.Tensor, group: int) -> torch.Tensor:
    """Return the groups of all rows, [N * groups, group]; the last of a row ends in zeros."""
    return F.pad(weight, (0, -weight.shape[1] % group)).reshape(-1, group)


def rounded(groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return codes 0 to 15, scales and least values, of groups [G, g] with the least error.

    Several ranges are tried for each; scales and least values are float16 [G, 1].
    """
    least, most = groups.aminmax(dim=1, keepdim=True)
    best, found = torch.full_like(least, torch.inf), None
    for shrink in SHRINKS:
        rest = (1 - shrink) / 2 * (most - least)
        scale = half(((most - least - 2 * rest) / 15).clamp_min(2**-24), 'groups')
        start = half(least + rest, 'groups')
        codes = ((groups - start.float()) / scale.float()).round_().clamp_(0, 15)
        restored = torch.addcmul(start.float(), codes, scale.float())
        error = (restored - groups).square_().sum(1, keepdim=True)
        tried = codes.to(torch.uint8), scale, start
        better = error < best
        found = tried if found is None else _chosen(better, tried, found)
        best = torch.where(better, error, best)
    assert found is not None
    return found


def _chosen(
    better: torch.Tensor, new: tuple[torch.Tensor, ...], old: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    codes, scale, start = (torch.where(better, *pair) for pair in zip(new, old, strict=True))
    return codes, scale, start


def ternary(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean size of a weight, and its numbers divided by that, as -1, 0 and 1.

    One whose rows are -1, 0 and 1 times a number already, as training leaves it, keeps those [N],
    of which projections that share a layer have several.
    """
    sizes = weight.abs()
    largest = sizes.amax(1)
    if bool(((sizes == 0) | (sizes == largest[:, None])).all()):
        return largest.clamp_min(torch.finfo(torch.float32).tiny), weight.sign()
    scale = weight.abs().mean().clamp_min(torch.finfo(torch.float32).tiny)
    return scale, (weight / scale).round().clamp(-1, 1)


def whole_rows(x: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows [..., K] as whole numbers in ``bits``, and what each is a multiple of."""
    most = 2 ** (bits - 1) - 1
    size = x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / most
    return (x / size).round_(), size


@cache
def hadamard(size: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the orthogonal, symmetric Hadamard matrix of a power of two; all share one."""
    made = torch.ones(1, 1, device=device)
    while len(made) < size:
        made = torch.cat([torch.cat([made, made], 1), torch.cat([made, -made], 1)])
    return made / size**0.5


def rotated(rows: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Return rows [..., K] with each block of h numbers rotated by [h, h]."""
    return (rows.unflatten(-1, (-1, len(rotation))) @ rotation).flatten(-2)


def normal_levels() -> torch.Tensor:
    """Return the 16 levels of NF4, from -1 to 1, as bitsandbytes makes them."""
    end = 0.9677083
    positive = torch.special.ndtri(torch.linspace(end, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -torch.special.ndtri(torch.linspace(end, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([negative, torch.zeros(1, dtype=torch.float64), positive.flip(0)])
    return (levels / levels.max()).float()


@cache
def normal_pairs(device: torch.device) -> torch.Tensor:
    """Return the two levels of each byte, as one complex number, [256]; all layers share it.

    A lookup of one number is four times as fast as one of a row of two.
    """
    levels = normal_levels().to(device)
    both = torch.stack([levels.repeat(16), levels.repeat_interleave(16)], -1)
    return torch.view_as_complex(both)


def half(values: torch.Tensor, what: str) -> torch.Tensor:
    """Return values in float16; raises ``InvalidSettingError`` for those beyond its range."""
    made = values.half()
    if not made.isfinite().all():
        raise InvalidSettingError(
            f'weights reach {values.abs().max():.3g}; expected at most 65504 for a scale of '
            f'{what} in float16. Set quantization.mode to none, bf16 or int8_dynamic.'
        )
    return made


def joined(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return codes uint8 [G, g] as bytes [G, g * bits / 8], the first in the lowest bits."""
    each = 8 // bits
    places = torch.arange(each, dtype=torch.uint8, device=codes.device) * bits
    return (codes.unflatten(1, (-1, each)) << places).sum(-1, dtype=torch.uint8)


def fbgemm_rows(
    codes: torch.Tensor, scale: torch.Tensor, least: torch.Tensor, bits: int
) -> torch.Tensor:
    """Return codes [G, g], scales and least values float16 [G, 1] as FBGEMM's rows of bytes."""
    return torch.cat([joined(codes, bits), scale.view(torch.uint8), least.view(torch.uint8)], 1)


def unpacked(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the numbers of FBGEMM's rows in float32, [G, g]."""
    if packed.device.type == 'cpu':
        operation = f'embedding_bag_{bits}bit_unpack'
        return getattr(torch.ops.quantized, operation)(packed)  # type: ignore[no-any-return]
    return unpacked_anywhere(packed, bits)


def unpacked_anywhere(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Return what ``unpacked`` does, on any device."""
    each = 8 // bits
    places = torch.arange(each, dtype=torch.uint8, device=packed.device) * bits
    codes = ((packed[:, :-4, None] >> places) & (2**bits - 1)).flatten(1).float()
    scale, least = packed[:, -4:].contiguous().view(torch.float16).float().chunk(2, 1)
    return torch.addcmul(least, codes, scale)
