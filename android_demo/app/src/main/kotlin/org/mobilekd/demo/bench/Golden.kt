package org.mobilekd.demo.bench

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Spec

/** The exporter's golden set, copied out of the APK. */
class GoldenSet(val inputs: File, val expected: ByteArray, val limit: Double)

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

/** What [model] answers to the whole set, compared. */
fun GoldenSet.ask(model: Model): GoldenCheck {
    val answers = inputsOf(inputs.readBytes(), model.spec).map { model.forward(it)[0].values }
    return golden(littleEndian(answers), expected, model.spec.labels.size, limit)
}

/** Raw uint8 `[N, 3, H, W]` as that many inputs of [spec]'s size. */
fun inputsOf(bytes: ByteArray, spec: Spec): List<FloatArray> {
    val size = 3 * spec.preprocess.height * spec.preprocess.width
    require(bytes.isNotEmpty() && bytes.size % size == 0) {
        "inputs: ${bytes.size} bytes are no whole number of $size"
    }
    return List(bytes.size / size) { item ->
        FloatArray(size) { (bytes[item * size + it].toInt() and 255).toFloat() }
    }
}

/** Every row behind the one before, as little-endian float32. */
fun littleEndian(rows: List<FloatArray>): ByteArray {
    val bytes = ByteBuffer.allocate(rows.sumOf { it.size } * 4).order(ByteOrder.LITTLE_ENDIAN)
    rows.forEach { it.forEach(bytes::putFloat) }
    return bytes.array()
}

private fun floats(bytes: ByteArray): FloatArray {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(buffer.remaining()).also(buffer::get)
}
