package org.mobilekd.demo.answer

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max

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
 * @property sure false where the best probability is below the model's own threshold, where the
 *   [set] excludes its class, and where the photograph is [outside]
 * @property flaws what may be wrong with the photograph; empty where the model carries no limits
 * @property outside whether the photograph is of another kind than those the model knows; false
 *   where the model has no guard
 * @property set the classes that cannot be excluded, the most probable first; null for a model
 *   without sets, and where the photograph is [outside]
 */
data class Answer(
    val ranked: List<Ranked>,
    val sure: Boolean,
    val flaws: Set<Flaw>,
    val attention: Attention?,
    val times: Times,
    val outside: Boolean = false,
    val set: List<String>? = null,
) {
    val best: Ranked
        get() = ranked.first()

    /** The likeliest class that cannot be excluded, which need not be [best]; null without one. */
    val bestOfSet: Ranked?
        get() = set?.firstOrNull()?.let { first -> ranked.first { it.label == first } }
}

/**
 * The model's answer is no probability distribution: a broken file or a broken runtime, never to be
 * shown as a result.
 */
class Nonsense(val detail: String) : Exception(detail)

/** Probabilities in the model's order -> most probable first; equal ones keep the model's order. */
fun rank(labels: List<String>, probabilities: FloatArray): List<Ranked> {
    sound(labels, probabilities)
    return rank(labels, probabilities.map { it.toDouble() })
}

/** The same for probabilities that were found sound. */
fun rank(labels: List<String>, probabilities: List<Double>): List<Ranked> =
    labels.indices
        .sortedByDescending { probabilities[it] }
        .map { Ranked(labels[it], probabilities[it].toFloat()) }

/**
 * The classes that cannot be excluded, the most probable first: those whose probability is at least
 * their own threshold.
 */
fun members(labels: List<String>, probabilities: List<Double>, least: List<Double>): List<String> =
    labels.indices
        .filter { probabilities[it] >= least[it] }
        .sortedByDescending { probabilities[it] }
        .map { labels[it] }

/**
 * What a model that was fitted to a clinic asks to do with its probabilities
 * (mobilekd/formats/artifact.py, Rescale).
 */
data class Rescale(val power: Double, val offsets: List<Double>) {
    fun apply(probabilities: FloatArray): List<Double> {
        val evidence =
            offsets.mapIndexed { index, offset ->
                power * ln(max(probabilities[index].toDouble(), LEAST)) + offset
            }
        val highest = evidence.max()
        val shares = evidence.map { exp(it - highest) }
        val sum = shares.sum()
        return shares.map { it / sum }
    }

    private companion object {
        const val LEAST = 1e-12
    }
}

/** Throws [Nonsense] for what is no probability distribution over [labels]. */
fun sound(labels: List<String>, probabilities: FloatArray) {
    if (probabilities.size != labels.size)
        throw Nonsense("${probabilities.size} probabilities for ${labels.size} classes")
    if (probabilities.any { !it.isFinite() || it < 0f || it > 1.0001f })
        throw Nonsense("a probability outside 0..1")
    val sum = probabilities.sum()
    if (abs(sum - 1f) > 0.01f) throw Nonsense("probabilities that sum to $sum")
}
