_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's category ids in the order that detectors count 80 classes in."""
