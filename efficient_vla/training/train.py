# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a small policy from nothing, such as evla-nano: `efficient-vla train`.

Three stages. `eye` teaches both convolutional encoders the auxiliary targets, of Meta-World where
hand, object and goal are, of recordings where the joints are and where they end; `joint` trains
everything; `actor` trains the fast policy alone on plans of the finished trunk, which costs
a tenth of a joint step. Every stage resumes from its last checkpoint; a stage that is given more
steps than it had is trained on, and the later ones are trained again.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from efficient_vla import checkpoint
from efficient_vla.devices import torch_device
from efficient_vla.training import curves, loop, resume
from efficient_vla.training.files import write_policy
from efficient_vla.training.frozen import Inputs
from efficient_vla.training.losses import action_loss, displacements
from efficient_vla.training.model import EvlaNano, nano_config
from efficient_vla.training.recordings import demonstrations

STAGES = ('eye', 'joint', 'actor')
BATCH = 64
PATCH = 12
"""Pixels that the convolutional stem makes a token of, in each direction."""
LEARNING_RATE = {'eye': 2e-3, 'joint': 1e-3, 'actor': 1e-3}
LABEL_WEIGHT = 0.5


class TrunkPlans(NamedTuple):
    """Plans made before the actor's stage, one a frame."""

    latents: torch.Tensor
    """[frames, Q, D]."""
    fit: torch.Tensor
    """bool [frames]."""


class Trainer(Inputs):
    """The model, its data and what it takes to go on after an interruption."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args = args
        self.rng, self.batch = np.random.default_rng(args.seed), args.batch or BATCH
        size = args.image_size or 144
        self.data = demonstrations(args.data, args.robot, args.camera, size)
        tokenizer = train_tokenizer(self.data.corpus())
        self.config = nano_config(len(tokenizer), args.width, args.layers, size, args.trunk)
        card = checkpoint.Card(
            name=args.out.name,
            image_size=size,
            tokens_per_camera=(size // PATCH) ** 2,
            stem='conv',
            queries=8,
            **self.data.units(),
        )
        super().__init__(card, tokenizer, torch_device(args.device), args.precision)
        labels = self.data.labels.shape[1]
        self.model = EvlaNano(self.card, self.config, labels).to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.centre = self.data.labels.mean(0)
        self.done: dict[str, int] = {}
        self.started = time.time()
        self.resume_path: Path = args.out / 'training.safetensors'
        self.belongs = {
            '--trunk': args.trunk,
            '--width': args.width,
            '--layers': args.layers,
            '--image-size': size,
        }
        args.out.mkdir(parents=True, exist_ok=True)
        if self.resume_path.exists() and not args.restart:
            self._resume()

    def state(self, state: torch.Tensor) -> torch.Tensor:
        """Return the normalised state with a little noise, so that the image stays needed."""
        state = super().state(state)
        return state + 0.02 * torch.randn_like(state)

    def labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Return auxiliary targets in the network's units."""
        return ((labels - self.centre) / self.data.label_scale).to(self.device)

    def error(
        self, predicted: torch.Tensor, chunk: torch.Tensor, fit: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of predicted rows, in the network's units, beside those of ``chunk``."""
        moves = displacements(self.card)
        return action_loss(predicted.float(), self.targets(chunk), fit, moves)

    def keep(self) -> torch.Tensor | None:
        """Return which visual tokens a batch sees: fewer for most, so that pruning is familiar."""
        total = self.card.tokens_per_camera
        if 100 * self.rng.random() < self.args.whole:
            return None
        count = int(self.rng.integers(total // 6, total * 5 // 9))
        return torch.from_numpy(np.sort(self.rng.permutation(total)[:count])).to(self.device)

    def losses(self, stage: str, frames: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the named losses of one batch: fast ``frames``, and slow ones for the plans."""
        model, losses = self.model, {}
        before, now = self.data.at(self.data.slow_frames(frames, self.rng)), self.data.at(frames)
        sentences, fits = self.data.sentences(frames, self.rng)
        slow, fast = self.pixels(before.image, True), self.pixels(now.image, True)
        slow_labels, fast_labels = self.labels(before.labels), self.labels(now.labels)
        if stage == 'eye':
            stem = model.stem_labels(model.stem(slow).float())
            condition = fast.new_zeros(len(fast), model.dual.encoder.film.in_features)
            points = model.point_labels(model.dual.encoder(fast, condition).float())
            losses['stem_labels'] = functional.smooth_l1_loss(stem, slow_labels, beta=0.1)
            losses['point_labels'] = functional.smooth_l1_loss(points, fast_labels, beta=0.1)
            return losses
        fit = torch.from_numpy(fits).to(self.device)
        latents = model.plan(slow, *self.text(sentences), self.keep()).float()
        single = model.single(latents, self.state(before.state))
        losses['single'] = self.error(single, before.chunk, fit)
        plan_labels = model.plan_labels(latents.flatten(1)).float()
        losses['plan_labels'] = LABEL_WEIGHT * functional.smooth_l1_loss(
            plan_labels, slow_labels, beta=0.1
        )
        dual = model.dual(latents, fast, self.state(now.state))
        losses['dual'] = self.error(dual, now.chunk, fit)
        return losses

    def plans(self) -> TrunkPlans:
        """Return the finished trunk's plans for every frame."""
        latents, fits = [], []
        frames = np.arange(len(self.data))
        self.model.eval()
        for part in track(np.array_split(frames, len(frames) // self.batch + 1), 'plans'):
            sentences, fit = self.data.sentences(part, self.rng)
            with torch.inference_mode(), self.autocast():
                plan = self.model.plan(
                    self.pixels(self.data.image[part], True), *self.text(sentences), self.keep()
                )
            latents.append(plan.float().cpu())
            fits.append(torch.from_numpy(fit))
        return TrunkPlans(torch.cat(latents), torch.cat(fits))

    def actor_losses(self, plans: TrunkPlans, fast: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the loss of the fast policy alone, on plans made before."""
        slow = self.data.slow_frames(fast, self.rng)
        predicted = self.model.dual(
            plans.latents[slow].to(self.device),
            self.pixels(self.data.image[fast], True),
            self.state(self.data.state[fast]),
        )
        return {
            'dual': self.error(predicted, self.data.chunk[fast], plans.fit[slow].to(self.device))
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

        def step(number: int, running: dict[str, float]) -> None:
            self._step(stage, plans, optimizer, running)
            self.done[stage] = number + 1

        loop.run(
            stage,
            range(start, steps),
            optimizer,
            LEARNING_RATE[stage],
            step,
            lambda: self.save(stage, optimizer),
            self.args.out / 'curves.csv',
            self.started,
            warm_from=0 if resumed else start,
        )

    def _step(
        self,
        stage: str,
        plans: TrunkPlans | None,
        optimizer: torch.optim.Optimizer,
        running: dict[str, float],
    ) -> None:
        frames = self.rng.integers(len(self.data), size=self.batch)
        with self.autocast():
            losses = (
                self.losses(stage, frames) if plans is None else self.actor_losses(plans, frames)
            )
        loop.descend(optimizer, losses, running)

    def save(self, stage: str, optimizer: torch.optim.Optimizer) -> None:
        """Write the policy folder and what training needs to resume."""
        resume.write(self.resume_path, self.model, stage, optimizer, self.done, self.belongs)
        self.write()

    def write(self) -> None:
        """Write the policy folder, of a model that is not trained yet too."""
        tensors = dict(self.model.deployed())
        write_policy(self.args.out, self.card, self.config, tensors, self.tokenizer, half=True)

    def _resume(self) -> None:
        resume.check(self.resume_path, self.belongs)
        self.done = resume.read_model(self.resume_path, self.model)
        # The weights know the units that they began with, whatever data were added since.
        self.card = checkpoint.read_card(self.args.out)
        self.rng = np.random.default_rng([self.args.seed, sum(self.done.values())])


def train_tokenizer(sentences: Iterable[str], size: int = 768) -> PreTrainedTokenizerFast:
    """Return a tokenizer of at most ``size`` tokens; bytes are its alphabet, so none is unknown."""
    bpe = ByteLevelBPETokenizer(lowercase=True)
    bpe.train_from_iterator(
        sentences, vocab_size=size, min_frequency=2, special_tokens=['<pad>'], show_progress=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, pad_token='<pad>')


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
    trainer.write()
    curves.draw(args.out / 'curves.csv')
    console.print(f'policy written to {args.out}')
    return 0
