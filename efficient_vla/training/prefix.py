# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a method for a policy of LeRobot whose expert attends to keys and values of a prefix.

Its teacher is the policy as it is: the hidden rows between its layers, and the velocities of its
expert on the way from noise to chunk. The noise of a frame is drawn once, so that a step passes the
expert where it was followed to.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from efficient_vla import checkpoint
from efficient_vla.attention import KeyValues, PrefixCache
from efficient_vla.bringup.graph import robot_met
from efficient_vla.errors import UsageError
from efficient_vla.lerobot import module_of
from efficient_vla.lerobot.features import STATE, cameras_of
from efficient_vla.lerobot.folder import open_folder
from efficient_vla.lerobot.prefix_policy import PrefixPolicy
from efficient_vla.lerobot.processors import MASK, TASK, TOKENS
from efficient_vla.reasoning import runner
from efficient_vla.training.methods import MethodTrainer
from efficient_vla.training.recipes import OF_PREFIXES, resolved
from efficient_vla.training.recipes.recipe import Recipe
from efficient_vla.training.recordings import Recordings

COMPUTE_BATCH = 32
Pairs = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values [B, key heads, N, d] of each layer."""


class PrefixFrozen:
    """Tower, prefix and expert of a policy folder."""

    autocast = nullcontext
    """Everything is computed in float32."""

    def __init__(self, folder: Path, device: torch.device, robot: str) -> None:
        """Load them; ``robot`` is the profile that says what state and actions are.

        Raises ``UsageError`` for a policy without a prefix.
        """
        policy = getattr(module_of(folder), 'policy', None)
        if not isinstance(policy, PrefixPolicy):
            raise UsageError(
                f'{folder} has no layers of a language model; expected a policy that has, such as '
                'SmolVLA or pi0.'
            )
        self.own = open_folder(folder)
        parts = policy.parts(self.own)
        if parts.state_in_words or len(self.own.cameras) != 1:
            raise UsageError(
                f'{folder} has {len(self.own.cameras)} cameras, and its state is '
                f'{"among" if parts.state_in_words else "beside"} the words; expected one camera, '
                'and the state beside them. Choose depth.method truncate, which is not trained.'
            )
        self.tower, self.trunk, self.expert = (
            part.to(device).requires_grad_(False)
            for part in (parts.tower(), parts.prefix(), parts.expert())
        )
        self.teacher = self.trunk.parts
        """The decoder as it is, whatever updates the other one gets."""
        self.canvas, self.steps, self.device = parts.canvas, parts.steps, device
        self.joints = self.own.joints(robot_met(robot, {}).joints)
        rows = self.expert.shape.rows
        self.executed: int = self.own.config.integer('n_action_steps', rows, high=rows)
        self.sha256 = checkpoint.sha256(folder)

    def seen(self, image: np.ndarray) -> torch.Tensor:
        """Return an image uint8 [rows, columns, 3] as the tower is given it."""
        ((key, inner),) = self.own.cameras.items()
        return self.canvas(self.own.preprocess({key: image})[inner])

    def given(self, state: np.ndarray, sentence: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the normalised state [1, S] of the robot's, and the token ids [L]."""
        raw = {STATE: self.joints.state_to_policy(state), TASK: sentence}
        batch = self.own.preprocess(raw)
        return batch[STATE].to(self.device), batch[TOKENS][batch[MASK]].to(self.device)

    def velocity(
        self, pairs: Pairs, length: int, state: torch.Tensor, x: torch.Tensor, time: float
    ) -> torch.Tensor:
        """Return where noisy chunks ``x`` [B, H, A] go at ``time``, by keys and values."""
        keys, values = zip(*pairs, strict=True)
        seen = self.expert.prepare(PrefixCache(keys, values, length))
        found: torch.Tensor = self.expert(x, time, seen, state)
        return found

    def dense(self, sequence: runner.Sequence) -> tuple[Pairs, list[torch.Tensor]]:
        """Return keys and values of all layers, and the rows [B, N, D] that enter each."""
        watch = RowsWatch()
        with torch.no_grad():
            slots, _ = runner.run_keeping(self.teacher, sequence, route=watch)
        return [pair(slot) for slot in slots], watch.seen


def pair(slot: KeyValues) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keys and values of a layer that has run."""
    assert slot.keys is not None
    assert slot.values is not None
    return slot.keys, slot.values


class RowsWatch(runner.Route):
    """A route of all layers that keeps the rows between them."""

    skipped: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def leaves(self, layer: int, hidden: torch.Tensor) -> bool:
        """Keep the hidden rows [B, N, D] behind a layer."""
        self.seen.append(hidden)
        return False


@dataclass(slots=True)
class PrefixSamples:
    """Frames of one sentence."""

    sequence: runner.Sequence
    visual: torch.Tensor
    """The tower's tokens, [B, V, D]."""
    words: torch.Tensor
    """Their embeddings, [L, D]."""
    state: torch.Tensor
    """Normalised, [B, S]."""
    path: torch.Tensor
    """From noise to the chunk of the policy as it is, [B, steps + 1, H, A]."""

    def __len__(self) -> int:
        return len(self.visual)

    @property
    def length(self) -> int:
        """Rows of the prefix."""
        return self.sequence.embeddings.shape[1]

    def velocity(self, step: int) -> torch.Tensor:
        """Return the velocity of the policy as it is at a step, [B, H, A]."""
        return (self.path[:, step + 1] - self.path[:, step]) * (self.path.shape[1] - 1)


class PrefixFeatures:
    """What tower and expert make of some frames of a dataset."""

    def __init__(
        self, frozen: PrefixFrozen, data: Recordings, frames: int, seed: int, told: str
    ) -> None:
        """Compute it for ``frames`` drawn frames."""
        self.frozen = frozen
        drawn = np.random.default_rng([seed, len(data)]).permutation(len(data))[:frames]
        self.frames = np.sort(drawn)
        self.task = data.task[self.frames]
        sentences = data.said()
        known = [
            frozen.given(data.state[place].numpy(), sentences[task])
            for place, task in zip(self.frames, self.task, strict=True)
        ]
        self.state = torch.cat([state for state, _ in known])
        self.words = dict(zip(self.task.tolist(), (ids for _, ids in known), strict=True))
        random = torch.Generator().manual_seed(seed)
        shape = len(self), frozen.steps + 1, frozen.expert.shape.rows, frozen.expert.columns
        self.path = torch.zeros(shape)
        self.path[:, 0] = torch.randn(len(self), *shape[2:], generator=random)
        tokens = []
        with torch.no_grad():
            places = np.arange(len(self))
            for part in track(np.array_split(places, -(-len(places) // COMPUTE_BATCH)), told):
                images = data.image[self.frames[part]].numpy()
                seen = torch.cat([frozen.seen(image) for image in images])
                tokens.append(frozen.tower(seen.to(frozen.device)))
            self.tokens = torch.cat(tokens)
            for part in track(np.array_split(places, -(-len(places) // COMPUTE_BATCH)), told):
                self._follow(part)

    def __len__(self) -> int:
        return len(self.frames)

    def groups(self, chosen: np.ndarray) -> list[PrefixSamples]:
        """Return the samples at places ``chosen``, those of one sentence together."""
        tasks = self.task[chosen]
        return [self._samples(chosen[tasks == task]) for task in np.unique(tasks)]

    def _follow(self, part: np.ndarray) -> None:
        """Follow the policy as it is from noise to chunks, at places ``part``."""
        for task in np.unique(self.task[part]):
            mine = part[self.task[part] == task]
            samples, steps = self._samples(mine), self.frozen.steps
            pairs, _ = self.frozen.dense(samples.sequence)
            x = self.path[mine, 0].to(self.frozen.device)
            for step in range(steps):
                given = samples.state, x, step / steps
                x = x + self.frozen.velocity(pairs, samples.length, *given) / steps
                self.path[mine, step + 1] = x.cpu()

    def _samples(self, mine: np.ndarray) -> PrefixSamples:
        trunk, ids = self.frozen.trunk, self.words[int(self.task[mine[0]])]
        camera = np.zeros(self.tokens.shape[1], np.int64)
        visual, state = self.tokens[mine], self.state[mine]
        every = [
            trunk.sequence(tokens, camera, ids, own[None])
            for tokens, own in zip(visual, state, strict=True)
        ]
        sequence = every[0]
        sequence.embeddings = torch.cat([one.embeddings for one in every])
        path = self.path[mine].to(self.frozen.device)
        return PrefixSamples(sequence, visual, trunk.embed(ids), state, path)


class PrefixRecipe(Recipe):
    """How one method of a prefix is trained; batches are lists of ``PrefixSamples``."""

    frozen: Any

    def losses(self, samples: Sequence[PrefixSamples], progress: float) -> dict[str, torch.Tensor]:
        """Return the mean losses of the groups of a batch, all at one step from noise to chunk."""
        step = int(torch.randint(self.frozen.steps, ()))
        total = sum(map(len, samples))
        found: dict[str, torch.Tensor] = {}
        for group in samples:
            for name, loss in self.group_losses(group, step, progress).items():
                found[name] = found.get(name, 0.0) + loss * len(group) / total
        return found

    def measures(self, samples: Sequence[PrefixSamples]) -> dict[str, float]:
        """Return the means of what is reported of the groups of a batch."""
        total = sum(map(len, samples))
        found: dict[str, float] = {}
        for group in samples:
            for name, value in self.group_measures(group).items():
                found[name] = found.get(name, 0.0) + value * len(group) / total
        return found

    def group_losses(
        self, group: PrefixSamples, step: int, progress: float
    ) -> dict[str, torch.Tensor]:
        """Return the losses of frames of one sentence, at a step from noise to chunk."""
        raise NotImplementedError

    def group_measures(self, group: PrefixSamples) -> dict[str, float]:
        """Return what is reported of frames of one sentence."""
        raise NotImplementedError

    def chunk_error(self, group: PrefixSamples, pairs: Pairs) -> float:
        """Return how far executed rows are from those of all layers, as a share of their length.

        Both from the same noise, in all steps; the mean over the frames.
        """
        frozen, x = self.frozen, group.path[:, 0]
        for step in range(frozen.steps):
            given = group.state, x, step / frozen.steps
            x = x + frozen.velocity(pairs, group.length, *given) / frozen.steps
        rows, columns = frozen.executed, frozen.expert.shape.actions
        dense = group.path[:, -1, :rows, :columns]
        far = (x[:, :rows, :columns] - dense).flatten(1).norm(dim=1)
        return float((far / dense.flatten(1).norm(dim=1)).mean())


class PrefixTrainer(MethodTrainer):
    """One method of a prefix policy, trained on a LeRobotDataset."""

    data: Any
    frozen: Any

    def _parts(self, device: torch.device) -> Any:
        return PrefixFrozen(self.policy, device, self.data.dataset.robot)

    def _frames(self, folder: Path) -> Any:
        if not (folder / 'meta').is_dir():
            raise UsageError(
                f'{folder} is no LeRobotDataset, which this method needs for a policy of LeRobot. '
                'Make one: efficient-vla data --format lerobot.'
            )
        shapes = [*cameras_of(open_folder(self.policy).input_features).values()]
        return Recordings(folder, '', '', shapes[0][0])

    def _features(self, data: Any, frames: int, seed: int, held_out: bool) -> Any:
        told = 'held-out frames' if held_out else 'frames'
        return PrefixFeatures(self.frozen, data, frames, seed, told)

    def _recipe(self) -> Any:
        return resolved(OF_PREFIXES[self.method])

    def _draw(self, features: Any, chosen: np.ndarray, rng: Any, jitter: bool) -> Any:
        return features.groups(chosen)
