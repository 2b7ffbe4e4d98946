# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy of this package behind the requests of ``peer.py``: ``python ours.py FOLDER INPUTS``."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies.peer import memory_mb
from efficient_vla.errors import CheckpointError
from efficient_vla.policy import Policy
from efficient_vla.policy_folders import folder_facts, module_of
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError

STATE, IMAGES = 'observation.state', 'observation.images.'
RATE_HZ = 30.0
"""Rows a second; no measurement depends on it."""


class Ours:
    """The stages of a folder, for a robot that counts as the dataset does."""

    def __init__(self, folder: Path, inputs: Path) -> None:
        self.folder = folder
        self.inputs = dict(np.load(inputs))
        self._stamp = 0.0

    def load(self) -> dict[str, Any]:
        """Load the folder, and return how long it took and the memory."""
        facts = folder_facts(self.folder)
        if facts.family == 'lerobot':
            import_module(f'efficient_vla.lerobot.{facts.kind}')
        else:
            import_module(module_of(self.folder).__name__)
        self.images = {
            key.removeprefix(IMAGES): value
            for key, value in self.inputs.items()
            if key.startswith(IMAGES)
        }
        settings: dict[str, Any] = {'device': 'cpu'}
        if facts.family == 'lerobot':
            settings |= _robot(facts.action_width)
            if set(self.images) < set(facts.cameras):
                settings['cameras'] = tuple(self.images)
        start = time.perf_counter()
        self.policy = Policy.from_pretrained(self.folder, **settings)
        seconds = time.perf_counter() - start
        generator: Any = getattr(self.policy.actor, 'generator', None)
        if 'noise' in self.inputs and hasattr(generator, 'sample'):
            import torch

            noise = torch.from_numpy(self.inputs['noise'])
            generator.make = lambda given: generator.sample(given, noise)
        scale = self._scale() if facts.family == 'lerobot' else []
        return {'load_s': seconds, 'action_scale': scale, **memory_mb()}

    def chunk(self) -> dict[str, Any]:
        """Make one chunk; return the time of its stages [ms], its rows and the memory."""
        self._stamp += 10.0
        start = time.perf_counter()
        state = self.inputs[STATE]
        task = str(self.inputs['task'])
        chunk = self.policy.act(self.images, task, state=state, stamp=self._stamp)
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


def _robot(columns: int) -> dict[str, Any]:
    """Return the settings of a robot that counts as the dataset does."""
    return {
        'joints_names': tuple(f'joint{number}' for number in range(columns)),
        'joints_unit': ('rad',),
        'joints_mode': 'joint_position',
        'joints_rate': RATE_HZ,
    }


def main(folder: str, inputs: str) -> None:
    """Answer requests until there are none."""
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    ours = Ours(Path(folder), Path(inputs))
    for line in sys.stdin:
        try:
            answer = {'load': ours.load, 'chunk': ours.chunk}[line.strip()]()
        except (CheckpointError, InvalidSettingError, InvalidRecordError) as error:
            answer = {'error': str(error)}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
