package org.mobilekd.demo.bench

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/** How this phone's answers compare with the exporter's; without a pass there is no latency. */
data class GoldenCheck(
    val passed: Boolean,
    val samples: Int,
    val maxError: Double,
    val limit: Double,
    val agreement: Double,
)

/**
 * Compare [answers] with [expected], `count` rows of `classes` little-endian float32, as the
 * artifact's golden set holds them.
 */
fun golden(answers: ByteArray, expected: ByteArray, classes: Int, limit: Double): GoldenCheck {
    require(answers.size == expected.size && answers.size % (4 * classes) == 0) {
        "${answers.size} bytes against ${expected.size}"
    }
    val found = floats(answers)
    val wanted = floats(expected)
    val worst =
        found.indices.maxOf { index ->
            abs(found[index].toDouble() - wanted[index]).let {
                if (it.isNaN()) Double.MAX_VALUE else it
            }
        }
    val rows = found.size / classes
    fun best(values: FloatArray, row: Int) = (0 until classes).maxBy { values[row * classes + it] }
    val agreeing = (0 until rows).count { best(found, it) == best(wanted, it) }
    return GoldenCheck(worst <= limit, rows, worst, limit, agreeing.toDouble() / rows)
}

private fun floats(bytes: ByteArray): FloatArray {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(buffer.remaining()).also(buffer::get)
}
