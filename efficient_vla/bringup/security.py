# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The security policy of a graph for SROS 2: ``python -m efficient_vla.bringup.security``.

Prints the XML that ``ros2 security generate_artifacts`` takes, with an enclave for each process and
no permission that the nodes in it do not need. Robot, policy and namespace are chosen by the words
of ``efficient-vla up``.
"""

import argparse
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from efficient_vla.bringup.catalogue import POLICY_NODES
from efficient_vla.bringup.enclaves import enclave
from efficient_vla.bringup.fit import cameras_of
from efficient_vla.bringup.graph import (
    HARDWARE,
    Graph,
    Process,
    ProfileError,
    describe,
    options,
    parse_overrides,
    selected,
)
from efficient_vla.bringup.interfaces import Interfaces, of_graph
from efficient_vla.bringup.remaps import remapped
from efficient_vla.errors import UsageError
from efficient_vla.places import policy_place
from efficient_vla.policy_folders import folder_facts, why_none

BEGINNING = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!-- Copyright 2026 efficient_vla contributors -->\n'
    '<!-- SPDX-License-Identifier: Apache-2.0 -->\n'
)
VERSION = '0.2.0'
"""Of the schema of SROS 2."""
KINDS = (
    ('topics', 'topic', (('publish', 'publishes'), ('subscribe', 'hears'))),
    ('services', 'service', (('reply', 'offers'), ('request', 'asks'))),
    ('actions', 'action', (('execute', 'executes'), ('call', 'calls'))),
)
"""Element, its children, and each permission with the field of ``Interfaces``."""
TOGETHER = {'controller': ('controller', '_controller_liveliness')}
"""Process -> its nodes, where it has one that the graph does not name."""


def processes(graph: Graph) -> tuple[Process, ...]:
    """Return the processes that may be started, on whatever hardware, and the onlookers."""
    stages = {process.name: process for ways in HARDWARE.values() for process in ways}
    stages['policy'] = Process('policy', POLICY_NODES)
    others = [p for p in graph.processes if not set(p.nodes) & set(POLICY_NODES)]
    simulated = any(p.name.endswith('_robot') for p in others)
    outside = ('observer', 'operator', 'frames') + (() if simulated else ('driver',))
    return (*stages.values(), *others, *(Process(name, (name,)) for name in outside))


def cameras(graph: Graph) -> tuple[str, ...]:
    """Return the cameras of the policy, none where only its server knows them."""
    perception = graph.parameters['perception']
    place = policy_place(perception['policy'])
    if not isinstance(place, Path) or why_none(place):
        return ()
    return tuple(cameras_of(folder_facts(place), perception.get('cameras', ())))


def policy(graph: Graph) -> str:
    """Return the policy of a graph as XML."""
    known = of_graph(graph.parameters, cameras(graph))
    root = ET.Element('policy', version=VERSION)
    enclaves = ET.SubElement(root, 'enclaves')
    for process in processes(graph):
        path = enclave(graph.namespace, process.name)
        profiles = ET.SubElement(ET.SubElement(enclaves, 'enclave', path=path), 'profiles')
        for node in TOGETHER.get(process.name, process.nodes):
            profile = ET.SubElement(profiles, 'profile', ns=graph.namespace or '/', node=node)
            _allow(profile, known[node], node, graph.remaps)
    ET.indent(root)
    return f'{BEGINNING}{ET.tostring(root, encoding="unicode")}\n'


def _allow(profile: ET.Element, found: Interfaces, node: str, remaps: Iterable[str]) -> None:
    for kind, word, permissions in KINDS:
        for permission, field in permissions:
            names = sorted(remapped(name, node, remaps) for name in getattr(found, field))
            if names:
                allowed = ET.SubElement(profile, kind, {permission: 'ALLOW'})
                for name in names:
                    ET.SubElement(allowed, word).text = name


def main(words: list[str] | None = None) -> int:
    """Print the policy of the graph that ``words`` choose; 2 where there is no such graph."""
    parser = argparse.ArgumentParser(
        prog='python -m efficient_vla.bringup.security',
        description='Print the security policy of a graph for `ros2 security generate_artifacts`.',
    )
    for option in options():
        parser.add_argument(
            f'--{option.name.replace("_", "-")}',
            default=option.default,
            choices=option.choices,
            help=option.text,
        )
    for name, text in (
        ('--set', 'node.param=value, stronger than every file'),
        ('--params-file', 'further parameter file, stronger than the profiles'),
        ('--remap', 'a topic under another name, as from:=to'),
    ):
        parser.add_argument(name, action='append', default=[], help=text)
    arguments = parser.parse_args(words)
    try:
        graph = describe(
            selected(
                vars(arguments),
                overrides=parse_overrides(arguments.set),
                parameter_files=tuple(map(Path, arguments.params_file)),
                remaps=tuple(arguments.remap),
            )
        )
        sys.stdout.write(policy(graph))
    except (ProfileError, UsageError) as error:
        sys.stderr.write(f'{error}\n')
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
