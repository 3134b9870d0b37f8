"""The table of tasks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from experiments.errors import UserError
from experiments.tasks import TASKS, build


def test_every_row_builds_a_task_of_that_name():
    options = {"tagging": {"classes": ["a", "b"]}, "genre": {"classes": ["a", "b"]}}
    options |= {"emotion": {"mean": [0, 1], "scale": [1, 2]}, "tempo_regression": {"mean": [7], "scale": [1]}}
    for name in TASKS:
        task = build(name, **options.get(name, {}))
        assert task.name == name
        assert build(name, **task.options).options == task.options
        assert len(task.classes) == task.n_outputs


def test_an_unknown_task_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"unknown task 'tagginng'; did you mean 'tagging'\? Valid: tagging, genre"):
        build("tagginng", classes=["a"])


def test_the_table_is_quick_to_import():
    code = "import sys, experiments.tasks; print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
