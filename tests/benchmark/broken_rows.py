"""Methods of one file each that break a promise while they run: what the file says, and what its row must say."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = """
import math

import torch
from torch import nn

from dbtssl.api import Config, Crop, Field, Method, PatchClassifier, PluginError, SliceRef, Step, ViewSpec, hookimpl

DBTSSL_API = 1
CROP = Crop(64)


class Settings(Config):
    temperature: float = Field(default=0.25, gt=0, description="of the loss")


class Objective(nn.Module):
    Config = Settings

    def __init__(self, encoder, *, temperature):
        super().__init__()
        self.net, self.head, self.temperature = encoder, nn.Linear(encoder.num_features, 4), temperature
        self.views = (ViewSpec("anchor", CROP), ViewSpec("positive", CROP))

    def loss(self, batch):
        a, b = (self.head(self.net(view)) for view in batch.views)
        return (a - b).square().mean(dim=1) / self.temperature + (1 - a.std(dim=0)).square().sum()

    def forward(self, batch):
        return Step(self.loss(batch).mean())

    def after_step(self, progress):
        pass

    def encoder(self):
        return self.net


class Sampler:
    Config = Config

    def positive(self, anchor, cohort, rng):
        return anchor


class FineTuner:
    Config = type("Tuning", (Config,), {"model_config": {"extra": "ignore"}})

    def fit(self, encoder, train, val, run):
        return PatchClassifier(encoder, seed=run.seed)

    def classifier(self, encoder):
        return PatchClassifier(encoder)


def small(*, pretrained, in_chans, num_classes):
    net = nn.Sequential(nn.Conv2d(in_chans, 4, 9, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.num_features = 4
    return net

"""
FOOT = """

METHOD = Method(summary="a toy", objective="{name}", sampler="{name}", finetuner="{tuner}")


@hookimpl
def register_components(register):
    register("objective", "{name}", f"{{__name__}}:{objective}", "a toy")
    register("sampler", "{name}", f"{{__name__}}:{sampler}", "a toy")
    register("finetuner", "{name}", f"{{__name__}}:{finetuner}", "a toy")
    register("backbone", "{name}", f"{{__name__}}:{backbone}", "a toy")
    register("method", "{name}", f"{{__name__}}:METHOD", "a toy")
"""


@dataclass(frozen=True)
class Broken:
    """``body`` defines a class or function ``Bad`` that takes the place of ``kind``."""

    kind: str
    body: str
    cause: str
    step: str = ""

    def source(self, name: str) -> str:
        """The plugin's file."""
        targets = {
            "objective": "Objective",
            "sampler": "Sampler",
            "finetuner": "FineTuner",
            "backbone": "small",
        }
        targets[self.kind] = "Bad"
        tuner = name if self.kind == "finetuner" else "local-multi-patch"
        return HEAD + self.body + FOOT.format(name=name, tuner=tuner, **targets)


def objective(body: str, cause: str, step: str) -> Broken:
    return Broken("objective", f"class Bad(Objective):\n{_indented(body)}", cause, step)


def sampler(body: str, cause: str, step: str) -> Broken:
    text = f"def positive(self, anchor, cohort, rng):\n{_indented(body)}"
    return Broken("sampler", f"class Bad(Sampler):\n{_indented(text)}", cause, step)


def finetuner(body: str, cause: str, step: str) -> Broken:
    return Broken("finetuner", body, cause, step)


def network(forward: str, cause: str, step: str) -> Broken:
    body = (
        "class Net(PatchClassifier):\n"
        "    def forward(self, patches):\n"
        f"        x = super().forward(patches)\n        {forward}\n\n"
        "class Bad(FineTuner):\n"
        "    def fit(self, encoder, train, val, run):\n        return Net(encoder)\n\n"
        "    def classifier(self, encoder):\n        return Net(encoder)\n"
    )
    return Broken("finetuner", body, cause, step)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


LEARNT = """
class Net(PatchClassifier):
    shift = 0.0

    def forward(self, patches):
        return super().forward(patches) + self.shift


class Bad(FineTuner):
    def fit(self, encoder, train, val, run):
        net = Net(encoder)
        net.shift = 2.5
        return net

    def classifier(self, encoder):
        return Net(encoder)
"""

TEN = {
    "vector-loss": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch))",
        "the loss is Tensor of shape (8,), expected a tensor of one number",
        "loss.mean()",
    ),
    "bare-tensor": objective(
        "def forward(self, batch):\n    return self.loss(batch).mean()",
        "forward returned Tensor of shape (), expected a Step (views 8 x 1 x 64 x 64)",
        "return Step(loss, logs)",
    ),
    "not-a-number": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch).mean() * math.nan)",
        "the loss is not finite in the first step",
        "division by 0",
    ),
    "leaves": objective(
        "def forward(self, batch):\n    raise SystemExit(3)",
        "forward with views 8 x 1 x 64 x 64: SystemExit: 3",
        "--debug",
    ),
    "whole-encoder": objective(
        "def encoder(self):\n    return self",
        "encoder() returned Bad, which does not fit the backbone: 0 of its ",
        "without heads",
    ),
    "own-hint": objective(
        "def after_step(self, progress):\n    raise PluginError('no bank', hint='make the bank larger')",
        "no bank",
        "make the bank larger",
    ),
    "no-positive": sampler("return None", "returned None, expected a SliceRef", "SliceRef(volume, z)"),
    "other-patient": sampler(
        "ids = cohort.patient_ids\n"
        "return SliceRef(int((ids != ids[anchor.volume]).argmax()), 0)",
        "a volume of another patient than the anchor's",
        "crosses_patients = True",
    ),
    "reads-labels": sampler(
        "return anchor if cohort[anchor.volume].label else anchor",
        "Volume.label was read in pretraining, which has no labels",
        "labels are for fine-tuning",
    ),
    "attribute": finetuner(
        LEARNT,
        "the network, saved and loaded again, gives other outputs: up to 2.5 apart on 8 patches",
        "register_buffer",
    ),
}  # fmt: skip

MORE = {
    "no-gradient": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch).mean().detach())",
        "the loss has no gradient",
        "without detach()",
    ),
    "whole-loss": objective(
        "def forward(self, batch):\n    return Step(torch.tensor(3))",
        "the loss is of torch.int64, expected floating point",
        "not from integers",
    ),
    "float-loss": objective(
        "def forward(self, batch):\n    return Step(0.5)",
        "the loss is 0.5, expected a tensor of one number",
        "",
    ),
    "vector-log": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch).mean(), {'spread': torch.ones(3)})",
        "Step.logs['spread'] is Tensor of shape (3,), expected one number",
        "plain numbers",
    ),
    "text-log": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch).mean(), {'state': 'good'})",
        "Step.logs['state'] is str 'good', expected one number",
        "",
    ),
    "taken-log": objective(
        "def forward(self, batch):\n    return Step(self.loss(batch).mean(), {'epoch': 1.0})",
        "Step.logs has the name 'epoch', which is taken by the log",
        "names of your own",
    ),
    "no-encoder": objective(
        "def encoder(self):\n    return None", "encoder() returned None, expected a network", ""
    ),
    "raises": objective(
        "def forward(self, batch):\n    raise KeyError('bank')",
        "forward with views 8 x 1 x 64 x 64: KeyError: 'bank'",
        "--debug",
    ),
    "infinite-weights": objective(
        "def after_step(self, progress):\n"
        "    if progress == 1:\n        next(self.net.parameters()).data.fill_(math.inf)",
        "1 tensors of the encoder are not finite after the last step",
        "lower pretrain.lr",
    ),
    "collapse-raises": objective(
        "def collapsed(self, means):\n    return means['nothing']",
        "collapsed, asked at the end of epoch 1: KeyError: 'nothing'",
        "",
    ),
    "number": sampler("return 3", "returned 3, expected a SliceRef", ""),
    "plain-tuple": sampler("return (0, 0)", "returned tuple (0, 0), expected a SliceRef", ""),
    "before": sampler(
        "return SliceRef(-1, 0)", "SliceRef(volume=-1, z=0), expected a volume from 0 to ", ""
    ),
    "beyond": sampler("return SliceRef(len(cohort), 0)", "expected a volume from 0 to ", ""),
    "above": sampler(
        "return SliceRef(anchor.volume, cohort[anchor.volume].n_slices)",
        "has the slices 0 to ",
        "a slice of it from 0",
    ),
    "below": sampler("return SliceRef(anchor.volume, -1)", "has the slices 0 to ", ""),
    "half": sampler("return SliceRef(anchor.volume, anchor.z * 0.5)", "expected integers", ""),
    "truth": sampler("return SliceRef(True, 0)", "SliceRef(volume=True, z=0), expected integers", ""),
    "reads-boxes": sampler(
        "return anchor if getattr(cohort[anchor.volume], 'boxes', None) else anchor",
        "Volume.boxes was read in pretraining",
        "",
    ),
    "no-network": finetuner(
        "class Bad(FineTuner):\n    def fit(self, encoder, train, val, run):\n        pass\n",
        "fit returned None, expected a network",
        "train_patches",
    ),
    "no-classifier": finetuner(
        "class Net(PatchClassifier):\n"
        "    def __init__(self, encoder):\n"
        "        super().__init__(encoder)\n        self.scale = nn.Parameter(torch.ones(1))\n\n"
        "class Bad(FineTuner):\n"
        "    def fit(self, encoder, train, val, run):\n        return Net(encoder)\n",
        "do not fit PatchClassifier, into which they are loaded: ",
        "classifier(encoder)",
    ),
    "column": network(
        "return x[:, None]",
        "returned Tensor of shape (2, 1) for 2 patches, expected logits of shape (2,)",
        "x.squeeze(1)",
    ),
    "two-classes": network(
        "return torch.stack([-x, x], dim=1)",
        "returned Tensor of shape (2, 2) for 2 patches",
        "x[:, 1] - x[:, 0]",
    ),
    "sigmoid": network(
        "return x.sigmoid()", "returns probabilities, not logits: its last step is sigmoid", "leave the last sigmoid"
    ),
    "softmax": network(
        "return torch.stack([-x, x], dim=1).softmax(dim=1)[:, 1]",
        "returns probabilities, not logits: its last step is softmax",
        "",
    ),
    "dice": network(
        "return x + torch.rand(len(x))", "gives other outputs when it is asked twice", "eval() switches off"
    ),
}  # fmt: skip

BACKBONES = {
    "no-width": Broken(
        "backbone",
        "def Bad(*, pretrained, in_chans, num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(in_chans, 4, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n",
        "whose num_features is None, expected a whole number",
        "set network.num_features",
    ),
    "nothing": Broken(
        "backbone",
        "def Bad(*, pretrained, in_chans, num_classes):\n    small(pretrained=False, in_chans=1, num_classes=0)\n",
        "returned None, expected a network",
        "return the network",
    ),
    "map": Broken(
        "backbone",
        "def Bad(*, pretrained, in_chans, num_classes):\n"
        "    net = nn.Conv2d(in_chans, 4, 9)\n    net.num_features = 4\n    return net\n",
        "gave Tensor of shape (2, 4, 56, 56) for 2 images of 64 x 64 pixels, expected shape (2, 4)",
        "pool the feature map",
    ),
    "falls": Broken(
        "backbone",
        "class Bad(nn.Linear):\n"
        "    num_features = 4\n\n"
        "    def __init__(self, **_):\n        super().__init__(7, 4)\n",
        "cannot take images of 64 x 64 pixels: RuntimeError",
        "(B, num_features)",
    ),
}
