"""Own parts in specifications: found by kind, read and written like danlu's, never taken for another."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import danlu
from danlu.files.yaml import parse
from danlu.optim import Progress, factor
from danlu.spec import Experiment, RMSNorm, SpecError, resolve, to_yaml, validate
from danlu.spec.families import FAMILIES
from danlu.spec.norms import OwnNorm


class DyT:
    def __init__(self, width: int, *, alpha: float = 0.5, betas: tuple[float, ...] = (1.0,)) -> None: ...


def snake(x: Any, *, a: float = 1.0) -> Any:
    return x


def mish(x: Any) -> Any:
    return x


@pytest.fixture(autouse=True)
def dyt() -> None:
    danlu.part("norm", "dyt")(DyT)
    danlu.part("activation", "snake")(snake)


WORDS = "nano model.norm=dyt model.norm.alpha=0.7 model.feed_forward.activation=snake"


def test_words_reach_the_part() -> None:
    experiment = resolve(WORDS)
    norm: Any = experiment.model.norm
    assert (norm.kind, norm.alpha, norm.betas) == ("dyt", 0.7, (1.0,))
    assert experiment.model.feed_forward.model_dump() == {
        "kind": "mlp", "activation": {"kind": "snake", "a": 1.0}, "hidden": None, "biases": None,
    }  # fmt: skip
    assert resolve(f"{WORDS} model.feed_forward.activation.a=2").model.feed_forward.activation.a == 2.0  # type: ignore[union-attr]
    assert resolve(f"{WORDS} model.feed_forward.activation=relu").model.feed_forward.activation == "relu"
    assert resolve(f"{WORDS} model.norm=rms").model.norm == RMSNorm()


def test_json_yaml_and_back() -> None:
    """As workers and runs get it."""
    experiment = resolve(WORDS)
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment
    assert validate(parse(to_yaml(experiment))) == experiment
    assert hash(experiment) == hash(resolve(WORDS))
    assert experiment != resolve(f"{WORDS} model.norm.alpha=0.8")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "model.norm=dit",
            "model.norm.kind = 'dit' is not rms, layer, group, instance, batch, batch-renorm, none or dyt",
        ),
        ("model.norm.alfa=1", "model.norm.alfa is not a field of model.norm (kind dyt); did you mean model"),
        ("model.norm.alpha=x", "model.norm.alpha = 'x' is not a number"),
        ("model.norm.alpha=true", "model.norm.alpha = true is not a number"),
        ("model.norm.alpha=.nan", "model.norm.alpha"),
        ("model.norm.eps=1", "model.norm.eps is not a field of model.norm (kind dyt), but of kind rms; "),
        ("model.norm.betas=1", "model.norm.betas = 1 is not a list, each a number"),
        ("model.feed_forward.activation=snak", "model.feed_forward.activation = 'snak' is not relu, gelu, "),
        ("model.feed_forward.activation={kind: snake, b: 1}", "model.feed_forward.activation.b is not"),
        ("model.pattern=[{mixer: {kind: lru, r_min: 2}}]", "model.pattern.0.mixer.r_min = 2 is not a number"),
        ("model.pattern=[{mixer: {kind: nope}}]", "model.pattern.0.mixer.kind = 'nope' is not attention"),
    ],
)  # fmt: skip
def test_errors_name_field_value_and_what_is_allowed(word: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve([*WORDS.split(), word])
    assert str(caught.value).startswith(sentence)


def test_a_required_field() -> None:
    class Sized:
        def __init__(self, width: int, size: int) -> None: ...

    danlu.part("norm", "sized")(Sized)
    with pytest.raises(
        SpecError, match=r"model.norm.size is missing; write model.norm.size=… \(a whole number\)"
    ):
        resolve("nano model.norm=sized")
    assert resolve("nano model.norm=sized model.norm.size=3").model.norm.size == 3  # type: ignore[union-attr]


def test_the_schema_lists_own_kinds() -> None:
    schema = str(Experiment.model_json_schema())
    assert "'const': 'dyt'" in schema and "'const': 'snake'" in schema and "'const': 'rms'" in schema


def register(family: str, kind: str, makes: Callable[..., Any], file: str | None) -> None:
    """As code of ``file`` would, or as a notebook's cell."""
    place = {"__name__": "mine", "__file__": file} if file else {"__name__": "__main__"}
    exec(
        "import danlu\ndanlu.part(family, kind)(makes)",
        place | {"family": family, "kind": kind, "makes": makes},
    )


def named(name: str) -> Callable[..., Any]:
    return type(name, (), {"__init__": lambda self, width: None, "__qualname__": name})


def test_a_kind_is_taken_once(tmp_path: Any) -> None:
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text("")
    with pytest.raises(SpecError, match=r"a\.py: norm rms is danlu's own; choose another name"):
        register("norm", "rms", named("A"), str(files[0]))
    with pytest.raises(SpecError, match=r"a.py: activation silu is danlu's own"):
        register("activation", "silu", mish, str(files[0]))
    register("norm", "one", named("A"), str(files[0]))
    with pytest.raises(SpecError, match=r"norm one is registered twice: by A of a.py and by B of b.py; give"):
        register("norm", "one", named("B"), str(files[1]))
    with pytest.raises(SpecError, match=r"norm one is registered twice: by A of a.py and by B of a.py"):
        register("norm", "one", named("B"), str(files[0]))
    again = named("A")
    register("norm", "one", again, str(files[0]))  # the module was reloaded
    assert FAMILIES["norm"].own["one"].makes is again


def test_a_cell_that_runs_again_takes_its_own_place() -> None:
    register("norm", "cell", named("A"), None)
    before = resolve("nano model.norm=cell")
    register("norm", "cell", named("B"), None)
    assert FAMILIES["norm"].own["cell"].makes.__qualname__ == "B"
    assert type(before.model.norm) is not type(resolve("nano model.norm=cell").model.norm)
    assert Experiment.model_validate(before) is before  # what was made before stays what it was
    assert validate(before.model_dump()) == resolve("nano model.norm=cell")


def test_a_part_of_another_family_is_no_member() -> None:
    with pytest.raises(
        SpecError, match=r"model.mixer.kind = 'dyt' is not attention, latent, vq, lru or none"
    ):
        resolve("nano model.mixer=dyt")
    with pytest.raises(SpecError, match=r"model.norm.kind = 'mlp' is not rms"):
        validate({"model.norm": {"kind": "mlp"}, "train.steps": 1})
    assert not issubclass(FAMILIES["activation"].own["snake"].spec, OwnNorm)


@pytest.mark.parametrize("value", [3, True, ["rms"], {"kind": ["rms"]}, {"kind": "danlu.spec:Norm"}])
def test_nothing_but_a_known_name_is_a_kind(value: Any) -> None:
    with pytest.raises(SpecError, match=r"model\.norm"):
        validate({"model.norm": value, "train.steps": 1})


def test_the_package_is_light_until_it_is_used() -> None:
    """``import danlu`` imports neither torch nor the specifications, and a schedule needs no torch."""
    code = """
import sys, danlu
assert not {"torch", "pydantic"} & set(sys.modules)
@danlu.part("schedule", "saw")
def saw(now, *, teeth: int = 4) -> float:
    return 1.0
from danlu.spec import resolve
print(resolve("nano schedule=saw schedule.teeth=2").schedule)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "warmup=0.05 kind='saw' teeth=2\n"


def test_no_file_can_name_code(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of one's own may name kinds, and nothing in it is imported or unpickled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    evil = pickle.dumps(print).hex()
    for kind in ("evil", "evil.py", "evil:Norm", "!!python/object/apply:os.system", evil):
        (tmp_path / "e.yaml").write_text(f"model: {{norm: {{kind: '{kind}'}}}}\n")
        with pytest.raises(SpecError, match=r"is not rms, layer"):
            resolve("e.yaml")
    (tmp_path / "e.yaml").write_text("with: evil.py\nparts: [evil.py]\n")
    with pytest.raises(SpecError, match="is not a field of an experiment"):
        resolve("e.yaml")


@pytest.mark.parametrize("given", [math.nan, math.inf, -0.1, None, "fast"])
def test_an_own_schedule_gives_a_rate(given: Any) -> None:
    danlu.part("schedule", "mine")(lambda now: given if now.step else 0.5)
    schedule = resolve("nano schedule=mine schedule.warmup=0").schedule
    assert factor(schedule, Progress(0.0)) == 0.5
    with pytest.raises(SpecError, match=r"schedule mine of test_families.py gives .* before update 4 \(pro"):
        factor(schedule, Progress(0.75, step=3))


def test_an_own_schedule_may_end_at_0_but_for_rounding() -> None:
    danlu.part("schedule", "down")(lambda now: 0.1 + 0.2 - 0.3 * (1 + 1e-15))
    assert factor(resolve("nano schedule=down schedule.warmup=0").schedule, Progress(0.5)) >= 0
