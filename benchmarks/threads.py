# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The processor threads that a measurement computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

from efficient_vla.bringup.catalogue import KINDS
from efficient_vla.bringup.parameter_files import merge
from efficient_vla.places import share_folder


@contextmanager
def threads_of(hardware: str) -> Iterator[int]:
    """Compute with the threads that a hardware profile gives the reasoner of the graph."""
    import torch

    profile = share_folder('config') / 'hardware' / f'{hardware}.yaml'
    before = torch.get_num_threads()
    values = merge([profile], KINDS, ['reasoner']).values['reasoner']
    torch.set_num_threads(values.get('threads') or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
