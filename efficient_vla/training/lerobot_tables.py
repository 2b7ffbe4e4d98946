# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The parquet files of a LeRobotDataset: a row a frame, a row an episode, a row a task."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class FrameTable:
    """``data/``: the numbers of every frame, an episode a row group."""

    def __init__(self, path: Path, actions: int, states: int) -> None:
        """Begin the file; ``actions`` and ``states`` are the columns of the two vectors."""
        self.schema = pa.schema(
            [
                ('action', pa.list_(pa.float32(), actions)),
                ('observation.state', pa.list_(pa.float32(), states)),
                ('timestamp', pa.float32()),
                ('frame_index', pa.int64()),
                ('episode_index', pa.int64()),
                ('index', pa.int64()),
                ('task_index', pa.int64()),
            ]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pq.ParquetWriter(path, self.schema)

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append the frames of one episode, [T] or [T, D] each."""
        arrays = []
        for field in self.schema:
            values = columns[field.name]
            if values.ndim == 2:
                flat = pa.array(values.reshape(-1), field.type.value_type)
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
            else:
                arrays.append(pa.array(values, field.type))
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def close(self) -> None:
        """Write the file's end."""
        self._file.close()


class EpisodeTable:
    """``meta/episodes/``: where every episode lies, and its own statistics."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []

    def add(
        self,
        index: int,
        sentence: str,
        first_frame: int,
        length: int,
        fps: int,
        videos: Mapping[str, float],
        statistics: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        """Append an episode; ``videos`` maps video keys to the time [s] at which it begins."""
        row: dict[str, Any] = {
            'episode_index': index,
            'tasks': [sentence],
            'length': length,
            'data/chunk_index': 0,
            'data/file_index': 0,
            'dataset_from_index': first_frame,
            'dataset_to_index': first_frame + length,
        }
        for key, begin in videos.items():
            row[f'videos/{key}/chunk_index'] = 0
            row[f'videos/{key}/file_index'] = 0
            row[f'videos/{key}/from_timestamp'] = begin
            row[f'videos/{key}/to_timestamp'] = (first_frame + length) / fps
        for key, found in statistics.items():
            for name, value in found.items():
                row[f'stats/{key}/{name}'] = value.tolist()
        self._rows.append(row | {'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0})

    def close(self) -> None:
        """Write the file."""
        if not self._rows:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._rows), self._path)


def write_tasks(path: Path, sentences: Sequence[str]) -> None:
    """Write the sentences, each with its number, as pandas stores a frame indexed by sentence."""
    described = {
        'index_columns': ['task'],
        'column_indexes': [],
        'columns': [
            {
                'name': name,
                'field_name': name,
                'pandas_type': kind,
                'numpy_type': numpy_kind,
                'metadata': None,
            }
            for name, kind, numpy_kind in (
                ('task_index', 'int64', 'int64'),
                ('task', 'unicode', 'object'),
            )
        ],
        'pandas_version': '2.0.0',
    }
    schema = pa.schema(
        [('task_index', pa.int64()), ('task', pa.string())],
        metadata={'pandas': json.dumps(described)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array(range(len(sentences)), pa.int64()), pa.array(sentences, pa.string())]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path)
