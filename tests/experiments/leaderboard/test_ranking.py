"""Which scores are compared, under which name, and how they are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.intervals import Difference
from experiments.errors import UserError
from experiments.leaderboard import ranking, tables
from experiments.leaderboard.comparison import Comparison, compare, sentence
from experiments.leaderboard.ranking import Sweep
from experiments.probes.records import Score, save_predictions

ROW = Score("genre", "demo", "mine", "probe", "accuracy", 0.6, 0.5, 0.7, [0.6], 100, "s", "c")


def run(number: int, *scores: Score, artifacts=None) -> Sweep:
    return Sweep(f"key{number}", number, float(number), artifacts or {}, scores)


def board(*sweeps: Sweep):
    found = ranking.board(ranking.latest(ranking.named(sweeps)))
    return found, {test: ranking.standings(encoders) for test, encoders in found.items()}


def rows(networks: dict[int, str], encoder: str = "mine") -> list[Score]:
    return [replace(ROW, encoder=encoder, block=block, network=network) for block, network in networks.items()]


def test_stores_that_one_run_names_alike_are_one_encoder():
    sweeps = [run(1, *rows({1: "a1", 2: "a2"})), run(2, *rows({2: "a2", 3: "a3"})), run(3, *rows({3: "a3"}))]
    assert {entry.name for entry in ranking.named(sweeps)} == {"mine"}
    apart = [*sweeps, run(4, *rows({1: "b1"}))]
    assert {entry.name for entry in ranking.named(apart)} == {"mine (3 runs, the latest 3)", "mine (run 4)"}


def test_an_encoder_without_a_name_is_called_by_the_folder_of_its_stores():
    def names(*sweeps: Sweep) -> set[str]:
        return {entry.name for entry in ranking.named(sweeps)}

    first = replace(run(1, *rows({1: "a"}, "embeddings")), folder="music-1")
    other = replace(run(2, *rows({1: "b"}, "embeddings")), folder="music-2")
    assert names(first, other) == {"music-1", "music-2"}
    assert names(replace(first, folder=""), other) == {"embeddings", "music-2"}
    elsewhere = replace(run(3, *rows({1: "a"}, "embeddings")), folder="gtzan")
    assert names(elsewhere, first, other) == {"music-1 and 1 more", "music-2"}
    assert names(first, replace(other, folder="music-1")) == {"music-1 (run 1)", "music-1 (run 2)"}
    assert names(first, run(4, *rows({1: "c"}, "music-1"))) == {"embeddings", "music-1"}


def test_blocks_are_chosen_on_validation_where_it_is_known():
    known = [replace(ROW, block=1, valid=0.9, score=0.5), replace(ROW, block=2, valid=0.8, score=0.7)]
    (_, standings) = board(run(1, *known, *(replace(one, encoder="other", valid=None) for one in known)))
    (encoders,) = standings.values()
    assert (encoders["mine"].entry.score.block, encoders["mine"].by, encoders["mine"].tried) == (1, "valid", 2)
    assert (encoders["other"].entry.score.block, encoders["other"].by) == (2, "test")
    assert "else on these very items" in tables.legend(standings)


def test_blocks_stand_in_their_order_and_the_sum_behind_them():
    blocks = [10, 2, "sum", "", 0]
    (found, _) = board(run(1, *(replace(ROW, block=block) for block in blocks)))
    (encoders,) = found.values()
    assert [entry.score.block for entry in encoders["mine"]] == [0, 2, 10, "", "sum"]


def test_encoders_are_ordered_by_those_they_beat():
    first = [replace(ROW, encoder=name, score=score) for name, score in (("a", 0.9), ("b", 0.5), ("c", 0.7))]
    second = [replace(ROW, task="key", encoder=name, score=score) for name, score in (("c", 0.2), ("d", 0.9))]
    (_, standings) = board(run(1, *first, *second))
    assert ranking.ranked(standings) == ["a", "d", "c", "b"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["key", "genre", "emotion", "tempo"]), st.integers(0, 12)),
        min_size=1,
        max_size=40,
    )
)
def test_every_number_has_its_interval_and_every_encoder_its_line(cells):
    scores = [replace(ROW, encoder=f"encoder {name}", task=task, block=block) for name, task, block in cells]
    (_, standings) = board(run(1, *scores))
    text = tables.text(standings)
    assert max(map(len, text.splitlines())) <= tables.WIDTH
    assert text.count("60.0 ± 10.0") == len({cell[:2] for cell in cells})
    for name, *_ in cells:
        assert f"encoder {name}" in text


def test_names_cannot_break_a_table_or_a_page():
    (_, standings) = board(run(1, replace(ROW, encoder="a|b <script>")))
    assert "a\\|b" in tables.markdown(standings, {}, [])
    assert "<script>" not in tables.page(standings, {}, [], [])


def test_sentences():
    assert sentence(("A", "B"), Difference(0.013, 0.004, 0.022)) == (
        "A is ahead of B by 1.3 (0.4 to 2.2): more than chance"
    )
    assert sentence(("A", "B"), Difference(0.013, -0.004, 0.03)).endswith("(-0.4 to 3.0): not more than chance")
    assert sentence(("A", "B"), Difference(0.0, 0.0, 0.0)) == "A is level with B (0.0 to 0.0): not more than chance"


class Files:
    """A source of files in a folder."""

    place = "a folder"

    def __init__(self, folder):
        self.folder = folder

    def artifact(self, sweep, name):
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None


def test_items_are_paired_whatever_their_order(tmp_path):
    rng = np.random.default_rng(0)
    references = np.arange(100) % 4
    right = {"good": rng.random(100) < 0.8, "poor": rng.random(100) < 0.5}
    ids = np.array([f"track {number}" for number in range(100)])
    found = []
    for order in (np.arange(100), rng.permutation(100)):
        scores = []
        for name, correct in right.items():
            moved = order if name == "poor" else np.arange(100)
            predictions = np.eye(4, dtype=np.float32)[np.where(correct, references, (references + 1) % 4)]
            save_predictions(
                tmp_path / f"{name}.npz", ids[moved].tolist(), predictions[None][:, moved], references[moved]
            )
            value = float(correct.mean())
            scores.append(replace(ROW, encoder=name, score=value, seeds=[value], predictions=f"{name}.npz"))
        (_, standings) = board(run(1, *scores))
        ((test, encoders),) = standings.items()
        found.append(compare(test, encoders, Files(tmp_path), 300, 0))
    assert found[0] == found[1]
    assert found[0].differences["good", "poor"].ahead == pytest.approx(right["good"].mean() - right["poor"].mean())


def test_a_task_that_is_no_more_is_said():
    (_, standings) = board(run(1, replace(ROW, task="gone"), replace(ROW, task="gone", encoder="other")))
    ((test, encoders),) = standings.items()
    assert compare(test, encoders, Files(None), 300, 0) == Comparison(
        alone=dict.fromkeys(("mine", "other"), "run 1 kept no predictions")
    )


def test_names_that_no_score_has():
    entries = ranking.named([run(1, ROW)])
    assert ranking.filtered(entries, encoders=["mine"]) == entries
    with pytest.raises(UserError, match="did you mean 'demo'"):
        ranking.filtered(entries, corpora=["deno"])
