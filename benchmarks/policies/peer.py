# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own class, one request a line; run by the peer's Python.

``python peer.py FOLDER INPUTS``. It stands alone: nothing of efficient_vla is imported here.
INPUTS is an npz with ``observation.*``, ``task``, ``changed`` and, where the policy starts from
noise, ``noise``. A line in is ``load``, or ``chunk`` with the number of a turn; a line out is JSON.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CELL = 32
"""Side of the squares of an image that change together [px]."""


def memory_mb() -> dict[str, float]:
    """Return resident memory of this process now, and at its peak [MB]."""
    lines = Path('/proc/self/status').read_text().splitlines()
    found = {line.split(':')[0]: line.split()[1] for line in lines if line.startswith('Vm')}
    return {'resident_mb': int(found['VmRSS']) / 1e3, 'peak_mb': int(found['VmHWM']) / 1e3}


def seen(inputs: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return the observation of a turn: a share ``changed`` of the cells of each image is new.

    They are the same cells in each turn, as where a hand moves before a background that rests.
    """
    import numpy as np

    found = {key: value for key, value in inputs.items() if key.startswith('observation.')}
    share = float(inputs['changed'])
    for key, image in found.items():
        if share and key.startswith('observation.images.'):
            draw = np.random.default_rng(0)
            rows, columns = image.shape[0] // CELL, image.shape[1] // CELL
            image = image.copy()
            cells = draw.choice(rows * columns, round(share * rows * columns), replace=False)
            draw = np.random.default_rng(turn)
            for row, column in zip(cells // columns * CELL, cells % columns * CELL, strict=True):
                image[row : row + CELL, column : column + CELL] = draw.integers(0, 255, 3, np.uint8)
            found[key] = image
    return found


class TimedPeer:
    """A policy of LeRobot with its processors."""

    def __init__(self, folder: str, inputs: str) -> None:
        import numpy as np

        self.folder = folder
        self.inputs = dict(np.load(inputs))
        self.spent: dict[str, float] = {}
        self.inside = ''

    def load(self) -> dict[str, Any]:
        """Load the folder in float32, and return how long it took and the memory."""
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies import make_pre_post_processors
        from lerobot.policies.factory import get_policy_class

        config = PreTrainedConfig.from_pretrained(self.folder)
        config.device = 'cpu'
        kind = config.type
        importlib.import_module(f'lerobot.policies.{kind}.modeling_{kind}')
        start = time.perf_counter()
        policy = get_policy_class(kind).from_pretrained(self.folder, config=config)
        self.policy = policy.float().eval()
        processors = make_pre_post_processors(config, pretrained_path=self.folder)
        self.before, self.after = processors
        seconds = time.perf_counter() - start
        self._watch()
        return {'load_s': seconds, **memory_mb()}

    def chunk(self, turn: int) -> dict[str, Any]:
        """Make the chunk of a turn; return the time of its stages [ms], its rows and the memory."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        observed = seen(self.inputs, turn)
        self.spent = {}
        start = time.perf_counter()
        task = str(self.inputs['task'])
        raw = prepare_observation_for_inference(observed, torch.device('cpu'), task)
        batch = self.before(raw)
        given = {}
        if 'noise' in self.inputs:
            given['noise'] = torch.from_numpy(self.inputs['noise']).clone()
        with torch.inference_mode():
            found = self.policy.predict_action_chunk(batch, **given)
            actions = self.after(found.clone())
        stages = self.spent | {'total': (time.perf_counter() - start) * 1e3}
        return {'stages': stages, 'actions': actions[0].tolist(), **memory_mb()}

    def _watch(self) -> None:
        """Take the time of the parts of a prefix policy, where this is one."""
        model: Any = getattr(self.policy, 'model', None)
        inner = getattr(model, 'vlm_with_expert', None) or getattr(
            model, 'paligemma_with_expert', None
        )
        if inner is None:
            return
        inner.embed_image = self._timed('perception', inner.embed_image)
        inner.forward = self._timed('reasoner', inner.forward)
        model.denoise_step = self._timed('actor', model.denoise_step)

    def _timed(self, stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method whose time is counted, unless it runs inside of another stage."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            if self.inside:
                return method(*arguments, **keywords)
            self.inside, start = stage, time.perf_counter()
            try:
                return method(*arguments, **keywords)
            finally:
                self.inside = ''
                passed = (time.perf_counter() - start) * 1e3
                self.spent[stage] = self.spent.get(stage, 0.0) + passed

        return run


def main(folder: str, inputs: str) -> None:
    """Answer requests until there are none."""
    # What libraries print must not come between the answers.
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    peer = TimedPeer(folder, inputs)
    for line in sys.stdin:
        try:
            request, *turn = line.split()
            answer = peer.chunk(int(turn[0])) if request == 'chunk' else peer.load()
        except Exception as error:  # whatever LeRobot raises is the answer
            answer = {'error': f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
