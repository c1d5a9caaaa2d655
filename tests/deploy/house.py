"""A `porthole demo`, a Prometheus and a browser, each on ports of its own, gone with the test."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PORTHOLE = os.environ.get("PORTHOLE_BIN", REPOSITORY / "target/debug/porthole")
PATIENCE = 60


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def until(what, check, seconds=PATIENCE):
    """The first true value of `check`, which may fail on the way."""
    end, error = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if value := check():
                return value
        except (OSError, ValueError, KeyError) as found:
            error = found
        time.sleep(0.2)
    raise AssertionError(f"never came: {what} ({error})")


def run(*command, **options):
    """A program that ends by itself: its status, and what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    return done.returncode, done.stdout


def seconds_to_stop(drain=None):
    """The longest time from SIGTERM to the end, with `drain` in seconds or as it is by default."""
    source = (REPOSITORY / "src/app.rs").read_text()
    limit = int(re.search(r"const STOP_LIMIT: Duration = Duration::from_secs\((\d+)\)", source).group(1))
    manual = (REPOSITORY / "deploy/porthole.yaml").read_text()
    own = int(re.search(r"^drain: (\d+)s$", manual, re.MULTILINE).group(1))
    return limit + (own if drain is None else drain)


class Program:
    """A program that runs until `stop`; its log is in a file."""

    def __init__(self, *command, env=None):
        self.folder = tempfile.mkdtemp()
        self.log = Path(self.folder, "log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(part).replace("FOLDER", self.folder) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": self.folder, **(env or {})},
                start_new_session=True,
            )

    def says(self, pattern):
        """The first group of `pattern` in the log, once it is there."""

        def found():
            match = re.search(pattern, self.log.read_text())
            if not match and self.process.poll() is not None:
                raise AssertionError(f"{self.process.args[0]} ended:\n{self.log.read_text()[-3000:]}")
            return match

        return until(pattern, found).group(1)

    def stop(self):
        # A browser is many processes, a group of their own.
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        except ProcessLookupError:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)


def demo():
    """`porthole demo`, once its camera is live: the program, its page's URL, its admin address."""
    free = {key: "127.0.0.1:0" for key in ["LISTEN", "ADMIN__LISTEN", "WEBRTC__LISTEN", "RTSP__LISTEN"]}
    program = Program(
        PORTHOLE, "demo", "--log-format", "json", env={f"PORTHOLE__{key}": value for key, value in free.items()}
    )
    program.says('("message":"live")')
    return program, program.says('"pages":"([^"]*)"'), program.says('"admin":"([^"]*)"')


def browser(url):
    """Chromium looking at `url`."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required "
        "--disable-dev-shm-usage --remote-debugging-port=0 --user-data-dir=FOLDER/profile"
    )
    return Program(os.environ.get("CHROMIUM", "chromium"), *flags.split(), url)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus(Program):
    """A real Prometheus with `deploy/prometheus`, looking at `target`."""

    def __init__(self, target):
        source = REPOSITORY / "deploy/prometheus"
        self.config = tempfile.mkdtemp()
        text = (source / "prometheus.yaml").read_text()
        assert "porthole:9998" in text and "scrape_interval: 15s" in text
        text = text.replace("porthole:9998", target).replace("_interval: 15s", "_interval: 1s")
        Path(self.config, "prometheus.yaml").write_text(text)
        shutil.copy(source / "rules.yaml", self.config)
        # It says nowhere which port it got for 0.
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            "prometheus",
            f"--config.file={self.config}/prometheus.yaml",
            "--storage.tsdb.path=FOLDER/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        )

    def api(self, path, **query):
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """The series that `expression` finds now; raises on one that Prometheus refuses."""
        try:
            return self.api("query", query=expression)["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None

    def stop(self):
        super().stop()
        shutil.rmtree(self.config, ignore_errors=True)
