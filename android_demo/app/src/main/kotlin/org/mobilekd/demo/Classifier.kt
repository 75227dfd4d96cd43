package org.mobilekd.demo

import java.io.Closeable
import java.util.concurrent.CancellationException
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Attention
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.answer.quality
import org.mobilekd.demo.answer.rank
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.model.Spec
import org.mobilekd.demo.photograph.Pixels

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
        val ranked = rank(spec.labels, outputs.first().values)
        val flaws = quality(picture).flaws(spec.quality)
        val attention = spec.place(Spec.MAP)?.let { attention(outputs[it]) }
        val outside = spec.place(Spec.OUTSIDE)?.let { outside(outputs[it], spec) } ?: false
        val times =
            Times(
                decoded - start,
                resized - decoded,
                executed - resized,
                System.nanoTime() - executed,
            )
        return Answer(
            ranked,
            sure = !outside && ranked.first().probability >= spec.threshold,
            flaws,
            attention,
            times,
            outside,
        )
    }

    private fun outside(output: Output, spec: Spec): Boolean {
        val score = output.values.single()
        if (!score.isFinite()) throw Nonsense("a guard's score of $score")
        return score > checkNotNull(spec.guardThreshold)
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
