package org.mobilekd.demo.bench

import kotlin.math.abs

/** Warm-up before a series, and the words that say how it ended. */
class Warmup(val samples: List<Long>, val rule: String)

private const val WINDOW = 10
private const val TOLERANCE = 0.02

/**
 * Run [sample] in windows of ten until a window's median lies within 2% of the one before, at most
 * [limit] times. The same rule as the command-line runner's.
 */
fun warmUp(limit: Int, sample: () -> Long): Warmup {
    val samples = ArrayList<Long>()
    var last: Double? = null
    while (samples.size + WINDOW <= limit) {
        repeat(WINDOW) { samples += sample() }
        val median = median(samples.takeLast(WINDOW))
        last?.let { if (abs(median - it) <= TOLERANCE * it) return Warmup(samples, RULE) }
        last = median
    }
    return Warmup(samples, "$RULE; not reached within $limit")
}

private const val RULE = "median of 10 inferences within 2% of the 10 before"

/** The middle of [samples], or the mean of the two middle ones. */
fun median(samples: List<Long>): Double = percentile(samples, 50.0)

/**
 * The [q]-th percentile with linear interpolation between order statistics (Hyndman and Fan type 7,
 * as numpy's).
 */
fun percentile(samples: List<Long>, q: Double): Double {
    require(samples.isNotEmpty()) { "no samples" }
    val sorted = samples.sorted()
    val at = q / 100 * (sorted.size - 1)
    val low = at.toInt()
    val high = minOf(low + 1, sorted.size - 1)
    return sorted[low] + (at - low) * (sorted[high] - sorted[low])
}
