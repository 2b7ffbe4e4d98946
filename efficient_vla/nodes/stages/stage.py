# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What perception, reasoner and actor share: policy folder, worker thread, statistics."""

import gc
import math
import sys
import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from rclpy.task import Future
from sensor_msgs.msg import JointState

from efficient_vla import msg, srv
from efficient_vla.bringup.settings import PolicyNodeSettings
from efficient_vla.nodes.base.conversions import joint_values, seconds_to_stamp, stamp_to_seconds
from efficient_vla.nodes.base.history import Pace
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import offer_liveliness
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.base.scheduling import apply_niceness
from efficient_vla.nodes.stages.cameras import refuse_future
from efficient_vla.places import policy_folder
from efficient_vla.settings import InvalidSettingError
from efficient_vla.statistics import LatencyWindow, RateMeter, resident_mb
from efficient_vla.types import InvalidRecordError
from efficient_vla.worker import LatestWorker

Settings = TypeVar('Settings', bound=PolicyNodeSettings)
Job = TypeVar('Job')

STOP_TIMEOUT_S = 5.0
"""A pass that takes longer is left behind on its thread when the node ends."""
ACCEPT_TIMEOUT_S = 10.0
"""New settings wait so long for the end of the pass under way, then they are refused."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass of a stage did, for its statistics."""

    stamp: float
    """Capture time of the frame [s]."""
    latency_ms: float
    transport_ms: float
    tokens_total: int = 0
    tokens_kept: int = 0
    tokens_reused: int = 0
    oldest_age_s: float = 0.0
    """Of the reused tokens."""
    refresh_reason: str = ''
    reason: str = ''
    """Why tokens were kept or dropped."""
    saved_ms: float = math.nan

    @property
    def hit_rate(self) -> float:
        """Share of the tokens that was reused; NaN where there are none."""
        return self.tokens_reused / self.tokens_total if self.tokens_total else math.nan


class StageNode(ManagedNode[Settings], Generic[Settings, Job]):
    """A node around one stage of a policy, which runs on a worker thread.

    A node fills in ``load`` (return the stage), ``connect`` and ``disconnect`` (publishers and
    subscriptions), ``work`` (one pass, on the worker thread) and ``method``.
    """

    stage_constant = msg.EfficiencyStats.STAGE_UNKNOWN

    def __init__(self, name: str, kind: type[Settings], **options: Any) -> None:
        self.stage: Any = None
        self.epoch = 0
        """Of the caches; it rises when they are emptied."""
        self._worker: LatestWorker[Job] | None = None
        self._latency = LatencyWindow()
        self._rate = RateMeter()
        self._last: Pass | None = None
        self._pace = Pace()
        super().__init__(name, kind, **options)
        self.applied: Settings = self.settings
        """What the stage works with; for the worker thread, where the settings come later."""
        offer_liveliness(self)
        self._efficiency = self.create_lifecycle_publisher(
            msg.EfficiencyStats, 'efficiency', report_qos()
        )

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Return the stage of the policy in ``folder``."""

    def connect(self) -> None:
        """Make publishers and subscriptions."""

    def disconnect(self) -> None:
        """Destroy publishers and subscriptions."""

    @abstractmethod
    def work(self, job: Job) -> None:
        """Do one pass; on the worker thread."""

    def method(self) -> str:
        """Return the active techniques in words."""
        return ''

    def set_niceness(self) -> None:
        """Leave the thread of the executor as it is: only inference shall yield to others."""

    def setup(self) -> None:
        """Load the policy and start the worker thread."""
        settings = self.applied = self.settings
        self.stage = self.load(policy_folder(settings.policy))
        self._worker = LatestWorker(self.get_name(), self._guarded_work, self._pass_failed)
        use_threads(settings.threads)
        # OpenMP keeps its number of threads, and Linux the niceness, for each thread by itself.
        self._worker.call(lambda: use_threads(settings.threads))
        self._worker.call(lambda: apply_niceness(settings.nice, self.health))
        self.connect()

    def start(self) -> None:
        """Count anew."""
        self._latency = LatencyWindow()
        self._rate = RateMeter()
        self._last = None
        self._pace.reset()
        if self._worker is not None:
            self._worker.dropped = 0

    def stop(self) -> None:
        """Forget the job that waits; publishers are silent while the node is not active."""
        if self._worker is not None:
            self._worker.discard()

    def teardown(self) -> None:
        """Free the policy."""
        self.disconnect()
        if self._worker is not None and not self._worker.stop(STOP_TIMEOUT_S):
            self.get_logger().warning(
                f'a pass still runs after {STOP_TIMEOUT_S} s; its memory stays taken'
            )
        self._worker = None
        self.stage = None
        gc.collect()

    def accept(self, settings: Settings) -> None:
        """Hand new settings to the stage between two passes; what it refuses is refused.

        Waiting for the pass under way costs no plan: what arrives meanwhile waits for it too.
        """
        worker, stage = self._worker, self.stage
        if worker is None or not hasattr(stage, 'configure'):
            return

        def configure() -> None:
            try:
                stage.configure(settings)
            except Exception:
                # Also where it took a part of them before it found the rest wanting.
                stage.configure(self.applied)
                raise
            self.applied = settings

        try:
            worker.ask(configure, ACCEPT_TIMEOUT_S)
        except (InvalidSettingError, InvalidRecordError):
            raise
        except TimeoutError as error:
            raise InvalidSettingError(f'{error}; nothing is changed. Set it again.') from error
        except Exception as error:
            raise InvalidSettingError(
                f'the policy failed with these settings: {type(error).__name__}: {error}. '
                'The earlier ones hold.'
            ) from error

    def flush(self, reason: str) -> None:
        """Make the stage forget earlier frames."""
        self._pace.reset()
        if self._worker is not None and self.stage is not None:
            stage = self.stage
            self._worker.discard()
            self._worker.call(lambda: stage.reset(reason))

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows of the stage."""
        p50, p95, _ = self._latency.percentiles()
        values = {
            'policy': self.settings.policy,
            'method': self.method(),
            'passes': self._latency.count,
            'dropped': self._worker.dropped if self._worker is not None else 0,
            'rate_hz': self._rate.rate(),
            'latency_p50_ms': p50,
            'latency_p95_ms': p95,
            'parameters_mb': float(getattr(self.stage, 'parameters_mb', 0.0)),
        }
        last = self._last
        if last is not None and last.tokens_total:
            values |= {
                'tokens_kept': last.tokens_kept,
                'tokens_reused': last.tokens_reused,
                'tokens_dropped': last.tokens_total - last.tokens_kept,
                'hit_rate': last.hit_rate,
                'oldest_age_s': last.oldest_age_s,
                'refresh_reason': last.refresh_reason,
                'reason': last.reason,
                'saved_ms': last.saved_ms,
            }
        return values

    def offer_reset(self) -> None:
        """Offer the service that empties the caches of the stage."""
        self.create_service(srv.ResetCaches, '~/reset_caches', self._reset_caches)

    def robot_state(self, message: JointState) -> tuple[np.ndarray, float] | None:
        """Return the state float32 [S] in the policy's order and its stamp [s].

        ``None`` while the node is not active, and for a message that is refused, as an error of
        the node's health.
        """
        if not self.active or self.stage is None:
            return None
        now = self.seconds()
        try:
            values = joint_values(message, self.stage.state_names)
            stamp = stamp_to_seconds(message.header.stamp)
            refuse_future('robot state', stamp, now, self.settings.max_future)
        except InvalidRecordError as error:
            self.health.error('state', str(error))
            return None
        self.health.clear('state')
        return values.astype(np.float32), stamp

    def submit(self, job: Job) -> None:
        """Run a pass on ``job`` as soon as the one that runs now is over."""
        if self._worker is not None and self.active:
            self._worker.submit(job)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no pass runs or waits; return whether that happened in time."""
        return self._worker is None or self._worker.wait_idle(timeout)

    def publish_pass(self, done: Pass) -> None:
        """Publish the statistics of one pass; on the worker thread."""
        self._last = done
        self._latency.add(done.latency_ms)
        self._rate.tick()
        p50, p95, p99 = self._latency.percentiles()
        message = msg.EfficiencyStats(
            stage=self.stage_constant,
            method=self.method(),
            tokens_total=done.tokens_total,
            tokens_kept=done.tokens_kept,
            tokens_reused=done.tokens_reused,
            hit_rate=done.hit_rate,
            oldest_age_s=done.oldest_age_s,
            latency_ms=done.latency_ms,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            latency_p99_ms=p99,
            saved_ms=done.saved_ms,
            transport_ms=done.transport_ms,
            rate_hz=self._rate.rate(),
            age_ms=(self.get_clock().now().nanoseconds * 1e-9 - done.stamp) * 1e3,
            parameters_mb=float(getattr(self.stage, 'parameters_mb', 0.0)),
            resident_mb=resident_mb(),
            count=self._latency.count,
            dropped=self._worker.dropped if self._worker is not None else 0,
            refresh_reason=done.refresh_reason,
            reason=done.reason,
        )
        message.header.stamp = seconds_to_stamp(done.stamp)
        self._efficiency.publish(message)

    async def _reset_caches(
        self, request: srv.ResetCaches.Request, response: srv.ResetCaches.Response
    ) -> srv.ResetCaches.Response:
        await self._reset_stage(request.reason or 'requested')
        response.success = self.stage is not None
        response.message = 'caches are empty' if response.success else 'node is not configured'
        self.epoch += int(response.success)
        response.epoch = self.epoch
        return response

    async def _reset_stage(self, reason: str) -> None:
        """Empty the caches between two passes, without blocking the executor."""
        worker, stage = self._worker, self.stage
        if worker is None or stage is None:
            return
        executor = self.executor
        done: Future = Future(executor=executor)

        def reset() -> None:
            try:
                stage.reset(reason)
            finally:
                done.set_result(None)
                executor.wake()

        worker.call(reset)
        await done

    def _guarded_work(self, job: Job) -> None:
        if not self.active:
            return
        self.work(job)
        self.health.clear('pass')

    def _pass_failed(self, error: Exception) -> None:
        # The context ends while a pass is under way; that is no error of the pass.
        if self.context.ok():
            self.failed('pass', error)
            # The same input may come again, as from a robot in lockstep.
            self._pace.reset()


def use_threads(count: int) -> None:
    """Limit the threads of torch, where a policy uses it."""
    torch = sys.modules.get('torch')
    if torch is not None:
        torch.set_num_threads(count)


def timed(begin: float) -> float:
    """Return the milliseconds since ``begin``, a value of ``time.perf_counter``."""
    return (time.perf_counter() - begin) * 1e3
