# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies in folders of NORA (arXiv 2504.19854), a Qwen2.5-VL that names FAST's action tokens.

Its decoding is the actor's, as for OpenVLA: the plan hands on the keys and values of the prompt and
the decoder itself by reference, so that one plan serves any of the decodings, their settings stay
in one place, and the weights are there once. Torch loads later.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from efficient_vla.nora.facts import facts as facts


def load_perception(folder: Path, settings: Any) -> Any:
    """Return the perception stage of a folder."""
    return import_module(f'{__name__}.loading').load_perception(folder, settings)


def load_reasoner(folder: Path, settings: Any) -> Any:
    """Return the reasoner of a folder."""
    return import_module(f'{__name__}.loading').load_reasoner(folder, settings)


def load_actor(folder: Path, settings: Any) -> Any:
    """Return the actor of a folder."""
    return import_module(f'{__name__}.loading').load_actor(folder, settings)
