"""The table of devices holds together, and finds what people and drivers call them."""

from __future__ import annotations

import pytest

from danlu.spec.devices import device, devices, recognised
from danlu.spec.errors import SpecError

BY_NAME = {one.name: one for one in devices()}


@pytest.mark.parametrize("name", BY_NAME)
def test_rates_stand_in_the_ratios_of_their_hardware(name):
    one = BY_NAME[name]
    peak = one.peak
    # Tensor cores take half the time for half the bits; data sheets round to three or four digits.
    if "float8" in peak:
        assert peak["float8"] == pytest.approx(2 * peak["float16"], rel=0.02)
    if "tf32" in peak:
        assert peak["tf32"] == pytest.approx(peak["float16"] / 2, rel=0.03)
    if "bfloat16" in peak:
        assert peak["bfloat16"] == peak["float16"]
    assert peak["float32"] < peak["float16"]
    # FLOPs in the time that a byte takes: a wrong power of ten in either figure would leave these bounds.
    assert 50 < peak["float16"] / one.bandwidth < 420
    assert one.link < one.bandwidth and (one.network is None or one.network < one.link)
    assert one.source


def test_rates_by_hand():
    # H100 SXM: 132 multiprocessors of 4 tensor cores, each 512 multiply-adds of 16 bits a cycle at 1.83 GHz.
    assert BY_NAME["h100"].rate("bfloat16") == pytest.approx(132 * 4 * 512 * 2 * 1.83e9, rel=0.001)
    # A100: 108 of 4, each 256 at 1.41 GHz. RTX 3090: 82 of 4, each 64 (adding in float32) at 1.695 GHz.
    assert BY_NAME["a100-80"].rate("bfloat16") == pytest.approx(108 * 4 * 256 * 2 * 1.41e9, rel=0.001)
    assert BY_NAME["rtx-3090"].rate("bfloat16") == pytest.approx(82 * 4 * 64 * 2 * 1.695e9, rel=0.003)
    # T4: 320 tensor cores, each 64 at 1.59 GHz; MI300X: 304 units, each 1024 at 2.1 GHz.
    assert BY_NAME["t4"].rate("float16") == pytest.approx(320 * 64 * 2 * 1.59e9, rel=0.003)
    assert BY_NAME["mi300x"].rate("bfloat16") == pytest.approx(304 * 1024 * 2 * 2.1e9, rel=0.001)


def test_names_are_found_and_unique():
    names = [name for one in devices() for name in (one.name, *one.also)]
    drivers = [name for one in devices() for name in one.seen_as]
    assert len(set(names)) == len(names) and len(set(drivers)) == len(drivers)
    assert device("H100").name == "h100" and device("RTX 4090") == device("4090") == BY_NAME["rtx-4090"]
    assert recognised("NVIDIA A100-SXM4-40GB") == BY_NAME["a100-40"]
    assert recognised("NVIDIA H100 PCIe") == BY_NAME["h100-pcie"]
    assert recognised("AMD EPYC") is None


def test_mistakes_say_what_to_do(tmp_path):
    with pytest.raises(SpecError, match="did you mean h200"):
        device("h20o")
    with pytest.raises(SpecError, match="known: b200, h200"):
        device("abacus")
    with pytest.raises(SpecError, match="t4 has no published rate in bfloat16; known: float16 or float32"):
        device("t4").rate("bfloat16")
    file = tmp_path / "own.yaml"
    fields = (
        "name: own",
        "peak: {bfloat16: 1e14}",
        "memory: 16e9",
        "bandwith: 1e12",
        "link: 1e10",
        "source: me",
    )
    file.write_text("\n".join(fields))
    with pytest.raises(SpecError, match="bandwith"):
        device(str(file))
    file.write_text(file.read_text().replace("bandwith", "bandwidth"))
    assert device(str(file)).rate("bfloat16") == 1e14
    whole = file.read_text()
    file.write_text(whole.replace("bfloat16", "float8"))
    with pytest.raises(SpecError, match=r"peak has no rate of a type .* bfloat16, float16 or float32"):
        device(str(file))
    for low, high in ((0, 0.5), (0.9, 0.2)):
        file.write_text(f"{whole}\nreached: [{low}, {high}]")
        with pytest.raises(SpecError, match=r"reached = .* allowed: 0 < low"):
            device(str(file))
