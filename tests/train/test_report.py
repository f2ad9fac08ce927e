"""report.html: its curves are the run's figures, texts from outside stay texts, and it needs nothing from elsewhere."""

import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from helpers.toys import make_recognizer, real_loss, records, run

from asr.evaluate.calibration import decades, number, ticks
from asr.train.report import MAX_POINTS, write_report


class Page(HTMLParser):
    """Tags that were opened and not closed, attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(folder, *lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return write_report(folder).read_text(encoding="utf-8")


def charts(html):
    """Title -> the parsed SVG."""
    svgs = [piece.partition("</svg>")[0] + "</svg>" for piece in html.split("<svg")[1:]]
    parsed = [ElementTree.fromstring("<svg" + svg) for svg in svgs]
    return {svg.get("aria-label"): svg for svg in parsed}


def points(svg, name):
    color = next(text.get("fill") for text in svg.iter("tspan") if text.text.startswith(name))
    curve = next(line for line in svg.findall("polyline") if line.get("stroke") == color)
    return [tuple(map(float, pair.split(","))) for pair in curve.get("points").split()]


def epoch(number, **values):
    return {"kind": "epoch", "step": 10 * number, "epoch": number, "elapsed_s": 60.0 * number} | values


def test_a_real_run_has_a_report_after_every_epoch(tmp_path):
    recognizer = make_recognizer()
    seen, loss = [], real_loss(recognizer)

    def watched(*arguments):
        seen.append((tmp_path / "report.html").exists())
        return loss(*arguments)

    run(tmp_path, recognizer, wrong=[5, 2], loss=watched, epochs=2)
    assert seen == [False] * 3 + [True] * 3
    html = (tmp_path / "report.html").read_text()
    drawn = charts(html)
    assert len(drawn) == 7
    for svg in drawn.values():
        assert "NaN" not in ElementTree.tostring(svg, "unicode")
    assert len(points(drawn["Loss of an utterance"], "steps")) == len(records(tmp_path, "step")) == 6
    assert "Lowest development WER 20.00 %, in epoch 2." in html
    assert "Before the first epoch" not in html


def test_the_report_of_a_fine_tuning_says_where_it_began(tmp_path):
    run(tmp_path, make_recognizer(), wrong=[4, 5, 3], epochs=2, init="first")
    html = (tmp_path / "report.html").read_text()
    assert "Lowest development WER 30.00 %, in epoch 2. Before the first epoch 40.00 %." in html


def test_curves_lie_where_the_figures_say(tmp_path):
    rates = [0.8, 0.4, 0.2, None, 0.1]
    html = page_of(tmp_path, *[epoch(i + 1, dev_wer=rate, dev_cer=0.0) for i, rate in enumerate(rates)])
    svg = charts(html)["Error rates on the development set, %"]
    wer, cer = points(svg, "WER"), points(svg, "CER")
    lines = svg.findall("line")
    texts = svg.findall("text")[: len(lines)]
    levels = {text.text: float(line.get("y1")) for line, text in zip(lines, texts, strict=True)}
    bottom, unit = levels["0"], (levels["0"] - levels["20"]) / 20
    assert [(bottom - y) / unit for _, y in wer] == pytest.approx([80, 40, 20, 10], abs=0.1)
    assert [y for _, y in cer] == [bottom] * 5
    steps = [x for x, _ in wer]
    assert (steps[1] - steps[0]) == pytest.approx((steps[3] - steps[2]) / 2, abs=0.2)  # epoch 4 was not validated
    assert [text.text for text in svg.iter("tspan")] == ["WER 10", "CER 0"]


def test_a_single_point_is_seen(tmp_path):
    [first, again] = points(charts(page_of(tmp_path, epoch(1, lr=0.5)))["Learning rate"], "epochs")
    assert first == again


def test_the_loss_is_drawn_by_its_logarithm(tmp_path):
    svg = charts(page_of(tmp_path, *[epoch(i + 1, loss=loss) for i, loss in enumerate([100.0, 10.0, 1.0])]))
    (_, a), (_, b), (_, c) = points(svg["Loss of an utterance"], "epochs")
    assert b - a == pytest.approx(c - b, abs=0.2)
    assert b > a


def test_texts_from_outside_stay_texts(tmp_path):
    run_folder = tmp_path / "a<b>&c"
    run_folder.mkdir()
    evil = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"
    (run_folder / "config.yaml").write_text(f"description: {evil} é\n", encoding="utf-8")
    skipped = {"kind": "skipped", "step": 3, "why": evil, "utterances": [evil]}
    html = page_of(run_folder, skipped, {"kind": "unreadable", "step": 4, "utterances": [evil]}, epoch(1, loss=1.0))
    page = Page(html)
    assert page.open == []
    assert not {"script", "img", "b"} & set(page.tags)
    assert page.text.count(evil) == 4
    assert "a<b>&c" in page.text
    assert "é" in page.text


def test_nothing_is_fetched_or_run(tmp_path):
    html = page_of(tmp_path, epoch(1, loss=2.0, dev_wer=0.5), {"kind": "step", "step": 5, "loss": 3.0})
    page = Page(html)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert "url(" not in html
    assert "://" not in html


def test_of_a_long_run_no_more_points_than_can_be_seen(tmp_path):
    lines = [{"kind": "step", "step": 50 * i, "loss": 5.0 + i % 2, "lr": 1e-3} for i in range(1, 5000)]
    html = page_of(tmp_path, *lines)
    drawn = points(charts(html)["Loss of an utterance"], "steps")
    assert len(drawn) == MAX_POINTS
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    assert len(html) < 60_000


def test_what_is_missing_or_damaged_is_left_out(tmp_path):
    assert "No epoch is complete yet." in write_report(tmp_path).read_text()
    lines = ['{"kind": "epoch", "step": 1, "ep', "[1]", "null", '{"kind": "epoch", "step": 1}', '{"step": "x"}']
    lines += ['{"kind": "epoch", "step": 2, "epoch": 1, "loss": NaN, "dev_wer": "x", "lr": 1e-3}']
    lines += ['{"kind": "epoch", "step": 3, "epoch": 2, "loss": Infinity, "gradient_norm": 0.0}']
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    (tmp_path / "config.yaml").write_bytes(b"run: \xff\n")
    html = write_report(tmp_path).read_text()
    assert "2 epochs, 3 steps" in html
    assert "Loss of an utterance: nothing yet" in html
    assert "Norm of the gradient: nothing yet" in html
    assert list(charts(html)) == ["Learning rate"]


@pytest.mark.parametrize("top", [0.0, 1e-5, 0.0009, 0.07, 1.0, 5, 99.9, 100, 12345])
def test_axes_from_zero_reach_the_top_in_few_round_steps(top):
    levels = ticks(top)
    assert levels[0] == 0
    assert len(levels) <= 7
    assert levels[-1] >= top * 0.999999
    assert all(float(number(level).replace(",", "")) == pytest.approx(level, rel=1e-9) for level in levels)


@pytest.mark.parametrize(("low", "high"), [(3, 3), (1, 1), (0.002, 0.7), (1, 1e12), (7, 900), (1e-8, 1e9), (99, 101)])
def test_logarithmic_axes_hold_what_is_drawn(low, high):
    levels = decades(low, high)
    assert 2 <= len(levels) <= 10
    assert levels == sorted(levels)
    assert levels[0] <= low * 1.000001
    assert levels[-1] >= high * 0.999999
