# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What perception, reasoner and actor share: policy folder, worker thread, statistics."""

import gc
import math
import sys
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from rclpy.qos import QoSProfile
from rclpy.task import Future

from efficient_vla import msg, srv
from efficient_vla.bringup.settings import PolicyNodeSettings
from efficient_vla.nodes.base.efficiency import efficiency_message
from efficient_vla.nodes.base.history import Pace
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.liveliness import offer_liveliness
from efficient_vla.nodes.base.qos import report_qos
from efficient_vla.nodes.base.scheduling import apply_niceness
from efficient_vla.nodes.base.waiting import Expectation
from efficient_vla.nodes.stages.cameras import Cameras
from efficient_vla.places import PolicyPlace, policy_place
from efficient_vla.settings import InvalidSettingError
from efficient_vla.stages import Stage
from efficient_vla.statistics import LatencyWindow, RateMeter
from efficient_vla.types import InvalidRecordError
from efficient_vla.worker import LatestWorker

Settings = TypeVar('Settings', bound=PolicyNodeSettings)
Job = TypeVar('Job')
PolicyStage = TypeVar('PolicyStage', bound=Stage)
Made = TypeVar('Made')

STOP_TIMEOUT_S = 5.0
"""A pass that takes longer is left behind on its thread when the node ends."""
ACCEPT_TIMEOUT_S = 10.0
"""New settings wait so long for the end of the pass under way and for being applied, then they are
refused."""
SIGNALS_WANTED = 'visual_tokens/signals_wanted'
"""A reasoner subscribes to this while its settings need ``perception.signals``."""
EXIT_HUNG = 3
"""Exit code of a process whose worker hangs; starting it again helps."""


class Pass(NamedTuple):
    """What one pass of a stage made, and did, for its statistics."""

    stamp: float
    """Capture time of the frame [s]."""
    transport_ms: float
    message: Any = None
    """What is published; ``None`` where nothing is."""
    tokens_total: int = 0
    tokens_kept: int = 0
    tokens_reused: int = 0
    oldest_age_s: float = 0.0
    """Of the reused tokens."""
    refresh_reason: str = ''
    reason: str = ''
    """Why tokens were kept or dropped."""
    saved_ms: float = math.nan

    def values(self) -> dict[str, Any]:
        """Return what statistics and diagnostics have in common."""
        names = ('tokens_kept', 'tokens_reused', 'oldest_age_s', 'refresh_reason', 'reason')
        total = self.tokens_total
        return {
            **{name: getattr(self, name) for name in names},
            'hit_rate': self.tokens_reused / total if total else math.nan,
            'saved_ms': self.saved_ms,
        }


class StageNode(ManagedNode[Settings], Generic[Settings, Job, PolicyStage]):
    """A node around one stage of a policy, which runs on a worker thread.

    A node fills in ``load`` (return the stage), ``connect`` (what the loaded stage looks at, by
    ``follow`` and ``Cameras``), ``work`` (one pass, on the worker thread), ``method``, and
    ``_output``, the publisher of what ``work`` makes.
    """

    stage_constant = msg.EfficiencyStats.STAGE_UNKNOWN
    epoch = 0
    """Of the tokens; only perception makes some."""

    def __init__(self, name: str, kind: type[Settings], **options: Any) -> None:
        self.stage: PolicyStage | None = None
        self.took_ms = 0.0
        """What the newest pass of the stage took."""
        self._sequence = 0
        self._output: Any = None
        self._worker: LatestWorker[Job] | None = None
        self._latency = LatencyWindow()
        self._rate = RateMeter()
        self._last: Pass | None = None
        self._pace = Pace()
        self._cameras: Cameras | None = None
        self._followed: list[tuple[Any, Expectation]] = []
        self._device_lost = False
        super().__init__(name, kind, **options)
        self.applied: Settings = self.settings
        """What the stage works with; for the worker thread, where the settings come later."""
        offer_liveliness(self)
        self._efficiency = self.create_lifecycle_publisher(
            msg.EfficiencyStats, 'efficiency', report_qos()
        )

    @property
    def loaded(self) -> PolicyStage:
        """The stage of a node that is configured."""
        assert self.stage is not None
        return self.stage

    @property
    def _engine(self) -> Any:
        """What is known of the engine of the stage, ``None`` of torch."""
        return getattr(self.stage, 'engine', None)

    @abstractmethod
    def load(self, place: PolicyPlace) -> PolicyStage:
        """Return the stage of the policy in a folder or of a server."""

    def connect(self) -> None:
        """Subscribe to what the stage looks at, until it is freed."""

    def follow(
        self,
        kind: type,
        topic: str,
        qos: QoSProfile,
        received: Callable[..., None],
        needed: Callable[[], bool],
        required: bool = True,
    ) -> Expectation:
        """Subscribe and wait for messages, as ``Expectation`` says, until the policy is freed."""
        expected = self.waiting.expect(topic, kind, qos, needed=needed, required=required)
        self._followed.append((self.create_subscription(kind, topic, received, qos), expected))
        return expected

    @abstractmethod
    def work(self, job: Job) -> Pass | None:
        """Do one pass, on the worker thread; ``None`` where it was superseded meanwhile."""

    def method(self) -> str:
        """Return the active techniques in words."""
        return ''

    def set_niceness(self) -> None:
        """Leave the thread of the executor as it is: only inference shall yield to others."""

    def setup(self) -> None:
        """Load the policy and start the worker thread."""
        settings = self.applied = self.settings
        # What executes the stage takes the number of threads while it is loaded.
        use_threads(settings.threads)
        self.stage = self.load(policy_place(settings.policy))
        if self._engine is not None:
            self.get_logger().info(str(self._engine))
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
        self._sequence = 0
        self._pace.reset()
        if self._worker is not None:
            self._worker.dropped = 0

    def stop(self) -> None:
        """Forget the job that waits; publishers are silent while the node is not active."""
        if self._worker is not None:
            self._worker.discard()

    def teardown(self) -> None:
        """Free the policy."""
        self._cameras = None
        while self._followed:
            subscription, expected = self._followed.pop()
            self.destroy_subscription(subscription)
            self.waiting.forget(expected)
        patience = 0.0 if self.exit_code else STOP_TIMEOUT_S
        if self._worker is not None and not self._worker.stop(patience):
            self.get_logger().warning(
                f'a pass still runs after {patience} s; its memory stays taken'
            )
        self._worker = None
        self.stage = None
        gc.collect()

    def accept(self, settings: Settings) -> None:
        """Hand new settings to the stage between two passes; what it refuses is refused.

        Waiting for the pass under way costs no plan: what arrives meanwhile waits for it too.
        """
        worker, stage = self._worker, self.stage
        if worker is None or stage is None:
            return

        earlier = self.applied

        def restore() -> None:
            stage.configure(earlier)
            self.applied = earlier

        def configure() -> None:
            try:
                stage.configure(settings)
            except Exception:
                # Also where it took a part of them before it found the rest wanting.
                restore()
                raise
            self.applied = settings

        try:
            worker.ask(configure, ACCEPT_TIMEOUT_S)
        except (InvalidSettingError, InvalidRecordError):
            raise
        except TimeoutError as error:
            # Should it end yet, what the parameters say holds nevertheless.
            worker.call(restore)
            raise InvalidSettingError(f'{error}; nothing is changed. Set it again.') from error
        except Exception as error:
            raise InvalidSettingError(
                f'the policy failed with these settings: {type(error).__name__}: {error}. '
                'The earlier ones hold.'
            ) from error

    def flush(self, reason: str) -> None:
        """Make the stage forget earlier frames."""
        self._pace.reset()
        if self._cameras is not None:
            self._cameras.clear()
        if self._worker is not None:
            stage = self.loaded
            self._worker.discard()
            self._worker.call(lambda: stage.reset(reason))

    def look(self) -> None:
        """End the process where its worker hangs; no thread can be ended from outside.

        Where the GPU is lost, nothing can be computed on it in this process any more.
        """
        if self._device_lost and not self.exit_code:
            self._device_lost = False
            if self.settings.device_lost == 'cpu':
                self._reload_on_cpu()
            else:
                self.publish_diagnostics()
                self.exit_code = EXIT_HUNG
        limit, worker = self.settings.pass_timeout, self._worker
        if worker is not None and 0 < limit < worker.busy_s and not self.exit_code:
            what = 'a pass' if worker.in_pass else 'a reset or a change of settings'
            self.health.error(
                'hang',
                f'{what} has not ended after pass_timeout {limit} s; the process ends with code '
                f'{EXIT_HUNG}, to be started again.',
            )
            self.publish_diagnostics()
            self.exit_code = EXIT_HUNG
        super().look()

    def _reload_on_cpu(self) -> None:
        active = self.active
        if active:
            self.trigger_deactivate()
        self.trigger_cleanup()
        self._parameters_of_node.fix(device='cpu')
        self.trigger_configure()
        if not self.configured:
            self.publish_diagnostics()
            self.exit_code = EXIT_HUNG
            return
        if active:
            self.trigger_activate()
        self.health.warn('device', 'the GPU was lost; this stage computes on the CPU since then')

    def report(self) -> dict[str, Any]:
        """Return what /diagnostics shows of the stage."""
        p50, p95, _ = self._latency.percentiles()
        values = {
            'policy': self.settings.policy,
            'method': self.method(),
            'passes': self._latency.count,
            'rate_hz': self._rate.rate(),
            'latency_p50_ms': p50,
            'latency_p95_ms': p95,
            **self._counts(),
        }
        if self._engine is not None:
            values |= {'engine': self._engine.engine, 'engine_error': self._engine.error}
        last = self._last
        if last is not None and last.tokens_total:
            values |= last.values() | {'tokens_dropped': last.tokens_total - last.tokens_kept}
        return values

    def offer_reset(self) -> None:
        """Offer the service that empties the caches of the stage."""
        self.create_service(srv.ResetCaches, '~/reset_caches', self._reset_caches)

    def submit(self, job: Job) -> None:
        """Run a pass on ``job`` as soon as the one that runs now is over."""
        if self._worker is not None and self.active:
            self._worker.submit(job)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no pass runs or waits; return whether that happened in time."""
        return self._worker is None or self._worker.wait_idle(timeout)

    def timed(self, function: Callable[..., Made], *arguments: Any) -> Made:
        """Return the result of the stage's pass, whose latency this measures."""
        begin = time.perf_counter()
        made = function(*arguments)
        self.took_ms = (time.perf_counter() - begin) * 1e3
        return made

    def _publish(self, done: Pass) -> None:
        """Publish what a pass made, and its statistics; on the worker thread."""
        self._last = done
        self._latency.add(self.took_ms)
        self._rate.tick()
        if done.message is not None:
            done.message.latency_ms = self.took_ms
            if hasattr(done.message, 'sequence'):
                self._sequence += 1
                done.message.sequence = self._sequence
            self._output.publish(done.message)
        statistics = efficiency_message(
            self.stage_constant,
            self.method(),
            self._latency,
            self._rate.rate(),
            done.stamp,
            tokens_total=done.tokens_total,
            transport_ms=done.transport_ms,
            age_ms=(self.now() - done.stamp) * 1e3,
            **self._counts(),
            **done.values(),
        )
        self._efficiency.publish(statistics)

    async def _reset_caches(
        self, request: srv.ResetCaches.Request, response: srv.ResetCaches.Response
    ) -> srv.ResetCaches.Response:
        """Empty the caches between two passes, without blocking the executor."""
        worker, stage = self._worker, self.stage
        response.message = 'node is not configured'
        if worker is not None and stage is not None:
            executor = self.executor
            done: Future = Future(executor=executor)

            def reset() -> None:
                try:
                    stage.reset(request.reason or 'requested')
                finally:
                    done.set_result(None)
                    executor.wake()

            worker.call(reset)
            await done
            response.success, response.message = True, 'caches are empty'
        response.epoch = self.epoch
        return response

    def _counts(self) -> dict[str, Any]:
        worker, stage = self._worker, self.stage
        return {
            'dropped': worker.dropped if worker else 0,
            'parameters_mb': stage.parameters_mb if stage else 0.0,
        }

    def _guarded_work(self, job: Job) -> None:
        if not self.active:
            return
        done = self.work(job)
        # All that is known of the pass holds before somebody hears of it.
        for rule in ('pass', OUT_OF_MEMORY):
            self.health.clear(rule)
        if done is not None:
            self._publish(done)

    def _pass_failed(self, error: Exception) -> None:
        # The context ends while a pass is under way; that is no error of the pass.
        if self.context.ok():
            # The same input may come again, as from a robot in lockstep, and at once.
            self._pace.reset()
            rule = device_fault(error)
            self._device_lost = self._device_lost or rule == DEVICE_LOST
            if rule == OUT_OF_MEMORY:
                free_memory()
            self.failed(rule or 'pass', error)


OUT_OF_MEMORY, DEVICE_LOST = 'out_of_memory', 'device_lost'


def device_fault(error: Exception) -> str:
    """Return the rule of an error of the device that computes, or '' for any other error."""
    torch = sys.modules.get('torch')
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if torch is None:
        return ''
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return OUT_OF_MEMORY
    lost = isinstance(error, getattr(torch, 'AcceleratorError', ()))
    return DEVICE_LOST if lost or 'CUDA error' in str(error) else ''


def free_memory() -> None:
    """Give back what is kept for later, so that the next pass may fit."""
    gc.collect()
    torch = sys.modules.get('torch')
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def use_threads(count: int) -> None:
    """Limit the threads of torch, where a policy uses it."""
    torch = sys.modules.get('torch')
    if torch is not None:
        torch.set_num_threads(count)
