import json
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from browser import ask, needs_browser
from conftest import Table
from PIL import Image

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.protocol import NOTHING, Defence, list_conditions
from dds.protocol.defences import Sight
from dds.reports import write_report
from dds.reports.pictures import SIDE, Pictures
from dds.reports.text import headlines, paragraphs
from dds.results import Results
from dds.results.layout import Layout, with_interval
from dds.results.source import gaps, read_run
from dds.results.standing import Comparison
from dds.results.summary import summarise
from dds.runs import RunFolder
from dds.runs.examples import write_examples
from dds.runs.run_folder import SCHEMA
from dds.tasks import Classification

EVIL = '<script>alert("&")$x'
"""An attack's name in the YAML of a stranger."""

DRAWS, IMAGES = 2, (3, 5, 8, 13, 21, 34)
LEVELS = [Defence("t50", NoiseLevel(50, 0.088)), Defence("t145", NoiseLevel(145, 0.252))]
DEFENCES = [*LEVELS, Defence("jpeg", random=False)]
MISSING = f"{EVIL}/same/t145"
CONDITIONS = [
    condition
    for condition in list_conditions([EVIL, "sia"], [NOTHING, Sight("same")], DEFENCES, DRAWS)
    if condition.key != MISSING
]
KEYS = [condition.key for condition in CONDITIONS]
WEIGHTS = {"task": "ab" * 32, "purifier": "cd" * 32}
SHARES = {"clean": 0.9, EVIL: 0.3, "sia": 0.5}


def make_samples():
    random, rows = np.random.default_rng(1), []
    for condition in CONDITIONS:
        for index in IMAGES:
            for draw in range(condition.draws):
                row = {"index": index, "condition": condition.key, "draw": draw}
                row["correct"] = float(random.random() < SHARES[condition.attack])
                rows.append(row | {"predicted": 0.0, "psnr": 30.0, "loss": float(random.random())})
    table = pa.Table.from_pylist(rows)
    return table.set_column(2, "draw", table["draw"].cast(pa.int32()))


def make_examples():
    random = np.random.default_rng(0)
    original = random.integers(20, 230, (2, 12, 12, 3), dtype=np.uint8)
    arrays = {"original": original, "index": np.array([5, 34])}
    for key in KEYS:
        step = 0 if key.startswith("clean") else 8
        arrays[f"attacked:{key}"] = original + np.uint8(step)
        arrays[f"shown:{key}"] = original
        arrays[f"decision:{key}"] = np.array(["class 1", "class 2 (wrong)"])
    return arrays


def make_config():
    config = {
        "task": {"class_path": "dds.tasks.Classification"},
        "data": {"class_path": "dds.data.Scenes"},
        "protocol": {
            "purifier": {"class_path": "dds.purifiers.DiffusionDenoiser"},
            "noise_levels": [0, 50, 145],
            "defences": {"jpeg": {}},
            "attacks": {EVIL: {}, "sia": {}},
            "controls": None,
            "seed": 4,
        },
    }
    head = [f"# weights: {name} {value}" for name, value in WEIGHTS.items()]
    head.append(f"# data: images {len(IMAGES)}")
    return "\n".join([*head, yaml.safe_dump(config)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of six images."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "study" / "a")
    folder.figures.mkdir(parents=True)
    samples = make_samples()
    pa.parquet.write_table(samples, folder.samples)
    write_examples(make_examples(), folder.examples)
    folder.write_text(folder.config, make_config())
    facts = {"versions": {"dds": "0.1.0"}, "weights": WEIGHTS}
    summary = {
        "schema": SCHEMA,
        "task": "Classification",
        "data": "Scenes",
        "images": len(IMAGES),
        "seed": 4,
        "utility": "accuracy",
        "lower_is_better": False,
        **facts,
        "conditions": [
            {**one, "straight_through": one["key"] == "sia/same/jpeg"}
            for one in summarise(Classification, CONDITIONS, Table(samples), None)
        ],
    }
    folder.write_summary(summary)
    write_report(folder, read_run(folder))
    return folder


@pytest.fixture(scope="module")
def page(finished):
    return (finished.path / "report.html").read_text()


@pytest.fixture
def folder(finished, tmp_path):
    """A copy, to be spoiled."""
    shutil.copytree(finished.path, tmp_path / "study" / "a")
    return RunFolder(tmp_path / "study" / "a")


class Page(HTMLParser):
    """Reads a page: its elements, tables and text; complains where elements are not closed in order."""

    EMPTY = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.rows, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append({"value": attributes.get("data-value"), "text": ""})

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1]["text"] += data


def test_the_page_is_whole_small_and_needs_nothing_else(page):
    assert len(page.encode()) < 5_000_000
    for tag, attributes in Page(page).elements:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes[name])
    outside = re.findall(r"https?://[^\s\"'<]*", re.sub(r' xmlns(:\w+)?="[^"]*"', "", page))
    assert outside == []
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_names_inside_are_unique_and_found(page):
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 20
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }


def test_names_of_strangers_are_text(page):
    read = Page(page)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert EVIL in read.text
    assert page.count("<script>") == 1


def test_pictures_and_figures_are_described(page):
    elements = Page(page).elements
    pictures = [attributes for tag, attributes in elements if tag == "img"]
    assert len(pictures) > 20
    assert all(picture["alt"] for picture in pictures)
    drawings = [attributes["aria-label"] for tag, attributes in elements if attributes.get("role") == "img"]
    assert len(drawings) == [tag for tag, _ in elements].count("svg") == 3


def test_every_number_is_in_the_table(page, finished):
    accuracy = pd.read_parquet(finished.samples).groupby("condition").correct.mean()
    rows = {row[0]["text"]: row for row in Page(page).rows if len(row) == 5}
    places = {"t0": 1, "t50": 2, "t145": 3, "jpeg": 4}
    for key in KEYS:
        attack, sees, defence = key.split("/")
        row = rows[attack if sees == "-" else f"{attack}, sees {sees}"]
        assert float(row[places[defence]]["value"]) == pytest.approx(accuracy[key])
        assert row[places[defence]]["text"].startswith(f"{accuracy[key]:.3f}")
    empty = rows[f"{EVIL}, sees same"]
    assert [cell["text"] for cell in empty[1:]].count(
        ""
    ) == 2  # without defence by definition; and what is missing
    assert f"Not run: {EVIL}, sees same on t=145 σ=0.252." in Page(page).text


def test_the_words_hold_the_numbers(page, finished):
    frame = pd.read_parquet(finished.samples)
    accuracy = frame.groupby("condition").correct.mean()
    attacked = accuracy[~accuracy.index.str.startswith("clean")]
    worst = attacked.groupby(attacked.index.str.split("/").str[-1]).min()
    best = worst[["t50", "t145"]].idxmax()
    text = Page(page).text
    assert re.search(rf"the best noise level is t={best[1:]} σ=\S+: accuracy {worst[best]:.3f} \(", text)
    assert re.search(rf"no defence: accuracy {worst['t0']:.3f} \(\S+ to \S+\) under its worst attack", text)
    assert f"Without attack and without defence accuracy is {accuracy['clean/-/t0']:.3f} (" in text
    assert "Network calls and time were not recorded" in text
    assert "straight-through gradients" in text
    assert "weights of the purifier" in text
    assert WEIGHTS["purifier"] in text
    assert "noise_levels:" in text


def test_the_worst_images_come_first_and_those_with_pictures_are_shown(page, finished):
    frame = pd.read_parquet(finished.samples)
    means = frame.groupby(["condition", "index"])[["correct", "loss"]].mean().reset_index()
    clean = means[means.condition == "clean/-/t0"].set_index("index").correct
    bare = means[means.condition.isin([f"{EVIL}/none/t0", "sia/none/t0"])]
    bare = bare.assign(fall=clean[bare["index"]].to_numpy() - bare.correct.to_numpy())
    worst = bare.sort_values(["fall", "loss"], ascending=False).drop_duplicates("index")["index"].tolist()
    section = page[page.index("Behind no defence") :]
    rows = Page(section[section.index("<table>") : section.index("</table>") + 8]).rows[1:]
    assert [int(row[1]["text"]) for row in rows[:5]] == worst[:5]
    assert {5, 34} <= {int(row[1]["text"]) for row in rows}
    assert [int(row[0]["text"]) for row in rows] == sorted(int(row[0]["text"]) for row in rows)
    assert section.split("</table>")[0].count("<img") == 2 * 2


def test_a_notebook_shows_the_table_the_figure_and_where_the_page_is(finished):
    results = Results.read(finished.path)
    shown = results._repr_html_()
    (entry,) = [one for one in results.summary["conditions"] if one["key"] == "sia/same/t50"]
    assert f"<td>{with_interval(entry['metrics']['accuracy'])}</td>" in shown
    names = re.findall(r"<th>([^<]*)</th>", shown)
    assert [name for name in names if name.startswith("sia")] == [
        f"sia, attacker sees {s}" for s in ("none", "same")
    ]
    assert "<script" not in shown
    assert shown.count("<img") == 1
    assert f'href="{finished.report}"' in shown
    assert len(repr(results)) < 200


# Which defence is best


def cell(attack, sees, defence, value):
    t = int(defence[1:]) if defence and defence[0] == "t" else None
    values = {"value": value, "low": value - 0.01, "high": value + 0.01}
    entry = {"key": f"{attack}/{sees}/{defence or 't0'}", "attack": attack, "attacker_sees": sees, "draws": 3}
    entry |= {"defence": defence, "t": t, "sigma": t and t / 1000, "metrics": {"score": values}}
    return entry | {"utility_drop": {**values, "value": 0.0}}


def compare(*attacked, clean=0.8, lower_is_better=False, **recorded):
    defences = dict.fromkeys([None, *(entry["defence"] for entry in attacked)])
    conditions = [*(cell("clean", "-", defence, clean) for defence in defences), *attacked]
    summary = {"conditions": conditions, "utility": "score", "lower_is_better": lower_is_better}
    summary |= {"task": "T", "data": "D", "images": 9, **recorded}
    return summary, Comparison(summary)


def best_of(*attacked, **options):
    return [standing.clean["defence"] for standing in compare(*attacked, **options)[1].ranked(named=False)]


def test_the_worst_of_all_attacks_decides_also_of_those_that_do_not_see_the_defence():
    seen = [cell("pgd", "same", "t10", 0.5), cell("pgd", "same", "t50", 0.4)]
    assert best_of(*seen) == ["t10", "t50"]
    assert best_of(*seen, cell("sia", "none", "t10", 0.3)) == ["t50", "t10"]


def test_a_defence_that_no_attacker_saw_is_not_eligible():
    blind = [cell("pgd", "none", "t10", 0.7), cell("pgd", "t50", "t10", 0.7), cell("pgd", "t50", "t50", 0.2)]
    assert best_of(*blind) == ["t50"]
    summary, comparison = compare(*blind[:2])
    assert "no noise level can be called best" in " ".join(
        paragraphs(summary, comparison)["Which level is best"]
    )


def test_of_errors_the_smallest_is_best():
    errors = [
        cell("pgd", "same", "t10", 3.0),
        cell("pgd", "same", "t50", 2.0),
        cell("pgd", "none", "t10", 1.0),
    ]
    assert best_of(*errors, lower_is_better=True) == ["t50", "t10"]
    _, comparison = compare(*errors, lower_is_better=True)
    assert comparison.attacks_by_sight()["same"] == [("pgd", 2.5)]


def test_says_that_no_level_helps_and_that_intervals_overlap():
    attacked = [
        cell("pgd", "none", None, 0.3),
        cell("pgd", "same", "t10", 0.295),
        cell("pgd", "same", "t50", 0.1),
    ]
    summary, comparison = compare(*attacked)
    _, best, _, none, helps, following = paragraphs(summary, comparison)["Which level is best"]
    assert "t=10 σ=0.010: score 0.295 (0.285 to 0.305) under its worst attack, pgd/same/t10" in best
    assert none.endswith("the intervals overlap, 9 images may not tell the two apart.")
    assert helps == "So no noise level is better than no defence."
    assert following.endswith("pgd/same/t50.")


def test_attacks_are_ranked_over_the_defences_that_all_were_run_on():
    attacked = [
        cell("weak", "same", "t10", 0.4),
        cell("weak", "same", "t50", 0.0),  # not to be compared: strong was not run there
        cell("strong", "same", "t10", 0.1),
    ]
    _, comparison = compare(*attacked)
    assert comparison.attacks_by_sight() == {"same": [("strong", 0.1), ("weak", 0.4)]}
    assert comparison.telling_lines() == [("clean", "-"), ("strong", "same")]


def test_names_the_price_where_it_was_recorded():
    calls = {"purifier": {"forward": 40, "backward": 20}}
    summary, comparison = compare(
        calls=calls, seconds=90.0, purification_calls={"t10": 1, "jpeg": 0, "t50": 1, "ddim": 5}
    )
    price = " ".join(paragraphs(summary, comparison)["What it takes"])
    assert "One purification calls its network once: t10, t50." in price
    assert "5 times: ddim." in price
    assert "jpeg" not in price
    assert "purifier 40 times forward and 20 times backward for each image" in price
    assert "90 s of all processes together, 10 s an image" in price


def test_without_attacks_the_clean_utility_is_all_there_is():
    summary, comparison = compare(cell("steps=1", "same", "t10", 0.4), cell("steps=2", "same", "t10", 0.2))
    assert headlines(summary, comparison) == [("Clean, no defence", "0.800", "score")]
    assert paragraphs(summary, comparison)["Which attack is worst"] == [
        "No attack was compared, besides points of sanity curves and of certified radii."
    ]


# Pictures


def decode(picture):
    return np.array(Image.open(BytesIO(b64decode(picture.uri.split(",")[1]))))


def test_perturbations_are_magnified_as_far_as_they_fit():
    layout = Layout([cell("clean", "-", None, 1), cell("pgd", "none", None, 0), cell("pgd", "same", "t9", 0)])
    original = np.full((1, 16, 16, 3), 100, np.uint8)
    examples = {"original": original, "attacked:clean/-/t0": original}
    examples |= {"attacked:pgd/none/t0": original + 4, "attacked:pgd/same/t9": original - 8}
    pictures = Pictures(examples, layout)
    assert pictures.factor == 15  # 15 x 8 = 120 < 128
    for key, expected in (("pgd/none/t0", 128 + 60), ("pgd/same/t9", 128 - 120)):
        assert np.abs(decode(pictures.picture(0, key, "moved", "")).astype(int) - expected).max() <= 3


def test_large_pictures_are_made_smaller_and_answers_keep_their_colours():
    entry = cell("clean", "-", None, 1)
    mask = np.zeros((1, 300, 200, 3), np.uint8)
    mask[:, 150:] = (255, 127, 14)
    pictures = Pictures({"original": mask, "decision:clean/-/t0": mask}, Layout([entry]))
    shown = decode(pictures.picture(0, entry["key"], "decision", "answer"))
    assert max(shown.shape) == SIDE
    assert {tuple(colour) for colour in shown.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 127, 14)}


# What is missing, and what cannot be used


def write_rows(frame, path):
    pa.parquet.write_table(pa.Table.from_pandas(frame, make_samples().schema, preserve_index=False), path)


def test_a_whole_run_lacks_nothing(finished, page):
    assert gaps(finished, read_run(finished)) == []
    assert "not complete" not in page


def test_what_was_planned_and_has_no_rows_is_said(folder):
    config = (
        folder.config.read_text()
        .replace("- 145", "- 145\n  - 259")
        .replace("  sia: {}", "  sia: {}\n    apgd: {}")
    )
    folder.config.write_text(config)
    rows = pd.read_parquet(folder.samples)
    rows = rows[~((rows.condition == "sia/same/t50") & (rows["index"] < 9))]
    rows = rows[~((rows.condition == "sia/none/t145") & (rows.draw == 1) & (rows["index"] == 3))]
    write_rows(rows, folder.samples)
    assert set(gaps(folder, read_run(folder))) == {
        "attacks of config.yaml without any result: apgd.",
        "noise levels of config.yaml without any result: t259.",
        "sia/same/t50: all rows are there for 3 of 6 images only.",
        "sia/none/t145: all rows are there for 5 of 6 images only.",
    }
    page = write_report(folder, read_run(folder)).read_text()
    assert "sia/same/t50: all rows are there for 3 of 6 images only." in page


def test_an_interrupted_run_says_how_far_it_came(folder):
    rows = pd.read_parquet(folder.samples)
    folder.parts.mkdir()
    write_rows(rows[rows["index"] < 9], folder.parts / "000000003.parquet")
    folder.samples.unlink()
    folder.examples.rename(folder.parts / "000000003.npz")
    summary = read_run(folder)
    assert gaps(folder, summary) == [
        "The run was interrupted: there are rows of 3 of 6 images. --resume goes on with it.",
        "The numbers are of 6 images; there are rows of 3.",
    ]
    assert "rows of 3 of 6 images" in write_report(folder, summary).read_text()
    folder.summary.unlink()
    with pytest.raises(InputError, match=r"no summary\.json, and no plan\.json of an interrupted run"):
        read_run(folder)


def spoil_summary(**changes):
    def spoil(folder):
        summary = json.loads(folder.summary.read_text())
        folder.summary.write_text(json.dumps({k: v for k, v in (summary | changes).items() if v is not None}))

    return spoil


def spoil_rows(folder):
    rows = pd.read_parquet(folder.samples)
    write_rows(rows.assign(condition=rows.condition.str.replace("sia", "square")), folder.samples)


def spoil_entry(folder):
    summary = json.loads(folder.summary.read_text())
    del summary["conditions"][0]["draws"]
    folder.summary.write_text(json.dumps(summary))


def without_clean(folder):
    summary = json.loads(folder.summary.read_text())
    summary["conditions"] = summary["conditions"][1:]
    folder.summary.write_text(json.dumps(summary))


def foreign_examples(folder):
    np.savez(folder.examples, original=np.zeros((1, 8, 8, 3)), **{"shown:square/none/t0": np.zeros(1)})


SPOILT = {
    "another schema": (spoil_summary(schema=99), "schema 99.*reads 1.*evaluate again"),
    "a key lost": (spoil_summary(utility=None), "lacks utility"),
    "a key of a condition lost": (spoil_entry, "lacks conditions.draws"),
    "no clean images": (without_clean, "lacks clean/-/t0"),
    "a list": (lambda folder: folder.summary.write_text("[]"), "holds a list"),
    "cut off": (lambda folder: folder.summary.write_text('{"schema": 1,'), "is damaged"),
    "no config": (lambda folder: folder.config.unlink(), "lacks config.yaml"),
    "no examples": (lambda folder: folder.examples.unlink(), "lacks examples.npz"),
    "no samples": (lambda folder: folder.samples.unlink(), "lacks a whole samples.parquet"),
    "samples cut off": (lambda folder: folder.samples.write_bytes(b"PAR1"), "lacks a whole samples.parquet"),
    "examples cut off": (lambda folder: folder.examples.write_bytes(b"PK"), "examples.npz is damaged"),
    "not samples": (
        lambda folder: pd.DataFrame({"index": ["a"], "draw": ["b"]}).to_parquet(folder.samples),
        "does not hold samples",
    ),
    "not a config": (lambda folder: folder.config.write_text("seed: 4"), "not the configuration of a run"),
    "another seed": (spoil_summary(seed=5), "seed 4 and 5.*more than one run"),
    "another task": (spoil_summary(task="DepthEstimation"), "task Classification and DepthEstimation"),
    "other weights": (spoil_summary(weights={"task": "ef" * 32}), "weights of task abab.* and efef"),
    "samples of another run": (spoil_rows, "samples.*square/.*more than one run"),
    "examples of another run": (foreign_examples, "examples.*square/none/t0"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_folder_that_cannot_be_used_is_refused(folder, fault):
    spoil, words = SPOILT[fault]
    spoil(folder)
    with pytest.raises(InputError, match=words):
        read_run(folder)


def test_a_task_that_a_function_builds_is_no_fault(folder):
    config = folder.config.read_text().replace("dds.tasks.Classification", "theirs.build_task")
    folder.config.write_text(config)
    assert read_run(folder)["task"] == "Classification"


def test_another_folder_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"holds no summary\.json"):
        read_run(RunFolder(tmp_path / "nothing"))


# In a browser


@needs_browser
def test_in_a_browser_the_table_sorts_and_a_phone_need_not_scroll_sideways(page, tmp_path):
    script = """
      const table = document.querySelector("table.cells");
      const column = (n) => [...table.tBodies[0].rows].map((row) => row.cells[n].dataset.value ?? "");
      said.before = column(2);
      table.tHead.rows[0].cells[2].querySelector("button").click();
      said.falling = column(2);
      table.tHead.rows[0].cells[2].querySelector("button").click();
      said.rising = column(2);
      table.tHead.rows[0].cells[3].querySelector("button").click();
      said.last = column(3);
      said.alert = document.querySelectorAll("script").length;
    """
    said = ask(page, script, tmp_path)
    numbers = [float(value) for value in said["before"] if value]
    assert [float(value) for value in said["falling"]] == sorted(numbers, reverse=True)
    assert [float(value) for value in said["rising"]] == sorted(numbers)
    assert said["last"][-1] == ""  # the missing cell
    assert said["width"] <= said["phone"]
    assert (said["broken"], said["alert"]) == (0, 2)


@needs_browser
def test_marks_say_what_they_are_to_pointers_fingers_and_keys(page, finished, tmp_path):
    script = """
      const tip = document.getElementById("tip"), drawing = document.querySelector("#levels .drawing");
      const marks = [...drawing.querySelectorAll(".says")];
      const telling = () => tip.hidden ? null : tip.textContent;
      const at = (kind, mark, aside) => {
        const { left, top } = mark.getBoundingClientRect();
        const place = { clientX: left + aside, clientY: top, bubbles: true };
        drawing.firstElementChild.dispatchEvent(new PointerEvent(kind, place));
        return telling();
      };
      const press = (key) => {
        drawing.parentNode.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        return telling();
      };
      document.documentElement.style.scrollBehavior = "auto";
      said.none = telling();
      said.near = at("pointermove", marks[1], -8);
      said.touched = at("pointerdown", marks[2], 4);
      said.far = at("pointermove", marks[0], -60);
      drawing.parentNode.focus({ focusVisible: true });
      said.focused = telling();
      said.next = press("ArrowRight");
      said.back = press("ArrowLeft");
      const { left, right, top, bottom } = tip.getBoundingClientRect();
      said.inside = left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
      said.escaped = press("Escape");
      said.titles = document.querySelectorAll("svg title").length;
    """
    said = ask(page, script, tmp_path)
    utility = {
        e["key"]: e["metrics"]["accuracy"] for e in json.loads(finished.summary.read_text())["conditions"]
    }
    says = {
        key: f"accuracy {with_interval(utility[key], '95 % interval ')}\nclean, no attacker\n{defence}\n{key}"
        for key, defence in [
            ("clean/-/t0", "no defence"),
            ("clean/-/t50", "t=50 σ=0.088"),
            ("clean/-/t145", "t=145 σ=0.252"),
        ]
    }
    assert [said["near"], said["touched"]] == [says["clean/-/t50"], says["clean/-/t145"]]
    assert [said["focused"], said["next"], said["back"]] == [
        says[f"clean/-/{defence}"] for defence in ("t0", "t50", "t0")
    ]
    assert [said["none"], said["far"], said["escaped"]] == [None] * 3
    assert said["inside"]
    assert said["titles"] == 0  # else the browser's tip comes on top


@needs_browser
def test_on_a_desktop_pictures_can_be_seen_and_grow_and_figures_stand_beside_each_other(page, tmp_path):
    script = """
      const wide = (element) => element.getBoundingClientRect().width;
      const pictures = [...document.querySelectorAll("#images details[open] img")];
      const dialog = document.querySelector("dialog");
      said.small = Math.min(...pictures.map(wide));
      pictures[0].click();
      said.large = dialog.open && wide(dialog.querySelector("img"));
      said.caption = dialog.textContent;
      dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
      said.beside = dialog.textContent;
      dialog.click();
      said.closed = !dialog.open;
      said.alts = pictures.slice(0, 2).map((picture) => picture.alt);
      const box = (id) => document.getElementById(id).getBoundingClientRect();
      const [one, other] = [box("trade-off"), box("levels")];
      said.beneath = other.top - one.top;
      said.used = (other.right - one.left) / innerWidth;
    """
    said = ask(page, script, tmp_path, width=1440)
    assert said["small"] >= 128
    assert said["large"] >= 3 * said["small"]
    assert [said["caption"], said["beside"]] == said["alts"]
    assert said["closed"]
    assert said["beneath"] == 0
    assert said["used"] > 0.9
    assert said["width"] <= said["phone"]
