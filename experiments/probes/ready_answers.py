"""Answers that nothing is trained for: stores of decoded predictions, one row a track."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datasets.store import Store, stated
from datasets.store_format import read_header
from experiments.errors import UserError
from experiments.tasks.base import Task, unknown


def answer_stores(settings: Mapping[str, str], tasks: Mapping[str, Task]) -> list[tuple[str, Store]]:
    """The stores of answers to the tasks at hand, by the name of their row.

    A place is a store, or a folder that holds one for every task that its method can answer.

    Raises:
        UserError: There is none, or one does not fit its task.
        StoreError: It is no store of answers.
    """
    found = []
    for name, place in settings.items():
        path = Path(place).expanduser()
        headers = [path] if (path / "header.json").is_file() else [one.parent for one in path.glob("*/header.json")]
        if not headers:
            raise UserError(f"answers.{name}: {path} is no store of answers, nor a folder of such")
        for folder in sorted(headers):
            if read_header(folder).kind == "embeddings":
                raise UserError(
                    f"answers.{name}: {folder} holds embeddings, for probes to be trained on: give it as "
                    f"embeddings.compare.NAME={folder}"
                )
            store = Store(folder, kind="answers")
            task = stated(store, "task", "a text")
            if task in tasks:
                _check(name, store, tasks[task])
                found.append((name, store))
            elif len(headers) == 1:
                raise UserError(f"answers.{name}: {unknown('task', task, tasks)} (probe.tasks)")
    return found


def _check(name: str, store: Store, task: Task) -> None:
    if tuple(store.header.item_shape) != (task.n_outputs,):
        raise UserError(
            f"answers.{name}: {store.path} holds answers of shape {list(store.header.item_shape)}, {task.name} has "
            f"{task.n_outputs} outputs ({', '.join(task.classes[:5])}, ...); were other classes meant?"
        )
    classes = stated(store, "classes", "a list of texts")
    if classes is not None and tuple(classes) != task.classes:
        raise UserError(f"answers.{name}: {store.path} answers with other classes than {task.name} has here")


def read_answers(name: str, store: Store, ids: list[str]) -> np.ndarray:
    """Answers to some tracks, float32 `[tracks, n_outputs]`.

    Raises:
        UserError: A track has none, or several.
    """
    there = set(store.ids)
    missing = [identity for identity in ids if identity not in there]
    if missing:
        raise UserError(
            f"answers.{name}: {store.path} lacks {len(missing)} of {len(ids)} test tracks, one is {missing[0]!r}; "
            f"rows are compared on the same tracks: answer them all"
        )
    arrays = [store.read(identity) for identity in ids]
    several = [identity for identity, array in zip(ids, arrays, strict=True) if len(array) != 1]
    if several:
        raise UserError(f"answers.{name}: {store.path} has several answers to {several[0]!r}, expected one a track")
    return np.concatenate(arrays).astype(np.float32)
