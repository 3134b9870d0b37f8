"""Settings of the decoders become their options, and beats that are known go with them."""

from __future__ import annotations

import pytest

from experiments.errors import UserError
from experiments.inference.pinned_beats import with_pinned
from experiments.settings import RhythmSettings
from experiments.settings.rhythm import READ
from models.rhythm.options import DECODERS, Decoding


def test_the_defaults_are_those_of_the_decoders():
    usual = RhythmSettings()
    for name in DECODERS:
        assert usual.decoding(name, alternatives=True) == Decoding(name=name, bars=usual.bars)
    assert usual.decoding("dbn").alternatives is False


def test_every_setting_reaches_the_decoder():
    given = {"min_bpm": 60.0, "max_bpm": 300.0, "tempo": 90.0, "n_tempi": None, "transition_lambda": None}
    given |= {"peak_threshold": 0.3, "downbeat_threshold": 0.2, "min_interval": 0.1, "threshold": 0.0}
    settings = RhythmSettings(bars=[2, 5], bar_priors=[0.0, -3.0], metre_changes=True, **given)
    made = settings.decoding("dbn")
    assert {name: getattr(made, name) for name in given} == given
    assert (made.bars, made.metre_changes) == ({2: 0.0, 5: -3.0}, True)


@pytest.mark.parametrize(
    ("given", "named"), [(None, ("dbn",)), ("online", ("online",)), (["dbn", "peaks"], ("dbn", "peaks"))]
)
def test_one_decoder_several_or_the_usual_one(given, named):
    assert RhythmSettings(decoder=given).decoders(("dbn",)) == named


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decoder": "peaks", "tempo": 90}, "rhythm.tempo=90.0 is for dbn and online, .* by peaks.*decoder=dbn"),
        ({"decoder": "dbn", "min_interval": 0.3}, "rhythm.min_interval=0.3 is for peaks, and beats are made by dbn"),
        ({"decoder": "online", "metre_changes": True}, "rhythm.metre_changes=True is for dbn"),
    ],
)
def test_what_no_decoder_in_use_reads_is_refused(given, message):
    settings = RhythmSettings(**given)
    with pytest.raises(UserError, match=message):
        settings.check_read(settings.decoders())
    settings.check_read(DECODERS)


def test_every_setting_is_that_of_a_decoder():
    read = {name for names in READ.values() for name in names}
    assert read == set(RhythmSettings.model_fields) - {"decoder", "pinned"}


def test_known_beats_are_pinned_and_those_of_position_one_are_downbeats(tmp_path):
    file = tmp_path / "known.beats"
    file.write_text("0.5\t1\n1.0\t2\n2.5\t1\n", encoding="utf-8")
    made = with_pinned(Decoding(name="dbn"), RhythmSettings(pinned=str(file)))
    assert (made.pinned, made.pinned_downbeats) == ((0.5, 1.0, 2.5), (0.5, 2.5))
    assert with_pinned(made, RhythmSettings()) is made
    with pytest.raises(UserError, match=r"known.*use rhythm\.decoder=dbn or peaks"):
        with_pinned(Decoding(name="online"), RhythmSettings(pinned=str(file)))


def test_the_usual_decoding_is_that_of_the_settings():
    made, usual = RhythmSettings().decoding("peaks"), Decoding()
    assert made.min_interval == pytest.approx(usual.min_interval) == pytest.approx(0.2)
    assert (made.peak_threshold, made.n_tempi) == (usual.peak_threshold, usual.n_tempi)


def test_bars_of_two_beats_are_looked_for_in_what_networks_give():
    assert set(RhythmSettings().decoding("dbn").bars) == {2, *Decoding().bars}
