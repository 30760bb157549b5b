"""The files in `deploy/`: they name settings, commands and metrics that exist, and the programs for them agree."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from app.core.done import note_done
from app.core.environment_file import read_environment_file
from app.core.settings import names_of_settings
from app.serving.commands import Program
from tests.attachments.storage import s3_servers
from tests.conftest import NOT_TESTED
from tests.support.node import SHARE
from tests.support.servers import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])

#: An installed promtool, or the one that `make promtool` has brought.
PROMTOOL = shutil.which("promtool", path=f"{os.environ['PATH']}{os.pathsep}{SHARE}")

#: The program as the units call it.
PROGRAM = "/opt/fieldpost/bin/fieldpost"

_credentials = s3_servers._credentials

TOKEN = "a token for whoever scrapes, long enough"


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser


def test_the_example_of_settings_is_read_and_names_settings_alone(tmp_path: Path) -> None:
    text = (DEPLOY / "env.example").read_text()
    everything = tmp_path / "env"
    everything.write_text(re.sub(r"^# (?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    environment = {"FIELDPOST_ENVIRONMENT_FILE": str(everything)}
    read_environment_file(environment)
    assert (
        {"FIELDPOST_DATA_DIR", "DATABASE_URL", "FIELDPOST_SECRET_KEY"} <= environment.keys() <= {*names_of_settings()}
    )


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_a_unit_runs_a_command_that_exists_as_the_servers_user_with_the_servers_settings(path: Path) -> None:
    service = unit(path)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    assert_is_command(arguments)
    assert (service["User"], service["EnvironmentFile"]) == ("fieldpost", "/etc/fieldpost/env")
    assert (service["NoNewPrivileges"], service["ProtectSystem"], service["UMask"]) == ("yes", "strict", "0077")


def assert_is_command(arguments: list[str]) -> None:
    """That the program takes these arguments; it only tells about them."""
    result = CliRunner().invoke(Program(), [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: fieldpost {arguments[0]}")


def test_each_timer_has_its_unit() -> None:
    timers = sorted(DEPLOY.glob("*.timer"))
    assert len(timers) == 3
    assert all(path.with_suffix(".service").is_file() for path in timers)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason=f"{NOT_TESTED}the units. There is no systemd-analyze here."
)
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    # It looks for the programs, too.
    program = tmp_path / "fieldpost"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, str(program)))
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    own = [line for line in result.stderr.splitlines() if "fieldpost" in line]
    assert (own, result.returncode) == ([], 0), result.stderr


@pytest.fixture
def metrics(environment: dict[str, str]) -> set[str]:
    """The names of everything that can be asked of a server's metrics."""
    note_done(Path(environment["FIELDPOST_DATA_DIR"]), "backup")
    app = create_app({**environment, "FIELDPOST_METRICS_TOKEN": TOKEN, "FIELDPOST_SITE_STORAGE_BYTES": "1000"})
    text = app.test_client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    names = set()
    for family in text_string_to_metric_families(text):
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + ending for ending in endings}
    return names


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_exist(metrics: set[str], name: str) -> None:
    asked = set(re.findall(r"\bfieldpost_\w+", (DEPLOY / name).read_text()))
    assert len(asked) > 5
    assert asked - metrics == set()


def test_the_alerts_are_for_what_the_page_says_to_watch() -> None:
    page = (ROOT / "docs" / "operating.md").read_text().split("### What to watch\n")[1].split("\n## ")[0]
    watched = set(re.findall(r"`(fieldpost_\w+)`", page))
    text = (DEPLOY / "alerts.yml").read_text()
    # Each has another number of workers, and of replicas of batches.
    own = {"fieldpost_connections_used", "fieldpost_second_passes_total"}
    assert {name for name in watched - own if name not in text} == set()


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(places) == len(set(places)) > 8
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


@pytest.mark.skipif(PROMTOOL is None, reason=f"{NOT_TESTED}the alerts. Run `make promtool`.")
def test_prometheus_takes_the_rules_and_they_fire_as_tested(tmp_path: Path) -> None:
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    # promtool reads rules alone, so that each query of the dashboard becomes one.
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    queried = tmp_path / "dashboard.yml"
    queried.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for command in (["check", "rules", "alerts.yml", str(queried)], ["test", "rules", "alerts_test.yml"]):
        result = subprocess.run([str(PROMTOOL), *command], cwd=DEPLOY, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    tried = {(case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]}
    assert {(rule["alert"], fires) for rule in group["rules"] for fires in (True, False)} - tried == set()


def test_the_compose_file_starts_services_in_order_and_names_what_is_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    waits = {name: need["condition"] for name, need in services["fieldpost"]["depends_on"].items()}
    assert waits == {"migrate": "service_completed_successfully", "bucket": "service_completed_successfully"}
    assert_is_command(services["migrate"]["command"])
    build = services["migrate"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"


@pytest.mark.usefixtures("_credentials")
def test_the_compose_file_makes_the_bucket_once_and_not_again() -> None:
    *program, text = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["bucket"]["entrypoint"]
    assert program == ["python", "-c"]
    with s3_servers.moto() as endpoint:
        settings = {"FIELDPOST_S3_ENDPOINT": endpoint, "FIELDPOST_STORAGE": "s3://new-photos/fieldpost"}
        # As the head of the file says; anywhere else the bucket would need its region.
        settings["AWS_DEFAULT_REGION"] = "us-east-1"
        for _ in range(2):
            subprocess.run([sys.executable, "-W", "error", "-c", text], env={**os.environ, **settings}, check=True)
        with urllib.request.urlopen(f"{endpoint}/new-photos?list-type=2") as answer:
            assert answer.status == 200


def test_the_client_programs_of_the_image_serve_the_postgresql_of_the_compose_file() -> None:
    systems = re.findall(r"^FROM \S+-slim-(\w+)", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    image = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["database"]["image"]
    assert systems == ["trixie"] * 2
    assert int(image.rpartition(":")[2]) <= 17, "the release in Debian trixie"


def test_the_compose_file_gives_nginx_the_files_that_the_documented_one_reads() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    named = re.findall(r"ssl_certificate(?:_key)? (\S+);", page)
    volumes = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["proxy"]["volumes"]
    assert len(named) == 2
    assert {*named, "/etc/nginx/nginx.conf"} == {volume.split(":")[1] for volume in volumes}


def test_the_image_has_all_that_make_run_installs() -> None:
    rule = (ROOT / "Makefile").read_text().split("\n.venv/installed:")[1].split("\n\n")[0]
    installed = re.findall(r"--editable (\S+)", rule)
    text = (DEPLOY / "Containerfile").read_text()
    assert len(installed) == 2
    assert [name for name in installed if name != "." and f" ./{name}" not in text] == []


def test_the_image_runs_the_server_as_an_unprivileged_user() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    last = text.rsplit("\nFROM ", 1)[1]
    assert "useradd --uid 8000 " in last
    assert re.search(r"^USER 8000:8000$", last, re.MULTILINE)
    entry, command = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", last, re.MULTILINE))
    assert entry == ["fieldpost"]
    assert_is_command(command)
    assert "HEALTHCHECK" in last
