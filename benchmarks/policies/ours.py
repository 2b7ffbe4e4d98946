# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy of this package behind the requests of ``peer.py``.

``python ours.py FOLDER INPUTS NODE.PARAM=VALUE ...``.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies.peer import memory_mb, seen
from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts, module_of
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

STATE, IMAGES = 'observation.state', 'observation.images.'
RATE_HZ = 30.0
"""Rows a second; no measurement depends on it."""
PERIOD_S = 0.2
"""Between two observations; caches go by it."""


class Ours:
    """The stages of a folder, for a robot that counts as the dataset does."""

    def __init__(self, folder: Path, inputs: Path, words: Sequence[str]) -> None:
        self.folder = folder
        self.given = {
            f'{node}_{name.replace(".", "_")}': value
            for node, values in parse_overrides(words).items()
            for name, value in values.items()
        }
        self.inputs = dict(np.load(inputs))
        self._stamp = 0.0

    def load(self) -> dict[str, Any]:
        """Load the folder, and return how long it took and the memory."""
        facts = folder_facts(self.folder)
        if facts.family == 'lerobot':
            import_module(f'efficient_vla.lerobot.{facts.kind}')
        else:
            import_module(module_of(self.folder).__name__)
        settings: dict[str, Any] = {'device': 'cpu'}
        if facts.family == 'lerobot':
            settings |= _robot(facts.action_width)
            cameras = tuple(_images(self.inputs))
            if set(cameras) < set(facts.cameras):
                settings['cameras'] = cameras
        start = time.perf_counter()
        self.policy = Policy.from_pretrained(self.folder, **settings, **self.given)
        seconds = time.perf_counter() - start
        generator: Any = getattr(self.policy.actor, 'generator', None)
        if 'noise' in self.inputs and hasattr(generator, 'sample'):
            import torch

            noise = torch.from_numpy(self.inputs['noise'])
            generator.make = lambda given: generator.sample(given, noise)
        scale = self._scale() if facts.family == 'lerobot' else []
        return {'load_s': seconds, 'action_scale': scale, **memory_mb()}

    def chunk(self, turn: int) -> dict[str, Any]:
        """Make the chunk of a turn; return the time of its stages [ms], its rows and the memory."""
        self._stamp += PERIOD_S
        observed = seen(self.inputs, turn)
        images, state = _images(observed), observed[STATE]
        start = time.perf_counter()
        chunk = self.policy.act(images, str(self.inputs['task']), state=state, stamp=self._stamp)
        total = (time.perf_counter() - start) * 1e3
        tokens, plan = self.policy.tokens, self.policy.plan
        assert tokens is not None
        assert plan is not None
        stages = {
            'perception': tokens.latency_ms,
            'reasoner': plan.latency_ms,
            'actor': chunk.latency_ms,
            'total': total,
        }
        return {'stages': stages, 'actions': chunk.actions.tolist(), **memory_mb()}

    def _scale(self) -> list[float]:
        """Return what one in the policy's units is in those of the dataset, [A]."""
        import torch

        from efficient_vla.lerobot.folder import open_folder

        folder = open_folder(self.folder)
        batch = folder.preprocess({STATE: np.zeros(folder.state_width, np.float32)})
        rows = torch.arange(2.0)[:, None].expand(1, 2, folder.action_width)
        made = folder.postprocess(rows, batch)[0]
        scale: list[float] = (made[1] - made[0]).abs().tolist()
        return scale


def _images(observed: dict[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(IMAGES): image for k, image in observed.items() if k.startswith(IMAGES)}


def _robot(columns: int) -> dict[str, Any]:
    """Return the settings of a robot that counts as the dataset does."""
    return {
        'joints_names': tuple(f'joint{number}' for number in range(columns)),
        'joints_unit': ('rad',),
        'joints_mode': 'joint_position',
        'joints_rate': RATE_HZ,
    }


def main(folder: str, inputs: str, *words: str) -> None:
    """Answer requests until there are none."""
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    ours = Ours(Path(folder), Path(inputs), words)
    for line in sys.stdin:
        try:
            request, *turn = line.split()
            answer = ours.chunk(int(turn[0])) if request == 'chunk' else ours.load()
        except (CheckpointError, InvalidSettingError, InvalidRecordError) as error:
            answer = {'error': str(error)}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
