"""Predictions of beats: for every song a file of beats, one with all that is known, a picture, the song with clicks.

They lie under the name of the song, in the same folders below the folder of results; songs that differ in suffix alone
keep it (`song.mp3.beats`, `song.wav.beats`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from datasets.beat_files import write_beats
from datasets.beats import Beats
from datasets.csv_writing import write_records
from datasets.identity import result_names
from datasets.text import pluralize, printable
from experiments.errors import UserError
from experiments.inference.beat_picture import beat_picture
from experiments.inference.predictor import Predictor, folder_of
from experiments.inference.resumable import STAMP, Resumable
from experiments.messages import say
from experiments.settings import PredictionSettings
from experiments.tracking import RunHandle
from models.files import replaced
from models.prediction import Prediction
from models.rhythm.tempo_curve import tempo, tempo_curve
from preprocess.clicks import write_clicks
from preprocess.files import Candidate, storable
from preprocess.sources import AudioError

BEATS, ABOUT, PICTURE, CLICKS = ".beats", ".json", ".png", "_clicks.flac"  # behind the name of a song
BEGUN = "begun"  # of a line: files of this song may be there and no more
TABLE = "beats.csv"
COLUMNS = ("audio", "beats", "downbeats", "tempo", "metre", "confidence", "seconds")
KEPT = 10  # songs of one call whose files the run keeps, too
SHOWN = 20  # songs of one call that are printed
DECIMALS = 4  # of seconds


class BeatFiles(Resumable):
    """Keeps what is predicted of songs, and `beats.csv`, a row a song.

    Args:
        files: All songs of this call.
        predictor: Of them.
        inference: Where results go, and whether clicks are wanted.
        run: Keeps files too.

    Raises:
        UserError: As of `Resumable`; or a file that it would write is there already and is none of its own.
    """

    def __init__(
        self, files: Sequence[Candidate], predictor: Predictor, inference: PredictionSettings, run: RunHandle
    ) -> None:
        self._run, self._clicks = run, inference.clicks
        self._names = names_of(files)
        self._entries: dict[str, Mapping[str, Any]] = {}
        self._begun: set[str] = set()
        folder = folder_of(inference, run) if inference.out_dir else run.directory / "beats"
        if inference.clicks:
            _refuse_among_songs(files, folder)
        super().__init__(folder, {**predictor.made, **predictor.producer}, inference.overwrite)
        if not inference.overwrite:
            try:
                self._refuse_foreign(files)
            except UserError:
                self.close()
                raise

    def say_already(self, count: int) -> None:
        """Nothing is to be said."""

    def keep(self, file: Candidate, prediction: Prediction, stamp: Any) -> None:
        """Write the files of a song, then its line."""
        audio, name, events = storable(file.path), self._names[storable(file.path)], prediction.events
        self._line({"audio": audio, BEGUN: True})
        beats = Beats(*_written(events.times, events.positions))
        entry = summary_of(audio, prediction)
        paths = {kind: self.folder / f"{name}{kind}" for kind in (BEATS, ABOUT, PICTURE, CLICKS)}
        paths[BEATS].parent.mkdir(parents=True, exist_ok=True)
        write_beats(paths[BEATS], beats)
        beat_picture(prediction, paths[PICTURE], Path(audio).name)
        written = [BEATS, PICTURE, ABOUT]
        if self._clicks:
            try:
                write_clicks(file.path, paths[CLICKS], beats.times, events.positions == 1)
                written.append(CLICKS)
            except AudioError as error:
                say(f"{printable(audio)}: {error.reason}")
        with replaced(paths[ABOUT]) as aside:
            about = {**entry, **details_of(prediction)}
            aside.write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        line = {**entry, "files": {kind: f"{name}{kind}" for kind in written}, "clicks": self._clicks, STAMP: stamp}
        self._line(line)
        self._take(line)

    def leave(self, new: Sequence[str]) -> None:
        """Print what was found, write the table, and leave files with the run."""
        for audio in new[:SHOWN]:
            print(printable(audio))
            print(f"  {spoken(self._entries[audio])}")
        table = self.folder / TABLE
        rows = ({name: entry.get(name) for name in COLUMNS} for entry in self._entries.values())
        write_records(table, COLUMNS, rows)
        self._run.add_artifact(table)
        for audio in new[:KEPT]:
            for kind, path in self._entries[audio]["files"].items():
                if kind != CLICKS:  # as large as songs are
                    self._run.add_artifact(self.folder / path, path.replace("/", "_"))
        kinds = [BEATS, ABOUT, PICTURE, *([CLICKS] if self._clicks else [])]
        say(f"results: {self.folder}{os.sep}NAME{{{','.join(kinds)}}}, all songs: {table}")
        if not self._clicks:
            say("next: the same command with inference.clicks=True writes the songs with clicks at their beats")

    def _take(self, entry: Mapping[str, Any]) -> None:
        audio = entry["audio"]
        self._begun.add(audio)
        files = entry.get("files")
        if not isinstance(files, Mapping) or (self._clicks and not entry.get("clicks")):
            return
        if all((self.folder / str(path)).is_file() for path in files.values()):
            self._entries[audio] = entry
            self.done[audio] = entry.get(STAMP)

    def _refuse_foreign(self, files: Sequence[Candidate]) -> None:
        for file in files:
            audio = storable(file.path)
            for kind in (BEATS, ABOUT, PICTURE, CLICKS) if audio not in self._begun else ():
                if (path := self.folder / f"{self._names[audio]}{kind}").exists():
                    raise UserError(
                        f"{path} is there already and was not written by this prediction: choose another "
                        "inference.out_dir, or replace such files with inference.overwrite=True"
                    )


def names_of(files: Sequence[Candidate]) -> dict[str, str]:
    """What the results of songs are called, below the folder of results: path of the song without suffix, with it where
    several would be called alike."""
    names = result_names(file.id for file in files)
    return {storable(file.path): names[file.id] for file in files}


def summary_of(audio: str, prediction: Prediction) -> dict[str, Any]:
    """What is known of a whole song; plain values."""
    events, bpm = prediction.events, tempo(prediction.events.times)
    seconds = float(prediction.times[-1] + prediction.window / 2) if len(prediction.times) else 0.0
    return {
        "audio": audio,
        "seconds": round(seconds, 2),
        "beats": len(events.times),
        "downbeats": len(events.downbeats),
        "tempo": None if bpm is None else round(bpm, 2),
        "metre": events.metre,
        "confidence": round(float(np.mean(events.confidence)), 4) if len(events.times) else None,
    }


def details_of(prediction: Prediction) -> dict[str, Any]:
    """What is known of every beat, of the tempo over time, and other tempi; plain values."""
    events = prediction.events
    times, positions = _written(events.times, events.positions)
    confidence = np.round(np.asarray(events.confidence, np.float64), 4).tolist()
    middles, tempi = tempo_curve(times)
    return {
        "beats": [
            {"seconds": time, "position": position or None, "confidence": sure}
            for time, position, sure in zip(times.tolist(), positions.tolist(), confidence, strict=True)
        ],
        "downbeats": times[positions == 1].tolist(),
        "tempo_curve": [
            {"seconds": round(time, 3), "tempo": round(bpm, 2)}
            for time, bpm in zip(middles.tolist(), tempi.tolist(), strict=True)
        ],
        "alternatives": [{"tempo": round(bpm, 2), "score": round(score, 3)} for bpm, score in events.alternatives],
    }


def spoken(entry: Mapping[str, Any]) -> str:
    """A song in one line."""
    if not entry["beats"]:
        return "no beats found"
    bars = f", {pluralize(entry['downbeats'], 'downbeat')}" if entry["downbeats"] else ", no downbeats found"
    bars += f", {pluralize(entry['metre'], 'beat')} a bar" if entry["metre"] else ""
    bpm = f"Estimated tempo: {entry['tempo']:.2f} BPM, " if entry["tempo"] else ""
    return f"{bpm}{pluralize(entry['beats'], 'beat')}{bars}"


def _written(times: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times as they are written, ascending strictly, and positions."""
    return np.maximum(np.round(times, DECIMALS), 0.0), np.asarray(positions)


def _refuse_among_songs(files: Sequence[Candidate], folder: Path) -> None:
    """Refuse songs with clicks in the folder of a whole folder of songs, where the next call would take them for songs.

    Raises:
        UserError: They would lie there.
    """
    for file in files:
        root = file.path.parents[len(PurePosixPath(file.id).parts) - 1] if len(files) > 1 else None
        if root is not None and folder.resolve().is_relative_to(root.resolve()):
            raise UserError(
                f"inference.out_dir={folder} lies in the folder of the songs, where songs with clicks would be taken "
                "for songs by the next call: choose another"
            )
