# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train evla-nano: `efficient-vla train`.

Three stages. `eye` teaches both convolutional encoders where hand, object and goal are; `joint`
trains everything; `actor` trains the fast policy alone on plans of the finished trunk, which costs
a tenth of a joint step. Every stage resumes from its last checkpoint; a stage that is given more
steps than it had is trained on, and the later ones are trained again.
"""

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, track
from torch.nn import functional

from efficient_vla import checkpoint, interrupts
from efficient_vla.devices import torch_device
from efficient_vla.training import curves, resume
from efficient_vla.training.dataset import Batch, Demonstrations
from efficient_vla.training.instructions import corpus
from efficient_vla.training.jitter import jittered
from efficient_vla.training.losses import action_loss
from efficient_vla.training.model import EvlaNano, nano_config
from efficient_vla.training.schedule import schedule
from efficient_vla.training.tokenizer import train_tokenizer

STAGES = ('eye', 'joint', 'actor')
BATCH = 64
LEARNING_RATE = {'eye': 2e-3, 'joint': 1e-3, 'actor': 1e-3}
LABEL_SCALE = 0.1
"""Metres that 1 in an auxiliary target stands for."""
LABEL_WEIGHT = 0.5
PLAN_VARIANTS = 1
FULL_SHARE = 0.12
"""Share of batches that show the decoder all visual tokens."""
LOG_STEPS = 20
SAVE_SECONDS = 120.0


class TrunkPlans(NamedTuple):
    """Plans made before the actor's stage."""

    latents: torch.Tensor
    """[frames, variants, Q, D]."""
    fit: torch.Tensor
    """bool [frames, variants]."""


class Trainer:
    """The model, its data and what it takes to go on after an interruption."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Load the demonstrations and make or resume the model."""
        torch.manual_seed(args.seed)
        self.args = args
        self.device = torch_device(args.device)
        self.rng = np.random.default_rng(args.seed)
        self.data = Demonstrations(args.data)
        self.tokenizer = train_tokenizer(corpus())
        self.config = nano_config(len(self.tokenizer))
        self.card = checkpoint.Card(
            name='evla-nano',
            image_size=144,
            tokens_per_camera=144,
            stem='conv',
            queries=8,
            **self.data.units(),
        )
        self.model = EvlaNano(self.card, self.config).to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = torch.tensor(self.card.state_mean)
        self.std = torch.tensor(self.card.state_std)
        self.scale = torch.tensor(self.card.action_scale)
        self.centre = self.data.labels.mean(0)
        self.done: dict[str, int] = {}
        self.started = time.time()
        self.resume_path: Path = args.out / 'training.safetensors'
        args.out.mkdir(parents=True, exist_ok=True)
        if self.resume_path.exists() and not args.restart:
            self._resume()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the mixed-precision context of the device."""
        if self.args.precision == 'fp32':
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Return uint8 [B, rows, columns, 3] as jittered floats [B, 3, rows, columns]."""
        return jittered(images.to(self.device).permute(0, 3, 1, 2).float().div(127.5).sub(1))

    def state(self, state: torch.Tensor) -> torch.Tensor:
        """Return the normalised state with a little noise, so that the image stays needed."""
        state = (state - self.mean) / self.std
        return (state + 0.02 * torch.randn_like(state)).to(self.device)

    def targets(self, chunk: torch.Tensor) -> torch.Tensor:
        """Return chunks in the network's units."""
        return (chunk / self.scale).to(self.device)

    def labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Return auxiliary targets in the network's units."""
        return ((labels - self.centre) / LABEL_SCALE).to(self.device)

    def text(self, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return padded token ids and their mask, [B, L] each."""
        encoded = self.tokenizer(sentences, padding=True, return_tensors='pt')
        ids, mask = encoded['input_ids'], encoded['attention_mask'].bool()
        return ids.to(self.device), mask.to(self.device)

    def keep(self) -> torch.Tensor | None:
        """Return which visual tokens a batch sees: fewer for most, so that pruning is familiar."""
        total = self.card.tokens_per_camera
        if self.rng.random() < FULL_SHARE:
            return None
        count = int(self.rng.integers(total // 6, total * 5 // 9))
        return torch.from_numpy(np.sort(self.rng.permutation(total)[:count])).to(self.device)

    def losses(self, stage: str, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the named losses of one batch."""
        model, losses = self.model, {}
        slow = self.pixels(batch.slow_image)
        fast = self.pixels(batch.fast_image)
        slow_labels, fast_labels = self.labels(batch.slow_labels), self.labels(batch.fast_labels)
        if stage == 'eye':
            stem = model.stem_labels(model.stem(slow).float())
            condition = fast.new_zeros(len(fast), model.dual.encoder.film.in_features)
            points = model.point_labels(model.dual.encoder(fast, condition).float())
            losses['stem_labels'] = functional.smooth_l1_loss(stem, slow_labels, beta=0.1)
            losses['point_labels'] = functional.smooth_l1_loss(points, fast_labels, beta=0.1)
            return losses
        fit = batch.fit.to(self.device)
        latents = model.plan(slow, *self.text(batch.sentences), self.keep()).float()
        single = model.single(latents, self.state(batch.slow_state))
        losses['single'] = action_loss(single.float(), self.targets(batch.slow_chunk), fit)
        plan_labels = model.plan_labels(latents.flatten(1)).float()
        losses['plan_labels'] = LABEL_WEIGHT * functional.smooth_l1_loss(
            plan_labels, slow_labels, beta=0.1
        )
        dual = model.dual(latents, fast, self.state(batch.fast_state))
        losses['dual'] = action_loss(dual.float(), self.targets(batch.fast_chunk), fit)
        return losses

    def plans(self) -> TrunkPlans:
        """Return the finished trunk's plans for every frame, under ``PLAN_VARIANTS`` sentences."""
        latents, fits = [], []
        frames = np.arange(len(self.data)).repeat(PLAN_VARIANTS)
        self.model.eval()
        for part in track(np.array_split(frames, len(frames) // BATCH + 1), 'plans'):
            sentences, fit = self.data.sentences(part, self.rng)
            with torch.inference_mode(), self.autocast():
                plan = self.model.plan(
                    self.pixels(self.data.image[part]), *self.text(sentences), self.keep()
                )
            latents.append(plan.float().cpu())
            fits.append(torch.from_numpy(fit))
        shape = (len(self.data), PLAN_VARIANTS)
        return TrunkPlans(
            torch.cat(latents).unflatten(0, shape), torch.cat(fits).unflatten(0, shape)
        )

    def actor_losses(self, plans: TrunkPlans, fast: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the loss of the fast policy alone, on plans made before."""
        slow = self.data.slow_frames(fast, self.rng)
        variant = self.rng.integers(PLAN_VARIANTS, size=len(fast))
        predicted = self.model.dual(
            plans.latents[slow, variant].to(self.device),
            self.pixels(self.data.image[fast]),
            self.state(self.data.state[fast]),
        )
        return {
            'dual': action_loss(
                predicted.float(),
                self.targets(self.data.chunk[fast]),
                plans.fit[slow, variant].to(self.device),
            )
        }

    def run(self, stage: str, steps: int) -> None:
        """Train one stage for ``steps`` batches in all, those of earlier runs counted in."""
        start = self.done.get(stage, 0)
        if start >= steps:
            return
        for later in STAGES[STAGES.index(stage) + 1 :]:
            self.done.pop(later, None)
        plans = self.plans() if stage == 'actor' else None
        trained = self.model.dual if stage == 'actor' else self.model
        trained.train()
        optimizer = torch.optim.AdamW(
            trained.parameters(), LEARNING_RATE[stage], (0.9, 0.95), weight_decay=1e-4
        )
        resumed = start and resume.read_optimizer(self.resume_path, stage, optimizer)
        warm_from = 0 if resumed else start
        running: dict[str, float] = {}
        saved = time.time()
        with (
            Progress() as progress,
            interrupts.saving(lambda: self.save(stage, optimizer)),
        ):
            bar = progress.add_task(stage, total=steps, completed=start)
            for step in range(start, steps):
                for options in optimizer.param_groups:
                    options['lr'] = LEARNING_RATE[stage] * schedule(step, steps, warm_from)
                with interrupts.postponed():
                    self._step(stage, plans, optimizer, running)
                    self.done[stage] = step + 1
                losses = ' '.join(f'{name} {value:.4f}' for name, value in running.items())
                progress.update(bar, advance=1, description=f'{stage} {losses}')
                if (step + 1) % LOG_STEPS == 0:
                    seconds = time.time() - self.started
                    curves.append(self.args.out / 'curves.csv', stage, step + 1, running, seconds)
                if time.time() - saved > SAVE_SECONDS:
                    self.save(stage, optimizer)
                    saved = time.time()

    def _step(
        self,
        stage: str,
        plans: TrunkPlans | None,
        optimizer: torch.optim.Optimizer,
        running: dict[str, float],
    ) -> None:
        """Take one step on one batch; ``running`` averages each loss over some fifty steps."""
        frames = self.rng.integers(len(self.data), size=BATCH)
        with self.autocast():
            losses = (
                self.losses(stage, self.data.batch(frames, self.rng))
                if plans is None
                else self.actor_losses(plans, frames)
            )
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]['params'], 1.0)
        optimizer.step()
        for name, loss in losses.items():
            value = loss.item()
            running[name] = 0.98 * running.get(name, value) + 0.02 * value

    def save(self, stage: str, optimizer: torch.optim.Optimizer) -> None:
        """Write the policy folder and what training needs to resume."""
        resume.write(self.resume_path, self.model, stage, optimizer, self.done)
        tensors = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.model.deployed()
        }
        checkpoint.save(self.args.out, self.card, self.config, tensors, self.tokenizer)

    def _resume(self) -> None:
        self.done = resume.read_model(self.resume_path, self.model)
        card = checkpoint.read_card(self.args.out)
        self.card = replace(self.card, state_mean=card.state_mean, state_std=card.state_std)
        self.mean, self.std = torch.tensor(card.state_mean), torch.tensor(card.state_std)
        self.rng = np.random.default_rng([self.args.seed, sum(self.done.values())])


def main(args: argparse.Namespace) -> int:
    """Train what is left of each stage, then write the policy folder."""
    if args.threads:
        torch.set_num_threads(args.threads)
    console = Console()
    trainer = Trainer(args)
    frames = f'{len(trainer.data)} frames of {trainer.data.episodes} episodes'
    console.print(f'training on {frames}, {trainer.device}, {args.precision}')
    for stage in STAGES:
        trainer.run(stage, getattr(args, f'{stage}_steps'))
    curves_file = args.out / 'curves.csv'
    if curves_file.exists():
        curves.draw(curves_file, args.out / 'curves.png')
    console.print(f'policy written to {args.out}')
    return 0
