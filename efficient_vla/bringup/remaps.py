# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Topics under other names: the words ``from:=to``, and the names that there are."""

from collections.abc import Collection, Iterable, Mapping

from efficient_vla.bringup.interfaces import DRAWN, Values, moving, of_graph, told_by_driver

CALLS = {
    '': ('execute_task',),
    'controller': ('hold', 'pause', 'reset_stop', 'set_enabled', 'stop'),
    'perception': ('reset_caches',),
    'reasoner': ('reset_caches',),
}
"""Node -> its services and actions, with the node's name before them but for ''."""
MIDDLEWARE = frozenset(('/parameter_events', '/rosout'))
CAMERA_ENDS = ('image_raw', 'compressed')


def names_of(parameters: Mapping[str, Values], cameras: tuple[str, ...]) -> tuple[str, ...]:
    """Return what can have another name in a graph with these parameters and ``cameras``."""
    found = of_graph(parameters, cameras)
    own = [found[node] for node in parameters if node in found]
    topics = frozenset().union(*(node.publishes | node.hears | node.calls for node in own))
    # A dry run has the same profile.
    live = {**parameters['controller'], 'dry_run': False}
    topics = topics.union(DRAWN, told_by_driver(live), *moving(live)) - MIDDLEWARE
    calls = {
        f'{node}/{name}' if node else name
        for node, names in CALLS.items()
        for name in names
        if not node or node in parameters
    }
    resets = {f'{node}/reset_episode' for node in parameters if node.endswith('_robot')}
    return tuple(sorted({name for name in topics if name[0] not in '~*'} | calls | resets))


def refuse(
    words: Iterable[str],
    parameters: Mapping[str, Values],
    cameras: tuple[str, ...] | None,
    namespace: str = '',
) -> str | None:
    """Return why one of ``words`` cannot be meant, or ``None``.

    ``cameras`` are those of the policy; ``None`` where they are not known yet.
    """
    known = names_of(parameters, cameras or ())
    for word in words:
        parts = word.split(':=')
        if len(parts) != 2 or not all(parts):
            return (
                f'remap {word!r} is not of the form from:=to; write for example '
                'robot_state:=/joint_states.'
            )
        node, _, name = parts[0].rpartition(':')
        if node and node not in parameters:
            return (
                f'remap {word!r} is for the node {node!r}; expected one of {", ".join(parameters)}.'
            )
        own = name.removeprefix(f'{namespace}/') if namespace else name
        bare = own.replace('~', node, 1) if own.startswith('~/') and node else own
        unknown = cameras is None and bare.endswith(CAMERA_ENDS)
        if not unknown and bare not in known and bare.removeprefix('/') not in known:
            return (
                f'remap {word!r} names no topic of this graph; expected one of {", ".join(known)}.'
            )
    return None


def words_of(remaps: Mapping[tuple[str, str], str], nodes: Collection[str]) -> tuple[str, ...]:
    """Return the words of (node, from) -> to, one for all nodes where they agree."""
    words: dict[str, None] = {}
    for (node, name), to in remaps.items():
        everywhere = all(remaps.get((other, name)) == to for other in nodes)
        words[f'{name}:={to}' if everywhere else f'{node}:{name}:={to}'] = None
    return tuple(words)


def remapped(name: str, node: str, remaps: Iterable[str]) -> str:
    """Return the name of a topic, service or action of ``node`` after ``remaps``."""
    for remap in remaps:
        before, _, after = remap.partition(':=')
        whose, colon, topic = before.rpartition(':')
        if topic.removeprefix('rostopic://') == name and (not colon or whose in (node, 'rostopic')):
            return after
    return name
