"""Schemathesis against the running program, by the program's own document."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
PORTHOLE = Path(os.environ.get("PORTHOLE_BIN", HERE / "../../target/debug/porthole")).resolve()
PATIENCE = 60

# No stream of the tests leads anywhere: no address is within bounds.
OURS = """\
# ours
listen: 127.0.0.1:0
webrtc: { listen: 127.0.0.1:0 }
drain: 0s
streams:
  # the one there is
  yard: { source: "rtsp://127.0.0.1:1/a", on_demand: true } # mine
admin: { listen: 127.0.0.1:0, source_networks: [] }
"""


class Gateway:
    """A gateway on ports of its own, gone with the test."""

    def __init__(self, yaml):
        self.folder = tempfile.TemporaryDirectory()
        self.home = Path(self.folder.name)
        self.file = self.home / "porthole.yaml"
        self.file.write_text(yaml)
        log = self.home / "log"
        with log.open("w") as stderr:
            self.program = subprocess.Popen(
                [PORTHOLE, "serve", "--config", self.file],
                stderr=stderr,
                env={"RUST_LOG": "off,porthole=info"},
            )
        end = time.monotonic() + PATIENCE
        while True:
            for line in log.read_text().splitlines():
                if admin := json.loads(line).get("admin"):
                    self.admin = f"http://{admin}"
                    return
            assert self.program.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.terminate()
        try:
            self.program.wait(PATIENCE)
        finally:
            self.program.kill()
            self.folder.cleanup()

    def checked(self, *options, document=None):
        """What Schemathesis makes of it: its status, and what it said."""
        document = document or json.loads(subprocess.check_output([PORTHOLE, "openapi"]))
        described = self.home / "openapi.json"
        described.write_text(json.dumps(document))
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
                *("--config-file", HERE / "schemathesis.toml", "run", described),
                # A seed, and as many examples as it takes: no luck of the hour.
                *("--url", self.admin, "--no-color", "--seed", "1", "--max-examples", "25"),
                *options,
            ],
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
        assert self.program.poll() is None, "the program ended"
        return done.returncode, done.stdout


class Api(unittest.TestCase):
    def test_every_answer_is_as_documented(self):
        with Gateway(OURS) as gateway:
            status, said = gateway.checked()
            self.assertEqual(status, 0, said)
            # Hundreds of changes later the file is ours, and valid.
            text = gateway.file.read_text()
            for line in ("# ours\n", "  # the one there is\n", OURS.splitlines()[-1]):
                self.assertIn(line, text)
            check = [PORTHOLE, "check", "--config", gateway.file]
            self.assertEqual(subprocess.run(check, env={}).returncode, 0, text)

    def test_so_it_is_where_a_login_is_needed(self):
        made = subprocess.run(
            [PORTHOLE, "password"], input=b"right\n", env={}, stdout=subprocess.PIPE, check=True
        )
        users = [{"name": "root", "password_hash": made.stdout.decode().strip(), "admin": True}]
        with Gateway(OURS + f"auth: {json.dumps({'users': users})}\n") as gateway:
            # All refused would be as documented, too.
            login = urllib.request.Request(gateway.admin + "/api/v1/streams")
            login.add_header("Authorization", "Basic " + base64.b64encode(b"root:right").decode())
            with urllib.request.urlopen(login, timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 200)
            phases = ("--phases", "coverage,fuzzing")
            status, said = gateway.checked("--auth", "root:right", *phases)
            self.assertEqual(status, 0, said)

    def test_a_lie_of_the_document_is_found(self):
        """So the two tests above can fail."""
        true = json.loads(subprocess.check_output([PORTHOLE, "openapi"]))
        lies = []

        def lie(check, change):
            document = json.loads(json.dumps(true))
            change(document)
            lies.append((check, document))

        one = "/api/v1/streams/{stream}"
        lie("Undocumented status code", lambda d: d["paths"][one]["delete"]["responses"].pop("204"))
        lie("Response violates schema", lambda d: d["components"]["schemas"]["StreamList"].update(required=["cameras"]))
        lie("Undocumented Content-Type", lambda d: d["paths"]["/api/v1/config"]["get"]["responses"]["200"].update(
            content={"text/plain": {"schema": {"type": "string"}}}))
        with Gateway(OURS) as gateway:
            for name, document in lies:
                status, said = gateway.checked("--phases", "coverage", document=document)
                self.assertEqual(status, 1, said)
                self.assertIn(name.lower(), said.lower())


if __name__ == "__main__":
    unittest.main()
