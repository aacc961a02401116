# %% [en]
# # Attention in a detector
#
# In this notebook you insert self-attention into a small detector, see that nothing else changes, train it, look at its
# detections and at what the new layer attends to, and continue a run that was interrupted. It runs on a CPU in a few
# minutes. The data are drawn on the fly: in each scene one object has another colour than the rest, and only the other
# objects tell which one is odd. Nothing is downloaded but the package.
# %% [zh-TW]
# # 在偵測器裡加入注意力
#
# 在這份筆記本裡，你會把自注意力（self-attention）插入一個小型偵測器，確認其他部分完全沒有改變，接著訓練它，看看它偵測到什麼、新的一層注意到哪裡，並且接續一次被中斷的訓練。只用 CPU 也只要幾分鐘。資料是即時畫出來的：每張圖裡有一個物件的顏色與其他物件不同，必須看到其他物件才知道是哪一個。除了套件本身，不會下載任何東西。
# %%
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("regard") is None:  # in Colab
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "regard"])

import regard

SHORT = bool(os.environ.get("REGARD_NOTEBOOK_SHORT"))  # a test of this notebook
EPOCHS, IMAGES = (1, 16) if SHORT else (8, 1000)
DATA = f"synthetic:context?train={IMAGES}&val={IMAGES // 4}&test=0"
# %% [en]
# ## 1. A model, and its layers
#
# Each layer has a name. `regard.load` also takes `yolov5n`, `yolo11n` and other names, a YAML, or a `.pt` of YOLOv5 or
# Ultralytics, which is read without running it.
# %% [zh-TW]
# ## 1. 模型與它的每一層
#
# 每一層都有名字。`regard.load` 也接受 `yolov5n`、`yolo11n` 等名稱、YAML 檔，或 YOLOv5 與 Ultralytics 的 `.pt` 檔；讀取時不會執行檔案裡的程式。
# %%
model = regard.load("odd-one-out")
model.summary(128)
# %% [en]
# ## 2. Insert attention
#
# The new layer f is put behind a gate, y = x + g (f(x) - x), which is closed at the start: g = 0. So the outputs are the
# same as before, bit for bit, and training decides how far the gate opens.
# %% [zh-TW]
# ## 2. 插入注意力
#
# 新的一層 f 放在閘（gate）後面：y = x + g (f(x) - x)。一開始 g = 0，閘是關著的，所以輸出與原本的模型一個位元都不差；閘要開多大，由訓練決定。
# %%
import torch

edited = regard.insert(model, "TransformerBlock", after="p4", options={"num_heads": 4, "pos_embed": "sinusoidal"})
image = torch.rand(1, 3, 128, 128)
assert torch.equal(edited(image).boxes, model(image).boxes)
edited.summary(128)
# %% [en]
# What does it cost? FLOPs are counted, times are measured on this machine.
# %% [zh-TW]
# 成本是多少？FLOPs 是算出來的，時間則是在這台機器上實際量的。
# %%
regard.cost(edited, imgsz=128, repeats=50)
# %% [en]
# ## 3. Train
#
# The folder keeps weights, `results.csv`, settings and, without `plots=False`, plots. In Colab, mount Google Drive and
# name a folder there; you can also interrupt the cell: the next section continues the run. The recipe is that of
# `regard demo`, with which a few epochs are enough to find the objects from random weights; on your own data, start
# without it. They may not be enough to learn which object is odd: see section 5.
# %% [zh-TW]
# ## 3. 訓練
#
# 資料夾裡會留下權重（weights）、`results.csv` 與設定；沒有 `plots=False` 時，還有圖表。在 Colab 裡可以掛載 Google Drive，把資料夾設在那裡。這一格也可以中途停止：下一節會接續訓練。訓練配方（recipe）與 `regard demo` 相同，從隨機權重開始，幾個 epoch 就足以找到物件；用自己的資料時，先不要用它。但不一定足以學會哪個物件與眾不同，見第 5 節。
# %%
from regard.demo import RECIPE

settings = {"epochs": EPOCHS, "imgsz": 128, "batch": 16, "recipe": RECIPE, "device": "auto", "plots": False}
run = regard.train(edited, DATA, folder="runs/attention", **settings)
run.metrics
# %% [en]
# The gates after training, layer by layer:
# %% [zh-TW]
# 訓練之後，每一個閘的值：
# %%
run.gates
# %% [en]
# ## 4. Continue a run
#
# `regard.resume` continues after the last finished epoch, here with one epoch more. After a lost connection, give it the
# folder, also on another machine; `data=` if the data are in another place there.
# %% [zh-TW]
# ## 4. 接續訓練
#
# `regard.resume` 從最後一個完成的 epoch 接著訓練，這裡再多訓練一個 epoch。斷線之後，只要給它資料夾就可以繼續，換一台機器也行；資料換了地方，就用 `data=` 指定。
# %%
run = regard.resume("runs/attention", epochs=EPOCHS + 1)
run.metrics
# %% [en]
# ## 5. Detections
#
# Training this short shows that a model can be edited, trained and used, not how good it becomes. The boxes are in place
# soon; the class is the hard part. The new layer has to learn from random weights, through a gate that is closed at the
# start, to compare the objects. A few epochs may not be enough for that: all objects, the odd one too, are then called
# `ordinary`, and AP50 stays near 0.5 although the boxes are right. The program then works as it should, and nothing
# follows about attention. The table of metrics above has AP of each class. `regard demo` inserts the layer without a
# gate, which suits training from random weights, and repeats it with three seeds.
# %% [zh-TW]
# ## 5. 偵測結果
#
# 這麼短的訓練只能說明模型可以編輯、訓練與使用，不能說明它最後會有多好。方框很快就會準確，難的是類別：新的一層從隨機權重開始，又在一道一開始關著的閘後面，要學會比較各個物件。幾個 epoch 可能不夠，這時所有物件（包括與眾不同的那一個）都會被稱為 `ordinary`，方框雖然正確，AP50 仍停在 0.5 左右。這不是程式出錯，也不能用來評斷注意力的好壞。上面的指標表列出每個類別的 AP。`regard demo` 插入這一層時不加閘，這比較適合從隨機權重開始的訓練，並且用三個種子重複訓練。
# %%
from regard.data.synthetic import scene

picture = scene(0, "val", 3).read()
found = regard.predict(run.model, picture, imgsz=128, conf=0.1)
found
# %% [en]
# ## 6. What the layer attends to
#
# Brighter cells got more weight from the query, which is the centre of the image unless you name a point.
# %% [zh-TW]
# ## 6. 這一層注意到哪裡
#
# 越亮的格子，查詢（query）給它的權重越大。沒有指定位置時，查詢是影像的中心。
# %%
regard.attend(run.model, picture, layer="p4.transformerblock", imgsz=128)
# %% [en]
# ## 7. Does it improve AP?
#
# One run cannot tell: the next notebook, `ablation.ipynb`, compares pairs of runs and states a verdict.
# %% [zh-TW]
# ## 7. AP 真的提高了嗎？
#
# 一次訓練無法回答這個問題。下一份筆記本 `ablation.zh-TW.ipynb` 會比較成對的訓練，並給出判定（verdict）。
