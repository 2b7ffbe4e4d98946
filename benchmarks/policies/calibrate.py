# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure the ranges of ``quantization.mode`` int8 on the observations of `bench policies`.

``python -m benchmarks.policies.calibrate FOLDER`` writes FOLDER/int8.safetensors, for folders of
random weights that no demonstrations exist for. A trained policy is measured on demonstrations, by
``efficient-vla train --method int8``.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.policies.measure import observation
from benchmarks.policies.ours import Ours
from efficient_vla import addons, checkpoint
from efficient_vla.policy_folders import folder_facts
from efficient_vla.training.files import write_addon
from efficient_vla.training.measuring import ranges

TURNS, CHANGED = 4, 0.1
METHOD = 'int8'


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as room:
        inputs = Path(room) / 'inputs.npz'
        np.savez(inputs, **observation(folder, folder_facts(folder)), changed=CHANGED)
        ours = Ours(folder, inputs, ())
        ours.load()

        def look() -> None:
            for turn in track(range(TURNS), 'chunks'):
                ours.chunk(turn)

        shape, tensors = ranges(ours.policy, look)
    write_addon(folder, METHOD, shape, tensors, checkpoint.sha256(folder))
    Console().print(f'{len(tensors)} ranges in {addons.path(folder, METHOD)}')


if __name__ == '__main__':
    main()
