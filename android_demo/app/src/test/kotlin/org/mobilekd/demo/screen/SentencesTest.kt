package org.mobilekd.demo.screen

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
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

    private val spec =
        Model.load(File("none")) { StandInEngine(StandInEngine.sets(0.1)) }.spec

    private fun under(vararg set: String) = sentences.underHeadline(answer(*set), spec)

    @Test
    fun `what stands below a set is of its own likeliest class`() {
        val others =
            "Every other class is excluded. " +
                "Up to 10% of each class’s photographs are wrongly excluded."
        assertEquals("The probability of nevus is 55%. $others", under("nevus"))
        assertEquals(
            "The likeliest of these is nevus with 55%. $others",
            under("nevus", "melanoma"),
        )
        assertEquals(
            "Every class is less probable here than in 90% of its own photographs. " +
                "The likeliest is nevus with 55%.",
            under(),
        )
        assertEquals(
            "Each class may be right. The likeliest is nevus with 55%.",
            under("nevus", "melanoma", "keratosis", "angioma"),
        )
    }

    @Test
    fun `why the likeliest class is excluded is said`() {
        val why =
            "Every other class is excluded. " +
                "Nevus is excluded, too: its 55% is less than in 90% of its own photographs. " +
                "Up to 10% of each class’s photographs are wrongly excluded."
        assertEquals("The probability of melanoma is 25%. $why", under("melanoma"))
        assertEquals(
            "The likeliest of these is melanoma with 25%. $why",
            under("melanoma", "keratosis"),
        )
    }

    @Test
    fun `an answer kept from a model with sets is read beside one without`() {
        val plain = Model.load(File("none")) { StandInEngine() }.spec
        assertEquals(
            "The likeliest is nevus with 55%.",
            sentences.underHeadline(answer(), plain),
        )
        assertEquals(
            "The probability of melanoma is 25%. Every other class is excluded.",
            sentences.underHeadline(answer("melanoma"), plain),
        )
    }

    @Test
    fun `above a headline stands what it is`() {
        fun over(vararg set: String) = sentences.overHeadline(answer(*set))
        assertEquals("This model cannot exclude", over("nevus", "melanoma"))
        assertEquals("This model’s answer", over())
        assertEquals("This model’s answer", over("nevus", "melanoma", "keratosis", "angioma"))
        assertNull(sentences.overHeadline(answer("nevus").copy(set = null, outside = true)))
    }

    @Test
    fun `a screen reader says that a set is what cannot be excluded`() {
        fun said(vararg set: String) = sentences.announcement(answer(*set))
        assertEquals("Result: this model cannot exclude melanoma", said("melanoma"))
        assertEquals(
            "Result: this model cannot exclude nevus or melanoma",
            said("nevus", "melanoma"),
        )
        assertEquals("Result: none of the classes fits", said())
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
