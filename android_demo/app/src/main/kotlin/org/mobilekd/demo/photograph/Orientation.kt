package org.mobilekd.demo.photograph

/**
 * Where an upright pixel lies in the stored picture of [storedWidth] x [storedHeight] pixels;
 * [exif] is 1..8.
 */
class Orientation(val exif: Int, private val storedWidth: Int, private val storedHeight: Int) {
    init {
        require(exif in 1..8) { "EXIF orientation $exif" }
    }

    /** Rows and columns change places. */
    val swapped: Boolean = exif >= 5
    val width: Int = if (swapped) storedHeight else storedWidth
    val height: Int = if (swapped) storedWidth else storedHeight

    /** Column in the stored picture of the upright pixel ([x], [y]). */
    fun storedX(x: Int, y: Int): Int =
        when (exif) {
            1,
            4 -> x
            2,
            3 -> storedWidth - 1 - x
            5,
            6 -> y
            else -> storedWidth - 1 - y
        }

    /** Row in the stored picture of the upright pixel ([x], [y]). */
    fun storedY(x: Int, y: Int): Int =
        when (exif) {
            1,
            2 -> y
            3,
            4 -> storedHeight - 1 - y
            5,
            8 -> x
            else -> storedHeight - 1 - x
        }
}
