# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the probes share, which measure in a process of their own and print one JSON object."""

import json
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.node import Node


def run_probe(name: str, measure: Callable[[Node], dict[str, Any]], **options: Any) -> int:
    """Print what ``measure`` returns for a node; return the exit code.

    ``options`` are those of the node. A ``TimeoutError`` is printed and gives 1.
    """
    rclpy.init(args=[])
    node = Node(name, **options)
    try:
        result = measure(node)
    except TimeoutError as error:
        sys.stderr.write(f'{error}\n')
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    sys.stdout.write(json.dumps(result) + '\n')
    return 0
