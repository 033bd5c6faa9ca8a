"""What happens to gradients before the optimizer takes them."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from snnexp.gradients import AdaptiveClipping, Centralize


def module(weight, gradient, vector=(1.0, 3.0)):
    """A matrix and a vector, which stays as it is, with gradients."""
    matrix, beta = (nn.Parameter(torch.tensor(value)) for value in (weight, [0.5] * len(vector)))
    matrix.grad, beta.grad = torch.tensor(gradient), torch.tensor(vector)
    made = pl.LightningModule()
    made.beta = beta
    made.network = SimpleNamespace(weights=lambda: {"hidden1": matrix})
    return made, matrix, beta


def with_a_scaler(plugin, precision, device, scaler=None, plain=MixedPrecision.__init__):
    """Of gradients, as float16 has it on a GPU."""
    plain(plugin, precision, device)
    plugin.scaler = torch.amp.GradScaler(device, init_scale=2.0**16)


@pytest.fixture(scope="module")
def trainer():
    silent = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return pl.Trainer(accelerator="cpu", **dict.fromkeys(silent, False))


@pytest.mark.parametrize(
    ("over", "expected"),
    [("inputs", [[-1.0, 1.0], [-2.0, 2.0]]), ("outputs", [[-2.0, -3.0], [2.0, 3.0]])],
)
def test_centralize_takes_the_mean_of_rows_or_columns(trainer, over, expected):
    """[neuron, input]: the rows of ((1, 3), (5, 9)) have means 2 and 7, the columns 3 and 6."""
    made, matrix, beta = module([[0.0, 0.0], [0.0, 0.0]], [[1.0, 3.0], [5.0, 9.0]])
    Centralize(over=over).on_before_optimizer_step(trainer, made, None)
    assert matrix.grad.tolist() == expected
    assert beta.grad.tolist() == [1, 3]


def test_adaptive_clipping_scales_rows_to_a_share_of_their_weights(trainer):
    """Share 0.1: |w| = 5 allows 0.5, a tenth of (3, 4); |g| = 0.1 stays; w = 0 counts as 0.2."""
    made, matrix, _ = module(
        [[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]], [[3.0, 4.0], [0.1, 0.0], [0.0, -2.0]]
    )
    AdaptiveClipping(share=0.1, least=0.2).on_before_optimizer_step(trainer, made, None)
    expected = torch.tensor([[0.3, 0.4], [0.1, 0.0], [0.0, -0.02]])
    torch.testing.assert_close(matrix.grad, expected)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"^over: 'rows'; choose one of inputs, outputs"):
        Centralize(over="rows")
    with pytest.raises(ValueError, match=r"^share: 0"):
        AdaptiveClipping(share=0, least=0.1)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_scaled_gradients_are_seen_unscaled(optimizer, train, monkeypatch):
    """As in float16 on a GPU; by a power of two, so that nothing else changes."""
    chosen = (
        *("backend=cpu", "backend.precision=bf16-mixed", f"optimizer={optimizer}"),
        *("callback=[adaptive_clipping]", "trainer.gradient_clip_val=0.1"),
    )
    plain = train(*chosen, folder="plain").metrics
    monkeypatch.setattr(MixedPrecision, "__init__", with_a_scaler)
    scaled = train(*chosen, folder="scaled").metrics
    norms = [name for name in plain if name.startswith("train/gradient_norm/")]
    assert norms and all(plain[name] > 0 for name in norms)
    for name in ("train/loss", "val/loss", *norms):
        assert scaled[name] == plain[name]
