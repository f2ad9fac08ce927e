"""The README.md of a model folder."""

from __future__ import annotations

from typing import Any

from asr.model.recognizer import Recognizer


def percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def chosen(record: dict[str, Any]) -> str:
    """Which weights they are."""
    if record.get("averaged"):
        return f"average of epochs {', '.join(map(str, record['averaged']))}"
    return f"chosen on it: epoch {record.get('best_epoch')}"


def model_card(recognizer: Recognizer) -> str:
    """Markdown: what the model understands, its license, how it was made, how well it does, how to use it."""
    record = recognizer.training_record
    model = recognizer.config
    direction = "bidirectional" if model.bidirectional else "unidirectional"
    layers = f"{model.layers} {direction} {model.cell} layers of {model.hidden_size}"
    lines = [
        f"# {recognizer.name}",
        "",
        record.get("description") or "A speech recognizer made with asr.",
        "",
        "| | |",
        "| --- | --- |",
        f"| encoder | {layers}, time ÷ {model.subsampling} |",
        f"| parameters | {recognizer.parameter_count:,} |",
        f"| audio | {recognizer.sample_rate} Hz (other rates are converted) |",
        f"| tokens | {len(recognizer.tokenizer)} {recognizer.tokenizer.kind}, blank included |",
        f"| normalizer | {recognizer.text.normalizer} |",
        f"| trained on | {record.get('utterances')} utterances, {record.get('hours')} h |",
        f"| training | {record.get('epochs')} epochs, {record.get('minutes')} min on {record.get('device')},"
        f" seed {record.get('seed')} |",
        f"| development WER | {percent(record.get('dev_wer'))} ({chosen(record)}) |",
        f"| license | {record.get('license') or 'not stated'} |",
        "",
    ]
    results = record.get("results") or []
    if results:
        lines += ["## Measured", "", "| test set | WER | 95 % interval | utterances |", "| --- | --- | --- | --- |"]
        for result in results:
            if result["wer"] is None:  # nothing to be heard: false alarms
                rate, interval = f"{result['insertions']} words in {result['audio_s'] / 60:.0f} min", "–"
            else:
                low, high = result["wer_ci95"]
                rate = percent(result["wer"])
                interval = f"{percent(low)} to {percent(high)} ({result['ci_method']}, by {result['ci_unit']})"
            lines.append(f"| {result['set']} | {rate} | {interval} | {result['utterances']} |")
        lines.append("")
    if record.get("limits"):
        lines += ["## Where it fails", "", *[f"- {limit}" for limit in record["limits"]], ""]
    lines += ["## Use", "", "    asr transcribe --model THIS_FOLDER recording.wav", ""]
    if record.get("reproduce"):
        lines += ["## Make it again", "", f"    {record['reproduce']}", ""]
    return "\n".join(lines)
