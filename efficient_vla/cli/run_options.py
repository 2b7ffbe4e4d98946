# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that measure and train, which a robot does not have."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficient_vla import places
from efficient_vla.cli.options import add_overrides, policy_given
from efficient_vla.errors import UsageError
from efficient_vla.interrupts import Interrupted
from efficient_vla.policy_folders import why_none
from efficient_vla.systems import system_word

if TYPE_CHECKING:
    from efficient_vla.bench.graph_runner import GraphRequest


MOST_THREADS = 256
"""Of a process, as of a node; torch crashes where there are too many."""


def add_policy(parser: argparse._ActionsContainer) -> None:
    """Add ``--policy``."""
    parser.add_argument(
        '--policy',
        metavar='DIR',
        help='folder of the policy, or the name of a shipped one (default: that of the robot, or '
        'evla-nano); some commands take ws://HOST:PORT of a server too. A system such as tinyvla '
        'has random weights, tinyvla:full in its published shape, tinyvla=FOLDER those of a folder',
    )


def add_hardware(parser: argparse._ActionsContainer, text: str) -> None:
    """Add ``--hardware``; ``text`` says what it is for."""
    from efficient_vla.bringup.graph import profiles

    parser.add_argument(
        '--hardware',
        default='cpu_2core',
        choices=profiles('hardware'),
        help=f'{text} (default: %(default)s)',
    )


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Add ``--robot``, of those that are simulated."""
    from efficient_vla.sim.catalogue import DEFAULT_ROBOT, robots

    parser.add_argument(
        '--robot',
        default=DEFAULT_ROBOT,
        choices=robots(),
        help='simulated robot (default: %(default)s)',
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    parser.add_argument(
        '--seed',
        metavar='S',
        type=int,
        default=1000,
        help='seed of the first episode (default: %(default)s)',
    )


def add_episodes(parser: argparse.ArgumentParser, count: int) -> None:
    """Add ``--episodes``, ``--seed``, ``--policy`` and ``--architecture``."""
    parser.add_argument(
        '--episodes',
        metavar='N',
        type=int,
        default=count,
        help='episodes a task (default: %(default)s)',
    )
    add_seed(parser)
    add_policy(parser)
    parser.add_argument(
        '--architecture',
        choices=('single', 'dual'),
        help='shape of the policy, short for --set actor.architecture=...',
    )


def add_render(parser: argparse.ArgumentParser, default: str) -> None:
    """Add how the camera is rendered."""
    parser.add_argument(
        '--render',
        choices=('default', 'fast'),
        default=default,
        help='rendering of the camera (default: %(default)s)',
    )


def add_part(
    parts: Any, name: str, text: str, example: str, main: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a part of ``efficient-vla bench``, which ``main`` runs."""
    parser: argparse.ArgumentParser = parts.add_parser(
        name,
        help=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'example:\n  efficient-vla bench {name} {example}',
    )
    parser.set_defaults(part_main=main)
    return parser


def add_graph_run(parser: argparse.ArgumentParser, episodes: int, render: str) -> None:
    """Add what ``graph_request`` reads; ``render`` says how the camera is rendered by default."""
    add_robot(parser)
    add_episodes(parser, episodes)
    add_hardware(parser, 'hardware profile of the graph')
    parser.add_argument(
        '--render',
        choices=('default', 'fast'),
        help=f'rendering of the camera (default: {render})',
    )
    add_overrides(parser)


def graph_request(arguments: argparse.Namespace, tasks: Sequence[str]) -> 'GraphRequest':
    """Return the episodes of ``tasks`` in the graph that the options describe."""
    from efficient_vla.bench.graph_runner import GraphRequest
    from efficient_vla.bench.overrides import parse_overrides
    from efficient_vla.bringup.catalogue import NODE_SETTINGS
    from efficient_vla.sim.catalogue import node_name
    from efficient_vla.sim.episodes import jobs

    words = list(arguments.overrides)
    if arguments.architecture:
        words.append(f'actor.architecture={arguments.architecture}')
    if arguments.render:
        words.append(f'{node_name(arguments.robot)}.camera.render={arguments.render}')
    return GraphRequest(
        policy=policy_place(arguments.policy, arguments.robot),
        jobs=jobs(tasks, arguments.seed, arguments.episodes, arguments.robot),
        overrides=parse_overrides(words, NODE_SETTINGS),
        hardware=arguments.hardware,
        robot=arguments.robot,
    )


def refuse_below(arguments: argparse.Namespace, low: int, *names: str) -> None:
    """Raise ``UsageError`` where one of the options ``names`` was given and is below ``low``."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and not value >= low:
            raise UsageError(f'--{name.replace("_", "-")} is {value}; expected at least {low}.')


def refuse_above(arguments: argparse.Namespace, high: int, *names: str) -> None:
    """Raise ``UsageError`` where one of the options ``names`` is above ``high``."""
    for name in names:
        if getattr(arguments, name) > high:
            raise UsageError(f'--{name} is {getattr(arguments, name)}; expected at most {high}.')


def refuse_unknown(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise ``UsageError`` where one of ``given`` is none of ``known``."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UsageError(f'unknown {what} {unknown[0]!r}; expected some of {", ".join(known)}.')


def task_list(text: str) -> tuple[str, ...]:
    """Split ``A,B`` into names."""
    return tuple(name.strip() for name in text.split(',') if name.strip())


def policy_place(given: str | PathLike[str] | None, robot: str = '') -> places.PolicyPlace:
    """Return the folder or the server that ``given`` is or names, by default the shipped folder.

    Some ship for a simulated ``robot``.
    """
    from efficient_vla.policy import default_policy
    from efficient_vla.sim.catalogue import DEFAULT_ROBOT, simulation

    named = simulation(robot).policy if robot and given is None else given
    named = policy_given(str(named), robot or DEFAULT_ROBOT) if named else named
    place = places.policy_place(named) if named else default_policy()
    none = why_none(place)
    if none:
        raise UsageError(
            f'{place} is no policy folder: {none} Give --policy the folder that '
            '`efficient-vla train` or LeRobot wrote, the name of a shipped policy, or '
            'ws://HOST:PORT of a server.'
        )
    return place


def policy_folder(given: str | PathLike[str] | None, composed: bool = False) -> Path:
    """Return the folder of a policy as ``policy_place`` does; refuse a server.

    A system is refused too, unless the command takes policies as their folders have them
    ``composed``.
    """
    if given and not composed and system_word(str(given)) is not None:
        raise UsageError(
            f'policy {str(given)!r} is a system; this command composes policies itself, or writes '
            'beside them, and expects a folder alone. Give FOLDER, or take eval or bench stages.'
        )
    place = policy_place(given)
    if not isinstance(place, Path):
        raise UsageError(
            f'--policy is {place}; this command looks into a policy, so it needs the folder. Give '
            'the folder that the server has.'
        )
    return place


def writable_file(path: Path) -> Path:
    """Make the folder of an output file, so that a long run does not fail at its end.

    The file itself stays as it is, or missing, until there is something to write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f'{path} is a folder')
        new = not os.path.lexists(path)
        with path.open('a'):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise UsageError(f'cannot write {path}: {error}. Choose another file.') from error
    return path


@contextmanager
def written(path: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what writes a result as JSON; a request to end leaves what was measured until then.

    Without a path nothing is written.
    """

    def write(found: Mapping[str, Any]) -> None:
        if path is not None:
            path.write_text(json.dumps(found, indent=2) + '\n')

    try:
        yield write
    except Interrupted as stop:
        if stop.found:
            write({'interrupted': 'ended before everything was measured.', **stop.found})
            if path is not None:
                print(f'interrupted; what was measured until then is in {path}', file=sys.stderr)
        raise
