# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How a slow plan steers the fast policy of architecture dual; nothing here loads torch."""

from dataclasses import dataclass

from efficient_vla.settings import described, setting

OWN = 'film'
"""What every policy of this package has, without an add-on."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What a conditioning is, and what it has to be given."""

    about: str
    kind: str = ''
    """``module:Class`` in ``action/conditioning``; empty for the policy's own."""
    token: bool = False
    """Whether a plan has a row of its own for it, behind those of the action queries."""
    frozen: bool = False
    """Whether the decoder stays as it is, without updates."""
    missing: str = ''
    """What of the paper is not here, or is done in another way."""

    @property
    def recipe(self) -> str:
        """Name of what trains it, see ``training/recipes``."""
        return self.kind.partition(':')[0]


CONDITIONINGS = {
    OWN: Conditioning(
        "the policy's own: all latents of the plan scale and shift what the eye sees"
    ),
    'act_token': Conditioning(
        'the hidden state of one token more, projected (LCB)',
        'act_token:ActToken',
        token=True,
        missing='the loss of the language model and the alignment with CLIP: the decoder says no '
        'words here, and the fast policy reads no sentence',
    ),
    'map_pool': Conditioning(
        'latents that attention pools to one, trained on plans of random age (HiRT)',
        'map_pool:MapPool',
        missing='an EfficientNet: the eye is that of the policy; the pooled latent is an input of '
        'its head and steers the eye, without cross-attention in the head',
    ),
    'perceiver': Conditioning(
        'resampled latents that the image attends to, and the slow chunk, shifted by the rows '
        'that passed since (RoboDual)',
        'perceiver:ResampledPlan',
        missing='a diffusion transformer: one pass regresses the chunk, so that dropped conditions '
        'train it, and no guidance without a classifier can use them; one camera',
    ),
    'prompt_tuning': Conditioning(
        'the hidden state of one token more, which alone is trained of the decoder, and which has '
        'to tell where the chunk leads (OpenHelix)',
        'act_token:ActToken',
        token=True,
        frozen=True,
        missing='a projector that is aligned in a stage before',
    ),
}
"""``dual.conditioning`` -> its entry."""


def addon_name(conditioning: str) -> str:
    """Return the name of the add-on of a conditioning, and of what trains it."""
    return f'dual_{conditioning}'


@dataclass(frozen=True, slots=True)
class DualSettings:
    """How the plan steers the fast policy; reasoner and actor have to agree."""

    conditioning: str = setting(
        OWN,
        f'What steers the fast policy of architecture dual, the same for reasoner and actor. '
        f'{described(CONDITIONINGS)} All but {OWN} need their add-on file in the folder of the '
        'policy.',
        choices=tuple(CONDITIONINGS),
        read_only=True,
    )
