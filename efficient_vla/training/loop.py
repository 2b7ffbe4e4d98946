# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What every training does: steps with a falling learning rate, logged, saved and broken off."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from efficient_vla import unfinished
from efficient_vla.training import curves

WARMUP_STEPS = 100
LOG_STEPS = 20
SAVE_SECONDS = 60.0


def schedule(step: int, steps: int, warm_from: int = 0) -> float:
    """Return the fraction of the learning rate: a linear start, then a cosine to 2 %.

    The linear start begins at ``warm_from``, the step at which the optimizer was new.
    """
    cosine = 0.5 * (1 + np.cos(np.pi * step / steps))
    return min(1.0, (step - warm_from + 1) / WARMUP_STEPS) * (0.02 + 0.98 * cosine)


def run(
    name: str,
    steps: range,
    optimizer: torch.optim.Optimizer,
    rate: float,
    step: Callable[[int, dict[str, float]], None],
    save: Callable[[], None],
    curve: Path,
    started: float,
    warm_from: int = 0,
) -> None:
    """Take the ``steps`` of a training, whose last one ends the schedule of its ``rate``.

    ``step`` takes the number of each and running averages of the losses, which go to ``curve`` with
    the seconds since ``started``; ``save`` keeps what was reached, at the end and now and then.
    """
    running: dict[str, float] = {}
    saved = time.time()
    with Progress() as progress, unfinished.saving(save):
        bar = progress.add_task(name, total=steps.stop, completed=steps.start)
        for number in steps:
            for options in optimizer.param_groups:
                options['lr'] = rate * schedule(number, steps.stop, warm_from)
            with unfinished.postponed():
                step(number, running)
            losses = ' '.join(f'{loss} {value:.4f}' for loss, value in running.items())
            progress.update(bar, advance=1, description=f'{name} {losses}')
            if (number + 1) % LOG_STEPS == 0:
                curves.append(curve, name, number + 1, running, time.time() - started)
            if time.time() - saved > SAVE_SECONDS:
                save()
                saved = time.time()


def descend(
    optimizer: torch.optim.Optimizer, losses: dict[str, torch.Tensor], running: dict[str, float]
) -> None:
    """Step down the sum of the losses; ``running`` averages each over some fifty steps."""
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]['params'], 1.0)
    optimizer.step()
    for name, loss in losses.items():
        value = loss.item()
        running[name] = 0.98 * running.get(name, value) + 0.02 * value
