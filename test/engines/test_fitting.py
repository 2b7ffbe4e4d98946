# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs that an engine executes: exports are kept, checked against torch, and refused when off."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from engine_names import EXPORTERS, MISSING
from torch import nn
from torch.nn import functional

from efficient_vla.engines import compile as compiling, fitting, onnx, openvino, store
from efficient_vla.engines.graphs import (
    Engined,
    EngineFormat,
    EngineGraph,
    EngineRequest,
    child,
    relative_error,
)
from efficient_vla.settings import InvalidSettingError
from efficient_vla.tensors import weights_mb


class Doubled(nn.Module):
    """Rows [1, n, 2] -> twice their sum with a weight, and their count of columns."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight).float(), requires_grad=False)

    def forward(self, rows):
        return 2 * (rows + self.weight), rows.sum(-1)


def graph_of(weight=(1.0, 10.0)):
    graph = EngineGraph('doubled', Doubled(list(weight)), lambda made: None)
    graph.calls = [(torch.ones(1, rows, 2),) for rows in (2, 3)]
    return graph


def request_in(folder=None, engine='openvino', **fields):
    return EngineRequest(engine, 1, 0.01, folder, **fields)


@pytest.fixture(params=EXPORTERS)
def engine(request):
    """Return the name of an engine."""
    return request.param


def compiled(engine, graph, folder=None):
    return fitting.module_of(engine).compiled(graph, request_in(folder, engine))


def files(folder):
    """Return what an engine wrote, without the hashes."""
    return sorted(p for p in (folder / 'engines_cache').iterdir() if p.suffix != '.sha256')


def exports(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob('*.sha256')}


def test_shapes_vary_where_the_calls_do():
    assert graph_of().shapes == [[1, -1, 2]]


def test_an_engine_gives_what_was_computed_by_hand_at_a_size_it_never_saw(engine):
    made = compiled(engine, graph_of())
    twice, sums = made(torch.tensor([[[1.0, 2.0]] * 5]))
    assert twice.tolist() == [[[4.0, 24.0]] * 5]
    assert sums.tolist() == [[3.0] * 5]


class Attends(nn.Module):
    """Attention of rows [1, 2, n, 4] to themselves, of all rows or as a mask says."""

    def __init__(self, **said):
        super().__init__()
        self.said = said

    def forward(self, rows, *mask):
        return functional.scaled_dot_product_attention(rows, rows + 1, 2 * rows, *mask, **self.said)


@pytest.mark.parametrize(
    ('kind', 'widths'), [(torch.bfloat16, (4, 4)), (torch.float64, (4, 4)), (torch.float32, (4, 8))]
)
def test_attention_of_other_numbers_and_of_any_width_is_executed_too(kind, widths):
    class Typed(nn.Module):
        def forward(self, rows):
            typed = rows.to(kind)
            return functional.scaled_dot_product_attention(typed, typed + 1, 2 * typed).float()

    random = torch.Generator().manual_seed(0)
    graph = EngineGraph('attention', Typed(), lambda made: None)
    graph.calls = [(torch.randn(1, 2, 5, width, generator=random),) for width in widths]
    made = openvino.compiled(graph, request_in())
    for call in graph.calls:
        assert torch.allclose(made(*call), graph.module(*call), atol=2e-2)


@pytest.mark.parametrize(
    ('masked', 'said'),
    [(False, {}), (True, {}), (False, {'is_causal': True}), (False, {'scale': 0.3})],
    ids=str,
)
def test_attention_without_a_mask_is_two_products_of_the_same_result(masked, said):
    random = torch.Generator().manual_seed(0)
    graph = EngineGraph('attention', Attends(**said), lambda made: None)
    graph.calls = [
        (torch.randn(1, 2, n, 4, generator=random), torch.ones(n, n).tril().bool())[: 1 + masked]
        for n in (5, 7)
    ]
    model = openvino.exported(graph, request_in())
    fused = [op for op in model.get_ops() if op.get_type_name() == 'ScaledDotProductAttention']
    assert len(fused) == (masked or bool(said))
    made = openvino.compiled(graph, request_in())
    for call in graph.calls:
        assert torch.allclose(made(*call), graph.module(*call), atol=1e-6)


def test_an_export_is_made_once_and_read_again(engine, tmp_path):
    first = compiled(engine, graph_of(), tmp_path)
    before = exports(tmp_path / 'engines_cache')
    again = compiled(engine, graph_of(), tmp_path)
    assert (first.kept, again.kept, len(before)) == (False, True, 1)
    assert exports(tmp_path / 'engines_cache') == before
    assert again(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]


class Multiplied(nn.Module):
    """The product of two inputs [1, n, 3]."""

    def forward(self, one, other):
        return one * other


def test_what_is_compiled_when_it_is_loaded_serves_tensors_of_any_make(monkeypatch):
    taken, whole = [], torch.compile
    monkeypatch.setattr(
        torch, 'compile', partial(whole, backend=lambda graph, _: taken.append(graph) or graph)
    )
    graph = EngineGraph('multiplied', Multiplied(), lambda made: None)
    graph.calls = [(torch.ones(1, rows, 3), torch.ones(1, rows, 3)) for rows in (2, 4)]
    made, before = compiling.compiled(graph, request_in()), len(taken)
    outside = torch.arange(15.0).reshape(1, 5, 3)
    with torch.inference_mode():
        inside, strided = outside + 1, torch.arange(15.0).reshape(1, 3, 5).transpose(1, 2)
        for pair in ((inside, inside + 1), (outside, inside), (strided, inside), (inside, inside)):
            assert torch.equal(made(*pair), pair[0] * pair[1])
    assert len(taken) == before > 0


def test_more_graphs_of_one_kind_are_compiled_than_torch_takes_by_itself(monkeypatch):
    taken, whole = [], torch.compile

    def backend(graph, inputs):
        taken.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, 'compile', partial(whole, backend=backend))
    for width in range(1, torch._dynamo.config.recompile_limit + 3):
        graph = graph_of(range(width))
        graph.calls = [(torch.ones(1, rows, width),) for rows in (2, 3)]
        before = len(taken)
        twice, _ = compiling.compiled(graph, request_in())(torch.ones(1, 4, width))
        assert twice[0, 3].tolist() == [2.0 * (1 + column) for column in range(width)]
        assert len(taken) > before


SILENT = 'CI', 'ORT_DISABLE_TELEMETRY', 'ORT_RUNNING_UNIT_TESTS'
"""Variables with which ONNX Runtime reports nothing by itself."""
UNPACKING = {'openvino': (openvino, '_network'), 'onnxruntime': (onnx, '_session')}
"""Engine -> module and function that unpack an export."""


def test_weights_of_torch_are_gone_before_those_of_the_engine_are_unpacked(
    engine, tmp_path, monkeypatch
):
    module, name = UNPACKING[engine]
    graph, unpack = graph_of(), getattr(module, name)

    def unpacked(model, request):
        assert graph.module.weight.is_meta
        return unpack(model, request)

    graph.release = lambda: graph.module.to('meta')
    monkeypatch.setattr(module, name, unpacked)
    for _ in range(2):
        made = compiled(engine, graph, tmp_path)
        assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]
        graph.module = Doubled([1.0, 10.0])
    assert made.kept


def resident(path):
    """Return the kilobytes of a file that are memory of this process."""
    found, counts = 0, False
    for line in Path('/proc/self/smaps').read_text().splitlines():
        counts = str(path) in line if re.match('[0-9a-f]+-', line) else counts
        if counts and line.startswith('Rss:'):
            found += int(line.split()[1])
    return found


def test_pages_of_an_export_are_let_go_and_can_be_read_again(tmp_path):
    made = compiled('openvino', graph_of(), tmp_path)
    (weights,) = (tmp_path / 'engines_cache').glob('*.bin')
    pages = made.settle.__self__._pages
    assert pages[0] in weights.read_bytes()
    assert resident(weights) > 0
    made.settle()
    assert resident(weights) == 0
    assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]


def test_a_number_that_no_weight_and_no_sentence_tells_makes_another_export(tmp_path):
    keys = set()
    for factor in (2, 3):
        graph = graph_of()
        graph.module.factor = factor
        keys |= {store.key(graph, request_in(tmp_path), '1') for _ in range(2)}
    assert len(keys) == 2


def test_other_weights_and_another_format_are_other_exports(tmp_path):
    keys = {
        store.key(graph_of(), request_in(), '1'),
        store.key(graph_of((1.0, 11.0)), request_in(), '1'),
        store.key(graph_of(), request_in(format=EngineFormat('int8')), '1'),
        store.key(graph_of(), request_in(), '2'),
        store.key(graph_of(), replace(request_in(), engine='onnxruntime'), '1'),
    }
    assert len(keys) == 5
    assert store.key(graph_of(), request_in(tmp_path), '1') in keys


@pytest.mark.parametrize('place', [0, -1])
def test_a_damaged_export_is_made_again(engine, tmp_path, place):
    compiled(engine, graph_of(), tmp_path)
    path = files(tmp_path)[place]
    path.write_bytes(path.read_bytes()[:3] + b'?')
    made = compiled(engine, graph_of(), tmp_path)
    assert not made.kept
    assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]


def test_an_export_of_another_version_is_made_again(engine, tmp_path, monkeypatch):
    compiled(engine, graph_of(), tmp_path)
    monkeypatch.setattr(fitting.module_of(engine), 'version', lambda: 'another')
    assert not compiled(engine, graph_of(), tmp_path).kept


def test_an_export_with_other_numbers_in_it_is_made_again(engine, tmp_path):
    for weight in ((1.0, 10.0), (1.0, 11.0)):
        compiled(engine, graph_of(weight), tmp_path)
    one, other = (path for path in files(tmp_path) if path.suffix in ('.bin', '.onnx'))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    made = compiled(engine, graph_of(), tmp_path)
    assert not made.kept
    assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]


def test_an_export_serves_all_the_same_where_the_disk_is_full(engine, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError('basic_ios::clear: iostream error')  # as OpenVINO says it

    def cut_off(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(openvino.library(), 'save_model', full)
    monkeypatch.setattr(onnx, '_save', cut_off)
    made = compiled(engine, graph_of(), tmp_path)
    assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]
    assert not [*(tmp_path / 'engines_cache').iterdir()]


def test_exports_go_to_the_users_cache_where_the_policy_cannot_be_written_to(
    engine, tmp_path, cache
):
    blocked = tmp_path / 'policy'
    blocked.write_text('a file, below which no folder can be made')
    compiled(engine, graph_of(), blocked)
    assert len(exports(cache / 'efficient_vla' / 'engines_cache')) == 1


def test_an_export_that_cannot_be_kept_serves_all_the_same(engine, tmp_path, monkeypatch):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(blocked))
    made = compiled(engine, graph_of(), blocked)
    assert made(torch.zeros(1, 1, 2))[0].tolist() == [[[2.0, 20.0]]]


def test_weights_that_a_compiled_graph_shares_with_the_stage_count_once(monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda module, **_: module)
    parent = nn.ModuleList([Doubled([1.0, 10.0])])
    graph = EngineGraph('doubled', parent[0], parent.append)
    graph.calls = graph_of().calls
    graph.put(compiling.compiled(graph, request_in()))
    both = (2 + 1) * 4 / 1e6  # and the number that tells type and device
    assert weights_mb(parent) == both
    del parent[0]
    assert weights_mb(parent) == both


def test_nothing_of_telemetry_is_loaded():
    compiled('openvino', graph_of())
    loaded = [name for name, module in sys.modules.items() if module is not None]
    assert 'openvino' in loaded
    assert not [name for name in loaded if name.startswith('openvino_telemetry')]


@pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}')
def test_onnx_runtime_keeps_no_file_and_no_thread_to_report_by(tmp_path):
    script = (
        'import os, numpy; count = lambda: len(os.listdir("/proc/self/task")); before = count(); '
        'from efficient_vla.engines import onnx; onnx.library(); print(count() - before)'
    )
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    environment |= {'XDG_CACHE_HOME': str(tmp_path), 'OMP_NUM_THREADS': '1'}
    made = subprocess.run([sys.executable, '-c', script], env=environment, capture_output=True)
    assert (made.stdout, [*tmp_path.iterdir()]) == (b'0\n', []), made.stderr


@pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}')
def test_onnx_runtime_has_as_many_threads_as_it_is_told():
    def threads():
        return len([*Path('/proc/self/task').iterdir()])

    for wanted in (1, 4):
        request = replace(request_in(engine='onnxruntime'), threads=wanted)
        model, _ = onnx.exported(graph_of())
        held, before = model.model_proto.SerializeToString(), threads()
        session = onnx._session(held, request)
        assert threads() - before == wanted - 1  # beside the one that calls
        del session


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 2, bias=False)
        self.part.weight = nn.Parameter(torch.eye(2), requires_grad=False)

    def forward(self, rows):
        return self.part(rows) + 1


def fake_engine(monkeypatch, change):
    """Let an engine return what torch gives, changed."""

    class Fake:
        check = staticmethod(lambda request: None)
        version = staticmethod(lambda: '1')

        @staticmethod
        def compiled(graph, request):
            module = graph.module
            return Engined(lambda *given: (change(module(*given)),), 8, graph.calls[0][0], False)

    monkeypatch.setattr(fitting, 'module_of', lambda engine: Fake)


def fitted(parent, **fields):
    probes = [lambda rows=rows: parent(torch.ones(1, rows, 2)) for rows in (2, 3)]
    return fitting.fit([child(parent, 'part')], probes, request_in(**fields))


def test_the_error_of_stage_and_graph_is_reported(monkeypatch):
    fake_engine(monkeypatch, lambda made: made * 1.004)
    parent = Parent()
    report = fitted(parent)
    # Of rows of ones the graph makes 1.004 for 1, and the stage 2.004 for 2.
    assert report.error == pytest.approx(0.002, rel=1e-3)
    assert report.worst == 'part (4.00e-03)'
    assert isinstance(parent.part, Engined)


@pytest.mark.parametrize(
    'change', [lambda m: m * 1.02, lambda m: m * float('nan'), lambda m: m[:, 1:]]
)
def test_an_error_above_the_bound_is_refused(monkeypatch, change):
    fake_engine(monkeypatch, change)
    with pytest.raises(
        InvalidSettingError, match=r'gives part a relative error of .*engine_max_error 0.01'
    ):
        fitted(Parent())


def test_a_graph_that_an_engine_cannot_execute_is_named(monkeypatch):
    fake_engine(monkeypatch, lambda made: made)
    monkeypatch.setattr(
        fitting.module_of(''), 'compiled', staticmethod(lambda graph, request: 1 / 0)
    )
    with pytest.raises(
        InvalidSettingError, match=r'openvino, which cannot execute part .*Set engine to torch'
    ):
        fitted(Parent())


def test_an_engine_that_is_not_installed_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    openvino.library.cache_clear()
    openvino.core.cache_clear()
    with pytest.raises(InvalidSettingError, match='pip install openvino, or set engine to torch'):
        fitted(Parent())
    openvino.library.cache_clear()


@pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}')
def test_an_onnx_runtime_that_lacks_the_operators_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(onnx, 'version', lambda: '1.9.0')
    said = r'is 1\.9\.0, expected 1\.23 or newer\. Install it: pip install onnxruntime .*--upgrade'
    with pytest.raises(InvalidSettingError, match=said):
        onnx.check(request_in(engine='onnxruntime'))
    monkeypatch.setattr(onnx, 'version', lambda: '1.23.0')
    onnx.check(request_in(engine='onnxruntime'))


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch):
    class Core:
        def get_property(self, device, name):
            return ['FP32', 'INT8']

    monkeypatch.setattr(openvino, 'core', lambda: Core())
    form = EngineFormat('bfloat16', 'bf16')
    with pytest.raises(InvalidSettingError, match='does not compute in bfloat16'):
        fitted(Parent(), format=form)


def test_a_compiler_that_is_missing_is_told(monkeypatch):
    monkeypatch.setenv('PATH', '')
    request = replace(request_in(), engine='compile')
    with pytest.raises(InvalidSettingError, match='sudo apt-get install g'):
        fitting.fit([child(Parent(), 'part')], [], request)


def test_relative_error_is_that_of_the_worst_output():
    exact = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0])]
    found = [torch.tensor([3.0, 4.5]), torch.tensor([0.0, 2.5])]
    assert relative_error(found, exact) == pytest.approx(0.25)
    assert relative_error([torch.tensor([float('nan')])], [torch.ones(1)]) == float('inf')
