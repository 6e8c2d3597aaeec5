"""Weights: published state dicts in, safetensors out, everything else refused by name."""

import json
from pathlib import Path

import pytest
import torch

from nncodec.checkpoint import import_checkpoint, load_model, save_weights
from nncodec.formats.errors import OutputError, WeightsError
from nncodec.models.cae import SPECS, Cae

MODEL = "cae_16x8x8_zero_pad_bin"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Cae(SPECS[MODEL]).state_dict()


def test_a_published_state_dict_is_converted(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "model.state")
    import_checkpoint(tmp_path / "model.state", MODEL, tmp_path / "model.safetensors")
    model, network, fingerprint = load_model(None, tmp_path / "model.safetensors")
    assert model == MODEL and len(fingerprint) == 8
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    with pytest.raises(OutputError, match="exists"):
        import_checkpoint(tmp_path / "model.state", MODEL, tmp_path / "model.safetensors")


def refusal(checkpoint: object, folder: Path, model: str = MODEL) -> str:
    torch.save(checkpoint, folder / "bad.pt")
    with pytest.raises(WeightsError) as caught:
        import_checkpoint(folder / "bad.pt", model, folder / "out.safetensors")
    assert not (folder / "out.safetensors").exists()
    return str(caught.value)


def test_what_does_not_fit_is_named(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    lacking = {k: v for k, v in state.items() if k != "d_block_2.4.bias"}
    assert "d_block_2.4.bias is missing" in refusal(lacking, tmp_path)
    assert "extra.weight has no place" in refusal(
        {**state, "extra.weight": torch.zeros(1)}, tmp_path
    )
    shaped = {**state, "e_conv_3.1.weight": torch.zeros(32, 128, 5, 5)}
    assert "e_conv_3.1.weight is [32, 128, 5, 5]" in refusal(shaped, tmp_path)
    infinite = {**state, "e_conv_1.1.bias": torch.full((64,), torch.inf)}
    assert "not finite" in refusal(infinite, tmp_path)
    assert "e_conv_3.0.weight is missing" in refusal(state, tmp_path, "cae_32x32x32_zero_pad_bin")
    assert "not a state dict" in refusal({"model": state}, tmp_path)
    assert "no network 'cae_9'" in refusal(state, tmp_path, "cae_9")


class Trap:
    def __reduce__(self) -> object:
        return (Path.touch, (Path("trapped"),))


def test_no_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "without running code" in refusal(Trap(), tmp_path)
    assert not Path("trapped").exists()


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"x" * 100, (200).to_bytes(8, "little") + b"{" * 200):
        (tmp_path / "w.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match="not a safetensors file|does not say"):
            load_model(None, tmp_path / "w.safetensors")
        with pytest.raises(WeightsError, match="not a safetensors file"):
            load_model(MODEL, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="no-such-file"):
        load_model(MODEL, tmp_path / "no-such-file")


def test_float16_is_written_and_read_as_float32(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_weights(state, MODEL, tmp_path / "half.safetensors", half=True)
    data = (tmp_path / "half.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header["__metadata__"] == {"model": MODEL}
    assert header["e_conv_1.1.weight"]["dtype"] == "F16"
    _, network, _ = load_model(MODEL, tmp_path / "half.safetensors")
    assert network.e_conv_1[1].weight.dtype == torch.float32
    assert torch.equal(network.e_conv_1[1].weight, state["e_conv_1.1.weight"].half().float())
