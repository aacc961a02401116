"""The paragraphs in Traditional Chinese (繁體中文): results, methods, limitations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from regard.ablate.digits import mean_and_interval, percent, plain, signed
from regard.ablate.paper.facts import Facts
from regard.ablate.paper.machines import Machines
from regard.ablate.report.power import likely
from regard.ablate.verdict import Judgement, Obstacle, Verdict
from regard.system.translation import translate_into

TITLES = ("結果", "方法", "限制")
BETWEEN, AND = "", "、"
CAPTION = (
    "各變體與基準模型的差異。菱形：成對種子的平均；圓圈：各種子；粗線：該列的信賴區間；細線：所有變體的聯合信賴區間；"
    "灰底：小到不重要的差異。對照組不作判定。"
)
SPLITS = {"train": "訓練", "val": "驗證", "test": "測試"}

UNKNOWN_POWER: Mapping[Obstacle, str] = {
    "untaught": "基準模型幾乎什麼都沒學到，因此無法說明本研究在訓練好的模型之間能偵測到多大的差異。",
    "few_pairs": "完成的配對太少，不足以說明本研究能偵測到多大的差異。",
    "no_spread": "有些差異在每個種子都相同，不知道其變異，因此無法說明本研究能偵測到多大的差異。",
}


def results(facts: Facts) -> list[str]:
    """One sentence per variant, as its verdict is."""
    lines = [_level(facts), *(_result(name, judged, facts) for name, judged in facts.judgements.items())]
    lines += [_beyond(name, judged, facts) for name, judged in facts.beyond.items()]
    lines += [_test(facts)]
    return [line for line in lines if line] or ["沒有可判定的變體。"]


def _level(facts: Facts) -> str:
    if math.isnan(facts.level):
        return ""
    mean = f"（{facts.level_seeds} 個種子的平均）" if facts.level_seeds > 1 else ""
    return f"基準模型在驗證集上的 {facts.metric} 為 {plain(facts.level, 3)}{mean}。"


def _beyond(name: str, judged: Judgement, facts: Facts) -> str:
    numbers, caution = _numbers(judged, facts), _caution("該對照組", judged)
    small = f"，但相差小於有意義的最小差異 {facts.mde:g}" if judged.is_small else ""
    match judged.verdict:
        case Verdict.HELPS:
            return f"{name} 優於其容量對照組{small}（{numbers}）{caution}。"
        case Verdict.HURTS:
            return f"{name} 劣於其容量對照組{small}（{numbers}）{caution}。"
        case Verdict.NO_DIFFERENCE:
            return f"{name} 與其容量對照組相差不到 {facts.mde:g}（{numbers}）。"
        case _:
            return f"無法判定 {name} 與其容量對照組是否有差異（{numbers}）。"


def _test(facts: Facts) -> str:
    found = [f"{name} {signed(mean)} {facts.metric}（{pairs} 個種子）" for name, (mean, pairs) in facts.test.items()]
    return f"在測試集上與基準模型的平均差異為：{'、'.join(found)}。" if found else ""


def _spaced(text: str) -> str:
    """A text inside a Chinese sentence, with a space before it where it begins with a Latin letter or a digit."""
    return f" {text}" if text[:1].isascii() else text


def _result(name: str, judged: Judgement, facts: Facts) -> str:
    numbers = _numbers(judged, facts)
    if judged.reason:
        return f"{name}：無法判定（{numbers}）。"
    small = f"，但小於有意義的最小差異 {facts.mde:g}" if judged.is_small else ""
    caution = _caution("基準模型", judged)
    match judged.verdict:
        case Verdict.HELPS:
            return f"{name} 提升了 {facts.metric}{small}（{numbers}）{caution}。"
        case Verdict.HURTS:
            return f"{name} 降低了 {facts.metric}{small}（{numbers}）{caution}。"
        case Verdict.NO_DIFFERENCE:
            return f"{name} 沒有大於 {facts.mde:g} 的差異（{numbers}）。"
        case _:
            return f"{name}：在此預算下無法判定（{numbers}）。"


def _caution(other: str, judged: Judgement) -> str:
    """What a claim over a model that learned next to nothing is worth."""
    return f"，但{other}幾乎什麼都沒學到（{judged.untaught}）" if judged.untaught else ""


def _numbers(judged: Judgement, facts: Facts) -> str:
    seeds = len(judged.seeds)
    match judged.obstacle:
        case "untaught" | "low":
            return translate_into(judged.low, "zh-TW")
        case "few_pairs":
            return f"完成的成對種子有 {seeds} 組，至少要兩組才有信賴區間"
        case "no_spread":
            return "每個種子的差異都相同到最後一位，因此不知道差異的變異"
    mean, ends = mean_and_interval(judged.mean, judged.interval)
    reach = ends.replace(" to ", " 至 ")
    return f"{mean} {facts.metric}，{percent(1 - facts.alpha)} 信賴區間 {reach}，{seeds} 組成對種子"


def methods(facts: Facts) -> list[str]:
    """What was trained and how it was judged."""
    model = f"{_spaced(facts.base)} " if facts.base else "基準模型"
    if facts.weights:
        model = f"{model.rstrip()}（權重：{facts.weights}）"
    data = f"在{_spaced(facts.data)} 上" if facts.data else ""
    counts = "、".join(f"{SPLITS.get(split, split)} {count:,} 張" for split, count in facts.images.items())
    budget = [*_length(facts)]
    budget += [f"輸入 {facts.imgsz} 像素"] if facts.imgsz else []
    budget += [f"每批 {facts.batch} 張"] if facts.batch else []
    images, each = f"（影像：{counts}）" if counts else "", f"，每次訓練 {'、'.join(budget)}" if budget else ""
    own = "（自帶權重的變體除外）" if facts.has_other_models else ""
    lines = [
        f"以 {facts.seeds} 個種子{data}訓練{model}及其 {len(facts.judgements)} 個變體{images}{each}。",
        _recipe(facts),
        f"成對的兩次訓練共用種子，因此資料順序、資料擴增、共有張量的初始值{own}與預算都相同。"
        if facts.is_of_detectors
        else "成對的兩次訓練共用種子。",
    ]
    if facts.has_gates:
        lines.append("插入的層都在一開始關閉的閘之後，因此這些變體的起點與基準模型相同。")
    lines += [_controls(facts)]
    if facts.has_noise:
        lines.append("另以不同的影像順序與資料擴增重新訓練基準模型，作為 A/A 對照。")
    lines += _tests(facts)
    lines += _machines(facts.machines)
    return [line for line in lines if line]


def _machines(machines: Machines) -> Iterator[str]:
    """Device and versions; all of them where the runs differ."""
    devices = [device.replace("; precision: ", "，精度：") for device in machines.devices]
    if len(devices) == 1:
        yield f"所有訓練所用的裝置：{devices[0]}。"
    elif devices:
        yield f"並非所有訓練都使用相同的裝置：{'；'.join(devices)}。"
    versions = [version.replace(", ", "、") for version in machines.versions]
    if len(versions) == 1:
        yield f"{'軟體' if machines.is_of_runs else '研究開始時的軟體'}：{versions[0]}。"
    elif versions:
        yield f"並非所有訓練都使用相同版本的軟體：{'；'.join(versions)}。"


def _recipe(facts: Facts) -> str:
    changed = "、".join(f"{name} {value}" for name, value in facts.settings.items())
    if not facts.recipe:
        return f"訓練設定：{changed}。" if changed else ""
    own = "（自訂，數值見 study.json）" if facts.has_own_recipe else ""
    return f"訓練配方為 {facts.recipe}{own}{f'，並設定 {changed}' if changed else ''}。"


def _controls(facts: Facts) -> str:
    if not facts.beyond:
        return ""
    is_each = 1 < len(facts.beyond) == len(facts.judgements)
    names = "每個變體" if is_each else f"{'、'.join(facts.beyond)} "
    size = " FLOPs " if facts.matched == "flops" else "參數量"
    kind = f"，即位於同一位置、{size}相近的一般卷積" if facts.is_of_detectors else ""
    return f"{names}另與容量對照組比較{kind}。"


def _tests(facts: Facts) -> list[str]:
    which = "最後一個 epoch " if facts.epoch == "last" else "在驗證集上選出的最佳 epoch "
    compared = f"比較{which}的權重在驗證集上的 {facts.metric}"
    if facts.seeds < 2:
        return [f"{compared}；只有一個種子，不能作檢定，因此無法判定。"]
    return [
        f"{compared}：對種子作雙尾成對 t 檢定，所有變體合計的顯著水準為 "
        f"{percent(facts.alpha)}（Holm 校正）；未拒絕者，再以兩個單尾檢定（同樣校正）檢驗 {facts.mde:g} 以上的差異。",
        "兩者都未拒絕時，結論是無法判定。",
    ]


def _length(facts: Facts) -> Iterator[str]:
    """How long each run was, by the budget that was given."""
    least, most = facts.epochs
    epochs = f"{least:,} 至 {most:,} 個 epoch，依變體而定" if least < most else f"{most:,} 個 epoch"
    if facts.minutes:
        yield f"{facts.minutes:g} 分鐘，依量測換算成 epoch{f'（{epochs}）' if most else ''}"
    elif facts.samples:
        yield f"{facts.samples:,} 張訓練影像{f'（進位為 {epochs}）' if most else ''}"
    elif most:
        yield epochs


def limitations(facts: Facts) -> list[str]:
    """What the study does not show."""
    data = _spaced(facts.data or "單一資料集")
    lines = [f"本研究只涵蓋{data}、一個基準模型與一種預算，不能推及其他資料、模型或更長的訓練。"]
    if facts.undecided:
        listed = "、".join(facts.undecided)
        lines.append(f"{listed} 無法判定，並不表示沒有效果：既未證明有差異，也未證明沒有差異。")
    if facts.undecided_beyond:
        listed = "、".join(facts.undecided_beyond)
        lines.append(f"{listed} 與容量對照組相比也無法判定：既未證明有差異，也未證明沒有差異。")
    lines += _power(facts)
    if facts.has_intervals:
        lines.append("信賴區間反映種子的選擇，不反映影像的選擇。")
    if facts.epoch == "best":
        lines.append("所測的 epoch 是在驗證集上選出的，因此所有數值都略為偏高。")
    test = "測試集只在判定之後評估一次，不參與判定。"
    lacks = "沒有測試集" if facts.has_no_test else "沒有評估測試集"
    lines.append(test if facts.test else f"{lacks}：所有數字都來自參與決策的驗證集。")
    if facts.failed:
        lines.append(f"有 {facts.failed} 次訓練失敗；其配對不計入，其餘未必是公平的樣本。")
    if facts.without_value:
        lines.append(
            f"有 {facts.without_value} 次完成的訓練，{facts.metric} 不是有限的數（例如訓練發散）；"
            "其配對不計入，其餘未必是公平的樣本。"
        )
    if mixed := facts.machines.mixed_pairs:
        lines.append(f"有 {mixed} 組配對的兩次訓練使用了不同的裝置或軟體，其差異可能部分來自於此。")
    if facts.unfinished:
        lines.append(f"尚有 {facts.unfinished} 次訓練未完成，判定只是暫時的。")
    return [*lines, *(f"注意：驗證集與訓練集有重疊（{line}）。" for line in facts.overlap)]


def _power(facts: Facts) -> list[str]:
    """What the study would detect, or why that is unknown."""
    power, pairs = facts.power, facts.power.pairs
    if power.obstacles:
        return [UNKNOWN_POWER[obstacle] for obstacle in power.obstacles]
    fewest = "（變體中最少的）" if pairs < facts.seeds else ""
    return [
        f"以成對差異的合併標準差 {plain(power.sd, significant=2)}（自由度 {power.freedom}）估計，"
        f"{pairs} 組成對種子{fewest}偵測到 {facts.mde:g} {facts.metric} "
        f"的真實差異的機率{likely(power.power, '約為 ', '不到 ', '超過 ')}。"
    ]
