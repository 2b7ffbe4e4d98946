# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla up``: bring up the graph, keep it up and show its state until Ctrl-C."""

import argparse
import os
import signal
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from efficient_vla.bringup.child import exit_text
from efficient_vla.bringup.doctor import show
from efficient_vla.bringup.graph import (
    Graph,
    ProfileError,
    describe,
    options,
    parse_overrides,
    refuse_unsecured,
    selected,
)
from efficient_vla.bringup.supervisor import Child, Event, Supervisor
from efficient_vla.claims import writable_folder
from efficient_vla.cli.options import add_overrides, policy_given
from efficient_vla.nodes.client.health_news import HealthNews
from efficient_vla.nodes.client.neighbours import refuse_neighbours
from efficient_vla.nodes.client.state_watch import StateWatch

DESCRIPTION = (
    'Bring up the graph of nodes, start again what dies, and show the state of every node. '
    'Ctrl-C ends all of it.'
)
EXAMPLE = """\
  efficient-vla up --robot so101
  efficient-vla up --robot metaworld --policy evla_nano --set reasoner.pruning.method=fastv
  efficient-vla up --policy tinyvla                       # the shape of TinyVLA, random weights
  efficient-vla up --robot xarm6.yaml --policy tinyvla=FOLDER
  efficient-vla up --robot xarm6.yaml --policy first_motion --simulate
  efficient-vla up --robot xarm6.yaml --policy FOLDER --check
  efficient-vla up --robot xarm6.yaml --policy FOLDER --dry-run"""
POLL_S = 0.1
DRAW_S = 0.5
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASKED_TO_END = (0, -signal.SIGTERM)
"""Exit codes of a node that did as it was asked, the latter while it still loaded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for name, default, text, choices in options():
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            default=default,
            choices=choices,
            help=f'{text} (default: {default or "none"})',
        )
    parser.add_argument(
        '--simulate',
        action='store_true',
        help='start a stand-in of the driver of a robot that has no simulation: its joints follow '
        'the set-points',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=[],
        metavar='NODE',
        help='start these nodes alone, such as reasoner, while the others run on another machine: '
        'docs/remote.md',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='send nothing to the robot and show the set-points on dry_run/command, short for '
        '--set controller.dry_run=true',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='start nothing; listen for 3 s and say which topics and joints come, and what is '
        'missing',
    )
    parser.add_argument(
        '--use-sim-time',
        action='store_true',
        help='take the time from /clock, which the simulated robot then publishes',
    )
    parser.add_argument(
        '--no-autostart',
        action='store_true',
        help='leave the nodes unconfigured, for a lifecycle manager of your own',
    )
    parser.add_argument(
        '--log-folder',
        type=Path,
        help='where each process writes its log (default a new folder in '
        '$ROS_LOG_DIR or ~/.ros/log)',
    )
    add_overrides(parser)
    parser.add_argument(
        '--params-file',
        action='append',
        type=Path,
        default=[],
        metavar='YAML',
        help='further parameter file, stronger than the profiles',
    )
    parser.add_argument(
        '--remap',
        action='append',
        default=[],
        metavar='FROM:=TO',
        help='a topic under another name; may be repeated',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run until a signal; return 0, or 1 when a process could not be kept running."""
    overrides = parse_overrides(arguments.overrides)
    if arguments.dry_run:
        overrides['controller.dry_run'] = True
    still = arguments.simulate or bool(overrides.get('controller.dry_run'))
    policy = policy_given(arguments.policy, arguments.robot, still)
    chosen = selected(
        {**vars(arguments), 'policy': policy},
        use_sim_time=arguments.use_sim_time,
        autostart=not arguments.no_autostart,
        overrides=overrides,
        parameter_files=tuple(arguments.params_file),
        remaps=tuple(arguments.remap),
        simulate=arguments.simulate,
        only=tuple(arguments.only),
    )
    graph = describe(chosen)
    if arguments.check:
        from efficient_vla.nodes.client.topic_check import check_topics

        return show(check_topics(graph))
    if arguments.log_folder is not None:
        writable_folder(arguments.log_folder, '--log-folder')
    refuse_unsecured(graph, os.environ)
    refused = refuse_neighbours(graph.nodes, graph.namespace)
    if refused:
        raise ProfileError(refused)
    # Handlers come first: from here on Ctrl-C ends everything in order and raises nothing.
    ended = threading.Event()
    # Under nohup the graph outlives its terminal.
    heard = [n for n in END_SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    former = {number: signal.signal(number, lambda *_: ended.set()) for number in heard}
    folder = arguments.log_folder or default_log_folder()
    supervisor = Supervisor(graph, folder)
    try:
        return _supervise(supervisor, graph, folder, ended)
    finally:
        supervisor.stop()
        for number, handler in former.items():
            signal.signal(number, handler)


def default_log_folder() -> Path:
    """Return a new folder where ROS keeps its logs."""
    home = Path(os.environ.get('ROS_HOME', Path.home() / '.ros'))
    base = Path(os.environ.get('ROS_LOG_DIR', home / 'log'))
    return base / f'efficient_vla-{time.strftime("%Y%m%d-%H%M%S")}-{os.getpid()}'


def _supervise(supervisor: Supervisor, graph: Graph, folder: Path, ended: threading.Event) -> int:
    console = Console()
    for line in (*graph.notes, f'logs: {folder}'):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    supervisor.start()
    watch = StateWatch(graph.nodes, graph.namespace)
    health = HealthNews(watch.node, graph.nodes, graph.namespace)
    live = Live(console=console, auto_refresh=False, transient=False)
    shown: dict[str, str] = {}
    draw = 0.0
    try:
        if console.is_terminal:
            live.start()
        while not ended.wait(POLL_S) and not supervisor.failed:
            for event in supervisor.poll():
                _report(console, event)
            if time.monotonic() < draw:
                continue
            draw = time.monotonic() + DRAW_S
            for news in health.news():
                style = 'green' if news.over else 'red' if news.serious else 'yellow'
                console.print(news.text, style=style, highlight=False, markup=False, soft_wrap=True)
            states = watch.states()
            if console.is_terminal:
                live.update(table(supervisor.children, states), refresh=True)
            else:
                _report_changes(console, shown, states)
            shown = states
    finally:
        live.stop()
        watch.close()
    codes = supervisor.stop()
    for name, code in codes.items():
        if code not in ASKED_TO_END:
            console.print(f'{name}: {exit_text(code)}', highlight=False)
    return 1 if supervisor.failed else 0


def _report(console: Console, event: Event) -> None:
    style = 'red' if event.serious else 'green'
    console.print(f'{event.process}: {event.text}', style=style, highlight=False)
    if event.log_tail and event.serious:
        console.print(event.log_tail, style='dim', highlight=False, markup=False)


def _report_changes(console: Console, shown: dict[str, str], states: dict[str, str]) -> None:
    for name, state in states.items():
        if shown.get(name) != state:
            console.print(f'{name}: {state}', highlight=False)


def table(children: list[Child], states: dict[str, str]) -> Table:
    """Return the state of all nodes, one row each."""
    grid = Table('node', 'state', 'process', 'pid', 'restarts', 'CPU %', 'MB', box=None)
    for child in children:
        percent, resident_mb = child.use()
        for name in child.process.nodes:
            label = states.get(name, '-') if child.phase == 'running' else child.phase
            style = {'active': 'green', 'failed': 'red', 'waiting': 'yellow'}.get(label, '')
            grid.add_row(
                name,
                f'[{style}]{label}[/]' if style else label,
                child.process.name,
                str(child.pid or ''),
                str(child.restarts),
                f'{percent:.0f}',
                f'{resident_mb:.0f}',
            )
    return grid
