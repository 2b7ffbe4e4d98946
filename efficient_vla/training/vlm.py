# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Make a policy of a vision-language model: `efficient-vla train --vlm FOLDER`.

The model stays as it is. Trained are the action queries, both heads and, with a rank above 0,
low-rank updates of the decoder; they are written beside the model, as ``policy.safetensors`` and
``policy.json``. Images are square, or with `--images own` as the model's own processor prepares
them; the instruction is the bare sentence, or with `--prompt own` in the template that the model
was tuned with.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from efficient_vla import addons, checkpoint
from efficient_vla.action.policies import DualPolicy, SinglePolicy
from efficient_vla.errors import UsageError
from efficient_vla.image_processor import image_normalisation, own_images
from efficient_vla.own_images import Cut
from efficient_vla.training import lora
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.files import prefixed, write_tensors
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.losses import plan_losses
from efficient_vla.training.methods import MethodTrainer, trained
from efficient_vla.training.recipes.recipe import Recipe

QUERIES = 8
IMAGE_SIZE = 224
"""Side of the images where the model takes any [pixels]."""


class Untrained(Frozen):
    """A vision-language model with queries and heads as they begin."""

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        precision: str,
        size: int,
        prompt: str,
        shape: tuple[int, ...],
        units: dict[str, Any],
    ) -> None:
        """Load the model; ``units`` are those of the data.

        ``size`` is that of its images, 0 its own; ``prompt`` is 'bare' or 'own'; ``shape`` is that
        of the data's images, where the model's own processor prepares them.
        On CUDA with 'bf16' the model itself is in bfloat16.
        """
        self.folder = folder
        config, family = checkpoint.open_model(folder)
        half = device.type == 'cuda' and precision == 'bf16'
        dtype = torch.bfloat16 if half else torch.float32
        tower = checkpoint.tower_of(folder, config, family, dtype)
        trunk = checkpoint.trunk_of(folder, config, family, QUERIES, dtype)
        size = size or getattr(config.vision_config, 'image_size', IMAGE_SIZE)
        mean, std = image_normalisation(folder)
        own = own_images(folder, config.model_type, shape)
        card = checkpoint.Card(
            name=folder.resolve().name,
            image_size=size,
            image_shape=shape,
            tokens_per_camera=_tokens(tower, own.cut if own else size, dtype),
            stem='patch',
            queries=QUERIES,
            prompt=config.model_type if prompt == 'own' else prompt,
            image_mean=mean,
            image_std=std,
            **units,
        )
        sizes = card.shape(config.text_config.hidden_size)
        heads = [SinglePolicy(sizes), DualPolicy(sizes)]
        tokenizer = checkpoint.tokenizer(folder)
        self._keep(device, precision, card, tokenizer, tower, trunk, *heads)
        self.sha256 = checkpoint.sha256(folder, policy=False)


def _tokens(tower: nn.Module, given: int | Cut, dtype: torch.dtype) -> int:
    """Return how many tokens the tower makes of an image: a square of this side, or its cut."""
    square = isinstance(given, int)
    size, views = ((given, given), 1) if isinstance(given, int) else (given.view, given.views)
    told = f'--image-size {given}' if square else f'--images own gives {views} of {size}, which'
    try:
        with torch.inference_mode():
            count: int = tower(torch.zeros(1, 3, *size, dtype=dtype)).shape[1]
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f'{told} does not suit the model: {str(error).splitlines()[0]} '
            'Leave it out to take the size of the model.'
        ) from error
    if square and round(count**0.5) ** 2 != count:
        raise UsageError(f'{told} gives {count} tokens; expected a square number.')
    return count * views


class PolicyRecipe(Recipe):
    """Queries, heads and updates learn the demonstrated actions."""

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Attach updates of this rank to the decoder, none where it is 0."""
        super().__init__(frozen)
        card = frozen.card
        self.shape = {'image size': card.image_size, 'image shape': list(card.image_shape)}
        heads = {'single': frozen.single, 'dual': frozen.dual}
        self.train_with_updates({n: head.requires_grad_(True) for n, head in heads.items()}, rank)
        self.trained.register_parameter('queries', frozen.trunk.queries.requires_grad_(True))

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of both heads."""
        frozen = self.frozen
        latents = frozen.dense_plan(samples.tokens, samples.text, samples.text_mask)
        losses = plan_losses(frozen, latents, samples, len(latents))
        return {name: losses[name] for name in ('single', 'dual')}

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of held-out samples."""
        return {name: loss.item() for name, loss in self.losses(samples, 1.0).items()}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what lies beside the model."""
        tensors = {checkpoint.QUERIES: self.frozen.trunk.queries}
        for name, head in (('single', self.frozen.single), ('dual', self.frozen.dual)):
            tensors |= prefixed(f'{name}.', head)
        return tensors | {addons.LORA + n: t for n, t in lora.updates(self.frozen.trunk.decoder)}


class PolicyTrainer(MethodTrainer):
    """Queries and heads of one model."""

    method = 'policy'

    def _parts(self, device: torch.device) -> Frozen:
        args = self.args
        return Untrained(
            self.policy,
            device,
            args.precision,
            args.image_size,
            args.prompt,
            tuple(self.data.image.shape[1:3]) if args.images == 'own' else (),
            self.data.units(),
        )

    def _recipe(self) -> Any:
        return PolicyRecipe

    def write(self, folder: Path) -> None:
        """Write queries, heads and card beside the model, or leave what was there."""
        self.recipe.trained.eval()
        write_tensors(folder / checkpoint.POLICY, self.recipe.tensors(), {'format': 'pt'})
        card = json.dumps(asdict(self.frozen.card), indent=2)
        (folder / 'policy.json').write_text(card + '\n')


def main(args: argparse.Namespace, folder: Path) -> int:
    """Train what is left, then write the policy beside the model."""
    began = (args.out / 'policy.training.safetensors').exists()
    if (folder / 'policy.json').exists() and not (began or args.restart):
        raise UsageError(
            f'{folder} holds a policy already, which was not trained in {args.out}. Give the --out '
            'of that training to go on with it, or --restart to replace it.'
        )
    trained(args, folder, PolicyTrainer).write(folder)
    Console().print(f'policy written to {folder}')
    return 0
