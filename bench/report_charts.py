"""Charts as SVG, written by hand: they follow the reader's light or dark scheme."""

import math
from xml.sax.saxutils import escape

# class: colour in light, colour in dark
COLOURS = {
    "c-tare": ("#c2410c", "#ff9351"),
    "c-absl": ("#1d4ed8", "#7aa7ff"),
    "c-boost": ("#047857", "#4ed1a1"),
    "c-std": ("#a21caf", "#e48bf0"),
    "c-rust": ("#713f12", "#b98a5b"),
    "c-rust2": ("#ca8a04", "#fde047"),
    "c-crate": ("#0e7490", "#5cc8df"),
    "c-linear": ("#57606a", "#9aa4ae"),
    "c-floor": ("#8c959f", "#6e7781"),
}
SHAPES = {"text": ("#1f2328", "#e6edf3"), "soft": ("#59636e", "#9198a1"),
          "page": ("#ffffff", "#0d1117"), "grid": ("#d8dee4", "#30363d")}
# engine: class and label
ENGINES = {
    "tare": ("c-tare", "tare"),
    "tare_pairs": ("c-tare", "tare, from pairs"),
    "absl_flat_hash_map": ("c-absl", "absl::flat_hash_map"),
    "absl_flat_hash_map_inline": ("c-absl", "absl, offset inline"),
    "boost_unordered_flat_map_xxh3": ("c-boost", "boost flat_map, XXH3"),
    "std_unordered_map_view": ("c-std", "std::unordered_map, view"),
    "rust_hashmap": ("c-rust", "Rust HashMap, SipHash"),
    "rust_hashmap_fx": ("c-rust2", "Rust HashMap, Fx"),
    "rust_safetensors": ("c-crate", "safetensors crate"),
    "linear": ("c-linear", "linear scan"),
    "floor_xxh3_and_line": ("c-floor", "floor: XXH3 + a line"),
    "read_only": ("c-floor", "read the header"),
    "read_and_scan_quotes": ("c-linear", "read, find quotes"),
    "tare_sharded": ("c-tare", "tare, sharded"),
    "tare_read_backing": ("c-tare", "tare, read backing"),
    "cjson_parse": ("c-absl", "cJSON, parse alone"),
}


def scheme(dark):
    of = lambda pair: pair[1 if dark else 0]
    rules = [f"text{{fill:{of(SHAPES['text'])}}}", f".soft{{fill:{of(SHAPES['soft'])}}}",
             f".page{{fill:{of(SHAPES['page'])}}}", f".grid{{stroke:{of(SHAPES['grid'])}}}"]
    for name, pair in COLOURS.items():
        rules.append(f".{name}{{fill:{of(pair)}}}.l-{name}{{stroke:{of(pair)}}}")
    return "".join(rules)


def page(width, height, title, notes, body):
    """A whole drawing; `notes` are lines below the title."""
    font = "ui-sans-serif,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"
    style = (f"text{{font:13px {font}}}.title{{font:600 17px {font}}}.small{{font-size:12px}}"
             ".line{fill:none;stroke-width:2;stroke-linejoin:round}"
             ".bold{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}"
             + scheme(False) + "@media (prefers-color-scheme:dark){" + scheme(True) + "}")
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>", f"<style>{style}</style>",
            f'<rect class="page" width="{width}" height="{height}"/>',
            text(24, 32, title, "title")]
    head += [text(24, 54 + 18 * i, note, "soft") for i, note in enumerate(notes)]
    return "\n".join(head + body + ["</svg>", ""])


def text(x, y, words, classes=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(words)}</text>'


def line(x1, y1, x2, y2):
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def time_label(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:g} {unit}"
    return f"{nanoseconds:g} ns"


def three_figures(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(places, distance, low, high):
    """Moves labels apart that would lie over each other, keeping their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for _ in range(200):
        for i in range(len(moved) - 1):
            overlap = distance - (moved[i + 1] - moved[i])
            if overlap > 0.01:
                moved[i] -= overlap / 2
                moved[i + 1] += overlap / 2
        moved = [min(max(place, low), high) for place in moved]
    spaced = [0.0] * len(places)
    for i, place in zip(order, moved):
        spaced[i] = place
    return spaced


def log_log(title, notes, series, counts):
    """Time over count, both by powers of ten; `series` is {engine: [time or None]}."""
    width, height = 860, 520
    left, right, top, bottom = 76, 210, 40 + 20 * (1 + len(notes)), 50
    times = [t for values in series.values() for t in values if t is not None]
    low = math.floor(math.log10(min(times)) * 2) / 2
    high = math.ceil(math.log10(max(times)) * 2) / 2
    first, last = math.log10(counts[0]), math.log10(counts[-1])
    x_of = lambda c: left + (math.log10(c) - first) / (last - first) * (width - left - right)
    y_of = lambda t: height - bottom - (math.log10(t) - low) / (high - low) * (
        height - bottom - top)
    body = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        for times_power in (1, 2, 5) if high - low < 3.1 else (1,):
            value = 10**power * times_power
            if math.log10(value) <= high + 1e-9:
                body.append(line(left, y_of(value), width - right, y_of(value)))
                body.append(text(left - 10, y_of(value) + 4, time_label(value), "soft end"))
    for count in counts:
        body.append(line(x_of(count), top, x_of(count), height - bottom))
        body.append(text(x_of(count), height - bottom + 20, f"{count:,}", "soft middle"))
    body.append(text((left + width - right) / 2, height - 10, "tensors in the model",
                     "soft middle"))
    ends = []
    for engine in sorted(series, key=lambda e: e == "tare"):  # tare is drawn over the others
        points = [(x_of(c), y_of(t)) for c, t in zip(counts, series[engine]) if t is not None]
        if not points:
            continue
        colour, _ = ENGINES[engine]
        dash = ' stroke-dasharray="5 4"' if engine.startswith("floor") else ""
        bold = ' style="stroke-width:3.5"' if engine == "tare" else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        body.append(f'<polyline class="line l-{colour}" points="{path}"{dash}{bold}/>')
        body += [f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
                 for x, y in points]
        x, y = points[-1]
        if x == x_of(counts[-1]):
            ends.append((engine, (x, y)))
        else:  # beside it the lines of others would go through its label
            body.append(text(x, y - 10, ENGINES[engine][1], f"{colour} middle"))
    places = spread([y for _, (_, y) in ends], 17, top, height - bottom)
    for (engine, (x, y)), place in zip(ends, places):
        colour, label = ENGINES[engine]
        body.append(f'<line class="l-{colour}" x1="{x + 5:.1f}" y1="{y:.1f}" '
                    f'x2="{x + 16:.1f}" y2="{place:.1f}"/>')
        body.append(text(x + 20, place + 4, label, colour + (" bold" if engine == "tare" else "")))
    return page(width, height, title, notes, body)


def bars(title, notes, panels, scale=1, engines=None):
    """Panels of bars, two in a row, each with a scale of its own: [(title, [(engine, value)])].
    Figures are printed divided by `scale`. `engines` is in place of ENGINES."""
    width, column, row_height = 860, 418, 19
    body, y = [], 56 + 18 * (1 + len(notes))
    for first in range(0, len(panels), 2):
        pair = panels[first:first + 2]
        for side, (name, values) in enumerate(pair):
            x = 24 + side * column
            body.append(text(x, y, name, "bold"))
            most = max(value for _, value in values)
            for i, (engine, value) in enumerate(values):
                colour, label = (engines or ENGINES)[engine]
                base = y + 20 + i * row_height
                length = max(value / most * 150, 1.5)
                weight = " bold" if colour == "c-tare" else ""
                body.append(text(x + 162, base, label, "small end" + weight))
                body.append(f'<rect class="{colour}" x="{x + 170:.1f}" y="{base - 11:.1f}" '
                            f'width="{length:.1f}" height="14" rx="2"/>')
                body.append(text(x + 176 + length, base, three_figures(value / scale),
                                 "small" + weight))
        y += 30 + row_height * max(len(values) for _, values in pair) + 14
    return page(width, y - 8, title, notes, body)
