package org.mobilekd.demo.screen

import android.graphics.Rect
import android.view.View
import android.widget.ScrollView
import java.io.File
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.model.ExecuTorchEngine
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** Answers of a student with sets and a guard as pictures for the docs. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = PictureApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class AnswerPicturesTest {
    @After
    fun reset() {
        PictureApplication.open = ::ExecuTorchEngine
    }

    private fun answered(photograph: String): MainActivity =
        Robolectric.buildActivity(MainActivity::class.java, share(photograph)).shown().also {
            waitFor("the answer") { it.text(R.id.headline_text).isNotEmpty() }
        }

    /** Draw it scrolled as far as the answer needs to be seen whole, or from its top. */
    private fun MainActivity.answerScreenshot(name: String) {
        val scroll = findViewById<ScrollView>(R.id.scroll)
        val answer = findViewById<View>(R.id.answer)
        val box = Rect(0, 0, answer.width, answer.height)
        scroll.offsetDescendantRectToMyCoords(answer, box)
        val margin = scroll.height / 50
        val whole = box.bottom + margin - scroll.height
        scroll.scrollTo(0, minOf(whole, box.top - margin).coerceAtLeast(0))
        screenshot(name)
    }

    /** From here on the app holds the student with sets and a guard. */
    private fun withSets() {
        PictureApplication.open = { _, threads -> ExecuTorchEngine(guarded, threads) }
    }

    /**
     * From here on the student with sets gives [probabilities], whatever the photograph, and its
     * sets exclude what is below [least]; null keeps its own.
     */
    private fun given(probabilities: FloatArray, least: List<Double>? = null) {
        val constants = least?.let { mapOf("set_thresholds" to it) }.orEmpty()
        PictureApplication.open = { _, threads ->
            MeddledEngine(ExecuTorchEngine(guarded, threads), constants) { forward ->
                forward().mapIndexed { index, output ->
                    if (index == 0) Output(output.shape, probabilities) else output
                }
            }
        }
    }

    /** In light, dark and large; the shape of the screen stays. */
    private fun inForms(name: String, photograph: String, check: (MainActivity) -> Unit) {
        answered(photograph).also(check).answerScreenshot("$name-light")
        RuntimeEnvironment.setQualifiers("+night")
        answered(photograph).answerScreenshot("$name-dark")
        RuntimeEnvironment.setQualifiers("+notnight")
        RuntimeEnvironment.setFontScale(2f)
        answered(photograph).answerScreenshot("$name-font2")
    }

    @Test
    fun `a set in its forms`() {
        withSets()
        inForms("set", "set.jpg") {
            assertEquals("This model cannot exclude", it.text(R.id.headline_over))
            assertTrue(it.text(R.id.headline_text), " or " in it.text(R.id.headline_text))
        }
    }

    @Test
    fun `a photograph of another kind in its forms`() {
        withSets()
        inForms("outside", "face.jpg") {
            assertEquals(
                "This does not look like the photographs this model knows",
                it.text(R.id.headline_text),
            )
        }
    }

    @Test
    @Config(qualifiers = "ar-ldrtl-w411dp-h891dp-xhdpi")
    fun `a set and a photograph of another kind from right to left`() {
        withSets()
        answered("set.jpg").answerScreenshot("set-rtl")
        answered("face.jpg").answerScreenshot("outside-rtl")
    }

    /** The engine runs, but these probabilities, and limits of the sets, are the test's own. */
    @Test
    fun `sets that no photograph here has, given to the screen`() {
        given(floatArrayOf(0.02f, 0.05f, 0.17f, 0.03f, 0.22f, 0.50f, 0.01f), NEVUS_FROM_60)
        val without = answered("set.jpg")
        assertEquals("Melanoma or benign keratosis", without.text(R.id.headline_text))
        without.answerScreenshot("given-set-without-likeliest-light")
        given(floatArrayOf(0.05f, 0.15f, 0.20f, 0.02f, 0.25f, 0.32f, 0.01f), List(7) { 0.35 })
        val none = answered("set.jpg")
        assertEquals("None of the classes fits", none.text(R.id.headline_text))
        none.answerScreenshot("given-set-none-light")
        given(floatArrayOf(0.09f, 0.15f, 0.16f, 0.04f, 0.20f, 0.33f, 0.03f))
        val all = answered("set.jpg")
        assertEquals("No class can be excluded", all.text(R.id.headline_text))
        all.answerScreenshot("given-set-all-light")
    }

    private companion object {
        /** The file with sets and a guard. */
        val guarded = File(System.getProperty("mobilekd.guarded"))

        /** In the order of HAM10000's classes: the nevus is excluded below 60%. */
        val NEVUS_FROM_60 = listOf(0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.1)
    }
}
