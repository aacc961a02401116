# %% [en]
# # Does attention improve AP? An ablation study
#
# In this notebook you compare a detector with and without a layer, over several seeds, and read the verdict. A single
# pair of runs cannot answer the question: the difference between two seeds is often larger than the effect of a layer.
# %% [zh-TW]
# # 注意力真的提高了 AP 嗎？一次消融實驗
#
# 在這份筆記本裡，你會用好幾個種子（seed）比較加入某一層與不加入的偵測器，並讀懂判定。只比較一對訓練是不夠的：兩個種子之間的差異，往往比一層的效果還大。
# %%
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("regard") is None:  # in Colab
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "regard"])

SHORT = bool(os.environ.get("REGARD_NOTEBOOK_SHORT"))  # a test of this notebook
SEEDS, EPOCHS, IMAGES = (2, 1, 16) if SHORT else (3, 5, 1000)
# %% [en]
# ## 1. The plan
#
# Everything is decided before the first run: what is compared, the seeds, the metric, and the smallest difference that
# matters (`mde`). `insert` names the layers and their places. Each variant is compared with the base seed by seed, and
# with plain convolutions of about equal size, the capacity control: more parameters alone may help. The recipe is that of
# `regard demo`, with which five epochs are enough to learn this task.
# %% [zh-TW]
# ## 1. 計畫
#
# 第一次訓練之前，一切就先決定好：比較什麼、用哪些種子、看哪個指標，以及多小的差異才算有意義（`mde`）。`insert` 寫的是要插入的層與位置。每一個變體都與基準（base）逐個種子配對比較，也與參數量相近的一般卷積比較；這個對照組（capacity control）是必要的，因為光是參數變多，結果就可能變好。訓練配方（recipe）與 `regard demo` 相同，五個 epoch 就足以學會這個任務。
# %%
from regard.ablate.plan import make_plan
from regard.demo import RECIPE

plan = make_plan(
    {
        "base": "odd-one-out",
        "data": f"synthetic:context?train={IMAGES}&val={max(IMAGES // 5, 8)}&test=0",
        "insert": ["self-attention=TransformerBlock(num_heads=4, pos_embed=sinusoidal)@p4"],
        "gate": False,
        "seeds": SEEDS,
        "epochs": EPOCHS,
        "batch": 16,
        "imgsz": 128,
        "recipe": RECIPE,
        "metric": "ap50",
        "mde": 0.05,
        "question": "If the whole image decides an object's class, does a layer that sees all of it help?",
    }
)
plan.names
# %% [en]
# ## 2. Run it
#
# Each run is a process of its own. If you interrupt the cell or lose the connection, run it again: finished runs are
# kept, and the others continue.
# %% [zh-TW]
# ## 2. 執行
#
# 每次訓練都是一個獨立的行程（process）。停止這一格或是斷線之後，再執行一次即可：已經完成的訓練會保留，其餘的會接續下去。
# %%
from regard.ablate.study import run_study

study = run_study(plan, "runs/study", processes=1 if SHORT else None)
# %% [en]
# ## 3. The verdict
#
# The interval covers the true difference with a probability of 95 %. "Can't tell" is a result too: this budget cannot
# separate the effect from chance. The line then says how many seeds could, where that can be estimated.
# %% [zh-TW]
# ## 3. 判定
#
# 信賴區間（confidence interval）有 95 % 的機率涵蓋真正的差異。「can't tell」也是一種結果：以這樣的預算，無法把效果與偶然分開；若能估計，那一行也會寫出大約需要多少個種子。
# %%
study
# %% [en]
# ## 4. Single runs
# %% [zh-TW]
# ## 4. 每一次訓練
# %%
{
    variant.name: {seed: round(one.metrics["ap50"], 3) for seed, one in study.finished(variant.name).items()}
    for variant in study.variants
}
# %% [en]
# ## 5. The report
#
# `report.html` in the folder of the study has the forest plot, costs, curves, and all that is needed to repeat the study.
# %% [zh-TW]
# ## 5. 報告
#
# 實驗資料夾裡的 `report.html` 有森林圖（forest plot）、成本、訓練曲線，以及重做這個實驗所需的一切資訊。
# %%
from html import escape

from IPython.display import HTML

report = escape((study.folder / "report.html").read_text(encoding="utf-8"))
HTML(f'<div><iframe srcdoc="{report}" width="100%" height="700" style="border: 0"></iframe></div>')
