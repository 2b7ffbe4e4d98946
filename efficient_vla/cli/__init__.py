# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""One command line over all of it: ``efficient-vla COMMAND``.

Each command is a module with ``DESCRIPTION``, ``EXAMPLE``, ``add_arguments(parser)`` and
``main(arguments) -> int``. Only the module of the command that was
asked for is imported, so that help is quick and nothing loads torch in vain.
"""

import argparse
import importlib
import os
import resource
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from efficient_vla import __version__, interrupts

COMMANDS = {
    'demo': 'drive the simulated arm through the demonstration tasks, with the whole graph',
    'eval': 'measure success, latencies and rates of a policy, in process or in the graph',
    'inspect': 'say what a policy folder is, and what is missing for a robot',
    'up': 'bring up the graph of nodes, supervise it and show its state',
    'serve': "offer a policy to others over openpi's websocket protocol",
    'data': 'make demonstrations from scripted experts',
    'train': 'train a policy on demonstrations',
    'compress': 'find settings that meet a budget of time and keep success',
    'new-robot': 'write the profile of an arm from its URDF',
    'doctor': 'check an installation and say what is wrong',
    'bench': 'measure single parts: stages with each technique, transport',
}
MODULES = {
    'eval': 'efficient_vla.cli.evaluate',
    'doctor': 'efficient_vla.bringup.doctor',
    'new-robot': 'efficient_vla.cli.new_robot',
}
"""Modules of the commands that are not ``efficient_vla.cli.COMMAND``."""
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = interrupts.EXIT_INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0, 1 failed, 2 wrong usage, 130 interrupted.

    SIGTERM and SIGHUP end it as Ctrl-C does, with 128 and their number.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in COMMANDS:
            return run(words[0], words[1:])
        overview().parse_args(words)
        return EXIT_USAGE
    except KeyboardInterrupt as stop:
        return interrupts.exit_code(stop)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _reader_is_gone() -> bool:
    """Return whether nobody reads our output any more, as in ``efficient-vla ... | head``."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def run(command: str, words: Sequence[str]) -> int:
    """Parse the words of one command and run it.

    Ctrl-C waits while modules load: numpy would call it a broken installation.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        module = importlib.import_module(MODULES.get(command, f'efficient_vla.cli.{command}'))
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):
            return _unless_memory(command, error)
        wanted = error.name or ''
        if wanted.partition('.')[0] == 'benchmarks' or wanted.startswith(
            ('efficient_vla.bench', 'efficient_vla.cli', 'efficient_vla.training')
        ):
            return _explain(
                command,
                'this command is not installed where a robot runs. Build the workspace with: '
                'colcon build --cmake-args -DWITH_TOOLS=ON',
                EXIT_FAILED,
            )
        if wanted.startswith('efficient_vla.'):
            raise
        return _explain(
            command,
            f'the Python module {error.name!r} is missing; `efficient-vla doctor` says '
            'how to install what this machine lacks.',
            EXIT_FAILED,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parser = Parser(
        prog=f'efficient-vla {command}',
        description=module.DESCRIPTION,
        epilog=f'example:\n{module.EXAMPLE}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    arguments = parser.parse_args(words)
    try:
        with interrupts.unwinding():
            return int(module.main(arguments) or 0)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            return _unless_memory(command, error)
        return _explain(command, str(error), code)


def _unless_memory(command: str, error: Exception) -> int:
    """Explain that memory ran out, or raise the error that is about something else."""
    said = ' '.join(str(error).split())
    if not isinstance(error, MemoryError) and not any(sign in said for sign in SHORT_OF_MEMORY):
        raise error
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    limited = '' if limit == resource.RLIM_INFINITY else f' of {limit / 1e6:.0f} MB'
    return _explain(
        command,
        f'memory ran out ({said[:200].rstrip(".") or type(error).__name__}); expected enough on '
        f'this machine, and no limit{limited} below it (ulimit -v). End other programs, raise the '
        'limit, or ask for less: fewer --workers, a smaller policy, weights in fewer bits.',
        EXIT_FAILED,
    )


def _explain(command: str, text: str, code: int) -> int:
    print(f'efficient-vla {command}: {text}', file=sys.stderr)
    return code


def exit_code(error: Exception) -> int | None:
    """Return the exit code of an error that its message explains, ``None`` of any other."""
    names = {kind.__name__ for kind in type(error).__mro__}
    codes = [code for name, code in EXPLAINED_ERRORS.items() if name in names]
    return codes[0] if codes else None


SHORT_OF_MEMORY = (
    "can't allocate memory",
    'Cannot allocate memory',
    'failed to map segment',
    'bad_alloc',
)
"""What torch, the system, its loader and C++ say of it."""
EXPLAINED_ERRORS = {
    'UsageError': EXIT_USAGE,
    'InvalidSettingError': EXIT_USAGE,
    'InvalidRecordError': EXIT_USAGE,
    'CheckpointError': EXIT_USAGE,
    'UnknownTaskError': EXIT_USAGE,
    'ProfileError': EXIT_USAGE,
    'EpisodeError': EXIT_FAILED,
    'PolicyServerError': EXIT_FAILED,
}
"""By name, since importing the modules that define them would load torch and the simulator."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without all options before it."""

    def error(self, message: str) -> NoReturn:
        """End with the sentence and where the options are explained."""
        self.exit(EXIT_USAGE, f'{self.prog}: {message}. See {self.prog} --help.\n')


def overview() -> argparse.ArgumentParser:
    """Return the parser of the bare program, which only explains the commands."""
    width = max(map(len, COMMANDS))
    lines = '\n'.join(f'  {name:<{width}}  {text}' for name, text in COMMANDS.items())
    parser = Parser(
        prog='efficient-vla',
        description='Drive a robot arm by a vision-language-action policy through ROS 2.',
        epilog=f'commands:\n{lines}\n\nexample:\n  efficient-vla demo\n  efficient-vla eval --help',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'efficient_vla {__version__}')
    parser.add_argument(
        'command',
        choices=tuple(COMMANDS),
        metavar='command',
        help='one of the commands below; each has --help with an example',
    )
    return parser
