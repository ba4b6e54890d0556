"""What users get wrong on the command line: a line or two that name it, and what was meant."""

from functools import cache

import pytest
import yaml

from dds import cli
from dds.command_line.importing import takes_more, why_not_found
from dds.command_line.trail import input_error
from dds.data import BaseDataModule, ImageFolder
from dds.errors import InputError

PARSER = cache(cli.evaluation_parser)  # it keeps nothing of what it reads

ATTACK = "protocol: {attacks: {pgd: %s}}"
NETWORK = "task: {class_path: SemanticSegmentation, init_args: {model: {class_path: %s}}}"
DEFENCE = "protocol: {defences: {name: %s}}"

MISTAKES = {
    # classes
    "task misspelt": ("--task=SemanticSegmentaton", "Did you mean SemanticSegmentation?", "Classification"),
    "task misspelt in a YAML": (
        "task: {class_path: SemanticSegmentaton}",
        "Did you mean SemanticSegmentation?",
    ),
    "data misspelt": ("--data=Scene", "data: there is no class Scene", "Did you mean Scenes?", "ImageFolder"),
    "attack misspelt": (ATTACK % "{class_path: PDG}", "protocol.attacks.pgd", "Did you mean PGD?", "MIFGSM"),
    "attack misspelt as option": ("--protocol.attacks.pgd.class_path=PDG", "PDG", "Did you mean PGD?"),
    "attack misspelt by path": (ATTACK % "{class_path: dds.attacks.PDG}", "dds.attacks has no PDG", "PGD?"),
    "room misspelt": (ATTACK % "{class_path: dds.atacks.PGD}", "dds has no atacks", "Did you mean attacks?"),
    "purifier misspelt": ("--protocol.purifier=DifusionDenoiser", "Did you mean DiffusionDenoiser?"),
    "defence misspelt": (DEFENCE % "{class_path: JPG}", "protocol.defences.name", "Did you mean JPEG?"),
    "control misspelt": (
        "protocol: {controls: {dark: Brightnes}}",
        "controls.dark",
        "Did you mean Brightness?",
    ),
    "objective misspelt": (
        ATTACK % "{class_path: PGD, init_args: {objective: TaskLos}}",
        "protocol.attacks.pgd.objective",
        "Did you mean TaskLoss?",
    ),
    "within a list": (
        DEFENCE % "{class_path: Chain, init_args: {purifiers: [JPEG, BitDept]}}",
        "protocol.defences.name.purifiers[1]",
        "Did you mean BitDepth?",
    ),
    "logger misspelt": ("--logger=Tensorboard", "Did you mean TensorBoardLogger?"),
    "of another room": (ATTACK % "{class_path: JPEG}", "JPEG is one of dds.purifiers", "PGD"),
    "of another room by path": (
        ATTACK % "{class_path: dds.purifiers.JPEG}",
        "protocol.attacks.pgd: dds.purifiers.JPEG is not what belongs here",
        "PGD",
    ),
    "of another kind": (
        "task: {class_path: torch.nn.Linear}",
        "task: torch.nn.Linear is not what belongs here",
        "SemanticSegmentation",
    ),
    "abstract": (
        "protocol: {purifier: {class_path: OneShot}}",
        "protocol.purifier: OneShot is abstract: it does not define denoise. Define that",
    ),
    "abstract by path": (
        ATTACK % "{class_path: dds.attacks.Optimiser}",
        "protocol.attacks.pgd: dds.attacks.Optimiser is abstract: it does not define __call__, calls.",
    ),
    "network misspelt": (
        NETWORK % "torch.nn.Conv2",
        "task.model: torch.nn has no Conv2",
        "Did you mean Conv2d?",
    ),
    "package not there": (NETWORK % "my_pakage.Net", "task.model", "no module my_pakage", "beside the YAML"),
    "no class": (
        "protocol: {attacks: {second: {eps: 8/255}}}",
        "protocol.attacks.second: no class_path",
        "PGD",
    ),
    "null for a class": (ATTACK % "null", "protocol.attacks.pgd: no class_path"),
    # names of settings
    "group misspelt": ("protocl: {draws: 1}", "has no protocl", "Did you mean protocol?"),
    "group misspelt as option": ("--protocl.draws=1", "Did you mean --protocol.draws?"),
    "setting misspelt": (
        "protocol: {attaks: {pgd: PGD}}",
        "protocol has no attaks",
        "Did you mean attacks?",
        "controls",
    ),
    "setting misspelt as option": ("--protocol.attaks=1", "--protocol.attaks", "Did you mean attacks?"),
    "singular": ("--protocol.noise_level=[10]", "Did you mean noise_levels?"),
    "singular in a YAML": (
        "protocol: {noise_level: [10]}",
        "has no noise_level",
        "Did you mean noise_levels?",
    ),
    "abbreviated": ("--nam=x", "no option --nam", "Did you mean name?"),
    "option of another group": ("--seed=3", "Did you mean --protocol.seed?"),
    "option of the data": ("--limit=3", "Did you mean --data.limit?"),
    "at the top": ("noise_levels: [10]", "has no noise_levels", "protocol"),
    "argument misspelt": (
        ATTACK % "{class_path: PGD, init_args: {stepsize: 2/255}}",
        "protocol.attacks.pgd (PGD) has no stepsize",
        "Did you mean step_size?",
    ),
    "argument misspelt as option": (
        "--protocol.attacks.pgd.init_args.step=1",
        "has no step",
        "steps?",
        "eps",
    ),
    "argument of data": ("--data.batchsize=3", "data (Scenes) has no batchsize", "Did you mean batch_size?"),
    "argument in a list": (
        DEFENCE % "{class_path: Chain, init_args: {purifiers: [{class_path: JPEG, init_args: {qualty: 3}}]}}",
        "purifiers[0] (JPEG) has no qualty",
        "Did you mean quality?",
    ),
    "of the trainer": ("--trainer.acelerator=cpu", "Did you mean accelerator?", "precision"),
    "of the trainer in a YAML": ("trainer: {acelerator: cpu}", "trainer has no acelerator", "accelerator?"),
    "of training": ("--trainer.max_epochs=3", "no option --trainer.max_epochs", "accelerator"),
    "init_arg": (ATTACK % "{class_path: PGD, init_arg: {eps: 8/255}}", "Did you mean init_args?"),
    "init_arg as option": ("--protocol.attacks.pgd.init_arg.eps=1", "no init_arg", "Did you mean init_args?"),
    "class_pth": (
        ATTACK % "{class_pth: PGD, init_args: {eps: 8/255}}",
        "Did you mean class_path for class_pth?",
    ),
    "factory takes more": (
        NETWORK % "timm.create_model, init_args: {model_name: resnet18, num_classes: 10}",
        "task.model (create_model) has no num_classes",
        "beside class_path: dict_kwargs: {num_classes: 10}",
    ),
    "factory, misspelt": (
        NETWORK % "timm.create_model, init_args: {model_nam: resnet18}",
        "has no model_nam",
        "Did you mean model_name?",
    ),
    # places
    "beside class_path": (
        ATTACK % "{class_path: PGD, eps: 8/255}",
        "eps belongs under init_args: {class_path: PGD, init_args: {eps: 8/255}}",
    ),
    "beside init_args": (
        ATTACK % "{class_path: PGD, init_args: {steps: 3}, eps: 8/255}",
        "eps belongs under init_args: {class_path: PGD, init_args: {steps: 3, eps: 8/255}}",
    ),
    "model beside class_path": (
        "task: {class_path: SemanticSegmentation, model: zoo:scenes-segmentation}",
        "task: model belongs under init_args",
    ),
    "attack without a name": (
        "protocol: {attacks: {class_path: PGD, init_args: {eps: 8/255}}}",
        "protocol.attacks: {some_name: {class_path: …}}",
    ),
    "attacks as a list": ("protocol: {attacks: [{class_path: PGD}]}", "{some_name: {class_path: …}}"),
    "attacks as a word": ("--protocol.attacks=PGD", "protocol.attacks=PGD", "{some_name: {class_path: …}}"),
    "a group as a number": ("protocol: 3", "protocol=3", "settings by name"),
    # values
    "no list": ("--protocol.noise_levels=10,50", "protocol.noise_levels=10,50", "a list, such as [10,50]"),
    "no list but a number": ("--protocol.noise_levels=10", "a list, such as [10]"),
    "no list in a YAML": ("protocol: {noise_levels: 10}", "a list, such as [10]"),
    "no list of words": ("--protocol.attacker_sees=same", "a list, such as [same]"),
    "sigma for t": ("--protocol.noise_levels=[0.25]", "0.25 is no t", "{sigma: 0.25}"),
    "half a t": ("protocol: {noise_levels: [10.5]}", "noise level=10.5", "whole number"),
    "sigma misspelt": ("protocol: {noise_levels: [{sigm: 0.25}]}", "sigm", "{sigma: value}"),
    "sigma in words": ("protocol: {noise_levels: [{sigma: much}]}", "sigma=much", "a number"),
    "level in words": ("protocol: {noise_levels: [ten]}", "protocol.noise_levels[0]=ten", "a whole number"),
    "level null": ("protocol: {noise_levels: [null]}", "protocol.noise_levels[0]=null", "a whole number"),
    "capital": ("--protocol.attacks.pgd.init_args.norm=L2", "norm=L2", "linf or l2", "Did you mean l2?"),
    "no choice": ("--protocol.attacks.pgd.init_args.norm=l1", "protocol.attacks.pgd.norm=l1", "linf or l2"),
    "all": ("--data.limit=all", "data.limit=all", "a whole number or null"),
    "words for a number": ("--protocol.draws=many", "protocol.draws=many", "a whole number"),
    "a fraction of a draw": ("--protocol.draws=2.5", "protocol.draws=2.5", "a whole number"),
    "perhaps": ("--protocol.eight_bit=perhaps", "protocol.eight_bit=perhaps", "true or false"),
    "show": ("--show=html", "show=html", "table, path or json"),
    "one mean": ("--task.mean=0.5", "task.mean=0.5", "a list, such as [0.5]"),
    "a list for a number": (
        "--protocol.attacks.pgd.init_args.eps=[1]",
        "protocol.attacks.pgd.eps=[1]",
        "number",
    ),
    "unknown precision": ("--trainer.precision=8", "trainer.precision=8", "bf16-mixed", "32-true"),
    "a value for a switch": ("--resume=yes", "--resume", "takes no value"),
    "no value": ("--protocol.draws", "--protocol.draws", "expected one argument"),
    # files
    "a YAML without --config": ("cls_scenes.yaml", "--config cls_scenes.yaml"),
    "not closed": ("protocol: {draws: 3", "mistake.yaml, line 1", "YAML"),
    "tabs": ("protocol:\n\tdraws: 3", "mistake.yaml, line 2", "spaces"),
    "no mapping": ("- 3", "mistake.yaml holds no settings"),
    "not a number": ("task: null", "task must be set", "--config"),
    "nothing below a misspelt group": ("protocl: {}", "no setting protocl.", "Did you mean protocol?"),
    "nothing below a misspelt setting": ("protocol: {attaks: {}}", "no setting protocol.attaks", "attacks?"),
    # what the classes refuse
    "zoo misspelt": ("--task.model=zoo:scenes-segmentaton", "the zoo has no", "scenes-segmentation"),
    "weights not there": ("--task.model=net.pth", "net.pth does not exist"),
    "two means": ("--task.mean=[0.5,0.5]", "mean has 2 values; expected 3"),
    "no steps": ("--protocol.attacks.pgd.init_args.steps=0", "steps=0", "at least 1"),
    "unknown model of a library": (
        NETWORK % "timm.create_model, init_args: {model_name: resnet_18}",
        "task.model: timm.models._factory.create_model fails with RuntimeError: Unknown model (resnet_18)",
    ),
    "argument of a library": (
        NETWORK % "timm.create_model, init_args: {model_name: resnet18}, dict_kwargs: {num_clases: 4}",
        "task.model: timm.models._factory.create_model fails with TypeError",
        "num_clases",
    ),
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Evaluate what cannot be; return the lines that are said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "evaluation_parser", PARSER)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.evaluate(list(arguments))
        said = capsys.readouterr().err
        assert end.value.code == 2, said
        assert said.startswith("error: ")
        assert "Traceback" not in said
        return said.strip().splitlines()

    return run


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_in_at_most_three_lines(refused, tmp_path, mistake):
    given, *words = MISTAKES[mistake]
    if (":" in given and not given.startswith("--")) or given == "- 3":
        (tmp_path / "mistake.yaml").write_text(given)
        given = "--config=mistake.yaml"
    said = refused("--config=seg_scenes.yaml", "--plan", given)
    assert len(said) <= 3
    assert all(len(line) < 500 for line in said)
    assert all(word in " ".join(said) for word in words), said
    assert [path.name for path in tmp_path.iterdir()] in ([], ["mistake.yaml"])


def test_many_classes_of_others_do_not_hide_ours():
    others = [type(f"Mine{number}", (ImageFolder,), {}) for number in range(40)]
    said = why_not_found("Scene", BaseDataModule)
    assert said.startswith("there is no class Scene. Did you mean Scenes? Known here: Ade20k, ")
    assert others[0].__name__ not in said


def test_commands_are_named(refused):
    assert refused("rport", "runs/x") == [
        "error: there is no command 'rport'; expected certify, submit, purify, report, compare or options. "
        "Did you mean report?"
    ]
    assert "data and task must be set" in refused("--plan")[0]
    assert "runs must be set" in refused("report")[0]


def test_a_yaml_is_no_command_and_no_run(refused):
    said = "error: 'seg_scenes.yaml' is no option. A YAML is given by --config seg_scenes.yaml; see --help."
    assert refused("seg_scenes.yaml") == [said]
    assert refused("certify", "seg_scenes.yaml") == [said]
    assert refused("certify", "runs/nothing") == [
        "error: there is no run runs/nothing; expected the folder of one, or options."
    ]


def test_weights_that_are_not_there_are_one_line(refused):
    """Three unions of types lie around this error."""
    (line,) = refused("--config", "cls_cifar10.yaml")
    assert line.startswith("error: weights file weights/ddpm.pth does not exist.")


def test_the_whole_traceback_is_shown_on_demand(refused, capsys):
    with pytest.raises(SystemExit):
        cli.evaluate(["--config", "cls_cifar10.yaml", "--debug"])
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "in read_weights" in said
    assert said.strip().splitlines()[-1].startswith("error: weights file weights/ddpm.pth does not exist.")


def wrap_by_cause(error):
    raise ValueError("outer") from error


def wrap_by_context(error):
    try:
        raise error
    except InputError:
        raise KeyError("outer")  # noqa: B904


def wrap_in_a_group(error):
    raise ExceptionGroup("outer", [ValueError("other"), error])


@pytest.mark.parametrize("wrap", [wrap_by_cause, wrap_by_context, wrap_in_a_group])
def test_a_users_error_is_found_however_it_is_wrapped(wrap):
    error = InputError("eps=-1; expected at least 0.")
    with pytest.raises(Exception, match="outer") as caught:
        wrap(error)
    assert input_error(caught.value) is error
    assert input_error(ValueError("outer")) is None


def test_an_error_that_is_no_matter_of_the_settings_keeps_its_traceback(refused, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("power cut")

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        cli.evaluate(["--config", "cls_scenes.yaml"])


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 2, **more):
        super().__init__()
        if width < 1:
            raise IndexError("width")
        self.body = nn.Conv2d(3, 7, 1)

    def forward(self, image):
        return self.body(image)
"""


def own_network(folder, arguments, module):
    (folder / f"{module}.py").write_text(OWN)
    spec = {"class_path": f"{module}.Net", **arguments}
    task = {"class_path": "SemanticSegmentation", "init_args": {"model": spec}}
    (folder / "own.yaml").write_text(yaml.safe_dump({"task": task}))
    return ["--config=seg_scenes.yaml", f"--config={folder / 'own.yaml'}", "--plan", "--show=json"]


@pytest.fixture
def own_path(monkeypatch):
    monkeypatch.setattr("sys.path", list(__import__("sys").path))


def test_modules_beside_the_yaml_and_in_the_working_folder_are_found(tmp_path, monkeypatch, own_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own_there.py").write_text(OWN.replace("class Net", "class Other"))
    monkeypatch.chdir(tmp_path / "here")
    beside = own_network(
        tmp_path / "elsewhere", {"init_args": {"width": 3}, "dict_kwargs": {"depth": 4}}, "own_beside"
    )
    cli.evaluate(beside)
    cli.evaluate(
        ["--config=seg_scenes.yaml", "--task.model.class_path=own_there.Other", "--plan", "--show=json"]
    )
    assert capsys.readouterr().out.count('"exact": true') == 2


def test_what_an_own_module_raises_is_one_line_with_the_setting(tmp_path, refused, own_path):
    arguments = own_network(tmp_path, {"init_args": {"width": 0}}, "own_failing")
    assert refused(*arguments) == ["error: task.model: own_failing.Net fails with IndexError: width"]
    (tmp_path / "own_broken.py").write_text("import nothing_of_this_name")
    (line,) = refused("--config=seg_scenes.yaml", "--task.model.class_path=own_broken.Net")
    assert "own_broken.Net cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this" in line


class OpenBase:
    def __init__(self, **options):
        self.options = options


class OpenConfig(OpenBase):
    """As the configurations of transformers."""

    def __init__(self, width=3, **options):
        super().__init__(**options)


class ClosedBase:
    def __init__(self, depth=2):
        self.depth = depth


class Passing(ClosedBase):
    """As the data modules of dds."""

    def __init__(self, width=3, **options):
        super().__init__(**options)


class Using(ClosedBase):
    """As the networks of segmentation-models-pytorch: the options go elsewhere than to its base."""

    def __init__(self, width=3, **options):
        super().__init__()
        self.inner = OpenBase(**options)


@pytest.mark.parametrize(
    ("built", "names", "is_open"),
    [
        (OpenConfig, ["width", "return_dict"], True),
        (Passing, ["width", "depth"], False),
        (Using, ["width"], True),
        (ClosedBase, ["depth"], False),
        (lambda name, **options: None, ["name"], True),
        (lambda name: None, ["name"], False),
    ],
)
def test_what_takes_more_than_it_names(built, names, is_open):
    assert takes_more(built, names) is is_open
