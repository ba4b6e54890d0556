import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

from dds.models.detectors.detector_losses import batch_loss, image_losses

CLASSES = 3  # and the background
SEEDS = [5, 6, 7]


def backbone(width=8):
    """Build a smooth backbone of stride 8 whose batch norm and dropout betray training mode."""
    body = nn.Sequential(
        nn.Conv2d(3, width, 5, 4, 2),
        BatchNormAct2d(width, act_layer=nn.GELU),
        nn.Dropout2d(0.5),
        nn.Conv2d(width, width, 3, 2, 1),
    )
    body.out_channels = width
    return body


def anchors(*sizes):
    return AnchorGenerator((sizes,), ((0.5, 1.0, 2.0) if len(sizes) > 1 else (1.0,),))


def faster_rcnn():
    return FasterRCNN(
        backbone(),
        min_size=64,
        rpn_anchor_generator=anchors(8, 16),
        rpn_batch_size_per_image=16,
        rpn_post_nms_top_n_train=50,
        box_batch_size_per_image=16,
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        box_head=TwoMLPHead(8 * 9, 16),
        box_predictor=FastRCNNPredictor(16, CLASSES + 1),
    )


def ssd():
    body = backbone()
    body.out_channels = [8]  # of each feature map
    return SSD(body, DefaultBoxGenerator([[2]], scales=[0.2, 0.4]), (64, 64), CLASSES + 1)


ONE_STAGE = {
    "FCOS": lambda: FCOS(backbone(32), CLASSES + 1, min_size=64, anchor_generator=anchors(8)),
    # one of several sizes is drawn in training; in evaluation it is the last
    "RetinaNet": lambda: RetinaNet(
        backbone(), CLASSES + 1, min_size=(32, 48, 64), anchor_generator=anchors(8, 16)
    ),
    "SSD": ssd,
}
DETECTORS = {**ONE_STAGE, "Faster R-CNN": faster_rcnn}


@pytest.fixture(params=DETECTORS)
def detector(request):
    torch.manual_seed(0)
    return DETECTORS[request.param]().eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def targets():
    """Return the objects of three images, the second of which shows none."""
    boxes = torch.tensor([[4.0, 4, 20, 20], [24, 30, 50, 60], [10, 20, 40, 44]])
    labels = torch.tensor([1, 3, 2])
    return [{"boxes": boxes[part], "labels": labels[part]} for part in (slice(2), slice(0), slice(2, 3))]


def own_loss(detector, image, target, seed):
    """Ask the detector itself, in training mode but for what is random or remembers."""
    detector.train()
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d | nn.Dropout2d) or part is detector.transform:
            part.eval()
    torch.manual_seed(seed)
    losses = detector([image], [target])
    detector.eval()
    return sum(losses.values()).item()


def test_losses_are_the_networks_own_on_each_image_alone(detector, images, targets):
    expected = [own_loss(detector, *one) for one in zip(images, targets, SEEDS, strict=True)]
    assert image_losses(detector, images, targets, SEEDS).tolist() == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_each_image_from_its_own_loss_alone(detector, images, targets):
    images.requires_grad_()
    losses = image_losses(detector, images, targets, SEEDS)
    for place, loss in enumerate(losses):
        (gradient,) = torch.autograd.grad(loss, images, retain_graph=True)
        assert gradient[place].any() or loss == 0  # SSD is content with an image without objects
        gradient[place] = 0
        assert not gradient.any()


@pytest.mark.parametrize("kind", ONE_STAGE)  # the others look at regions that move with the image
def test_gradients_agree_with_finite_differences(kind, images, targets):
    torch.manual_seed(0)
    detector = ONE_STAGE[kind]().double().eval().requires_grad_(False)
    for parameter in detector.head.parameters():
        nn.init.normal_(parameter, std=0.1)  # as initialised the loss hardly depends on the image
    images = images.double().requires_grad_()
    (gradient,) = torch.autograd.grad(image_losses(detector, images, targets, SEEDS).sum(), images)
    direction = torch.randn(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (
            image_losses(detector, images + sign * step * direction, targets, SEEDS) for sign in (1, -1)
        )
    slopes = (gradient * direction).sum((1, 2, 3))
    assert ((ahead - behind) / (2 * step)).tolist() == pytest.approx(slopes.tolist(), rel=1e-4)


def test_network_and_random_numbers_are_left_as_they_were(detector, images, targets):
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    random = torch.get_rng_state()
    image_losses(detector, images, targets, SEEDS)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(part.training for part in detector.modules())
    assert all(torch.equal(value, state[name]) for name, value in detector.state_dict().items())
    assert "scores" in detector(list(images))[0]


def test_proposals_follow_from_the_seed(images, targets):
    torch.manual_seed(0)
    detector = faster_rcnn().eval().requires_grad_(False)
    first = image_losses(detector, images, targets, SEEDS)
    torch.manual_seed(9)
    assert torch.equal(image_losses(detector, images, targets, SEEDS), first)
    backwards = image_losses(detector, images.flip(0), targets[::-1], SEEDS[::-1])
    assert torch.equal(backwards.flip(0), first)
    assert not torch.equal(image_losses(detector, images, targets, [1, 2, 3]), first)


def test_a_failure_leaves_the_network_usable(images, targets):
    detector = ONE_STAGE["FCOS"]().eval()
    expected = image_losses(detector, images, targets, SEEDS)
    wrong = [{**target, "labels": target["labels"] + 99} for target in targets]
    with pytest.raises(IndexError):
        image_losses(detector, images, wrong, SEEDS)
    assert not detector.training
    assert torch.equal(image_losses(detector, images, targets, SEEDS), expected)


def test_training_loss_is_that_of_the_batch_in_training_mode(detector, images, targets):
    if isinstance(detector, RetinaNet):
        detector.transform.min_size = (64,)  # draw nothing
    detector.train()
    torch.manual_seed(3)
    expected = sum(detector(list(images), targets).values()).item()
    statistics = detector.backbone[1].num_batches_tracked.clone()
    torch.manual_seed(3)
    assert batch_loss(detector, images, targets).item() == pytest.approx(expected, rel=1e-3)
    assert detector.backbone[1].num_batches_tracked == statistics + 1
    assert all(part.training for part in detector.modules())


def test_frozen_layers_stay_frozen_in_training(detector, images, targets):
    """As with `train_only`, which leaves the detector in evaluation mode but for a part."""
    part = getattr(detector, "head", None) or detector.roi_heads
    part.train()
    running = detector.backbone[1].running_mean.clone()
    assert batch_loss(detector, images, targets) > 0
    assert torch.equal(detector.backbone[1].running_mean, running)
    assert not detector.training
