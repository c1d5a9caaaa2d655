"""The Helm chart: rendered by Helm's own library, checked by Kubernetes' schemas and by the program."""

import copy
import json
import os
import shutil
import tempfile
import tomllib
import unittest
from pathlib import Path

import helm_python as helm
import house
import kubernetes_validate
import yaml

CHART = house.REPOSITORY / "helm/porthole"
# The oldest that the chart takes, and the newest there is.
VERSIONS = ["1.26", "1.32", kubernetes_validate.latest_version()]
# Of the Prometheus Operator: no part of Kubernetes' schemas.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}

LEAST = {"streams": {"gate": "rtsp://10.0.0.5/main"}, "auth": "none"}
FULL = {
    "image": {"repository": "registry.example/porthole", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "streams": {
        "gate": "rtsp://viewer:${GATE_PW}@10.0.0.5/main",
        "yard": {
            "source": "rtsp://10.0.0.6/main",
            "substream": "rtsp://10.0.0.6/sub",
            "username": "viewer",
            "password": "${YARD_PW}",
            "on_demand": True,
        },
    },
    "auth": {
        "users": [
            {"name": "ann", "password_hash": "${ANN_HASH}", "streams": ["gate"]},
            {"name": "root", "password_hash": "${ANN_HASH}", "admin": True},
        ],
        "embed_key_file": "/run/secrets/porthole/embed/key",
        "jwt": {"jwks_url": "https://id.example/jwks", "issuer": "https://id.example", "audience": "porthole"},
    },
    "admin": {"scrapeFrom": ["10.244.0.0/16"]},
    "config": {
        "trusted_proxies": ["10.244.0.0/16"],
        "hls": {"part": "200ms", "always": True},
        "webrtc": {"ice_servers": [{"urls": ["turn:turn.example"], "username": "v", "credential": "${TURN_PW}"}]},
        "cors": ["https://example.org"],
    },
    "secrets": {
        "env": [{"name": name, "secret": "cameras", "key": name.lower()} for name in ["GATE_PW", "YARD_PW", "TURN_PW", "ANN_HASH"]],
        "files": [{"name": "embed", "secret": "porthole-embed"}],
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "cameras.example.org",
        "tlsSecret": "cameras-tls",
        "annotations": {"a": "b"},
    },
    "networkPolicy": {
        "cameras": ["10.0.0.0/24"],
        "viewers": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "loginSecret": "scraper"},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Cameras"}},
    },
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"cameras": "near"},
    "tolerations": [{"key": "cameras", "operator": "Exists"}],
    "priorityClassName": "high",
}
EXPOSURES = {
    "hostPort": {"exposure": "hostPort"},
    "hostNetwork": {"exposure": "hostNetwork"},
    "nodePort": {"exposure": "nodePort", "nodePort": 31189},
    "loadBalancer": {
        "exposure": "loadBalancer",
        "advertise": ["203.0.113.7"],
        "loadBalancer": {"annotations": {"a": "b"}, "class": "example/lb", "sourceRanges": ["192.0.2.0/24"]},
    },
}


def merged(values, **more):
    return {**copy.deepcopy(values), **more}


class Chart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Helm follows the links to `deploy/`, and says so each time.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.path = shutil.copytree(CHART, Path(folder.name, "porthole"))
        cls.chart = helm.Chart.load(cls.path)
        cls.addClassCleanup(cls.chart.close)

    def objects(self, values):
        """Everything that Kubernetes is told, by kind and name."""
        self.chart.validate_schema(values)
        rendered = self.chart.render(values, name="cams", namespace="video")
        texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
        found = [thing for text in texts for thing in yaml.safe_load_all(text) if thing]
        return {(thing["kind"], thing["metadata"]["name"]): thing for thing in found}

    def pod(self, values):
        return self.objects(values)["Deployment", "cams-porthole"]["spec"]["template"]["spec"]

    def sets(self):
        for name, webrtc in EXPOSURES.items():
            yield f"{name}, least", merged(LEAST, webrtc=webrtc)
            yield f"{name}, full", merged(FULL, webrtc=webrtc)
        yield "a Secret for the configuration", {"existingConfigSecret": "whole"}
        yield "nothing optional", merged(LEAST, networkPolicy={"enabled": False}, podDisruptionBudget={"enabled": False})

    def test_kubernetes_takes_every_object(self):
        for name, values in self.sets():
            for (kind, _), thing in self.objects(values).items():
                if kind in FOREIGN:
                    continue
                for version in VERSIONS:
                    with self.subTest(name, kind=kind, version=version):
                        kubernetes_validate.validate(thing, version, strict=True)

    def test_a_misspelt_field_would_be_found(self):
        deployment = self.objects(LEAST)["Deployment", "cams-porthole"]
        deployment["spec"]["template"]["spec"]["hostNetwerk"] = True
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)

    def test_helm_lint_is_content(self):
        for name, values in self.sets():
            with self.subTest(name):
                report = helm.lint(self.path, values, strict=True)
                self.assertEqual(report["errors"], [])
                self.assertFalse([message for message in report["messages"] if message["severity"] > 1], report)

    def test_bad_values_are_refused(self):
        bad = {
            "a key that is none": {"stream": {}},
            "a key below": {"image": {"tagg": "x"}},
            "an exposure that is none": {"webrtc": {"exposure": "hostport"}},
            "a load balancer of no address": {"webrtc": {"exposure": "loadBalancer"}},
            "a port out of range": {"http": {"port": 70000}},
            "a port as text": {"http": {"port": "8080"}},
            "a stream name in capitals": {"streams": {"Gate": "rtsp://a/"}},
            "a stream that is no camera": {"streams": {"gate": "http://a/"}},
            "a stream without a source": {"streams": {"gate": {"username": "a"}}},
            "a listener": {"config": {"listen": "0.0.0.0:1"}},
            "an `auth` of no meaning": {"auth": "open"},
            "`auth` in another place": {"config": {"auth": "none"}},
            "WebRTC's listener": {"config": {"webrtc": {"listen": "0.0.0.0:1"}}},
            "an ingress of no host": {"ingress": {"enabled": True}},
            "a drain that is no number": {"drainSeconds": "3s"},
            "a camera network that is none": {"networkPolicy": {"cameras": ["10.0.0.0"]}},
            "two pods": {"replicas": 2},
            "a secret that is given by value": {"secrets": {"env": [{"name": "A", "value": "b"}]}},
        }
        for name, values in bad.items():
            with self.subTest(name), self.assertRaises(helm.HelmValuesError):
                self.chart.validate_schema(merged(LEAST, **values))

    def test_a_password_in_the_values_is_refused_and_not_repeated(self):
        canary = "s3cr3t-canary"
        for values in [
            {"streams": {"gate": f"rtsp://viewer:{canary}@10.0.0.5/"}},
            {"streams": {"gate": {"source": f"rtsp://viewer:{canary}@10.0.0.5/"}}},
            {"streams": {"gate": {"source": "rtsp://a/", "substream": f"rtsp://viewer:{canary}@a/"}}},
            {"streams": {"gate": {"source": "rtsp://a/", "password": canary}}},
            {"streams": {"gate": f"rtsp://10.0.0.5/user=admin&password={canary}&channel=1"}},
            {"streams": {"gate": f"rtsp://10.0.0.5/user=admin_password={canary}_channel=1"}},
            {"auth": {"users": [{"name": "ann", "password_hash": canary}]}},
            {"auth": {"http": {"url": f"https://porthole:{canary}@auth.example/"}}},
            {"config": {"webrtc": {"ice_servers": [{"urls": ["turn:a"], "credential": canary}]}}},
        ]:
            with self.subTest(values), self.assertRaises(helm.HelmRenderError) as refused:
                self.objects(merged(LEAST, **values))
            self.assertIn("${VAR}", str(refused.exception))
            self.assertNotIn(canary, str(refused.exception))

    def test_who_may_watch_must_be_said(self):
        for values in [{"auth": None}, {"auth": ""}, {"auth": {}}]:
            with self.subTest(values), self.assertRaisesRegex(helm.HelmRenderError, "auth is missing: choose"):
                self.objects(merged(LEAST, **values))

    def test_a_monitor_that_would_be_refused_is(self):
        watched = merged(FULL, admin={}, metrics={"serviceMonitor": {"enabled": True}})
        with self.assertRaisesRegex(helm.HelmRenderError, "admin.scrapeFrom"):
            self.objects(watched)
        self.objects(merged(watched, auth="none"))
        self.objects(merged(watched, admin={"scrapeFrom": ["10.244.0.0/16"]}))

    def test_a_gateway_of_no_camera_is_refused_by_both(self):
        with self.assertRaisesRegex(helm.HelmRenderError, "streams is empty"):
            self.objects(merged(LEAST, streams={}))
        free = {f"PORTHOLE__{key}LISTEN": "127.0.0.1:0" for key in ["", "ADMIN__", "WEBRTC__"]}
        file = house.REPOSITORY / "deploy/porthole.yaml"
        status, said = house.run(house.PORTHOLE, "serve", "--config", file, env=free)
        self.assertEqual(status, 78, said)

    def test_the_program_takes_the_configuration_and_the_addresses(self):
        status, ann = house.run(house.PORTHOLE, "password", input="open sesame\n")
        self.assertEqual(status, 0, ann)
        ann = ann.strip()
        for name, values in self.sets():
            objects = self.objects(values)
            pod = objects["Deployment", "cams-porthole"]["spec"]["template"]["spec"]
            if ("ConfigMap", "cams-porthole") not in objects:
                continue
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                text = objects["ConfigMap", "cams-porthole"]["data"]["porthole.yaml"]
                # As the kubelet mounts them.
                for mount in pod["containers"][0]["volumeMounts"]:
                    if mount["mountPath"].startswith("/run/secrets/"):
                        file = Path(folder, mount["mountPath"][1:], "key")
                        file.parent.mkdir(parents=True)
                        file.write_text("0" * 64)
                file = Path(folder, "porthole.yaml")
                file.write_text(text.replace("/run/secrets/", f"{folder}/run/secrets/"))
                environment = {"PATH": os.environ["PATH"]}
                for variable in pod["containers"][0]["env"]:
                    if variable["name"] == "HOST_IP":
                        self.assertEqual(variable["valueFrom"], {"fieldRef": {"fieldPath": "status.hostIP"}})
                    given = {"HOST_IP": "10.9.8.7", "ANN_HASH": ann}.get(variable["name"], "secret")
                    text = variable.get("value", given)
                    environment[variable["name"]] = text.replace("$(HOST_IP)", environment.get("HOST_IP", ""))
                status, said = house.run(house.PORTHOLE, "check", "--config", file, env=environment)
                self.assertEqual(status, 0, said)
                told = environment.get("PORTHOLE__WEBRTC__ADVERTISE")
                port = ":31189" if name.startswith("nodePort") else ""
                own = "[203.0.113.7]" if name.startswith("loadBalancer") else f"[10.9.8.7{port}]"
                self.assertEqual(told, own)

    def test_one_port_udp_and_tcp_in_every_exposure(self):
        for name, webrtc in EXPOSURES.items():
            objects = self.objects(merged(LEAST, webrtc=webrtc))
            pod = objects["Deployment", "cams-porthole"]["spec"]["template"]["spec"]
            ports = [port for port in pod["containers"][0]["ports"] if port["name"].startswith("webrtc")]
            self.assertEqual({(p["containerPort"], p["protocol"]) for p in ports}, {(8189, "UDP"), (8189, "TCP")})
            on_host = name in ["hostPort", "hostNetwork"]
            self.assertEqual([p.get("hostPort") for p in ports], [8189 if on_host else None] * 2, name)
            self.assertEqual(pod.get("hostNetwork", False), name == "hostNetwork")
            service = objects.get(("Service", "cams-porthole-webrtc"))
            self.assertEqual(service is None, on_host, name)
            if service:
                self.assertEqual(service["spec"]["type"].lower(), name.lower())
                told = [(p["protocol"], p["port"], p["targetPort"], p.get("nodePort")) for p in service["spec"]["ports"]]
                node = webrtc.get("nodePort")
                self.assertEqual(told, [("UDP", 8189, "webrtc-udp", node), ("TCP", 8189, "webrtc-tcp", node)])
                self.assertEqual(service["spec"]["externalTrafficPolicy"], "Local")

    def test_the_pod_has_no_rights_and_no_rival(self):
        spec = self.objects(LEAST)["Deployment", "cams-porthole"]["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
        pod = spec["template"]["spec"]
        self.assertFalse(pod["automountServiceAccountToken"])
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        rights = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        self.assertEqual(pod["containers"][0]["securityContext"], rights)

    def test_the_pod_has_time_to_drain_and_say_goodbye(self):
        for drain in [0, 3, 60]:
            objects = self.objects(merged(LEAST, drainSeconds=drain))
            pod = objects["Deployment", "cams-porthole"]["spec"]["template"]["spec"]
            self.assertGreater(pod["terminationGracePeriodSeconds"], house.seconds_to_stop(drain))
            config = yaml.safe_load(objects["ConfigMap", "cams-porthole"]["data"]["porthole.yaml"])
            self.assertEqual(config["drain"], f"{drain}s")

    def test_probes_and_monitors_ask_what_the_program_answers(self):
        gateway, _, admin = house.demo()
        self.addCleanup(gateway.stop)
        objects = self.objects(FULL)
        container = objects["Deployment", "cams-porthole"]["spec"]["template"]["spec"]["containers"][0]
        asked = [container[f"{kind}Probe"]["httpGet"] for kind in ["startup", "liveness", "readiness"]]
        asked.append(objects["ServiceMonitor", "cams-porthole"]["spec"]["endpoints"][0])
        names = {port["name"] for port in container["ports"]}
        for probe in asked:
            self.assertIn(probe["port"], names)
            house.get(f"http://{admin}{probe['path']}")
        selected = objects["ServiceMonitor", "cams-porthole"]["spec"]["selector"]["matchLabels"]
        services = [t for (kind, _), t in objects.items() if kind == "Service"]
        chosen = [s for s in services if selected.items() <= s["metadata"]["labels"].items()]
        self.assertEqual([s["spec"]["ports"][0]["name"] for s in chosen], ["admin"])

    def test_rules_and_dashboard_are_those_of_deploy(self):
        objects = self.objects(FULL)
        rule = objects["PrometheusRule", "cams-porthole"]["spec"]
        self.assertEqual(rule, yaml.safe_load((house.REPOSITORY / "deploy/prometheus/rules.yaml").read_text()))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "rules.yaml").write_text(yaml.safe_dump(rule))
            status, said = house.run("promtool", "check", "rules", f"{folder}/rules.yaml")
        self.assertEqual(status, 0, said)
        shown = json.loads(objects["ConfigMap", "cams-porthole-dashboard"]["data"]["porthole.json"])
        self.assertEqual(shown, json.loads((house.REPOSITORY / "deploy/grafana/porthole.json").read_text()))

    def test_a_packed_chart_holds_them_too(self):
        with tempfile.TemporaryDirectory() as folder, helm.Chart.load(self.chart.save(folder)) as packed:
            files = {file["name"] for file in packed.files}
        self.assertLessEqual({"files/rules.yaml", "files/dashboard.json"}, files)

    def test_it_installs_the_version_it_was_made_for(self):
        cargo = tomllib.loads((house.REPOSITORY / "Cargo.toml").read_text())
        self.assertEqual(self.chart.metadata["appVersion"], cargo["package"]["version"])


if __name__ == "__main__":
    unittest.main()
