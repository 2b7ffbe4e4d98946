# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How each head makes a chunk of a plan, by the settings of the moment."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from efficient_vla.action.decoding import Decoded
from efficient_vla.action.decoding.autoregressive import greedy
from efficient_vla.action.decoding.consistency import consistency
from efficient_vla.action.decoding.jacobi import jacobi
from efficient_vla.action.decoding.parallel import parallel
from efficient_vla.action.decoding.speculative import speculative
from efficient_vla.action.guidance import Guidance, soft_mask
from efficient_vla.action.heads.diffusion import DiffusionHead
from efficient_vla.action.heads.flow import MAX_PREFIX, FlowHead
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.heads.tokens import TokenPolicy
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.tokenizers import Tokenizer
from efficient_vla.settings import InvalidSettingError


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
    blending: str = ''
    """How the controller joins chunks; empty while that is not known."""


@dataclass(frozen=True, slots=True)
class Made:
    """A chunk and how it came about."""

    chunk: torch.Tensor
    """Normalised, [H, A]."""
    steps: int
    delay: int = 0
    note: str = ''


class Generator(Protocol):
    """A head with all that it needs."""

    needs_image: bool
    guides: bool
    """Whether it can draw a chunk to the one before."""

    def make(self, given: Given) -> Made:
        """Return a chunk."""

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""

    def reset(self) -> None:
        """Start the same random numbers again."""


class Regression(nn.Module):
    """One pass of a policy that gives numbers, or one word for each."""

    guides = False

    def __init__(self, policy: SinglePolicy | DualPolicy | TokenPolicy) -> None:
        """Use a policy whose forward pass gives the chunk."""
        super().__init__()
        self.policy = policy
        self.needs_image = isinstance(policy, DualPolicy)

    def make(self, given: Given) -> Made:
        """Return the chunk of one pass."""
        if given.pixels is not None:
            return Made(self.policy(given.latents, given.pixels, given.state)[0], 1)
        return Made(self.policy(given.latents, given.state)[0], 1)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings; none of them concerns this head."""

    def reset(self) -> None:
        """Begin anew; nothing is random here."""


class Noise:
    """Gaussian chunks, the same ones after each reset."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Draw chunks of ``shape`` [H, A]."""
        self.shape = (1, *shape)
        self._generator = torch.Generator()
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self._generator.manual_seed(0)

    def draw(self) -> torch.Tensor:
        """Return the next one."""
        return torch.randn(self.shape, generator=self._generator)


class Flow(nn.Module):
    """The head flow, free, or guided by the chunk before."""

    needs_image = False
    guides = True

    def __init__(self, single: SinglePolicy, head: FlowHead, settings: ActorSettings) -> None:
        """Read features of ``single``; its own last layer is not used."""
        super().__init__()
        self.single, self.head = single, head
        self.requires_grad_(False)
        self._settings = settings
        self._noise = Noise(head.shape)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        self._settings = settings

    def reset(self) -> None:
        """Start the same noise again."""
        self._noise.reset()

    def make(self, given: Given) -> Made:
        """Return the chunk that the next noise leads to."""
        flow = self._settings.flow
        features, noise = self.single.features(given.latents, given.state), self._noise.draw()
        if given.blending == 'rtc' and given.before is not None:
            return self._guided(features, noise, given, given.before)
        prefix, delay = None, 0
        if given.blending == 'rtc_trained' and given.before is not None:
            delay = min(given.delay, len(given.before), MAX_PREFIX)
            prefix = given.before[None, :delay] if delay else None
        if flow.adaptive:
            chunk, steps = self.head.sample_adaptive(
                features, noise, flow.min_steps, flow.max_steps, prefix
            )
            return Made(chunk[0], steps, delay)
        chunk = self.head.sample(features, noise, flow.steps, flow.shortcut, prefix)
        return Made(chunk[0], flow.steps, delay)

    def _guided(
        self, features: torch.Tensor, noise: torch.Tensor, given: Given, before: torch.Tensor
    ) -> Made:
        """Return the chunk drawn to the rows ``before`` [P, A] (RTC).

        For another instruction only the rows that will be executed anyway count.
        """
        guidance = self._settings.guidance
        horizon, known = len(noise[0]), len(before)
        delay = min(given.delay, known)
        pulling = min(known, max(guidance.execution_horizon, delay))
        schedule = guidance.schedule if given.same_task else 'hard'
        target = noise.new_zeros(noise.shape)
        target[0, :known] = self.head.inner(before)
        with torch.inference_mode(False), torch.no_grad():
            # What a backward pass reads must not have been made in inference mode.
            drawn = Guidance(
                target.clone(),
                soft_mask(horizon, delay, pulling, schedule),
                guidance.max_weight,
            )
            steps = guidance.steps
            chunk = self.head.sample(features.clone(), noise.clone(), steps, guidance=drawn)
        return Made(chunk[0], steps, delay)


class Diffusion(nn.Module):
    """The head diffusion."""

    needs_image = False
    guides = False

    def __init__(self, single: SinglePolicy, head: DiffusionHead, settings: ActorSettings) -> None:
        """Read features of ``single``; its own last layer is not used."""
        super().__init__()
        self.single, self.head = single, head
        self._settings = settings.diffusion
        self._noise = Noise(head.shape)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on."""
        self._settings = settings.diffusion

    def reset(self) -> None:
        """Start the same noise again."""
        self._noise.reset()

    def make(self, given: Given) -> Made:
        """Return the chunk that the next noise leads to; ``steps`` counts whole passes."""
        features = self.single.features(given.latents, given.state)
        settings = self._settings
        chunk, passes = self.head.sample(
            features, self._noise.draw(), settings.steps, settings.cache_every
        )
        return Made(chunk[0], passes)


class Tokens(nn.Module):
    """The head tokens with a decoder of bins or of byte pairs."""

    needs_image = False
    guides = False

    def __init__(
        self,
        single: SinglePolicy,
        tokenizer: Tokenizer,
        decoder: TokenDecoder,
        student: TokenDecoder | None,
        settings: ActorSettings,
        lacking: str = '',
    ) -> None:
        """Use ``student`` for the decoding consistency; ``lacking`` says why there is none."""
        super().__init__()
        self.single, self.decoder, self.student = single, decoder, student
        self.tokenizer = tokenizer
        self._lacking = lacking
        self.configure(settings)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on.

        Raises ``InvalidSettingError`` for consistency where its add-on is missing or unfit.
        """
        if settings.decoding.method == 'consistency' and self.student is None:
            raise InvalidSettingError(f'decoding.method is consistency, but {self._lacking}')
        self._settings = settings.decoding

    def reset(self) -> None:
        """Begin anew; nothing is random here."""

    def decode(self, features: torch.Tensor) -> Decoded:
        """Return the tokens for features [1, F]."""
        settings, end = self._settings, self.tokenizer.end
        if settings.method == 'autoregressive':
            return greedy(self.decoder, features, end)
        if settings.method == 'jacobi':
            return jacobi(self.decoder, features, end)
        if settings.method == 'speculative':
            draft = self.tokenizer.encode(self.single.chunk_of(features))[0]
            return speculative(self.decoder, features, end, draft, settings.accept)
        if settings.method == 'consistency':
            assert self.student is not None
            return consistency(self.student, features, end, settings.max_steps)
        return parallel(self.decoder, features)

    def make(self, given: Given) -> Made:
        """Return the chunk of the decoded tokens."""
        found = self.decode(self.single.features(given.latents, given.state))
        chunk, note = self.tokenizer.decode(found.tokens[0].tolist())
        return Made(chunk, found.passes, note=note)
