"""The bundle of Vega is written at set-up; where its wheel is missing, pages go without."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

from console.core.bundles import write_bundles
from messages.figures import present


def test_the_bundle_is_one_module_that_interprets_expressions(tmp_path: Path):
    write_bundles(tmp_path)
    write_bundles(tmp_path)

    text = (tmp_path / "bundles/vega/vega.js").read_text()
    assert "window.vegaEmbed=" in text
    assert "expressionInterpreter" in text
    assert "sourceMappingURL" not in text  # collectstatic would look for that file


def test_without_the_wheel_nothing_is_written_and_the_pages_go_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    write_bundles(tmp_path)

    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(
        present, "staticfiles_storage", ManifestStaticFilesStorage(location=tmp_path, base_url="/static/")
    )
    assert present.bundle_address() == ""
