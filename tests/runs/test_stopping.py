import os
import signal

import pytest

from dds.runs.stopping import listen, stoppable, uncut


@pytest.fixture
def heard():
    """Be a process that handles SIGTERM and SIGUSR2 itself, as submitit does; return what came."""
    came = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(signal.Signals(number)))
    yield came
    for number, does in before.items():
        signal.signal(number, does)


def test_what_the_caller_handles_is_left_to_it(heard):
    with stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(
            signal.SIGUSR2, lambda number, frame: None
        )  # as Lightning puts its own handlers in front
        listen()
        with uncut():
            os.kill(os.getpid(), signal.SIGUSR2)
            assert heard == [signal.SIGTERM]
        assert heard == [signal.SIGTERM, signal.SIGUSR2]
    os.kill(os.getpid(), signal.SIGUSR2)
    assert heard == [signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2]


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGUSR2])
def test_what_nobody_handles_ends_the_process(sent, capsys):
    with pytest.raises(SystemExit) as end, stoppable():
        os.kill(os.getpid(), sent)
    assert end.value.code == 128 + sent
    assert f"Stopped by {sent.name}." in capsys.readouterr().err
