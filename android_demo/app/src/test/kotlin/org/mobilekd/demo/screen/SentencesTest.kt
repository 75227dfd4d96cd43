package org.mobilekd.demo.screen

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.answer.Answer
import org.mobilekd.demo.answer.Ranked
import org.mobilekd.demo.answer.Times
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.ui.CardActivity
import org.mobilekd.demo.ui.Sentences
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
class SentencesTest {
    private val sentences
        get() = Sentences(RuntimeEnvironment.getApplication())

    private fun answer(vararg set: String) =
        Answer(
            listOf(
                Ranked("nevus", 0.55f),
                Ranked("melanoma", 0.25f),
                Ranked("keratosis", 0.15f),
                Ranked("angioma", 0.05f),
            ),
            sure = false,
            flaws = emptySet(),
            attention = null,
            times = Times(1, 2, 3, 4),
            set = set.toList(),
        )

    private fun under(vararg set: String) = sentences.underHeadline(answer(*set), 0.4)

    @Test
    fun `what stands below a set is of its own likeliest class`() {
        assertEquals(
            "Every other class is excluded. Its probability is 25%.",
            under("melanoma"),
        )
        assertEquals(
            "Every other class is excluded. The likeliest of these is melanoma with 25%.",
            under("melanoma", "keratosis"),
        )
        assertEquals(
            "Every other class is excluded. The likeliest of these is nevus with 55%.",
            under("nevus", "melanoma"),
        )
        assertEquals(
            "Each of its classes is less probable than it should be. " +
                "The likeliest is nevus with 55%.",
            under(),
        )
        assertEquals(
            "Each of its classes may be right. The likeliest is nevus with 55%.",
            under("nevus", "melanoma", "keratosis", "angioma"),
        )
    }

    @Test
    fun `a screen reader says that a set is what cannot be excluded`() {
        fun said(vararg set: String) = sentences.announcement(answer(*set))
        assertEquals("Result: this model cannot exclude melanoma", said("melanoma"))
        assertEquals(
            "Result: this model cannot exclude nevus or melanoma",
            said("nevus", "melanoma"),
        )
        assertEquals("Result: none of its classes fits", said())
        assertEquals(
            "Result: no class can be excluded",
            said("nevus", "melanoma", "keratosis", "angioma"),
        )
    }

    private fun card(constants: Map<String, List<Any>>): String {
        val spec = Model.load(File("none")) { StandInEngine(constants) }.spec
        return CardActivity.intent(RuntimeEnvironment.getApplication(), spec)
            .getStringArrayExtra("texts")!!
            .joinToString("\n")
    }

    @Test
    fun `the card says what the app does`() {
        val plain = card(StandInEngine.CONSTANTS)
        assertTrue(plain, "Says “not sure” below 41%" in plain)
        assertTrue(plain, "Calibrated with temperature 1.18" in plain)
        val fitted = card(StandInEngine.FITTED)
        assertFalse(fitted, "not sure" in fitted)
        assertTrue(fitted, "Excludes a class so that 90% of its photographs keep it" in fitted)
        assertTrue(fitted, "Calibrated with temperature 2.36" in fitted)
        val always = StandInEngine.FITTED + ("threshold" to listOf(0.0))
        assertFalse("an empty set is no answer", "Always answers" in card(always))
    }
}
