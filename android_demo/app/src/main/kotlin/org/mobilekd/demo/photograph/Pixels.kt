package org.mobilekd.demo.photograph

/**
 * An upright photograph read row by row, so that twelve million pixels never sit in the Java heap.
 */
interface Pixels {
    val width: Int
    val height: Int

    /** Fill [into] with row [y]: [width] opaque pixels, 0xFFRRGGBB. */
    fun row(y: Int, into: IntArray)
}

/** A photograph that is held whole: for tests and for small pictures. */
class HeldPixels(override val width: Int, override val height: Int, private val argb: IntArray) :
    Pixels {
    init {
        require(argb.size == width * height) { "${argb.size} pixels for $width x $height" }
    }

    override fun row(y: Int, into: IntArray) {
        argb.copyInto(into, 0, y * width, (y + 1) * width)
    }
}

/**
 * Transparent pixels laid over white, with the arithmetic of Pillow's `alpha_composite` (7 extra
 * bits, rounded division).
 */
fun overWhite(argb: Int): Int {
    val alpha = argb ushr 24
    if (alpha == 255) return argb
    val source = alpha shl 7
    val white = (255 shl 7) - source
    fun channel(shift: Int): Int {
        val sum = ((argb ushr shift) and 255) * source + 255 * white + (0x80 shl 7)
        return ((((sum ushr 8) + sum) ushr 8) ushr 7) shl shift
    }
    return (255 shl 24) or channel(16) or channel(8) or channel(0)
}
