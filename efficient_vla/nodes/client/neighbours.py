# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a graph of the same names runs already, so that two do not mix."""

import os
import time
from collections.abc import Sequence

from efficient_vla.nodes.base.onlooker import Onlooker

POLLS = 20
POLL_S = 0.05
"""Nodes of this machine are found within so many polls; a busy machine is slow at both."""


def refuse_neighbours(nodes: Sequence[str], namespace: str) -> str | None:
    """Return that ``nodes`` run already where a graph is to start, or ``None``."""
    found: list[str] = []
    looker = Onlooker('neighbours', namespace)
    node = looker.node
    try:
        for _ in range(POLLS):
            time.sleep(POLL_S)
            here, namespace = node.get_node_names_and_namespaces(), node.get_namespace()
            found = sorted(name for name, place in here if name in nodes and place == namespace)
            if found:
                break
    finally:
        looker.close()
    if not found:
        return None
    return (
        f'ROS domain {os.environ.get("ROS_DOMAIN_ID", "0")} has {", ".join(found)} already, '
        'and two graphs would mix. End the other one, or set ROS_DOMAIN_ID to another number for '
        'this one.'
    )
