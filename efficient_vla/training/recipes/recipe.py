# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the training of all add-ons shares."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from efficient_vla.addons import LORA, MODULE
from efficient_vla.errors import UsageError
from efficient_vla.prompts import BARE
from efficient_vla.training import lora
from efficient_vla.training.dataset import MAX_PLAN_AGE_S
from efficient_vla.training.files import prefixed
from efficient_vla.training.frozen import Frozen

WHOLE = 0.12
"""Share of the batches that show all visual tokens."""
LEAST, MOST = 1 / 6, 5 / 9
"""Of the tokens in the others."""


def shown_part(count: int) -> torch.Tensor:
    """Return which of ``count`` visual tokens a batch shows, int64 [n]: mostly a random part.

    So the policy itself was trained; what learns so goes together with pruning, and for less.
    """
    if torch.rand(()) < WHOLE:
        return torch.arange(count)
    part = count * (LEAST + (MOST - LEAST) * float(torch.rand(())))
    return torch.randperm(count)[: max(1, round(part))].sort().values


class Recipe:
    """How one method is trained."""

    trained: Any
    """Holds all parameters that change."""
    shape: dict[str, Any]
    """Keywords of the add-on's module."""

    lag_s = MAX_PLAN_AGE_S
    """Longest time from the frame of a plan to that of a fast policy [s]."""
    basis: Mapping[str, str] = MappingProxyType({})
    """What else the state of a training is good for, beside ``shape``."""

    bare = False
    """Whether the method works on visual tokens that the bare sentence follows, of one level."""

    def __init__(self, frozen: Frozen) -> None:
        """Take what is trained for; raises ``UsageError`` for a policy that does not suit."""
        if self.bare and (frozen.card.prompt != BARE or frozen.trunk.levels):
            raise UsageError(
                f'this method is not trained for a policy with prompt {frozen.card.prompt!r} and '
                f'{frozen.trunk.levels} levels of visual features; expected {BARE!r} and 0. '
                'Choose another method or policy.'
            )
        self.frozen = frozen

    @cached_property
    def module(self) -> Any:
        """The module of the add-on, by default all that is trained."""
        return self.trained

    def losses(self, samples: Any, progress: float) -> dict[str, torch.Tensor]:
        """Return the named losses of a batch; ``progress`` goes from 0 to 1.

        ``samples`` are ``Samples``, or ``Plans`` for an add-on of a head.
        """
        raise NotImplementedError

    def measures(self, samples: Any) -> dict[str, float]:
        """Return what is reported of held-out samples."""
        raise NotImplementedError

    def finish(self, features: Any) -> None:
        """Take in what the trained module makes of frames, held-out ones where there are some."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the add-on: its module, and updates where any are attached."""
        updates = lora.updates(self.frozen.trunk.decoder)
        return prefixed(MODULE, self.module) | {LORA + name: tensor for name, tensor in updates}

    def train_with_updates(
        self, parts: dict[str, nn.Module], rank: int, layers: Sequence[nn.Module] = ()
    ) -> None:
        """Train ``parts`` together with low-rank updates of the decoder, none where rank is 0.

        ``layers`` are the layers of the decoder that learn, all where there are none.
        """
        learning = (layers or [self.frozen.trunk.decoder]) if rank else []
        updates = [new for module in learning for new in lora.attach(module, rank)]
        self.trained = nn.ModuleDict({**parts, 'updates': nn.ParameterList(updates)})
        self.trained.to(self.frozen.device)
