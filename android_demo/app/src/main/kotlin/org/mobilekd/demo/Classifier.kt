package org.mobilekd.demo

import java.io.Closeable
import java.util.concurrent.CancellationException
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Attention
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.answer.quality
import org.mobilekd.demo.answer.Ranked
import org.mobilekd.demo.answer.members
import org.mobilekd.demo.answer.rank
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.model.Spec
import org.mobilekd.demo.photograph.Pixels

/** What follows from a model's outputs, as mobilekd/metrics/decide.py decides; see [Answer]. */
data class Decision(
    val ranked: List<Ranked>,
    val sure: Boolean,
    val outside: Boolean,
    val set: List<String>?,
)

/** Throws [Nonsense] where the outputs are no answer. */
fun decide(spec: Spec, outputs: List<Output>): Decision {
    val probabilities = spec.probabilities(outputs.first().values)
    val outside =
        spec.place(Spec.OUTSIDE)?.let { place ->
            val score = outputs[place].values.single()
            if (!score.isFinite()) throw Nonsense("a guard's score of $score")
            score > checkNotNull(spec.guardThreshold)
        } ?: false
    val least = spec.setThresholds?.takeIf { !outside }
    val best = probabilities.indices.maxBy { probabilities[it] }
    // each class has a threshold of its own in the set, which may exclude the likeliest one
    val excluded = least != null && probabilities[best] < least[best]
    return Decision(
        rank(spec.labels, probabilities),
        sure = !outside && !excluded && probabilities[best] >= spec.threshold,
        outside,
        least?.let { members(spec.labels, probabilities, it) },
    )
}

/**
 * The whole story: photograph -> tensor -> model -> answer.
 *
 * @param open decodes a photograph upright; closed as soon as the tensor is made
 */
class Classifier<P>(private val model: Model, private val open: () -> P)
    where P : Pixels, P : Closeable {
    /**
     * Stops with [CancellationException] between two steps, or between two rows, once [cancelled]
     * says so.
     */
    fun classify(cancelled: () -> Boolean = { false }): Answer {
        fun now(): Long = if (cancelled()) throw CancellationException() else System.nanoTime()
        val spec = model.spec

        val start = now()
        val photograph = open()
        val decoded = System.nanoTime()
        val picture = photograph.use { spec.preprocess.apply(it, cancelled) }
        val tensor = picture.tensor()
        val resized = now()
        val outputs = model.forward(tensor)
        val executed = now()
        val said = decide(spec, outputs)
        val flaws = quality(picture).flaws(spec.quality)
        val attention = spec.place(Spec.MAP)?.let { attention(outputs[it]) }
        val times =
            Times(
                decoded - start,
                resized - decoded,
                executed - resized,
                System.nanoTime() - executed,
            )
        return Answer(
            said.ranked,
            said.sure,
            flaws,
            attention,
            times,
            said.outside,
            said.set,
        )
    }

    private fun attention(output: Output): Attention {
        if (output.shape.size != 3 || output.values.any { !it.isFinite() })
            throw Nonsense("an attention map of shape ${output.shape}")
        return Attention(
            output.shape[2],
            output.shape[1],
            output.values.map { it.coerceIn(0f, 1f) },
        )
    }
}
