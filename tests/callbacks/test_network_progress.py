from callbacks.test_attack_and_purify import Arrays, protocol, trainer
from conftest import TinyClassifier

from dds.callbacks import NetworkProgress
from dds.tasks import Classification


def test_the_bar_is_full_at_the_end():
    """Three images in batches of two: the last is filled up, and the rehearsals before come on top."""
    callback = protocol()
    progress = NetworkProgress(callback)
    trainer(callback, progress).test(Classification(TinyClassifier()), Arrays(2, images=3), verbose=False)
    (task,) = progress._bar.tasks
    assert task.total == 2 * (callback.cost.task.forward + callback.cost.purifier.forward)
    assert task.completed == task.total
