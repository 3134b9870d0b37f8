"""Signals during a training; what one leaves of it is in `test_checkpointing`."""

from __future__ import annotations

import signal
from types import SimpleNamespace

from experiments.errors import UserError
from experiments.training import interruption


def test_several_processes_say_from_where_they_will_go_on(tmp_path, capsys):
    callback = interruption.SaveWhenInterrupted(tmp_path)
    for rank_zero in (True, False):
        trainer = SimpleNamespace(world_size=2, is_global_zero=rank_zero)
        callback.on_exception(trainer, None, KeyboardInterrupt())
        callback.on_exception(trainer, None, RuntimeError())
        if rank_zero:
            (tmp_path / "last.ckpt").touch()
            callback.on_exception(trainer, None, KeyboardInterrupt())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].endswith("there is no checkpoint yet")
    assert f"0 s ago is in {tmp_path / 'last.ckpt'}: give the same command with resume=True" in said[1]


def test_a_full_disk_is_said_and_the_signal_ends_the_training_all_the_same(tmp_path, capsys, monkeypatch):
    def save_checkpoint(path):
        raise UserError(f"{path}: is the disk full?")

    told, batches = [], {"accumulate_grad_batches": 1, "num_training_batches": 9}
    monkeypatch.setattr(interruption, "log_step", lambda trainer: None)
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    callback = interruption.SaveWhenInterrupted(tmp_path)
    trainer = SimpleNamespace(world_size=1, save_checkpoint=save_checkpoint, **batches)
    try:
        callback.on_train_start(trainer, None)
        signal.raise_signal(signal.SIGTERM)
        assert not told
        callback.on_train_batch_end(trainer, None, None, None, 3)
        callback.on_exception(trainer, None, KeyboardInterrupt())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]
    assert f"error: {tmp_path / 'interrupted.ckpt'}: is the disk full?" in capsys.readouterr().err


def test_a_signal_that_comes_while_something_is_said_is_not_lost(tmp_path, monkeypatch):
    def say(line):
        raise RuntimeError("reentrant call")

    monkeypatch.setattr(interruption, "say", say)
    callback = interruption.SaveWhenInterrupted(tmp_path)
    callback._receive(signal.SIGTERM, None)
    assert callback._pending == (signal.SIGTERM, None)
