# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the driver of the robot says back, and what follows from it.

Topics are those of ros2_control and of the driver of a UR; which ones there are the parameters
``driver`` say. A fault stops the controller, latched. A driver that is silent, or that says that
the robot goes at no speed, makes it hold, and it starts again from where the robot is. So does one
that has not moved since motion began: its states are here before it hears of trajectories.
"""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64

from efficient_vla.bringup.settings import ControllerNodeSettings
from efficient_vla.columns import GRIPPER
from efficient_vla.nodes.base.bounded import Inlet, publisher_name
from efficient_vla.nodes.base.conversions import joint_values, stamp_to_seconds
from efficient_vla.nodes.base.qos import latched_qos, state_qos
from efficient_vla.types import InvalidRecordError

MAX_BYTES = 16 * 1024
SLOWEST = 0.01
"""A robot that goes at a smaller share of its speed stands."""
GIVEN_UP_S = 0.15
"""A reference that is off for so long is not on its way."""
DEAF, UNMOVED = 0.03, 1e-3
"""How far it may be behind before it has moved, further than the second [rad or m]."""
DEAF_S, PAUSE_S = 10.0, 0.5
"""So long a driver that takes no trajectories is waited for, with a pause before each try [s]."""
TWICE_S = 1.0
"""After two drivers were heard at once, nothing moves for so long."""
SENT_S = 0.05
"""A message may take so long from here to the driver [s]."""
SAFE = {'safety_mode': {1: 'normal', 2: 'reduced'}, 'robot_mode': {7: 'running'}}
"""Modes of a UR in which it follows (ur_dashboard_msgs)."""
MESSAGES = {'safety_mode': 'SafetyMode', 'robot_mode': 'RobotMode'}


class DriverFeedback:
    """Hears what ``settings.driver`` names, by ``inlet`` of ``node``.

    ``setpoints`` returns those that were sent from one time to another [K, M], ``None`` where the
    robot need not follow; ``read_stamp`` turns a stamp into a time of motion [s]; ``late`` is the
    time from a set-point to that at which the robot is to be there [s].
    """

    def __init__(
        self,
        node: Any,
        inlet: Inlet,
        setpoints: Callable[[float, float], np.ndarray | None],
        read_stamp: Callable[[float, float], float],
        late: float,
    ) -> None:
        self._node = node
        self._setpoints = setpoints
        self._read_stamp = read_stamp
        self._late = late + SENT_S
        self.share = 1.0
        """Share of its speed at which the robot goes."""
        self._heard: dict[str, float] = {}
        """Topic that comes all the time -> when it last came [s]."""
        self._publishers: dict[str, bytes] = {}
        self._earlier: dict[str, bytes] = {}
        """Publisher before that one."""
        self._twice: dict[str, tuple[float, str]] = {}
        """When two were last seen to publish at once [s], in words."""
        self._reference: np.ndarray | None = None
        """Where the driver wants the arm's axes to be."""
        self._once: list[str] = []
        """Topics on which a driver speaks only where what it says changes."""
        self._said: dict[str, tuple[bytes, float]] = {}
        """Such a topic -> who of the driver that is there spoke on it, and since when [s]."""
        self._unsaid: dict[str, tuple[bytes, float]] = {}
        """What was said by one that was there before."""
        self._faults: dict[str, str] = {}
        """Rule -> fault that lasts until the driver says otherwise."""
        self._given_up = ''
        """Why what was sent is not followed."""
        self._right = -math.inf
        """When the reference was last where it was to be [s]."""
        self._began = -math.inf
        self._first: np.ndarray | None = None
        """The reference when motion began, ``None`` once it has moved or where there is none."""
        self._deaf: tuple[float, float, str] | None = None
        """Since when it takes no trajectories, when it is tried again [s], and in words."""
        self.gone = False
        """Whether the driver was silent, and the robot may be elsewhere since."""
        self.lost = -math.inf
        """When it was last silent [s]: what the robot said before may not hold any more."""
        settings = self._settings
        names = dict(word.split(':=') for word in settings.driver.joint_names)
        moved = [name for name in settings.names if name != GRIPPER]
        self._arm = [k for k, name in enumerate(moved) if name != settings.gripper_axis]
        """Places of the arm's axes among all axes."""
        self._joints = tuple(names.get(moved[k], moved[k]) for k in self._arm)
        if not settings.dry_run and settings.output != 'command':
            self._hear(inlet)

    def _hear(self, inlet: Inlet) -> None:
        driver = self._settings.driver
        if driver.program_running:
            self._once.append(driver.program_running)
            inlet.subscribe(
                Bool, driver.program_running, self._program, latched_qos(), MAX_BYTES, own=False
            )
        for rule in SAFE:
            topic = getattr(driver, rule)
            if topic:
                self._hear_mode(inlet, rule, topic)
        if driver.speed_scaling:
            self._heard[driver.speed_scaling] = -math.inf
            inlet.subscribe(
                Float64, driver.speed_scaling, self._speed, state_qos(), MAX_BYTES, own=False
            )
        if driver.observe_controller:
            from control_msgs.msg import JointTrajectoryControllerState

            topic = f'{driver.controller}/controller_state'
            self._heard[topic] = -math.inf
            inlet.subscribe(
                JointTrajectoryControllerState,
                topic,
                self._state,
                state_qos(),
                MAX_BYTES,
                own=False,
            )

    @property
    def fault(self) -> str | None:
        """Why the robot must be stopped, until a person saw to it."""
        return self.lasting or self._given_up or None

    @property
    def lasting(self) -> str | None:
        """Why the robot must not be enabled, until its driver says otherwise."""
        return next(iter(self._faults.values()), None)

    def hold(self, now: float) -> str | None:
        """Return why nothing may move for now, or ``None``."""
        timeout = self._settings.driver.timeout
        for topic, heard in self._heard.items():
            if now - heard > timeout:
                self.lose(now)
                return (
                    f'{topic} has been silent for longer than driver.timeout {timeout} s. Is the '
                    'driver of the robot running?'
                )
        for since, text in self._twice.values():
            if 0 <= now - since <= TWICE_S:
                return text
        for topic in self._once:
            if topic not in self._said:
                self.lose(now)
                return (
                    f'{topic} has been silent since the driver of the robot was started. Is the '
                    'driver running, and the program on the robot?'
                )
        if self._deaf and now < self._deaf[1]:
            self.lose(now)
            return self._deaf[2]
        if self.share < SLOWEST:
            return (
                f'{self._settings.driver.speed_scaling} says that the robot goes at '
                f'{100 * self.share:.3g} % of its speed. Raise its speed slider.'
            )
        return None

    def look(self) -> None:
        """Forget what was said once on a topic where nobody is any more."""
        count = self._node.count_publishers
        self._said = {topic: said for topic, said in self._said.items() if count(topic)}

    def lose(self, now: float) -> None:
        """Take note that the driver is not there."""
        self.gone, self.lost, self._reference = True, now, None

    def turns(self, held: np.ndarray | None, reported: np.ndarray) -> np.ndarray:
        """Return angles [M] in whose turns the driver counts joints without an end.

        That is its own reference, where it tells one; else ``held`` [M], what it was sent, unless
        it was started anew since, and else what the robot ``reported`` [M].
        """
        found = reported if held is None or self.gone else held
        if self._reference is not None:
            found = found.copy()
            found[self._arm] = self._reference
        return found

    def clock_jumped(self, now: float) -> None:
        """Let no time be later than ``now``, to which the clock of a simulator jumped back."""
        self._heard = {topic: min(heard, now) for topic, heard in self._heard.items()}
        self._said = {topic: (who, min(at, now)) for topic, (who, at) in self._said.items()}
        self._began, self._right = min(self._began, now), min(self._right, now)
        self._deaf = None
        self.lost = min(self.lost, now)

    def begin(self, now: float) -> None:
        """Take note that motion begins at ``now`` from where the robot is; earlier is forgotten."""
        self.gone = False
        self._began = self._right = now
        self._first = self._reference
        self._given_up = ''

    @property
    def _settings(self) -> ControllerNodeSettings:
        found: ControllerNodeSettings = self._node.settings
        return found

    def _program(self, message: Bool, publisher: bytes) -> None:
        topic = self._settings.driver.program_running
        self._say(topic, publisher)
        if message.data:
            self._faults.pop('program', None)
        else:
            self._faults['program'] = (
                f'{topic} says that the program on the robot does not run, as in a protective '
                'stop. Release the robot, start its program, then call reset_stop and enable it.'
            )

    def _hear_mode(self, inlet: Inlet, rule: str, topic: str) -> None:
        kind = getattr(import_module('ur_dashboard_msgs.msg'), MESSAGES[rule])
        self._once.append(topic)
        names = {value: name for name, value in vars(kind).items() if isinstance(value, int)}

        def heard(message: Any, publisher: bytes) -> None:
            self._say(topic, publisher)
            if message.mode in SAFE[rule]:
                self._faults.pop(rule, None)
                return
            self._faults[rule] = (
                f'{topic} says {names.get(message.mode, message.mode)}; expected '
                f'{" or ".join(SAFE[rule].values())}. Release the robot, then call reset_stop and '
                'enable it.'
            )

        inlet.subscribe(kind, topic, heard, latched_qos(), MAX_BYTES, own=False)

    def _speed(self, message: Float64, publisher: bytes) -> None:
        topic = self._settings.driver.speed_scaling
        rule = 'speed_scaling'
        if not 0 <= message.data <= 100.0 + 1e-6:
            self._node.health.error(
                rule, f'{topic} is {message.data:g}; expected 0 to 100 percent. It was dropped.'
            )
            return
        self._node.health.clear(rule)
        self.share = min(message.data / 100, 1.0)
        self._hear_from(topic, publisher, self._node.seconds())

    def _state(self, message: Any, publisher: bytes) -> None:
        now = self._node.seconds()
        topic = f'{self._settings.driver.controller}/controller_state'
        names = self._joints
        try:
            shown = JointState(name=message.joint_names, position=message.reference.positions)
            reference = joint_values(shown, names)
        except InvalidRecordError as error:
            self._node.health.error('controller_state', f'{topic}: {error}')
            return
        self._node.health.clear('controller_state')
        self._hear_from(topic, publisher, now)
        self._reference = reference
        sent = stamp_to_seconds(message.header.stamp)
        self._judge(names, reference, self._read_stamp(sent, now) if sent else now, now)

    def _say(self, topic: str, publisher: bytes) -> None:
        """Take note of who said what is said only once."""
        before, since = self._said.get(topic, (publisher, self._node.seconds()))
        self._said[topic] = publisher, since if before == publisher else self._node.seconds()

    def _hear_from(self, topic: str, publisher: bytes, now: float) -> None:
        """Take note that a message came; one of another publisher is of a driver that is new."""
        last, self._heard[topic] = self._heard[topic], now
        before = self._publishers.setdefault(topic, publisher)
        if before == publisher:
            return
        if self._earlier.get(topic) == publisher:
            # One that was followed by another is back: it was none that was started anew.
            first, second = (publisher_name(self._node, topic, one) for one in (before, publisher))
            text = f'{first} and {second} both publish {topic}; expected one driver. End one.'
            self._twice[topic] = now, text
            self._said = {**self._unsaid, **self._said}
            self._unsaid = {}
        else:
            old = {name: said for name, said in self._said.items() if said[1] <= last}
            self._said = {name: said for name, said in self._said.items() if name not in old}
            self._unsaid.update(old)
        self.gone = True
        self._earlier[topic], self._publishers[topic] = before, publisher

    def _judge(
        self, names: tuple[str, ...], reference: np.ndarray, stamp: float, now: float
    ) -> None:
        """Compare the reference of the driver [M] at ``stamp`` with what it was sent."""
        first = self._first
        if first is not None and np.abs(reference - first).max() > UNMOVED:
            self._first = self._deaf = None
        tolerance = self._settings.driver.tolerance
        moved = self._first is None
        limit = tolerance if moved else min(tolerance, DEAF)
        outside = self._outside(reference, stamp, now)
        if outside is None or outside.max() <= limit:
            self._right = now
        elif now - self._right > GIVEN_UP_S:
            axis = int(outside.argmax())
            most = f'driver.tolerance {limit}' if moved else f'{limit} before it moves'
            self._leave(
                f'{self._settings.driver.controller} goes to {reference[axis]:.3f} on '
                f'{names[axis]}, {outside[axis]:.3f} from what it was sent; expected at most '
                f'{most}',
                now,
            )

    def _leave(self, off: str, now: float) -> None:
        """Try a driver again that has not moved yet, give up another that is ``off``, in words."""
        since = self._deaf[0] if self._deaf else now
        if self._first is not None and now - since < DEAF_S:
            text = f'{off}. It takes no trajectories yet; it is tried again.'
            self._deaf = since, now + PAUSE_S, text
            self.lose(now)
            return
        self._deaf = None
        self._given_up = (
            f'{off}. It rejected or gave up the trajectory, or follows somebody else: its log '
            'tells. Mend that, then call reset_stop and enable it.'
        )

    def _outside(self, reference: np.ndarray, stamp: float, now: float) -> np.ndarray | None:
        """Return how far the reference [M] at ``stamp`` is outside of what was sent lately [M].

        ``None`` where it need not be there.
        """
        lately = self._setpoints(max(stamp - self._late, self._began), now)
        if lately is None or self.gone:
            return None
        lately = lately[:, self._arm]
        return np.maximum(lately.min(axis=0) - reference, reference - lately.max(axis=0))
