# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Frame -> VisualTokens, of policies of LeRobot with a language model."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from efficient_vla.compression.quantization import HIGH_OF_TOWERS
from efficient_vla.engined import fit_perception, in_format
from efficient_vla.lerobot.parts import PrefixParts, finish
from efficient_vla.lerobot.techniques import NO_SKIP
from efficient_vla.perception.preprocess import squared
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.settings import InvalidSettingError


class PrefixPerception(Perception):
    """The stage of this package; where words hold the state, no frame may be skipped."""

    state_in_words = False
    each: Sequence[Callable[[np.ndarray], np.ndarray]] = ()
    """Of every camera, what maps its image to the tower's input; each has its own statistics."""

    def _entering(self, camera: int, image: np.ndarray) -> np.ndarray:
        return self.each[camera](image)

    def configure(self, settings: PerceptionSettings) -> None:
        """Apply settings from the next frame on; raises ``InvalidSettingError`` for others."""
        refuse_skip(settings, self.state_in_words)
        super().configure(settings)


def refuse_skip(settings: PerceptionSettings, state_in_words: bool) -> None:
    """Raise ``InvalidSettingError`` where a skipped frame would leave an old state in the words."""
    if state_in_words and settings.cache.method == 'skip':
        raise InvalidSettingError(
            f'cache.method is skip; expected another, since {NO_SKIP}. Use reuse.'
        )


def load(parts: PrefixParts, settings: PerceptionSettings) -> PrefixPerception:
    """Return the perception stage of a folder."""
    refuse_skip(settings, parts.state_in_words)
    cameras = chosen(parts.folder.camera_names, settings.cameras)
    places = dict(zip(parts.folder.camera_names, parts.folder.cameras.items(), strict=True))

    def pixels(key: str, inner: str, image: np.ndarray) -> np.ndarray:
        """Return uint8 [rows, columns, 3] as the tower sees it, float32 [3, size, size]."""
        planes = parts.folder.preprocess({key: image})[inner]
        laid: np.ndarray = parts.canvas(planes)[0].numpy()
        return laid

    tower = parts.tower()
    finish(parts, 'perception')
    stage = 'perception', parts.folder.path
    tower, layers = in_format(tower, settings, stage, HIGH_OF_TOWERS)
    framed = partial(squared, anchor=parts.canvas.anchor)
    each = [partial(pixels, *places[name]) for name in cameras]
    made = PrefixPerception(tower, cameras, each[0], settings, framed)
    made.each = each
    made.state_in_words = parts.state_in_words
    fit_perception(made, settings, parts.folder.path, layers)
    return made


def chosen(known: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cameras that the robot has, in the policy's order.

    Raises ``InvalidSettingError`` for one that the policy was not trained with.
    """
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidSettingError(
            f'cameras are {", ".join(wanted)}; the policy was trained with {", ".join(known)} and '
            f'knows no {unknown[0]}. Name those of them that the robot has.'
        )
    return tuple(name for name in known if name in wanted) if wanted else known
