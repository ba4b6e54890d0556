import pytest

from dds.errors import InputError
from dds.models.download import cached


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_a_file_is_fetched_once(tmp_path, hub):
    source = tmp_path / "head.pth"
    source.write_bytes(b"weights")
    assert cached(source.as_uri()) == hub / "head.pth"
    source.unlink()
    assert cached(source.as_uri()).read_bytes() == b"weights"


def test_what_cannot_be_fetched_may_be_given_by_path(tmp_path, hub):
    url = (tmp_path / "absent.pth").as_uri()
    with pytest.raises(InputError, match=r"absent\.pth cannot be downloaded.*path instead"):
        cached(url)
    assert not list(hub.iterdir())
