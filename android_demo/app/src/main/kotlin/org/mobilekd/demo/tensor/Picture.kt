package org.mobilekd.demo.tensor

/** What the model sees: uint8 `[height, width, 3]`, RGB. */
class Picture(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        require(rgb.size == width * height * 3) { "${rgb.size} bytes for $width x $height" }
    }

    /**
     * The model's input: float32 `[1, 3, height, width]`, 0..255. Normalisation belongs to the
     * model.
     */
    fun tensor(): FloatArray {
        val plane = width * height
        val tensor = FloatArray(3 * plane)
        for (pixel in 0 until plane) {
            for (channel in 0 until 3) tensor[channel * plane + pixel] =
                (rgb[3 * pixel + channel].toInt() and 255).toFloat()
        }
        return tensor
    }

    /** 0xFFRRGGBB, row by row. */
    fun argb(): IntArray =
        IntArray(width * height) {
            fun channel(index: Int) = rgb[3 * it + index].toInt() and 255
            (255 shl 24) or (channel(0) shl 16) or (channel(1) shl 8) or channel(2)
        }
}
