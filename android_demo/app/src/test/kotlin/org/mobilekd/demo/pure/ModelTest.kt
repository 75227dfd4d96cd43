package org.mobilekd.demo.pure

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.Processor
import org.mobilekd.demo.model.Unfit
import org.mobilekd.demo.model.UnfitModel

class ModelTest {
    private fun refused(
        constants: Map<String, List<Any>>,
        answer: (FloatArray) -> FloatArray = { StandInEngine.PROBABILITIES },
    ): Unfit {
        val engine = StandInEngine(constants, answer = answer)
        val error = assertThrows(UnfitModel::class.java) { Model.load(File("none")) { engine } }
        assertTrue("a refused model is closed", engine.closed)
        return error.reason
    }

    @Test
    fun `everything the app knows comes from the file`() {
        val spec = Model.load(File("none")) { StandInEngine() }.spec
        assertEquals(StandInEngine.LABELS, spec.labels)
        assertEquals(160 to 128, spec.preprocess.width to spec.preprocess.height)
        assertEquals(0.41, spec.threshold, 0.0)
    }

    @Test
    fun `a guard comes with its threshold and its score`() {
        val spec =
            Model.load(File("none")) { StandInEngine(StandInEngine.GUARDED, guard = 0.5f) }.spec
        assertEquals(0.7, spec.guardThreshold!!, 0.0)
        assertEquals(2, spec.place("outside"))
        assertEquals(
            Unfit.Foreign("guard_threshold"),
            refused(StandInEngine.GUARDED - "guard_threshold"),
        )
        assertEquals(
            Unfit.Inconsistent("guard_threshold 7.0"),
            refused(StandInEngine.GUARDED + ("guard_threshold" to listOf(7.0))),
        )
        assertTrue(refused(StandInEngine.GUARDED) is Unfit.WrongShape)
        assertEquals(null, Model.load(File("none")) { StandInEngine() }.spec.guardThreshold)
    }

    @Test
    fun `sets and a rescaling come with one number for each class`() {
        val fitted = Model.load(File("none")) { StandInEngine(StandInEngine.FITTED) }.spec
        assertEquals(StandInEngine.LABELS.size, fitted.setThresholds!!.size)
        assertEquals(0.9, fitted.setCoverage!!, 0.0)
        assertEquals(0.5, fitted.rescale!!.power, 0.0)
        val plain = Model.load(File("none")) { StandInEngine() }.spec
        assertEquals(null, plain.setThresholds)
        assertEquals(null, plain.rescale)
        for (name in listOf("set_thresholds", "rescale")) assertEquals(
            Unfit.Inconsistent("$name is of another kind"),
            refused(StandInEngine.FITTED + (name to listOf(0.5))),
        )
        assertEquals(
            "a file whose probabilities are not final says what makes them so",
            Unfit.Foreign("rescale"),
            refused(StandInEngine.FITTED - "rescale"),
        )
    }

    @Test
    fun `a model that lacks any constant is foreign and says which`() {
        val read =
            StandInEngine.CONSTANTS.keys -
                "labels" // keys are for machines; the app shows the texts
        for (name in read) assertEquals(
            Unfit.Foreign(name),
            refused(StandInEngine.CONSTANTS - name),
        )
    }

    @Test
    fun `what the app does not know is refused by name`() {
        val good = StandInEngine.CONSTANTS
        assertEquals(Unfit.Version(3, 2), refused(good + ("schema_version" to listOf(3L))))
        assertEquals(
            Unfit.UnknownPreprocess("crop squash"),
            refused(good + ("crop" to listOf("squash"))),
        )
        assertEquals(
            Unfit.UnknownPreprocess("color BGR"),
            refused(good + ("color" to listOf("BGR"))),
        )
        assertEquals(
            Unfit.Inconsistent("threshold is of another kind"),
            refused(good + ("threshold" to listOf("high"))),
        )
        assertEquals(
            Unfit.Inconsistent("input_width is of another kind"),
            refused(good + ("input_width" to listOf(0L))),
        )
        assertEquals(
            Unfit.Inconsistent("1 classes"),
            refused(good + ("label_texts" to listOf("one"))),
        )
    }

    @Test
    fun `a model that does not answer as it says is refused`() {
        assertEquals(
            Unfit.WrongShape("probabilities of shape [1, 3]"),
            refused(StandInEngine.CONSTANTS) { floatArrayOf(1f, 0f, 0f) },
        )
        assertEquals(
            Unfit.WrongShape("a probability outside 0..1"),
            refused(StandInEngine.CONSTANTS) { FloatArray(7) { Float.NaN } },
        )
        assertEquals(
            Unfit.WrongShape("2 outputs, not 1"),
            refused(StandInEngine.CONSTANTS + ("outputs" to listOf("probabilities"))),
        )
    }

    @Test
    fun `a processor is asked before the runtime could crash on it`() {
        val fast = "Features\t: fp asimd atomics\n"
        val slow = "Features\t: fp asimd\n"
        assertEquals(
            emptySet<String>(),
            Processor.missing(setOf("atomics"), "aarch64", fast + fast),
        )
        assertEquals(
            "the least core counts",
            setOf("atomics"),
            Processor.missing(setOf("atomics"), "aarch64", fast + slow),
        )
        assertEquals(
            emptySet<String>(),
            Processor.missing(setOf("atomics"), "x86_64", "flags : sse2"),
        )
    }
}
