"""The image, the compose file and the systemd unit, as far as a machine without their daemons can tell."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import dockerfile
import house
import yaml

DEPLOY = house.REPOSITORY / "deploy"


def sent(path):
    """Whether `.dockerignore` lets the builder have `path`; the last line that matches decides."""
    have = True
    for line in (house.REPOSITORY / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parents = [str(path), *(str(parent) for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(parent, pattern) for parent in parents):
            have = line.startswith("!")
    return have


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.steps = dockerfile.parse_file(str(DEPLOY / "Dockerfile"))

    def all(self, name):
        return [step for step in self.steps if step.cmd == name]

    def final(self, name):
        """The last stage's."""
        start = max(i for i, step in enumerate(self.steps) if step.cmd == "FROM")
        return [step for step in self.steps[start:] if step.cmd == name]

    def test_every_copied_file_is_sent_to_the_builder(self):
        for step in self.all("COPY"):
            if step.flags:
                continue
            for source in step.value[:-1]:
                self.assertTrue((house.REPOSITORY / source).exists(), source)
                self.assertTrue(sent(source), f"{source} is kept back by .dockerignore")
        included = []
        for file in (house.REPOSITORY / "src").rglob("*.rs"):
            for path in re.findall(r'include_(?:bytes|str)!\(\s*"([^"]+)"', file.read_text()):
                included.append((file.parent / path).resolve().relative_to(house.REPOSITORY))
        self.assertTrue(included)
        for path in included:
            self.assertTrue(sent(path), f"{path} is kept back by .dockerignore")
        self.assertFalse(sent("target/debug/porthole") or sent(".git/config") or sent("porthole.yaml"))

    def test_what_stands_in_for_the_source_has_every_target(self):
        script = next(step.value[0] for step in self.all("RUN") if "tee src/main.rs" in step.value[0])
        self.assertIn("cargo build --release --locked", script)
        asked = "cargo metadata --no-deps --offline --locked --format-version 1"

        def targets(script, folder):
            done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            listed = json.loads(done.stdout)["packages"][0]["targets"]
            return {(target["kind"][0], target["name"]) for target in listed if target["kind"] != ["test"]}

        with tempfile.TemporaryDirectory() as folder:
            for name in next(step.value[:-1] for step in self.all("COPY") if "Cargo.lock" in step.value):
                shutil.copy(house.REPOSITORY / name, folder)
            stand_in = targets(script.replace("cargo build --release --locked", asked), folder)
        # `cargo build` refuses a bench without its file, which `cargo metadata` leaves out.
        self.assertEqual(stand_in, targets(asked, house.REPOSITORY))

    def test_the_compiler_is_the_one_that_is_promised(self):
        promised = tomllib.loads((house.REPOSITORY / "Cargo.toml").read_text())["package"]["rust-version"]
        self.assertIn(f"RUST={promised}", [step.value[0] for step in self.all("ARG")])

    def test_the_image_has_no_root_and_no_shell(self):
        self.assertEqual(self.final("FROM")[0].value, ("${BASE}",))
        self.assertIn("BASE=gcr.io/distroless/cc-debian12:nonroot", [step.value[0] for step in self.all("ARG")])
        self.assertEqual(self.final("USER")[0].value, ("65532:65532",))
        self.assertEqual(self.final("RUN"), [])
        self.assertEqual(self.final("STOPSIGNAL")[0].value, ("SIGTERM",))
        # Lists: text would need a shell.
        for name in ["ENTRYPOINT", "CMD", "HEALTHCHECK"]:
            self.assertTrue(self.final(name)[0].json or "[" in self.final(name)[0].original, name)

    def test_the_program_needs_no_library_that_the_image_lacks(self):
        status, said = house.run("readelf", "--dynamic", house.PORTHOLE)
        self.assertEqual(status, 0, said)
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", said))
        self.assertIn("libc.so.6", needed)
        had = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
        self.assertLessEqual(needed, had)

    def test_what_the_image_runs_is_what_the_program_knows(self):
        for step in [self.final("CMD")[0].value, self.health()[1:]]:
            status, said = house.run(house.PORTHOLE, *step, "--help")
            self.assertEqual(status, 0, said)

    def health(self):
        return json.loads(re.search(r"CMD (\[.*\])", self.final("HEALTHCHECK")[0].original).group(1))

    def test_the_health_check_tells_a_running_gateway_from_none(self):
        gateway, _, admin = house.demo()
        self.addCleanup(gateway.stop)
        command = [house.PORTHOLE, *self.health()[1:]]
        environment = {"PATH": os.environ["PATH"], "PORTHOLE__ADMIN__LISTEN": admin}
        self.assertEqual(house.run(*command, env=environment, cwd=gateway.folder)[0], 0)
        environment["PORTHOLE__ADMIN__LISTEN"] = f"127.0.0.1:{house.free_port()}"
        self.assertNotEqual(house.run(*command, env=environment, cwd=gateway.folder)[0], 0)


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        python = Path(os.sys.executable).parent
        status, said = house.run(
            python / "docker-compose", "--file", DEPLOY / "compose.yaml", "config",
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )
        assert status == 0, said
        cls.project = yaml.safe_load(said)
        cls.services = cls.project["services"]

    def test_every_file_it_brings_is_there(self):
        for name, config in self.project["configs"].items():
            self.assertTrue(Path(config["file"]).is_file(), name)
        build = self.services["porthole"]["build"]
        self.assertTrue(Path(build["context"], build["dockerfile"]).is_file())

    def test_nothing_but_webrtc_is_open_to_others(self):
        for name, service in self.services.items():
            for port in service["ports"]:
                if (name, port["target"]) != ("porthole", 8189):
                    self.assertEqual(port.get("host_ip"), "127.0.0.1", f"{name} {port}")

    def test_no_password_is_given(self):
        words = [key for service in self.services.values() for key in service.get("environment", {}) if "PASSWORD" in key]
        self.assertEqual(words, [])
        grafana = self.services["grafana"]["environment"]
        self.assertEqual(grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"], "true")

    def test_without_auth_the_gateway_refuses_and_with_it_starts(self):
        environment = {"PATH": os.environ["PATH"], **self.services["porthole"]["environment"]}
        # Loopback is the container's own: nobody would get in.
        for key in ["PORTHOLE__LISTEN", "PORTHOLE__ADMIN__LISTEN"]:
            self.assertRegex(environment[key], r"^0\.0\.0\.0:")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "porthole.yaml")
            text = (DEPLOY / "porthole.yaml").read_text()
            file.write_text(text)
            status, said = house.run(house.PORTHOLE, "check", "--config", file, env=environment)
            self.assertEqual(status, 78)
            self.assertIn("auth", said)
            file.write_text(f"auth: none\n{text}")
            status, said = house.run(house.PORTHOLE, "check", "--config", file, env=environment)
            self.assertEqual(status, 0, said)

    def test_prometheus_looks_where_the_gateway_listens_and_grafana_finds_it(self):
        prometheus = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
        port = self.services["porthole"]["environment"]["PORTHOLE__ADMIN__LISTEN"].split(":")[1]
        self.assertEqual(prometheus["scrape_configs"][0]["static_configs"], [{"targets": [f"porthole:{port}"]}])
        source = yaml.safe_load((DEPLOY / "grafana/datasource.yaml").read_text())["datasources"][0]
        self.assertEqual(source["url"], "http://prometheus:9090")
        self.assertEqual(source["type"], "prometheus")
        folder = yaml.safe_load((DEPLOY / "grafana/dashboards.yaml").read_text())["providers"][0]["options"]["path"]
        targets = {config["source"]: config["target"] for config in self.services["grafana"]["configs"]}
        self.assertEqual(targets["dashboard"], f"{folder}/porthole.json")

    def test_it_has_time_to_say_goodbye(self):
        given = self.services["porthole"]["stop_grace_period"]
        self.assertGreater(int(given.removesuffix("s")), house.seconds_to_stop())


class Unit(unittest.TestCase):
    def test_it_has_time_to_say_goodbye(self):
        given = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "porthole.service").read_text(), re.MULTILINE)
        self.assertGreater(int(given.group(1)), house.seconds_to_stop())

    def test_systemd_takes_it_and_finds_little_to_fear(self):
        with tempfile.TemporaryDirectory() as folder:
            text = (DEPLOY / "porthole.service").read_text()
            self.assertIn("/usr/bin/porthole", text)
            unit = Path(folder, "porthole.service")
            unit.write_text(text.replace("ExecStart=/usr/bin/porthole", f"ExecStart={Path(house.PORTHOLE).resolve()}"))
            status, said = house.run("systemd-analyze", "verify", unit)
            self.assertEqual((status, said), (0, ""))
            # 10 is a service that may do anything, as most may.
            status, said = house.run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
            self.assertEqual(status, 0, said[-300:])


if __name__ == "__main__":
    unittest.main()
