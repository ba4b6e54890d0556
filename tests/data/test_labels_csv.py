import pytest

from dds.data.labels_csv import read_labels
from dds.errors import InputError


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("wnid,class_index,file\nn1,7,a.jpg\n\nn2,0,sub/b.jpg\n", encoding="utf-8-sig")
    assert read_labels(path) == (["a.jpg", "sub/b.jpg"], [7, 0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.jpg,1\n", r"has the columns \['file', 'label'\]; expected file and class_index"),
        ("", "has the columns None"),
        (
            "file,class_index\na.jpg,1\nb.jpg,tench\n",
            "line 3: class_index is 'tench'; expected a whole number",
        ),
        ("file,class_index\na.jpg,-1\n", "line 2: class_index is '-1'"),
        ("file,class_index\na.jpg\n", "line 2: class_index is None"),
        ("file,class_index\na.jpg,1\na.jpg,2\n", r"names 1 images more than once, e\.g\. a\.jpg"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / "labels.csv")
