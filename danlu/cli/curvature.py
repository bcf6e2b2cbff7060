"""The verb ``curvature``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.drawn import Html, check, end
from danlu.cli.output import Force, print_table, speak, spoken
from danlu.cli.show import AsJson
from danlu.cli.working import Working


def curvature(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    step: Annotated[
        int | None, typer.Option("--step", help="Step of the checkpoint. Default: the latest.")
    ] = None,
    batches: Annotated[
        int, typer.Option("--batches", min=1, help="Batches of training that the loss is of.")
    ] = 1,
    precision: Annotated[
        str,
        typer.Option("--precision", help="float64, float32, or auto: float32 where it is measured exact."),
    ] = "auto",
    error: Annotated[
        float, typer.Option("--error", help="Relative standard error at which a trace is done.")
    ] = 0.1,
    sparse: Annotated[
        bool, typer.Option("--sparsity", help="Also count second derivatives that are exactly zero.")
    ] = False,
    html: Html = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure how curved the loss of a run is.

    Examples: danlu curvature runs/first; danlu curvature runs/first --step 100 --html curvature.html
    """
    from danlu.train.curvature import measure

    check(html, force)
    with Working() as working:
        found = measure(
            run,
            step,
            batches=batches,
            precision=precision,
            error=error,
            sparse=sparse,
            tell=working,
        )

    def draw() -> str:
        from danlu.train.curvature.page import page

        return page(found)

    end("curvature", lambda: found, lambda: _say(found), draw, path=html, force=force, as_json=as_json)


def _say(found: dict[str, Any]) -> None:
    from danlu.train.curvature.page import with_error

    compared = found["float32"]
    speak(
        f"step {found['step']}: {found['examples']:,} examples ({found['units']:,} {found['unit']}s), "
        f"{found['parameters']:,} parameters, in {found['precision']} "
        f"(a product in float32 is off by {compared['error']:.0e}, in {compared['seconds']:.2g} s "
        f"and not {compared['seconds_float64']:.2g} s)\n"
    )
    trace, top, noise, density = (found[key] for key in ("trace", "top", "noise", "density"))
    rows = [
        ("loss", f"{found['loss']:.4f}", "of the training examples that come next"),
        ("gradient", f"{found['gradient']:.4g}", "Euclidean norm"),
        ("trace", with_error(trace), f"of the Hessian, {trace['samples']} random vectors"),
    ]
    if found["gauss_newton"] is not None:
        rows.append(("Gauss-Newton", with_error(found["gauss_newton"]), "trace of JᵀH_zJ"))
    values = ", ".join(f"{value:.4g}" for value in top["values"])
    rows += [
        ("largest", values, f"eigenvalues, after {top['steps']} products"),
        ("lowest", f"{top['lowest']:.4g}", "eigenvalue at most"),
        ("density", f"{density['bulk']:.1%}", "of the eigenvalues are within 1 % of the largest around zero"),
        ("", f"{density['negative']:.1%}", "are below that"),
        ("sharpness", f"{found['sharpness']['rise']:.4g}",
         f"rise of the loss {found['sharpness']['radius']:g} up the gradient"),
    ]  # fmt: skip
    print_table(spoken(rows))
    _say_edge(found)
    if noise is not None:
        _say_noise(noise, found)
    speak("\ntrace by part")
    whole = trace["value"] or 1.0
    print_table(
        [
            (p["name"], f"{p['parameters']:,}", f"{p['trace']:.4g}", f"{p['trace'] / whole:.0%}")
            for p in found["parts"]
        ],
        indent="  ",
    )
    if "sparsity" in found:
        _say_sparsity(found["sparsity"])


def _say_edge(found: dict[str, Any]) -> None:
    edge = found["edge"]
    if edge is None:
        speak("\nedge of stability: its place is known of SGD, Adam and AdamW after a first update")
        return
    speak(
        f"\nedge of stability: the largest eigenvalue times the rate is {edge['value']:.4g} under "
        f"{edge['rule']}; beyond {edge['threshold']:.4g} = {edge['formula']} a quadratic diverges"
    )
    if edge["lr_at_edge"] is not None:
        speak(f"  the last update had lr = {edge['lr']:.3g}; the edge is at lr = {edge['lr_at_edge']:.3g}")


def _say_noise(noise: dict[str, Any], found: dict[str, Any]) -> None:
    if noise["scale"] is None:
        speak(f"gradient noise: of {noise['batches']} batches of {noise['batch']} nothing is left but noise")
        return
    units = found["units"] // found["examples"]
    about = f" ± {noise['error']:.2g}" if noise["error"] else ""
    tokens = f" ({noise['scale'] * units:,.0f} {found['unit']}s)" if units > 1 else ""
    curved = f"; by curvature tr(HΣ)/GᵀHG {noise['curved']:.3g}" if noise["curved"] else ""
    speak(f"gradient noise: tr Σ/|G|² = {noise['scale']:.3g}{about} examples{tokens}{curved}")


def _say_sparsity(found: dict[str, Any]) -> None:
    speak("\nsecond derivatives that are exactly zero, from random columns")
    rows = [
        ("", "all", "within a part", "between parts"),
        *(
            (name, *(f"{one[key]:.1%}" for key in ("whole", "same", "other")))
            for name, one in (("the loss", found["loss"]), ("one output, one example", found["logit"]))
        ),
    ]
    print_table(spoken(rows), indent="  ")
