"""Who gets which rule in models that are not danlu's."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from danlu import optim, spec
from danlu.optim.roles import named
from danlu.spec.errors import SpecError


class GPTBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(width, 3 * width), "c_proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})


class GPT(nn.Module):
    """The modules of nanoGPT's ``model.py``, with its names; ids so many that its MLP has the same shape."""

    def __init__(self, tied, layers=2, width=8, ids=32, context=6):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(ids, width),
            "wpe": nn.Embedding(context, width),
            "drop": nn.Dropout(0.1),
            "h": nn.ModuleList([GPTBlock(width) for _ in range(layers)]),
            "ln_f": nn.LayerNorm(width),
        })  # fmt: skip
        self.lm_head = nn.Linear(width, ids, bias=False)
        if tied:
            self.transformer["wte"].weight = self.lm_head.weight


class Table(nn.Module):
    """A module that makes a matrix itself."""

    def __init__(self):
        super().__init__()
        self.bias_table = nn.Parameter(torch.zeros(9, 4))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)


class Nameless(nn.Module):
    """What GPT-2 of transformers has for a linear map: (inputs, outputs) and a bias."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.zeros(inputs, outputs)),
            nn.Parameter(torch.zeros(outputs)),
        )


def conv_net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def mlp():
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def roles_of(model, **more):
    return {p.name: p.role for p in named(model, **more)}


def by_rule(model, **more):
    found = {}
    for p, rule, _ in optim.assign("muon", model, lr=0.02, **more):
        found.setdefault(rule.__name__, set()).add(p.name)
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_a_gpt(tied):
    found = by_rule(GPT(tied))
    assert found["Muon"] == {
        f"transformer.h.{i}.{name}.weight"
        for i in range(2)
        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    roles = roles_of(GPT(tied))
    assert roles["transformer.wte.weight"] == roles["transformer.wpe.weight"] == "embedding"
    assert roles.get("lm_head.weight") == (None if tied else "readout")
    assert roles["transformer.ln_f.weight"] == roles["transformer.h.1.ln_2.weight"] == "gain"
    assert {roles[name] for name in roles if name.endswith(".bias")} == {"bias"}
    assert found["Muon"] | found["AdamW"] == roles.keys()


def test_a_matrix_of_the_embeddings_shape_in_a_block_is_hidden():
    model = GPT(tied=False)
    shape = model.transformer["wte"].weight.shape
    assert model.transformer["h"][0].mlp["c_fc"].weight.shape == shape
    assert roles_of(model)["transformer.h.0.mlp.c_fc.weight"] == "kernel"


def test_pytorchs_transformer_has_blocks_and_no_ends():
    model = nn.Transformer(8, nhead=2, num_encoder_layers=2, num_decoder_layers=1, dim_feedforward=16)
    muon = by_rule(model)["Muon"]
    assert muon == {name for name, p in model.named_parameters() if p.ndim == 2}
    assert "encoder.layers.0.self_attn.in_proj_weight" in muon
    assert roles_of(model)["encoder.layers.0.self_attn.in_proj_bias"] == "bias"
    whole = nn.ModuleDict({"ids": nn.Embedding(20, 8), "body": model, "generator": nn.Linear(8, 20)})
    roles = roles_of(whole)
    assert (roles["ids.weight"], roles["generator.weight"]) == ("embedding", "readout")
    assert by_rule(whole)["Muon"] == {f"body.{name}" for name in muon}


def test_an_mlp_has_two_ends():
    assert roles_of(mlp()) == {
        "0.weight": "embedding", "2.weight": "kernel", "4.weight": "readout",
        "0.bias": "bias", "2.bias": "bias", "4.bias": "bias",
    }  # fmt: skip
    assert by_rule(mlp())["Muon"] == {"2.weight"}


def test_convolutions():
    roles = roles_of(conv_net())
    assert roles["0.weight"] == "embedding" and roles["3.weight"] == roles["6.weight"] == "kernel"
    assert roles["1.weight"] == "gain" and roles["8.weight"] == "readout"
    assert by_rule(conv_net())["Muon"] == {"6.weight"}  # a kernel of four dimensions is no matrix


def test_recurrent_networks():
    model = nn.ModuleDict({"ids": nn.Embedding(20, 4), "rnn": nn.LSTM(4, 6), "out": nn.Linear(6, 20)})
    assert by_rule(model)["Muon"] == {"rnn.weight_ih_l0", "rnn.weight_hh_l0"}
    assert roles_of(model)["rnn.bias_hh_l0"] == "bias"


def test_blocks_in_a_sequence_and_in_lists_of_lists():
    """As timm and x-transformers have them."""
    for blocks in (
        nn.Sequential(GPTBlock(8), GPTBlock(8)),
        nn.ModuleList([nn.ModuleList([nn.LayerNorm(8), GPTBlock(8)])]),
    ):
        model = nn.ModuleDict({"patches": nn.Linear(5, 8), "layers": blocks, "head": nn.Linear(8, 3)})
        roles = roles_of(model)
        assert (roles["patches.weight"], roles["head.weight"]) == ("embedding", "readout")
        assert all(name.startswith("layers.") for name in by_rule(model)["Muon"])
        assert (
            roles["layers.0.ln_1.weight" if isinstance(blocks, nn.Sequential) else "layers.0.0.weight"]
            == "gain"
        )


def test_a_linear_map_by_another_class():
    model = nn.Sequential(nn.Linear(4, 8), Nameless(8, 8), nn.Linear(8, 2))
    assert by_rule(model)["Muon"] == {"1.weight"}


def test_what_cannot_be_known_is_asked_for_where_it_matters():
    model = nn.ModuleList([Table()])
    with pytest.raises(SpecError) as caught:
        optim.build(spec.Muon(lr=0.02), model)
    sentence = str(caught.value)
    assert "the role of 0.bias_table (9×4; made by Table itself) cannot be known" in sentence
    assert "roles={'0.bias_table': 'kernel'}" in sentence and "muon" in sentence
    roles = {"*_table": "embedding"}
    assert by_rule(model, roles=roles)["Muon"] == {"0.up.weight", "0.down.weight"}
    # AdamW does one thing with kernels, embeddings and readouts, unless it spares embeddings its decay.
    (adamw,) = optim.build("adamw", model)
    decays = {name: g["weight_decay"] for g in adamw.param_groups for name in g["names"]}
    assert decays["0.bias_table"] == decays["0.up.weight"] > 0 == decays["0.cls_token"]
    with pytest.raises(SpecError, match="cannot be known, and what adamw does with it depends on it"):
        optim.build("adamw", model, decay_embeddings=False)
    with pytest.raises(SpecError, match="cannot be known"):
        optim.by_role(model)


def test_a_module_says_its_roles(monkeypatch):
    monkeypatch.setattr(Table, "parameter_roles", {"bias_table": "embedding"}, raising=False)
    assert roles_of(nn.ModuleList([Table()]))["0.bias_table"] == "embedding"
    monkeypatch.setattr(Table, "parameter_roles", {"up.*": "gain"})
    assert roles_of(nn.ModuleList([Table()]), roles={"*table": "kernel"})["0.up.weight"] == "gain"
    monkeypatch.setattr(Table, "parameter_roles", {"bias_table": "matrix"})
    with pytest.raises(SpecError, match="'matrix' is not kernel, embedding, readout, gain or bias"):
        roles_of(nn.ModuleList([Table()]))


def test_two_readouts_are_asked_about():
    model = nn.ModuleDict({
        "first": nn.Linear(6, 16), "second": nn.Linear(16, 16), "policy": nn.Linear(16, 4),
        "value": nn.Linear(16, 1),
    })  # fmt: skip
    with pytest.raises(SpecError, match=r"the role of policy\.weight"):
        optim.build("muon", model)
    assert by_rule(model, roles={"policy.weight": "readout"})["Muon"] == {"second.weight"}


def test_one_map_before_the_blocks_is_asked_about():
    """What comes after may take the input as well as give the output; where it comes later it is the last."""
    before = nn.ModuleDict({"map": nn.Linear(8, 8), "layers": nn.ModuleList([GPTBlock(8)])})
    after = nn.ModuleDict({"layers": nn.ModuleList([GPTBlock(8)]), "map": nn.Linear(8, 8)})
    assert [p.known for p in named(before) if p.name == "map.weight"] == [False]
    assert roles_of(after)["map.weight"] == "readout"


def test_a_rule_that_would_update_nothing_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(
        SpecError, match=r"muon would update nothing.*all 4 parameters would be left to AdamW"
    ):
        optim.build("muon", model)
    assert by_rule(model, roles={"0.weight": "kernel"})["Muon"] == {"0.weight"}


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        ({"lm_haed.weight": "readout"}, "matches no parameter; did you mean lm_head.weight?"),
        ({"lm_head.weight": "redout"}, "'redout' is not kernel, embedding, readout, gain or bias; did"),
    ],
)  # fmt: skip
def test_mistakes_in_roles(roles, sentence):
    with pytest.raises(SpecError) as caught:
        optim.build("adamw", GPT(tied=False), roles=roles)
    assert sentence in str(caught.value)


def test_the_later_role_counts():
    roles = {"*.weight": "gain", "lm_head.weight": "readout"}
    found = roles_of(GPT(tied=False), roles=roles)
    assert found["lm_head.weight"] == "readout" and found["transformer.wte.weight"] == "gain"


def test_the_table_says_who_gets_what_and_why():
    lines = {
        line.split()[0]: line for line in repr(optim.assign("muon", GPT(tied=True), lr=0.5)).splitlines()
    }
    assert lines["parameter"].split() == [
        "parameter",
        "shape",
        "role",
        "rule",
        "lr",
        "decay",
        "because",
        "it",
        "is",
    ]
    matrix = lines["transformer.h.*.attn.c_attn.weight"]
    assert matrix.split()[1:] == ["24×8", "kernel", "Muon", "0.5", "0", "nn.Linear"]
    assert lines["transformer.wte.weight"].endswith(
        "embedding  AdamW  0.003  0      nn.Embedding, tied to lm_head"
    )


def test_a_rule_by_name():
    (lion,) = optim.build("lion", mlp(), lr=0.25, beta1=0.5)
    assert isinstance(lion, optim.Lion)
    assert {(g["lr"], g["betas"]) for g in lion.param_groups} == {(0.25, (0.5, 0.98))}
    assert optim.build("sgd", mlp())[0].param_groups[0]["lr"] == spec.SGD().lr
    (again,) = optim.build(spec.Lion(lr=0.25), mlp(), beta1=0.5)
    assert again.param_groups[0]["betas"] == (0.5, 0.98) and again.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("loin", {}, "optimizer.kind = 'loin' is not sgd"),
        ("lion", {"lr": -1.0}, "optimizer.lr = -1.0 is not a number greater than 0"),
        ("lion", {"learning_rate": 1.0}, "did you mean optimizer.lr?"),
        ("lion", {"momentum": 0.5}, "momentum is not a field of optimizer (kind lion)"),
    ],
)
def test_mistakes_in_names_are_sentences(name, settings, sentence):
    with pytest.raises(SpecError) as caught:
        optim.build(name, mlp(), **settings)
    assert sentence in str(caught.value)


def test_training_with_what_was_built():
    """Every parameter of a foreign model moves."""
    torch.manual_seed(0)
    model = mlp()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizers = optim.build("muon", model)
    model(torch.randn(5, 12)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
