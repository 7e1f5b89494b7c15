import shutil

import numpy as np
import pytest
from PIL import Image

from skinmnist.datasets.images.folders import list_pictures
from skinmnist.errors import InputError

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def write_picture(path, level=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((3, 4, 3), level, np.uint8)).save(path)
    return path


def describe(path, *rows):
    path.write_text("\n".join([HEADER, *(f"{row},histo,50,male,back,vidir" for row in rows)]) + "\n")
    return path


def complaint(*arguments):
    with pytest.raises(InputError) as error:
        list_pictures(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_per_class(folder):
    for name in ("wet/b.png", "dry/10.jpg", "wet/a.PNG", "dry/9.jpeg"):
        write_picture(folder / name)
    pictures = list_pictures([folder])
    assert pictures.class_names == ("dry", "wet")
    assert [str(path.relative_to(folder)) for path in pictures.paths] == [
        "dry/10.jpg",
        "dry/9.jpeg",
        "wet/a.PNG",
        "wet/b.png",
    ]
    assert pictures.labels.tolist() == [0, 0, 1, 1]
    assert pictures.header == ("lesion_id", "image_id", "dx")
    assert pictures.rows[0] == ("", "dry/10", "dry")


def test_folders_with_names_of_ham10000_get_its_codes(folder):
    for name in ("nv", "mel", "bcc"):
        write_picture(folder / name / "x.png")
    assert list_pictures([folder]).class_names == ("bcc", "nv", "mel")


@pytest.mark.parametrize("respell", [str.upper, str.title, lambda name: name[:-1] + name[-1].upper()])
def test_folders_may_spell_names_of_ham10000_otherwise(respell, folder):
    for name in ("mel", "nv", "akiec"):
        write_picture(folder / respell(name) / "a.png")
    assert list_pictures([folder]).class_names == ("akiec", "nv", "mel")


def test_several_folders_of_classes_are_put_together(tmp_path):
    for name in ("Train/a/1.png", "Train/b/1.png", "Test/a/1.png"):
        write_picture(tmp_path / name)
    pictures = list_pictures([tmp_path / "Train", tmp_path / "Test"])
    assert [row[1] for row in pictures.rows] == ["Train/a/1", "Train/b/1", "Test/a/1"]
    assert pictures.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("folders", "prefixes"),
    [
        (("x/pictures", "y/pictures"), ("x/pictures/", "y/pictures/")),
        (("x/pictures", "y/pictures", "y/other"), ("x/pictures/", "y/pictures/", "y/other/")),
        (("x/a/b", "y/a/b", "y/c/b"), ("x/a/b/", "y/a/b/", "y/c/b/")),
        (("x/pictures", "y/pictures", "x/pictures"), ("x/pictures/", "y/pictures/", None)),
    ],
    ids=["two", "three", "deeper", "one twice"],
)
def test_every_picture_has_a_name_of_its_own(folders, prefixes, tmp_path):
    for folder in folders:
        for name in ("nv/1.png", "mel/1.png"):
            write_picture(tmp_path / folder / name)
    pictures = list_pictures([tmp_path / folder for folder in folders])
    expected = [f"{prefix}{name}" for prefix in prefixes if prefix for name in ("mel/1", "nv/1")]
    assert [row[1] for row in pictures.rows] == expected
    assert len(pictures.nowhere) == 2 * prefixes.count(None)


def test_copies_in_a_class_count_once_and_namesakes_are_an_error(folder):
    for name in ("nv/1.png", "mel/1.png"):
        write_picture(folder / name)
    copy = shutil.copy(folder / "nv" / "1.png", folder / "nv" / "1.webp")
    pictures = list_pictures([folder])
    assert [row[1] for row in pictures.rows] == ["mel/1", "nv/1"]
    assert len(pictures.labels) == 2
    assert pictures.nowhere == (copy,)
    write_picture(folder / "nv" / "1.jpg")
    assert "have the same name but are different pictures" in complaint([folder])


def test_folders_that_spell_a_class_otherwise_are_one_class(tmp_path):
    for name in ("one/Benign/1.png", "one/Malignant/1.png", "two/benign/1.png", "two/malignant/1.png"):
        write_picture(tmp_path / name)
    pictures = list_pictures([tmp_path / "one", tmp_path / "two"])
    assert pictures.class_names == ("Benign", "Malignant")
    assert pictures.labels.tolist() == [0, 1, 0, 1]


def test_other_files_are_counted_and_hidden_ones_are_not(folder):
    for name in ("a/1.png", "b/1.png", ".hidden/1.png", "a/._1.png"):
        write_picture(folder / name)
    (folder / "README.txt").write_text("x")
    (folder / "b" / "notes.csv").write_text("x")
    pictures = list_pictures([folder])
    assert len(pictures) == 2
    assert [path.name for path in pictures.ignored] == ["README.txt", "notes.csv"]


def test_what_is_no_folder_per_class(folder, tmp_path):
    assert "no picture; expected a folder of pictures for each class" in complaint([folder])
    assert "is not a folder" in complaint([tmp_path / "none"])
    write_picture(folder / "a" / "1.png")
    assert "received pictures of 1 class; expected at least two classes" in complaint([folder])
    write_picture(folder / "1.png")
    assert f"{folder / '1.png'} is above the level of the class folders" in complaint([folder])
    (folder / "1.png").unlink()
    write_picture(folder / "b" / "part" / "1.png")
    assert "is below the level of the class folders" in complaint([folder])


def test_the_metadata_says_which_picture_is_what_in_its_own_order(tmp_path):
    parts = [tmp_path / "HAM10000_images_part_1", tmp_path / "HAM10000_images_part_2"]
    (
        write_picture(parts[1] / "ISIC_1.jpg"),
        write_picture(parts[0] / "ISIC_2.jpg"),
        write_picture(parts[0] / "deeper" / "ISIC_4.jpg"),
    )
    rows = ["L1,ISIC_4,mel", "L1,ISIC_3,mel", "L2,ISIC_1,nv", "L2,ISIC_2,nv"]
    metadata = describe(tmp_path / "HAM10000_metadata.csv", *rows)
    pictures = list_pictures(parts, metadata)
    assert [path.stem for path in pictures.paths] == ["ISIC_4", "ISIC_1", "ISIC_2"]
    assert pictures.class_names == ("nv", "mel")
    assert pictures.labels.tolist() == [1, 0, 0]
    assert pictures.without_picture == 1
    assert pictures.header == tuple(HEADER.split(","))
    assert pictures.rows[0] == ("L1", "ISIC_4", "mel", "histo", "50", "male", "back", "vidir")
    # In the folder that is named, as the collection unpacks it, it is found.
    assert list_pictures([tmp_path]).paths == pictures.paths


def test_a_picture_without_a_row_is_an_error(folder, tmp_path):
    for number in range(8):
        write_picture(folder / f"I{number}.png")
    metadata = describe(tmp_path / "m.csv", "L,I0,a", "L,I1,b")
    message = complaint([folder], metadata)
    assert message.startswith(f"6 pictures without a row in {metadata}: {folder / 'I2.png'}, ")
    assert "I6.png and 1 more; expected one row per picture" in message


def test_copies_of_a_picture_count_once_and_namesakes_are_an_error(folder, tmp_path):
    write_picture(folder / "part" / "I0.png"), write_picture(folder / "I1.png")
    shutil.copytree(folder / "part", folder / "copy")
    metadata = describe(tmp_path / "m.csv", "L,I0,a", "L,I1,b")
    assert len(list_pictures([folder, folder / "part"], metadata)) == 2
    write_picture(folder / "copy" / "I0.png", level=8)
    assert "have the same name but are different pictures" in complaint([folder], metadata)


def test_metadata_that_cannot_serve(folder, tmp_path):
    write_picture(folder / "I0.png"), write_picture(folder / "I1.png")
    assert "which also occurs at" in complaint(
        [folder], describe(tmp_path / "m.csv", "L,I0,a", "L,I1,b", "L,I0,a")
    )
    assert "2 pictures without a row" in complaint([folder], describe(tmp_path / "m.csv", "L,J0,a"))
    assert "pictures of 1 class" in complaint([folder], describe(tmp_path / "m.csv", "L,I0,a", "L,I1,a"))
    assert "does not exist" in complaint([folder], tmp_path / "none.csv")
    (tmp_path / "m.csv").write_text("image_id,dx\nI0,a\n")
    assert "the column 'lesion_id' appears nowhere" in complaint([folder], tmp_path / "m.csv")


# Links


def link(place, target):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target, target_is_directory=True)
    return place


def test_a_class_that_is_a_link_is_read(folder, tmp_path):
    for name in ("1", "2", "3"):
        write_picture(tmp_path / "disk" / "bkl" / f"{name}.png")
        write_picture(folder / "nv" / f"{name}.png")
    link(folder / "bkl", tmp_path / "disk" / "bkl")
    pictures = list_pictures([folder])
    assert pictures.class_names == ("bkl", "nv")
    assert [row[1] for row in pictures.rows] == ["bkl/1", "bkl/2", "bkl/3", "nv/1", "nv/2", "nv/3"]
    assert pictures.nowhere == ()


def test_a_linked_part_is_read(tmp_path):
    for number in range(4):
        write_picture(tmp_path / ("ham/part_1" if number % 2 else "disk") / f"I{number}.png")
    link(tmp_path / "ham" / "part_2", tmp_path / "disk")
    describe(
        tmp_path / "ham" / "HAM10000_metadata.csv",
        *(f"L{n},I{n},{'nv' if n < 2 else 'mel'}" for n in range(4)),
    )
    pictures = list_pictures([tmp_path / "ham"])
    assert [path.stem for path in pictures.paths] == ["I0", "I1", "I2", "I3"]
    assert pictures.without_picture == 0


@pytest.mark.parametrize("target", [".", "..", "../..", "a", "nowhere"])
def test_links_in_circles_and_to_nowhere_are_named(target, folder):
    for name in ("a/1.png", "b/1.png"):
        write_picture(folder / name)
    lost = link(folder / "z", target)
    pictures = list_pictures([folder])
    assert pictures.class_names == ("a", "b")
    assert pictures.nowhere == (lost,)


def test_a_class_counts_under_its_own_name_and_not_its_links(folder):
    for name in ("nv/1.png", "mel/1.png"):
        write_picture(folder / name)
    lost = link(folder / "a_link", folder / "nv")
    pictures = list_pictures([folder])
    assert (pictures.class_names, pictures.nowhere) == (("nv", "mel"), (lost,))


def test_a_picture_that_is_a_link_to_nowhere_is_no_missing_one(folder):
    for name in ("nv/1.png", "mel/1.png"):
        write_picture(folder / name)
    lost = link(folder / "nv" / "2.png", "nowhere.png")
    assert lost in list_pictures([folder]).paths


# Ground truth with one column for each class

TRUTH = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"


@pytest.mark.parametrize("zero", ["0", "0.0"])
@pytest.mark.parametrize(
    "header", [TRUTH, TRUTH.replace("image", "image_id"), TRUTH.replace("AKIEC", "AK") + ",SCC"]
)
def test_a_ground_truth_of_isic_gives_the_classes(header, zero, tmp_path):
    names = header.split(",")[1:]
    lines = [header]
    for number, name in enumerate(names):
        write_picture(tmp_path / "pictures" / f"I{number}.png")
        cells = [zero.replace("0", "1", 1) if other == name else zero for other in names]
        lines.append(",".join([f"I{number}", *cells]))
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(lines) + "\n")
    pictures = list_pictures([tmp_path / "pictures"], truth)
    found = [pictures.class_names[label] for label in pictures.labels]
    assert [name.upper() for name in found] == names
    assert {row[0] for row in pictures.rows} == {""}
    for wrong in (",".join(["I0", *[zero] * len(names)]), ",".join(["I0", *["1"] * len(names)])):
        truth.write_text("\n".join([lines[0], wrong, *lines[2:]]) + "\n")
        assert "expected a single 1 among the columns of" in complaint([tmp_path / "pictures"], truth)
