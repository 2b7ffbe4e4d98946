# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the name of the thing is lost between sentence and chunk of a dual policy, without playing.

``python -m benchmarks.dual_words --run RUNS --policy DIR --data TRAIN --held-out OTHER --out FILE``
reads the trainings in RUNS, and two LeRobotDatasets whose sentences differ in a colour. Of the
held-out frames, at the beginning of their episodes (``EARLY_S``), where the arm does not yet show
where it is going, and later, it says

- ``named_plan``, ``named_condition``: how often a linear probe reads the colour from the plan, and
  from what the head is given of it; fitted to the frames of training by ridge regression;
- ``loss`` and ``loss_other`` of the chunk, with the sentence and with another colour in it;
- ``turned``: how far that turns the chunk, as a share of the chunk's length;
- ``pull_condition``, ``pull_points``, ``pull_state``: gradient of the loss with respect to an input
  of the head, times the spread of that input, as a share of their sum.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from efficient_vla.cli import train
from efficient_vla.dual_settings import CONDITIONINGS, OWN, addon_name
from efficient_vla.sim.arms.tasks import COLOURS
from efficient_vla.training.features import Features, Samples
from efficient_vla.training.methods import MethodTrainer
from efficient_vla.training.recipes.dual import DualRecipe

EARLY_S = 0.4
RIDGE = 10.0
BATCH = 64
FITTED = 2000
"""Frames of training that the probes are fitted to."""
NAMES = tuple(COLOURS)


def named(sentence: str) -> int:
    """Return the number of the colour in a sentence, -1 where it has none."""
    return next((n for n, name in enumerate(NAMES) if name in sentence.split()), -1)


def other(sentence: str, shown: set[str]) -> str:
    """Return the sentence with the next colour for which there is a sentence in the data."""
    first = named(sentence)
    for step in range(1, len(NAMES)):
        changed = sentence.replace(NAMES[first], NAMES[(first + step) % len(NAMES)])
        if changed in shown:
            return changed
    raise ValueError(f'no sentence of the data asks for another thing than {sentence!r}')


class Probed:
    """A trained recipe, and what its head is given."""

    def __init__(self, trainer: MethodTrainer) -> None:
        """Take the recipe of a trainer."""
        assert isinstance(trainer.recipe, DualRecipe)
        self.recipe, self.frozen = trainer.recipe, trainer.frozen
        self.recipe.trained.eval()
        self.recipe.policy.eval()
        self.given = torch.zeros(0)
        self.recipe.policy.head.register_forward_pre_hook(self._keep)

    def _keep(self, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        self.given = inputs[0].detach().requires_grad_()
        return (self.given,)

    def chunk(self, samples: Samples, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the plan [B, Q, D] of these sentences, and its chunk [B, H, A]."""
        text, mask = self.frozen.text(sentences)
        asked = replace(samples, text=text, text_mask=mask)
        with torch.no_grad():
            plan = self.recipe.plan(asked)
        return plan, self.recipe.chunk(plan, asked)

    def batches(
        self, features: Features, most: int
    ) -> Iterator[tuple[np.ndarray, Samples, list[str]]]:
        """Yield places, samples without a lag and their sentences, but nonsense."""
        rng = np.random.default_rng(0)
        places = np.sort(rng.permutation(np.flatnonzero(features.fit))[:most])
        for part in np.array_split(places, -(-len(places) // BATCH)):
            samples = features.samples(part, rng, False, 0.0)
            yield part, samples, [features.sentences[n] for n in part]


def probe(fitted: np.ndarray, labels: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the class that ridge regression to one-hot ``labels`` names for rows ``held``."""
    mean, std = fitted.mean(0), fitted.std(0) + 1e-6
    rows, others = ((part - mean) / std for part in (fitted, held))
    targets = np.eye(len(NAMES))[labels]
    centre = targets.mean(0)
    square = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
    return (others @ np.linalg.solve(square, rows.T @ (targets - centre)) + centre).argmax(1)


def measured(trainer: MethodTrainer) -> dict[str, dict[str, float]]:
    """Return 'early' and 'late' -> the columns."""
    probed = Probed(trainer)
    recipe, frozen, held = probed.recipe, trainer.frozen, trainer.held_out
    assert held is not None
    width = recipe.module.width
    fitted: dict[str, list[np.ndarray]] = {'plan': [], 'condition': [], 'label': []}
    for _, samples, sentences in probed.batches(trainer.features, FITTED):
        with torch.no_grad():
            plan, _ = probed.chunk(samples, sentences)
        fitted['plan'].append(plan.flatten(1).numpy())
        fitted['condition'].append(probed.given.detach()[:, :width].numpy())
        fitted['label'].append(np.array([named(s) for s in sentences]))
    seen: dict[str, list[np.ndarray]] = {}

    def note(**columns: torch.Tensor | np.ndarray) -> None:
        for name, values in columns.items():
            seen.setdefault(name, []).append(np.asarray(values))

    shown = set(held.sentences) | set(trainer.features.sentences)
    for part, samples, sentences in probed.batches(held, len(held)):
        plan, chunk = probed.chunk(samples, sentences)
        each = torch.stack(
            [recipe.error(chunk[n : n + 1], _only(samples, n)) for n in range(len(chunk))]
        )
        (gradient,) = torch.autograd.grad(each.sum(), probed.given)
        given = probed.given.detach()
        with torch.no_grad():
            _, turned = probed.chunk(samples, [other(s, shown) for s in sentences])
            wrong = [recipe.error(turned[n : n + 1], _only(samples, n)) for n in range(len(chunk))]
        gap = (turned - chunk).flatten(1).norm(dim=1) / chunk.flatten(1).norm(dim=1)
        frames = held.frames[part]
        note(
            plan=plan.flatten(1),
            given=given,
            gradient=gradient,
            loss=each.detach(),
            loss_other=torch.stack(wrong),
            turned=gap.detach(),
            label=np.array([named(s) for s in sentences]),
            early=held.data.step[frames] * held.data.dt < EARLY_S,
        )
    whole = {name: np.concatenate(parts) for name, parts in seen.items()}
    known = {name: np.concatenate(parts) for name, parts in fitted.items()}
    read = {
        'named_plan': probe(known['plan'], known['label'], whole['plan']),
        'named_condition': probe(known['condition'], known['label'], whole['given'][:, :width]),
    }
    pull = np.abs(whole['gradient']) * whole['given'].std(0)
    points = width + 2 * frozen.dual.encoder.points.out_channels
    parts = {'condition': slice(0, width), 'points': slice(width, points)}
    parts['state'] = slice(points, None)
    found = {}
    for when, chosen in (('early', whole['early']), ('late', ~whole['early'])):
        norms = {n: float(np.linalg.norm(pull[chosen][:, part])) for n, part in parts.items()}
        found[when] = {
            'frames': int(chosen.sum()),
            **{n: float((a == whole['label'])[chosen].mean()) for n, a in read.items()},
            **{n: float(whole[n][chosen].mean()) for n in ('loss', 'loss_other', 'turned')},
            **{f'pull_{n}': norm / sum(norms.values()) for n, norm in norms.items()},
        }
    return found


def _only(samples: Samples, n: int) -> Samples:
    """Return what the error of one sample needs."""
    return replace(samples, fast_chunk=samples.fast_chunk[n : n + 1], fit=samples.fit[n : n + 1])


def main() -> int:
    """Measure the conditionings that were trained in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--run', type=Path, required=True, help='--out of efficient-vla train')
    parser.add_argument('--policy', type=Path, required=True)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--held-out', type=Path, required=True)
    parser.add_argument('--rank', type=int, default=4)
    parser.add_argument('--out', type=Path, required=True)
    arguments = parser.parse_args()
    options = argparse.ArgumentParser()
    train.add_arguments(options)
    rows = []
    for name in CONDITIONINGS:
        if name == OWN or not (arguments.run / f'{addon_name(name)}.training.safetensors').exists():
            continue
        words = f'--method {addon_name(name)} --precision fp32 --device cpu --rank {arguments.rank}'
        given = options.parse_args(words.split())
        given.out, given.data, given.validation = arguments.run, arguments.data, arguments.held_out
        trainer = MethodTrainer(given, arguments.policy)
        for when, found in measured(trainer).items():
            rows.append({'conditioning': name, 'steps': trainer.done, 'when': when, **found})
            Console().print(rows[-1])
    arguments.out.write_text(json.dumps({'rows': rows}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
