"""Draws `docs/_static/grid.svg`, the conditions of one attack as the code lists them.

From the root of the project: `python docs/_figures/grid.py`.
"""

from html import escape
from pathlib import Path

from dds.models.diffusion.schedule import NoiseLevel
from dds.protocol import NOTHING, Condition, Defence, Plan, Sight, list_conditions

PLACE = Path(__file__).parents[1] / "_static" / "grid.svg"

DRAWS = 3
T50, T145 = Defence("t50", NoiseLevel(50, 0.088)), Defence("t145", NoiseLevel(145, 0.252))
JPEG = Defence("jpeg", random=False, differentiable=False)
COLUMNS = {"no defence": None, "t = 50": T50, "t = 145": T145, "JPEG": JPEG}

SIGHTS = {
    "none": ("the bare task", NOTHING),
    "50": ("t = 50, whatever is in use", Sight("t50", (T50,))),
    "[50, 145]": ("the mean of both levels", Sight("t50+t145", (T50, T145))),
    "same": ("the defence in use", Sight("same")),
    "fixed_noise": ("and its very noise", Sight("fixed_noise")),
}

FILLS = ("#f1f3f5", "#cfe8ff", "#d3f9d8", "#fff3bf", "#e5dbff", "#ffe3e3", "#c5f6fa", "#ffd8a8")
LEFT, TOP, WIDTH, HEIGHT = 220, 64, 174, 62
INK, SOFT = "#1f2933", "#5f6b76"


def plan() -> Plan:
    """Return the work for PGD, as `attacker_sees: [none, 50, [50, 145], same, fixed_noise]` lists it."""
    sights = [sight for _, sight in SIGHTS.values()]
    return Plan.of(list_conditions(["pgd"], sights, [T50, T145, JPEG], DRAWS))


def draw() -> str:
    """Return the figure."""
    work = plan()
    made = {condition: number for number, craft in enumerate(work.crafts) for condition in craft.conditions}
    cells = {condition.key: condition for condition in work.conditions}
    rows = [("clean", "no attacker", "-")]
    rows += [(f"pgd, sees {said}", meaning, sight.name) for said, (meaning, sight) in SIGHTS.items()]
    width, height = LEFT + WIDTH * len(COLUMNS) + 16, TOP + HEIGHT * len(rows) + 84
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Conditions: attack by what the attacker sees by defence</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    lines += [
        _text(LEFT + WIDTH * (n + 0.5), TOP - 14, name, INK, "middle", 600) for n, name in enumerate(COLUMNS)
    ]
    for number, (title, meaning, sees) in enumerate(rows):
        top = TOP + HEIGHT * number
        lines += [_text(16, top + 26, title, INK, weight=600), _text(16, top + 44, meaning, SOFT)]
        for place, defence in enumerate(COLUMNS.values()):
            key = f"{title.split(',')[0]}/{sees}/{defence or 't0'}"
            lines += _cell(LEFT + WIDTH * place, top, key, cells.get(key), made, work)
    images = sum(craft.images for craft in work.crafts[1:])
    legend = (
        "A letter and a colour: an attacked image, made once.",
        f"{len(work.conditions)} conditions need {len(work.crafts) - 1} attacks, and {images} attacked "
        f"images of each image, as who knows the noise attacks each of the {DRAWS} draws.",
        "Where a cell is equal to another, the answer is computed once, too.",
    )
    lines += [_text(16, height - 58 + 20 * n, line, SOFT) for n, line in enumerate(legend)]
    return "\n".join([*lines, "</svg>", ""])


def _cell(
    left: int, top: int, key: str, condition: Condition | None, made: dict[Condition, int], work: Plan
) -> list[str]:
    box = f'x="{left + 3}" y="{top + 3}" width="{WIDTH - 6}" height="{HEIGHT - 6}" rx="4"'
    middle = left + WIDTH / 2
    if condition is None:
        return [
            f'<rect {box} fill="none" stroke="#adb5bd" stroke-dasharray="4 3"/>',
            _text(middle, top + 26, "= pgd/none/t0", SOFT, "middle"),
            _text(middle, top + 44, "nothing to see", SOFT, "middle"),
        ]
    number = made[condition]
    craft = work.crafts[number]
    shared = next(alike for alike in craft.shows.values() if condition in alike)
    first = "" if shared[0] is condition else f", = {shared[0].key}"
    image = (
        "the image"
        if number == 0
        else f"{chr(64 + number)}{f' x {craft.images}' if craft.images > 1 else ''}"
    )
    return [
        f'<rect {box} fill="{FILLS[number % len(FILLS)]}" stroke="#ced4da"/>',
        _text(middle, top + 26, key, INK, "middle", family="ui-monospace, monospace"),
        _text(middle, top + 44, f"{image}{first}", SOFT, "middle"),
    ]


def _text(
    x: float, y: float, said: str, fill: str, anchor: str = "start", weight: int = 400, family: str = ""
) -> str:
    font = f' font-family="{family}" font-size="12"' if family else ""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"{font}>'
        f"{escape(said)}</text>"
    )


if __name__ == "__main__":
    PLACE.write_text(draw())
