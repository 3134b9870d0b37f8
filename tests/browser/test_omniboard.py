"""What Omniboard shows of runs that were recorded in the ordinary way, and whom it refuses."""

from __future__ import annotations

import http.client
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from selenium.webdriver import ActionChains

from experiments.tracking.columns import COLUMNS
from experiments.tracking.server import EmbeddedServer

PROJECT = Path(__file__).resolve().parents[2]
STEPS, HOLE = 40, range(10, 15)

# An experiment in the ordinary way: a curve with a hole of NaN and infinity, a picture, a page that plays.
EXPERIMENT = f"""
import base64, io, math, struct, wave
from pathlib import Path

from experiments.settings import PretrainSettings
from experiments.tracking.experiment import Experiment

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


def test_the_table_shows_the_runs_and_the_seeded_columns(page):
    page.open_table()
    names = ["_id", "experiment_name", "status", "tags", *COLUMNS]
    rows = page.show_columns(dict.fromkeys(names, 80))
    shown = [dict(zip(names, row[2:], strict=False)) for row in rows]  # after the box and the arrow
    assert [row["_id"] for row in shown] == ["2", "1"]
    assert [row["lr"] for row in shown] == ["0.0001", "0.001"]
    common = {"experiment_name": "ex_pretrain", "status": "COMPLETED", "tags": "browser", "target": "tagging"}
    common |= {"depth": "12", "best epoch": "3", "val AUC": "0.89", "test AP": "0.41"}
    assert [row | common for row in shown] == shown


def test_the_plot_has_a_gap_where_the_loss_was_not_finite_and_no_zero(page):
    page.open_run(1)
    series = page.series()
    steps, values = series["train/loss"]
    assert sorted(set(range(STEPS)) - set(HOLE)) == steps
    assert min(values) > 2
    assert all(math.isfinite(value) for value in values)
    assert len(series["val/roc_auc"][0]) == STEPS
    assert series["health/nonfinite"][1][-1] == len(HOLE)


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
    assert {"1-train/loss", "2-train/loss"} <= set(page.series())


def ask(port: int, method: str = "GET", path: str = "/ostinato/api/v1/Runs/count", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


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
    for user, status in expected.items():
        answer = subprocess.run([sys.executable, "-c", script, str(user)], capture_output=True, text=True, timeout=240)
        assert answer.stdout.strip() == status, answer.stderr


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
from experiments.tracking.settings import TrackingSettings

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
    server.release()
    assert until(lambda: psutil.Process(launcher.process.pid).children() not in (before, []), "Omniboard started anew")
    assert answers(launcher.port) != 200
    assert server.acquire() == url
    assert until(lambda: answers(launcher.port) == 200, "an answer after the outage")
    launcher.close()
    server.release()
    assert not (tmp_path / "mine" / "mongo").exists()
