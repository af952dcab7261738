"""OpenSLO v1: objectives of ours as YAML, and YAML of others as wishes, with every caution in words. Pure.

Source: OpenSLO specification, `openslo/v1`, kinds SLO and Service. What is ours and OpenSLO has no word for (which flow, which kind, a deadline,
a calendar) stands in annotations below `waybill/`; an SLO without them is mapped by its indicator as far as that goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from console.core.yamltext import BadYaml, read_documents, write_yaml

VERSIONS = ("openslo/v1", "openslo.com/v1")  # both are seen in the wild
MOST_BYTES = 2 * 1024 * 1024
MOST_DOCUMENTS = 1_000  # as many as are assessed in the time of a look
MOST_PARTS = 50  # objectives of one SLO
OURS = "waybill/"
METHODS = {"occurrences": "Occurrences", "timeslices": "Timeslices", "ratio_timeslices": "RatioTimeslices"}
METHOD_OF = {name.lower(): ours for ours, name in METHODS.items()}
DURATION = re.compile(r"(\d{1,6})([mhdwMQY])", re.ASCII)
MINUTES_OF = {"m": 1, "h": 60, "d": 1440, "w": 10_080}
UNIT_OF = {"w": "week", "M": "month", "Q": "quarter", "Y": "year"}
DURATION_OF = {"week": "1w", "month": "1M", "quarter": "1Q", "year": "1Y"}
WHOLE = re.compile(r"\d{1,11}", re.ASCII)  # str.isdigit takes “²” too, and int does not
NUMBERS = ("limit_ms", "limit_minutes", "recover_minutes", "at_least", "from_minute", "until_minute", "slice_minutes")
FLAGS = ("empty_is_good", "guarded", "sustained", "exhausted")


class BadOpenSlo(ValueError):
    """A text that is no OpenSLO; the sentence says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One SLO as it would become an objective. wish: arguments of NewObjective; flow: the name of the flow, "" when none is named.

    warnings  what is different here from what the file may mean, a sentence each.   refusal  why it cannot be taken at all.
    """

    name: str
    flow: str = ""
    wish: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    refusal: str = ""


def read(text: str) -> list[Taken]:
    """Return every SLO of a YAML text of one or more documents; raises BadOpenSlo for what is no YAML or has none."""
    documents = _documents(text)
    kinds = [str(one.get("kind", "")) for one in documents]
    slos = [one for one in documents if one.get("kind") == "SLO"]
    if not slos:
        seen = ", ".join(sorted({kind[:40] for kind in kinds if kind})) or "nothing with a kind"
        raise BadOpenSlo(f"there is no document of kind SLO in this text: it has {seen}")
    indicators = {_name(one): _map(one.get("spec")) for one in documents if one.get("kind") == "SLI"}
    found: list[Taken] = []
    for one in slos:
        found += _slo(one, indicators)
    return found


def _documents(text: str) -> list[Mapping[str, Any]]:
    try:
        read = read_documents(text, most_bytes=MOST_BYTES, most=MOST_DOCUMENTS)
    except BadYaml as error:
        raise BadOpenSlo(f"this is no YAML that can be read: {error}") from error
    several = [document for one in read for document in (one if isinstance(one, list) else [one])]
    if len(several) > MOST_DOCUMENTS:
        raise BadOpenSlo(f"an OpenSLO file has at most {MOST_DOCUMENTS:,} documents: import it in parts")
    return [one for one in several if isinstance(one, dict)]


def _slo(document: Mapping[str, Any], indicators: Mapping[str, Mapping[str, Any]]) -> list[Taken]:
    """Return one wish for each objective of an SLO; usually it has one."""
    spec, name = _map(document.get("spec")), _name(document)
    shared: list[str] = []
    if document.get("apiVersion") not in VERSIONS:
        return [
            Taken(
                name=name, refusal=f"its apiVersion is {_text(document.get('apiVersion'))}, and openslo/v1 is read here"
            )
        ]
    objectives = [_map(one) for one in _list(spec.get("objectives"))]
    if not objectives:
        return [Taken(name=name, refusal="it has no objectives")]
    if len(objectives) > MOST_PARTS:
        return [Taken(name=name, refusal=f"it has more than {MOST_PARTS} objectives: import it in parts")]
    if document.get("apiVersion") != VERSIONS[0]:
        shared.append(
            f"its apiVersion {_text(document.get('apiVersion'))} is not the specification's: it is read as openslo/v1"
        )
    window, words = _window(_list(spec.get("timeWindow")))
    shared += words
    if spec.get("alertPolicies"):
        shared.append(
            "its alert policies are not taken: burn-rate pairs are reckoned for the window here; see Alerts in the form"
        )
    annotations = {
        key.removeprefix(OURS): value
        for key, value in _map(_map(document.get("metadata")).get("annotations")).items()
        if isinstance(key, str) and key.startswith(OURS)
    }
    title = _text(_map(document.get("metadata")).get("displayName")) or name
    found = []
    for number, objective in enumerate(objectives):
        label = _text(objective.get("displayName"))
        of_objective = (
            f"{title}: {label}" if label and len(objectives) > 1 else f"{title} {number + 1}" if number else title
        )
        found.append(_objective(of_objective[:120], spec, objective, annotations, window, shared, indicators))
    return found


def _objective(
    title: str,
    spec: Mapping[str, Any],
    objective: Mapping[str, Any],
    annotations: Mapping[str, Any],
    window: Mapping[str, Any],
    shared: Sequence[str],
    indicators: Mapping[str, Mapping[str, Any]],
) -> Taken:
    warnings = list(shared)
    target = _target(objective)
    flow = _text(annotations.get("flow")) or _text(spec.get("service"))
    if target is None:
        return Taken(
            name=title, flow=flow, refusal="its objective has neither target nor targetPercent between 0 and 1, or 100"
        )
    described = _text(spec.get("description"), 1050)
    if described == title and annotations.get("description") == "":  # OpenSLO wants one
        described = ""
    said = {"name": title, "target": target, "description": described, **window}
    said |= _method(spec, objective, warnings, says_empty="empty_is_good" in annotations)
    # what OpenSLO has words for is said by them: somebody may have changed them in what we wrote
    ours = "kind" in annotations
    wish = (_ours(annotations, warnings) if ours else _of_indicator(spec, objective, indicators, warnings)) | said
    if not _text(annotations.get("flow")):
        warnings.append(f"its service “{flow}” is taken for the name of a flow")
    if _number(objective.get("target")) is not None and "targetPercent" in objective:
        warnings.append("it has a target and a targetPercent: its target is taken")
    if "compositeWeight" in objective:
        warnings.append("its compositeWeight is not taken: objectives are not weighed against each other here")
    return Taken(name=title, flow=flow, wish=wish, warnings=warnings)


def _target(objective: Mapping[str, Any]) -> str | None:
    target, per_cent = _number(objective.get("target")), _number(objective.get("targetPercent"))
    found = target if target is not None else per_cent / 100 if per_cent is not None else None
    return f"{found:.8f}" if found is not None and 0 < found < 1 else None


def _method(
    spec: Mapping[str, Any], objective: Mapping[str, Any], warnings: list[str], *, says_empty: bool
) -> dict[str, Any]:
    said = _text(spec.get("budgetingMethod")) or "Occurrences"
    method = METHOD_OF.get(said.lower())
    if method is None:
        warnings.append(f"its budgetingMethod {said[:40]} is none of OpenSLO's: events are counted")
        return {}
    if method == "occurrences":
        return {}
    found: dict[str, Any] = {"method": method}
    length = DURATION.fullmatch(_text(objective.get("timeSliceWindow")))
    unit = MINUTES_OF.get(length[2]) if length else None  # 5M are months
    found["slice_minutes"] = int(length[1]) * unit if length and unit else 1
    if unit is None:
        warnings.append("its timeSliceWindow is missing or cannot be read: slices of 1 min are taken")
    target = _number(objective.get("timeSliceTarget"))
    if target is None:
        if method == "timeslices":
            warnings.append("its timeSliceTarget is missing or cannot be read: a slice is good from 95 %")
    else:
        found["slice_target"] = target if target <= 1 else round(target / 100, 10)
        if target > 1:
            warnings.append(f"its timeSliceTarget {target:g} is read as per cent: OpenSLO writes the range two ways")
    if not says_empty:
        warnings.append(
            "OpenSLO does not say what a slice without events is: it is left out here; choose “good” in the form where silence is well"
        )
    return found


def _window(windows: list[Any]) -> tuple[dict[str, Any], list[str]]:
    one = _map(windows[0]) if windows else {}
    match = DURATION.fullmatch(_text(one.get("duration")))
    if match is None:
        return {}, ["its timeWindow is missing or cannot be read: 30 rolling days are taken"]
    number, unit = int(match[1]), match[2]
    rolling = _text(one.get("isRolling", "calendar" not in one)).lower() != "false"
    warnings = ["it has several time windows: the first one is taken"] if len(windows) > 1 else []
    if unit in "MQY":
        warnings.append(f"a duration in {unit} was removed in OpenSLO v2alpha: it is read as v1 has it")
    if not rolling:
        calendar = _map(one.get("calendar"))
        found = UNIT_OF.get(unit) if number == 1 else {(7, "d"): "week", (3, "M"): "quarter"}.get((number, unit))
        if found is not None:
            if _text(calendar.get("startTime")):
                warnings.append(
                    "its calendar's startTime is not taken: weeks begin on Monday, months on the first, at midnight in the zone"
                )
            zone = _text(calendar.get("timeZone"))
            return {"unit": found} | ({"time_zone": zone} if zone else {}), warnings
        warnings.append(
            f"a calendar window of {match[0]} is none here (week, month, quarter, year): a rolling one is taken"
        )
    exact = {"M": 30, "Q": 91, "Y": 365}.get(unit, 0) * number or number * MINUTES_OF.get(unit, 1440) / 1440
    days = max(1, round(exact))
    if days != exact:
        warnings.append(
            f"a window of {match[0]} is none here: {'1 whole day is' if days == 1 else f'{days} whole days are'} taken"
        )
    return {"days": days}, warnings


def _ours(annotations: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return what an export of ours put into its annotations; what of it cannot be read is left out, with a warning."""
    found: dict[str, Any] = {}
    for name, value in annotations.items():
        if name in ("flow", "description"):
            continue
        taken = READERS[name](_text(value, 8_000)) if name in READERS else None
        if taken is None:
            why = "cannot be read" if name in READERS else "is none of ours"
            warnings.append(f"its annotation {OURS}{name[:40]} {why}, and is not taken")
        else:
            found[name] = taken
    return found


def _whole(text: str) -> int | None:
    return int(text) if WHOLE.fullmatch(text) else None


def _flag(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _words(text: str) -> list[str]:
    return [one for one in text.split(",") if one]


def _wholes(text: str) -> list[int] | None:
    found = [_whole(one) for one in text.split(",")]
    return None if None in found else [one for one in found if one is not None]


def _dates(text: str) -> list[date] | None:
    try:
        return [date.fromisoformat(one.strip()) for one in text.split(",")]
    except ValueError:
        return None


def _of_indicator(
    spec: Mapping[str, Any],
    objective: Mapping[str, Any],
    indicators: Mapping[str, Mapping[str, Any]],
    warnings: list[str],
) -> dict[str, Any]:
    """Return what an indicator of others can be here: a threshold becomes latency, a ratio success."""
    inline = _map(objective.get("indicator")) or _map(spec.get("indicator"))
    reference = _text(objective.get("indicatorRef")) or _text(spec.get("indicatorRef"))
    indicator = _map(inline.get("spec")) or indicators.get(reference, {})
    if reference and not indicator:
        warnings.append(f"its indicator “{reference[:60]}” is not in this file: success of the flow is promised")
    if "thresholdMetric" not in indicator:
        if indicator:
            warnings.append("its metric's query is not taken: success is counted from the flow's own events")
        return {"kind": "success"}
    return _latency(objective, warnings)


def _latency(objective: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    op, value = _text(objective.get("op")), _number(objective.get("value"))
    if op in ("gt", "gte"):
        warnings.append(f"its op is {op}: good above the value cannot be a time; check what it measures")
    elif op in ("lte", "lt"):
        warnings.append(
            f"its op is {op}: read as “good when at most the value”. OpenSLO's own alert example says “exceeds 2” with lte: check the direction"
        )
    if value is None or value <= 0:
        warnings.append("its threshold has no value: 1,024 ms are taken")
        return {"kind": "latency", "limit_ms": 1024}
    wanted = value * 1000 if value < 100 else value
    limit = 1 << max(0, min(24, round(wanted) - 1 if wanted <= 1 else (round(wanted) - 1).bit_length()))
    warnings.append(
        f"its value {value:g} has no unit: read as {'seconds' if value < 100 else 'milliseconds'}, and {limit:,} ms is the next bound of our buckets"
    )
    return {"kind": "latency", "limit_ms": limit}


def write(objectives: Iterable[Mapping[str, Any]]) -> str:
    """Return objectives as OpenSLO v1, one document each. Each mapping has the columns of the row and `flow`, `team`, `environment` by name."""
    return write_yaml(*(_document(one) for one in objectives))


def _document(one: Mapping[str, Any]) -> dict[str, Any]:
    objective: dict[str, Any] = {"displayName": one["name"], "target": float(one["target"])}
    if one["method"] != "occurrences":
        objective["timeSliceTarget"] = one["slice_target"]
        objective["timeSliceWindow"] = f"{one['slice_minutes']}m"
    annotations = {f"{OURS}flow": one["flow"], f"{OURS}kind": one["kind"]}
    annotations |= {f"{OURS}{name}": str(one[name]) for name in NUMBERS if one[name] is not None}
    annotations[f"{OURS}slice_target"] = repr(one["slice_target"])
    if not one["description"]:  # OpenSLO wants one, and what stands there is the name
        annotations[f"{OURS}description"] = ""
    annotations |= {f"{OURS}{name}": "true" if one[name] else "false" for name in FLAGS}
    annotations[f"{OURS}pairs"] = ",".join(one["pairs"])
    annotations[f"{OURS}time_zone"] = one["time_zone"]
    if one["work_days"]:
        annotations[f"{OURS}work_days"] = ",".join(str(day) for day in one["work_days"])
    if one["holidays"]:
        annotations[f"{OURS}holidays"] = ",".join(day.isoformat() for day in one["holidays"])
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {
            "name": dns_name(one["name"], one["id"]),
            "displayName": one["name"],
            "labels": {name: one[name] for name in ("environment", "team") if one[name]},
            "annotations": annotations,
        },
        "spec": {
            "description": (one["description"] or one["name"])[:1050],
            "service": one["flow"] or dns_name(one["name"], one["id"]),
            "indicator": {"metadata": {"name": f"waybill-{one['kind'].replace('_', '-')}"}, "spec": _ratio(one)},
            "timeWindow": [_time_window(one)],
            "budgetingMethod": METHODS[one["method"]],
            "objectives": [objective],
            "alertPolicies": [],
        },
    }


def _ratio(one: Mapping[str, Any]) -> dict[str, Any]:
    def source(what: str) -> dict[str, Any]:
        return {"metricSource": {"type": "Waybill", "spec": {"objective": one["id"], "count": what}}}

    return {"ratioMetric": {"counter": True, "good": source("good"), "total": source("total")}}


def _time_window(one: Mapping[str, Any]) -> dict[str, Any]:
    if one["unit"] == "rolling":
        return {"duration": f"{one['days']}d", "isRolling": True}
    start = "2026-01-05 00:00:00" if one["unit"] == "week" else "2026-01-01 00:00:00"
    return {
        "duration": DURATION_OF[one["unit"]],
        "isRolling": False,
        "calendar": {"startTime": start, "timeZone": one["time_zone"]},
    }


def dns_name(name: str, pk: int) -> str:
    """Return a name of RFC 1123, at most 63 letters, unique by its number."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-")
    return f"{words or 'objective'}-{pk}"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any, most: int = 500) -> str:
    return str(value).replace("\x00", "").strip()[:most] if isinstance(value, str | int | float) else ""


def _name(document: Mapping[str, Any]) -> str:
    return _text(_map(document.get("metadata")).get("name"), 120) or "without a name"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e12 else None


READERS: dict[str, Callable[[str], Any]] = {
    "kind": str,
    "slice_target": _number,
    "pairs": _words,
    "work_days": _wholes,
    "holidays": _dates,
    "time_zone": str,
    **dict.fromkeys(NUMBERS, _whole),
    **dict.fromkeys(FLAGS, _flag),
}
