# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The processor threads that a measurement computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

from efficient_vla.bench.overrides import node_values
from efficient_vla.places import share_folder


@contextmanager
def threads_of(hardware: str) -> Iterator[int]:
    """Compute with the threads that a hardware profile gives the reasoner of the graph."""
    import torch

    profile = share_folder('config') / 'hardware' / f'{hardware}.yaml'
    before = torch.get_num_threads()
    torch.set_num_threads(node_values([profile], 'reasoner').get('threads') or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
