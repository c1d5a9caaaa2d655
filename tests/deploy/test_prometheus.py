"""The dashboard and the rules, against the running program and a real Prometheus."""

import contextlib
import json
import re
import time
import unittest
import urllib.error
import urllib.request
from urllib.parse import urljoin

import house
import yaml

DEPLOY = house.REPOSITORY / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana/porthole.json").read_text())

# Panels about what does not happen to a demo in a few seconds; an empty answer of any other is a fault.
MAY_BE_EMPTY = {"porthole_source_frames_discarded_total"}

# What Grafana puts in for its variables.
VARIABLES = {
    "$__rate_interval": "10s",
    "$datasource": "prometheus",
    "$instance": ".*",
    "$job": ".*",
    "$stream": ".+",
}

# Labels that Prometheus adds, and the bound of a bucket.
ADDED = {"job", "instance", "le"}


def panels():
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboard_expressions():
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]


def rules():
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def filled(expression):
    for name in sorted(VARIABLES, key=len, reverse=True):
        expression = expression.replace(name, VARIABLES[name])
    return expression


def families(scrape):
    """Name to labels of everything that `/metrics` shows."""
    found = {}
    for line in scrape.splitlines():
        if match := re.match(r"# TYPE (\S+) (\S+)", line):
            name, kind = match.groups()
            found[name] = (kind, set())
        elif match := re.match(r"([a-z_]+)(?:{(.*)})? ", line):
            name, labels = match.groups()
            name = name if name in found else re.sub("_(bucket|sum|count)$", "", name)
            found[name][1].update(re.findall(r'([a-z_]+)="', labels or ""))
    return found


def named(expression):
    """Every metric that an expression names, with the labels it is asked for by."""
    # Texts may hold anything, and names of recorded series have colons.
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    everywhere = set()
    for labels in re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", bare):
        everywhere.update(label.strip() for label in labels.split(",") if label.strip())
    for name, matchers in re.findall(r"(?<![\w:])((?:porthole|process)_\w+)(?!:)\b(?:{([^}]*)})?", bare):
        yield name, everywhere | set(re.findall(r"(\w+)\s*[=!]", matchers))


class Files(unittest.TestCase):
    def test_promtool_finds_no_fault(self):
        for arguments in [
            ("check", "config", DEPLOY / "prometheus/prometheus.yaml"),
            ("check", "rules", DEPLOY / "prometheus/rules.yaml"),
            ("test", "rules", DEPLOY / "prometheus/rules_test.yaml"),
        ]:
            status, said = house.run("promtool", *arguments)
            self.assertEqual(status, 0, said)

    def test_every_alert_is_raised_by_a_test(self):
        tests = yaml.safe_load((DEPLOY / "prometheus/rules_test.yaml").read_text())["tests"]
        raised = {
            case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]
        }
        self.assertEqual(raised, {rule["alert"] for rule in rules() if "alert" in rule})

    def test_every_alert_says_how_bad_it_is_and_what_to_do(self):
        for rule in rules():
            if "alert" in rule:
                self.assertIn(rule["labels"]["severity"], {"critical", "warning", "info"}, rule)
                self.assertLessEqual({"summary", "description"}, rule["annotations"].keys(), rule)

    def test_the_dashboard_is_whole(self):
        ids = [panel["id"] for panel in panels()]
        self.assertEqual(len(ids), len(set(ids)), "panels share an id")
        variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
        self.assertEqual(variables, {"datasource", "job", "instance", "stream"})
        taken = {}
        for panel in panels():
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    other = taken.setdefault((x, y), panel["title"])
                    self.assertEqual(other, panel["title"], "panels lie on one another")
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["targets"], panel["title"])
            # None but the variable: a data source of ours would be unknown elsewhere.
            for asked in [panel, *panel["targets"]]:
                self.assertEqual(asked["datasource"]["uid"], "${datasource}", panel["title"])
            for target in panel["targets"]:
                self.assertIn('instance=~"$instance"', target["expr"], panel["title"])


class Live(unittest.TestCase):
    """A demo with a browser that watches by WebRTC and a player that watches by HLS."""

    @classmethod
    def setUpClass(cls):
        cls.gateway, cls.pages, admin = house.demo()
        cls.addClassCleanup(cls.gateway.stop)
        cls.metrics = f"http://{admin}/metrics"
        cls.prometheus = house.Prometheus(admin)
        cls.addClassCleanup(cls.prometheus.stop)
        glance = house.browser(f"{cls.pages}demo/")
        try:
            for metric in ["first_frame_duration_seconds_count", "webrtc_remote_loss_ratio_count"]:
                house.until(metric, lambda metric=metric: cls.value(f"porthole_{metric}"))
        finally:
            glance.stop()
        # It has left: sessions that ended are counted, too.
        house.until("its end", lambda: cls.value("porthole_session_duration_seconds_count"), seconds=90)
        watching = house.browser(f"{cls.pages}demo/")
        cls.addClassCleanup(watching.stop)
        for _ in range(3):
            playlist = urljoin(f"{cls.pages}demo/", cls.uri(f"{cls.pages}demo/index.m3u8"))
            part = re.findall(r'URI="([^"]+)"', house.get(playlist))[-1]
            urllib.request.urlopen(urljoin(playlist, part), timeout=20).read()
        with contextlib.suppress(urllib.error.HTTPError):
            house.get(f"{cls.pages}nobody/index.m3u8")
        house.until("two viewers", lambda: cls.value("porthole_first_frame_duration_seconds_count") > 1)
        cls.scrape = house.get(cls.metrics)
        # A rate needs two looks.
        time.sleep(4)

    @classmethod
    def uri(cls, playlist):
        return next(line for line in house.get(playlist).splitlines() if not line.startswith("#"))

    @classmethod
    def value(cls, family):
        """The sum of a family's series."""
        found = re.findall(rf"^{family}(?:{{.*}})? (\S+)$", house.get(cls.metrics), re.MULTILINE)
        return sum(map(float, found))

    def test_promtool_likes_the_metrics(self):
        status, said = house.run("promtool", "check", "metrics", input=self.scrape)
        self.assertEqual((status, said), (0, ""))

    def test_every_metric_that_is_named_exists_with_its_labels(self):
        found = families(self.scrape)
        asked = [*dashboard_expressions(), *((rule.get("alert", "a record"), rule["expr"]) for rule in rules())]
        count = 0
        for where, expression in asked:
            for name, labels in named(expression):
                count += 1
                base = name if name in found else re.sub("_(bucket|sum|count)$", "", name)
                if base in MAY_BE_EMPTY and base not in found:
                    continue
                self.assertIn(base, found, f"{where}: {expression}")
                kind, known = found[base]
                self.assertEqual(kind == "histogram", name != base, f"{where}: {name}")
                # In an expression of several metrics, labels of the others.
                others = set().union(*(found.get(o, found.get(re.sub("_bucket$", "", o), ("", set())))[1] for o, _ in named(expression)))
                unknown = labels - known - others - ADDED
                self.assertFalse(unknown, f"{where}: {name} has no {unknown}")
        self.assertGreater(count, 80)
        templates = [v["definition"] for v in DASHBOARD["templating"]["list"] if "definition" in v]
        for name in re.findall(r"porthole_\w+", " ".join(templates)):
            self.assertIn(name, found)

    def test_prometheus_scrapes_and_the_rules_load(self):
        target = house.until("a scrape", lambda: [t for t in self.prometheus.api("targets")["activeTargets"] if t["health"] == "up"])
        self.assertEqual(target[0]["labels"]["job"], "porthole")
        self.assertEqual(target[0]["lastError"], "")

        def evaluated():
            loaded = [rule for group in self.prometheus.api("rules")["groups"] for rule in group["rules"]]
            return loaded if all(rule["health"] == "ok" for rule in loaded) else None

        loaded = house.until("rules that are evaluated", evaluated)
        names = sorted(rule["name"] for rule in loaded)
        self.assertEqual(names, sorted(rule.get("alert") or rule["record"] for rule in rules()))
        firing = [rule["name"] for rule in loaded if rule.get("state") == "firing"]
        self.assertEqual(firing, [], "of a demo that runs well")

    def test_every_panel_shows_something(self):
        for title, expression in dashboard_expressions():
            if any(name in expression for name in MAY_BE_EMPTY) or "changes(" in expression:
                self.prometheus.query(filled(expression))
                continue
            with self.subTest(title):
                house.until(filled(expression), lambda: self.prometheus.query(filled(expression)), seconds=20)


if __name__ == "__main__":
    unittest.main()
