# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``motion.md``: all tables of `efficient-vla bench motion`."""

from collections.abc import Mapping

from benchmarks.motion.conditions import BEST, LATEST, PATIENCE
from benchmarks.motion.plots import plot_seams, plot_success
from benchmarks.report import OWN, SUCCESS, PageSection, Parts, Picture, Report, Row

SEAMS_PICTURE, SUCCESS_PICTURE = 'motion_seams.png', 'motion_success.png'
SOURCES = {
    'policy': 'Chunks of evla-nano',
    'constant offset': 'A smooth motion whose chunks are shifted by up to 2 cm',
}
PLACE = ('source', 'trial', 'delay_ms')
"""Columns of what rows of several methods have in common."""


def _place(row: Row) -> tuple[object, ...]:
    return tuple(row[name] for name in PLACE)


def _by_place(parts: Parts) -> dict[tuple[object, ...], Row]:
    """Return place, limits and method -> the row about seams."""
    return {(*_place(r), r['limits'], r['method']): r for r in parts.get('seams', ())}


def _times(seams: Mapping[tuple[object, ...], Row], row: Row | None) -> float | None:
    """Return how many times less jerk a row has than latest_only at the same place."""
    latest = row and seams.get((*_place(row), row['limits'], LATEST))
    return latest['max_jerk'] / row['max_jerk'] if row and latest and row['max_jerk'] else None


def _seams(parts: Parts) -> list[Row]:
    """Return a row for each reference, with what left the controller beside it."""
    found: list[Row] = []
    seams = _by_place(parts)
    for source, title in SOURCES.items():
        mine = [row for row in seams.values() if row['source'] == source]
        for row in (row for row in mine if row['limits'] == 'reference'):
            limited = seams.get((*_place(row), 'controller', row['method']))
            found.append(
                {
                    **row,
                    **{name: (limited or row)[name] for name in ('idle', 'time_scale')},
                    'title': title,
                    'motions': mine[0]['motions'],
                    'inside': mine[0]['jerk_inside_chunks'],
                    'ratio': _times(seams, row),
                    'controller_jerk': limited and limited['max_jerk'],
                    'controller_ratio': _times(seams, limited),
                    'rms': (limited or row)['tracking_rms_mm'],
                    'max': (limited or row)['tracking_max_mm'],
                }
            )
    return found


def _seam_findings(parts: Parts) -> list[str]:
    found = []
    seams = _by_place(parts)
    for limits, where in (('reference', 'Reference'), ('controller', 'Through the controller')):
        for source in SOURCES:
            ratios = [
                (ratio, row['delay_ms'])
                for row in seams.values()
                if (row['source'], row['trial'], row['limits'], row['method'])
                == (source, 'overlapped', limits, BEST)
                and (ratio := _times(seams, row))
            ]
            if ratios:
                least, delay = min(ratios)
                found.append(
                    f'{where}, {source}: {BEST} has at least {least:.1f} times less max jerk than '
                    f'{LATEST} (at {delay} ms).'
                )
    if found:
        found.append(
            'Through the controller all methods keep the same limits, and the chunks bring much of '
            'that jerk themselves: what a blending saves there shows where the chunks are smooth.'
        )
    return found


def _peer(parts: Parts) -> list[Row]:
    """Return the rows of LeRobot, those of the default at the same places before them."""
    found: list[Row] = []
    for source, title in SOURCES.items():
        for place in dict.fromkeys(map(_place, parts.get('peer', ()))):
            if place[0] != source:
                continue
            theirs = [row for row in parts['peer'] if _place(row) == place]
            ours = [
                {**row, 'method': f'{BEST}, {row["limits"]}', 'version': theirs[0]['version']}
                for row in parts.get('seams', ())
                if _place(row) == place and row['method'] == BEST
            ]
            found += [{**row, 'title': title, 'of': 'efficient_vla'} for row in ours]
            found += [{**row, 'title': title, 'of': 'LeRobot'} for row in theirs]
    return found


def _peer_findings(parts: Parts) -> list[str]:
    """Say how often we are better than the best of LeRobot in jerk, and not worse in idle time."""
    pairs = []
    for row in parts.get('seams', ()):
        if (row['method'], row['limits']) == (BEST, 'controller'):
            theirs = [other for other in parts.get('peer', ()) if _place(other) == _place(row)]
            if theirs:
                least = {name: min(t[name] for t in theirs) for name in ('max_jerk', 'idle')}
                pairs.append((row, least))
    if not pairs:
        return []
    smoother = sum(row['max_jerk'] < least['max_jerk'] for row, least in pairs)
    steadier = sum(row['idle'] < least['idle'] for row, least in pairs)
    equal = sum(row['idle'] == least['idle'] for row, least in pairs)
    return [
        f'Against the best method of LeRobot in each of {len(pairs)} rows: less max jerk in '
        f'{smoother}, less idle time in {steadier}, the same in {equal}.'
    ]


def _controller(parts: Parts) -> list[Row]:
    """Return a row a quantity, with a column for each rate and robot."""
    rows = parts.get('controller', ())
    names = dict.fromkeys(name for row in rows for name in row if name not in OWN)
    return [
        {'what': name.replace('_', ' ')} | {_loop(row): row.get(name) for row in rows}
        for name in names
    ]


def _loop(row: Row) -> str:
    joints = row.get('joints')
    return f'{row["rate_hz"]:g} Hz' + (f', {joints} joints' if joints else '')


SECTIONS = (
    PageSection(
        '## Seams',
        'seams',
        'Recorded chunks, one for every step of 12.5 ms, played with delays and accidents. All '
        'differences are taken from one step to the next, from the first seam on. `reference`: '
        'what the blending wants, with the limits opened wide; `controller`: the set-points '
        'that leave the controller with the shipped limits. Ratios are to `latest_only`. '
        'Tracking is the distance to the motion without delay; idle is the share of steps in '
        'which no chunk moved the robot. `overlapped`: a chunk is begun every 0.1 s, whatever '
        'is under way; `one at a time`: the next one only when the last has arrived. The watchdog '
        f'of the age of observations is off the scale ({PATIENCE}).',
        ('jerk, tracking and idle time against delay', SEAMS_PICTURE),
        (
            ('chunks', '{trial}'),
            ('delay ms', '{delay_ms}'),
            ('blending', '{method}'),
            ('reference: max jerk m/s^3', '{max_jerk:,.0f}'),
            ('ratio', '{ratio:.1f}'),
            ('seam: velocity step m/s', '{seam_velocity_step:.3f}'),
            ('acceleration step m/s^2', '{seam_acceleration_step:.1f}'),
            ('controller: max jerk m/s^3', '{controller_jerk:,.0f}'),
            ('ratio', '{controller_ratio:.1f}'),
            ('tracking mm, rms / max', '{rms:.1f} / {max:.1f}'),
            ('idle', '{idle:.0%}'),
            ('time scale', '{time_scale:.2f}'),
        ),
        rows=_seams,
        groups='### {title}\n\n{motions} motions. Inside single chunks the largest jerk is '
        '{inside:,.0f} m/s^3: no blending can be blamed for that much.',
        findings=_seam_findings,
    ),
    PageSection(
        '## Beside LeRobot',
        'peer',
        'The same chunks and delays through the classes of {version}, run in an environment of its '
        'own. LeRobot sends an action a step and has no limits, so its jerk is that of its queue; '
        'ours is given as it leaves the controller and, for the queue alone, as the reference. '
        '`ActionQueue` is what its RTC engine pops from; `RobotClient` what its asynchronous '
        'inference merges with. RTC runs its `RTCProcessor` around a stand-in for a flow policy: '
        'the exact velocity field of a normal distribution around each recorded chunk. One at a '
        'time, LeRobot begins when its own threshold says so. `appended` hardly runs dry because '
        'it executes rows that were meant for an earlier time, and `RobotClient` counts actions '
        'instead of time once it ran dry: tracking and jerk say what that costs.',
        columns=(
            ('chunks', '{trial}'),
            ('delay ms', '{delay_ms}'),
            ('of', '{of}'),
            ('method', '{method}'),
            ('max jerk m/s^3', '{max_jerk:,.0f}'),
            ('tracking mm', '{tracking_rms_mm:.1f}'),
            ('idle', '{idle:.0%}'),
        ),
        rows=_peer,
        groups='### {title}',
        findings=_peer_findings,
    ),
    PageSection(
        '## Success while inference takes time',
        'success',
        'evla-nano `single` on {tasks}: {episodes} episodes each, simulated time goes on while a '
        'chunk is computed. Paired with the same execution without delay. `synchronous` follows a '
        'chunk to its end, stands still, and only then takes the next frame.',
        ('success against delay', SUCCESS_PICTURE),
        (
            ('execution', '{method}'),
            ('delay ms', '{delay_ms}'),
            *SUCCESS,
            ('points below no delay', '{points_below_no_delay:.1f}'),
            ('only without / only with', '{only_no_delay} / {only_delayed}'),
            ('p', '{p_value:.3f}'),
            ('idle', '{idle:.0%}'),
            ('mean duration s', '{mean_duration_s:.2f}'),
            ('max jerk m/s^3', '{max_jerk:,.0f}'),
        ),
        rows=lambda parts: [
            {**row, 'tasks': row['tasks'].replace(',', ', ')} for row in parts.get('success', ())
        ],
    ),
    PageSection(
        '## The control loop',
        'controller',
        'The controller in a process of its own, as in the graph.',
        rows=_controller,
    ),
)
REPORT = Report(
    'motion.md',
    'Motion',
    SECTIONS,
    (
        Picture(
            SEAMS_PICTURE,
            lambda path, parts: plot_seams(path, [*parts.get('seams', ()), *parts.get('peer', ())]),
        ),
        Picture(SUCCESS_PICTURE, lambda path, parts: plot_success(path, parts.get('success', ()))),
    ),
)
