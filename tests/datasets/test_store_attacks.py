"""Stores from anywhere: nothing in them is followed out of their folder, and what no writer makes is refused."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets import plain_json
from datasets.store import Header, Store, StoreError, StoreWriter, consolidate, merge, stated
from datasets.store_files import locked, open_lock, remove_all
from datasets.store_index import SCHEMA, save_parquet

HEADER = Header("mel", (4,), "float32", producer={"hop": 256}, fingerprint="a" * 16)
TOKEN = "0123456789ab"
ROW = {
    "id": "evil",
    "shard": f"{TOKEN}-0000.npy",
    "offset": 0,
    "length": 1,
    "source": "",
    "duration": None,
    "checksum": "",
}


def rows(number: int) -> np.ndarray:
    return np.full((3 + number, 4), number, np.float32)


def make(path: Path, numbers: range = range(3)) -> Path:
    with StoreWriter(path, HEADER) as writer:
        for number in numbers:
            writer.append(f"t{number}", rows(number))
    return path


def assert_holds(path: Path, numbers: range) -> None:
    store = Store(path)
    assert store.ids == [f"t{number}" for number in numbers]
    for number in numbers:
        assert np.array_equal(store.read(f"t{number}"), rows(number))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make(tmp_path / "store")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that is nobody's business, of the very shape of a shard."""
    np.save(tmp_path / "important.npy", np.arange(40, dtype=np.float32).reshape(10, 4))
    return tmp_path / "important.npy"


def hostile_part(store: Path, **changes: object) -> None:
    (store / "parts" / f"{TOKEN}.jsonl").write_text(json.dumps(ROW | changes) + "\n")


def every_way_in(store: Path, tmp_path: Path) -> list[Callable[[], object]]:
    return [
        lambda: Store(store),
        lambda: StoreWriter(store, HEADER),
        lambda: merge([store], tmp_path / "merged"),
        lambda: merge([make(tmp_path / "other", range(7, 9))], store),
        lambda: consolidate(store),  # reads the index where a part is to be folded into it
    ]


@pytest.mark.parametrize(
    "name",
    ["../../important.npy", "{outside}", "sub/0123456789ab-0000.npy", f"ba{TOKEN[2:]}-0000.npy", "..", "", "x\n"],
)
def test_no_name_in_a_part_leads_out_of_the_store(store: Path, outside: Path, tmp_path: Path, name: str) -> None:
    before = outside.read_bytes()
    hostile_part(store, shard=name.format(outside=outside))
    for way in every_way_in(store, tmp_path):
        with pytest.raises(StoreError, match=f"{TOKEN}.jsonl cannot be read .*is not "):
            way()
    assert outside.read_bytes() == before
    assert not (tmp_path / "merged" / "header.json").exists()
    (store / "parts" / f"{TOKEN}.jsonl").unlink()
    assert_holds(make(store, range(3, 4)), range(4))  # writers that were refused left nothing behind


@pytest.mark.parametrize("name", ["../../important.npy", "x.npy"])
def test_no_name_in_an_index_leads_out_of_the_store(store: Path, outside: Path, tmp_path: Path, name: str) -> None:
    before = outside.read_bytes()
    with locked(store):
        save_parquet(store, pa.Table.from_pylist([ROW | {"shard": name, "duration": 1.0}], schema=SCHEMA))
    for way in every_way_in(store, tmp_path)[:4]:
        with pytest.raises(StoreError, match=r"index.parquet cannot be read .*is not the name of a shard"):
            way()
    assert outside.read_bytes() == before


def test_two_stores_with_one_linked_folder_of_shards_lose_nothing(tmp_path: Path) -> None:
    make(tmp_path / "one"), make(tmp_path / "other", range(5, 8))
    shared = tmp_path / "disk"
    shared.mkdir()
    for name in ("one", "other"):
        for shard in (tmp_path / name / "shards").iterdir():
            shutil.move(shard, shared)
        (tmp_path / name / "shards").rmdir()
        (tmp_path / name / "shards").symlink_to(shared)
    before = sorted(shared.iterdir())
    for name in ("one", "other"):
        for way in every_way_in(tmp_path / name, tmp_path):
            with pytest.raises(StoreError, match=r"shards is a link: .*move what it leads to here"):
                way()
        with pytest.raises(StoreError, match="is a link"):
            remove_all(tmp_path / name)
    assert sorted(shared.iterdir()) == before


def test_a_store_may_lie_behind_a_link_as_a_whole(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    assert_holds(make(tmp_path / "link", range(3, 5)), range(5))


@pytest.mark.parametrize("what", ["link", "pipe"])
@pytest.mark.parametrize("file", ["header.json", "index.parquet", "shard", "part", ".lock"])
def test_a_file_that_is_a_link_or_a_pipe_is_refused(store: Path, outside: Path, file: str, what: str) -> None:
    before = outside.read_bytes()
    path = store / file
    if file == "part":
        path = store / "parts" / f"{TOKEN}.jsonl"
    elif file == "shard":
        (path,) = (store / "shards").iterdir()
    path.unlink(missing_ok=True)
    path.symlink_to(outside) if what == "link" else os.mkfifo(path)
    ways = [lambda: Store(store).read("t0"), lambda: merge([store], store.parent / "merged")]
    for way in ways if file != ".lock" else [lambda: StoreWriter(store, HEADER), lambda: consolidate(store)]:
        with pytest.raises(StoreError, match=rf"{path.name} (is a link|is not a plain file)"):
            way()
    assert outside.read_bytes() == before


def test_what_a_writer_trims_is_never_a_link_or_another_writers_shard(store: Path, outside: Path) -> None:
    before = outside.read_bytes()
    (store / "shards" / f"{TOKEN}-0000.npy").symlink_to(outside)
    hostile_part(store)
    with pytest.raises(StoreError, match="is a link"):
        consolidate(store)
    assert outside.read_bytes() == before


def test_an_index_beyond_its_shard_makes_no_file_grow(store: Path) -> None:
    with (store / "shards" / f"{TOKEN}-0000.npy").open("wb") as shard:
        np.save(shard, rows(0))
    hostile_part(store, length=2**39)
    size = sum(file.stat().st_size for file in store.rglob("*.npy"))
    consolidate(store)
    assert sum(file.stat().st_size for file in store.rglob("*.npy")) == size
    opened = Store(store)
    for ask in (opened.length, opened.read, lambda id: opened.read_crop(id, 0, 5)):
        with pytest.raises(StoreError, match="is cut short: 'evil' is not whole"):
            ask("evil")
    with pytest.raises(StoreError, match="is cut short"):
        merge([store], store.parent / "merged")


def test_foreign_files_are_passed_over_and_stay(store: Path) -> None:
    foreign = []
    for folder in (store, store / "shards", store / "parts"):
        (folder / "@eaDir" / "a.npy").mkdir(parents=True)
        (folder / "notes.npy").write_text("mine")
        (folder / "._0123456789ab.jsonl").write_text("AppleDouble")
        (folder / ".tracks.csv.12.aside").write_text("of another program")
        foreign += sorted(folder.glob("*eaDir/*")) + [folder / name for name in ("notes.npy", ".tracks.csv.12.aside")]
    (store / "shards" / f"{TOKEN}-0001.npy").mkdir()
    orphan = store / "shards" / f"{TOKEN}-0000.npy"
    orphan.write_text("of a killed writer")
    assert_holds(make(store, range(3, 5)), range(5))
    assert not orphan.exists()
    remove_all(store)
    assert all(path.exists() for path in foreign)
    assert not (store / "header.json").exists()
    assert not [path for path in (store / "shards").glob("*-0000.npy") if path.is_file()]


def test_asides_of_killed_processes_are_neither_followed_nor_kept(store: Path, outside: Path) -> None:
    before = outside.read_bytes()
    for name in ("index.parquet", "header.json"):
        (store / f".{name}.{os.getpid()}.aside").symlink_to(outside)
    assert_holds(make(store, range(3, 4)), range(4))
    assert outside.read_bytes() == before
    assert not list(store.glob(".*.aside"))


def test_a_store_without_its_empty_folders_is_appended_to(store: Path) -> None:
    (store / "parts").rmdir()
    assert_holds(make(store, range(3, 4)), range(4))


def test_a_merge_never_replaces_a_shard_by_another_of_its_name(store: Path, tmp_path: Path) -> None:
    make(tmp_path / "evil", range(5, 6))
    (mine,), (theirs,) = (store / "shards").iterdir(), (tmp_path / "evil" / "shards").iterdir()
    table = Store(tmp_path / "evil").table().to_pylist()
    theirs.rename(theirs.with_name(mine.name))
    with locked(tmp_path / "evil"):
        save_parquet(
            tmp_path / "evil", pa.Table.from_pylist([row | {"shard": mine.name} for row in table], schema=SCHEMA)
        )
    assert len(Store(tmp_path / "evil").read("t5")) == 8
    with pytest.raises(StoreError, match=r"share rows of a shard|have one name and hold different arrays"):
        merge([tmp_path / "evil"], store)
    assert_holds(store, range(3))
    with pytest.raises(StoreError, match=r"share rows of a shard|have one name and hold different arrays"):
        merge([store, tmp_path / "evil"], tmp_path / "merged")


# ---- what no writer writes


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": -1},
        {"length": 0},
        {"length": -5},
        {"offset": 2**62},
        {"length": 10**30},
        {"offset": 1.5},
        {"offset": "0"},
        {"length": True},
        {"id": 5},
        {"id": None},
        {"id": "\ud800"},
        {"id": [[]]},
        {"shard": 3},
        {"source": {}},
        {"checksum": None},
        {"duration": "long"},
        {"duration": 10**400},
    ],
    ids=str,
)
def test_a_mistyped_line_of_a_part_is_named(store: Path, tmp_path: Path, changes: dict) -> None:
    hostile_part(store, **changes)
    for way in every_way_in(store, tmp_path):
        with pytest.raises(StoreError, match=rf"{TOKEN}.jsonl, line 1 is damaged"):
            way()


@pytest.mark.parametrize(
    "line", ["[" * 200_000, "5", "[]", "null", '"x"', "{}", "\x00", "1" * 5000, '{"id": ' * 100_000]
)
def test_a_part_of_something_else_is_named(store: Path, line: str) -> None:
    (store / "parts" / f"{TOKEN}.jsonl").write_text(line + "\n")
    with pytest.raises(StoreError, match=rf"{TOKEN}.jsonl, line 1 is damaged"):
        Store(store)


def test_a_line_without_end_is_not_read_whole(store: Path) -> None:
    (store / "parts" / f"{TOKEN}.jsonl").write_text("x" * 2**21)
    with pytest.raises(StoreError, match="line 1 is damaged"):
        Store(store)
    with StoreWriter(store.parent / "new", HEADER) as writer, pytest.raises(StoreError, match="letters; shorten it"):
        writer.append("x" * 2**16, rows(0))


def altered(store: Path, name: str, values: list) -> None:
    table = pq.read_table(store / "index.parquet")
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, pa.array(values)), store / "index.parquet")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("offset", [0, -3, 7], "offset -3"),
        ("offset", [0, 2**62, 7], f"offset {2**62}"),
        ("length", [3, 0, 5], "length 0"),
        ("length", [3, 5, 5], "'t1' and 't2' share rows"),
        ("offset", [0, 0, 7], "'t0' and 't1' share rows"),
        ("length", [3, 100, 5], "'t1' and 't2' share rows"),
        ("offset", [0.5, 3.0, 7.0], "offset|truncated|Float"),
        ("offset", [None, 3, 7], "a row without offset"),
        ("id", ["t0", None, "t2"], "a row without id"),
        ("id", [b"\xff", b"b", b"c"], "UTF"),
        ("length", ["three", "4", "5"], "three"),
        ("shard", [1, 2, 3], "shard|cast"),
    ],
)
def test_an_index_that_no_writer_makes_is_named(
    store: Path, tmp_path: Path, name: str, values: list, message: str
) -> None:
    altered(store, name, values)
    for way in every_way_in(store, tmp_path)[:4]:
        with pytest.raises(StoreError, match=rf"cannot be read \(.*({message})"):
            way()


def test_an_index_of_too_many_rows_for_its_size_is_not_read(store: Path) -> None:
    columns = {name: pa.nulls(4_000_000, pa.int64()) for name in SCHEMA.names}
    pq.write_table(pa.table(columns), store / "index.parquet")
    with pytest.raises(StoreError, match=r"4000000 rows in \d+ bytes"):
        Store(store)


def test_an_index_that_lacks_or_repeats_columns_is_named(store: Path) -> None:
    table = pq.read_table(store / "index.parquet")
    pq.write_table(table.drop_columns(["offset"]), store / "index.parquet")
    with pytest.raises(StoreError, match=r"index.parquet cannot be read"):
        Store(store)
    pq.write_table(table.append_column("id", table["id"]), store / "index.parquet")
    with pytest.raises(StoreError, match=r"index.parquet cannot be read"):
        Store(store)


def test_any_damage_of_any_byte_is_refused_or_harmless(store: Path) -> None:
    """What is read after bytes were changed is refused in one sentence, or is what was there."""
    chance, expected = random.Random(5), {f"t{number}": rows(number) for number in range(3)}
    (shard,) = (store / "shards").iterdir()
    for file in (store / "index.parquet", shard, store / "header.json"):
        whole = file.read_bytes()
        for _ in range(150):
            spoilt = bytearray(whole[: chance.choice([len(whole), len(whole), chance.randrange(len(whole))])])
            for _ in range(chance.choice([1, 1, 4, 40]) if spoilt else 0):
                spoilt[chance.randrange(min(len(spoilt), 128) if file == shard else len(spoilt))] = chance.randrange(
                    256
                )
            file.write_bytes(spoilt)
            try:
                opened = Store(store)
                found = {id: opened.read(id) for id in opened.ids}
            except StoreError:
                continue
            if file.name != "header.json":
                assert {id: len(array) for id, array in found.items()} == {id: len(expected[id]) for id in expected}
        file.write_bytes(whole)
    assert_holds(store, range(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": []}, r"kind=\[\]"),
        ({"item_shape": 5}, "item_shape=5"),
        ({"item_shape": "96"}, "item_shape='96'"),
        ({"item_shape": [96.5]}, r"item_shape=\[96.5\]"),
        ({"item_shape": ["96"]}, "item_shape="),
        ({"item_shape": [True]}, "item_shape="),
        ({"item_shape": [10**12]}, "a row has at most"),
        ({"item_shape": [2**31, 2**31, 2**31]}, "a row has at most"),
        ({"item_shape": [1] * 70}, "at most 16 whole numbers"),
        ({"item_shape": [-1]}, "at least 1"),
        ({"dtype": None}, "dtype=None is not"),
        ({"dtype": 5}, "dtype=5 is not"),
        ({"dtype": ["f4", "f4"]}, "dtype="),
        ({"dtype": "O"}, "real numbers"),
        ({"dtype": "(2,3)f4"}, "real numbers"),
        ({"units": 5}, "units=5"),
        ({"fingerprint": ["x"]}, "fingerprint="),
        ({"producer": [1]}, "producer="),
        ({"producer": []}, "producer="),
        ({"units": "\ud800"}, "not valid Unicode"),
        ({"version": True}, "store format True"),
        ({"version": 10**300}, "store format 1000"),
    ],
    ids=str,
)
def test_a_mistyped_header_is_named(store: Path, tmp_path: Path, changes: dict, message: str) -> None:
    fields = json.loads((store / "header.json").read_text())
    (store / "header.json").write_text(json.dumps(fields | changes))
    for way in every_way_in(store, tmp_path):
        with pytest.raises(StoreError, match=message):
            way()


@pytest.mark.parametrize("depth", [40, 900, 100_000])
def test_a_deep_header_is_refused_however_deep(store: Path, depth: int) -> None:
    text = (store / "header.json").read_text().replace("256", "[" * depth + "]" * depth)
    (store / "header.json").write_text(text)
    with pytest.raises(StoreError, match=r"header.json cannot be read \(it is nested more than 32 levels deep"):
        Store(store)


def test_levels_are_counted() -> None:
    assert plain_json.parse('{"a": [1, "\\u00e9"]}', deepest=2) == {"a": [1, "é"]}
    with pytest.raises(ValueError, match="more than 1 levels"):
        plain_json.parse('{"a": [1]}', deepest=1)
    with pytest.raises(ValueError, match="not valid Unicode"):
        plain_json.parse('{"\\ud800": 1}')


def test_what_a_producer_states_has_its_type(store: Path, tmp_path: Path) -> None:
    header = Header("logits", (2,), producer={"labels": "ab", "task": 5, "window_frames": True, "hop_frames": 3})
    StoreWriter(tmp_path / "s", header).close()
    opened = Store(tmp_path / "s")
    assert stated(opened, "hop_frames", "a number above 0") == 3
    assert stated(opened, "block", "a number of a block", "") == ""
    for key, kind in {"labels": "a list of texts", "task": "a text", "window_frames": "a number above 0"}.items():
        with pytest.raises(StoreError, match=rf"header.json: producer.{key} is .*, expected {kind}"):
            stated(opened, key, kind)


# ---- locks


def test_a_lock_can_be_opened_by_those_who_may_write_into_the_folder_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "store")
    assert stat.S_IMODE((path / ".lock").stat().st_mode) == 0o600
    (path / ".lock").chmod(0o644)  # as it was made before
    make(path, range(3, 4))
    assert stat.S_IMODE((path / ".lock").stat().st_mode) == 0o600
    path.chmod(0o2775)
    make(path, range(4, 5))
    assert stat.S_IMODE((path / ".lock").stat().st_mode) == 0o660


def test_a_lock_that_a_third_user_put_there_for_everybody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").touch(0o644)
    real = os.fstat

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    os.close(open_lock(tmp_path / ".lock"))  # ours, on a file system without modes
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda file: os.stat_result([*real(file)[:4], os.geteuid() + 1, *real(file)[5:]]))
        with pytest.raises(StoreError, match="belongs to another user and others can open it"):
            open_lock(tmp_path / ".lock")
    (tmp_path / ".lock").unlink()
    descriptor = open_lock(tmp_path / ".lock")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
