# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla serve``."""

import argparse
import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficient_vla.cli.options import add_overrides
from efficient_vla.cli.run_options import add_policy, policy_place
from efficient_vla.errors import UsageError
from efficient_vla.sim.catalogue import DEFAULT_ROBOT

if TYPE_CHECKING:
    from efficient_vla.serving.served import ServedPolicy

DESCRIPTION = """\
Offer a policy, with any of its parameters, over openpi's websocket protocol, so that clients and
evaluation harnesses that speak it, and graphs elsewhere, can drive it. Ctrl-C ends it.

Only this machine can reach it unless --host says otherwise, and then clients need the token of
--token-file. What clients send is named in the metadata that they get first; --image-key,
--state-key and --prompt-key choose other names, whose dots are steps into nested maps."""

EXAMPLE = """\
  efficient-vla serve --policy evla-nano --preset sp_vla
  efficient-vla eval --policy ws://127.0.0.1:8000 --tasks reach-v3 --json out.json
  efficient-vla serve --host 0.0.0.0 --token-file ~/.efficient_vla_token \\
      --image-key images.cam_high --state-key state"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_policy(parser)
    parser.add_argument(
        '--robot',
        metavar='NAME',
        default=DEFAULT_ROBOT,
        help='profile of the robot, in config/robots or a .yaml file, whose joints the policy gets '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on; beyond this machine only with a token (default: %(default)s)',
    )
    parser.add_argument(
        '--port',
        type=_port,
        default=8000,
        help='port to listen on; 0: any that is free (default: %(default)s)',
    )
    parser.add_argument(
        '--token-file',
        metavar='FILE',
        default='',
        help='file whose word clients must send as "Authorization: Api-Key WORD"',
    )
    parser.add_argument(
        '--image-key',
        metavar='KEY',
        action='append',
        default=[],
        help='key of an image, one for each camera in their order '
        '(default: observation/image, or observation/CAMERA where there are several)',
    )
    parser.add_argument(
        '--state-key',
        metavar='KEY[:COUNT]',
        action='append',
        default=[],
        help='key of the state, or of so many of its numbers (default: observation/state)',
    )
    parser.add_argument(
        '--prompt-key', metavar='KEY', default='prompt', help='key of the sentence (%(default)s)'
    )
    add_overrides(parser)


def main(arguments: argparse.Namespace) -> int:
    """Serve until asked to end."""
    from efficient_vla.serving.server import refuse_open, run_server
    from efficient_vla.serving.tokens import read_token

    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('efficient_vla.serving').setLevel(logging.INFO)
    token = read_token(arguments.token_file)
    refuse_open(arguments.host, token)
    served, name = load(arguments)

    def ready(host: str, port: int) -> None:
        print(f'serving {name} at ws://{f"[{host}]" if ":" in host else host}:{port}', flush=True)

    asyncio.run(run_server(served, arguments.host, arguments.port, token, ready))
    return 0


def load(arguments: argparse.Namespace) -> tuple['ServedPolicy', str]:
    """Return the policy, loaded and run once, and its name."""
    from efficient_vla.bench.overrides import build_settings, merged, parse_overrides
    from efficient_vla.bringup.deployment import values_of
    from efficient_vla.policy import SETTINGS, Policy
    from efficient_vla.policy_folders import folder_facts
    from efficient_vla.serving.observation import Keys, image_keys, state_parts
    from efficient_vla.serving.served import ServedPolicy, at_rest

    for word in arguments.overrides:
        if word.partition('.')[0] not in SETTINGS:
            raise UsageError(
                f'--set {word!r} is about no part of a policy; expected {", ".join(SETTINGS)}. '
                'Leave it out.'
            )
    place = policy_place(arguments.policy)
    facts = folder_facts(place) if isinstance(place, Path) else None
    if facts is not None and facts.random:
        raise UsageError(
            f'policy {facts.random} has random weights, and whoever asks a server may have a real '
            f'robot; expected trained ones. Give --policy {facts.random}=FOLDER.'
        )
    given = parse_overrides(arguments.overrides, SETTINGS)
    settings = build_settings(merged(values_of(place), given), arguments.robot)
    policy = Policy.from_settings(place, settings)
    cameras, names = policy.perception.cameras, policy.actor.state_names
    keys = Keys(
        image_keys(cameras, arguments.image_key),
        state_parts(names, arguments.state_key),
        arguments.prompt_key,
    )
    sizes: Mapping[str, Any] = {} if facts is None else facts.cameras
    sides = {camera: sizes.get(camera) or (224, 224) for camera in cameras}
    first = at_rest(sides, names, settings['actor'].joints)
    name = place.name if isinstance(place, Path) else str(place)
    return ServedPolicy(policy, name, keys, first), name


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text!r} is no port; expected 0 to 65535.')
    return int(text)
