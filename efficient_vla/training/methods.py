# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a method for a finished policy: `efficient-vla train --method NAME`.

The policy stays frozen. A method adds a module of its own and, where the decoder has to learn to
read what the module gives, low-rank updates of the decoder. Its teacher is the dense plan beside
the actions of the demonstrations. Runs resume; what is written is an add-on file of the policy.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from efficient_vla import addons, checkpoint
from efficient_vla.action.catalogue import RECIPES as OF_HEADS
from efficient_vla.devices import torch_device
from efficient_vla.errors import UsageError
from efficient_vla.training import curves, loop, resume
from efficient_vla.training.dataset import Demonstrations, Frames
from efficient_vla.training.features import Features, Plans, Samples
from efficient_vla.training.files import write_addon
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.recipes import OF_DUAL, OF_PREFIXES, recipe_class
from efficient_vla.training.recipes.recipe import Recipe
from efficient_vla.training.recordings import demonstrations

LEARNING_RATE = 1e-3
BATCH = VALIDATION_BATCH = 32


class MethodTrainer:
    """One method, its data and what it takes to go on after an interruption."""

    def __init__(self, args: argparse.Namespace, policy: Path) -> None:
        torch.manual_seed(args.seed)
        self.args, self.policy = args, policy
        self.data = self._frames(args.data)
        self.frozen = self._parts(torch_device(args.device))
        args.out.mkdir(parents=True, exist_ok=True)
        self.features = self._features(self.data, args.frames, args.seed, held_out=False)
        self.held_out = None
        if args.validation is not None:
            validation = self._frames(args.validation)
            self.held_out = self._features(validation, args.validation_frames, 0, held_out=True)
        torch.manual_seed(args.seed)
        self.recipe: Recipe = self._recipe()(self.frozen, self.features, args.rank)
        self.parameters = [p for p in self.recipe.trained.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, LEARNING_RATE, (0.9, 0.95), weight_decay=1e-4
        )
        self.done = 0
        self.resume_path: Path = args.out / f'{self.method}.training.safetensors'
        self.belongs = {
            'weights': self.frozen.sha256,
            '--rank': args.rank,
            **self.recipe.shape,
            **self.recipe.basis,
        }
        """What the state of a training is good for; decoders of tokens hold their bins in shape."""
        if self.resume_path.exists() and not args.restart:
            resume.check(self.resume_path, self.belongs)
            self.done = resume.read_model(self.resume_path, self.recipe.trained)[self.method]
            resume.read_optimizer(self.resume_path, self.method, self.optimizer)
        self.rng = np.random.default_rng([args.seed, self.done])
        self.started = time.time()

    @property
    def method(self) -> str:
        """What is trained."""
        return self.args.method

    def _parts(self, device: torch.device) -> Frozen:
        return Frozen(self.policy, device, self.args.precision)

    def _frames(self, folder: Path) -> Frames:
        if self.method not in OF_DUAL:
            return Demonstrations(folder)
        card = checkpoint.read_card(self.policy)
        data = demonstrations(folder, image_size=card.image_size)
        known = data.units()
        for name in ('state_names', 'action_names', 'control_mode'):
            if tuple(known[name]) != tuple(getattr(card, name)):
                raise UsageError(
                    f'{folder} has {name} {known[name]}; the policy expects '
                    f'{getattr(card, name)}. Train it on demonstrations of its own robot.'
                )
        return data

    def _features(self, data: Frames, frames: int, seed: int, held_out: bool) -> Features:
        name = 'features-validation' if held_out else 'features'
        cache = self.args.out / f'{name}.safetensors'
        return Features(self.frozen, data, frames, seed, not held_out, cache)

    def _recipe(self) -> Any:
        return recipe_class(self.method)

    def run(self, steps: int) -> None:
        """Train for ``steps`` batches in all, those of earlier runs counted in."""
        loop.run(
            self.method,
            range(self.done, steps),
            self.optimizer,
            LEARNING_RATE,
            lambda number, running: self.step(number / steps, running),
            self.save,
            self.args.out / 'curves.csv',
            self.started,
        )

    def step(self, progress: float, running: dict[str, float]) -> None:
        """Take one step on one batch; ``running`` are averages of the losses."""
        chosen = self.rng.integers(len(self.features), size=self.args.batch or BATCH)
        samples = self._draw(self.features, chosen, self.rng, True)
        self.recipe.trained.train()
        with self.frozen.autocast():
            losses = self.recipe.losses(samples, progress)
        loop.descend(self.optimizer, losses, running)
        self.done += 1

    def validate(self) -> dict[str, float]:
        """Return the mean of the recipe's measures over the held-out frames."""
        assert self.held_out is not None
        rng = np.random.default_rng(0)
        places = np.arange(len(self.held_out))
        sums: dict[str, float] = {}
        self.recipe.trained.eval()
        for part in np.array_split(places, -(-len(places) // VALIDATION_BATCH)):
            with torch.inference_mode(), self.frozen.autocast():
                found = self.recipe.measures(self._draw(self.held_out, part, rng, False))
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value * len(part) / len(places)
        return sums

    def save(self) -> None:
        """Write what training needs to resume."""
        resume.write(
            self.resume_path,
            self.recipe.trained,
            self.method,
            self.optimizer,
            {self.method: self.done},
            self.belongs,
        )

    def write(self, folder: Path) -> None:
        """Write the add-on."""
        self.recipe.trained.eval()
        self.recipe.finish(self.features if self.held_out is None else self.held_out)
        write_addon(
            folder, self.method, self.recipe.shape, self.recipe.tensors(), self.frozen.sha256
        )

    def _draw(
        self, features: Features, chosen: np.ndarray, rng: np.random.Generator, jitter: bool
    ) -> Samples | Plans:
        if self.method in OF_HEADS:
            return features.plans(chosen)
        return features.samples(chosen, rng, jitter, self.recipe.lag_s)


def main(args: argparse.Namespace, policy: Path) -> int:
    """Train what is left of the method, then write its add-on file."""
    trainer = trained(args, policy, _trainer(args.method, policy))
    trainer.write(args.out)
    if args.install:
        target = addons.path(policy, args.method)
        shutil.copyfile(addons.path(args.out, args.method), target)
        Console().print(f'add-on written to {target}')
    else:
        Console().print(f'add-on written to {args.out}; copy it to {policy} or give --install')
    return 0


def _trainer(method: str, policy: Path) -> type[MethodTrainer]:
    if method not in OF_PREFIXES or (policy / 'policy.json').exists():
        return MethodTrainer
    from efficient_vla.training.prefix import PrefixTrainer

    return PrefixTrainer


def trained(args: argparse.Namespace, policy: Path, kind: type[MethodTrainer]) -> MethodTrainer:
    """Train what is left, and measure it; return what was trained."""
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.validation is not None and not args.validation.is_dir():
        raise UsageError(
            f'{args.validation} is no folder of demonstrations. Make one with efficient-vla data '
            '--first 50000, or leave --validation out.'
        )
    console = Console()
    trainer = kind(args, policy)
    console.print(
        f'{trainer.method}: {len(trainer.features)} frames, '
        f'{sum(p.numel() for p in trainer.parameters)} parameters, {trainer.frozen.device}'
    )
    trainer.run(args.steps)
    if trainer.held_out is not None:
        measures = trainer.validate()
        curves.append(args.out / 'validation.csv', trainer.method, trainer.done, measures, 0.0)
        for name, value in measures.items():
            console.print(f'{name} {value:.4f}')
    curves.draw(args.out / 'curves.csv')
    return trainer
