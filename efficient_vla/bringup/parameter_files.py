# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""ROS parameter files, read by the rules of ROS before any process starts.

Those are not PyYAML's: a bare ``y`` is true, and a file with mixed lists or an empty value ends
every node that gets it. Nodes therefore get one file that ``parameters_yaml`` wrote. ROS also drops
the parameters of a node that does not exist without a word, a misspelled one's included: the arm
would move inside the limits of nobody's workspace.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PARAMETERS = 'ros__parameters'
REMAP = 'remap'
"""A group of topics under other names, as ``from: to``, which is for the start of a node."""
ROS_PARAMETERS = ('use_sim_time', 'start_type_description_service', 'qos_overrides')
"""Parameters, or the groups of them, that rclpy itself declares on every node."""
ALIKE = 0.75
"""Names that are at least so similar are taken for each other's misspelling."""
BOOLEANS = yaml.SafeLoader.bool_values | {'y': True, 'n': False}


class ParameterFileError(ValueError):
    """A parameter file cannot be meant as it is; the message names file, line and remedy."""


class _Reader(yaml.SafeLoader):
    """Tells the types of bare words as rcl_yaml_param_parser does, and reads no aliases either."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own way)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark, reason = self.peek_event().start_mark, 'an alias, which ROS does not read'
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=mark)
        return super().compose_node(parent, index)


for _kind, _words in {
    'bool': 'y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON|n|N|no|No|NO|false|False|FALSE|off|Off|OFF',
    'null': '|~|null|Null|NULL',
    'int': r'[-+]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)',
    'float': r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.?(?i:inf|infinity|nan)',
}.items():
    _Reader.add_implicit_resolver(f'tag:yaml.org,2002:{_kind}', re.compile(f'^({_words})$'), None)


class Value(NamedTuple):
    """One value of a file, and the line where it stands."""

    value: Any
    line: int


@dataclass(slots=True)
class NodeSection:
    """The parameters that a file has for the nodes that ``pattern`` matches."""

    pattern: str
    line: int
    values: dict[str, Value] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part: the name of a node, or a wildcard."""
        return self.pattern.rpartition('/')[2]

    @property
    def wildcard(self) -> bool:
        """Whether it names no node."""
        return '*' in self.name

    def matches(self, node: str, namespace: str) -> bool:
        """Return whether these parameters are for ``node``; a bare name is so in any namespace."""
        if '/' not in self.pattern and not self.wildcard:
            return self.pattern == node
        parts = {'**': '(/[^/]+)*', '*': '/[^/]+'}
        words = [word for word in self.pattern.split('/') if word]
        pattern = ''.join(parts.get(word, '/' + re.escape(word)) for word in words)
        return re.fullmatch(pattern, f'{namespace}/{node}') is not None


def read(path: Path) -> list[NodeSection]:
    """Return the sections of a file, wildcards first, since a node's own name is stronger.

    Raises ``ParameterFileError``.
    """
    if not path.is_file():
        raise ParameterFileError(
            f'the parameter file {str(path)!r} does not exist; check its path.'
        )
    try:
        root = yaml.compose(path.read_text(), _Reader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = ' Indent with blanks.' if '\\t' in str(error.problem) else ''
        raise _refusal(path, line, f'is not YAML: {error.problem}.{hint}') from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise _refusal(path, 1, f'cannot be read: {error}') from error
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _refusal(
            path,
            1,
            f'does not begin with the names of nodes; expected nodes with {PARAMETERS}, as the '
            'files in config/ have them.',
        )
    return sorted(_sections(path, root, ''), key=lambda section: not section.wildcard)


def _sections(path: Path, tree: yaml.MappingNode, above: str) -> Iterator[NodeSection]:
    for key, value, line in _pairs(path, tree):
        if key == PARAMETERS:
            section = NodeSection(above, line)
            if not isinstance(value, yaml.MappingNode):
                raise _refusal(path, line, f'has no parameters below {PARAMETERS} of {above!r}.')
            for name, found in _values(path, value, ''):
                if name in section.values:
                    raise _refusal(path, found.line, f'has {name!r} a second time.')
                section.values[name] = found
            yield section
        elif isinstance(value, yaml.MappingNode):
            yield from _sections(path, value, f'{above}/{key}' if above else key)
        else:
            raise _refusal(
                path,
                line,
                f'has no {PARAMETERS} above {key!r}; expected it below the name of the node, as '
                'in the files in config/.',
            )


def _values(path: Path, tree: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, Value]]:
    for key, value, line in _pairs(path, tree):
        name = prefix + key
        if isinstance(value, yaml.MappingNode):
            yield from _values(path, value, name + '.')
        elif isinstance(value, yaml.ScalarNode):
            yield name, Value(_scalar(path, name, value), line)
        else:
            items = value.value
            if not all(isinstance(item, yaml.ScalarNode) for item in items):
                raise _refusal(path, line, f'has lists or groups inside {name}; expected values.')
            yield name, Value([_scalar(path, name, item) for item in items], line)


def _pairs(path: Path, tree: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, int]]:
    seen: dict[str, int] = {}
    for key, value in tree.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value == '<<':
            raise _refusal(
                path, line, 'has a merge or a group for a name, which ROS does not read.'
            )
        name = '/' * key.value.startswith('/') + key.value.strip('/')
        if name in seen:
            raise _refusal(path, line, f'has {name!r} a second time, first in line {seen[name]}.')
        seen[name] = line
        yield name, value, line


def _scalar(path: Path, name: str, node: yaml.ScalarNode) -> Any:
    text, kind = node.value, node.tag.rpartition(':')[2]
    if kind == 'null':
        line = node.start_mark.line + 1
        raise _refusal(path, line, f"has no value for {name}; write '' for an empty text.")
    try:
        if kind == 'bool':
            return BOOLEANS[text.lower()]
        if kind == 'int':
            # A leading zero means octal, as it does for strtol.
            return int(text, 8 if re.fullmatch('[-+]?0[0-7]+', text) else 0)
        return float(re.sub(r'\.(?=[a-zA-Z])', '', text)) if kind == 'float' else text
    except (ValueError, KeyError):
        line = node.start_mark.line + 1
        raise _refusal(path, line, f'has {text!r} for {name}, which is no {kind}.') from None


def _refusal(path: Path, line: int, reason: str) -> ParameterFileError:
    return ParameterFileError(f'the parameter file {str(path)!r}, line {line}, {reason}')


@dataclass(slots=True)
class Merged:
    """What several files say about the nodes of one graph; later files are stronger."""

    values: dict[str, dict[str, Any]]
    """Node -> dotted parameter -> value."""
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    """(node, parameter) -> file and line that the value is from."""
    remaps: dict[tuple[str, str], str] = field(default_factory=dict)
    """(node, topic) -> the topic's other name."""
    notes: list[str] = field(default_factory=list)
    """What was left out, one sentence a file."""


def merge(
    files: Iterable[Path],
    known: Mapping[str, Mapping[str, type]],
    nodes: Collection[str],
    namespace: str = '',
) -> Merged:
    """Return what ``files`` say about ``nodes``.

    ``known`` has node -> parameter -> type of its (items') values for all nodes of this package;
    files may also have parameters for the nodes of others. A wildcard's parameters go to the nodes
    that have them.

    Raises ``ParameterFileError``.
    """
    merged = Merged({name: {} for name in nodes})
    for path in files:
        left_out: set[str] = set()
        taken: set[str] = set()
        sections = read(path)
        for section in sections:
            _refuse_name(path, section, sections, known, nodes, namespace)
            for node in nodes:
                if not section.matches(node, namespace):
                    continue
                for name, (value, line) in section.values.items():
                    if name.partition('.')[0] == REMAP:
                        merged.remaps[node, _renamed(path, line, name, value)] = str(value)
                        continue
                    own = name in known[node] or is_ros_parameter(name)
                    if section.wildcard:
                        (taken if own else left_out).add(name)
                    if section.wildcard and not own:
                        continue
                    _refuse_bare_word(path, line, name, value, known[node].get(name))
                    if name == 'use_sim_time' and not isinstance(value, bool):
                        raise _refusal(path, line, f'has {name} {value!r}; write true or false.')
                    merged.values[node][name] = value
                    merged.places[node, name] = f'the parameter file {str(path)!r}, line {line}'
        if left_out - taken:
            merged.notes.append(
                f'{path}: {", ".join(sorted(left_out - taken))} below a wildcard: ignored, since '
                'no node has such a parameter.'
            )
    return merged


def _renamed(path: Path, line: int, name: str, value: Any) -> str:
    """Return the topic that gets another name, ``value``."""
    topic = name.removeprefix(f'{REMAP}.')
    if topic == name or not isinstance(value, str) or not value:
        raise _refusal(
            path,
            line,
            f'has {name} {value!r}; expected lines below {REMAP} with a topic and its other name, '
            'such as robot_state: /joint_states.',
        )
    return topic


def is_ros_parameter(name: str) -> bool:
    """Return whether rclpy declares the parameter on every node."""
    return name.partition('.')[0] in ROS_PARAMETERS


def typed(values: dict[str, Any], kinds: Mapping[str, type]) -> None:
    """Turn whole numbers into floats where floats are expected, as in ``[-0.5, 0, 0.05]``."""

    def number(value: Any) -> Any:
        return float(value) if type(value) is int else value

    for name, value in values.items():
        if kinds.get(name) is float:
            many = isinstance(value, (list, tuple))
            values[name] = [number(item) for item in value] if many else number(value)


def _refuse_name(
    path: Path,
    section: NodeSection,
    sections: list[NodeSection],
    known: Collection[str],
    nodes: Collection[str],
    namespace: str,
) -> None:
    name = section.name
    close = get_close_matches(name, known, 1, ALIKE)
    # Others call a node of theirs arm_controller.
    if name not in known and close and not name.endswith(f'_{close[0]}'):
        raise _refusal(
            path,
            section.line,
            f'has parameters for {name!r}, which is no node; did you mean {close[0]!r}?',
        )
    same = [other for other in sections if other.name == name]
    if name in nodes and not any(other.matches(name, namespace) for other in same):
        raise _refusal(
            path,
            section.line,
            f'has parameters for {section.pattern!r}, but the node is {namespace}/{name}; write '
            f'{name!r} for any namespace.',
        )


def _refuse_bare_word(path: Path, line: int, name: str, value: Any, kind: type | None) -> None:
    items = value if isinstance(value, list) else [value]
    words = [item for item in items if not isinstance(item, str)]
    if kind is str and words:
        shown = ', '.join(str(word).lower() for word in words)
        raise _refusal(
            path,
            line,
            f'has {shown} in {name}, where texts are expected: ROS takes bare y, n, yes, no, on '
            "and off for true or false, and bare digits for numbers. Put it in quotes: 'y'.",
        )


def parameters_yaml(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """Return node -> parameter -> value as a ROS parameter file for any namespace."""
    nodes = {name: {PARAMETERS: _nested(values)} for name, values in parameters.items() if values}
    return str(yaml.dump({'/**': nodes} if nodes else {}, Dumper=_Dumper, sort_keys=True))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, leaf = name.split('.')
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = _quoted(value)
    return tree


class _Text(str):
    """Text that YAML gets in quotes: ROS takes a bare y for true."""


class _Dumper(yaml.SafeDumper):
    """Writes ``_Text`` in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        """ROS reads no aliases."""
        return True


_Dumper.add_representer(
    _Text, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style="'")
)


def _quoted(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_quoted(item) for item in value]
    return _Text(value) if isinstance(value, str) else value


def held_in_memory(text: str) -> Path:
    """Return a file for other processes that is gone when this one ends, however that happens.

    Its name is the number of the descriptor to close.
    """
    number = os.memfd_create('parameters.yaml')
    os.write(number, text.encode())
    return Path(f'/proc/{os.getpid()}/fd/{number}')
