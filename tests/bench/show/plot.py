"""Results as bars: messages a second, CPU and memory, in one picture. Made with Pillow, which pikepdf brings along."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tests.bench.load.result import Result

PANELS = (("rate", "mails/s"), ("cpu", "CPU ms a mail"), ("peak", "peak MB"))
COLOURS = {"ours": ("#9ecae1", "#4292c6", "#084594"), "other": ("#bdbdbd", "#737373", "#252525")}
PANEL_WIDTH, ROW, GROUP_GAP, LEFT, TOP, RIGHT = 480, 20, 26, 190, 76, 80

Cell = tuple[str, int, str]


def draw(middle: Mapping[Cell, Result], path: Path) -> None:
    """Write the PNG. middle: medians by size, sessions, contender."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for (size, sessions, _), each in middle.items():
        groups.setdefault((size, sessions), []).append(each)
    height = TOP + sum(ROW * len(each) + GROUP_GAP for each in groups.values()) + 10
    image = Image.new("RGB", (LEFT + len(PANELS) * PANEL_WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    big, small = ImageFont.load_default(20), ImageFont.load_default(13)
    pen.text((20, 14), "agiris-relay against Postfix, one machine, one run", fill="black", font=big)
    colours = _colours([each.contender for each in middle.values()])
    for number, (name, title) in enumerate(PANELS):
        left = LEFT + number * PANEL_WIDTH
        pen.text((left, TOP - 30), title, fill="black", font=small)
        top = TOP
        for (size, sessions), results in groups.items():
            if number == 0:
                plural = "s" if sessions > 1 else ""
                pen.text((20, top - 2), f"({size}), {sessions} session{plural}", fill="black", font=small)
            highest = max(getattr(each, name) for each in results) or 1
            for row, each in enumerate(results):
                _bar(pen, small, each, name, (left, top + ROW * (row + 1) - 2), highest, colours, labelled=number == 0)
            top += ROW * len(results) + GROUP_GAP
    image.save(path)


def _bar(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    result: Result,
    name: str,
    corner: tuple[int, int],
    highest: float,
    colours: Mapping[str, str],
    *,
    labelled: bool,
) -> None:
    left, top = corner
    value = getattr(result, name)
    width = int(value / highest * (PANEL_WIDTH - RIGHT))
    pen.rectangle((left, top, left + max(1, width), top + ROW - 5), fill=colours[result.contender])
    pen.text((left + width + 6, top - 1), f"{value:.1f}" if value < 100 else f"{value:.0f}", fill="black", font=font)
    if labelled:
        pen.text((40, top - 1), result.contender, fill="black", font=font)


def _colours(names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        kind = "ours" if name.startswith("ours") else "other"
        taken = sum(each in COLOURS[kind] for each in found.values())
        found.setdefault(name, COLOURS[kind][taken % len(COLOURS[kind])])
    return found
