from functools import partial

import numpy as np
import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter
from lightning.pytorch import Callback, Trainer

from dds.attacks import (
    APGD,
    MIFGSM,
    PGD,
    SIA,
    FeatureDistance,
    LowFrequency,
    Optimiser,
    PurifiedDistance,
    StAdv,
    TaskLoss,
    WorstOf,
)
from dds.attacks.objectives.base import Calls
from dds.callbacks import AttackAndPurify, NetworkProgress
from dds.callbacks.rehearsal import Findings
from dds.controls import Brightness, Rotation
from dds.data.base import BaseDataModule
from dds.errors import InputError
from dds.protocol.plan import Craft
from dds.purifiers import JPEG, Chain, DiffusionDenoiser, MultiStepDenoiser, NoiseOnly
from dds.tasks import Classification, SemanticSegmentation


class Arrays(BaseDataModule):
    def __init__(self, batch_size=2, images=4, image=None):
        super().__init__(batch_size)
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(images, 3, 8, 8, generator=generator) if image is None else image

    def load(self, split):
        return [
            {"image": image, "label": torch.tensor(i % 4), "mask": (image[0] * 5).long()}
            for i, image in enumerate(self.image)
        ]


def trainer(*callbacks, inference_mode=False, **options):
    return Trainer(
        accelerator="cpu", logger=False, callbacks=list(callbacks), inference_mode=inference_mode,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **options,
    )  # fmt: skip


class Collector(torch.nn.Module):
    """Stands before a network and keeps what passes."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen, self.backward = network, [], 0

    def forward(self, image, *arguments):
        self.seen.append(image.detach().clone())
        if image.requires_grad and len(image) > 1:  # a rehearsal is one image
            image.register_hook(self._count)
        return self.network(image, *arguments)

    def _count(self, gradient):
        self.backward += 1


def seen(network, images=4):
    """Count the whole batches that passed; a rehearsal is one image, or two."""
    return sum(len(batch) == images for batch in network.seen)


def protocol(denoiser=None, **options):
    arguments = {
        "noise_levels": [10, 145],
        "attacks": {"pgd": PGD(steps=2, eot=2)},
        "attacker_sees": ["none", "same", 145],
        "draws": 2,
    }
    return AttackAndPurify(DiffusionDenoiser(denoiser or TinyNoiseNetwork()), **{**arguments, **options})


def random_and_not(attacks, denoiser=None):
    """Views through something random, through something that is not, and with known noise."""
    sees = ["none", "same", "fixed_noise", "jpeg", ["jpeg", 10]]
    defences = {"jpeg": JPEG()}
    return protocol(denoiser, attacks=attacks, attacker_sees=sees, defences=defences, noise_levels=[10])


SEVERAL_DRAWS = {
    "pgd": PGD(steps=2, eot=4),
    "restarts": PGD(steps=2, eot=4, restarts=2),
    "apgd": APGD(steps=3, eot=4, restarts=2),
    "mifgsm": MIFGSM(steps=2, eot=4),
    "sia": SIA(steps=1, copies=2, eot=4),
    "low": LowFrequency(APGD(steps=2, eot=4), [4, 2]),
    "flow": StAdv(steps=2, eot=4),
    "worst": WorstOf({"pgd": PGD(steps=1, eot=4), "mifgsm": MIFGSM(steps=1, eot=3)}, TaskLoss(), eot=4),
    "distance": PGD(steps=2, eot=4, objective=PurifiedDistance()),
}


@pytest.mark.parametrize("name", SEVERAL_DRAWS)
def test_makes_exactly_the_calls_that_the_plan_shows(name):
    network, denoiser = Collector(TinyClassifier()), Collector(TinyNoiseNetwork())
    callback = random_and_not({name: SEVERAL_DRAWS[name]}, denoiser)
    trainer(callback).test(Classification(network), Arrays(batch_size=4), verbose=False)
    cost = callback.cost
    assert (seen(network), network.backward) == (cost.task.forward, cost.task.backward)
    assert (seen(denoiser), denoiser.backward) == (
        cost.purifier.forward,
        cost.purifier.backward,
    )


def test_drawing_once_where_nothing_is_random_changes_no_bit(monkeypatch):
    once = run(random_and_not(SEVERAL_DRAWS), Arrays(batch_size=4))
    monkeypatch.setattr(Craft, "at_work", lambda craft, attack: attack)
    again = run(random_and_not(SEVERAL_DRAWS), Arrays(batch_size=4))
    assert once.keys() == again.keys()
    for key, statistics in once.items():
        assert all(torch.equal(value, again[key][name]) for name, value in statistics.items()), key


class Kept(Callback):
    def __init__(self):
        self.batches = []

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.batches.append((batch["index"][: batch["real"]], outputs["records"]))


def run(callback, data, task=None):
    kept = Kept()
    trainer(callback, kept).test(task or Classification(TinyClassifier()), data, verbose=False)
    table = {}
    for index, outputs in kept.batches:
        for record in outputs:
            for key in record.conditions:
                for row, image in enumerate(index.tolist()):
                    table[key, record.draw, image] = {k: v[row] for k, v in record.statistics.items()}
    return table


@pytest.mark.parametrize("other", [1, 3])
def test_batch_size_changes_nothing(other):
    alone, together = run(protocol(), Arrays(batch_size=other)), run(protocol(), Arrays(batch_size=4))
    assert alone.keys() == together.keys()
    for key, statistics in alone.items():
        for name, value in statistics.items():
            assert torch.allclose(value, together[key][name], atol=1e-4), (key, name)


def test_networks_see_batches_of_one_size_whichever_images_are_left():
    """Then they round alike, and a run that was interrupted goes on to the very same numbers."""
    network = Collector(TinyClassifier())
    data = Arrays(batch_size=4, images=6)
    undisturbed = run(protocol(), data, Classification(network))
    assert {len(images) for images in network.seen} == {1, 2, 4}  # one or two: the rehearsal
    data.finished = {0, 1, 3}
    resumed = run(protocol(), data)
    assert {image for _, _, image in resumed} == {2, 4, 5}
    for (key, draw, image), statistics in resumed.items():
        for name, value in statistics.items():
            assert torch.equal(value, undisturbed[key, draw, image][name]), (key, name)


def test_evaluation_never_uses_noise_that_the_attack_saw(monkeypatch):
    drawn = {"attack": [], "defence": []}

    class Watch(DiffusionDenoiser):
        def forward(self, image, level, streams):
            drawn[streams.path[0]].append((streams.path, streams.normal(image).sum().item()))
            return super().forward(image, level, streams)

    callback = protocol()
    callback.defences.purifier = Watch(TinyNoiseNetwork())
    monkeypatch.setattr("dds.callbacks.attack_and_purify.rehearse", lambda *arguments: Findings())
    trainer(callback).test(Classification(TinyClassifier()), Arrays(batch_size=4), verbose=False)
    attack, defence = ({number for _, number in drawn[role]} for role in ("attack", "defence"))
    assert not attack & defence
    assert len(defence) == 2  # two draws, the same for every condition
    assert len(attack) == 2 * 2  # each step and each EOT draw its own


def test_draws_differ_and_votes_follow():
    table = run(protocol(noise_levels=[396]), Arrays(batch_size=4))
    first, second = (torch.stack([table["clean/-/t396", d, i]["psnr"] for i in range(4)]) for d in (0, 1))
    assert not torch.equal(first, second)
    assert ("clean/-/t396", None, 0) in table
    assert ("clean/-/t0", None, 0) not in table


def test_8_bit_check_evaluates_the_stored_image_beside_the_exact_one():
    exact, both = (run(protocol(eight_bit=on), Arrays(batch_size=4)) for on in (False, True))
    for key, statistics in exact.items():
        assert all(torch.equal(value, both[key][name]) for name, value in statistics.items()), key
    stored = {key for key, _, _ in both.keys() - exact.keys()}
    assert stored == {key.replace("pgd/", "pgd@8bit/") for key, _, _ in exact if key.startswith("pgd/")}


def test_8_bit_images_lie_on_the_grid_of_a_file(tmp_path):
    from PIL import Image

    seen = []

    class Kept(Classification):
        def look(self, image):
            seen.append(image)
            return super().look(image)

    callback = protocol(noise_levels=[], attacker_sees=["none"], eight_bit=True)
    trainer(callback).test(Kept(TinyClassifier()), Arrays(batch_size=4), verbose=False)
    _, exact, stored = (image for image in seen if len(image) == 4)
    assert not torch.equal(exact, stored)
    for made, shown in zip(exact, stored, strict=True):
        pixels = (made * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "image.png")
        read = torch.from_numpy(np.array(Image.open(tmp_path / "image.png"))).permute(2, 0, 1) / 255
        assert torch.equal(read, shown)


def test_attacks_spend_their_budget_and_no_more():
    table = run(protocol(), Arrays(batch_size=4))
    for (key, _, _), statistics in table.items():
        if key.startswith("pgd") and "linf" in statistics:
            assert 4 / 255 - 1e-6 <= statistics["linf"] <= 8 / 255 + 1e-6
        elif "linf" in statistics:
            assert statistics["linf"] == 0


def test_attack_through_the_purifier_is_stronger_against_it():
    purified = {}

    class Loss(Classification):
        def statistics(self, decision, batch):
            return {"correct": (decision == batch["label"]).float()}

        def decide(self, output):
            return output

        def combine(self, decisions):
            return decisions.mean(0)

        def check_targets(self, output, batch):
            pass

        def render(self, decision, batch):
            return []

    class LossStatistics(Loss):
        def statistics(self, decision, batch):
            return {"correct": -self.loss(decision, batch)}

    attacks = {"pgd": PGD(steps=10, eot=4)}
    callback = protocol(noise_levels=[50], attacks=attacks, attacker_sees=["none", "same"], draws=20)
    table = run(callback, Arrays(batch_size=4), LossStatistics(TinyClassifier()))
    for key in ("clean/-/t50", "pgd/none/t50", "pgd/same/t50"):
        values = [v["correct"] for (k, draw, _), v in table.items() if k == key and draw is not None]
        purified[key] = torch.stack(values).mean()
    assert purified["pgd/same/t50"] < purified["pgd/none/t50"] < purified["clean/-/t50"]


def test_networks_are_frozen():
    task, callback = Classification(TinyClassifier()), protocol()
    trainer(callback).test(task, Arrays(), verbose=False)
    for network in (task, callback.purifier):
        assert all(
            not parameter.requires_grad and parameter.grad is None for parameter in network.parameters()
        )


def test_attack_runs_in_float32_whatever_the_precision():
    seen = []

    class Watch(TinyClassifier):
        def forward(self, image):
            output = super().forward(image)
            seen.append((torch.is_grad_enabled(), output.dtype))
            return output

    trainer(protocol(), precision="bf16-mixed").test(Classification(Watch()), Arrays(), verbose=False)
    assert {dtype for grad, dtype in seen if grad} == {torch.float32}
    assert torch.bfloat16 in {dtype for grad, dtype in seen if not grad}


class Cheat(Optimiser):
    calls = Calls()

    def __init__(self):
        super().__init__("1/255", None)

    def __call__(self, image, value, streams):
        return (image + 0.1).clamp(0, 1)


def test_an_attack_that_leaves_its_budget_is_caught():
    with pytest.raises(RuntimeError, match="left its budget"):
        trainer(protocol(attacks={"cheat": Cheat()})).test(
            Classification(TinyClassifier()), Arrays(), verbose=False
        )


def one_image(change):
    image = torch.rand(4, 3, 8, 8)
    return change(image)


def set_value(image, value):
    image[0, 0, 0, 0] = value
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (one_image(lambda x: set_value(x, 1.5)), r"expected \[0, 1\]"),
        (one_image(lambda x: set_value(x, -0.1)), r"expected \[0, 1\]"),
        (one_image(lambda x: set_value(x, float("nan"))), "NaN"),
        (one_image(lambda x: (x * 255).byte()), "float32"),
        (one_image(lambda x: x[:, :1]), r"\[B, 3, H, W\]"),
    ],
)
def test_bad_images(image, words):
    with pytest.raises(InputError, match=words):
        trainer(protocol()).test(Classification(TinyClassifier()), Arrays(image=image), verbose=False)


def test_inference_mode_left_on():
    with pytest.raises(InputError, match="inference_mode=False"):
        trainer(protocol(), inference_mode=True).test(
            Classification(TinyClassifier()), Arrays(), verbose=False
        )


def test_size_that_the_network_cannot_take():
    fixed = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(InputError, match="cannot take images of 8x8"):
        trainer(protocol()).test(Classification(fixed), Arrays(), verbose=False)


def test_labels_that_the_network_does_not_know():
    segmentation = SemanticSegmentation(TinySegmenter(classes=2))
    with pytest.raises(InputError, match=r"mask labels span 0\.\.4"):
        trainer(protocol()).test(segmentation, Arrays(), verbose=False)
    three = torch.nn.Sequential(TinyClassifier(), torch.nn.Linear(4, 3))
    with pytest.raises(InputError, match="classes 0..2"):
        trainer(protocol()).test(Classification(three), Arrays(batch_size=4), verbose=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise_levels": [1000]}, "0 <= t <= 999"),
        ({"noise_levels": [-3]}, "0 <= t <= 999"),
        ({"attacker_sees": ["nobody"]}, "expected none, same"),
        ({"attacker_sees": [4000]}, "0 <= t <= 999"),
        ({"attacker_sees": []}, "attacker_sees is empty"),
        ({"attacks": {"clean": PGD()}}, "cannot be called"),
        ({"attacks": {"a/b": PGD()}}, "cannot be called"),
        ({"draws": 0}, "draws=0"),
        ({"attacks": {"d": PGD(objective=PurifiedDistance())}, "attacker_sees": ["none"]}, "never sees one"),
    ],
)
def test_bad_protocols(options, words):
    with pytest.raises(InputError, match=words):
        protocol(**options)


def test_an_attack_on_the_purifier_needs_to_see_one():
    attacks = {"diffusion": PGD(steps=2, objective=PurifiedDistance()), "pgd": PGD(steps=2)}
    callback = protocol(attacks=attacks, noise_levels=[10], attacker_sees=["none", "same", 145])
    keys = [condition.key for condition in callback.plan.conditions if condition.attack == "diffusion"]
    assert keys == ["diffusion/same/t10", "diffusion/t145/t0", "diffusion/t145/t10"]


@pytest.mark.parametrize("objective", [PurifiedDistance(), FeatureDistance("network.body.1")])
def test_other_objectives_make_exactly_the_calls_that_the_plan_shows(objective):
    network, denoiser = Collector(TinyClassifier()), Collector(TinyNoiseNetwork())
    attacks = {"a": PGD(steps=2, eot=2, objective=objective)}
    callback = protocol(denoiser, attacks=attacks, attacker_sees=["same"])
    trainer(callback).test(Classification(network), Arrays(batch_size=4), verbose=False)
    cost = callback.cost
    assert (seen(network), network.backward) == (cost.task.forward, cost.task.backward)
    assert (seen(denoiser), denoiser.backward) == (cost.purifier.forward, cost.purifier.backward)


def test_steps_that_gradients_compute_anew_are_in_the_plan():
    network = Collector(TinyNoiseNetwork())
    purifier = Chain([MultiStepDenoiser(network, steps=3, checkpoint=True), JPEG()])
    callback = AttackAndPurify(
        purifier, [145], attacks={"pgd": PGD(steps=2, eot=2)}, attacker_sees=["same"], draws=2
    )
    trainer(callback).test(Classification(TinyClassifier()), Arrays(batch_size=4), verbose=False)
    assert callback.cost.purifier == Calls(
        3 * (2 * 4 + 2 * 2), 3 * 4
    )  # 4 gradients, 2 draws clean and attacked
    assert (seen(network), network.backward) == (callback.cost.purifier.forward, 3 * 4)


def test_without_a_purifier_only_the_bare_task_is_attacked():
    callback = AttackAndPurify(attacks={"pgd": PGD()})
    assert [condition.key for condition in callback.plan.conditions] == ["clean/-/t0", "pgd/none/t0"]
    with pytest.raises(InputError, match="needs a purifier"):
        AttackAndPurify(attacks={"pgd": PGD()}, attacker_sees=[50])


def test_known_noise_is_the_very_noise_in_use(monkeypatch):
    """The attack differentiates through the draws that it is evaluated on, each draw with its own image."""
    seen = []

    class Watch(DiffusionDenoiser):
        def forward(self, image, level, streams):
            seen.append((torch.is_grad_enabled(), streams.normal(image).sum().item()))
            return super().forward(image, level, streams)

    callback = AttackAndPurify(
        Watch(TinyNoiseNetwork()),
        [145],
        attacks={"pgd": PGD(steps=3, eot=2)},
        attacker_sees=["fixed_noise"],
        draws=2,
    )
    monkeypatch.setattr("dds.callbacks.attack_and_purify.rehearse", lambda *arguments: Findings())
    table = run(callback, Arrays(batch_size=4))
    attacked, shown = ({number for grad, number in seen if grad is role} for role in (True, False))
    assert attacked == shown
    assert len(shown) == 2
    first, second = (table["pgd/fixed_noise/t145", draw, 0] for draw in (0, 1))
    assert first["l2"] != second["l2"]
    assert ("pgd/fixed_noise/t145", None, 0) not in table


def test_an_attack_on_several_levels_is_one_condition_at_each_defence():
    levels = [10, 50, 145]
    callback = protocol(noise_levels=levels, attacker_sees=[levels])
    table = run(callback, Arrays(batch_size=4))
    assert {key for key, *_ in table if key.startswith("pgd/t10+t50+t145")} == {
        f"pgd/t10+t50+t145/t{t}" for t in (0, 10, 50, 145)
    }


def test_other_defences_and_controls_stand_in_the_same_grid():
    defences = {"jpeg": JPEG(50), "noise": NoiseOnly(0.1)}
    controls = {"dark": Brightness(5), "turned": Rotation(5)}
    callback = protocol(
        noise_levels=[10], defences=defences, controls=controls, attacker_sees=["same", "jpeg"]
    )
    table = run(callback, Arrays(batch_size=4))
    draws = {}
    for key, draw, _ in table:
        if draw is not None:
            draws.setdefault(key, set()).add(draw)
    assert draws["pgd/same/jpeg"] == draws["pgd/jpeg/jpeg"] == {0}  # nothing random in it
    assert draws["pgd/same/noise"] == draws["dark/-/t10"] == draws["pgd/jpeg/t10"] == {0, 1}
    assert table["dark/-/t0", 0, 0]["linf"] > 0.1
    assert callback.cost.purifier.backward == 4  # through t10; the other defences call no network


def test_controls_that_move_pixels_are_refused_where_targets_have_places():
    callback = protocol(controls={"turned": Rotation(1)})
    with pytest.raises(InputError, match="control turned moves"):
        run(callback, Arrays(), SemanticSegmentation(TinySegmenter()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"defences": {"t50": JPEG(50)}}, "cannot be called 't50'"),
        ({"defences": {"same": JPEG(50)}}, "cannot be called 'same'"),
        ({"defences": {"dds": DiffusionDenoiser(TinyNoiseNetwork())}}, "set it as protocol.purifier"),
        ({"attacker_sees": ["jpg"]}, "'jpg' cannot be found"),
        ({"controls": {"pgd": Brightness(1)}}, "for one of them only"),
    ],
)
def test_bad_defences(options, words):
    with pytest.raises(InputError, match=words):
        protocol(**options)


def test_the_compiled_network_of_a_purifier_answers_the_same():
    """With the progress bar's hooks on it, and in the gradient of an attack."""
    answers = []
    for compile in (False, True):
        torch.manual_seed(0)
        network, denoiser = Collector(TinyClassifier()), TinyNoiseNetwork()
        callback = protocol(denoiser, compile=compile)
        trainer(callback, NetworkProgress(callback)).test(Classification(network), Arrays(), verbose=False)
        answers.append(torch.cat(network.seen))
        assert hasattr(denoiser.forward, "_torchdynamo_orig_callable") == compile
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=1e-4)


def test_a_rehearsal_has_nothing_compiled_for_batches_of_its_size(monkeypatch):
    shapes = set()

    def backend(graph, inputs):
        shapes.update(tuple(one.shape) for one in inputs if one.shape[-1:] == (8,))
        return graph.forward

    torch.compiler.reset()  # another size would be compiled for any
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    run(protocol(compile=True), Arrays(batch_size=4))
    assert shapes == {(4, 3, 8, 8)}


def test_a_network_is_compiled_once_however_many_pieces_a_run_has(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda forward: compiled.append(forward) or forward)
    callback = protocol(compile=True)
    for _ in range(2):
        trainer(callback).test(Classification(TinyClassifier()), Arrays(), verbose=False)
    assert len(compiled) == 1
