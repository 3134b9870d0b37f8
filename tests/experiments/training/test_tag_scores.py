"""What a test of a tagger says beside its scores."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.tasks import build
from experiments.training.tag_scores import name_left_out


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (2, "tag0 (0 of 4), tag1 (0 of 4)\n"),
        (7, "tag5 (0 of 4), tag6 (0 of 4)\n"),  # as long as a few with the name of the table
        (47, "tag5 (0 of 4) and 41 more; all of them: per_class_test.csv\n"),
    ],
)
def test_many_tags_that_are_left_out_are_a_few_and_a_count(count, named, capsys):
    task = build("tagging", classes=[f"tag{number}" for number in range(count)])
    name_left_out(task, np.zeros((4, count), np.float32))
    assert capsys.readouterr().err.endswith(named)
