"""ShapeNetCore's classes: WordNet synset and names, the commonest first; the others serve as keywords of prompts."""

from __future__ import annotations

SHAPENET: dict[str, tuple[str, ...]] = {
    "02691156": ("airplane", "aeroplane", "plane", "jet airliner"),
    "02747177": ("trash bin", "ashcan", "garbage can"),
    "02773838": ("bag", "traveling bag"),
    "02801938": ("basket",),
    "02808440": ("bathtub", "bath"),
    "02818832": ("bed",),
    "02828884": ("bench", "park bench"),
    "02834778": ("bicycle", "bike"),
    "02843684": ("birdhouse",),
    "02871439": ("bookshelf",),
    "02876657": ("bottle",),
    "02880940": ("bowl",),
    "02924116": ("bus", "coach", "school bus", "double-decker"),
    "02933112": ("cabinet",),
    "02942699": ("camera", "photographic camera"),
    "02946921": ("can", "tin can"),
    "02954340": ("cap",),
    "02958343": ("car", "automobile", "sedan", "taxicab", "sports car"),
    "03001627": ("chair",),
    "03046257": ("clock",),
    "03085013": ("computer keyboard", "keypad"),
    "03207941": ("dishwasher",),
    "03211117": ("display", "monitor"),
    "03261776": ("earphone", "headphone"),
    "03325088": ("faucet",),
    "03337140": ("file cabinet",),
    "03467517": ("guitar", "electric guitar"),
    "03513137": ("helmet",),
    "03593526": ("jar",),
    "03624134": ("knife",),
    "03636649": ("lamp",),
    "03642806": ("laptop", "laptop computer"),
    "03691459": ("loudspeaker",),
    "03710193": ("mailbox", "letter box"),
    "03759954": ("microphone",),
    "03761084": ("microwave",),
    "03790512": ("motorcycle", "motorbike", "scooter"),
    "03797390": ("mug",),
    "03928116": ("piano",),
    "03938244": ("pillow",),
    "03948459": ("pistol",),
    "03991062": ("flower pot",),
    "04004475": ("printer",),
    "04074963": ("remote control",),
    "04090263": ("rifle",),
    "04099429": ("rocket",),
    "04225987": ("skateboard",),
    "04256520": ("sofa", "couch"),
    "04330267": ("stove",),
    "04379243": ("table",),
    "04401088": ("telephone", "mobile phone"),
    "04460130": ("tower",),
    "04468005": ("train", "railroad train"),
    "04530566": ("boat", "watercraft", "vessel"),
    "04554684": ("washing machine",),
}
KITTI_NAMES = {  # class in words -> KITTI's spelling, whose sizes and labels it has
    "car": "Car",
    "van": "Van",
    "truck": "Truck",
    "pedestrian": "Pedestrian",
    "person": "Pedestrian",
    "cyclist": "Cyclist",
    "tram": "Tram",
    "train": "Tram",
}
SIZED = {  # class in words -> nuScenes' spelling, where KITTI has no such class
    "bus": "bus",
    "bicycle": "bicycle",
    "motorcycle": "motorcycle",
    "trailer": "trailer",
    "construction vehicle": "construction_vehicle",
}
ON_GROUND = {*KITTI_NAMES, *SIZED}  # never seen from far below


def words_of(name: str) -> str:
    """A class of a data set in words: KITTI's "Car" is "car", nuScenes' "construction_vehicle" two words."""
    spelt = {label: words for words, label in reversed([*KITTI_NAMES.items(), *SIZED.items()])}
    return spelt.get(name, name.lower().replace("_", " "))
