"""What a prediction says, and which pixels an occlusion map finds."""

import io

import numpy as np
from PIL import Image

from skinmnist.inference.prediction import draw_explanation, is_explanation, occlusion_map


def test_occlusion_finds_the_pixels_that_count():
    """A model that looks at one corner only, of light pictures with a dark corner."""

    def corner(rows):
        dark = rows.reshape(-1, 28, 28, 3)[:, 2:8, 20:26].mean(axis=(1, 2, 3)) < 100
        return np.stack([dark * 0.8 + 0.1, 0.9 - dark * 0.8], axis=1)

    picture = np.full((28, 28, 3), 200, np.uint8)
    picture[2:8, 20:26] = 10
    found = occlusion_map(corner, picture.ravel(), (28, 28, 3))
    assert found.shape == (28, 28)
    assert np.unravel_index(found.argmax(), found.shape)[0] < 9
    assert np.unravel_index(found.argmax(), found.shape)[1] > 18
    assert found[12:].max() == 0


def test_a_map_is_red_where_it_speaks_for_the_answer_and_is_known_again():
    importance = np.zeros((4, 8))
    importance[:, :3], importance[:, 5:] = 1, -1
    content = draw_explanation(np.full((4, 8, 1), 200, np.uint8), importance)
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(int)
    assert pixels.shape == (224, 448, 3)
    red, blue = pixels[112, 20], pixels[112, -20]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert is_explanation(content[:200])
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    assert not is_explanation(stream.getvalue()[:200])
