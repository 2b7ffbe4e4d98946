# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters that a policy folder brings: what `efficient-vla compress` found for it.

They are stronger than the profiles of robot and hardware, and weaker than what a user gives.
"""

from pathlib import Path
from typing import Any

from efficient_vla.bringup.catalogue import KINDS, POLICY_NODES
from efficient_vla.bringup.parameter_files import ParameterFileError, merge
from efficient_vla.errors import CheckpointError
from efficient_vla.places import PolicyPlace

FILE = 'deployment.yaml'


def files_of(place: PolicyPlace | None) -> list[Path]:
    """Return the parameter file of a policy folder, none where it brings none."""
    file = place / FILE if isinstance(place, Path) else None
    return [file] if file is not None and file.is_file() else []


def values_of(place: PolicyPlace) -> dict[str, dict[str, Any]]:
    """Return node -> parameter -> value that a policy folder brings for its own stages.

    Raises ``CheckpointError`` where the file is damaged or has a parameter that no stage has.
    """
    try:
        values = merge(files_of(place), KINDS, POLICY_NODES).values
    except ParameterFileError as error:
        raise CheckpointError(str(error)) from error
    for node, own in values.items():
        unknown = own.keys() - KINDS[node].keys()
        if unknown:
            raise CheckpointError(
                f'{place}/{FILE} sets {node}.{min(unknown)}, which is no parameter of {node}. '
                'Write the folder again with `efficient-vla compress`.'
            )
    return {node: own for node, own in values.items() if own}
