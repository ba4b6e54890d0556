import numpy as np
import pytest
import torch
from PIL import Image

from dds.batch import Relevance
from dds.data.labelled_retrieval import LabelledRetrieval
from dds.errors import InputError

ROWS = [
    "train/milk 1.png,milk,gallery",
    "test/milk.png,milk,query",
    "train/juice.png,juice,gallery",
    "train/distractor.png,oil,gallery",
    "test/juice.png,juice,query",
    "train/milk 2.png,milk,gallery",
]


def write_labels(root, rows=ROWS, header="file,class,role"):
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    for number, row in enumerate(ROWS):
        path = root / row.split(",")[0]
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 40 * number, dtype=np.uint8)).save(path)
    return str(root)


def test_images_of_a_class_are_each_others_positives(tmp_path):
    batch = next(iter(LabelledRetrieval(write_labels(tmp_path), size=(8, 8)).test_dataloader()))
    n, e = Relevance.NEGATIVE, Relevance.EASY
    assert batch["relevance"].tolist() == [[e, n, n, e], [n, e, n, n]]
    assert batch["relevance"].dtype == torch.int8
    assert batch["image"].shape == (2, 3, 8, 8)


def test_the_database_is_the_gallery_in_order(tmp_path):
    database = LabelledRetrieval(write_labels(tmp_path), size=None).database()
    shades = [round(database[index]["image"].max().item() * 255) for index in range(len(database))]
    assert shades == [0, 80, 120, 200]


def test_the_gallery_is_trained_on_with_identities(tmp_path):
    data = LabelledRetrieval(write_labels(tmp_path), batch_size=4)
    batch = next(iter(data.train_dataloader()))
    shade = (batch["image"].amax((1, 2, 3)) * 255).round().long().tolist()
    named = dict(zip(shade, batch["identity"].tolist(), strict=True))
    assert named == {0: 1, 200: 1, 80: 0, 120: 2}  # juice, milk, oil
    assert [query["identity"] for query in (data.load("val")[0], data.load("val")[1])] == [1, 0]


def test_a_query_without_positives_stays_if_its_class_is_known(tmp_path):
    rows = [row.replace("juice.png,juice,gallery", "juice.png,juice,query") for row in ROWS]
    queries = LabelledRetrieval(write_labels(tmp_path, rows)).load("test")
    assert [queries[index]["relevance"].any().item() for index in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        (["a.png,milk,gallery", "b.png,,query"], "some without file, class or role"),
        (["a.png,milk"], "some without file, class or role"),
        ([row.replace("gallery", "index") for row in ROWS], "has the role 'index'"),
        ([*ROWS, "test/oat.png,oat,query"], "has 1 queries whose class no other image has, e.g. 'oat'"),
        ([row.replace("query", "gallery") for row in ROWS], "no class in both the gallery and the queries"),
        ([*ROWS, ROWS[0]], "more than once"),
        ([*ROWS, "train/lost.png,milk,gallery"], r"1 of 7 files do not exist, e\.g\. .*lost\.png"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        LabelledRetrieval(write_labels(tmp_path, rows)).test_dataset()


def test_other_columns(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv has no rows, or some without file"):
        LabelledRetrieval(write_labels(tmp_path, header="name,class,role")).database()


def test_an_absent_table_says_what_to_write(tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv does not exist\. Write"):
        LabelledRetrieval(str(tmp_path)).test_dataset()


def test_real_groceries(shared_data):
    data = LabelledRetrieval(
        str(shared_data / "retrieval" / "grocery_packages"), size=(64, 64), batch_size=124
    )
    queries, database = data.load("test"), data.database()
    assert (len(queries), len(database)) == (124, 248)
    for query in (0, 61, 123):
        positives = torch.nonzero(queries[query]["relevance"] == Relevance.EASY).flatten().tolist()
        folders = {database.paths[place].parent.name for place in positives}
        assert folders == {queries.paths[query].parent.name}
        assert len(positives) == 8
    assert len({sample["identity"] for sample in queries.known}) == 31
    assert database[0]["image"].shape == (3, 64, 64)
