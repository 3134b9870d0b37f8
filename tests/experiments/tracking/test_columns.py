"""The seeded columns of Omniboard's table, in a real database."""

from __future__ import annotations

import threading

import pytest
from pymongo import MongoClient

from experiments.settings import PretrainSettings
from experiments.tracking.database import COLLECTION, COLUMNS, seed_columns
from experiments.tracking.overrides import flat
from tests.experiments.tracking.serving import lease

ROOT_FIELDS = {"experiment", "metrics", "status", "duration", "tags", "notes", "result", "config", "info", "host"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with lease(tmp_path_factory.mktemp("home")) as url, MongoClient(url) as client:
        yield client


@pytest.fixture
def database(client, request):
    database = client[request.node.name[:40]]
    yield database
    client.drop_database(database.name)


def test_a_new_database_gets_the_columns_once(database):
    assert seed_columns(database)
    assert not seed_columns(database)
    rows = list(database[COLLECTION].find({}, {"_id": 0}))
    assert rows == [{"name": title, "config_path": path} for title, path in COLUMNS.items()]


def test_removed_columns_stay_removed(database):
    seed_columns(database)
    database[COLLECTION].delete_many({})
    assert not seed_columns(database)
    assert database[COLLECTION].count_documents({}) == 0


def test_a_users_own_columns_are_left_alone(database):
    database[COLLECTION].insert_one({"name": "mine", "config_path": "config.seed_columns"})
    assert not seed_columns(database)
    assert [row["name"] for row in database[COLLECTION].find()] == ["mine"]


def test_seeding_at_the_same_moment_leaves_each_column_once(database):
    barrier = threading.Barrier(8)

    def together() -> None:
        barrier.wait()
        seed_columns(database)

    threads = [threading.Thread(target=together) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["name"] for row in database[COLLECTION].find()) == sorted(COLUMNS)


def test_columns_point_at_settings_that_exist_and_hide_no_field():
    settings = dict(flat(PretrainSettings().model_dump()))
    paths = [path.removeprefix("config.") for path in COLUMNS.values() if path.startswith("config.")]
    assert paths
    assert set(paths) <= set(settings)
    assert not ROOT_FIELDS & set(COLUMNS)
