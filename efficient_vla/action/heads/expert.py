# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The action expert of a prefix policy: a small decoder beside the language model, a flow head.

Rows of a noisy chunk attend to the keys and values of the prefix, layer by layer. SmolVLA
(arXiv 2506.01844) alternates layers that attend to the prefix and to the rows before them with
layers that attend to projections of the prefix alone; pi0 (arXiv 2410.24164) has a row of the
state, and all rows see each other; in pi0.5 (arXiv 2504.16054) time scales and gates the norms.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, compress
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from efficient_vla.action.euler import follow, follow_adaptively
from efficient_vla.action.guidance import Guidance, soft_mask
from efficient_vla.action.heads import Generator, Given, Made
from efficient_vla.action.heads.expert_ends import Ends
from efficient_vla.action.settings import ActorSettings
from efficient_vla.attention import PrefixCache
from efficient_vla.types import HeadHelp, InvalidRecordError

KNOWN = 32
"""Lengths of prefixes of which rotations and masks are remembered."""


class Feed(nn.Module):
    """A gated feed-forward network.

    Gate and up stay apart: of so few rows, one product of both took a sixth longer on a CPU.
    """

    def __init__(self, gate: nn.Linear, up: nn.Linear, down: nn.Linear, tanh_gelu: bool) -> None:
        super().__init__()
        self.gate, self.up, self.down, self.tanh_gelu = gate, up, down, tanh_gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map rows [B, N, W]."""
        gate = self.gate(x)
        active = F.gelu(gate, approximate='tanh') if self.tanh_gelu else F.silu(gate)
        return self.down(active * self.up(x))


class Turn(NamedTuple):
    """Rotary embedding of some rows, [1, 1, N, d] each."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate heads [B, H, N, d], halves against each other."""
        half = x.shape[-1] // 2
        swapped = torch.cat((x[..., half:], x[..., :half]), -1)  # engines roll more slowly
        return torch.addcmul(x * self.cos, swapped, self.sin)


@lru_cache(maxsize=KNOWN)
@torch.inference_mode(False)
def turn_of(
    first: int, rows: int, head: int, base: float, device: torch.device, dtype: torch.dtype
) -> Turn:
    """Return the rotation of so many ``rows`` from position ``first`` on, computed in float32."""
    half = head // 2
    rate = 1.0 / base ** (torch.arange(half, device=device, dtype=torch.float32) / half)
    angle = torch.arange(first, first + rows, device=device).float()[:, None] * rate  # [N, d / 2]
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return Turn(torch.cat([cos, cos], -1)[None, None], torch.cat([-sin, sin], -1)[None, None])


@lru_cache(maxsize=KNOWN)
@torch.inference_mode(False)
def sight(rows: int, prefix: int, groups: int, causal: bool, device: torch.device) -> torch.Tensor:
    """Return which of a prefix and of themselves rows see, bool [groups x rows, prefix + rows].

    All see the prefix; in a ``causal`` expert none sees those after it, else the first, that of the
    state, sees itself alone.
    """
    own = torch.ones(rows, rows, dtype=torch.bool, device=device)
    if causal:
        own = own.tril()
    else:
        own[0, 1:] = False
    return torch.cat([own.new_ones(rows, prefix), own], 1).repeat(groups, 1)


class Joint(nn.Module):
    """Attention to the prefix and to the rows of the chunk."""

    def __init__(self, qkv: nn.Linear, out: nn.Linear, head: int, key_heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.head, self.key_heads = qkv, out, head, key_heads

    def fits(self, keys: torch.Tensor) -> bool:
        """Return whether the rows can attend to ``keys`` [1, key heads, n, d]."""
        return keys.shape[1] == self.key_heads and keys.shape[3] == self.head

    def memory(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is the same in all passes over one prefix, of [1, key heads, n, d]."""
        return keys, values

    def forward(self, x: torch.Tensor, seen: 'Seen') -> torch.Tensor:
        """Map normalised rows [B, N, W]."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head)).transpose(1, 2)
        count = heads.shape[1] - 2 * self.key_heads
        query, key, value = heads.split((count, self.key_heads, self.key_heads), 1)
        key = torch.cat([seen.keys, seen.ahead(key)], 2)
        value = torch.cat([seen.values, value], 2)
        return self.out(_attend(seen.ahead(query), key, value, seen.mask))


class Cross(nn.Module):
    """Attention to projections of the prefix alone."""

    def __init__(
        self, query: nn.Linear, key: nn.Linear, value: nn.Linear, out: nn.Linear, head: int
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = query, key, value, out
        self.head = head

    def fits(self, keys: torch.Tensor) -> bool:
        """Return whether ``keys`` [1, key heads, n, d] can be projected."""
        return keys.shape[1] * keys.shape[3] == self.key.in_features

    def memory(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is the same in all passes over one prefix, of [1, key heads, n, d]."""
        return _projected(self.key, keys, self.head), _projected(self.value, values, self.head)

    def forward(self, x: torch.Tensor, seen: 'Seen') -> torch.Tensor:
        """Map normalised rows [B, N, W]."""
        query = self.query(x).unflatten(-1, (-1, self.head)).transpose(1, 2)
        return self.out(_attend(seen.own(query), seen.keys, seen.values, None))


class Memories(nn.Module):
    """The projections of a prefix that layers attend to, as a module of tensors alone."""

    def __init__(self, crossing: Sequence[Cross]) -> None:
        super().__init__()
        self.head = crossing[0].head
        self.layers = nn.ModuleList(part for cross in crossing for part in (cross.key, cross.value))

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map keys and values [1, key heads, n, d] of each layer, one after the other."""
        pairs = zip(self.layers, given, strict=True)
        return tuple(_projected(layer, part, self.head) for layer, part in pairs)


def _projected(layer: nn.Module, part: torch.Tensor, head: int) -> torch.Tensor:
    """Return the projection of [1, key heads, n, d], in heads of ``head`` numbers."""
    made: torch.Tensor = layer(part.transpose(1, 2).flatten(2))
    return made.unflatten(-1, (-1, head)).transpose(1, 2)


class Seen(NamedTuple):
    """What the rows of one layer attend to in one prefix."""

    keys: torch.Tensor
    """[1, key heads, n, d]."""
    values: torch.Tensor
    ahead: Turn
    """Rotation of rows that come after the prefix."""
    own: Turn
    """Rotation of rows that count from 0."""
    mask: torch.Tensor | None
    """Who sees whom, bool [groups x N, n + N]; ``None``: all see all."""


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Return [B, N, heads x d]; heads that share keys are rows of one head, so nothing is copied.

    ``query`` [B, heads, N, d], ``key`` and ``value`` [B, key heads, M, d].
    """
    shape, rows = (key.shape[1], query.shape[1] // key.shape[1]), query.shape[2]
    grouped = query.unflatten(1, shape).flatten(2, 3)
    found = F.scaled_dot_product_attention(grouped, key, value, attn_mask=mask)
    return found.unflatten(2, (shape[1], rows)).flatten(1, 2).transpose(1, 2).flatten(2)


class ExpertLayer(nn.Module):
    """A pre-norm layer."""

    def __init__(
        self, norms: tuple[nn.Module, nn.Module], attention: Joint | Cross, feed: Feed
    ) -> None:
        super().__init__()
        self.before_attention, self.before_feed = norms
        self.attention, self.feed = attention, feed

    def forward(self, x: torch.Tensor, seen: Seen, condition: torch.Tensor | None) -> torch.Tensor:
        """Map rows [B, N, W]."""
        y, gate = self.before_attention(x, condition)
        x = x + gate * self.attention(y, seen)
        y, gate = self.before_feed(x, condition)
        return x + gate * self.feed(y)


HIGH = 'ends', 'before_attention', 'before_feed'
"""Modules of an expert that stay in float32: both ends, and norms that depend on the time."""


class Expert(nn.Module):
    """Noise [B, rows, columns] and the cache of a prefix -> velocity towards the chunk."""

    def __init__(self, ends: Ends, layers: list[ExpertLayer]) -> None:
        super().__init__()
        self.shape, self.ends = ends.shape, ends
        self.layers = nn.ModuleList(layers)
        self.whole: nn.Module | None = None
        """A pass as one graph of an engine, where there is one."""
        self.past: nn.Module | None = None
        """The same of a pass by the layers."""
        self.memories: nn.Module | None = None
        """The same of the projections of a prefix."""
        self.like: torch.Tensor
        self.register_buffer('like', torch.zeros(()), persistent=False)

    @property
    def columns(self) -> int:
        """Columns of a noisy chunk."""
        return self.ends.columns

    @property
    def masked(self) -> bool:
        """Whether some rows do not see all others."""
        return self.shape.causal or self.ends.state is not None

    def fits(self, cache: PrefixCache) -> bool:
        """Return whether the cache has the layers and heads that this expert attends to."""
        if max(self.shape.serves) >= len(cache.keys):
            return False
        pairs = zip(self.layers, self.shape.serves, strict=True)
        return all(layer.attention.fits(cache.keys[index]) for layer, index in pairs)

    def prepare(self, cache: PrefixCache) -> list[Seen]:
        """Return what each layer attends to, the same in all passes over one prefix."""
        shape, like = self.shape, self.like
        rows = shape.rows + (self.ends.state is not None)
        ahead, own = (
            turn_of(first, rows, shape.head, shape.rope_base, like.device, like.dtype)
            for first in (cache.length, 0)
        )
        pairs = [
            (cache.keys[index].to(like), cache.values[index].to(like)) for index in shape.serves
        ]
        attention = [layer.attention for layer in self.layers]
        if self.memories is None:
            memories = [one.memory(*pair) for one, pair in zip(attention, pairs, strict=True)]
        else:
            crossing = [isinstance(one, Cross) for one in attention]
            made = iter(self.memories(*chain(*compress(pairs, crossing))))
            memories = [
                (next(made), next(made)) if crosses else pair
                for crosses, pair in zip(crossing, pairs, strict=True)
            ]
        seen = []
        for one, (keys, values) in zip(attention, memories, strict=True):
            mask = None
            if isinstance(one, Joint) and self.masked:
                groups = one.out.in_features // shape.head // keys.shape[1]
                mask = sight(rows, keys.shape[2], groups, shape.causal, like.device)
            seen.append(Seen(keys, values, ahead, own, mask))
        return seen

    @property
    def crossing(self) -> list[Cross]:
        """The attention of the layers that attend to projections of the prefix."""
        found = [layer.attention for layer in self.layers]
        return [attention for attention in found if isinstance(attention, Cross)]

    def forward(
        self,
        x: torch.Tensor,
        time: float,
        seen: list[Seen],
        state: torch.Tensor | None = None,
        kept: list[torch.Tensor] | None = None,
        whole: bool = True,
    ) -> torch.Tensor:
        """Return the velocity from noise to data at ``time``, 0 noise and 1 data.

        ``kept`` takes what the layers added; without ``whole`` it is taken from there instead, and
        only both ends are computed (EfficientVLA, arXiv 2506.10100, section 3.4).
        """
        if whole or kept is None:
            given = self.given(x, time, seen, state)
            velocity, added = self.run(*given) if self.whole is None else self.whole(*given)
            if kept is not None:
                kept[:] = [added]
            return velocity
        outer = self.ends.given(x, time, state, self.like)
        found: torch.Tensor = (self.past or self.ends)(kept[0], *outer)
        return found

    def given(
        self, x: torch.Tensor, time: float, seen: list[Seen], state: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the tensors of a pass, in the order in which ``run`` takes them."""
        turns = (part for turn in (seen[0].ahead, seen[0].own) for part in turn)
        memories = (
            part for one in seen for part in (one.keys, one.values, one.mask) if part is not None
        )
        return *self.ends.given(x, time, state, self.like), *turns, *memories

    def run(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the velocity, and what the layers added to the rows that entered them."""
        parts = iter(given)
        outer = [next(parts) for _ in range(2 if self.ends.state is None else 3)]
        ahead, own = (Turn(next(parts), next(parts)) for _ in range(2))
        start, condition = self.ends.enter(*outer)
        rows = start
        for layer in self.layers:
            masked = isinstance(layer.attention, Joint) and self.masked
            keys, values = next(parts), next(parts)
            seen = Seen(keys, values, ahead, own, next(parts) if masked else None)
            rows = layer(rows, seen, condition)
        return self.ends.leave(rows, condition), rows - start

    def example(
        self, rows: int, random: torch.Generator
    ) -> tuple[PrefixCache, torch.Tensor, torch.Tensor]:
        """Return a random prefix of so many ``rows``, noise, and a random state.

        Each layer has one more than that before it: where tokens are dropped, lengths differ.
        """
        attention = [layer.attention for layer in self.layers]
        joint = next((a for a in attention if isinstance(a, Joint)), None)
        first: Any = attention[0]
        heads = joint.key_heads if joint else first.key.in_features // self.shape.head
        depth = max(self.shape.serves) + 1
        shapes = [(1, heads, rows + layer, self.shape.head) for layer in range(depth)]
        keys, values = (
            tuple(torch.randn(shape, generator=random).to(self.like) for shape in shapes)
            for _ in range(2)
        )
        noise = torch.randn(1, self.shape.rows, self.columns, generator=random)
        state = torch.randn(1, self.ends.states or 1, generator=random)
        device = self.like.device
        return PrefixCache(keys, values, rows), noise.to(device), state.to(device)

    def release(self) -> None:
        """Let go of the weights of the layers, which ``whole`` holds, but those of ``memories``."""
        kept = {part for cross in self.crossing for part in (cross.key, cross.value)}
        for part in self.layers.modules():
            if not [*part.children()] and part not in kept:
                part.to('meta')


class ExpertPass(nn.Module):
    """A pass of an expert as a module of tensors alone."""

    def __init__(self, expert: Expert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what ``Expert.run`` does."""
        return self.expert.run(*given)


class ExpertGenerator(Generator):
    """The expert with its noise, free, or guided by the chunk before."""

    needs_cache = takes_sent_cache = True

    def __init__(self, expert: Expert, steps: int, settings: ActorSettings) -> None:
        """Take ``steps`` from noise to chunk where the settings name no number."""
        super().__init__()
        self.expert, self.steps, self.settings = expert, steps, settings
        self.requires_grad_(False)
        self._random = torch.Generator()
        self.reset()

    @property
    def helps(self) -> frozenset[HeadHelp]:  # type: ignore[override]
        """How it can draw a chunk to the one before; guidance goes back through torch alone."""
        return frozenset({HeadHelp.INPAINT}) if self.expert.whole is None else frozenset()

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        self.settings = settings

    def check(self, cache: PrefixCache) -> None:
        """Raise ``InvalidRecordError`` where ``cache`` is of another policy."""
        if not self.expert.fits(cache):
            raise InvalidRecordError(
                f'plan has keys and values of {len(cache.keys)} layers of '
                f'{tuple(cache.keys[0].shape)}, which the action expert cannot attend to. Give '
                'reasoner and actor the same policy.'
            )

    def reset(self) -> None:
        """Start the same noise again."""
        self._random.manual_seed(self.settings.seed)

    def make(self, given: Given) -> Made:
        """Return the chunk that the next noise leads to."""
        shape = 1, self.expert.shape.rows, self.expert.columns
        noise = torch.randn(shape, generator=self._random).to(given.state.device)
        return self.sample(given, noise)

    def sample(self, given: Given, noise: torch.Tensor) -> Made:
        """Return the chunk that ``noise`` [1, rows, columns] leads to."""
        assert given.cache is not None
        cache, state = given.cache, given.state
        known = cache.state
        if cache.renewed and known is not None and not torch.equal(known.to(state), state):
            cache = cache.renewed(state)
        flow, actions = self.settings.flow, self.expert.shape.actions
        if given.help == HeadHelp.INPAINT and given.before is not None:
            return self._guided(cache, noise, given, given.before)
        seen = self.expert.prepare(cache)
        kept: list[torch.Tensor] | None = [] if flow.cache_every > 1 else None

        def velocity(x: torch.Tensor, time: float, whole: bool = True) -> torch.Tensor:
            return self.expert(x, time, seen, state, kept, whole).float()

        if flow.adaptive:
            x, passes = follow_adaptively(velocity, noise, flow.min_steps, flow.max_steps)
        else:
            steps = flow.steps or self.steps
            x, passes = follow(velocity, noise, steps, cache_every=flow.cache_every)
        return Made(x[0, :, :actions], passes)

    def _guided(
        self, cache: PrefixCache, noise: torch.Tensor, given: Given, before: torch.Tensor
    ) -> Made:
        """Return the chunk drawn to the rows ``before`` [P, A] (RTC)."""
        guidance, actions = self.settings.guidance, self.expert.shape.actions
        known = min(len(before), noise.shape[1])
        delay = min(given.delay, known)
        pulling = min(known, max(guidance.execution_horizon, delay))
        schedule = guidance.schedule if given.same_task else 'hard'
        with torch.inference_mode(False), torch.no_grad():
            # What a backward pass reads must not have been made in inference mode.
            target = torch.zeros_like(noise)
            target[0, :known, :actions] = before[:known].clone()
            state = given.state.clone()
            lasting = PrefixCache(
                tuple(part.clone() for part in cache.keys),
                tuple(part.clone() for part in cache.values),
                cache.length,
            )
            drawn = Guidance(
                target,
                soft_mask(noise.shape[1], delay, pulling, schedule).to(noise.device),
                guidance.max_weight,
            )
            seen = self.expert.prepare(lasting)

            def velocity(x: torch.Tensor, time: float, whole: bool = True) -> torch.Tensor:
                return self.expert(x, time, seen, state).float()

            x, passes = follow(velocity, noise.clone(), guidance.steps, guidance=drawn)
        return Made(x[0, :, :actions], passes, delay)
