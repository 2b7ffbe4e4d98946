# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""From noise to data: DDPM (arXiv 2006.11239) and DDIM (arXiv 2010.02502), as diffusers steps them.

The steps are spaced 'leading': t = (n - 1) T // n, ..., T // n, 0 of T steps of training.
"""

import math
from collections.abc import Callable

import torch

from efficient_vla.lerobot.fields import Fields
from efficient_vla.settings import InvalidSettingError

LARGEST_BETA = 0.999
SMALLEST_VARIANCE = 1e-20


class NoiseSchedule:
    """Steps of a sampler, whose network tells the noise ('epsilon') or the data ('sample')."""

    def __init__(self, config: Fields) -> None:
        """Read what ``config.json`` says of the sampler."""
        self.trained = config.integer('num_train_timesteps', high=100_000)
        steps = config.raw('num_inference_steps', None)
        self._own = self.trained
        if steps is not None:
            self._own = config.integer('num_inference_steps', high=self.trained)
        self.take(0)
        self._random = config.word('noise_scheduler_type', 'DDPM', ('DDPM', 'DDIM')) == 'DDPM'
        kinds = ('epsilon', 'sample')
        self._noise_told = config.word('prediction_type', 'epsilon', kinds) == 'epsilon'
        bound = config.number('clip_sample_range', 1.0, low=0)
        self._bound = bound if config.flag('clip_sample', True) else math.inf
        self._signal = torch.cumprod(1 - _betas(config, self.trained), 0)

    def take(self, steps: int) -> None:
        """Take so many steps of those of training from now on, 0: as the folder says.

        Raises ``InvalidSettingError`` where training had fewer.
        """
        if steps > self.trained:
            raise InvalidSettingError(
                f'diffusion.steps is {steps}; expected at most {self.trained}, the steps that the '
                'policy was trained for.'
            )
        count = steps or self._own
        self._stride = self.trained // count
        self.times = tuple(place * self._stride for place in reversed(range(count)))

    def sample(
        self,
        network: Callable[[torch.Tensor, int], torch.Tensor],
        noise: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return data of the shape of ``noise``; DDPM draws more of it by ``generator``."""
        x = noise
        for time in self.times:
            x = self._step(network(x, time), time, x, generator)
        return x

    def _step(
        self, told: torch.Tensor, time: int, x: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        before = time - self._stride
        now = self._signal[time]
        then = self._signal[before] if before >= 0 else torch.tensor(1.0)
        if self._noise_told:
            data = (x - (1 - now).sqrt() * told) / now.sqrt()
            noise = told
        else:
            data = told
            noise = (x - now.sqrt() * told) / (1 - now).sqrt()
        data = data.clamp(-self._bound, self._bound)
        if not self._random:
            return then.sqrt() * data + (1 - then).sqrt() * noise
        kept = now / then
        mean = then.sqrt() * (1 - kept) / (1 - now) * data
        mean = mean + kept.sqrt() * (1 - then) / (1 - now) * x
        if time == 0:
            return mean
        variance = ((1 - then) / (1 - now) * (1 - kept)).clamp(min=SMALLEST_VARIANCE)
        drawn = torch.randn(x.shape, generator=generator).to(x.device)
        return mean + variance.sqrt() * drawn


def _betas(config: Fields, train: int) -> torch.Tensor:
    """Return the variance that each step of training adds, [T]."""
    kinds = ('squaredcos_cap_v2', 'linear', 'scaled_linear')
    kind = config.word('beta_schedule', 'squaredcos_cap_v2', kinds)
    if kind == 'squaredcos_cap_v2':

        def signal(share: float) -> float:
            return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

        ratios = (signal((n + 1) / train) / signal(n / train) for n in range(train))
        return torch.tensor([min(1 - ratio, LARGEST_BETA) for ratio in ratios])
    ends = (
        config.number(name, default, 0, 1)
        for name, default in (('beta_start', 1e-4), ('beta_end', 0.02))
    )
    if kind == 'linear':
        return torch.linspace(*ends, train)
    return torch.linspace(*(end**0.5 for end in ends), train) ** 2
