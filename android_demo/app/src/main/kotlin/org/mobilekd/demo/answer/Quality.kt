package org.mobilekd.demo.answer

import org.mobilekd.demo.tensor.Picture

/** Limits fitted on the exporter's validation photographs, carried by the model. */
data class QualityLimits(val sharpnessLow: Double, val lumaLow: Double, val lumaHigh: Double)

/** What may be wrong with a photograph. That it shows skin at all is not claimed to be seen. */
enum class Flaw {
    BLURRED,
    DARK,
    BRIGHT,
}

/**
 * Measured on the picture the model sees, so that it does not depend on the camera's resolution.
 */
data class Quality(val sharpness: Double, val luma: Double) {
    /** Everything beyond its limit. */
    fun flaws(limits: QualityLimits): Set<Flaw> = buildSet {
        if (sharpness < limits.sharpnessLow) add(Flaw.BLURRED)
        if (luma < limits.lumaLow) add(Flaw.DARK)
        if (luma > limits.lumaHigh) add(Flaw.BRIGHT)
    }
}

/** Variance of the 4-neighbour Laplacian of the luma over the inner pixels, and the mean luma. */
fun quality(picture: Picture): Quality {
    val width = picture.width
    val height = picture.height
    val luma =
        IntArray(width * height) {
            fun channel(index: Int) = picture.rgb[3 * it + index].toInt() and 255
            (77 * channel(0) + 150 * channel(1) + 29 * channel(2)) shr 8
        }
    var count = 0L
    var sum = 0L
    var squares = 0L
    for (y in 1 until height - 1) {
        for (x in 1 until width - 1) {
            val at = y * width + x
            val laplacian =
                (luma[at - 1] + luma[at + 1] + luma[at - width] + luma[at + width] - 4 * luma[at])
                    .toLong()
            count++
            sum += laplacian
            squares += laplacian * laplacian
        }
    }
    val mean = if (count == 0L) 0.0 else sum.toDouble() / count
    val sharpness = if (count == 0L) 0.0 else squares.toDouble() / count - mean * mean
    return Quality(sharpness, luma.sumOf { it.toLong() }.toDouble() / luma.size)
}
