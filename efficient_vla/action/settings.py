# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the actor."""

from dataclasses import dataclass

from efficient_vla.action.catalogue import DECODINGS, HEADS, TOKENIZERS, decodings
from efficient_vla.devices import ComputeSettings
from efficient_vla.dual_settings import OWN, DualSettings
from efficient_vla.joint_settings import JointSettings, unnorm_key_setting
from efficient_vla.nora_settings import NoraActions
from efficient_vla.openvla_settings import OpenVlaActions
from efficient_vla.remote import RemoteSettings
from efficient_vla.settings import described, group, setting

SHORTCUTS = (1, 2, 5)
"""Numbers of equal steps that the head flow learns as shortcuts."""
STEPS = 1
"""Steps of the head flow where the settings name no number."""
DDIM_STEPS = 10
"""Steps of the head diffusion where they name none."""


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """The head flow."""

    steps: int = setting(
        0,
        f"Steps from noise to chunk; 0 is the policy's own number: {STEPS} of the head flow, and "
        'of an action expert what its folder says.',
        low=0,
        high=50,
    )
    cache_every: int = setting(
        1,
        'Compute the layers in every so many steps and keep what they added in between '
        '(EfficientVLA); 1 computes them always.',
        low=1,
        high=10,
    )
    shortcut: bool = setting(
        True,
        'Ask the head flow for the mean velocity of each step, which it learned from ten small '
        f'ones, instead of that at its start; with steps {", ".join(map(str, SHORTCUTS))}, for '
        'which it was learned, and without adaptive. An action expert has not learned it.',
    )
    adaptive: bool = setting(
        False,
        'Choose the steps of each chunk by the cosine between two velocities (ProbeFlow), which '
        'costs a pass, instead of steps.',
    )
    min_steps: int = setting(1, 'Fewest steps with adaptive.', low=1, high=10)
    max_steps: int = setting(10, 'Most steps with adaptive.', low=1, high=10)


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """The head diffusion."""

    steps: int = setting(
        0,
        f"Steps from noise to chunk; 0 is the policy's own number: {DDIM_STEPS} of the head "
        'diffusion, and of a diffusion policy of LeRobot what its folder says.',
        low=0,
        high=1000,
    )
    cache_every: int = setting(
        1,
        'Compute attention and feed-forward features in every so many steps and keep them in '
        'between (EfficientVLA); 1 computes them always.',
        low=1,
        high=10,
    )


@dataclass(frozen=True, slots=True)
class TokensSettings:
    """The head tokens."""

    tokenizer: str = setting(
        'univla',
        described(TOKENIZERS),
        choices=tuple(TOKENIZERS),
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class DecodingSettings:
    """How tokens are decoded."""

    method: str = setting(
        'parallel',
        described(DECODINGS),
        choices=tuple(DECODINGS),
    )
    accept: int = setting(
        0,
        'With speculative, a drafted bin this far from the choice of the decoder is taken too; 0 '
        'is exact. Needs tokens.tokenizer bins.',
        unit='bins',
        low=0,
        high=64,
    )
    max_steps: int = setting(
        4,
        'Passes after which consistency stops; jacobi goes on until nothing changes.',
        low=1,
        high=160,
    )


@dataclass(frozen=True, slots=True)
class GuidanceSettings:
    """How the head flow draws a chunk to the one before, with controller.blending.method rtc."""

    steps: int = setting(
        5, 'Steps from noise to a guided chunk, each with a backward pass.', low=1, high=10
    )
    max_weight: float = setting(
        5.0, 'Limit of the pull; without one it grows without bound.', low=0.0, high=100.0
    )
    schedule: str = setting(
        'exponential',
        'How the pull falls over the rows that the chunk before still knows but will not be '
        'executed from it; hard: at once.',
        choices=('exponential', 'linear', 'hard'),
    )
    execution_horizon: int = setting(
        10,
        'Row up to which the chunk before pulls, at least its rows that will be executed. '
        'Far beyond the rows between two chunks the arm follows old plans and reacts late.',
        unit='rows',
        low=1,
        high=1000,
    )


@dataclass(frozen=True, slots=True)
class ActorSettings(ComputeSettings):
    """Parameters of the actor."""

    architecture: str = setting(
        'auto',
        'dual makes chunks at a rate of its own: a light policy on the slow plan and a fresh '
        'image, or an action expert on the keys and values of a slow plan and the newest state. '
        'single makes one for each plan. auto: dual for the head regression, otherwise single.',
        choices=('auto', 'dual', 'single'),
        read_only=True,
    )
    head: str = setting(
        'auto',
        f"{described(HEADS)} auto: the policy's own head. All but regression need architecture "
        'single and an add-on file of the policy.',
        choices=('auto', *HEADS),
        read_only=True,
    )
    seed: int = setting(
        0, 'Of the noise that a head starts from; the same after each reset.', low=0, high=2**31 - 1
    )
    dual: DualSettings = group(DualSettings)
    flow: FlowSettings = group(FlowSettings)
    diffusion: DiffusionSettings = group(DiffusionSettings)
    tokens: TokensSettings = group(TokensSettings)
    decoding: DecodingSettings = group(DecodingSettings)
    guidance: GuidanceSettings = group(GuidanceSettings)
    unnorm_key: str = unnorm_key_setting()
    joints: JointSettings = group(JointSettings)
    remote: RemoteSettings = group(RemoteSettings)
    openvla: OpenVlaActions = group(OpenVlaActions)
    nora: NoraActions = group(NoraActions)

    @property
    def own_head(self) -> str:
        """The head of a policy of this package."""
        return 'regression' if self.head == 'auto' else self.head

    @property
    def own_architecture(self) -> str:
        """The architecture of a policy of this package: 'dual' or 'single'."""
        if self.architecture != 'auto':
            return self.architecture
        return HEADS[self.own_head].architectures[0]

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        return self._check_head() or self.quantization.check() or self.joints.check()

    def _check_head(self) -> str | None:
        if self.own_architecture not in HEADS[self.own_head].architectures:
            return (
                f'head is {self.head} with architecture {self.architecture}; expected single, '
                'since only the heads of the plan alone were trained. Set architecture to single.'
            )
        conditioning = self.dual.conditioning
        if conditioning != OWN and self.own_architecture != 'dual':
            return (
                f'dual.conditioning is {conditioning} with architecture {self.own_architecture} of '
                f'the head {self.own_head}; expected {OWN}, since it steers the fast policy of '
                'architecture dual. Set architecture to dual and head to regression.'
            )
        if self.head in ('auto', 'flow'):
            return self._check_flow()
        if self.head == 'tokens':
            return self._check_tokens()
        return None

    def _check_flow(self) -> str | None:
        flow = self.flow
        if flow.adaptive and flow.min_steps > flow.max_steps:
            return (
                f'flow.min_steps is {flow.min_steps}; expected at most flow.max_steps '
                f'{flow.max_steps}.'
            )
        if flow.shortcut and flow.adaptive:
            return (
                'flow.adaptive is true with flow.shortcut; a shortcut is learned for a number of '
                'steps known before. Turn one of them off.'
            )
        if self.head == 'flow' and flow.shortcut and (flow.steps or STEPS) not in SHORTCUTS:
            return (
                f'flow.steps is {flow.steps} with flow.shortcut true; expected one of '
                f'{", ".join(map(str, SHORTCUTS))}, or flow.shortcut false.'
            )
        return None

    def _check_tokens(self) -> str | None:
        tokenizer, method = self.tokens.tokenizer, self.decoding.method
        if method not in decodings(tokenizer):
            return (
                f'decoding.method is {method} with tokens.tokenizer {tokenizer}; expected one of '
                f'{", ".join(decodings(tokenizer))}, which its head was trained for.'
            )
        if self.decoding.accept and (method, tokenizer) != ('speculative', 'bins'):
            return (
                f'decoding.accept is {self.decoding.accept} with {method} of {tokenizer}; expected '
                '0: only a draft of bins can be nearly right. Set decoding.accept to 0, or '
                'decoding.method to speculative and tokens.tokenizer to bins.'
            )
        return None
