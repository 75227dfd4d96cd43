package org.mobilekd.demo.answer

import kotlin.math.abs

/** One class with its calibrated probability. */
data class Ranked(val label: String, val probability: Float)

/**
 * Where the model looked: `[height, width]` values 0..1. The cell at (row, column) looks around the
 * point (row / height, column / width) of the crop, its own upper left corner: the exporter's
 * students are built so.
 */
data class Attention(val width: Int, val height: Int, val values: List<Float>)

/** Nanoseconds that each step took. */
data class Times(val decode: Long, val resize: Long, val execute: Long, val answer: Long)

/**
 * What the app says about a photograph.
 *
 * @property ranked all classes, the most probable first
 * @property sure false where the best probability is below the model's own threshold, and where the
 *   photograph is [outside]
 * @property flaws what may be wrong with the photograph; empty where the model carries no limits
 * @property outside whether the photograph is of another kind than those the model knows; false
 *   where the model has no guard
 */
data class Answer(
    val ranked: List<Ranked>,
    val sure: Boolean,
    val flaws: Set<Flaw>,
    val attention: Attention?,
    val times: Times,
    val outside: Boolean = false,
) {
    val best: Ranked
        get() = ranked.first()
}

/**
 * The model's answer is no probability distribution: a broken file or a broken runtime, never to be
 * shown as a result.
 */
class Nonsense(val detail: String) : Exception(detail)

/** Probabilities in the model's order -> most probable first; equal ones keep the model's order. */
fun rank(labels: List<String>, probabilities: FloatArray): List<Ranked> {
    if (probabilities.size != labels.size)
        throw Nonsense("${probabilities.size} probabilities for ${labels.size} classes")
    if (probabilities.any { !it.isFinite() || it < 0f || it > 1.0001f })
        throw Nonsense("a probability outside 0..1")
    val sum = probabilities.sum()
    if (abs(sum - 1f) > 0.01f) throw Nonsense("probabilities that sum to $sum")
    return labels.zip(probabilities.asList(), ::Ranked).sortedByDescending { it.probability }
}
