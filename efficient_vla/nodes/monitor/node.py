# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person wants to see: token overlay, predicted path, state in words.

Both pictures cost images and arithmetic, so the node takes part in the graph only while somebody
subscribes to them.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from efficient_vla import msg
from efficient_vla.bringup.ladder import LadderRules, ladder_file, read_ladder
from efficient_vla.bringup.settings import MonitorNodeSettings, camera_topic
from efficient_vla.control.state import State
from efficient_vla.nodes.base.conversions import (
    array_to_image,
    joint_values,
    message_to_chunk,
    message_to_plan,
    message_to_tokens,
    stamp_to_seconds,
)
from efficient_vla.nodes.base.efficiency import STAGE_NAMES
from efficient_vla.nodes.base.lifecycle import ManagedNode
from efficient_vla.nodes.base.pictures import image_type, pixels_of
from efficient_vla.nodes.base.qos import image_qos, latched_qos, newest_qos, report_qos, state_qos
from efficient_vla.nodes.monitor import overlay
from efficient_vla.nodes.monitor.degradation import Degradation
from efficient_vla.settings import InvalidSettingError
from efficient_vla.types import InvalidRecordError, Plan, VisualTokens

REMEMBERED_FRAMES = 16
"""Tokens wait for the plan that says which of them were kept; images for their tokens."""
CAMERA_SKEW_NS = 500_000_000
"""Images of several cameras that perception takes for one frame differ by no more."""

ARM_PERIOD_S = 0.1
"""How often the arm is drawn, whatever its states come at."""
STATES = {int(state): state.name.lower() for state in State}


class MonitorNode(ManagedNode[MonitorNodeSettings]):
    """Draw for whoever looks, and for nobody else."""

    def __init__(self, **options: Any) -> None:
        self._picture_inputs: list[Any] = []
        self._marker_inputs: list[Any] = []
        self._images: dict[int, OrderedDict[int, Any]] = {}
        self._saved: OrderedDict[int, float] = OrderedDict()
        self._tokens: OrderedDict[int, VisualTokens] = OrderedDict()
        self._position = np.zeros(3)
        self._arm: Any = None
        self._arm_drawn = -math.inf
        self._instruction = ''
        self._status = msg.ControllerStatus()
        self._plan: Plan | None = None
        self._rates: dict[str, float] = {}
        self.drawn = 0
        self.degradation: Degradation | None = None
        self._table: LadderRules
        super().__init__('monitor', MonitorNodeSettings, **options)
        self._overlay = self.create_lifecycle_publisher(Image, 'overlay', image_qos())
        self._markers = self.create_lifecycle_publisher(MarkerArray, 'markers', newest_qos())
        self._expected = [
            self.waiting.expect(
                topic,
                self._type(number, topic),
                image_qos(),
                needed=lambda: bool(self._picture_inputs),
                required=False,
            )
            for number, topic in enumerate(self._topics())
        ]

    def setup(self) -> None:
        """Read the degradation ladder."""
        self._table = read_ladder(ladder_file(self.settings.ladder.file))

    def start(self) -> None:
        """Watch over the graph, where time is real."""
        mode = self.settings.ladder.mode
        if mode != 'off' and not self.get_clock().ros_time_is_active:
            self.degradation = Degradation(self, self._table, act=mode == 'act')

    def stop(self) -> None:
        """Take the subscriptions back, give back what was lowered and wipe the markers."""
        if self.degradation is not None:
            self.degradation.close()
            self.degradation = None
        if self._marker_inputs:
            self._markers.publish(overlay.no_markers())
        self._close(self._picture_inputs)
        self._close(self._marker_inputs)

    def teardown(self) -> None:
        """Forget images."""
        self.flush('cleanup')

    def flush(self, reason: str) -> None:
        """Forget images, tokens and markers of the past."""
        for images in self._images.values():
            images.clear()
        self._tokens.clear()
        self._saved.clear()
        self._plan = None
        if self.active and self._marker_inputs:
            self._markers.publish(overlay.no_markers())

    def report(self) -> dict[str, Any]:
        """Return who is watching."""
        return {
            **(self.degradation.report() if self.degradation is not None else {}),
            'overlay_subscribed': bool(self._picture_inputs),
            'markers_subscribed': bool(self._marker_inputs),
            'pictures_drawn': self.drawn,
        }

    def look(self) -> None:
        """Subscribe to what the pictures need while somebody subscribes to them."""
        super().look()
        if not self.active:
            return
        if self.degradation is not None:
            self.degradation.look()
        subscribe = self.create_subscription
        if not self._overlay.get_subscription_count():
            self._close(self._picture_inputs)
            self._images.clear()
        elif not self._picture_inputs:
            self._picture_inputs += [
                *(self._camera(number, topic) for number, topic in enumerate(self._topics())),
                subscribe(msg.EfficiencyStats, 'efficiency', self._take_saved, report_qos()),
                subscribe(
                    msg.VisualTokens, 'visual_tokens', self._safely(self._take_tokens), newest_qos()
                ),
                subscribe(msg.Plan, 'plan', self._safely(self._draw_tokens), latched_qos()),
            ]
        if not self._markers.get_subscription_count():
            self._close(self._marker_inputs)
        elif not self._marker_inputs:
            self._arm = self._described()
            self._marker_inputs += [
                subscribe(JointState, 'robot_state', self._safely(self._take_state), state_qos()),
                subscribe(msg.Instruction, 'instruction', self._take_instruction, latched_qos()),
                subscribe(
                    msg.ControllerStatus,
                    'controller_status',
                    self._safely(self._take_status),
                    latched_qos(),
                ),
                subscribe(msg.Plan, 'plan', self._safely(self._take_plan), latched_qos()),
                subscribe(
                    msg.ActionChunk, 'action_chunk', self._safely(self._draw_path), newest_qos()
                ),
                subscribe(msg.EfficiencyStats, 'efficiency', self._take_rate, report_qos()),
            ]

    def _safely(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            self.seconds()
            try:
                take(message)
            except InvalidRecordError as error:
                self.health.warn('input', str(error))
            else:
                self.health.clear('input')

        return callback

    def _close(self, subscriptions: list[Any]) -> None:
        while subscriptions:
            self.destroy_subscription(subscriptions.pop())

    def _topics(self) -> tuple[str, ...]:
        """Return the topics of the cameras, those that perception reads."""
        names = self.settings.cameras or ('',)
        return tuple(camera_topic(self.settings.camera_topics, names, name) for name in names)

    def _type(self, number: int, topic: str) -> type:
        names, compressed = self.settings.cameras or ('',), self.settings.compressed_cameras
        return image_type(self.resolve_topic_name(topic), names[number], compressed)

    def _camera(self, number: int, topic: str) -> Any:
        store = self._images.setdefault(number, OrderedDict())

        def take(image: Any) -> None:
            self._expected[number].heard(stamp_to_seconds(image.header.stamp))
            _remember(store, _key(image), image)

        return self.create_subscription(self._type(number, topic), topic, take, image_qos())

    def _take_saved(self, message: msg.EfficiencyStats) -> None:
        if message.stage == msg.EfficiencyStats.STAGE_PERCEPTION:
            _remember(self._saved, _key(message), message.saved_ms)

    def _take_tokens(self, message: msg.VisualTokens) -> None:
        _remember(self._tokens, _key(message), message_to_tokens(message))

    def _draw_tokens(self, message: msg.Plan) -> None:
        """Draw the frame that the plan is about, now that it is known what was kept of it."""
        key = _key(message)
        tokens = self._tokens.get(key)
        if tokens is None:
            return
        cameras = int(tokens.camera.max()) + 1
        if cameras > len(self._images):
            raise InvalidRecordError(
                f'visual tokens come from {cameras} cameras and this node looks at '
                f'{len(self._images)}; expected as many. Name them all in the parameter cameras.'
            )
        images = [self._image_of(number, key) for number in self._images]
        found = [image for image in images if image is not None]
        if len(found) < len(images):
            return
        picture = overlay.token_picture(
            [pixels_of(image) for image in found],
            tokens,
            message_to_plan(message),
            self.settings.dim,
            self._saved.get(key, math.nan),
        )
        self.drawn += 1
        self._overlay.publish(array_to_image(picture, tokens.stamp, found[0].header.frame_id))

    def _image_of(self, camera: int, key: int) -> Any | None:
        """Return the image of a camera that the tokens of ``key`` were made of.

        Tokens have the capture time of the oldest image among those of several cameras.
        """
        store = self._images[camera]
        if len(self._images) == 1:
            return store.get(key)
        later = [k for k in store if key <= k <= key + CAMERA_SKEW_NS]
        return store[min(later)] if later else None

    def _described(self) -> Any:
        """Return the arm that the markers show; its library is loaded when somebody looks."""
        settings, reason, arm = self.settings.arm, '', None
        if settings.description:
            try:
                from efficient_vla.nodes.monitor.arm import DrawnArm

                arm = DrawnArm(settings)
            except (ImportError, InvalidSettingError) as error:
                reason = f'the markers show no arm: {error}'
        self.health.warn('arm', reason)
        return arm

    def _take_state(self, message: JointState) -> None:
        if self._arm is not None:
            self._take_joints(message)
        # Only an end effector has a place to draw from.
        if {'x', 'y', 'z'} <= set(message.name):
            self._position = joint_values(message, ('x', 'y', 'z'))

    def _take_joints(self, message: JointState) -> None:
        self._arm.take(message)
        joints, now = self._arm.joints, self.now()
        if joints is None or 0 <= now - self._arm_drawn < ARM_PERIOD_S:
            return
        self._arm_drawn = now
        header = Header(stamp=message.header.stamp, frame_id=self._arm.base)
        self._markers.publish(MarkerArray(markers=self._arm.markers(joints, header)))

    def _take_instruction(self, message: msg.Instruction) -> None:
        self._instruction = message.text

    def _take_plan(self, message: msg.Plan) -> None:
        self._plan = message_to_plan(message)

    def _take_status(self, message: msg.ControllerStatus) -> None:
        if message.state not in STATES:
            raise InvalidRecordError(
                f'controller_status says state {message.state}; expected one of '
                f'{", ".join(map(str, STATES))}. Start all nodes from one version of the package.'
            )
        self._status = message

    def _take_rate(self, message: msg.EfficiencyStats) -> None:
        name = STAGE_NAMES.get(message.stage, 'camera')
        if name != 'camera':
            self._rates[name] = message.rate_hz

    def _draw_path(self, message: msg.ActionChunk) -> None:
        chunk = message_to_chunk(message)
        header = message.header
        header.frame_id = header.frame_id or self.settings.frame_id
        path = overlay.predicted_path(chunk, self._position)
        if self._arm is not None:
            joints = self._arm.joints
            if joints is None:
                return
            path, header.frame_id = self._arm.path(chunk, joints), self._arm.base
        goal = np.zeros(0) if self._plan is None else self._plan.subgoal
        width = self.settings.path_width
        found = overlay.markers(path, self._words(), goal, header, width)
        self.drawn += 1
        self._markers.publish(MarkerArray(markers=found))

    def _words(self) -> str:
        rates = ', '.join(f'{name} {rate:.1f} Hz' for name, rate in self._rates.items())
        state = STATES[self._status.state]
        age = self._status.plan_age_s
        if math.isfinite(age):
            state += f', plan {age:.1f} s old'
        lines = [self._instruction or 'no task', state, rates]
        if self._status.authority:
            lines.append(f'moved by {self._status.authority}')
        if self._plan is not None:
            lines[1:1] = filter(None, [self._plan.subtask, self._plan.text])
        return '\n'.join(lines)


def _key(message: Any) -> int:
    """Return the capture time in nanoseconds: the same for an image and all made of it."""
    return stamp_to_seconds(message.header.stamp).nanoseconds


def _remember(store: OrderedDict[int, Any], key: int, value: Any) -> None:
    store[key] = value
    while len(store) > REMEMBERED_FRAMES:
        store.popitem(last=False)
