"""What Omniboard shows of runs that were recorded in the ordinary way, and whom it refuses."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from selenium.webdriver import ActionChains

from experiments.tracking.database import COLUMNS, VIEW
from experiments.tracking.server import EmbeddedServer, status

PROJECT = Path(__file__).resolve().parents[2]
STEPS, HOLE = 40, range(10, 15)

# An experiment in the ordinary way: a curve with a hole of NaN and infinity, a picture, a page that plays; how fast it
# ran; and a table and a page with a text that would delete runs if it were run as a script.
DELETES = """
document.title = 'ran';
fetch('/ostinato/api/v1/Runs/1', {method: 'DELETE'});
"""
HOSTILE = f'<script>{DELETES}</script><img src=x onerror="{" ".join(DELETES.split())}">'
EXPERIMENT = f"""
import base64, io, math, struct, wave
from pathlib import Path

from experiments.settings import PretrainSettings
from experiments.tracking import Experiment
from experiments.tracking import RunLogger
from experiments.training.throughput import NAMES

ex = Experiment("ex_pretrain", PretrainSettings, {{}})


@ex.main
def main(settings, run):
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot

    print("what was printed")
    for step in range({STEPS}):
        bad = math.nan if step % 2 else math.inf
        run.log_scalar("train/loss", bad if step in {HOLE!r} else 2 + math.exp(-step / 10), step)
        run.log_scalar("val/roc_auc", 0.5 + step / 100, step)
    RunLogger(run, beside=NAMES).log_metrics(dict(zip(NAMES, (150.0, 0.02, 0.4))), step=0)
    pyplot.figure(figsize=(4, 3))
    pyplot.plot([1, 3, 2])
    pyplot.savefig(run.directory / "curves_val.png")
    run.add_artifact(run.directory / "curves_val.png")
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 4))) for i in range(40000)))
    data = base64.b64encode(sound.getvalue()).decode()
    page = run.directory / "listen.html"
    page.write_text(f'<!doctype html><h1>Listen</h1><audio controls src="data:audio/wav;base64,{{data}}"></audio>')
    run.add_artifact(page)
    for name in ("predictions.csv", "report.html"):
        (run.directory / name).write_text(f"{{name}},tagging\\n" + {HOSTILE!r} + ",0.5\\n")
        run.add_artifact(run.directory / name)
    run.set_info(target="tagging", best={{"metric": "val/roc_auc", "epoch": 3}})
    return {{"val/roc_auc": 0.89, "test/roc_auc": 0.81, "test/ap": 0.41}}


ex.run_commandline()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home):
    """The embedded server, held for the module so that it need not start again for each test."""
    server = EmbeddedServer(home)
    server.acquire()
    yield server
    server.release()


@pytest.fixture(scope="module")
def runs(home, server) -> None:
    """Two runs that differ in their learning rate."""
    script = home / "ex_pretrain.py"
    script.write_text(EXPERIMENT)
    environment = {**os.environ, "OSTINATO_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    environment.pop("OSTINATO_MONGO_URL", None)
    for rate in ("0.001", "0.0001"):
        words = ["with", f"module.optimizer.lr={rate}", "tracking.tags=[browser]"]
        subprocess.run([sys.executable, script, *words], cwd=home, env=environment, check=True, timeout=240)


@pytest.fixture(scope="module")
def dashboard(home, runs, start):
    return start(home)


@pytest.fixture
def page(page_at, dashboard):
    return page_at(dashboard.url)


def title(name: str) -> str:
    """A column's title as Omniboard writes it."""
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_")).strip()


def test_a_browser_that_has_not_been_here_sees_what_matters(page):
    page.forget()
    rows = page.open_table()
    assert page.titles() == [title(name) for name in VIEW]
    assert set(COLUMNS) < set(VIEW)
    shown = [dict(zip(VIEW, row[2:], strict=True)) for row in rows]  # after the box and the arrow
    assert [row["_id"] for row in shown] == ["2", "1"]
    assert [row["lr"] for row in shown] == ["0.0001", "0.001"]
    common = {"experiment_name": "ex_pretrain", "status": "COMPLETED", "tags": "browser", "target": "tagging"}
    common |= {"depth": "12", "best epoch": "3", "val AUC": "0.89", "test AP": "0.41"}
    assert [row | common for row in shown] == shown
    widths = page.browser.execute_script(
        "return [...document.querySelectorAll('[role=columnheader]')].slice(2).map(cell => cell.offsetWidth)"
    )
    assert all(0 <= wide - asked <= 15 for wide, asked in zip(widths, VIEW.values(), strict=True)), widths


def test_what_a_user_chose_stays(page):
    page.forget()
    page.open_table()
    page.hide_column("Depth")
    page.open_table()
    assert page.titles() == [title(name) for name in VIEW if name != "depth"]


def test_other_columns_can_be_chosen_and_new_settings_join_them(page):
    page.forget()
    page.open_table()
    script = """
        const key = 'ostinato|RunsTable|1', state = JSON.parse(localStorage[key]);
        const offered = state.dropdownOptions.filter(option => !option.selected).map(option => option.value);
        if (arguments[0]) {
            state.dropdownOptions = state.dropdownOptions.filter(option => option.value !== arguments[0]);
            delete state.columnWidths[arguments[0]];
            localStorage[key] = JSON.stringify(state);
        }
        return offered;
    """
    offered = page.browser.execute_script(script, "c_trainer")
    assert {"hostname", "notes", "start_time", "c_trainer", "c_module"} <= set(offered)
    page.open_table()
    assert set(page.browser.execute_script(script)) == set(offered)
    assert page.titles() == [title(name) for name in VIEW]


def test_an_empty_database_seen_first_spoils_nothing(start, server, page_at, tmp_path, runs, until):
    with MongoClient(server.url) as client:
        full = client.get_default_database()
        launcher = start(tmp_path, OSTINATO_MONGO_URL=server.url.replace(f"/{full.name}", "/other"))
        page = page_at(launcher.url)
        page.forget()
        page.browser.get(page.url)
        key = "return localStorage['other|RunsTable|1']"
        assert until(lambda: page.browser.execute_script(key), "the state of an empty table")
        other = client["other"]
        other["runs"].insert_many(full["runs"].find())
        page.open_table()
        assert page.titles() == [title(name) for name in VIEW]
        client.drop_database("other")
    launcher.close()


def test_a_run_opens_on_its_losses_and_scores(page, until):
    page.forget()
    page.open_run(2)
    assert set(page.series()) == {"train/loss", "val/roc_auc"}
    page.open_tab("Run Info")
    assert until(lambda: "throughput" in page.text(), "how fast it ran")


def test_the_plot_has_a_gap_where_the_loss_was_not_finite_and_no_zero(page):
    page.open_run(1)
    series = page.series()
    steps, values = series["train/loss"]
    assert sorted(set(range(STEPS)) - set(HOLE)) == steps
    assert min(values) > 2
    assert all(math.isfinite(value) for value in values)
    assert len(series["val/roc_auc"][0]) == STEPS


def test_a_picture_is_seen(page, until):
    page.open_run(1, "Artifacts")
    picture = page.open_artifact("curves_val.png", "img")
    assert until(lambda: page.browser.execute_script("return arguments[0].naturalWidth", picture) == 400, "the picture")


def test_a_page_with_sound_plays(page, until):
    page.open_run(2, "Artifacts")
    frame = page.open_artifact("listen.html", "iframe")
    page.browser.switch_to.frame(frame)
    audio = until(lambda: page.browser.find_element("css selector", "audio"), "the player")
    assert audio.is_displayed()
    play_button = 30 - audio.size["width"] // 2  # from the middle, where the pointer goes
    ActionChains(page.browser).move_to_element_with_offset(audio, play_button, 0).click().perform()
    assert until(lambda: page.browser.execute_script("return arguments[0].currentTime > 0.3", audio), "sound running")
    page.browser.switch_to.default_content()


def test_what_was_printed_is_seen(page, until):
    page.open_run(1, "Captured Out")
    assert until(lambda: "what was printed" in page.text(), "the run's output")


def test_two_runs_are_compared(page, until):
    page.open_comparison("Config")
    assert until(
        lambda: page.browser.find_elements("css selector", "[data-key=lr].jsondiffpatch-modified"), "the change"
    )
    changed = page.browser.find_element("css selector", "[data-key=lr].jsondiffpatch-modified").text
    assert changed == "lr0.00010.001"  # the old one struck out, the new one beside it
    page.open_comparison()
    assert set(page.series()) == {f"{run}-{name}" for run in (1, 2) for name in ("train/loss", "val/roc_auc")}


@pytest.fixture
def artifact(dashboard, server) -> Callable[[str], str]:
    """`artifact(name)`: the id of a file of run 1."""

    def find(name: str) -> str:
        with MongoClient(server.url) as client:
            files = client.get_default_database().runs.find_one({"_id": 1})["artifacts"]
        return next(str(entry["file_id"]) for entry in files if entry["name"] == name)

    return find


def run_ids(server) -> list[int]:
    with MongoClient(server.url) as client:
        return sorted(run["_id"] for run in client.get_default_database().runs.find({}, {"_id": 1}))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("predictions.csv", "{}"),
        ("predictions.csv", "{}/x.html"),
        ("predictions.csv", "{}/x.svg"),
        ("report.html", "{}/r.html"),
    ],
)
def test_a_file_opened_by_itself_does_nothing(page, dashboard, server, artifact, until, name, path):
    page.browser.get(f"{dashboard.url}/api/v1/files/preview/{path.format(artifact(name))}")
    ready = "return document.readyState === 'complete'"
    assert until(lambda: page.browser.execute_script(ready), "the page")
    assert page.browser.title != "ran"
    assert run_ids(server) == [1, 2]


def test_a_page_among_the_artifacts_does_nothing(page, server, until):
    page.open_run(2, "Artifacts")
    frame = page.open_artifact("report.html", "iframe")
    page.browser.switch_to.frame(frame)
    assert until(lambda: "tagging" in page.browser.page_source, "the page")
    assert page.browser.execute_script("return document.title") != "ran"
    assert page.browser.execute_script("return window.origin") == "null"
    page.browser.switch_to.default_content()
    assert run_ids(server) == [1, 2]


def test_the_name_of_a_metric_does_nothing(page, server):
    with MongoClient(server.url) as client:
        metrics = client.get_default_database().metrics
        added = metrics.insert_one({"run_id": 1, "name": HOSTILE, "steps": [0, 1], "values": [0.5, 0.6]}).inserted_id
        page.open_run(1)
        assert len(page.series()) == 3
        metrics.delete_one({"_id": added})
    assert page.browser.title != "ran"
    assert run_ids(server) == [1, 2]


def ask(port: int, method: str = "GET", path: str = "/ostinato/api/v1/Runs/count", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((f"files/{kind}", 400) for kind in ("abc", "download/abc/x.png", "preview/abc", "preview/%FF", "source/abc")),
        *((f"files/{kind}", 400) for kind in ("artifacts/abc", "downloadAll/abc/artifacts")),
        *((f"files/{kind}{'0' * 24}", 404) for kind in ("", "download/", "preview/")),
        *((f"files/{kind}", 404) for kind in ("source/77", "artifacts/77", "downloadAll/77/artifacts")),
        *((f"{kind}/abc", 400) for kind in ("Runs", "SourceFilesCount")),
        *((f"{kind}/77", 404) for kind in ("Runs", "SourceFilesCount")),
        *((f"{kind}?query=null", 400) for kind in ("Runs", "Runs/count", "SourceFiles")),
        ("Runs?query=%3Cscript%3E", 400),
        ("Runs?select[]=a&select[]=b", 400),
        ("Metrics/abc", 404),
        ("Fs.files/abc", 404),
    ],
)
def test_what_is_not_there_is_said_and_ends_nothing(dashboard, path, status):
    before = psutil.Process(dashboard.process.pid).children()
    answer = ask(dashboard.port, path=f"/ostinato/api/v1/{path}")
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json; charset=utf-8")
    assert ask(dashboard.port).status == 200
    assert psutil.Process(dashboard.process.pid).children() == before


def test_a_file_of_which_a_part_is_lost_is_said(dashboard, server, artifact):
    lost = ObjectId(artifact("curves_val.png"))
    with MongoClient(server.url) as client:
        chunks = client.get_default_database()["fs.chunks"]
        (chunk,) = chunks.find({"files_id": lost})
        chunks.delete_one(chunk)
        assert ask(dashboard.port, path=f"/ostinato/api/v1/files/download/{lost}/curves_val.png").status == 404
        chunks.insert_one(chunk)
    assert ask(dashboard.port, path=f"/ostinato/api/v1/files/download/{lost}/curves_val.png").status == 200


def test_an_error_that_nobody_caught_costs_one_answer(dashboard, server, until):
    """A chunk in the wrong place: Omniboard throws in the middle of reading, and ends."""
    before = psutil.Process(dashboard.process.pid).children()
    file, size = ObjectId(), 261120
    with MongoClient(server.url) as client:
        database = client.get_default_database()
        database["fs.files"].insert_one({"_id": file, "filename": "x", "length": 2 * size, "chunkSize": size})
        database["fs.chunks"].insert_many([{"files_id": file, "n": n, "data": b"x" * size} for n in (0, 7)])
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(dashboard.port, path=f"/ostinato/api/v1/files/download/{file}/x")
        database["fs.chunks"].delete_many({"files_id": file})
        database["fs.files"].delete_one({"_id": file})
    assert until(lambda: psutil.Process(dashboard.process.pid).children() not in (before, []), "Omniboard anew")
    assert until(lambda: answers(dashboard.port) == 200, "an answer")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_lead_to_the_table_and_to_nothing_behind_it(dashboard, artifact, site):
    came = {"Sec_Fetch_Site": site, "Sec_Fetch_Dest": "document"}
    file = f"/ostinato/api/v1/files/preview/{artifact('report.html')}/report.html"
    assert ask(dashboard.port, path="/ostinato?selectedRows=[0]", **came).status == 200
    for path in ("/ostinato/api/v1/Runs/1", "/ostinato/API/v1/Runs", "/api/v1/databases", file):
        assert ask(dashboard.port, path=path, **came).status == 403
    assert ask(dashboard.port, path="/ostinato", Sec_Fetch_Site=site, Sec_Fetch_Dest="iframe").status == 403


def test_what_comes_from_the_database_is_no_page_of_the_run_browser(dashboard, artifact):
    file = artifact("predictions.csv")
    for path in ("Runs", f"files/preview/{file}", f"files/preview/{file}/x.html", f"files/download/{file}/x.csv", "no"):
        headers = ask(dashboard.port, path=f"/ostinato/api/v1/{path}").headers
        assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert (
        ask(dashboard.port, path=f"/ostinato/api/v1/files/preview/{file}")
        .headers["Content-Type"]
        .startswith("text/plain")
    )


def test_a_file_of_any_name_can_be_fetched(dashboard, artifact):
    answer = ask(dashboard.port, path=f"/ostinato/api/v1/files/download/{artifact('predictions.csv')}/%E5%AE%8C%22.csv")
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''%E5%AE%8C%22.csv")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_foreign_pages_are_refused_and_delete_nothing(dashboard, server, method, headers):
    assert ask(dashboard.port, method, "/ostinato/api/v1/Runs/1", **headers).status == 403
    with MongoClient(server.url) as client:
        assert client.get_default_database().runs.count_documents({}) == 2


def test_own_pages_are_answered_without_leave_for_others(dashboard):
    for host in (f"127.0.0.1:{dashboard.port}", f"localhost:{dashboard.port}", "localhost:8080"):  # a tunnel's port
        answer = ask(dashboard.port, Host=host, Origin=f"http://{host}")
        assert answer.status == 200
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_another_user_of_the_machine_is_refused(dashboard):
    script = f"""
import os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.socket() as connection:
    connection.connect(("127.0.0.1", {dashboard.port}))
    connection.sendall(b"GET /api/v1/databases HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print(connection.recv(1000).split()[1].decode())
"""
    expected = {os.getuid(): "200"}
    if os.getuid() == 0:  # who else could be somebody else
        expected[65534] = "403"
    for user, code in expected.items():
        answer = subprocess.run([sys.executable, "-c", script, str(user)], capture_output=True, text=True, timeout=240)
        assert answer.stdout.strip() == code, answer.stderr


def test_it_listens_on_loopback_only(dashboard):
    listening = [
        connection.laddr
        for process in psutil.Process(dashboard.process.pid).children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN and connection.family != socket.AF_UNIX
    ]
    assert listening == [("127.0.0.1", dashboard.port)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_launcher_ends(home, runs, start, tmp_path, number):
    launcher = start(home, TMPDIR=str(tmp_path))
    (node,) = [child for child in psutil.Process(launcher.process.pid).children() if "node" in child.name()]
    assert node.environ()["OSTINATO_SCRATCH"].startswith(str(tmp_path))
    assert not list(tmp_path.glob("*/databases.json"))
    launcher.process.send_signal(number)
    assert launcher.process.wait(120) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert not psutil.wait_procs([node], timeout=120)[1]
    assert not list(tmp_path.glob("ostinato-dashboard-*"))


SHORT = """
from experiments.tracking.dashboard import serve, stop_event
from experiments.tracking.location import located
from experiments.tracking import TrackingSettings

stop = stop_event()
with located(TrackingSettings()) as location:
    serve(location, stop, check_every=0.5, patience=10)
"""


def answers(port: int) -> int:
    """The status of an answer that needs the database; 0 for none."""
    try:
        return ask(port).status
    except OSError:
        return 0


def serving_pid(url: str) -> int:
    with MongoClient(url, serverSelectionTimeoutMS=2000) as client:
        try:
            return int(client.admin.command("serverStatus")["pid"])
        except PyMongoError:
            return 0


def test_a_killed_embedded_server_is_started_again(home, start, server, until):
    launcher = start(home, SHORT)
    before = serving_pid(server.url)
    os.kill(before, signal.SIGKILL)
    assert until(lambda: serving_pid(server.url) not in (0, before), "another server")
    assert until(lambda: answers(launcher.port) == 200, "an answer after the outage")


def test_a_given_database_that_was_away_is_shown_again(start, tmp_path, until):
    server = EmbeddedServer(tmp_path / "theirs")
    url = server.acquire()
    launcher = start(tmp_path / "mine", SHORT, OSTINATO_MONGO_URL=url)
    before = psutil.Process(launcher.process.pid).children()
    os.kill(status(tmp_path / "theirs").pid, signal.SIGKILL)
    assert until(lambda: psutil.Process(launcher.process.pid).children() not in (before, []), "Omniboard started anew")
    assert answers(launcher.port) != 200
    assert server.revive() == url
    assert until(lambda: answers(launcher.port) == 200, "an answer after the outage")
    launcher.close()
    server.release()
    assert not (tmp_path / "mine" / "mongo").exists()
