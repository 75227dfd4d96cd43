package org.mobilekd.demo.tensor

import org.mobilekd.demo.photograph.Pixels

/** A box in whole pixels; [right] and [bottom] lie outside. */
data class Box(val left: Int, val top: Int, val right: Int, val bottom: Int) {
    val width: Int
        get() = right - left

    val height: Int
        get() = bottom - top
}

/**
 * How an upright photograph becomes the model's picture: the largest centred crop of the model's
 * aspect ratio, then Pillow's antialiased bilinear resize. The same definition as the exporter's;
 * the golden set holds both to it.
 */
data class Preprocess(val width: Int, val height: Int) {
    /** What the model sees of a photograph of [photoWidth] x [photoHeight] pixels. */
    fun cropBox(photoWidth: Int, photoHeight: Int): Box {
        if (photoWidth.toLong() * height > photoHeight.toLong() * width) {
            val cropped =
                ((photoHeight.toLong() * width + height / 2) / height).toInt().coerceAtLeast(1)
            val left = (photoWidth - cropped) / 2
            return Box(left, 0, left + cropped, photoHeight)
        }
        val cropped = ((photoWidth.toLong() * height + width / 2) / width).toInt().coerceAtLeast(1)
        val top = (photoHeight - cropped) / 2
        return Box(0, top, photoWidth, top + cropped)
    }

    /** Upright photograph -> the model's picture. [cancelled] is asked for every row. */
    fun apply(photo: Pixels, cancelled: () -> Boolean = { false }): Picture =
        resize(photo, cropBox(photo.width, photo.height), width, height, cancelled)

    companion object {
        /** Names under which an artifact may ask for what is done here. */
        const val CROP = "center"
        const val RESIZE = "pillow-bilinear"
        const val COLOR = "RGB"
    }
}
