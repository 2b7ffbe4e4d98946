# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own class as a policy of our loop: it runs in the peer's Python, behind a pipe."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.roundtrip.train import environment
from efficient_vla.errors import CheckpointError
from efficient_vla.passthrough import (
    PassthroughActor,
    PassthroughCard,
    PassthroughPerception,
    PassthroughReasoner,
)
from efficient_vla.policy import Policy
from efficient_vla.sim.interface import Simulation
from efficient_vla.types import ActionChunk, ControlMode, Frame, Plan

SERVER = Path(__file__).with_name('lerobot_server.py')


class LeRobotPeer:
    """The process that holds LeRobot's policy."""

    def __init__(self, process: 'subprocess.Popen[bytes]') -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout
        self.about, _ = self._read()

    def chunk(self, task: str, frame: Frame, seed: int) -> np.ndarray:
        """Return LeRobot's chunk [H, A] for a frame; ``seed`` decides about its noise."""
        images = {name: list(image.shape[:2]) for name, image in frame.images.items()}
        pixels = b''.join(image.tobytes() for image in frame.images.values())
        state = [float(value) for value in frame.state]
        said = {'task': task, 'state': state, 'images': images, 'seed': seed, 'bytes': len(pixels)}
        self._in.write(json.dumps(said).encode() + b'\n' + pixels)
        self._in.flush()
        answer, content = self._read()
        return np.frombuffer(content, np.float32).reshape(answer['shape'])

    def _read(self) -> tuple[dict[str, Any], bytes]:
        line = self._out.readline()
        if not line:
            raise CheckpointError(
                'the process with LeRobot has ended: it said why above. Name a Python that has '
                'LeRobot 0.6.1, and the folder and hub cache that it trained with.'
            )
        message = json.loads(line)
        return message, self._out.read(message['bytes'])


@contextmanager
def serving(python: str, folder: Path, hub: Path) -> Iterator[LeRobotPeer]:
    """Start LeRobot with a policy folder, and end it with the block."""
    process = subprocess.Popen(
        [python, str(SERVER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(hub, threads=1),
    )
    try:
        yield LeRobotPeer(process)
    finally:
        process.kill()
        process.wait()


class PeerActor(PassthroughActor):
    """Asks the peer for the rows that LeRobot executes of its chunk."""

    def __init__(
        self,
        peer: LeRobotPeer,
        card: PassthroughCard,
        settings: Any,
        simulation: Simulation,
        seed: int,
    ) -> None:
        super().__init__(card, settings)
        self.needs_image = True
        self._peer, self._seed = peer, seed
        self._names, self._efforts = simulation.command_names, simulation.effort_names

    def chunk(self, plan: Plan, frame: Frame) -> ActionChunk:
        """Return the chunk of this frame and of the plan's sentence."""
        self._sequence += 1
        rows = self._peer.chunk(plan.instruction, frame, self._seed + self._sequence)
        efforts = np.isin(self._names, self._efforts)
        rows = np.where(efforts, np.clip(rows, -1.0, 1.0), rows)  # as the simulator takes them
        return ActionChunk(
            actions=rows[: self._peer.about['rows']],
            dt=self._card.dt,
            names=self._names,
            control_mode=ControlMode.EE_DELTA,
            stamp=frame.stamp,
            sequence=self._sequence,
            plan_sequence=plan.sequence,
            plan_stamp=plan.stamp,
            plan_valid_for=plan.valid_for,
            instruction=plan.instruction,
        )


def stand_in(
    peer: LeRobotPeer, simulation: Simulation, settings: Mapping[str, Any], seed: int
) -> Policy:
    """Return the peer as a policy, whose plans carry nothing but the sentence.

    ``seed`` is that of its first chunk; every chunk takes the next.
    """
    card = PassthroughCard(
        cameras=(simulation.camera,), state_names=simulation.state_names, dt=simulation.period
    )
    return Policy(
        PassthroughPerception(card, settings['perception']),
        PassthroughReasoner(card, settings['reasoner']),
        PeerActor(peer, card, settings['actor'], simulation, seed),
    )
