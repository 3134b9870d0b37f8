"""Where runs go: what is given comes first, then the embedded server, then files alone; no secret is shown."""

from __future__ import annotations

import pytest
from pymongo import MongoClient

from experiments.errors import UserError
from experiments.tracking import TrackingSettings
from experiments.tracking.location import located, open_database, resolve, with_database
from experiments.tracking.server import status

pytestmark = pytest.mark.usefixtures("home")


def settings(**given) -> TrackingSettings:
    return TrackingSettings(**given)


def test_the_setting_wins_over_the_variable_over_the_file(monkeypatch, tmp_path):
    file = tmp_path / "url"
    file.write_text("mongodb://c/runs\n")
    file.chmod(0o600)
    monkeypatch.setenv("OSTINATO_MONGO_URL_FILE", str(file))
    assert resolve(settings()).url == "mongodb://c/runs"
    monkeypatch.setenv("OSTINATO_MONGO_URL", "mongodb://b/runs")
    assert resolve(settings()).url == "mongodb://b/runs"
    where = resolve(settings(mongo_url="mongodb://a"))
    assert (where.kind, where.url, where.server) == ("given", "mongodb://a/ostinato", None)
    assert status() is None, "no server was started"


def test_a_file_that_others_can_read_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "url"
    file.write_text("mongodb://me:hemiola99@c/runs")
    file.chmod(0o644)
    monkeypatch.setenv("OSTINATO_MONGO_URL_FILE", str(file))
    with pytest.raises(UserError, match="chmod 600") as error:
        resolve(settings())
    assert "hemiola" not in str(error.value)
    monkeypatch.setenv("OSTINATO_MONGO_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="No such file"):
        resolve(settings())


def test_a_password_in_the_setting_is_warned_of_and_never_shown(caplog, monkeypatch):
    where = resolve(settings(mongo_url="mongodb://me:hemiola99@host/runs"))
    assert len([message for message in caplog.messages if "OSTINATO_MONGO_URL" in message]) == 1
    assert "hemiola" not in caplog.text + where.line + repr(where) + where.masked_url
    assert "host/runs" in where.masked_url
    caplog.clear()
    monkeypatch.setenv("OSTINATO_MONGO_URL", "mongodb://me:hemiola99@host/runs")
    assert "hemiola" not in repr(resolve(settings()))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://host/x", "expected mongodb://"),
        ("host:27017", "expected mongodb://"),
        ("mongodb://", "expected mongodb://"),
        ("mongodb://me:hemiola99@host/a.b", "name of a database"),
        ("mongodb://host:hemiola/x", "the port of a host is no number from 1 to 65535"),
        ("mongodb://me:hemiola99@a:1,b:65536/x", "the port of a host is no number from 1 to 65535"),
        ("mongodb://a:1,me:hemiola99/x", "the port of a host is no number from 1 to 65535"),
        ("mongodb://[::1]:0/x", "the port of a host is no number from 1 to 65535"),
    ],
)
def test_what_is_no_url_is_refused_before_anything_starts(url, word):
    with pytest.raises(UserError, match=word) as error:
        resolve(settings(mongo_url=url))
    assert "hemiola" not in str(error.value)


@pytest.mark.parametrize(
    "login",
    [*(f"lab:hemi{letter}ola" for letter in "/@:?# %["), "dom/hemi:ola", "lab:hemi?x=1@ola", "lab:hemi/?x=ola"],
)
def test_a_login_that_is_not_escaped_is_named_and_nothing_of_it_is_shown(login):
    with pytest.raises(UserError, match="must be escaped: / as %2F") as error:
        resolve(settings(mongo_url=f"mongodb://{login}@127.0.0.1:27099/runs"))
    assert str(error.value).startswith("tracking.mongo_url=mongodb://***@127.0.0.1:27099/runs: user name and password")
    assert not {"hemi", "ola"} & set(str(error.value).replace("@", " ").replace("/", " ").replace(":", " ").split())
    assert "hemi" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://dom%2Flab:k%40%3A%25x'$!(@a:1,b:2/runs?w=1",
        "mongodb://host/runs?appName=a@b",
        "mongodb://lab@host/runs?authMechanism=MONGODB-X509&tls=true",
        "mongodb://[::1]:27017/runs",
    ],
)
def test_what_the_driver_takes_is_taken(url):
    assert with_database(url, "t") == url
    open_database(url).client.close()


def test_a_driver_shows_nothing_of_the_login():
    with pytest.raises(UserError, match="Port") as error:
        open_database("mongodb://lab:hemiola99@host:notaport/x")
    assert "hemiola" not in str(error.value)


@pytest.mark.parametrize("password", ["abc", "hemiola99"])
def test_a_setting_never_shows_its_password(password):
    given = settings(mongo_url=f"mongodb://lab:{password}@host/runs")
    shown = f"{given!r} {given} {given.model_dump()} {given.model_dump_json()}"
    assert password not in shown
    assert given.model_dump(mode="json")["mongo_url"] == "mongodb://***@host/runs"
    assert settings().model_dump(mode="json")["mongo_url"] is None
    with pytest.raises(UserError, match="Port") as error:
        open_database(f"mongodb://lab:{password}@host:notaport{password}/x")
    assert password not in str(error.value)


def test_writes_are_certain_and_never_repeated_behind_our_back():
    with open_database("mongodb://a/x?retryWrites=true&journal=false").client as client:
        options = client.options
        assert options.write_concern.document == {"j": True}
        assert (options.retry_writes, options.retry_reads) == (False, False)


def test_what_the_driver_refuses_is_one_line():
    with pytest.raises(UserError, match="host"):
        open_database("mongodb://host:notaport/x")


def test_database_names():
    assert with_database("mongodb://a,b:2/?replicaSet=x", "t") == "mongodb://a,b:2/ostinato?replicaSet=x"
    assert with_database("mongodb://%2Ftmp%2Fx.sock", "t") == "mongodb://%2Ftmp%2Fx.sock/ostinato"
    assert with_database(" mongodb+srv://cluster/mine ", "t") == "mongodb+srv://cluster/mine"
    assert open_database("mongodb://a/mine").name == "mine"


def test_the_embedded_server_is_used_and_joined_and_given_back():
    with located(settings()) as first, located(settings()) as second:
        assert first.kind == second.kind == "embedded"
        assert first.url == second.url
        first.connect()["runs"].insert_one({"_id": 1})
        database = second.connect()
        assert database.name == "ostinato"
        assert database["runs"].find_one() == {"_id": 1}
        database.client.close()
    assert status() is None


def test_an_unreachable_url_is_not_replaced():
    where = resolve(settings(mongo_url="mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50", mongo="required"))
    assert where.kind == "given"
    assert where.connect().name == "x"
    assert status() is None


def test_without_a_mongod_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("experiments.tracking.mongod.candidates", lambda: iter([(tmp_path / "mongod", "PATH")]))
    where = resolve(settings(runs_dir="mine"))
    assert where.kind == "none"
    assert where.url is None
    for word in ("no such file", "mine/", "OSTINATO_MONGO_URL", "sync"):
        assert word in where.line
    assert "\n" not in where.line
    with pytest.raises(UserError, match="No MongoDB here"):
        where.connect()
    where.release()
    with pytest.raises(UserError, match=r"tracking\.mongo=required"):
        resolve(settings(mongo="required"))


def test_a_home_that_cannot_be_written_leaves_the_files(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "file" / "home"))
    where = resolve(settings())
    assert where.kind == "none"
    assert "OSTINATO_HOME" in where.line


def test_off_starts_nothing(home, monkeypatch):
    monkeypatch.setenv("OSTINATO_MONGO_URL", "mongodb://b/runs")
    where = resolve(settings(mongo="off"))
    assert where.kind == "none"
    assert "tracking.mongo=off" in where.line
    assert not home.exists()


def test_connecting_again_starts_a_dead_server(eventually):
    import os
    import signal

    with located(settings()) as where:
        killed = status().pid
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: status() is None)
        with where.connect().client as client:
            assert isinstance(client, MongoClient)
            assert client.admin.command("ping")["ok"]
        assert status().pid != killed
