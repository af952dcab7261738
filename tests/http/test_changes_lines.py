"""The lines of docs/changes.md work when pasted: each platform's own shell lines, run with its variables set."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from messages.models import Change
from tests.factories import agent_key

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "changes.md").read_text()
ACCEPTED = '{"accepted": 1, "duplicates": 0, "rejected": []}'
GITHUB = {
    "GITHUB_REPOSITORY": "shop/erp", "GITHUB_RUN_ID": "1658821493", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_ACTOR": "dependabot[bot]",
    "GITHUB_SHA": "ffac537e6cbbf934b08745a378932722df287a53", "GITHUB_SERVER_URL": "https://github.com",
}  # fmt: skip
GITLAB = {
    "CI_PROJECT_PATH": "shop/erp", "CI_JOB_ID": "50", "CI_COMMIT_SHORT_SHA": "1ecfd275", "CI_JOB_STATUS": "failed",
    "GITLAB_USER_LOGIN": "ana", "CI_JOB_URL": "https://gitlab.example/shop/erp/-/jobs/50",
}  # fmt: skip
JENKINS = {
    "BUILD_TAG": "jenkins-erp-17", "GIT_COMMIT": "ffac537e6cbbf934b08745a378932722df287a53",
    "BUILD_URL": "http://jenkins.example:8080/job/erp/17/",
}  # fmt: skip
AZURE = {
    "SYSTEM_TEAMPROJECTID": "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", "BUILD_BUILDID": "1234", "SYSTEM_JOBATTEMPT": "1",
    "BUILD_BUILDNUMBER": "20261125.3", "AGENT_JOBSTATUS": "SucceededWithIssues", "BUILD_REQUESTEDFOR": "Mira O'Neill",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/fabrikam/",
}  # fmt: skip


def block(heading: str, language: str) -> str:
    found = re.search(rf"### {heading}\n.*?```{language}\n(.*?)```", TEXT, re.S)
    assert found
    return found[1]


def github() -> tuple[str, dict[str, str]]:
    (step,) = yaml.safe_load(block("GitHub Actions", "yaml"))
    assert step["if"] == "always()"
    said = {"${{ secrets.WAYBILL_AGENT_KEY }}": "", "${{ job.status }}": "success"}
    return step["run"], GITHUB | {name: said.get(value, value) for name, value in step["env"].items()}


def gitlab() -> tuple[str, dict[str, str]]:
    (line,) = yaml.safe_load(block("GitLab CI", "yaml"))["deploy-erp"]["after_script"]
    return line, GITLAB


def jenkins() -> tuple[str, dict[str, str]]:
    groovy = block("Jenkins", "groovy")
    assert groovy.count("{") == groovy.count("}")
    found = re.search(r"sh '''(.*?)'''", groovy, re.S)
    assert found
    script = found[1].replace("\\\n", "")  # Groovy joins such lines before the shell sees them
    assert "\\" not in script  # it would read any other backslash as an escape
    assert "OUTCOME=${currentBuild.currentResult}" in groovy
    return script, JENKINS | {"OUTCOME": "ABORTED"}


def azure() -> tuple[str, dict[str, str]]:
    (step,) = yaml.safe_load(block("Azure DevOps", "yaml"))
    assert step["condition"] == "always()"
    assert step["env"]["WAYBILL_AGENT_KEY"] == "$(WAYBILL_AGENT_KEY)"
    return step["bash"], AZURE


PLATFORMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "GitHub Actions": (
        github,
        ("github/shop/erp/1658821493/2", "ffac537", "succeeded", "dependabot[bot]", "https://github.com/shop/erp/actions/runs/1658821493"),
    ),
    "GitLab CI": (gitlab, ("gitlab/shop/erp/50", "1ecfd275", "failed", "ana", GITLAB["CI_JOB_URL"])),
    "Jenkins": (jenkins, ("jenkins-erp-17", "ffac537", "cancelled", "", JENKINS["BUILD_URL"])),
    "Azure DevOps": (
        azure,
        (
            "azure/6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c/1234/1", "20261125.3", "succeeded", "Mira O'Neill",
            "https://dev.azure.com/fabrikam/6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c/_build/results?buildId=1234",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_s_lines_tell_the_end_of_a_deployment(committed: None, live_server: Any, platform: str):
    read, expected = PLATFORMS[platform]
    script, variables = read()
    given = {"PATH": os.environ["PATH"], **variables, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    done = subprocess.run(["sh", "-e", "-u", "-c", script], env=given, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, ACCEPTED, "")
    found = Change.objects.get()
    assert (found.external_id, found.version, found.outcome, found.author, found.url) == expected
    assert (found.kind, found.title, found.systems, bool(found.ended_at)) == ("deployment", "Deploy ERP", ["erp"], True)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_console_that_is_away_fails_no_deployment(platform: str):
    script, variables = PLATFORMS[platform][0]()
    given = {"PATH": os.environ["PATH"], **variables, "WAYBILL": "http://127.0.0.1:1", "WAYBILL_AGENT_KEY": "k"}

    done = subprocess.run(
        ["sh", "-e", "-c", script.replace("--retry 5", "--retry 0")], env=given, capture_output=True, timeout=60
    )

    assert done.returncode == 0
    assert done.stderr


def test_the_curl_lines_store_a_deployment_and_open_and_close_a_window(committed: None, live_server: Any):
    lines = re.findall(r"```sh\n(curl .*?)```", TEXT, re.S)
    environ = {**os.environ, "WAYBILL": live_server.url, "WAYBILL_AGENT_KEY": agent_key()}

    said = [
        subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout
        for line in lines
    ]

    assert said == [ACCEPTED] * 3
    window = Change.objects.get(kind="maintenance")
    assert (window.title, window.outcome, bool(window.ended_at)) == ("ERP patch day", "succeeded", True)
    assert Change.objects.get(kind="deployment").version == "2.4.1"
