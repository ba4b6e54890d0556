import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from dds.batch import Relevance
from dds.data.revisited import RevisitedRetrieval
from dds.errors import InputError


def content():
    return {
        "imlist": [f"all_souls_{number:06d}" for number in range(6)],
        "qimlist": ["magdalen_000058", "all_souls_000013"],
        "gnd": [
            {"bbx": [10.0, 5.0, 50.0, 35.0], "easy": [4, 1], "hard": [0], "junk": [5]},
            {"bbx": [0, 0, 60, 40], "easy": np.array([], dtype=int), "hard": np.array([2]), "junk": []},
        ],
    }


def write_revisited(root, gnd=None):
    gnd = gnd or content()
    (root / "jpg").mkdir()
    for number, name in enumerate(content()["imlist"] + content()["qimlist"]):
        Image.fromarray(np.full((40, 60, 3), 30 * number, dtype=np.uint8)).save(root / "jpg" / f"{name}.jpg")
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(gnd))
    return str(root)


def test_queries_are_cropped_and_graded(tmp_path):
    queries = RevisitedRetrieval(write_revisited(tmp_path)).load("test")
    assert [queries[index]["image"].shape for index in (0, 1)] == [(3, 30, 40), (3, 40, 60)]
    n, j, e, h = Relevance.NEGATIVE, Relevance.JUNK, Relevance.EASY, Relevance.HARD
    assert queries[0]["relevance"].tolist() == [h, e, n, n, e, j]
    assert queries[1]["relevance"].tolist() == [n, n, h, n, n, n]
    assert queries[0]["relevance"].dtype == torch.int8
    assert queries[1]["image"].mean().item() == pytest.approx(210 / 255, abs=0.01)


def test_the_database_is_in_the_order_of_its_list(tmp_path):
    database = RevisitedRetrieval(write_revisited(tmp_path), size=30).database()
    assert len(database) == 6
    assert database[3]["image"].shape == (3, 20, 30)
    assert [round(database[index]["image"].mean().item() * 255) for index in range(6)] == list(
        range(0, 180, 30)
    )


def test_batches(tmp_path):
    root = write_revisited(tmp_path)
    assert [batch["relevance"].shape for batch in RevisitedRetrieval(root).test_dataloader()] == [(1, 6)] * 2
    batch = next(iter(RevisitedRetrieval(root, size=(32, 32), batch_size=2).test_dataloader()))
    assert batch["image"].shape == (2, 3, 32, 32)
    assert [len(batch["image"]) for batch in RevisitedRetrieval(root, batch_size=2).test_dataloader()] == [
        1,
        1,
    ]


def test_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match="no training images"):
        RevisitedRetrieval(write_revisited(tmp_path)).train_dataloader()


def change_query(**entries):
    changed = content()
    changed["gnd"][0].update(entries)
    return changed


@pytest.mark.parametrize(
    ("gnd", "message"),
    [
        ([1, 2], "does not hold imlist, qimlist and gnd"),
        ({"imlist": [], "qimlist": []}, "does not hold imlist"),
        ({**content(), "gnd": content()["gnd"][:1]}, "has 2 queries but ground truth for 1"),
        ({**content(), "gnd": [{"ok": [1], "junk": []}] * 2}, "lacks a bbx .* query magdalen_000058"),
        ({**content(), "gnd": [3, 4]}, "is of another form"),
        (change_query(bbx=[1, 2, 3]), "lacks a bbx of four numbers"),
        (change_query(easy=[6]), "names image 6, of 6 counted from 0"),
        (change_query(junk=[-1]), "names image -1"),
        (change_query(easy=["a"]), "is of another form"),
        (change_query(junk=[4]), "gives an image two grades for the query magdalen_000058"),
        ({**content(), "qimlist": ["a", "b"]}, r"2 of 2 files do not exist, e\.g\. .*jpg/a\.jpg"),
    ],
)
def test_ground_truth_that_does_not_fit(tmp_path, gnd, message):
    with pytest.raises(InputError, match=message):
        RevisitedRetrieval(write_revisited(tmp_path, gnd)).test_dataset()


def test_a_missing_image_of_the_database_is_named(tmp_path):
    root = write_revisited(tmp_path)
    (tmp_path / "jpg" / "all_souls_000003.jpg").unlink()
    with pytest.raises(
        InputError, match=r"1 of 6 files do not exist, e\.g\. .*all_souls_000003\.jpg.*Download"
    ):
        RevisitedRetrieval(root).database()


def test_an_absent_folder_says_what_to_download(tmp_path):
    with pytest.raises(InputError, match=r"0 files gnd_\*\.pkl.*Download the images of Oxford"):
        RevisitedRetrieval(str(tmp_path)).test_dataset()


def test_real_landmarks(shared_data):
    data = RevisitedRetrieval(str(shared_data / "retrieval" / "landmarks"), size=256)
    queries, database = data.load("test"), data.database()
    assert (len(queries), len(database)) == (10, 23)
    for query in (0, 9):
        sample = queries[query]
        assert max(sample["image"].shape) == 256
        grades = sample["relevance"]
        # Each query is in the database itself, as junk; what is easy shows the same landmark by its name.
        (itself,) = torch.nonzero(grades == Relevance.JUNK).flatten().tolist()
        assert (sample["image"].mean() - database[itself]["image"].mean()).abs() < 0.01
        names = [path.stem.rstrip("0123456789_") for path in database.paths]
        same = [name == names[itself] and place != itself for place, name in enumerate(names)]
        assert (grades == Relevance.EASY).tolist() == same
