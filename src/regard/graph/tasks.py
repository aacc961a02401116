"""Tasks other than detection, by the names of heads and models in the packages of YOLOv5 and later."""

from __future__ import annotations

import re

TASKS = (
    (r"(YOLOE)?Seg(ment|mentation)?(26)?|YOLOESeg", "segmentation"),
    (r"Pose(26)?|Keypoint", "pose estimation"),
    (r"OBB(26)?", "rotated-box detection"),
    (r"Classify|Classification", "classification"),
    (r"World(v2)?(Detect)?|YOLOE(Detect)?", "open-vocabulary detection"),
    (r"Depth\w*", "depth estimation"),
    (r"Semantic\w*", "semantic segmentation"),
    (r"RTDETR\w*", "detection by RT-DETR"),
)


def task_of(name: str) -> str | None:
    """The task of a head or of a model's class, if it is known to be no detector of this package.

    Example:
        >>> task_of("YOLOESegment26"), task_of("PoseModel"), task_of("Detect")
        ('segmentation', 'pose estimation', None)
    """
    plain = name.removesuffix("Model")
    return next((task for pattern, task in TASKS if re.fullmatch(pattern, plain)), None)
