"""The files of the containers, read: nothing runs as root or without a limit, and no secret stands in them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.settings_source import SOURCES, settings_of
from tests.contract.pages import page, section
from tests.gunicorn_server import HERE

DOCKER = HERE / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
PRODUCTION: dict[str, Any] = yaml.safe_load((DOCKER / "compose.production.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "service-a", "service-b", "sweeper")
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def program(name: str) -> Path:
    return Path(sys.executable).parent / name


def test_the_linters_find_nothing() -> None:
    subprocess.run([program("hadolint"), "--ignore", "DL3059", DOCKER / "Dockerfile"], check=True)
    subprocess.run([program("compose-lint"), DOCKER / "compose.yml"], check=True)


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["read_only"] or name == "keycloak"
    image_user = name in OURS and "USER 10001:10001" in DOCKERFILE
    assert image_user or name == "keycloak" or int(service["user"].split(":")[0]) > 0


@pytest.mark.parametrize("name", OURS)
def test_what_is_set_is_a_setting_and_secrets_are_files(name: str) -> None:
    known = {setting.name: setting for source in SOURCES.values() for setting in settings_of(source)}
    for variable, value in SERVICES[name]["environment"].items():
        setting = known.get(variable) or known[variable.removesuffix("_FILE")]
        secret = setting.is_secret and setting.name != "OIDC_ISSUERS"
        assert not secret or value.removeprefix("/run/secrets/") in SERVICES[name]["secrets"]


def test_every_secret_is_made_or_the_operator_s_own() -> None:
    made = (DOCKER / "make-secrets.sh").read_text()
    for name, told in {**COMPOSE["secrets"], **PRODUCTION["secrets"]}.items():
        assert told == {"file": f"secrets/{name}"}
        assert name.startswith("tls_") or re.search(rf"\b{name}\b", made)
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert "docker/secrets/" in (HERE / ".gitignore").read_text().split()


def test_the_database_and_redis_have_no_way_out_and_no_port() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert (SERVICES[name]["networks"], SERVICES[name].get("ports")) == (["inside"], None)
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_owner_s_password_goes_to_the_migration_alone() -> None:
    holders = {name for name, service in SERVICES.items() if "database_owner_url" in service.get("secrets", [])}
    assert holders == {"migrate"}
    assert SERVICES["migrate"]["environment"]["DATABASE_URL_FILE"].endswith("database_owner_url")
    assert SERVICES["sweeper"]["environment"]["DATABASE_URL_FILE"].endswith("worker_database_url")


def test_the_seals_key_is_the_sweeper_s_alone() -> None:
    holders = {
        name for name, service in SERVICES.items() if "seals:/var/lib/orchestrator" in service.get("volumes", [])
    }
    assert holders == {"sweeper"}


def test_the_proxy_s_word_is_taken_and_nobody_else_s() -> None:
    front = SERVICES["nginx"]["networks"]["front"]["ipv4_address"]
    for name in OURS:
        assert SERVICES[name]["environment"]["TRUSTED_PROXIES"] == f"{front}/32"


def test_there_are_instances_where_the_proxy_looks_for_them() -> None:
    named = re.findall(r"^server (\S+):(\d+)", (DOCKER / "nginx" / "upstream.conf").read_text(), re.MULTILINE)
    assert [name for name, _ in named] == [name for name in SERVICES if name.startswith("service-")]
    assert {port for _, port in named} == {re.findall(r"PORT=(\d+)", DOCKERFILE)[0]}
    # It looks names up once: a container that is made anew must come to the same address.
    assert all(SERVICES[name]["networks"]["front"]["ipv4_address"] for name, _ in named)


def test_whoever_is_stopped_has_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    graceful = int(re.findall(r"^graceful_timeout = (\d+)", (DOCKER / "gunicorn.conf.py").read_text(), re.MULTILINE)[0])
    for name in ("service-a", "service-b"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > graceful


def test_production_overrides_services_that_there_are_and_insists_on_what_it_needs() -> None:
    assert set(PRODUCTION["services"]) <= set(SERVICES)
    for name in OURS:
        assert PRODUCTION["services"][name]["environment"]["ORCHESTRATOR_ENV"] == "production"
        for variable in ("ALLOWED_HOSTS", "OIDC_ISSUER_URL", "OIDC_AUDIENCE"):
            assert PRODUCTION["services"][name]["environment"][variable].startswith(f"${{{variable}:?")
    assert PRODUCTION["services"]["keycloak"]["profiles"]


def test_a_production_s_database_may_be_elsewhere() -> None:
    def of(name: str, what: str) -> Any:
        return {**SERVICES[name], **PRODUCTION["services"][name]}.get(what)

    users = {
        name
        for name in OURS
        if {"database_url", "worker_database_url", "database_owner_url"} & set(SERVICES[name]["secrets"])
    }
    assert users == set(OURS)
    for name in users:
        assert {"inside", "outside"} <= set(of(name, "networks"))
    assert of("migrate", "depends_on")["postgres"]["required"] is False
    others = [name for name in SERVICES if name != "migrate" and "postgres" in SERVICES[name].get("depends_on", {})]
    assert others == []


def test_each_command_of_the_guide_to_a_production_names_both_files() -> None:
    """With compose.yml alone it would make a development of it."""
    told = section(page("docs/deploying.md"), "As a production, with containers")
    commands = re.findall(r"^docker compose (.*)$", told, re.MULTILINE)
    assert len(commands) == 5
    both = "--file docker/compose.yml --file docker/compose.production.yml "
    assert [command for command in commands if not command.startswith(both)] == []


def test_the_sizes_that_are_said_twice_are_the_same() -> None:
    settings = {setting.name: setting for setting in settings_of(SOURCES["The service"])}
    limit = settings["MAX_BODY_BYTES"].default
    assert f"client_max_body_size {limit};" in (DOCKER / "nginx" / "limits.conf").read_text()
    assert f'"limit":{limit}}}' in (DOCKER / "nginx" / "refusals.conf").read_text()
    assert limit


def test_the_image_has_what_it_is_started_by_and_no_more() -> None:
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)).split()
    let_in = {line.removeprefix("!") for line in (HERE / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert set(copied) == let_in
    assert all((HERE / path).exists() for path in copied)
