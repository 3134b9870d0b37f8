"""Predictions of classes, tags or values: files of all of them, pictures of the first, and what is printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.label_names import display_name
from datasets.text import pluralize, printable
from experiments import reports
from experiments.inference.predictor import Predictor, folder_of
from experiments.inference.results import Results
from experiments.inference.selection import say_unfitted, selection_of, tag_set
from experiments.inference.tag_map import tag_map
from experiments.messages import say
from experiments.settings import PredictionSettings
from experiments.tracking import RunHandle
from models.prediction import Prediction
from preprocess.files import Candidate, storable

LONGEST_STEM = 60  # characters of a song in the name of its picture
PICTURES = 10  # files of one call that get a picture
PICTURE = "over_time_{}.png"
SHOWN = 20  # files of one call whose classes are printed
RANKED = 10  # classes of a file in the ranking where no setting says it


class Ranked(Results):
    """Keeps `predictions.json` (selected, ranked, over time), `ranked.csv` (a row a rank), `predictions.csv` (a row a
    window, all classes) and pictures of the first files, each drawn before its file counts as done.

    Args:
        predictor: Whose predictions they are.
        inference: Where they go, and which classes are given, which may change from call to call.
        run: Keeps the files too.

    Raises:
        UserError: As of `Results`.
    """

    def __init__(self, predictor: Predictor, inference: PredictionSettings, run: RunHandle) -> None:
        self.predictor, self._inference, self.run = predictor, inference, run
        encoder, task, top = predictor.encoder, predictor.task, inference.top or RANKED
        producer = {**predictor.made, "top": top, **predictor.producer}
        about = {"tag_set": tag_set(task.classes), "weights": encoder.weights}
        selection = selection_of(inference, task, predictor.thresholds, encoder.weights)
        folder = folder_of(inference, run)
        super().__init__(folder, producer, task.classes, task.kind, top, inference.overwrite, selection, about)
        self._pictures = len(self.done)
        self._drop_pictures()

    def keep(self, file: Candidate, prediction: Prediction, stamp: Any) -> None:
        """Write what is predicted of a file, after its picture."""
        name, prediction = storable(file.path), replace(prediction, selection=self.selection)
        # before its file is entered: a call that is killed between them draws it again
        if self.predictor.task.clip_level and self._pictures < PICTURES:
            self.draw(name, prediction)
            self._pictures += 1
        self.enter(name, prediction, stamp, self.known(prediction))

    def known(self, prediction: Prediction) -> dict[str, Any]:
        """What an entry says besides what all have; plain values."""
        return {}

    def say_already(self, count: int) -> None:
        """Say that tags of files that were predicted before are selected anew."""
        if count and self.kind == "tags" and self.selection:
            were = pluralize(count, "file was predicted before; its", "files were predicted before; their")
            say(f"{were} tags are selected again with these settings")

    def leave(self, new: Sequence[str]) -> None:
        """Print what this call predicted, and leave the files with the run."""
        predictor = self.predictor
        say_unfitted(self._inference, predictor.task, predictor.thresholds, predictor.words)
        wanted, shown = set(new), 0
        for summary in self.summaries():
            if summary["audio"] in wanted and shown < SHOWN:
                shown += 1
                print(printable(summary["audio"]))
                self.show(summary)
        files = self.finish()
        for file in files:
            self.run.add_artifact(file)
        ranking = "values" if self.values else "the best classes"
        everything = "all files, " if len(wanted) > shown else ""
        say(f"{everything}{ranking}: {files[0]} (also over time), {files[1]} (a table)")
        say(f"all {'values' if self.values else 'classes'} over time: {files[2]}")
        say(f"pictures of the first {PICTURES}: {self.folder / PICTURE.format('*')}")

    def _drop_pictures(self) -> None:
        """Delete the pictures of files that are not done: of a call that was killed, or before new predictions."""
        for picture in self.folder.glob(PICTURE.format("[0-9][0-9]_*")):
            if int(picture.name.split("_")[2]) >= self._pictures:
                picture.unlink(missing_ok=True)

    def picture_of(self, audio: str) -> Path:
        """Where the picture of the next file goes."""
        name = re.sub(r"[^\w.-]+", "_", Path(audio).stem)[:LONGEST_STEM] or "audio"
        return self.folder / PICTURE.format(f"{self._pictures:02d}_{name}")

    def draw(self, audio: str, prediction: Prediction) -> None:
        """Draw classes over time."""
        picture = self.picture_of(audio)
        middles = prediction.times + prediction.window / 2
        labels = [display_name(label) for label in self.labels]
        title = Path(audio).name
        if prediction.kind == "tags":
            self.run.add_artifact(tag_map(replace(prediction, labels=labels), picture, title))
            return
        unit = "value" if self.values else "probability"
        curves = reports.tag_curves(middles, prediction.over_time, labels, picture, title=title, unit=unit)
        self.run.add_artifact(curves)

    def show(self, summary: Mapping[str, Any]) -> None:
        """Print the tags that were selected; of other tasks the ranking, or the values."""
        shown = summary["selected"] if self.kind == "tags" and "selected" in summary else summary[self.key]
        for label, value in shown.items():
            name = printable(display_name(label))
            print(f"  {value:8.2f}  {name}" if self.values else f"  {value:6.1%}  {name}")
        if summary.get("selection", {}).get("below_thresholds"):
            print("  (no tag reaches its threshold: the most probable is given)")
