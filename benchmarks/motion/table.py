# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The page ``motion.md``: all tables of `efficient-vla bench motion`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.motion.conditions import BEST, LATEST, PATIENCE
from benchmarks.tokens.table import number, percent, table

Row = Mapping[str, Any]
JERK_RATIO = 5.0
POINTS_AT_200_MS = 3.0
LOADED_P99_MS, LOADED_P999_MS, IDLE_P99_MS = 6.0, 10.0, 2.5
"""What was asked for at least, or at most."""
SOURCES = {
    'policy': 'Chunks of evla-nano',
    'constant offset': 'A smooth motion whose chunks are shifted by up to 2 cm',
}
STEADY = ('overlapped', 'one at a time')


def page(rows: Sequence[Row], manifest: Mapping[str, Any]) -> str:
    """Return the page in Markdown; parts without rows are left out.

    A quick run is not judged: no sentence says what was asked for.
    """
    machine = manifest['machine']
    lines = [
        '# Motion',
        '',
        f'Made by `{manifest["command"]}` on {machine["cores"]} cores of {machine["cpu"]}, commit '
        f'`{str(manifest["git_commit"])[:12]}`. Every number is in the JSON file beside this page.',
    ]
    if manifest['quick']:
        lines += ['', 'A quick run: it shows that everything runs, and its numbers mean nothing.']
    parts: dict[str, Callable[[Sequence[Row], bool], list[str]]] = {
        'seams': _seams,
        'peer': lambda found, judge: _peer(found, _of(rows, 'seams'), judge),
        'success': _success,
        'controller': _controller,
    }
    for part, write in parts.items():
        mine = _of(rows, part)
        whole = [row for row in mine if 'refused' not in row]
        if whole:
            lines += ['', *write(whole, not manifest['quick'])]
        for row in mine:
            if 'refused' in row:
                lines += ['', f'Not measured: {row.get("name", part)}. {row["refused"]}']
    return '\n'.join(lines) + '\n'


def jerk_ratios(rows: Sequence[Row], limits: str, source: str) -> dict[tuple[str, int], float]:
    """Return trial and delay -> how many times less jerk the default has than latest_only."""
    found = {}
    for row in rows:
        if (row['limits'], row['source'], row['method']) != (limits, source, LATEST):
            continue
        twin = _find(rows, BEST, row)
        if twin is not None and twin['max_jerk'] > 0:
            found[row['trial'], row['delay_ms']] = row['max_jerk'] / twin['max_jerk']
    return found


def _of(rows: Sequence[Row], part: str) -> list[Row]:
    return [row for row in rows if row['part'] == part]


def _find(rows: Sequence[Row], method: str, like: Row) -> Row | None:
    names = ('source', 'trial', 'delay_ms', 'limits')
    for row in rows:
        if row['method'] == method and all(row[name] == like[name] for name in names):
            return row
    return None


def _seams(rows: Sequence[Row], judge: bool) -> list[str]:
    lines = [
        '## Seams',
        '',
        'Recorded chunks, one for every step of 12.5 ms, played with delays and accidents. All '
        'differences are taken from one step to the next, from the first seam on. `reference`: '
        'what the blending asks for, with the limits opened wide; `controller`: the set-points '
        'that leave the controller with the shipped limits. Ratios are to `latest_only`. '
        'Tracking is the distance to the motion without delay; idle is the share of steps in '
        'which no chunk moved the robot. `overlapped`: a chunk is asked for every 0.1 s, whatever '
        'is under way; `one at a time`: the next one only when the last has arrived. The watchdog '
        f'of the age of observations is off the scale ({PATIENCE}).',
        '',
        '![jerk, tracking and idle time against delay](motion_seams.png)',
    ]
    for source, title in SOURCES.items():
        mine = [row for row in rows if row['source'] == source]
        if not mine:
            continue
        inside = mine[0]['jerk_inside_chunks']
        lines += [
            '',
            f'### {title}',
            '',
            f'{mine[0]["motions"]} motions. Inside single chunks the largest jerk is '
            f'{inside:,.0f} m/s^3: no blending can be blamed for that much.',
            '',
            *table(
                (
                    'chunks',
                    'delay ms',
                    'blending',
                    'reference: max jerk m/s^3',
                    'ratio',
                    'seam: velocity step m/s',
                    'acceleration step m/s^2',
                    'controller: max jerk m/s^3',
                    'ratio',
                    'tracking mm, rms / max',
                    'idle',
                    'time scale',
                ),
                [_seam_line(row, mine) for row in mine if row['limits'] == 'reference'],
            ),
        ]
    return [*lines, *_seam_verdicts(rows)] if judge else lines


def _seam_line(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    limited = _find(rows, row['method'], {**row, 'limits': 'controller'})
    last = limited or row
    return (
        row['trial'],
        str(row['delay_ms']),
        row['method'],
        f'{row["max_jerk"]:,.0f}',
        _times(row, _find(rows, LATEST, row)),
        number(row['seam_velocity_step'], 3),
        number(row['seam_acceleration_step'], 1),
        f'{limited["max_jerk"]:,.0f}' if limited else '-',
        _times(limited, _find(rows, LATEST, limited)) if limited else '-',
        f'{last["tracking_rms_mm"]:.1f} / {last["tracking_max_mm"]:.1f}',
        percent(last['idle']),
        number(last['time_scale'], 2),
    )


def _times(row: Row, latest: Row | None) -> str:
    if latest is None or not row['max_jerk']:
        return '-'
    return f'{latest["max_jerk"] / row["max_jerk"]:.1f}'


def _seam_verdicts(rows: Sequence[Row]) -> list[str]:
    lines = []
    for limits, where in (('reference', 'Reference'), ('controller', 'Through the controller')):
        for source in SOURCES:
            ratios = jerk_ratios(rows, limits, source)
            steady = {key: value for key, value in ratios.items() if key[0] == STEADY[0]}
            if not steady:
                continue
            (_, delay), least = min(steady.items(), key=lambda item: item[1])
            verdict = 'holds' if least >= JERK_RATIO else 'does not hold'
            lines += [
                '',
                f'{where}, {source}: {BEST} has at least {least:.1f} times less max jerk than '
                f'{LATEST} (at {delay} ms). Asked: {JERK_RATIO:g}; it {verdict}.',
            ]
    lines += [
        '',
        'Through the controller all methods keep the same limits, and the chunks ask for much of '
        'that jerk themselves: what a blending saves there shows where the chunks are smooth.',
    ]
    steady_rows = [row for row in rows if row['method'] == BEST and row['trial'] == STEADY[0]]
    idle = max((row['idle'] for row in steady_rows), default=0.0)
    lines += ['', f'Idle time of {BEST}, overlapped, at most {percent(idle)}. Asked: none.']
    return lines


def _peer(rows: Sequence[Row], ours: Sequence[Row], judge: bool) -> list[str]:
    lines = [
        '## Beside LeRobot',
        '',
        f'The same chunks and delays through the classes of {rows[0]["version"]}, run in an '
        'environment of its own. LeRobot sends an action a step and has no limits, so its jerk is '
        'that of its queue; ours is given as it leaves the controller and, for the queue alone, as '
        'the reference. `ActionQueue` is what its RTC engine pops from; `RobotClient` what its '
        'asynchronous inference merges with. RTC runs its `RTCProcessor` around a stand-in for a '
        'flow policy: the exact velocity field of a normal distribution around each recorded '
        'chunk. One at a time, LeRobot asks when its own threshold says so. `appended` hardly runs '
        'dry because it executes rows that were meant for an earlier time, and `RobotClient` '
        'counts actions instead of time once it ran dry: tracking and jerk say what that costs.',
    ]
    for source, title in SOURCES.items():
        mine = [row for row in rows if row['source'] == source]
        keys = dict.fromkeys((row['trial'], row['delay_ms']) for row in mine)
        body = []
        for trial, delay in keys:
            here = [row for row in mine if (row['trial'], row['delay_ms']) == (trial, delay)]
            beside = [
                {**row, 'method': f'{row["method"]}, {row["limits"]}'}
                for row in ours
                if (row['source'], row['trial'], row['delay_ms']) == (source, trial, delay)
                and row['method'] == BEST
            ]
            body += [_peer_line(row, 'efficient_vla') for row in beside]
            body += [_peer_line(row, 'LeRobot') for row in here]
        if body:
            head = ('chunks', 'delay ms', 'of', 'method', 'max jerk m/s^3', 'tracking mm', 'idle')
            lines += ['', f'### {title}', '', *table(head, body)]
    return [*lines, *_peer_verdicts(rows, ours)] if judge else lines


def _peer_line(row: Row, of: str) -> tuple[str, ...]:
    return (
        row['trial'],
        str(row['delay_ms']),
        of,
        row['method'],
        f'{row["max_jerk"]:,.0f}',
        f'{row["tracking_rms_mm"]:.1f}',
        percent(row['idle']),
    )


def _peer_verdicts(rows: Sequence[Row], ours: Sequence[Row]) -> list[str]:
    """Say how often we are better than the best of LeRobot in jerk, and not worse in idle time."""
    smoother, steadier, equal, total = 0, 0, 0, 0
    for row in ours:
        if row['method'] != BEST or row['limits'] != 'controller':
            continue
        names = ('source', 'trial', 'delay_ms')
        theirs = [other for other in rows if all(other[name] == row[name] for name in names)]
        if not theirs:
            continue
        total += 1
        smoother += row['max_jerk'] < min(other['max_jerk'] for other in theirs)
        least = min(other['idle'] for other in theirs)
        steadier += row['idle'] < least
        equal += row['idle'] == least
    return [
        '',
        f'Against the best method of LeRobot in each of {total} rows: less max jerk in {smoother}, '
        f'less idle time in {steadier}, the same in {equal}.',
    ]


def _success(rows: Sequence[Row], judge: bool) -> list[str]:
    first = rows[0]
    lines = [
        '## Success while inference takes time',
        '',
        f'evla-nano `single` on {first["tasks"].replace(",", ", ")}: {first["episodes"]} episodes '
        'each, simulated time goes on while a chunk is computed. Paired with the same execution '
        'without delay. `synchronous` follows a chunk to its end, stands still, and only then '
        'takes the next frame.',
        '',
        '![success against delay](motion_success.png)',
        '',
        *table(
            (
                'execution',
                'delay ms',
                'success',
                '95 %',
                'points below no delay',
                'only without / only with',
                'p',
                'idle',
                'mean duration s',
                'max jerk m/s^3',
            ),
            [
                (
                    row['method'],
                    str(row['delay_ms']),
                    percent(row['success_rate']),
                    f'{percent(row["ci_low"])} to {percent(row["ci_high"])}',
                    number(row['points_below_no_delay'], 1),
                    f'{row["only_no_delay"]} / {row["only_delayed"]}',
                    number(row['p_value'], 3),
                    percent(row['idle']),
                    number(row['mean_duration_s'], 2),
                    f'{row["max_jerk"]:,.0f}',
                )
                for row in rows
            ],
        ),
    ]
    for row in rows:
        if judge and row['method'] == BEST and row['delay_ms'] == 200:
            lost = row['points_below_no_delay']
            verdict = 'holds' if lost <= POINTS_AT_200_MS else 'does not hold'
            lines += [
                '',
                f'{BEST} loses {lost:.1f} points at 200 ms. Asked: at most '
                f'{POINTS_AT_200_MS:g}; it {verdict}.',
            ]
    return lines


def _controller(rows: Sequence[Row], judge: bool) -> list[str]:
    hidden = ('part', 'key', 'commit')
    names = [name for name in rows[0] if name not in hidden]
    body = [(name.replace('_', ' '), *(_plain(row.get(name)) for row in rows)) for name in names]
    lines = [
        '## The control loop',
        '',
        'The controller in a process of its own, as in the graph.',
        '',
        *table(('what', *(f'{row["rate_hz"]:g} Hz' for row in rows)), body),
    ]
    for row in rows if judge else ():
        limit = LOADED_P99_MS if row['load'] else IDLE_P99_MS
        lines += [
            '',
            f'{row["rate_hz"]:g} Hz {"loaded" if row["load"] else "idle"}: period p99 '
            f'{row["period_p99_ms"]:.2f} ms; asked: under {limit:g}.',
        ]
        if row['load']:
            lines[-1] += f' p99.9 {row["period_p999_ms"]:.2f} ms; asked: under {LOADED_P999_MS:g}.'
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return '-' if value is None else str(value)
