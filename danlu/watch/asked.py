"""The pages of questions: studies, ledger, book, laws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from danlu.files.read import LIMIT, read_text
from danlu.lab.claims.page import effect, reading
from danlu.lab.ledger.table import in_words
from danlu.lab.reading.table import said
from danlu.lab.study import REPORT
from danlu.lab.trial.answer import EQUAL
from danlu.lab.trial.kept import kept as kept_pairs
from danlu.spec.translated import statement
from danlu.watch import kept, planned, sweeps
from danlu.watch import studies as study_of
from danlu.watch.guard import STILL
from danlu.watch.page import address, drawing, html
from danlu.watch.place import StudyFolder, id_of
from danlu.watch.tongue import language_of
from danlu.watch.views import place_of, study_at

SHARES = {"all": 1.0, "half": 0.5, "quarter": 0.25, "tenth": 0.1}  # of the trials that are drawn


def studies(request: Request) -> Response:
    """All studies, the last changed first."""
    place = place_of(request)
    rows = []
    for study in place.studies():
        found = study_of.result(place, study)
        came = [f"{one['idea']}, at equal {EQUAL.get(one['at'], one['at'])}: {study_of.said(one)}"
                for one in study_of.findings(found)]  # fmt: skip
        came += [f"{one['idea']}: {study_of.said(one)}" for one in study_of.across(found)]
        if (sweep := sweeps.of(found)) is not None and sweep["best"]:
            came = [f"best {sweep['best']['value']:.4f} {sweep['unit'] or sweep['metric']}"]
        if (ladder := planned.ladder(found)) is not None:
            came = [planned.aimed(ladder)]
        rows.append((study, came or (["under way"] if found is None else [])))
    return html(request, "studies.html", rows=rows)


def _told(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else said(value)


def study(request: Request) -> Response:
    """One study, whatever verb made it."""
    place, study = place_of(request), study_at(request)
    found = study_of.result(place, study)
    common: dict[str, Any] = {
        "id": study.id,
        "name": study.name,
        "verb": study.verb,
        "asked": [(name, _told(value)) for name, value in study.asked.items() if name != "verb"],
        "report": study_of.has_report(place, study),
        "members": study_of.members(place, study, found),
        "ended": found is not None,
    }
    if (sweep := sweeps.of(found)) is not None:
        share = request.query_params.get("share", "all")
        return html(
            request,
            "sweep.html",
            **common,
            share=share if share in SHARES else "all",
            shares=SHARES,
            sentences=sweeps.words(sweep),
            has_importance=sweeps.importance(sweep) is not None,
            rows=sweeps.rows(sweep),
        )
    if (ladder := planned.ladder(found)) is not None:
        return html(
            request,
            "ladder.html",
            **common,
            aimed=planned.aimed(ladder),
            warnings=ladder["warnings"],
            rungs=planned.rungs(place, ladder),
            law=ladder["law"]["formula"],
            held=planned.held_out(ladder),
            command=ladder["target"]["command"],
        )
    findings, ideas = study_of.findings(found), study_of.across(found)
    return html(
        request,
        "study.html",
        **common,
        pairs=_differences(request, study),
        findings=findings,
        said=study_of.said,
        band=study_of.BAND_SAID,
        beside=study_of.beside,
        equal=EQUAL,
        rows=study_of.finding_rows(findings),
        ideas=ideas,
        gains=study_of.gain_rows(ideas) if ideas else [],
    )


def _differences(request: Request, study: StudyFolder) -> list[dict[str, Any]]:
    """The first charts of a trial: each idea at equal steps."""
    place, found = place_of(request), []
    linear = request.query_params.get("scale") == "linear"
    equal = [row for row in kept_pairs(study.path) if row["at"] == "steps"]
    every = study_of.pairs(place, study) if equal else {}
    for row in equal:
        of = every.get((row["idea"], row["at"]), [])
        differences = study_of.differences_of(of, row["metric"])
        for metric, over in differences.items():
            head, *rows = study_of.difference_rows(over)
            reached = f"{len(of)}-{rows[-1][0]}"  # another address when there is more to see
            query = {"idea": row["idea"], "metric": metric, "scale": "linear" if linear else "", "v": reached}
            found.append({
                "title": f"{row['idea']}: variant − baseline over steps, {metric}",
                "svg": address(f"/studies/{study.id}/difference.svg", query),
                "caption": study_of.difference(
                    over, metric, _better(row, metric), row["metric"], row.get("loss_unit")
                ).caption,
                "head": head, "rows": rows, "of": len(rows),
            })  # fmt: skip
        runs = [
            (seed, id_of(b.path), place.shown(b.path), id_of(v.path), place.shown(v.path))
            for seed, b, v in of
        ]
        found.append({
            "idea": row["idea"], "runs": runs, "waiting": len(row["runs"]) - len(of),
            "drawn": bool(differences), "why": study_of.not_drawn(differences, row["metric"]),
        })  # fmt: skip
    return found


def difference_svg(request: Request) -> Response:
    """Paired differences over steps."""
    place, study, query = place_of(request), study_at(request), request.query_params
    rows = [row for row in kept_pairs(study.path) if row["idea"] == query.get("idea")]
    if not rows:
        raise HTTPException(404)
    of = study_of.pairs(place, study).get((rows[0]["idea"], "steps"), [])
    linear = query.get("scale") == "linear"
    metric = query.get("metric", rows[0]["metric"])
    over = study_of.over_steps(of, metric)
    better, judged = _better(rows[0], metric), rows[0]["metric"]
    return drawing(
        request, study_of.difference(over, metric, better, judged, rows[0].get("loss_unit"), linear)
    )


def _better(row: Mapping[str, Any], metric: str) -> str:
    """Which way is better, of the metric of a row of ``pairs.json`` or of the training loss."""
    return "lower" if metric == "loss" else str(row["better"])


def forest_svg(request: Request) -> Response:
    """The verdicts of a trial."""
    findings = study_of.findings(study_of.result(place_of(request), study_at(request)))
    if not findings:
        raise HTTPException(404)
    return drawing(request, study_of.forest(findings))


def gain_svg(request: Request) -> Response:
    """Gains in compute over sizes."""
    ideas = study_of.across(study_of.result(place_of(request), study_at(request)))
    if not ideas:
        raise HTTPException(404)
    return drawing(request, study_of.gain(ideas))


def _sweep(request: Request) -> dict[str, Any]:
    found = sweeps.of(study_of.result(place_of(request), study_at(request)))
    if found is None:
        raise HTTPException(404)
    return found


def parallel_svg(request: Request) -> Response:
    """The trials of a sweep across its fields."""
    share = SHARES.get(request.query_params.get("share", "all"), 1.0)
    return drawing(request, sweeps.Parallel(_sweep(request), share))


def importance_svg(request: Request) -> Response:
    """What matters in a sweep."""
    found = sweeps.importance(_sweep(request))
    if found is None:
        raise HTTPException(404)
    return drawing(request, found)


def report(request: Request) -> Response:
    """The page that the verb wrote, shut off: it runs nothing and loads nothing."""
    place, study = place_of(request), study_at(request)
    if not study_of.has_report(place, study):
        raise HTTPException(404)
    text = read_text(study.path / REPORT, LIMIT)
    return HTMLResponse(text, headers={"content-security-policy": STILL})


# ---------------------------------------------------------------- ledger, book, laws


def ledger(request: Request) -> Response:
    """The newest verdict on each question, or all."""
    entries = kept.entries(place_of(request))
    everything = "all" in request.query_params
    return html(request, "ledger.html", ledger=kept.ledger(entries, everything), everything=everything)


def entry(request: Request) -> Response:
    """An entry of the ledger, and the studies that it rests on."""
    place, id = place_of(request), request.path_params["id"]
    found = next((one for one in kept.entries(place) if one.id == id), None)
    if found is None:
        raise HTTPException(404)
    return html(
        request,
        "entry.html",
        entry=found,
        statement=in_words(found, language_of(request)),
        facts=kept.facts(found),
        evidence=kept.evidence(place, found),
    )


def book(request: Request) -> Response:
    """The claims of the book with their verdicts."""
    claims, results = kept.results(place_of(request))
    rows, language = [], language_of(request)
    for name, claim in claims.items():
        result = results.get(name)
        verdict = "not run" if result is None else result.said
        about = ("", "") if result is None or not result.effects else (effect(result), claim.unit)
        rows.append((name, statement("claims", name, claim.statement, language), verdict, *about))
    return html(request, "book.html", rows=rows)


def claim(request: Request) -> Response:
    """A claim: what it says, its premises and its effect."""
    claims, results = kept.results(place_of(request))
    name = request.path_params["name"]
    if name not in claims:
        raise HTTPException(404)
    claim, result = claims[name], results.get(name)
    premises = [] if result is None else [(one.name, one.said, one.held) for one in result.premises]
    return html(
        request,
        "claim.html",
        name=name,
        statement=statement("claims", name, claim.statement, language_of(request)),
        claim=claim,
        result=result,
        effect="" if result is None or not result.effects else effect(result),
        reading="" if result is None else reading(claim, result).removesuffix(claim.reading).rstrip(),
        note="" if result is None else claim.reading,
        premises=premises,
        effects=[(str(i), f"{x:.4g}") for i, x in enumerate(result.effects if result else ())],
        arms=[("arm", "words"), *((arm, str(words)) for arm, words in claim.arms.items())],
    )


def effects_svg(request: Request) -> Response:
    """The effects of a claim by seed."""
    claims, results = kept.results(place_of(request))
    result = results.get(request.path_params["name"])
    if result is None or not result.effects:
        raise HTTPException(404)
    return drawing(request, kept.effects(result, claims[result.name].unit))


def laws(request: Request) -> Response:
    """Fits, predictions and plans that lie in the folder, and the ladders."""
    place = place_of(request)
    return html(request, "laws.html", papers=planned.papers(place), ladders=planned.ladders(place))


def law(request: Request) -> Response:
    """One of them."""
    place = place_of(request)
    found = next((one for one in planned.papers(place) if one.id == request.path_params["id"]), None)
    if found is None:
        raise HTTPException(404)
    return html(request, "law.html", one=found, evidence=planned.evidence(place, found))
