"""What stands under deploy/ and in compose.yaml fits the worker, and itself."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.boxes import ROOT
from tests.support.worker_process import worker
from vera_supervisor.config import load

_KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
_PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
_DASHBOARD: Final = ROOT / "deploy/grafana/dashboards/vera-worker.json"
#: Words of PromQL that are no metrics.
_WORDS: Final = {"sum", "max", "by", "le", "rate", "increase", "histogram_quantile", "count"}
_WORDS_OF_PROMETHEUS: Final = {"and", "up", "job", "instance"}


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def objects() -> dict[str, Any]:
    """Return what kubectl would apply, by kind and name."""
    listed = yaml.safe_load((_KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in _KUBERNETES.iterdir()} == {"kustomization.yaml", *listed}
    found = [each for name in listed for each in documents(_KUBERNETES / name)]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


class Offered(NamedTuple):
    """What a worker says of itself: the names of samples, and of their labels."""

    samples: set[str]
    labels: set[str]


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Offered:
    """Ask a worker that has run a task, and has lost an executor."""
    with worker(tmp_path_factory.mktemp("worker")) as node:
        node.submit("noop", wait=60)
        node.submit("segfault", wait=60, max_retries=0)
        text = node.client.get("/metrics/prometheus").raise_for_status().text
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    return Offered({s.name for s in samples}, {label for s in samples for label in s.labels})


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return objects()


@pytest.fixture(scope="module")
def pod(cluster: dict[str, Any]) -> Any:
    return cluster["StatefulSet/vera-worker"]["spec"]["template"]["spec"]


def test_every_selector_finds_the_workers(cluster: dict[str, Any]) -> None:
    workers = cluster["StatefulSet/vera-worker"]["spec"]
    labels = workers["template"]["metadata"]["labels"]
    assert workers["selector"]["matchLabels"] == labels
    assert cluster["PodDisruptionBudget/vera-worker"]["spec"]["selector"]["matchLabels"] == labels
    for name in ("vera-worker", "vera-workers"):
        service = cluster[f"Service/{name}"]["spec"]
        assert service["selector"] == labels
        assert service["ports"][0]["targetPort"] == "http"
    assert workers["serviceName"] == "vera-workers"
    assert cluster["Service/vera-workers"]["spec"]["clusterIP"] == "None"


@pytest.mark.system
def test_the_autoscaler_scales_the_workers_by_their_queue(
    cluster: dict[str, Any], offered: Offered
) -> None:
    scaler = cluster["HorizontalPodAutoscaler/vera-worker"]["spec"]
    target = scaler["scaleTargetRef"]
    assert f"{target['kind']}/{target['name']}" in cluster
    (metric,) = scaler["metrics"]
    name = metric["pods"]["metric"]["name"]
    rule = (_KUBERNETES / "autoscaling.yaml").read_text()
    assert f"name: {{as: {name}}}" in rule
    assert set(re.findall(r"\b(task_\w+_bucket)\b", rule)) <= offered.samples


def test_the_pod_is_locked_up(pod: Any) -> None:
    context, (container,) = pod["securityContext"], pod["containers"]
    assert context["runAsNonRoot"]
    assert (
        f"USER {context['runAsUser']}:{context['runAsGroup']}\n"
        in (ROOT / "Dockerfile").read_text()
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]


def test_the_pod_has_what_it_mounts_and_a_token_that_is_read(pod: Any) -> None:
    (container,) = pod["containers"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounts) == {*volumes, "state"}
    secret = volumes["token"]["secret"]
    # Others than the group must not read it, or the worker refuses it.
    assert secret["defaultMode"] == 0o440
    assert (
        f"secret generic {secret['secretName']} --from-literal=token="
        in (_KUBERNETES / "kustomization.yaml").read_text()
    )


def test_a_drain_has_its_time(pod: Any, tmp_path: Path, cluster: dict[str, Any]) -> None:
    config = settings(cluster, tmp_path)
    (container,) = pod["containers"]
    (_, before_s) = container["lifecycle"]["preStop"]["exec"]["command"]
    needed_s = int(before_s) + config.server.drain_timeout + 10
    assert pod["terminationGracePeriodSeconds"] >= needed_s


def settings(cluster: dict[str, Any], directory: Path) -> Any:
    (directory / "worker.toml").write_text(cluster["ConfigMap/vera-worker"]["data"]["worker.toml"])
    return load(directory / "worker.toml", {}, {}).config


def test_the_settings_are_valid_and_fit_the_mounts(
    pod: Any, tmp_path: Path, cluster: dict[str, Any]
) -> None:
    config = settings(cluster, tmp_path)
    (container,) = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert config.server.host == "0.0.0.0"
    assert config.auth.token_file == mounts["token"] + "/token"
    assert config.store.url.startswith(f"sqlite:///{mounts['state']}/")
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["STORE_URL"] == config.store.url
    assert container["ports"][0]["containerPort"] == config.server.port


def test_the_probes_ask_routes_that_need_no_token(pod: Any) -> None:
    (container,) = pod["containers"]
    asked = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert asked == {
        # Not on whether others fill the machine just now: that too outlasts a restart.
        "startup": "/health",
        # Never on anything that a restart does not mend.
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }


@pytest.mark.deploy
@pytest.mark.parametrize("path", sorted(_KUBERNETES.glob("[!k]*.yaml")), ids=lambda p: p.name)
def test_the_schemas_of_kubernetes_take_it(path: Path) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="needs 100 MB of schemas: make test-deploy"
    )
    for each in documents(path):
        validate.validate(each, "1.30", strict=True)


def expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads(_DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in yaml.safe_load((_PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.mark.system
def test_every_metric_of_dashboard_and_alerts_is_one_of_the_worker(offered: Offered) -> None:
    known = offered.samples | offered.labels | _WORDS | _WORDS_OF_PROMETHEUS
    for title, expression in expressions():
        bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
        assert bare.count("(") == bare.count(")"), title
        named = set(re.findall(r"[a-z][a-z_]+", bare))
        assert named <= known, (title, named - known)
        assert named & offered.samples or "up{" in expression, title


def test_alerts_say_what_to_do() -> None:
    for group in yaml.safe_load((_PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}


def test_prometheus_reads_every_worker_of_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    workers = {name for name, each in compose["services"].items() if "build" in each}
    settings = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    assert set(job["dns_sd_configs"][0]["names"]) == workers
    assert job["metrics_path"] == "/metrics/prometheus"
    assert settings["rule_files"] == ["alerts.yml"]


def test_grafana_is_given_what_the_dashboard_asks_for() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    dashboard = json.loads(_DASHBOARD.read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards/vera-worker.yml").read_text())[
        "providers"
    ]
    mounts = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts


@pytest.mark.parametrize("name", ["worker", "worker-1", "worker-2", "worker-3"])
def test_a_worker_of_the_compose_file_is_locked_up(name: str) -> None:
    """C6; and its limits stand where docker-compose 1.29 of Debian 12 reads all three of them."""
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    assert set(service.get("deploy", ())) <= {"replicas"}


def test_the_scaled_service_has_nothing_of_its_own() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    scaled = services["worker"]
    assert "container_name" not in scaled
    assert "volumes" not in scaled
    assert scaled["ports"] == ["5000"]
    fixed = [services[f"worker-{number}"] for number in (1, 2, 3)]
    assert [each["ports"] for each in fixed] == [[f"500{n}:5000"] for n in (1, 2, 3)]
    assert {each["restart"] for each in [scaled, *fixed]} == {"unless-stopped"}
    assert len({each["container_name"] for each in fixed}) == 3
    assert len({tuple(each["volumes"]) for each in fixed}) == 3
