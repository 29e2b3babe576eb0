"""Class numbers of the data sets whose label images carry nothing but numbers."""

from __future__ import annotations

CITYSCAPES = {
    7: "road", 8: "sidewalk", 9: "parking", 10: "rail track", 11: "building", 12: "wall", 13: "fence",
    14: "guard rail", 15: "bridge", 16: "tunnel", 17: "pole", 18: "pole group", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car",
    27: "truck", 28: "bus", 29: "caravan", 30: "trailer", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Cityscapes label ids (Cordts et al. 2016); 0 to 6 are its void classes."""

CITYSCAPES_VOID = 6
CITYSCAPES_THINGS = frozenset(range(24, 34))
CITYSCAPES_TRAIN = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each of the 19 training classes, which Cityscapes-VPS numbers from 0."""

CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""CamVid's eleven classes as SegNet's label images number them, from 0 (Badrinarayanan et al. 2017)."""

_SCENE_NAMES = """
wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person earth door table mountain plant
curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk rock wardrobe lamp
bathtub railing cushion base box column signboard chest_of_drawers counter sand sink skyscraper fireplace refrigerator
grandstand path stairs runway case pool_table pillow screen_door stairway river bridge bookcase blind coffee_table
toilet flower book hill bench countertop stove palm kitchen_island computer swivel_chair boat bar arcade_machine hovel
bus towel light truck tower chandelier awning streetlight booth television airplane dirt_track apparel pole land
bannister escalator ottoman bottle buffet poster stage van ship fountain conveyer_belt canopy washer plaything
swimming_pool stool barrel basket waterfall tent bag minibike cradle oven ball food step tank trade_name microwave pot
animal bicycle lake dishwasher screen blanket sculpture hood sconce vase traffic_light tray ashcan fan pier crt_screen
plate monitor bulletin_board shower radiator glass clock flag
""".split()  # noqa: SIM905

SCENE_PARSING = {i: name.replace("_", " ") for i, name in enumerate(_SCENE_NAMES, start=1)}
"""The 150 classes of ADE20K's scene parsing, 1 to 150 (Zhou et al. 2017)."""

# One word a class, in order; a star marks things.
_VIPSEG_NAMES = """
wall ceiling door* stair ladder* escalator playground_slide handrail_or_fence window* rail goal* pillar pole floor
ground grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid
other_construction sky mountain stone wood ice snowfield grandstand sea river lake waterfall water
billboard_or_bulletin_board sculpture* pipeline flag* parasol_or_umbrella* cushion_or_carpet tent* roadblock* car* bus*
truck* bicycle* motorcycle* wheeled_machine ship_or_boat* raft* airplane* tyre traffic_light lamp person* cat* dog*
horse* cattle* other_animal* tree flower other_plant toy ball_net backboard skateboard* bat ball*
cupboard_or_showcase_or_storage_rack box* traveling_case_or_trolley_case* basket* bag_or_package* trash_can cage plate*
tub_or_bowl_or_pot* bottle_or_cup* barrel* fishbowl* bed* pillow* table_or_desk* chair_or_seat* bench* sofa* shelf
bathtub gun* commode* roaster* other_machine refrigerator* washing_machine* microwave_oven* fan* curtain textiles
clothes painting_or_poster* mirror* flower_pot_or_vase* clock* book tool blackboard tissue screen_or_television*
computer* printer* mobile_phone* keyboard* other_electronic_product fruit food instrument* train*
""".split()  # noqa: SIM905

VIPSEG = {i: name.rstrip("*").replace("_", " ") for i, name in enumerate(_VIPSEG_NAMES, start=1)}
"""VIPSeg class ids of the raw ``panomasks``, 1 to 124 (Miao et al. 2022); its COCO-style JSON counts from 0."""

VIPSEG_THINGS = frozenset(i for i, name in enumerate(_VIPSEG_NAMES, start=1) if name.endswith("*"))
