# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Engines that hold the weights themselves and compute on the CPU."""

from importlib.util import find_spec

import pytest

MISSING = [name for name in ('onnxruntime', 'onnx', 'onnxscript') if find_spec(name) is None]
EXPORTERS = [
    'openvino',
    pytest.param(
        'onnxruntime',
        marks=pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}'),
    ),
]
