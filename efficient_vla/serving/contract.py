# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a policy server wants and gives: from its metadata, from settings where they say nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from efficient_vla.columns import FRAMES
from efficient_vla.errors import PolicyServerError
from efficient_vla.joint_settings import JointSettings
from efficient_vla.joints import Joints, joints_of
from efficient_vla.remote import RemoteCameraSettings, RemoteSettings
from efficient_vla.serving.observation import Keys, StatePart, image_keys, state_parts
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import LONGEST_ROW, MAX_ROWS, SHORTEST_ROW, ControlMode

OURS = 'efficient_vla'
"""Key of the metadata under which servers of this package say everything."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Both sides of one server, in the robot's names."""

    keys: Keys
    action_names: tuple[str, ...]
    control_mode: ControlMode
    dt: float
    """Seconds a row lasts."""
    horizon: int = 0
    """Rows of an answer, as far as the server says it."""
    reset: str = ''
    """Key that begins an episode; empty where the server knows none."""
    joints: Joints | None = None
    """Conversion of a server that counts otherwise than the robot."""
    frame: str = FRAMES[0]
    """Of displacements of a pose, see ``ActionChunk``."""
    absolute: tuple[str, ...] = ()
    """Columns that are absolute beside displacements."""

    @property
    def meaning(self) -> dict[str, Any]:
        """What a chunk is told of its columns."""
        return {
            'names': self.action_names,
            'control_mode': self.control_mode,
            'frame': self.frame,
            'absolute': self.absolute,
        }

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the robot's state."""
        return self.keys.state_names if self.joints is None else self.joints.state_names

    def state(self, robot: np.ndarray) -> np.ndarray:
        """Return the state as the server counts it, [S]."""
        return robot if self.joints is None else self.joints.state_to_policy(robot)

    def rows(self, answer: Mapping[str, Any], state: np.ndarray | None = None) -> np.ndarray:
        """Return the actions of an answer to ``state`` as the robot counts them, float32 [H, A].

        Raises ``PolicyServerError`` where they are of another shape or not finite.
        """
        names = self.action_names if self.joints is None else self.joints.layout.names
        rows, columns = answer.get('actions'), len(names)
        if (
            not isinstance(rows, np.ndarray)
            or rows.dtype.kind not in 'iuf'
            or rows.ndim != 2
            or not 0 < len(rows) <= MAX_ROWS
            or rows.shape[1] != columns
        ):
            found = (
                f'{rows.dtype} of shape {list(rows.shape)}'
                if isinstance(rows, np.ndarray)
                else type(rows).__name__
            )
            raise PolicyServerError(
                f'actions of the server are {found}; expected numbers [1 to {MAX_ROWS}, '
                f'{columns}], a column for each of {", ".join(names)}.'
            )
        with np.errstate(over='ignore'):
            rows = rows.astype(np.float32)
        if not np.isfinite(rows).all():
            raise PolicyServerError('actions of the server are not finite; expected finite ones.')
        return rows if self.joints is None else self.joints.rows_to_robot(rows, state)


def cameras_of(
    place: str, metadata: Mapping[str, Any], settings: RemoteCameraSettings
) -> tuple[str, ...]:
    """Return the robot's cameras whose images the server at ``place`` wants.

    Raises ``InvalidSettingError`` where nobody says, and ``PolicyServerError`` for metadata that
    cannot be.
    """
    if settings.cameras:
        return settings.cameras
    if OURS not in metadata:
        raise InvalidSettingError(
            f'the metadata of {place} name no cameras; expected remote.cameras to name those of '
            'the robot whose images the server wants, for perception and actor alike. Set it.'
        )
    return tuple(_said(place, metadata)['cameras'])


def contract_of(
    place: str, metadata: Mapping[str, Any], remote: RemoteSettings, joints: JointSettings
) -> Contract:
    """Return what the server at ``place`` wants and gives.

    Raises as ``cameras_of`` does, and where ``joints`` do not say what the metadata leave open.
    """
    cameras = cameras_of(place, metadata, remote)
    if OURS not in metadata:
        names = joints.state_names or joints.names
        known = joints_of(joints, len(names), len(joints.names))
        keys = Keys(
            image_keys(cameras, remote.image_keys),
            state_parts(names, remote.state_keys),
            remote.prompt_key or 'prompt',
        )
        return Contract(
            keys,
            known.action_names,
            known.control_mode,
            known.dt,
            joints=known,
            frame=known.form.frame,
            absolute=known.form.absolute,
        )
    said = _said(place, metadata)
    given = [name for name in ('image_keys', 'state_keys', 'prompt_key') if getattr(remote, name)]
    if given:
        raise InvalidSettingError(
            f'remote.{given[0]} is set, but {place} names its keys in its metadata. Leave it out.'
        )
    missing = [camera for camera in said['cameras'] if camera not in cameras]
    if missing or len(cameras) != len(said['cameras']):
        raise InvalidSettingError(
            f'remote.cameras is {list(cameras)}; expected {list(said["cameras"])}, those that the '
            f'metadata of {place} name. Leave it out.'
        )
    actions = said['actions']
    return Contract(
        Keys(
            {camera: said['cameras'][camera] for camera in cameras},
            tuple(StatePart(key, tuple(names)) for key, names in said['state'].items()),
            said['prompt'],
        ),
        tuple(actions['names']),
        ControlMode[actions['control_mode']],
        float(actions['dt']),
        actions['rows'],
        said['reset'],
        frame=actions.get('frame', FRAMES[0]),
        absolute=tuple(actions.get('absolute', ())),
    )


def _said(place: str, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a server of this package says, all of whose parts have the right type."""
    said = metadata[OURS]
    try:
        actions = said['actions']
        fits = (
            said['version'] == 1
            and _words(said['cameras'].keys())
            and _words(said['cameras'].values())
            and all(_words([key]) and _words(names) for key, names in said['state'].items())
            and _words([said['prompt'], said['reset']])
            and bool(actions['names'])
            and _words(actions['names'])
            and actions['control_mode'] in ControlMode.__members__
            and actions['control_mode'] != 'UNKNOWN'
            and actions.get('frame', FRAMES[0]) in FRAMES
            and set(actions.get('absolute', ())) <= set(actions['names'])
            and isinstance(actions['rows'], int)
            and 0 < actions['rows'] <= MAX_ROWS
            and SHORTEST_ROW <= actions['dt'] <= LONGEST_ROW
        )
    except (AttributeError, KeyError, TypeError):
        fits = False
    if not fits:
        raise PolicyServerError(
            f'the metadata of {place} are not those of this version of efficient_vla. Use the '
            'same version on both sides.'
        )
    found: Mapping[str, Any] = said
    return found


def _words(given: Any) -> bool:
    words = list(given)
    return all(isinstance(w, str) and 0 < len(w) <= 200 for w in words) and len(set(words)) == len(
        words
    )
