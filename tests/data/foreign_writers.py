"""Writers of each foreign format, for two small images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 131, 97
BOXES = {"a": [("dog", 2, 3, 19, 41), ("cat", 5, 7, 113, 71)], "b": [("cat", 11, 13, 37, 89)]}
"""Class, left, top, right and bottom in pixels."""


def write_json(file: Path, content: Any) -> None:
    write_text(file, json.dumps(content))


def write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def table(file: Path, header: str, row: Callable[..., tuple[Any, ...]]) -> None:
    text = io.StringIO()
    rows = [row(stem, *box) for stem, boxes in BOXES.items() for box in boxes]
    csv.writer(text).writerows([*([header.split(",")] if header else []), *rows])
    write_text(file, text.getvalue())


def labelme(root: Path) -> None:
    for stem, boxes in BOXES.items():
        shapes = [
            {"label": n, "points": [[r, t], [x, b]], "shape_type": "rectangle"} for n, x, t, r, b in boxes
        ]  # any two opposite corners
        sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        write_json(
            root / f"{stem}.json", {"imageData": None, **sizes, "imagePath": f"..\\x\\{stem}.jpg", "shapes": shapes}
        )


def labelme_polygons(root: Path) -> None:
    for stem, boxes in BOXES.items():
        shapes = [
            {"label": n, "points": [[x, t], [r, (t + b) / 2], [x + 1, b]], "shape_type": "polygon"}
            for n, x, t, r, b in boxes
        ]
        write_json(root / f"json/{stem}.json", {"shapes": shapes, "imagePath": f"old-{stem}.png"})


def via(root: Path) -> None:
    regions = {
        stem: [
            {
                "shape_attributes": {"name": "rect", "x": x, "y": t, "width": r - x, "height": b - t},
                "region_attributes": {"colour": "red", "class": n},
            }
            for n, x, t, r, b in boxes
        ]
        for stem, boxes in BOXES.items()
    }
    images = {f"{stem}99": {"filename": f"{stem}.png", "regions": own} for stem, own in regions.items()}
    write_json(root / "project.json", {"_via_settings": {}, "_via_img_metadata": images})


def via_1(root: Path) -> None:
    content = {
        stem: {
            "filename": f"{stem}.png",
            "regions": {
                str(k): {
                    "shape_attributes": {"name": "polygon", "all_points_x": [x, r, x], "all_points_y": [b, b, t]},
                    "region_attributes": {"type": {n: True, "other": False}},
                }
                for k, (n, x, t, r, b) in enumerate(boxes)
            },
        }
        for stem, boxes in BOXES.items()
    }
    write_json(root / "via.json", content)


def via_csv(root: Path) -> None:
    def row(stem: str, n: str, x: int, t: int, r: int, b: int) -> tuple[Any, ...]:
        shape = {"name": "ellipse", "cx": (x + r) / 2, "cy": (t + b) / 2, "rx": (r - x) / 2, "ry": (b - t) / 2}
        return f"{stem}.png", 7, "{}", 1, 0, json.dumps(shape), json.dumps({"name": n})

    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    table(root / "via.csv", header, row)


def _percent(x: int, t: int, r: int, b: int) -> dict[str, float]:
    box = {"x": x / WIDTH, "y": t / HEIGHT, "width": (r - x) / WIDTH, "height": (b - t) / HEIGHT}
    return {key: 100 * value for key, value in box.items()}


def label_studio(root: Path) -> None:
    tasks = [
        {
            "data": {"image": f"/data/upload/3/0a1b2c3d-{stem}.png"},
            "annotations": [
                {"was_cancelled": True, "result": [{"value": {"choices": ["x"]}}]},
                {"result": [{"value": {**_percent(*box), "rotation": 0, "rectanglelabels": [n]}} for n, *box in boxes]},
            ],
        }
        for stem, boxes in BOXES.items()
    ]
    write_json(root / "export.json", tasks)


def label_studio_min(root: Path) -> None:
    tasks = [
        {
            "image": f"/data/local-files/?d=pets%2F{stem}.png",
            "label": [
                {  # turned by a right angle around its upper left corner, so width and height change places
                    "x": 100 * r / WIDTH,
                    "y": 100 * t / HEIGHT,
                    "width": 100 * (b - t) / WIDTH,
                    "height": 100 * (r - x) / HEIGHT,
                    "rotation": 90,
                    "rectanglelabels": [n],
                    "original_width": WIDTH,
                    "original_height": HEIGHT,
                }
                for n, x, t, r, b in boxes
            ],
        }
        for stem, boxes in BOXES.items()
    ]
    write_json(root / "min.json", tasks)


def create_ml(root: Path) -> None:
    images = [
        {
            "image": f"{stem}.png",
            "annotations": [
                {"label": n, "coordinates": {"x": (x + r) / 2, "y": (t + b) / 2, "width": r - x, "height": b - t}}
                for n, x, t, r, b in boxes
            ],
        }
        for stem, boxes in BOXES.items()
    ]
    write_json(root / "_annotations.createml.json", images)


def supervisely(root: Path) -> None:
    write_json(root / "meta.json", {"classes": [{"title": "cat"}, {"title": "dog"}]})
    for stem, boxes in BOXES.items():
        objects = [
            {"classTitle": n, "points": {"exterior": [[x, t], [r, b]], "interior": []}} for n, x, t, r, b in boxes
        ]
        write_json(root / f"ann/{stem}.png.json", {"size": {"height": HEIGHT, "width": WIDTH}, "objects": objects})


def hugging_face(root: Path) -> None:
    rows = [
        {
            "file_name": f"{stem}.png",
            "objects": {"bbox": [[x, t, r - x, b - t] for _, x, t, r, b in boxes], "category": [n for n, *_ in boxes]},
        }
        for stem, boxes in BOXES.items()
    ]
    write_text(root / "metadata.jsonl", "\n".join(map(json.dumps, rows)))


def cvat(root: Path) -> None:
    shapes = {
        "a": '<box label="dog" xtl="2" ytl="3" xbr="19" ybr="41"/><polygon label="cat" points="5,7;113,9;7,71"/>',
        "b": '<tag label="good"/><ellipse label="cat" cx="24" cy="51" rx="13" ry="38"/>',
    }
    images = (f'<image name="d/{s}.png" width="{WIDTH}" height="{HEIGHT}">{own}</image>' for s, own in shapes.items())
    write_text(root / "annotations.xml", f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


def tensorflow(root: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    table(root / "labels.csv", header, lambda s, n, *box: (f"{s}.png", WIDTH, HEIGHT, n, *box))


def open_images(root: Path) -> None:
    def row(stem: str, n: str, x: int, t: int, r: int, b: int) -> tuple[Any, ...]:
        return (
            stem,
            "xclick",
            {"dog": "/m/0bt9lr", "cat": "/m/01yrx"}[n],
            1,
            x / WIDTH,
            r / WIDTH,
            t / HEIGHT,
            b / HEIGHT,
            0,
        )

    table(root / "boxes.csv", "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf", row)
    write_text(root / "class-descriptions-boxable.csv", "/m/01yrx,cat\n/m/0bt9lr,dog\n")


def retina_net(root: Path) -> None:
    table(root / "annotations.csv", "", lambda s, n, *box: (f"data/{s}.png", *box, n))


def make_sense(root: Path) -> None:
    header = "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height"

    def row(stem: str, n: str, x: int, t: int, r: int, b: int) -> tuple[Any, ...]:
        return n, x, t, r - x, b - t, f"{stem}.png", WIDTH, HEIGHT

    table(root / "labels.csv", header, row)


def make_sense_without_header(root: Path) -> None:
    table(root / "labels.csv", "", lambda s, n, x, t, r, b: (n, x, t, r - x, b - t, f"{s}.png", WIDTH, HEIGHT))


def sized(root: Path) -> None:
    table(root / "labels.csv", "image,x,y,w,h,label", lambda s, n, x, t, r, b: (f"{s}.png", x, t, r - x, b - t, n))


def sized_by_corner(root: Path) -> None:
    def row(stem: str, n: str, x: int, t: int, r: int, b: int) -> tuple[Any, ...]:
        return n, f"{stem}.png", r - x, b - t, x, t

    table(root / "labels.csv", "Class,File Name,Width,Height,x_min,y_min", row)


def semicolons(root: Path) -> None:
    text = "\n".join(f"data\\{s}.png;{x};{t};{r};{b};{n}" for s, own in BOXES.items() for n, x, t, r, b in own)
    write_text(root / "labels.csv", f"image;left;top;right;bottom;label\n{text}\n")


def wheat(root: Path) -> None:
    def row(stem: str, n: str, x: int, t: int, r: int, b: int) -> tuple[Any, ...]:
        return stem, WIDTH, HEIGHT, f"[{x}.0, {t}.0, {r - x}.0, {b - t}.0]", n

    table(root / "train.csv", "image_id,width,height,bbox,class", row)


def keras_yolo(root: Path) -> None:
    numbers = {"cat": 0, "dog": 1}
    lines = [
        " ".join([f"{stem}.png", *(f"{x},{t},{r},{b},{numbers[n]}" for n, x, t, r, b in boxes)])
        for stem, boxes in BOXES.items()
    ]
    write_text(root / "_annotations.txt", "\n".join(lines))
    write_text(root / "_classes.txt", "cat\ndog\n")


def dota(root: Path) -> None:
    for stem, boxes in BOXES.items():
        rows = [f"{x} {t}.0 {r} {t} {r} {b} {x} {b} {n} 1" for n, x, t, r, b in boxes]
        write_text(root / f"labelTxt/{stem}.txt", "\n".join(["imagesource:GoogleEarth", "gsd:0.5", *rows]))


def kitti(root: Path) -> None:
    for stem, boxes in BOXES.items():
        rows = [f"{n} 0.00 0 -1.5 {x}.00 {t} {r} {b} 1 1 1 0 0 0 0" for n, x, t, r, b in boxes]
        write_text(root / f"label_2/{stem}.txt", "\n".join(rows))


FORMATS = (
    *(labelme, labelme_polygons, via, via_1, via_csv, label_studio, label_studio_min, create_ml, supervisely),
    *(hugging_face, cvat, tensorflow, open_images, retina_net, make_sense, make_sense_without_header, sized),
    *(sized_by_corner, semicolons, wheat, keras_yolo, dota, kitti),
)
