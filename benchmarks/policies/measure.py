# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a policy folder here, and in LeRobot's own class, in turns."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.bench.overrides import parse_overrides
from efficient_vla.bringup.graph import SLEEPING_WORKERS
from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy_folders import FolderFacts, folder_facts

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / 'benchmarks/policies/peer.py'
REFERENCE = 'reference.npz'
TASK = 'Pick up the red cube and place it in the box.'
IMAGE_SIZE = (480, 640)
"""Of cameras of whose size the folder says nothing."""
PERCENTILES = (50, 95)
PIECE = 1 << 24
"""Bytes of a file that are read at once."""


def measure(
    folder: Path,
    repeats: int,
    peer: Path | None,
    threads: int,
    words: Sequence[str] = (),
    changed: float = 0.0,
) -> dict[str, Any]:
    """Return one row: load time, memory, time of the stages, beside those of the ``peer``.

    ``peer`` is a Python that has LeRobot, and ``words`` are parameters of a third side, ``tuned``.
    All run in processes of their own with ``threads`` and make chunks in turn, of the same
    observations, in which a share ``changed`` of each image is new every turn; the first
    ``repeats`` // 5 + 1 warm up.
    The file cache of the system holds the folder before the first of them loads.
    Raises ``CheckpointError`` where the folder cannot be loaded here, with these parameters too.
    """
    parse_overrides(words)
    folder, facts = folder.resolve(), folder_facts(folder)
    with tempfile.TemporaryDirectory() as room:
        inputs = Path(room) / 'inputs.npz'
        np.savez(inputs, **observation(folder, facts), changed=changed)
        _read_once(folder)
        given = [str(folder), str(inputs)]
        commands = {'ours': [sys.executable, '-m', 'benchmarks.policies.ours', *given]}
        if words:
            commands['tuned'] = [*commands['ours'], *words]
        if peer is not None and facts.family == 'lerobot':
            commands['peer'] = [str(peer.absolute()), str(PEER), *given]
        with contextlib.ExitStack() as stack:
            # The graph lets idle threads of torch sleep; LeRobot's class runs as it comes.
            sides = {
                name: stack.enter_context(
                    side(command, folder, threads, {} if name == 'peer' else SLEEPING_WORKERS)
                )
                for name, command in commands.items()
            }
            return _row(folder, facts, sides, repeats) | {
                'overrides': ' '.join(words),
                'changed': changed,
            }


class Side:
    """One of the two processes."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def ask(self, request: str) -> dict[str, Any]:
        """Return the answer to ``load`` or ``chunk N``."""
        try:
            self._process.stdin.write(f'{request}\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            found: dict[str, Any] = json.loads(line) if line else {'error': 'its process ended'}
        except BrokenPipeError:
            found = {'error': 'its process ended'}
        except json.JSONDecodeError:
            found = {'error': f'its process says {line.strip()[:80]!r}; expected JSON'}
        return found


@contextlib.contextmanager
def side(
    command: list[str], folder: Path, threads: int, variables: Mapping[str, str]
) -> Iterator[Side]:
    """Run one of the two, which asks no hub; ``hub`` beside the folder is its cache."""
    beside = folder.resolve().parent / 'hub'
    given = {'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': str(threads), **variables}
    if beside.is_dir():
        given['HF_HUB_CACHE'] = str(beside)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | given,
        )
    except OSError as error:
        raise UsageError(f'{command[0]} cannot be run: {error}. Name a Python.') from error
    with process:
        try:
            yield Side(process)
        finally:
            process.kill()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # of what it never read
                process.stdin.close()


def observation(folder: Path, facts: FolderFacts) -> dict[str, Any]:
    """Return what both are given: that of the folder's reference, or one that is drawn."""
    if (folder / REFERENCE).is_file():
        with np.load(folder / REFERENCE) as file:
            names = [name for name in file if name.startswith('input.')]
            return {name.removeprefix('input.'): file[name] for name in names}
    draw = np.random.default_rng(0)
    found: dict[str, Any] = {'task': np.array(TASK)}
    for camera, size in facts.cameras.items():
        rows, columns = size or facts.trained_sizes.get(camera, IMAGE_SIZE)
        cells = draw.uniform(0, 255, (rows // 8 + 1, columns // 8 + 1, 3))
        image = cells.repeat(8, 0).repeat(8, 1)[:rows, :columns].astype(np.uint8)
        found[f'observation.images.{camera}'] = image
    found['observation.state'] = draw.uniform(-1, 1, facts.state_width).astype(np.float32)
    if facts.kind in ('smolvla', 'pi0', 'pi05'):
        config = read_json(folder / 'config.json')
        shape = 1, config['chunk_size'], config.get('max_action_dim', 32)
        found['noise'] = draw.standard_normal(shape).astype(np.float32)
    return found


def _read_once(folder: Path) -> None:
    for path in folder.glob('*.safetensors'):
        with path.open('rb') as file:
            while file.read(PIECE):
                pass


def _row(
    folder: Path, facts: FolderFacts, sides: Mapping[str, Side], repeats: int
) -> dict[str, Any]:
    row: dict[str, Any] = {'folder': folder.name, 'policy_type': facts.kind, 'repeats': repeats}
    for name, one in sides.items():
        row[name] = one.ask('load')
    times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    chunks: dict[str, Any] = {}
    for turn in range(repeats + repeats // 5 + 1):
        for name, one in sides.items():
            if 'error' in row[name]:
                continue
            made = one.ask(f'chunk {turn}')
            if 'error' in made:
                row[name] = made
                continue
            chunks[name] = made['actions']
            row[name] |= {key: made[key] for key in ('resident_mb', 'peak_mb')}
            if turn > repeats // 5:
                times[name].append(made['stages'])
    for name in sides.keys() - {'peer'}:
        if 'error' in row[name]:
            raise CheckpointError(f'{folder} cannot be measured: {row[name]["error"]}')
    for name, found in times.items():
        if found and 'error' not in row[name]:
            row[name]['stages'] = {stage: _spread([t[stage] for t in found]) for stage in found[0]}
    ours = np.array(chunks['ours'], np.float32)
    scale = row['ours']['action_scale'] or np.abs(ours).max(0)
    for name, column in (('peer', 'max_error'), ('tuned', 'tuned_error')):
        if name in chunks and 'error' not in row[name]:
            theirs = np.array(chunks[name], np.float32)[: len(ours)]
            row[column] = float((np.abs(ours - theirs) / scale).max())
    for name in sides.keys() - {'peer'}:
        row[name].pop('action_scale')
    return row


def _spread(values: list[float]) -> dict[str, float]:
    """Return percentiles of times [ms]."""
    return {f'p{p}_ms': round(float(np.percentile(values, p)), 3) for p in PERCENTILES}
