"""Facts about HAM10000 and its pixel tables, as pure data without imports.

Sources: Tschandl, Rosendahl & Kittler, "The HAM10000 dataset, a large collection of multi-source
dermatoscopic images of common pigmented skin lesions", Scientific Data 5, 180161 (2018). The label codes
are those of the Kaggle collection "Skin Cancer MNIST: HAM10000", checked against its metadata row by row.
"""

#: Class abbreviations; each position is the integer code in the ``label`` column of the pixel tables.
CLASS_NAMES = ("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel")

CLASS_TITLES = {
    "akiec": "Actinic keratosis / Bowen's disease",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis",
    "df": "Dermatofibroma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
    "mel": "Melanoma",
}

#: Pictures and lesions per class, in code order (10,015 pictures of 7,470 lesions).
ROWS_PER_CLASS = (327, 514, 1099, 115, 6705, 142, 1113)
LESIONS_PER_CLASS = (228, 327, 727, 73, 5403, 98, 614)

#: Numbers of HAM10000 pictures (``ISIC_0033481``) that show one lesion under two lesion ids: Abhishek, Jain
#: & Hamarneh, "Investigating the quality of DermaMNIST and Fitzpatrick17k dermatological image datasets",
#: Scientific Data 12, 196 (2025).
SAME_LESION = (
    (33481, 33421),
    (33556, 32634),
    (29152, 33173),
    (29036, 27027),
    (27820, 28209),
    (27689, 32647),
    (30906, 24879),
    (33391, 34186),
    (25226, 30074),
    (26087, 25664),
    (24736, 29748),
    (24770, 27811),
    (27162, 29061),
    (24602, 32283),
    (29625, 24629),
    (30000, 31392),
    (24437, 31299),
    (33374, 33417),
)

#: The class whose recall is reported separately, because missing it is the most costly error.
MELANOMA = "mel"

METADATA_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
#: Patient information known before the picture is taken; the columns available to ``--clinical``.
CLINICAL_COLUMNS = ("age", "sex", "localization")
METADATA_FILE = "HAM10000_metadata.csv"

#: Tables to search for if no table is specified, in this order.
TABLE_FILES = ("hmnist_28_28_RGB.csv", "hmnist_8_8_RGB.csv")

#: The Kaggle name of the collection, and all its tables.
KAGGLE_HANDLE = "kmader/skin-cancer-mnist-ham10000"
COLLECTION_TABLES = (*TABLE_FILES, "hmnist_28_28_L.csv", "hmnist_8_8_L.csv")

DATA_LICENCE = "CC BY-NC 4.0"
DATA_CITATION = (
    "Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a large collection of multi-source "
    "dermatoscopic images of common pigmented skin lesions. Sci. Data 5, 180161 (2018)."
)

DISCLAIMER = (
    "skinmnist is a tool for teaching and research. It is not a medical device and gives no diagnosis. "
    "If a lesion worries you, see a doctor."
)
