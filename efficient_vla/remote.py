# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a policy that a server has: how it is asked, and what it does not say itself.

A server of this package says in its metadata which cameras and which state it wants and what its
actions are. Any other server of openpi's protocol says nothing, and its side is given here and by
``joints``.
"""

from dataclasses import dataclass

from efficient_vla.settings import setting

IMAGE_LAYOUTS = ('rows_columns_colours', 'colours_rows_columns')


@dataclass(frozen=True)
class RemoteCameraSettings:
    """What perception and actor have to know of a server."""

    token_file: str = setting(
        '',
        'File with the word that the server demands, sent as openpi does: Authorization: Api-Key '
        'WORD. Without wss:// anybody on the way can read it.',
        read_only=True,
    )
    connect_timeout: float = setting(
        5.0,
        'A server that has not answered the handshake with its metadata after this time is not '
        'there.',
        unit='s',
        low=0.1,
        high=600.0,
        read_only=True,
    )
    cameras: tuple[str, ...] = setting(
        (),
        "The robot's cameras whose images the server wants, in an order of your choice; empty: "
        'those that its metadata name.',
        read_only=True,
    )


@dataclass(frozen=True)
class RemoteSettings(RemoteCameraSettings):
    """What the actor has to know beside."""

    timeout: float = setting(
        2.0,
        'An answer that takes longer makes no chunk: it is dropped when it comes, and nothing new '
        'is asked before.',
        unit='s',
        low=0.01,
        high=60.0,
    )
    image_keys: tuple[str, ...] = setting(
        (),
        'Key of each image in the observation, in the order of remote.cameras; a dot is a step '
        'into a nested map. Empty: what the metadata say, or else observation/image, or '
        'observation/CAMERA where there are several.',
        read_only=True,
    )
    state_keys: tuple[str, ...] = setting(
        (),
        'Key of the state in the observation, or KEY:COUNT for each of several that share its '
        'numbers in the order of joints.state_names. Empty: what the metadata say, or else '
        'observation/state.',
        read_only=True,
    )
    prompt_key: str = setting(
        '',
        'Key of the sentence. Empty: what the metadata say, or else prompt.',
        read_only=True,
    )
    image_layout: str = setting(
        IMAGE_LAYOUTS[0],
        'Order of the sides of an image. The ALOHA policies of openpi take colours_rows_columns.',
        choices=IMAGE_LAYOUTS,
        read_only=True,
    )
    image_size: int = setting(
        0,
        'Images are shrunk to squares of so many pixels before they are sent, padded with black; '
        '0 sends them as they are. The policies of openpi see 224.',
        unit='px',
        low=0,
        high=4096,
        read_only=True,
    )
