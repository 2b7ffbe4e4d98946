# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads that turn a plan into a chunk of actions: one file a head, listed in ``catalogue.py``.

Its ``load(source, settings)`` returns a ``Generator`` of the policy behind ``source``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from efficient_vla.action.settings import ActorSettings
from efficient_vla.attention import PrefixCache
from efficient_vla.types import HeadHelp

if TYPE_CHECKING:
    from efficient_vla.action.policies import DualPolicy, PolicyShape, SinglePolicy
    from efficient_vla.addons import Addon


class HeadSource(Protocol):
    """A policy folder, as far as heads read it."""

    shape: 'PolicyShape'

    def single(self) -> 'SinglePolicy':
        """Return the policy whose features other heads read."""

    def dual(self) -> 'DualPolicy':
        """Return the policy that looks at images."""

    def addon(self, name: str) -> 'Addon':
        """Return the add-on file of this name; raises ``CheckpointError`` where there is none."""


@dataclass(frozen=True, slots=True)
class Since:
    """What happened since the frame of a plan."""

    rows: torch.Tensor
    """Rows that passed, int64 [1]."""
    state: torch.Tensor
    """Of the robot about then, normalised, [1, S]."""
    carried: torch.Tensor
    """What is added to rows counted from that state so that they count from now, [1, 1, A]."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a chunk is made from."""

    latents: torch.Tensor
    """[1, Q, D]."""
    state: torch.Tensor
    """Normalised, [1, S]."""
    pixels: torch.Tensor | None = None
    """[1, cameras * 3, rows, columns], where the policy looks at images."""
    before: torch.Tensor | None = None
    """Rows of the chunk before that are still ahead, normalised, [P, A]."""
    delay: int = 0
    """Those of them that will be executed before the new chunk arrives."""
    same_task: bool = True
    """Whether the chunk before was made for the same instruction."""
    help: HeadHelp = HeadHelp.NONE
    """What the controller's blending asks for."""
    cache: PrefixCache | None = None
    """Keys and values of the prefix, where the plan has them."""
    since: Since | None = None
    """What happened since the frame of the plan, where the head asks for it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A chunk and how it came about."""

    chunk: torch.Tensor
    """Normalised, [H, A]."""
    steps: int
    delay: int = 0
    note: str = ''


class Generator(nn.Module):
    """A head with all that it needs."""

    needs_image = False
    needs_cache = False
    """Whether it attends to the keys and values of a plan."""
    needs_since = False
    """Whether it has to know what happened since the frame of the plan."""
    takes_sent_cache = False
    """Whether these may come from another process."""
    helps: frozenset[HeadHelp] = frozenset()
    """How it can draw a chunk to the one before."""

    def make(self, given: Given) -> Made:
        """Return a chunk."""
        raise NotImplementedError

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on, where any concerns this head."""

    def check(self, cache: PrefixCache) -> None:
        """Raise ``InvalidRecordError`` where ``cache`` is of another policy."""

    def reset(self) -> None:
        """Start the same random numbers again, where there are any."""
