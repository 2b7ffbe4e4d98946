# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings dataclass -> ROS parameters: descriptors, start-up values, changes at run time."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from efficient_vla.bringup.parameter_files import is_ros_parameter
from efficient_vla.settings import InvalidSettingError, Spec, build, flatten, specs
from efficient_vla.types import InvalidRecordError

Settings = TypeVar('Settings')

CLOCK_PARAMETER = 'use_sim_time'
LARGEST_FLOAT = 1.7e308
LARGEST_INTEGER = 2**63 - 1


def descriptor(default: Any, spec: Spec) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows of one setting."""
    unit = f' [{spec.unit}]' if spec.unit else ''
    described = ParameterDescriptor(
        description=spec.description + unit,
        read_only=spec.read_only,
        # The type of an empty list cannot be told from its value.
        dynamic_typing=default == (),
    )
    limits = []
    if spec.choices:
        limits.append('one of ' + ', '.join(spec.choices))
    if isinstance(default, tuple) and (spec.low is not None or spec.high is not None):
        limits.append(f'each value from {spec.low} to {spec.high}')
    if spec.locked:
        limits.append('not while the controller is enabled')
    described.additional_constraints = '; '.join(limits)
    if spec.low is None and spec.high is None:
        return described
    if isinstance(default, float):
        described.floating_point_range = [
            FloatingPointRange(
                from_value=float(-LARGEST_FLOAT if spec.low is None else spec.low),
                to_value=float(LARGEST_FLOAT if spec.high is None else spec.high),
            )
        ]
    elif isinstance(default, int):
        described.integer_range = [
            IntegerRange(
                from_value=int(-LARGEST_INTEGER if spec.low is None else spec.low),
                to_value=int(LARGEST_INTEGER if spec.high is None else spec.high),
            )
        ]
    return described


class NodeParameters(Generic[Settings]):
    """The settings of a node as its ROS parameters.

    Values of the command line and of YAML files are checked as a whole when the node is made; what
    is wrong with them is kept in ``problem``, for configure to report. At run time a set is
    rejected as a whole, with the reason, or applied as a whole: ``accept`` takes it or raises
    ``InvalidSettingError`` or ``InvalidRecordError``, then ``changed`` is told.
    """

    def __init__(
        self,
        node: Node,
        kind: type[Settings],
        accept: Callable[[Settings], None],
        changed: Callable[[Settings, Settings], None],
    ) -> None:
        self.problem = ''
        self._node = node
        self._kind = kind
        self._accept = accept
        self._changed = changed
        self._known = {name: (default, spec) for name, default, spec in specs(kind)}
        try:
            values = start_up_values(node)
            for name in [name for name, value in values.items() if value is None]:
                # ROS cannot tell the type of an empty list and keeps none of it.
                if isinstance(self._known.get(name, ((), None))[0], tuple):
                    values[name] = ()
            self.settings = build(kind, getattr(kind, 'completed', dict)(values))
        except InvalidSettingError as error:
            self.problem = str(error)
            self.settings = build(kind, {})
        for name, value in flatten(self.settings).items():
            node.declare_parameter(
                name,
                list(value) if isinstance(value, tuple) else value,
                descriptor(*self._known[name]),
                # Start-up values are already in ``settings``, checked with all the others.
                ignore_override=True,
            )
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    def fix(self, **values: Any) -> None:
        """Replace values that are read-only, and show them."""
        self.settings = build(self._kind, values, self.settings)
        for name, value in values.items():
            # rclpy refuses them to the node itself, too.
            self._node._parameters[name] = Parameter(name, value=value)

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        values = self._values(parameters)
        try:
            self._refuse_another_clock(parameters)
            wanted = build(self._kind, values, self.settings)
            if values:
                self._accept(wanted)
        except (InvalidSettingError, InvalidRecordError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        values = self._values(parameters)
        if values:
            earlier = self.settings
            self.settings = build(self._kind, values, earlier)
            self._changed(earlier, self.settings)

    def _refuse_another_clock(self, parameters: list[Parameter]) -> None:
        """Refuse what rclpy would obey: time would stand still, or jump, while a robot moves."""
        kept = self._node.get_parameter(CLOCK_PARAMETER).value
        for item in parameters:
            if item.name == CLOCK_PARAMETER and item.value != kept:
                raise InvalidSettingError(
                    f'{CLOCK_PARAMETER} is {item.value}; expected {kept}, as the node was started '
                    'with. End the graph and start it again with the other value.'
                )

    def _values(self, parameters: list[Parameter]) -> dict[str, Any]:
        return {item.name: item.value for item in parameters if item.name in self._known}


def start_up_values(node: Node) -> dict[str, Any]:
    """Return the values that files and the command line give to ``node``, by name."""
    # rclpy offers no public way to see overrides that were never declared, and silently drops them.
    overrides = node._parameter_overrides
    return {name: item.value for name, item in overrides.items() if not is_ros_parameter(name)}
