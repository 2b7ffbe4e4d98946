# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Store the weights of a folder in float16: ``python -m benchmarks.roundtrip.halve FOLDER``."""

import sys
from pathlib import Path

from efficient_vla.lerobot.base import WEIGHTS
from efficient_vla.tensors import read_metadata, read_tensors
from efficient_vla.training.files import write_tensors

if __name__ == '__main__':
    weights = Path(sys.argv[1]) / WEIGHTS
    write_tensors(weights, read_tensors(weights), read_metadata(weights))
