"""The contract of conf/: every option of every group trains, or is refused by name.

Options are found in the folder, so that a new one is tested without a line here.
"""

import csv
import os
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from snnexp import config
from snnexp.backends import CudaGraphs
from snnexp.decoders import FirstSpike
from snnexp.encoders import Augmented
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.inputs import Events, Static
from snnexp.losses import NoLoss, TimeToFirstSpike
from snnexp.models import ConvNetwork
from snnexp.session import compose

ROOT = config.directory()
OPTIONS: dict[str, list[str]] = {}
for path in sorted(ROOT.rglob("*.yaml")):
    OPTIONS.setdefault(path.parent.relative_to(ROOT).as_posix(), []).append(path.stem)

OPTIONS["model"].remove("nir")  # it takes a file: tests/nir
SEVERAL = ("regularizer", "callback", "logger", "energy", "encoder/augment")
RUNS = ("optimizer", "scheduler", "callback", "logger", "energy")
"""Groups that only a whole run uses; the others are used in each step."""
ELSEWHERE = (".", "dataset", "model", "trainer", "experiment", "sweep", "hydra", "encoder/augment")
"""The pairs below use data sets and models; every run uses the trainer; others test the rest."""
STEPS = [
    group for group in OPTIONS if group not in RUNS + ELSEWHERE and not group.startswith("hydra/")
]
needs_data = (pytest.mark.data, pytest.mark.skipif("SNNEXP_DATA" not in os.environ, reason="data"))


def stated(group, option):
    return OmegaConf.load(ROOT / f"{group}/{option}.yaml")


def data_sets(*more):
    """Every data set, with what is given; those that are read from files are marked."""
    return [pytest.param(*more, name, marks=marks(name)) for name in OPTIONS["dataset"]]


def experiments():
    """Every experiment, marked by the data set that it is named after, if it is."""
    names = {name: name.partition("_")[0] for name in OPTIONS["experiment"]}
    return [pytest.param(name, marks=marks(dataset)) for name, dataset in names.items()]


def marks(dataset):
    is_read = dataset in OPTIONS["dataset"] and "root" in stated("dataset", dataset).dataset
    return (*needs_data, needs_files(dataset)) if is_read else ()


def needs_files(dataset):
    folder = Path(os.environ.get("SNNEXP_DATA", "")) / dataset.upper()
    return pytest.mark.skipif(not folder.is_dir(), reason=f"{dataset} is not there")


IMAGES = [model for model in OPTIONS["model"] if "hidden" in stated("model", model)]
"""Models that take images, on which the others' data are refused."""
VECTORS = [model for model in OPTIONS["model"] if model not in IMAGES]
PAIRS = [pair for model in OPTIONS["model"] for pair in data_sets(model)]
QUIET = ("se_adlif",)
"""Models whose published weights make them spike at first on many events only, more than here."""
ON_CHIP = ("snnexp.models.CubaLIF", "snnexp.models.CubaIAF")
READERS = ("decoder", "loss", "regularizer")
"""Groups that read what a network did, so that one model stands for all of its kind."""
READ = ("lif", *IMAGES[:1])
IMAGE_DATA = ("snnexp.datasets.MNIST", "snnexp.datasets.Ones")
GPU = torch.cuda.is_available() or torch.backends.mps.is_available()
FEW = ("batch_size=8", "eval_batch_size=8")
SMALL = ("model.hidden_sizes=[6]", *FEW)


SHORT = {
    "delayed": ("model.synapse.longest=10e-3", "model.synapse.widths=[1e-3,1e-3]"),  # s
    "tapped": ("model.synapse.taps=3",),
}


def narrow(model, *sizes):
    """A model's layers of these sizes, in its own words; a convolutional one's stay."""
    if model in IMAGES:
        return ()
    if model == "lif_deep":
        return (f"model.depth={len(sizes)}", f"model.width={sizes[0]}")
    return (f"model.hidden_sizes={list(sizes)}",)


def found(*groups):
    return [(group, option) for group in groups for option in OPTIONS[group]]


def found_with_models():
    """Options of a step with each model that could differ: (group, option, model)."""
    for group, option in found(*(g for g in STEPS if g != "encoder")):
        for model in READ if group in READERS else OPTIONS["model"]:
            neuron = stated("model", model).get("neuron", {}).get("_target_")
            if not group.startswith("backend/") or neuron in ON_CHIP:  # else refused as bss2_mock
                yield group, option, model


def select(group, option, model="dcls_delays"):
    chosen = f"{group}=[{option}]" if group in SEVERAL else f"{group}={option}"
    if group == "model/synapse":  # an addition: other models do not name it
        added = "" if "synapse" in listed(model) else "+"
        return (added + chosen, *SHORT[option])
    return ("backend=bss2_mock", chosen) if group.startswith("backend/") else (chosen,)


def listed(model):
    """The groups that a model's file chooses from."""
    return {key for entry in stated("model", model).defaults if entry != "_self_" for key in entry}


def small(dataset, *overrides):
    """A configuration of few samples."""
    return compose([f"dataset={dataset}", *fewer(stated("dataset", dataset).dataset), *overrides])


def fewer(node):
    """Overrides that leave few samples of a data set."""
    sizes = ["dataset.sizes={train: 20, val: 10, test: 10}"] if "sizes" in node else []
    return sizes + (["dataset.fraction=0.001"] if "fraction" in node else [])


def expected_refusal(cfg):
    """The start of the message that a configuration must meet; None if it must train."""
    names = ("dataset", "encoder", "decoder", "loss", "model")
    dataset, encoder, decoder, loss, model = (get_class(cfg[name]["_target_"]) for name in names)
    readout = get_class(cfg.model.readout["_target_"])
    if cfg.backend.get("device") == "gpu" and not GPU:
        return r"backend\.device: 'gpu'"
    if get_class(cfg.backend["_target_"]) is CudaGraphs and not torch.cuda.is_available():
        return "backend: CUDA graphs take an NVIDIA GPU"
    if cfg.model.get("synapse") and model is ConvNetwork:
        return r"model\.synapse: unknown key"
    if cfg.backend.get("level") == "chip" and cfg.model.get("synapse"):
        return r"model\.synapse: \w+, but the chip delays no single connection"
    if cfg.backend.get("level") == "chip" and model is ConvNetwork:
        return r"model\.hidden\.conv1\.conv: Conv2d, but the chip has dense synapses alone"
    if cfg.backend.get("level") == "chip" and cfg.model.neuron._target_ not in ON_CHIP:
        return r"model\.neuron: .*, but the chip's neurons are current-based"
    if encoder is Augmented and cfg.dataset._target_ not in IMAGE_DATA:
        return r"encoder\.augment: the data are no images; choose another encoder"
    if encoder.accepts != dataset.yields:
        return f"encoder: {encoder.__name__} takes {encoder.accepts}"
    if model is ConvNetwork and cfg.dataset._target_ not in IMAGE_DATA:
        return r"model\.hidden\.conv1\.conv\.input_shape: .* Conv2d takes an image"
    if model is ConvNetwork and cfg.model.get("norm"):
        return r"model\.norm: each neuron's own"
    if cfg.model.get("delays") and cfg.model.delays.inputs and not encoder.spikes:
        return rf"model\.delays\.inputs: true, but {encoder.__name__} gives values"
    for stage, part in (("decoder", decoder), ("loss", loss)):
        if part.reads == "spikes" and not readout.spiking:
            return f"{stage}: {part.__name__} reads output spikes"
    if loss is TimeToFirstSpike and decoder is not FirstSpike:
        return "loss: TimeToFirstSpike takes first spike times"
    if loss is NoLoss and not cfg.regularizer:
        return "loss: NoLoss"
    euler = cfg.model.get("neuron", {}).get("_target_") == "snnexp.models.CubaIAF"
    if euler and cfg.model.neuron.tau_mem < cfg.time.dt:
        return r"model\.neuron\.tau_(mem|syn): .* is below time\.dt"
    return None


def are_spikes(spikes, neuron):
    """Whole numbers, 0 or 1 unless the neuron is told otherwise."""
    multiple = neuron.constants.multiple
    return ((spikes >= 0) & (spikes == spikes.round()) & (multiple | (spikes <= 1))).all()


def train_a_step(cfg):
    """One batch forward, backward and through the optimizer; the contract on what comes out."""
    config.check(cfg)
    dataset, classifier, _ = build(cfg)
    values, labels = next(iter(dataset.loader("train", cfg.batch_size, seed=0)))
    inputs, activity, scores = classifier.run(values, "train", 0)
    assert isinstance(inputs, Static) or (inputs.dense() >= 0).all()
    assert scores.shape == (len(labels), dataset.num_classes)
    assert scores.isfinite().all()
    assert activity.hidden and all(layer.spikes is not None for layer in activity.hidden.values())
    assert activity.readout.membrane.shape == (inputs.num_steps, *scores.shape)
    for name, layer in classifier.network.layers.items():
        spikes = activity.layers[name].spikes
        assert spikes is None or are_spikes(spikes, layer.neuron)

    weights = classifier.network.weights().values()
    before = [weight.detach().clone() for weight in weights]
    loss = classifier.training_step((values, labels), 0)
    loss.backward()
    assert loss.shape == () and loss.isfinite()
    learnt = [w for w in weights if w.grad is not None or not isinstance(classifier.loss, NoLoss)]
    assert learnt and all(weight.grad.isfinite().all() for weight in learnt)
    classifier.optimizer(classifier.network.parameters()).step()
    changed = any(not torch.equal(*pair) for pair in zip(before, weights, strict=True))
    timed = isinstance(classifier.decoder, FirstSpike)  # of what stays silent it has no gradient
    assert changed == (not timed or activity.readout.spikes.sum() > 0)
    return classifier, activity


def assert_it_trains_or_is_refused(cfg):
    refusal = expected_refusal(cfg)
    if refusal is None:
        train_a_step(cfg)
    else:
        with pytest.raises(ConfigError, match=f"^{refusal}"):
            train_a_step(cfg)


def test_every_group_has_options():
    groups = "dataset model model/readout model/init model/neuron/surrogate encoder decoder loss"
    groups += " regularizer optimizer scheduler callback logger backend"
    assert not set(groups.split()) - set(OPTIONS)


@pytest.mark.parametrize(("model", "dataset"), PAIRS)
def test_every_pair_trains_with_no_further_key(model, dataset):
    """And its hidden neurons spike from the start, but not at every step."""
    cfg = small(dataset, f"model={model}", "batch_size=20")
    if dataset == "ones" and cfg.model.get("norm"):
        pytest.skip("a current that does not vary is normalized to 0")
    if expected_refusal(cfg):
        assert_it_trains_or_is_refused(cfg)
        return
    classifier, activity = train_a_step(cfg)
    for name, layer in activity.hidden.items():
        assert layer.spikes.any() or model in QUIET
        if dataset != "ones" and not classifier.network.layers[name].neuron.constants.multiple:
            assert layer.spikes.mean() < 0.5


@pytest.mark.parametrize("experiment", OPTIONS["experiment"])
def test_every_experiment_can_be_run(experiment):
    """And says what it should score, but for a range of learning rates, which scores nothing."""
    cfg = compose([f"experiment={experiment}"])
    config.check(cfg)
    assert ("reference" in cfg) == (experiment != "shd_lr_range")


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_trains_a_step(experiment):
    chosen = [f"experiment={experiment}", "batch_size=20"]
    cfg = compose([*chosen, *fewer(compose(chosen).dataset)])
    _, activity = train_a_step(cfg)
    assert activity.inputs.num_steps == cfg.time.steps


@pytest.mark.parametrize("recurrent", ["false", "true"])
@pytest.mark.parametrize("model", VECTORS)
def test_deep_networks_train_and_spike_in_every_layer(model, recurrent):
    if model in QUIET or (model in ("rlif", "rlif_haiku") and recurrent == "false"):
        pytest.skip("its published weights keep few events from passing several layers")
    deep = (*narrow(model, 60, 60, 60), f"model.neuron.recurrent={recurrent}")
    _, activity = train_a_step(small("yinyang", f"model={model}", "batch_size=20", *deep))
    assert len(activity.hidden) == 3
    assert all(layer.spikes.sum() > 0 for layer in activity.hidden.values())


@pytest.mark.parametrize(("group", "option", "model"), list(found_with_models()))
def test_every_option_trains_a_step_with_every_model(group, option, model):
    dataset = "ones" if model in IMAGES else "yinyang"
    if model in QUIET and option == "boxcar":
        pytest.skip("none of its membranes is at first where this surrogate is not 0")
    choice = (f"model={model}", *select(group, option, model))
    assert_it_trains_or_is_refused(small(dataset, *FEW, *narrow(model, 6), *choice))


@pytest.mark.parametrize("dataset", data_sets())
@pytest.mark.parametrize("encoder", OPTIONS["encoder"])
def test_every_encoder_trains_a_step_with_every_data_set(encoder, dataset):
    sizes = ["encoder.channels=2"] if encoder == "grid" else []  # what all data sets have
    sizes += ["time.dt=1.0e-3"] if encoder == "poisson" else []  # s, short for its rate
    assert_it_trains_or_is_refused(small(dataset, *SMALL, f"encoder={encoder}", *sizes))


@pytest.mark.parametrize("readout", OPTIONS["model/readout"])
@pytest.mark.parametrize(("group", "option"), found("decoder", "loss"))
def test_decoders_and_losses_train_with_the_readouts_that_suit(group, option, readout):
    choice = (f"model/readout={readout}", f"{group}={option}")
    assert_it_trains_or_is_refused(small("yinyang", *SMALL, *choice))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("encoder=none", "encoder: NoEncoder takes spikes, but YinYang yields values"),
        ("decoder=spike_count", "decoder: SpikeCount reads output spikes, but the readout LI"),
        ("loss=mse_count", "loss: MSECount reads output spikes, but the readout LI"),
        ("loss=none", "loss: NoLoss, and no regularizer: nothing would be learnt"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(override, message):
    with pytest.raises(ConfigError, match=f"^{message}.*; choose "):
        build(small("yinyang", *SMALL, "model=lif", override))


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"^backend\.device: 'gpu', .*choose backend=auto"):
        build(small("yinyang", "backend=gpu"))


@pytest.mark.parametrize(
    ("model", "choice"),
    [(model, ("model.neuron.recurrent=false",)) for model in OPTIONS["model"]]
    + [(model, ("model.neuron.recurrent=true",)) for model in VECTORS]  # of images it is large
    + [("lif", (f"model/readout={readout}",)) for readout in OPTIONS["model/readout"]],
)
def test_silence_for_silence(model, choice):
    dataset = "ones" if model in IMAGES else "yinyang"
    cfg = small(dataset, *FEW, *narrow(model, 6), f"model={model}", *choice)
    network = build(cfg)[1].network
    channels = len(next(iter(network.layers.values())).synapse.fanout)
    nothing = torch.zeros(0, dtype=torch.long)
    for inputs in (
        Static(torch.zeros(2, channels), 30),
        Events(nothing, nothing, nothing, 30, 2, channels),
    ):
        activity, _ = network(inputs)
        for layer in activity.layers.values():
            assert layer.spikes is None or not layer.spikes.any()
        assert not activity.readout.membrane.any()


@pytest.mark.parametrize("encoder", sorted({*OPTIONS["encoder"]} - {"none", "grid", "augmented"}))
def test_a_network_in_double_precision_takes_values_as_they_are(encoder):
    """With backend.precision=64-true, figures give it the data set's single precision."""
    dataset, classifier, _ = build(small("yinyang", *SMALL, f"encoder={encoder}"))
    scores = classifier.double()(dataset.splits["val"].values)
    assert scores.dtype == torch.float64 and scores.isfinite().all()


LAST_RATE = {
    "none": 5e-3,
    "plateau": 5e-3,
    "step": 5e-3,
    "exponential": 0.95 * 5e-3,
    "cosine": 0.5 * 5e-3,
}
"""In the second of two epochs of three batches."""


@pytest.mark.parametrize(("group", "option"), found("optimizer", "scheduler"))
def test_optimizers_and_schedulers_run(train, group, option):
    result = train(f"{group}={option}", "optimizer.lr=5e-3", "trainer.max_epochs=2")
    assert result.metrics["epoch/last"] == 2
    assert (result.metrics["test/accuracy"] * 10) % 1 == pytest.approx(0)
    weight = result.classifier.network.weights()["hidden1"]
    assert weight.isfinite().all()
    if group == "scheduler" and option in LAST_RATE:
        assert result.metrics["train/lr"] == pytest.approx(LAST_RATE[option], abs=1e-12)


@pytest.mark.parametrize(("group", "option"), found("callback", "logger"))
def test_callbacks_and_loggers_run_and_leave_their_files(train, tmp_path, group, option):
    result = train(*select(group, option))
    assert result.metrics["epoch/last"] == 1
    files = {"table": "metrics.csv", "tensorboard": "tensorboard/events*", "figures": "plots/*.png"}
    if option in files:
        saved = list((tmp_path / "run").glob(files[option]))
        assert saved and all(file.stat().st_size > 100 for file in saved)


def test_the_table_has_a_row_an_epoch(train, tmp_path):
    train("logger=[table]", "trainer.max_epochs=2")
    with Path(tmp_path / "run/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [0, 1, 2]
    assert rows[0]["train/loss"] == "" and float(rows[2]["train/loss"]) > 0


@pytest.mark.parametrize(("every", "mode"), [(1, "min"), (2, "max")])
def test_the_last_epoch_can_be_kept_whatever_validation_says(train, every, mode):
    """Also where the last epoch is not validated: of three the second alone is, every 2."""
    settings = (f"trainer.check_val_every_n_epoch={every}", f"best.mode={mode}")
    settings += ("trainer.max_epochs=3",)
    result = train("best.metric=epoch/trained", "optimizer.lr=1e-9", *settings)
    assert result.metrics["epoch/best"] == 3


def test_early_stopping_stops(train):
    """The second epoch is no better by 10 than the first, and one such epoch is enough."""
    patience = ("callback.early_stopping.min_delta=10", "callback.early_stopping.patience=1")
    result = train("callback=[early_stopping]", *patience, "trainer.max_epochs=5")
    assert result.metrics["epoch/last"] == 2
