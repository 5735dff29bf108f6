"""``python -m lit evaluate TASK``: score result files against labels, print a table, write JSON."""

from __future__ import annotations

from lit.commands.dispatch import dispatch

TASKS = {
    "kitti": ("kitti.kitti", "KITTI AP40 and AP11 against label files, as the C++ kit"),
    "nuscenes": ("nuscenes.nuscenes", "nuScenes mAP, NDS and true positive errors of a submission, as the devkit"),
    "omni3d": ("omni3d.omni3d", "AP2D and AP3D of a result file against a file of Omni3D, as Cube R-CNN's evaluation"),
    "depth": ("maps.depth", "Non-flatness score of depth maps; with --target also their depth accuracy"),
    "segmentation": ("maps.segmentation", "Mean IoU and accuracy of label maps against labelled ones"),
    "edges": ("maps.edges", "Average precision of edge maps, pooled over all pixels"),
    "images": ("images.images", "FID, KID, IS, precision and recall of generated against real images"),
    "realism": ("realism.realism", "How well injected objects are told from real ones: AUC of a small network, KID"),
    "object-masks": ("object_masks.object_masks", "IoU of GrabCut's object masks with the true ones of a world"),
    "crop-views": ("crop_views.crop_views", "How cars made of one labelled crop look in other frames of their drive"),
    "placement": ("placement.placement", "How far injected objects stand from where labelled ones do"),
    "pose-swap": ("pose.pose_swap", "Azimuth errors when a GAN's samples exchange their later or their early rows"),
    "yaw": ("yaw.yaw", "FID, Inception score and NFS of single-view generators against the yaw, plotted"),
    "prompts": ("prompts.prompts", "Whether pictures drawn by texts show what was asked, as CLIP sees it"),
    "viewpoints": ("viewpoints.viewpoints", "Distributions of viewpoints of generated and real sets, plotted"),
    "dst-edges": ("dst_edges.dst_edges", "Whether generated images follow their edge prompts, as average precision"),
    "dst-pose": ("viewpoints.dst_pose", "Whether generated images keep their render's pose: Acc at pi/6, pi/18"),
}


def main(argv: list[str]) -> int:
    """Run one evaluation, ``argv`` being the task and its options."""
    return dispatch("evaluate", "Scores result files against labels.", TASKS, argv)
