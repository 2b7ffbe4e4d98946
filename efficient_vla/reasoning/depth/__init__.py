# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of ways to run fewer layers; importing it loads no torch.

Two kinds. A static method names once, when the policy is loaded, the layers that stay; the others
leave the memory. A dynamic one decides for each frame, and keeps all that it may need.
"""

from dataclasses import dataclass

from efficient_vla.settings import InvalidSettingError, described, setting


@dataclass(frozen=True, slots=True)
class DepthMethod:
    """What a method is, and what it has to be given."""

    about: str
    static: bool = False
    routed: bool = False
    """Whether it may run any of the layers, so that none can be taken out."""
    addon: bool = True
    """Whether it needs a file that was trained or measured for the policy."""
    updates: bool = False
    """Whether that file holds updates of the decoder's weights."""
    fixed: bool = False
    """Whether that file says how many layers stay."""
    least: int = 1
    """Layers that stay in any case."""
    missing: str = ''
    """What of the paper is not here, or is done in another way."""


METHODS = {
    'truncate': DepthMethod(
        'the first layers stay (SmolVLA, FLOWER)',
        static=True,
        addon=False,
        missing='training of the shallow policy: the layers are taken from a finished one',
    ),
    'similarity_skip': DepthMethod(
        'the layers stay that turn their input most (EfficientVLA)',
        static=True,
        least=2,
        missing='PruneNet inside the layers that stay',
    ),
    'early_exit': DepthMethod(
        'the pass ends where two exits agree on the action (DeeR)',
        missing='training of the trunk with random exits, and thresholds found by rollouts: they '
        'are quantiles of a calibration set, and follow what passes cost',
    ),
    'mole': DepthMethod(
        'a router picks the layers for each frame and sentence (MoLE)',
        routed=True,
        updates=True,
        least=2,
        missing='masks in the distillation, and training of all weights: updates of low rank stand '
        'for it',
    ),
    'student': DepthMethod(
        'half of the layers, taught to plan as all of them do (distillation)',
        static=True,
        updates=True,
        fixed=True,
        missing='training of all weights: updates of low rank stand for it',
    ),
}
"""``depth.method`` -> its entry."""


@dataclass(frozen=True, slots=True)
class DepthSettings:
    """How many layers of the decoder run."""

    method: str = setting(
        'none',
        f'Which layers of the decoder run. {described(METHODS)}',
        choices=('none', *METHODS),
        read_only=True,
    )
    layers: int = setting(
        0,
        'Layers that stay, or run in one pass at most; 0 is the share. A student has its own '
        'number.',
        unit='layers',
        low=0,
        high=128,
        read_only=True,
    )
    share: float = setting(
        1.0,
        'The same as a share of all layers of the decoder, rounded.',
        low=0.0,
        high=1.0,
        read_only=True,
    )

    budget: float = setting(
        0.5,
        'Method early_exit: mean FLOPs of a pass as a share of those of all layers. Thresholds are '
        'solved from it, and move with what the passes of the episode have cost so far. At 1 no '
        'pass ends early.',
        low=0.01,
        high=1.0,
    )

    @property
    def dynamic(self) -> bool:
        """Whether the method decides for each frame."""
        return self.method != 'none' and not METHODS[self.method].static

    def refuse_dynamic(self) -> None:
        """Raise ``InvalidSettingError`` for a method that decides for each frame."""
        if self.dynamic:
            static = ', '.join(name for name, method in METHODS.items() if method.static)
            raise InvalidSettingError(
                f'depth.method is {self.method}; expected none, {static}, since this policy has no '
                'exits or router, or no such method was chosen when it was loaded.'
            )

    def count(self, depth: int) -> int:
        """Return how many of ``depth`` layers stay.

        Raises ``InvalidSettingError`` where that cannot be.
        """
        least = METHODS[self.method].least
        if self.layers and not least <= self.layers <= depth:
            why = ', since the first and the last stay' if least > 1 else ''
            raise InvalidSettingError(
                f'depth.layers is {self.layers} with depth.method {self.method}; the decoder has '
                f'{depth} layers, expected {least} to {depth}{why}, or 0 for depth.share.'
            )
        return self.layers or max(least, round(self.share * depth))
