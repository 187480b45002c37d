"""The stack file for Swarm: mistakes that the Swarm itself reports too late or never."""

from pathlib import Path

import pytest
import yaml
from manifests import OURS, ROOT, secrets

from reachy_service.environment import VARIABLES

FILES = ("swarm.yml", "swarm-prometheus.yml")


@pytest.fixture(scope="module", params=FILES)
def stack(request):
    return yaml.safe_load((ROOT / "deploy" / request.param).read_text())


def test_each_setting_is_one_that_is_read(stack):
    for service in stack["services"].values():
        for name in service.get("environment", {}):
            assert not OURS.match(name) or name in VARIABLES, name


def test_each_secret_and_config_is_there_and_is_used(stack, tmp_path):
    secrets(tmp_path)
    used = {it["source"] for service in stack["services"].values() for it in service.get("secrets", [])}
    assert used == set(stack.get("secrets", {}))
    for secret in stack.get("secrets", {}).values():
        assert (tmp_path / Path(secret["file"]).relative_to("secrets")).is_file(), secret
    for config in stack.get("configs", {}).values():
        assert (ROOT / "deploy" / config["file"]).is_file(), config


def test_what_is_secret_is_for_the_programs_own_user_alone(stack):
    of = {"store": "999"}
    for name, service in stack["services"].items():
        for secret in service.get("secrets", []):
            assert secret["mode"] == 0o400
            assert secret["uid"] == of.get(name, "10001")
            assert secret["target"].startswith("/")


def test_containers_have_no_rights_and_no_files_of_their_own(stack):
    for name, service in stack["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert "memory" in service["deploy"]["resources"]["limits"]
        if name != "prometheus":
            kept = {volume["target"]: volume["type"] for volume in service["volumes"]}
            assert kept["/tmp"] == "tmpfs", "a Swarm ignores tmpfs:"  # noqa: S108 - in the container


def test_every_name_leads_to_containers_and_every_port_is_a_nodes_own(stack):
    for service in stack["services"].values():
        assert service["deploy"]["endpoint_mode"] == "dnsrr"
        assert all(port["mode"] == "host" for port in service.get("ports", []))
        assert service["deploy"]["update_config"]["order"] == "stop-first", "start-first fails: the ports are in use"


def test_a_gateway_is_given_the_time_to_drain_and_updated_one_at_a_time():
    gateway = yaml.safe_load((ROOT / "deploy" / "swarm.yml").read_text())["services"]["gateway"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) >= float(gateway["environment"]["GATEWAY_DRAIN_S"]) + 3
    assert gateway["deploy"]["update_config"]["parallelism"] == 1


def test_prometheus_is_told_of_the_gateways_and_has_the_alerts():
    told = yaml.safe_load((ROOT / "deploy" / "swarm-prometheus-targets.yml").read_text())
    [job] = told["scrape_configs"]
    usual = yaml.safe_load((ROOT / "observability" / "prometheus.yml").read_text())
    assert job["job_name"] == usual["scrape_configs"][0]["job_name"], "the alerts use this job name"
    assert job["dns_sd_configs"] == [{"names": ["gateway"], "type": "A", "port": 8080, "refresh_interval": "15s"}]
    assert told["rule_files"] == usual["rule_files"]
