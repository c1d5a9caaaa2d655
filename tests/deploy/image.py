"""Builds `deploy/Dockerfile` and runs `deploy/compose.yaml`, by a Docker daemon of its own.

Needs root and Debian's docker.io. Where no registry can be reached, the images that are
built upon are put together from Debian's packages (debootstrap), after what theirs are
made of; then Prometheus is Debian's too, and Grafana is left out. The daemon runs the
containers in a network of its own, so that nobody's ports and rules are touched.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import house
import yaml

DEPLOY = house.REPOSITORY / "deploy"
BUILT_ON = [r"^FROM (rust):", r"^ARG BASE=(\S+)$"]
# What distroless's `cc` holds: base, then what C++ programs link with.
RUNTIME = "base-files netbase tzdata ca-certificates libc6 libssl3 gcc-12-base libgcc-s1 libgomp1 libstdc++6".split()
# Of what Docker's `rust` holds this is what a build may miss.
COMPILERS = "ca-certificates,gcc,g++,make,libc6-dev,pkg-config,perl,git"
PASSWORD = "correct horse"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def say(*words):
    print(f"{time.strftime('%H:%M:%S')} ", *words, flush=True)


class Docker:
    """A daemon, and what is asked of it. `alone`: in a network of its own, as no build can be."""

    def __init__(self, folder, alone):
        self.socket = f"{folder}/docker.sock"
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(folder)}
        own = ["unshare", "--net", "--"] if alone else []
        shared = [] if alone else ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        with open(f"{folder}/daemon.log", "a") as log:
            self.daemon = subprocess.Popen(
                [*own, "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
                 "--pidfile", f"{folder}/pid", "--host", f"unix://{self.socket}", *shared],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        try:
            house.until("a Docker daemon", lambda: self.ask("version").returncode == 0)
            if alone:
                self.inside("ip", "link", "set", "lo", "up")
        except BaseException:
            self.stop()
            raise

    def ask(self, *words, seconds=600, **options):
        """What `docker` says to that, whether it is well or not."""
        return subprocess.run(
            ["docker", *map(str, words)], env=self.env, text=True, timeout=seconds,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )

    def get(self, *words, **options):
        """What `docker` says, if it is well."""
        done = self.ask(*words, **options)
        assert done.returncode == 0, f"docker {words}:\n{done.stdout[-3000:]}"
        return done.stdout.strip()

    def inspect(self, name, what):
        return json.loads(self.get("inspect", "--format", "{{json " + what + "}}", name))

    def inside(self, *command):
        """What a program says that runs in the daemon's network."""
        command = ["nsenter", f"--net=/proc/{self.daemon.pid}/ns/net", *map(str, command)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        return done.stdout.strip()

    def status(self, url, *options):
        return self.inside("curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}", *options, url)

    def json(self, url, *options):
        return json.loads(self.inside("curl", "--silent", "--max-time", "20", *options, url))

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait(60)
        # What `--network host` leaves mounted cannot be removed.
        kept = Path(self.socket).parent / "exec/netns/default"
        subprocess.run(["umount", kept], stderr=subprocess.DEVNULL)


def fetch(folder, *packages):
    """Puts Debian's packages into a folder as they are, without their scripts."""
    debs = Path(tempfile.mkdtemp(dir=folder.parent))
    debs.chmod(0o755)
    subprocess.run(["apt-get", "download", "--quiet=2", *packages], cwd=debs, check=True, stderr=subprocess.DEVNULL)
    for deb in debs.iterdir():
        subprocess.run(["dpkg-deb", "--extract", deb, folder], check=True)


def runtime(folder):
    """After distroless: no shell, and users of which 65532 is one."""
    folder.mkdir()
    fetch(folder, *RUNTIME)
    users = [("root", 0, "/root"), ("nobody", 65534, "/nonexistent"), ("nonroot", 65532, "/home/nonroot")]
    line = "{0}:x:{1}:{1}:{0}:{2}:/sbin/nologin\n"
    (folder / "etc/passwd").write_text("".join(line.format(*user) for user in users))
    (folder / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number, _ in users))
    (folder / "home/nonroot").mkdir(parents=True)
    os.chown(folder / "home/nonroot", 65532, 65532)
    (folder / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs")


def compilers(folder):
    """After Docker's `rust`: Debian's compilers, and the Rust that is used here."""
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={COMPILERS}", "bookworm", folder],
        check=True, stdout=subprocess.DEVNULL,
    )
    version = re.search(r"^ARG RUST=(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE).group(1)
    asked = lambda word: subprocess.run(["rustc", *word.split()], cwd=house.REPOSITORY, text=True, capture_output=True, check=True).stdout.strip()
    here, rust = asked("--version"), Path(asked("--print sysroot"))
    assert here.startswith(f"rustc {version}."), f"{here} is here, {version} is needed"
    assert (rust / "bin/rustc").is_file() and (rust / "lib/rustlib").is_dir(), rust
    for part in ["bin", "lib"]:
        shutil.copytree(rust / part, folder / "usr/local" / part, symlinks=True, dirs_exist_ok=True)
    # The machine's, which may have more than Debian's.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs")


def prometheus(folder):
    """After Prometheus' own: nobody's, in /prometheus."""
    runtime(folder)
    fetch(folder, "prometheus")
    (folder / "prometheus").mkdir()
    os.chown(folder / "prometheus", 65534, 65534)


def stand_in(docker, folder, name, make, *changes):
    root = folder / re.sub(r"\W", "-", name)
    say("from Debian's packages:", name)
    make(root)
    tar = subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE)
    docker.get("import", *(part for change in [PATH, *changes] for part in ["--change", f"ENV {change}" if "=" in change else change]), "-", name, stdin=tar.stdout)
    assert tar.wait() == 0
    shutil.rmtree(root)


def reaches(docker, name):
    return docker.ask("pull", name).returncode == 0


def build(docker, folder):
    """The image, from its own bases or what stands in for them. Which of the others there are."""
    text = (DEPLOY / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    compiler, base = f"rust:{arguments['RUST']}-{arguments['DEBIAN']}", arguments["BASE"]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    beside = {name: service["image"] for name, service in services.items() if name != "porthole"}
    if not reaches(docker, base):
        stand_in(docker, folder, compiler, compilers)
        stand_in(docker, folder, base, runtime, "USER 65532")
        stand_in(docker, folder, beside["prometheus"], prometheus, "USER 65534", "WORKDIR /prometheus", 'ENTRYPOINT ["/usr/bin/prometheus"]')
    say("docker build")
    begun = time.monotonic()
    said = docker.get(
        "build", "--network", "host", "--file", DEPLOY / "Dockerfile", "--tag", "porthole",
        "--build-arg", "REVISION=tested", house.REPOSITORY, seconds=5_400,
    )
    (folder / "build.log").write_text(said)
    say(f"built in {time.monotonic() - begun:.0f} s, {docker.inspect('porthole', '.Size') / 1e6:.0f} MB")
    # A registry may have it later than we look.
    return [name for name, image in beside.items() if docker.ask("image", "inspect", image).returncode == 0 or reaches(docker, image)]


def alone(docker):
    """The image by itself."""
    config = docker.inspect("porthole", ".Config")
    assert config["User"] == "65532:65532", config["User"]
    assert config["Labels"]["org.opencontainers.image.revision"] == "tested", config["Labels"]
    for shell in ["/bin/sh", "/bin/bash", "/busybox/sh"]:
        assert docker.ask("run", "--rm", "--entrypoint", shell, "porthole", "-c", "true").returncode == 127, shell

    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    docker.get("run", "--detach", "--name", "demo", *hardened, "--network", "host", "porthole", "demo")
    house.until("a healthy demo", lambda: docker.inspect("demo", ".State.Health.Status") == "healthy")
    assert docker.get("exec", "demo", "/usr/bin/porthole", "healthcheck") == ""
    runs = [line.split() for line in docker.get("top", "demo", "-eo", "pid,uid").splitlines()[1:]]
    assert [user for _, user in runs] == ["65532"], runs
    metrics = docker.inside("curl", "--silent", "http://127.0.0.1:9998/metrics")
    assert 'revision="tested"' in metrics, re.findall("porthole_build_info.*", metrics)
    page = docker.status("http://127.0.0.1:8080/demo/")
    picture = docker.status("http://127.0.0.1:8080/demo/snapshot.jpg")
    assert (page, picture) == ("200", "200"), (page, picture)
    begun = time.monotonic()
    docker.get("stop", "--time", str(house.seconds_to_stop()), "demo")
    assert docker.inspect("demo", ".State.ExitCode") == 0, docker.get("logs", "demo")
    say(f"demo: healthy, as 65532, without a shell; SIGTERM: exit 0 after {time.monotonic() - begun:.1f} s")
    docker.get("rm", "demo")


def together(docker, folder, beside):
    """The compose file, with those of the other services that there are."""
    project = ["compose", "--file", DEPLOY / "compose.yaml"]
    config = folder / "configuration"
    config.mkdir()
    docker.env["PORTHOLE_CONFIG"] = str(config)
    plain = (DEPLOY / "porthole.yaml").read_text()

    def write(text):
        # As editors do: a new file in the place of the old one.
        (config / "new").write_text(text)
        (config / "new").chmod(0o644)
        (config / "new").rename(config / "porthole.yaml")

    write(plain)
    docker.get(*project, "up", "--detach", "porthole")
    container = lambda service: docker.get(*project, "ps", "--all", "--quiet", service)
    house.until("a restart", lambda: docker.inspect(container("porthole"), ".RestartCount"))
    refused = docker.get("logs", container("porthole"))
    assert "choose who may watch with `auth`" in refused, refused
    docker.get(*project, "rm", "--stop", "--force", "porthole")
    digest = docker.get(*project, "run", "--rm", "--no-TTY", "porthole", "password", input=f"{PASSWORD}\n")
    digest = re.search(r"\$argon2id\$\S+", digest).group()
    say("compose: without `auth` it does not start, and `porthole password` makes a hash")

    # Another container as the camera, in the network that leads to cameras.
    docker.get(*project, "up", "--no-start", "porthole", *beside)
    docker.get(
        "run", "--detach", "--name", "camera", "--network", "porthole_cameras",
        "--env", "PORTHOLE__AUTH=none", "--env", "PORTHOLE__RTSP__LISTEN=0.0.0.0:8554", "porthole", "demo",
    )
    user = f'auth:\n  users:\n    - {{ name: ann, password_hash: "{digest.replace("$", "$$")}", streams: ["*"] }}\n'
    plain, streams = re.subn(r"^streams: *(\{\}|null)?$", "streams:\n  front-door: rtsp://camera:8554/demo", plain, flags=re.MULTILINE)
    assert streams == 1
    write(user + plain)
    docker.get(*project, "up", "--detach", "porthole", *beside)
    name = container("porthole")
    house.until("a healthy gateway", lambda: docker.inspect(name, ".State.Health.Status") == "healthy")

    pages, ann = "http://127.0.0.1:8080", ("--user", f"ann:{PASSWORD}")
    assert docker.status(f"{pages}/") == "401"
    states = lambda: {stream["name"]: stream["state"] for stream in docker.json(f"{pages}/api/streams", *ann)["streams"]}
    house.until("a live stream", lambda: states().get("front-door") == "live")
    for path in ["front-door/index.m3u8", "front-door/snapshot.jpg", "front-door/"]:
        found = docker.status(f"{pages}/{path}", *ann)
        assert found == "200", (path, found)
    assert docker.status("http://127.0.0.1:9998/livez") == "000", "the admin port is published"
    with open(folder / "offer.sdp", "w", newline="") as offer:
        source = (house.REPOSITORY / "tests/app_support/mod.rs").read_text()
        quoted = re.search(r'pub const OFFER: &str = "(.*?)";', source, re.DOTALL).group(1)
        offer.write(re.sub(r"\\\n\s*", "", quoted).replace("\\r\\n", "\r\n"))
    answer = docker.inside("curl", "--silent", *ann, "--header", "Content-Type: application/sdp", "--data-binary", f"@{offer.name}", f"{pages}/front-door/whep")
    assert re.search(r"candidate:.* udp .* 127\.0\.0\.1 8189 typ", answer), answer
    write(user + plain.replace("front-door: rtsp://camera", "yard: rtsp://camera"))
    house.until("the new stream of a file that was replaced", lambda: states().get("yard") == "live")
    say("compose: healthy, 401 without a login, live with it, WebRTC's port as advertised, a replaced file is seen")

    if "prometheus" in beside:
        api = "http://127.0.0.1:9090/api/v1"
        query = lambda name: docker.json(f"{api}/query?query={name}")["data"]["result"]
        house.until("a scrape", lambda: [series["value"][1] for series in query("up")] == ["1"] and query("porthole_source_up"))
        rules = [rule for group in docker.json(f"{api}/rules")["data"]["groups"] for rule in group["rules"]]
        assert rules and all(rule["health"] != "err" for rule in rules), rules
        say(f"compose: Prometheus scrapes it, and takes its {len(rules)} rules")
    if "grafana" in beside:
        board = lambda: docker.json("http://127.0.0.1:3000/api/dashboards/uid/porthole")["dashboard"]["title"]
        say("compose: Grafana shows", house.until("the dashboard", board))
    for service in ["porthole", *beside]:
        assert docker.inspect(container(service), ".RestartCount") == 0, docker.get("logs", container(service))
    docker.get(*project, "stop", "porthole")
    assert docker.inspect(name, ".State.ExitCode") == 0, docker.get("logs", name)
    docker.get("rm", "--force", "camera")
    docker.get(*project, "down", "--volumes")


def main():
    # So that the daemon goes with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="porthole-image-"))
    folder.chmod(0o755)
    plugins = folder / "cli-plugins"
    plugins.mkdir()
    (plugins / "docker-compose").symlink_to(Path(sys.executable).parent / "docker-compose")
    try:
        docker = Docker(folder, alone=False)
        try:
            beside = build(docker, folder)
        finally:
            docker.stop()
        docker = Docker(folder, alone=True)
        try:
            alone(docker)
            together(docker, folder, beside)
        finally:
            for container in docker.ask("ps", "--all", "--quiet").stdout.split():
                docker.ask("rm", "--force", container)
            docker.stop()
        missing = {"prometheus", "grafana"} - set(beside)
        say("all well", f"(not run: {', '.join(missing)})" if missing else "")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
