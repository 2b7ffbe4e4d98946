# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies in folders of OpenVLA and OpenVLA-OFT; neither of them is needed. Torch loads later."""

from importlib import import_module
from pathlib import Path
from typing import Any

from efficient_vla.openvla.facts import facts as facts


def load_perception(folder: Path, settings: Any) -> Any:
    """Return the perception stage of a folder."""
    return import_module(f'{__name__}.loading').load_perception(folder, settings)


def load_reasoner(folder: Path, settings: Any) -> Any:
    """Return the reasoner of a folder."""
    return import_module(f'{__name__}.loading').load_reasoner(folder, settings)


def load_actor(folder: Path, settings: Any) -> Any:
    """Return the actor of a folder."""
    return import_module(f'{__name__}.loading').load_actor(folder, settings)
