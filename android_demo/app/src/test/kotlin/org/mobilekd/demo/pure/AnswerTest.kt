package org.mobilekd.demo.pure

import java.io.Closeable
import java.io.File
import java.util.concurrent.CancellationException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.mobilekd.demo.Classifier
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.AnswerText
import org.mobilekd.demo.answer.Attention
import org.mobilekd.demo.answer.Flaw
import org.mobilekd.demo.answer.Nonsense
import org.mobilekd.demo.answer.QualityLimits
import org.mobilekd.demo.answer.Ranked
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.answer.quality
import org.mobilekd.demo.answer.rank
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.photograph.Pixels
import org.mobilekd.demo.tensor.Picture

class AnswerTest {
    private class Flat(override val width: Int, override val height: Int, private val argb: Int) :
        Pixels, Closeable {
        var closed = false

        override fun row(y: Int, into: IntArray) = into.fill(argb)

        override fun close() {
            closed = true
        }
    }

    private val model = Model.load(File("none")) { StandInEngine() }

    @Test
    fun `a photograph becomes an answer and is closed`() {
        val photograph = Flat(300, 200, 0xFF808080.toInt())
        val answer = Classifier(model) { photograph }.classify()
        assertEquals("melanocytic nevus", answer.best.label)
        assertTrue(answer.sure)
        assertEquals(setOf(Flaw.BLURRED), answer.flaws)
        assertEquals(7, answer.ranked.size)
        assertEquals(16, answer.attention?.values?.size)
        assertTrue(photograph.closed)
    }

    @Test
    fun `below the threshold it is not sure`() {
        val unsure = Model.load(File("none")) { StandInEngine { StandInEngine.UNSURE } }
        assertEquals(false, Classifier(unsure) { Flat(30, 20, -1) }.classify().sure)
    }

    private fun guarded(score: Float) =
        Classifier(
                Model.load(File("none")) { StandInEngine(StandInEngine.GUARDED, guard = score) }
            ) {
                Flat(30, 20, -1)
            }
            .classify()

    @Test
    fun `what the guard refuses is outside and not sure`() {
        assertEquals(true, guarded(0.71f).outside)
        assertEquals(false, guarded(0.71f).sure)
        assertEquals(false, guarded(0.69f).outside)
        assertEquals(true, guarded(0.69f).sure)
        assertEquals(16, guarded(0.69f).attention?.values?.size)
        val kept = guarded(0.71f)
        assertEquals(kept, AnswerText.read(AnswerText.write(kept)))
        assertThrows(Nonsense::class.java) { guarded(Float.NaN) }
    }

    @Test
    fun `the set is of the classes that cannot be excluded, by rescaled probabilities`() {
        val fitted = Model.load(File("none")) { StandInEngine(StandInEngine.FITTED) }
        val answer = Classifier(fitted) { Flat(30, 20, -1) }.classify()
        // the square roots of 0.148 and 0.708, the first times e, over the sum of all seven
        assertEquals(listOf("melanoma", "melanocytic nevus"), answer.set)
        assertEquals(0.3972f, answer.best.probability, 1e-3f)
        assertEquals(answer, AnswerText.read(AnswerText.write(answer)))
        assertEquals(null, Classifier(model) { Flat(30, 20, -1) }.classify().set)
    }

    @Test
    fun `where the set excludes the likeliest class it is not sure`() {
        val strict = Model.load(File("none")) { StandInEngine(StandInEngine.STRICT) }
        val answer = Classifier(strict) { Flat(30, 20, -1) }.classify()
        assertEquals(listOf("melanoma"), answer.set)
        assertEquals("melanocytic nevus", answer.best.label)
        assertEquals(false, answer.sure)
        assertEquals(Ranked("melanoma", 0.148f), answer.bestOfSet)
        assertEquals(null, answer.copy(set = emptyList()).bestOfSet)
        assertEquals(null, answer.copy(set = null).bestOfSet)
    }

    @Test
    fun `a cancelled run gives no answer and closes the photograph`() {
        val photograph = Flat(300, 200, -1)
        var asked = 0
        assertThrows(CancellationException::class.java) {
            Classifier(model) { photograph }.classify { ++asked > 20 }
        }
        assertTrue(photograph.closed)
    }

    @Test
    fun `ranks by probability and keeps the model's order among equals`() {
        assertEquals(
            listOf("b", "a", "c"),
            rank(listOf("a", "b", "c"), floatArrayOf(0.25f, 0.5f, 0.25f)).map { it.label },
        )
    }

    @Test
    fun `nonsense is no answer`() {
        val labels = listOf("a", "b")
        for (bad in
            listOf(
                floatArrayOf(Float.NaN, 1f),
                floatArrayOf(1.5f, -0.5f),
                floatArrayOf(0.2f, 0.2f),
                floatArrayOf(1f),
            )) {
            assertThrows(Nonsense::class.java) { rank(labels, bad) }
        }
    }

    @Test
    fun `an answer survives as text`() {
        val answer =
            Answer(
                rank(StandInEngine.LABELS, StandInEngine.UNSURE),
                false,
                setOf(Flaw.DARK),
                Attention(2, 1, listOf(0.25f, 1f)),
                Times(1, 2, 3, 4),
            )
        assertEquals(answer, AnswerText.read(AnswerText.write(answer)))
        assertEquals(
            answer.copy(attention = null),
            AnswerText.read(AnswerText.write(answer.copy(attention = null))),
        )
    }

    @Test
    fun `sharpness is the Laplacian's variance and luma its mean`() {
        val dot = ByteArray(5 * 5 * 3)
        for (channel in 0 until 3) dot[(2 * 5 + 2) * 3 + channel] = -1
        val found = quality(Picture(5, 5, dot))
        // luma 255 at the centre: the inner 3 x 3 Laplacian is -1020 once, 255 four times, 0 four
        // times
        assertEquals((1020.0 * 1020 + 4 * 255.0 * 255) / 9, found.sharpness, 1e-6)
        assertEquals(255.0 / 25, found.luma, 1e-9)
        assertEquals(setOf(Flaw.DARK), found.flaws(QualityLimits(1.0, 50.0, 200.0)))
        assertEquals(emptySet<Flaw>(), found.flaws(QualityLimits(0.0, 0.0, 255.0)))
    }
}
