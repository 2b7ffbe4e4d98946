# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Play recorded chunks through LeRobot's own queues; run by the Python that has LeRobot.

``python lerobot_script.py IN.npz OUT.npz``. It stands alone: nothing of efficient_vla is imported
here, and LeRobot is imported nowhere else. LeRobot's classes decide what is executed; this file is
the clock, the link that delays chunks and the stand-in for the policy.

IN holds ``chunks_I`` [T, H, A] and ``start_I`` [3] of recording I, ``draws`` [N, 2] from 0 to 1 for
each seed (``draws_S``), and ``jobs``: JSON objects with recording, method, dt, delay, jitter,
drop, in_flight, period and seed. OUT holds ``positions_J`` [T, 3], ``driven_J`` [T] and
``arrivals_J`` of job J, and ``version``.
"""

import functools
import importlib
import importlib.metadata
import json
import logging
import math
import queue
import sys
import threading
import types
from typing import Any

import numpy as np
import torch

RTC_STEPS = 10
"""Euler steps of the stand-in for a flow policy, as in SmolVLA and pi0."""
QUEUE_THRESHOLD = 30
"""Default of LeRobot's ``RTCInferenceConfig.queue_threshold``."""
CLIENT_THRESHOLD = 0.5
"""Default of LeRobot's ``RobotClientConfig.chunk_size_threshold``."""
CORRELATION_ROWS = 10.0
"""Errors of rows this far apart have the correlation exp(-1/2)."""
TOLERANCE = 1e-9


class ActionQueueRobot:
    """LeRobot's ``ActionQueue``, merged and popped as its RTC engine does."""

    def __init__(self, chunks: np.ndarray, dt: float, replace: bool, rtc: Any, limit: int) -> None:
        module = importlib.import_module('lerobot.policies.rtc.action_queue')
        tracker = importlib.import_module('lerobot.policies.rtc.latency_tracker')
        config = rtc or importlib.import_module('lerobot.policies.rtc.configuration_rtc').RTCConfig(
            enabled=replace
        )
        self._queue = module.ActionQueue(config)
        self._latency = tracker.LatencyTracker()
        self._policy = ChunkPolicy(chunks, rtc) if rtc is not None else None
        self._chunks = torch.from_numpy(chunks)
        self._dt = dt
        self._limit = limit

    def wants(self) -> bool:
        """Return whether the engine would ask for a chunk."""
        return bool(self._queue.qsize() <= self._limit)

    def ask(self, step: int) -> Any:
        """Return what must be kept until the chunk of ``step`` arrives."""
        rows = self._chunks[step]
        left_over = self._queue.get_left_over()
        if self._policy is not None and left_over is not None:
            delay = math.ceil(self._latency.max() / self._dt - TOLERANCE)
            rows = self._policy.chunk(step, left_over, delay)
        return step, rows, self._queue.get_action_index()

    def arrive(self, asked: Any, step: int) -> None:
        """Merge a chunk."""
        begun, rows, index = asked
        self._latency.add((step - begun) * self._dt)
        self._queue.merge(rows, rows, step - begun, index)

    def pop(self) -> np.ndarray | None:
        """Return the next action, or ``None``."""
        action = self._queue.get()
        return None if action is None else action.numpy()


class NormalField:
    """The velocity field of a flow policy that says recorded chunks with some spread.

    It is exact for a normal distribution around a recorded chunk (time 1: noise, 0: action), in
    units of the recording's own spread; errors of rows that are close in time go together, as those
    of a policy do.
    """

    def __init__(self, actions: torch.Tensor) -> None:
        """Take chunks [T, H, A] in whose number format all is computed."""
        self.mean = actions.mean((0, 1))
        self.std = actions.std((0, 1)) + 1e-6
        self.chunks = (actions - self.mean) / self.std
        same = self.chunks[1:, :-1] - self.chunks[:-1, 1:]  # of one time, from two frames
        variance = float(same.square().mean()) if len(actions) > 1 else 0.0
        rows = torch.arange(actions.shape[1], dtype=torch.float64)
        near = torch.exp(-0.5 * ((rows[:, None] - rows) / CORRELATION_ROWS) ** 2)
        sizes, basis = torch.linalg.eigh(variance * near)
        self._sizes = sizes.clamp(min=0).to(actions.dtype)[:, None]
        self._basis = basis.to(actions.dtype)

    def velocity(self, said: torch.Tensor, time: float, x: torch.Tensor) -> torch.Tensor:
        """Return the velocity at ``x`` around the chunk ``said`` [H, A]."""
        away = self._basis.T @ (x - (1 - time) * said)  # along the principal errors
        away = away / ((1 - time) ** 2 * self._sizes + time**2)
        return self._basis @ ((time - (1 - time) * self._sizes) * away) - said


class ChunkPolicy:
    """A flow policy around the recorded chunks, guided by ``RTCProcessor``.

    It starts from the mean of the noise, so that without guidance it returns the recorded chunk.
    """

    def __init__(self, chunks: np.ndarray, config: Any) -> None:
        module = importlib.import_module('lerobot.policies.rtc.modeling_rtc')
        self._processor = module.RTCProcessor(config)
        self._horizon = config.execution_horizon
        self._field = NormalField(torch.from_numpy(chunks))

    def chunk(self, step: int, left_over: torch.Tensor, delay: int) -> torch.Tensor:
        """Return the guided chunk of ``step``."""
        field = self._field
        said = field.chunks[step]
        kept = torch.zeros(self._horizon, said.shape[1], dtype=said.dtype)
        rows = min(len(left_over), self._horizon)
        kept[:rows] = ((left_over - field.mean) / field.std)[:rows]
        guess = torch.zeros_like(said)
        for count in range(RTC_STEPS):
            time = 1.0 - count / RTC_STEPS
            velocity = self._processor.denoise_step(
                x_t=guess,
                prev_chunk_left_over=kept,
                inference_delay=delay,
                time=time,
                original_denoise_step_partial=functools.partial(field.velocity, said, time),
            )
            guess = guess - velocity / RTC_STEPS
        return guess * field.std + field.mean


class ClientRobot:
    """LeRobot's ``RobotClient``: actions by their number, merged where two chunks have one."""

    def __init__(self, chunks: np.ndarray, dt: float, aggregate: str) -> None:
        helpers = importlib.import_module('lerobot.async_inference.helpers')
        configs = importlib.import_module('lerobot.async_inference.configs')
        client = importlib.import_module('lerobot.async_inference.robot_client')
        self._timed = helpers.TimedAction
        self._merge = client.RobotClient._aggregate_action_queues
        self._aggregate = configs.get_aggregate_function(aggregate)
        self._client = types.SimpleNamespace(
            action_queue=queue.Queue(),
            action_queue_lock=threading.Lock(),
            latest_action_lock=threading.Lock(),
            latest_action=-1,
        )
        self._chunks = torch.from_numpy(chunks)
        self._dt = dt

    def wants(self) -> bool:
        """Return whether the client would send an observation."""
        size = self._client.action_queue.qsize()
        return bool(size / self._chunks.shape[1] <= CLIENT_THRESHOLD)

    def ask(self, step: int) -> Any:
        """Return the numbered actions of the chunk of ``step``.

        The client numbers an observation by its latest action; here it is taken just before that
        action is sent, so that row 0 is the next one.
        """
        first = self._client.latest_action + 1
        return [
            self._timed(timestamp=(step + k) * self._dt, timestep=first + k, action=row)
            for k, row in enumerate(self._chunks[step])
        ]

    def arrive(self, asked: Any, step: int) -> None:
        """Merge a chunk."""
        del step
        self._merge(self._client, asked, self._aggregate)

    def pop(self) -> np.ndarray | None:
        """Return the next action, or ``None``."""
        if self._client.action_queue.empty():
            return None
        timed = self._client.action_queue.get_nowait()
        self._client.latest_action = timed.get_timestep()
        return np.asarray(timed.get_action())


def robot(method: str, chunks: np.ndarray, dt: float) -> Any:
    """Return the LeRobot side that ``method`` names."""
    kind, _, detail = method.partition(':')
    limit = min(QUEUE_THRESHOLD, chunks.shape[1])
    if kind == 'client':
        return ClientRobot(chunks, dt, detail)
    if kind == 'rtc':
        configuration = importlib.import_module('lerobot.policies.rtc.configuration_rtc')
        config = configuration.RTCConfig(execution_horizon=int(detail))
        return ActionQueueRobot(chunks, dt, True, config, limit)
    if kind == 'synchronous':
        return ActionQueueRobot(chunks, dt, False, None, 0)
    return ActionQueueRobot(chunks, dt, detail == 'replace', None, limit)


def play(job: dict[str, Any], chunks: np.ndarray, start: np.ndarray, draws: np.ndarray) -> Any:
    """Return positions [T, 3], whether an action was there [T], and steps of arrival."""
    dt = job['dt']
    side = robot(job['method'], chunks, dt)
    side.arrive(side.ask(0), 0)
    every = max(1, round(job['period'] / dt))
    own_rule = job['in_flight'] == 1
    last, requests = 0, 0
    under_way: list[tuple[float, bool, Any]] = []
    position = start.copy()
    positions, driven, arrivals = [], [], []
    for step in range(len(chunks)):
        now = step * dt
        # Before and after asking: a chunk without delay is there at once.
        for asking in (True, False):
            due = sorted((i for i in under_way if i[0] <= now + TOLERANCE), key=lambda i: i[0])
            under_way = [i for i in under_way if i[0] > now + TOLERANCE]
            for _, lost, asked in due:
                if not lost:
                    side.arrive(asked, step)
                    arrivals.append(step)
            rule = side.wants() if own_rule else step - last >= every
            if asking and step and rule and len(under_way) < job['in_flight']:
                late, lost = draws[requests]
                requests, last = requests + 1, step
                arrival = now + job['delay'] + late * job['jitter']
                under_way.append((arrival, bool(lost < job['drop']), side.ask(step)))
        action = side.pop()
        driven.append(action is not None)
        if action is not None:
            position = np.asarray(action[:3], np.float64)
        positions.append(position)
    return np.stack(positions), np.array(driven), np.array(sorted(set(arrivals)), np.int64)


def main(source: str, target: str) -> None:
    """Play all jobs."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with np.load(source, allow_pickle=False) as data:
        given = {name: data[name] for name in data.files}
    found: dict[str, Any] = {'version': np.array(importlib.metadata.version('lerobot'))}
    for number, text in enumerate(given['jobs']):
        job = json.loads(str(text))
        recording = job['recording']
        positions, driven, arrivals = play(
            job,
            given[f'chunks_{recording}'],
            given[f'start_{recording}'],
            given[f'draws_{job["seed"]}'],
        )
        found[f'positions_{number}'] = positions
        found[f'driven_{number}'] = driven
        found[f'arrivals_{number}'] = arrivals
    np.savez(target, **found)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2])
