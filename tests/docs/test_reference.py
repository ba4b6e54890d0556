"""The reference names what is really written and said, and figures are those that their scripts draw."""

import ast
import json
import re
from importlib.util import module_from_spec, spec_from_file_location

import pyarrow.parquet as pq
import pytest
from docs.pages import ROOT

import dds.tasks
from dds.cli import evaluate
from dds.metrics import Resampling
from dds.metrics.condition import MARKS, SHARED

REFERENCE = ROOT / "docs" / "reference"
RUN_FOLDER = (REFERENCE / "run_folder.md").read_text()
SETUPS = ("easy", "medium", "hard")


def section(page, title):
    """Return what stands below a heading, up to the next of its level."""
    return re.split(r"^## ", page.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def names(text):
    """Return what stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def first_columns(text):
    """Return the names in the first column of each table."""
    tables = re.findall(r"^\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [set().union(*(names(row.split("|")[1]) for row in table.splitlines())) for table in tables]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    return run(tmp_path_factory, "--protocol.attacks.pgd.steps=1", "--protocol.draws=2")


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """One image and level, by score and by vote, and attacked."""
    settings = {"images": 1, "draws": 25, "radii": [0.02], "alpha": 0.1, "attack": "true"}
    options = [f"--certificate.{name}={value}" for name, value in settings.items()]
    return run(tmp_path_factory, *options, command=["certify"])


def run(tmp_path_factory, *options, command=()):
    runs = tmp_path_factory.mktemp("runs")
    given = [
        "--config=seg_scenes.yaml",
        "--data.size=32",
        "--data.limit=2",
        "--protocol.noise_levels=[50]",
        "--logger=false",
    ]
    evaluate([*command, *given, *options, f"--runs={runs}", "--name=one", "--show=path"])
    (folder,) = runs.glob("*/one")
    return folder


def test_the_page_of_the_run_folder_names_every_file(evaluated, certified):
    known = names(section(RUN_FOLDER, "Files"))
    for path in (*evaluated.iterdir(), *certified.iterdir()):
        assert (f"{path.name}/" if path.is_dir() else path.name) in known
    for path in certified.glob("figures/*"):
        assert path.stem in known


@pytest.mark.parametrize("file", ["samples.parquet", "votes.parquet", "certificates.parquet"])
def test_the_page_of_the_run_folder_names_every_column(file, evaluated, certified):
    known = names(section(RUN_FOLDER, file))
    if file != "certificates.parquet":  # of the other two, each has columns of the other
        known |= names(section(RUN_FOLDER, "samples.parquet")) | names(section(RUN_FOLDER, "votes.parquet"))
    found = {name for path in (evaluated / file, certified / file) if path.exists() for name in read(path)}
    assert found
    assert found <= known


def read(path):
    return pq.read_schema(path).names


def test_columns_of_certificates_that_the_page_names_are_there(certified):
    (listed,) = first_columns(section(RUN_FOLDER, "certificates.parquet"))
    assert listed == set(read(certified / "certificates.parquet"))


def test_the_page_of_the_run_folder_names_every_key_and_no_other(evaluated, certified):
    runs = [json.loads((folder / "summary.json").read_text()) for folder in (evaluated, certified)]
    certificates = runs[1]["certificates"]
    found = [
        keys(*runs),
        keys(*(condition for one in runs for condition in one["conditions"])),
        keys(certificates),
        keys(*certificates["entries"]),
    ]
    listed = first_columns(section(RUN_FOLDER, "summary.json"))
    assert listed[0] == found[0] | {"missing"}
    assert listed[1:] == found[1:]
    assert keys(certificates["bracket"]) <= names(section(RUN_FOLDER, "summary.json"))


def keys(*mappings):
    return set().union(*mappings)


def test_the_page_of_the_run_folder_names_the_columns_of_classes(evaluated):
    header, *_ = (evaluated / "class_iou.csv").read_text().splitlines()
    named = {name for name in header.split(",") if "/" not in name}
    assert named <= names(section(RUN_FOLDER, "class_iou.csv"))


def test_the_page_of_the_run_folder_names_the_lines_above_the_configuration(evaluated):
    lines = (evaluated / "config.yaml").read_text().splitlines()
    kinds = {line.partition(":")[0] for line in lines if line.startswith("#")}
    assert kinds == {
        name.partition(":")[0] for name in names(section(RUN_FOLDER, "config.yaml")) if name[0] == "#"
    }


@pytest.mark.parametrize("task", ["Classification", "MultiLabelClassification", "SemanticSegmentation"])
def test_the_page_of_metrics_names_those_of_each_task(task):
    known = names((REFERENCE / "metrics.md").read_text())
    assert set(getattr(dds.tasks, task).metrics(Resampling(replicates=0))) <= known


def test_the_page_of_metrics_names_those_of_depth_and_retrieval():
    known = names((REFERENCE / "metrics.md").read_text())
    known |= {name.replace("<setup>", setup) for name in known for setup in SETUPS}
    for task in (dds.tasks.DepthEstimation, dds.tasks.ImageRetrieval):
        assert set(task.metrics(Resampling(replicates=0))) <= known


def test_the_page_of_metrics_names_those_of_all_tasks():
    assert {*SHARED, *MARKS} <= names((REFERENCE / "metrics.md").read_text())


def test_messages_occur_in_the_source():
    said = [text for path in (ROOT / "dds").rglob("*.py") for text in texts(path)]
    page = (REFERENCE / "messages.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) > 60
    messages = [row.split("`")[1] for row in rows]
    assert [message for message in messages if not any(map(pattern_of(message).search, said))] == []


def pattern_of(message):
    """Return what a message of the page looks like in the source; an ellipsis stands for anything."""
    return re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)


def texts(path):
    """Return the texts of a module; in place of a value an ellipsis."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values)


@pytest.mark.parametrize(
    "script", sorted((ROOT / "docs" / "_figures").glob("*.py")), ids=lambda path: path.stem
)
def test_figures_are_those_that_their_scripts_draw(script):
    figure = load(script)
    assert figure.PLACE.read_text() == figure.draw(), f"run: python {script.relative_to(ROOT)}"


def load(script):
    spec = spec_from_file_location(script.stem, script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_of_the_gallery_shows_what_its_command_gives(evaluated, tmp_path, monkeypatch):
    script = load(ROOT / "docs" / "make_gallery.py")
    monkeypatch.setattr(script, "GALLERY", tmp_path)
    monkeypatch.setattr(script, "notes", lambda summary: ["attacks may be weak"])
    page = script.make_page(evaluated).read_text()
    assert page.startswith("# SemanticSegmentation: `seg_scenes`")
    assert "\n## To be read with care\n\n- attacks may be weak\n" in page
    assert "\ndds evaluate --config seg_scenes.yaml --data.limit=2\n" in page
    shown = re.findall(r"\]\((.+?\.webp)\)", page)
    assert "seg_scenes/utility.webp" in shown
    assert all((tmp_path / name).is_file() for name in shown)
    cells = [row.split(" | ")[1:] for row in page.splitlines() if row.startswith("| clean | ")]
    assert [[float(cell.strip(" |")) for cell in row] for row in cells] == [clean(evaluated)]


def clean(folder):
    """Return what a run measured without an attack, as it is rounded on pages."""
    summary = json.loads((folder / "summary.json").read_text())
    entries = [entry for entry in summary["conditions"] if entry["attack"] == "clean"]
    return [round(entry["metrics"][summary["utility"]]["value"], 3) for entry in entries]
