package org.mobilekd.demo.tensor

import java.util.concurrent.CancellationException
import kotlin.math.abs
import kotlin.math.max
import org.mobilekd.demo.photograph.Pixels

/*
 * Pillow's resize with a box, to the bit (src/libImaging/Resample.c): a triangle filter widened by
 * the reduction, weights in 22-bit fixed point, first along rows into an 8-bit picture, then along
 * columns. As there, the filter may reach beyond the box, but never beyond the photograph.
 */
private const val PRECISION = 32 - 8 - 2

/** For every output position the first input position and the fixed-point weights from there on. */
private class Weights(val first: IntArray, val fixed: Array<IntArray>)

private fun weights(inSize: Int, from: Int, until: Int, outSize: Int): Weights {
    val scale = (until - from).toDouble() / outSize
    val support = max(scale, 1.0)
    val inverse = 1.0 / support
    val first = IntArray(outSize)
    val fixed =
        Array(outSize) { out ->
            val center = from + (out + 0.5) * scale
            val low = (center - support + 0.5).toInt().coerceAtLeast(0)
            val high = (center + support + 0.5).toInt().coerceAtMost(inSize)
            first[out] = low
            val exact = DoubleArray(high - low) { triangle((it + low - center + 0.5) * inverse) }
            var sum = 0.0
            for (weight in exact) sum += weight
            IntArray(exact.size) {
                (0.5 + (if (sum != 0.0) exact[it] / sum else exact[it]) * (1 shl PRECISION)).toInt()
            }
        }
    return Weights(first, fixed)
}

private fun triangle(x: Double): Double = if (abs(x) < 1.0) 1.0 - abs(x) else 0.0

private fun clip(sum: Int): Byte = (sum shr PRECISION).coerceIn(0, 255).toByte()

/**
 * The part [box] of [photo], antialiased, as [width] x [height] pixels; stops with
 * [CancellationException] when told.
 */
fun resize(
    photo: Pixels,
    box: Box,
    width: Int,
    height: Int,
    cancelled: () -> Boolean = { false },
): Picture {
    val columns = weights(photo.width, box.left, box.right, width)
    val rows = weights(photo.height, box.top, box.bottom, height)
    val top = rows.first.first()
    val bottom = rows.first.last() + rows.fixed.last().size
    val narrow = ByteArray((bottom - top) * width * 3) // the 8-bit picture between the two passes
    val line = IntArray(photo.width)
    val half = 1 shl (PRECISION - 1)
    for (y in top until bottom) {
        if (cancelled()) throw CancellationException()
        photo.row(y, line)
        var to = (y - top) * width * 3
        for (x in 0 until width) {
            var red = half
            var green = half
            var blue = half
            var at = columns.first[x]
            for (weight in columns.fixed[x]) {
                val pixel = line[at++]
                red += ((pixel ushr 16) and 255) * weight
                green += ((pixel ushr 8) and 255) * weight
                blue += (pixel and 255) * weight
            }
            narrow[to++] = clip(red)
            narrow[to++] = clip(green)
            narrow[to++] = clip(blue)
        }
    }
    val result = ByteArray(width * height * 3)
    for (y in 0 until height) {
        if (cancelled()) throw CancellationException()
        val start = (rows.first[y] - top) * width * 3
        for (column in 0 until width * 3) {
            var sum = half
            var at = start + column
            for (weight in rows.fixed[y]) {
                sum += (narrow[at].toInt() and 255) * weight
                at += width * 3
            }
            result[y * width * 3 + column] = clip(sum)
        }
    }
    return Picture(width, height, result)
}
