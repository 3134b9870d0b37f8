"""What a series copy writes, and what stays in the journal alone."""

from __future__ import annotations

from experiments.tracking.run import NONFINITE_SERIES
from experiments.tracking.series_copy import SeriesCopy


def test_the_count_of_missing_values_is_no_curve_beside_the_others(database):
    database["runs"].insert_one({"_id": 1})
    copy = SeriesCopy("key", 100)
    for seq, name in enumerate(["val/loss", NONFINITE_SERIES, "val/loss"], 1):
        copy.add({"seq": seq, "kind": "metrics", "name": name, "points": [[seq, 1000.0 * seq, 100.0]]})
    assert copy.flush(database, 1) == {}
    (found,) = database["metrics"].find()
    assert (found["name"], found["steps"]) == ("val/loss", [1, 3])
    assert [entry["name"] for entry in database["runs"].find_one()["info"]["metrics"]] == ["val/loss"]
