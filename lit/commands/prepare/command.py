"""``python -m lit prepare TARGET``: checks a data set, writes synthetic data, turns checkpoints into data."""

from __future__ import annotations

from lit.commands.dispatch import dispatch

TARGETS = {
    "kitti": ("kitti.check_kitti", "check a KITTI tree and say what is missing"),
    "world": ("synthetic.road_world", "write a procedural road world as a KITTI folder"),
    "surround": ("synthetic.surround_world", "the same seen by six cameras, as a nuScenes folder"),
    "omni3d": ("omni3d.omni3d", "write Omni3D's JSON files of a KITTI folder, a road world or a nuScenes folder"),
    "posed": ("synthetic.posed_views", "write posed views of the studio's cars"),
    "labelled": ("synthetic.labelled_views", "write studio cars with edge maps and part segmentations"),
    "labelled-crops": ("labelled_crops.main", "write labelled objects of real frames with edge maps and cameras"),
    "depth-images": ("depth_images.depth_images", "write studio objects as photographs with true depth"),
    "depth": ("depth.depth", "estimate depth beside photographs with a monocular network"),
    "class-photos": ("class_assets.class_photos", "draw photographs with depth of a class by diffusion (G3DR)"),
    "class-assets": ("class_assets.class_assets", "the same on to 3D assets in a bank: from a class to objects"),
    "filter-images": ("filter_images.filter_images", "list the photographs that are most typical of their classes"),
    "road-masks": (
        "roads.road_masks.road_masks",
        "write where a segmenter or a map says road is, of KITTI or nuScenes",
    ),
    "empty-frames": ("masks.empty_frames", "list the frames in which it sees no object"),
    "gan-views": ("gan_views.main", "write a posed image set of a GAN's cars"),
    "dst-renders": ("dst.renders.dst_renders", "render CAD models with exact 3D annotations (3D-DST)"),
    "dst-prompts": ("dst.prompts.dst_prompts", "write edge, depth, normal and text prompts of such renders"),
    "dst-pipeline": ("dst.images.dst_pipeline", "write the suite's small diffusion model as diffusers loads it"),
    "dst-images": ("dst.images.dst_images", "turn renders into images by a diffusion model with ControlNets"),
    "dst-filter": ("dst.filter.dst_filter", "drop generated images whose pose held-out estimators doubt"),
    "dst-bank": ("dst.bank.dst_bank", "write renders or such images as an asset bank of posed views"),
    "dst-in-place": ("dst.in_place.dst_in_place", "draw over injected objects in training frames, as a bank to replay"),
    "class-images": ("class_images.class_images", "write pictures by class with poses, and test splits unlike them"),
    "weights": ("checkpoints.weights", "convert official checkpoints to safetensors"),
    "released": ("checkpoints.released", "bake Lift3D's released car"),
}


def main(argv: list[str]) -> int:
    """Check or write one target, ``argv`` being its name and its options."""
    return dispatch("prepare", "Checks a data set, or writes one.", TARGETS, argv)
