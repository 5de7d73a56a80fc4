"""Lists of points as programs and spreadsheets write them."""

from typing import Any

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.point_text import read_point_text

XYZ = [[1.5, 2.0, -3.25], [4.0, 5.5, 6.0], [7.0, 8.0, 9.5]]


@pytest.mark.parametrize(
    "text",
    [
        "1.5 2 -3.25\n4 5.5 6\n7 8 9.5\n",
        "1.5,2,-3.25\r\n4,5.5,6\r\n7,8,9.5",
        "1.5, 2, -3.25\n4, 5.5, 6\n7, 8, 9.5\n",
        "  1.5\t2\t-3.25\n\n4\t5.5\t6\n7\t8\t9.5",
        "1.5;2;-3.25\n4;5.5;6\n7;8;9.5",
        "1,5;2,0;-3,25\n4,0;5,5;6,0\n7,0;8,0;9,5",
        "1,5 2,0 -3,25\n4,0 5,5 6,0\n7,0 8,0 9,5",
        "3\n1.5 2 -3.25\n4 5.5 6\n7 8 9.5\n",
        "# a comment, with a comma\n1.5 2 -3.25\n// another\n4 5.5 6\n7 8 9.5\n",
        "//X Y Z\n3\n1.5 2 -3.25\n4 5.5 6\n7 8 9.5\n",
        "x,y,z\n1.5,2,-3.25\n4,5.5,6\n7,8,9.5",
        '"X";"Y";"Z"\n1,5;2;-3,25\n4;5,5;6\n7;8;9,5',
        "z y x\n-3.25 2 1.5\n6 5.5 4\n9.5 8 7",
        ",id,x,y,z\n0,7,1.5,2,-3.25\n1,7,4,5.5,6\n2,7,7,8,9.5",
        '"Points:0","Points:1","Points:2","speed"\n1.5,2,-3.25,1\n4,5.5,6,1\n7,8,9.5,1',
        "1.5e0 2 -3.25 0.1 -0.2 0.3\n4 5.5 6 0 0 1\n7 8 9.5 0 0 1",
    ],
)
def test_the_points_are_those_that_were_written(text):
    for content in (text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")):
        cloud: Any = read_point_text(content, "list")
        assert cloud.xyz.tolist() == XYZ
        assert cloud.rgb is None


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3 255 0 51\n4 5 6 0 0 0",
        "1 2 3 1 0 0.2\n4 5 6 0 0 0",
        "2\n1 2 3 -1500 255 0 51\n4 5 6 7 0 0 0",
        "x,y,z,intensity,red,green,blue\n1,2,3,9,255,0,51\n4,5,6,9,0,0,0",
        "1 2 3 255 0 51 0 0 1\n4 5 6 0 0 0 0 0 1",
    ],
)
def test_colours_behind_the_coordinates_are_found(text):
    found: Any = read_point_text(text.encode(), "list").rgb
    np.testing.assert_allclose(found, [[1, 0, 0.2], [0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "content, cause",
    [
        (b"\n \n", "is empty"),
        (b"# only words\n", "has no points"),
        (b"x,y,z\n", "has no points"),
        (b"1 2 3\n4 5\n7 8 9\n", "ragged: line 2 has 2 columns, the first point 3"),
        (b"1 2\n3 4\n", "has 2 columns; a point needs x, y and z"),
        (b"1 2 3\n4 five 6\n", "line 2: 'five' is no number"),
        (b"once upon a time\nthere was\n", "ragged"),
        (b"once upon a time\nthere was a king\n", "line 1: 'once' is no number"),
        (b"2\nwater\nO 0 0 0\nH 0 0 1\n", "molecule's XYZ"),
        (bytes(range(256)), "is no point cloud and no mesh; it begins with"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is no point cloud and no mesh"),
    ],
)
def test_what_is_no_list_of_points_is_told_so(content, cause):
    with pytest.raises(InputError, match=f"list: .*{cause}"):
        read_point_text(content, "list")
