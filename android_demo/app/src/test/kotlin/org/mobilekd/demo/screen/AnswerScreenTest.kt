package org.mobilekd.demo.screen

import android.app.Activity
import android.util.TypedValue
import android.view.View
import android.view.accessibility.AccessibilityEvent
import android.view.accessibility.AccessibilityManager
import android.widget.TextView
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** Sets and the guard's answer: what a screen reader says of them, and that large fonts fit. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class AnswerScreenTest {
    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun answered(constants: Map<String, List<Any>>, guard: Float? = null): MainActivity {
        StageApplication.engine = { StandInEngine(constants, guard = guard) }
        return Robolectric.buildActivity(MainActivity::class.java, share("lesion.jpg"))
            .shown()
            .also { activity ->
                waitFor("the answer") { activity.text(R.id.headline_text).isNotEmpty() }
            }
    }

    private fun refused() = answered(StandInEngine.GUARDED, guard = 0.9f)

    /** From the photograph to the choices, without the times, which change. */
    private fun spoken(activity: Activity): List<String> =
        activity
            .spoken()
            .dropWhile { !it.startsWith("Your photograph") }
            .takeWhile { it != "Another photograph" }
            .filterNot { " in all: opening " in it }

    private fun setIsRead() =
        assertEquals(
            listOf(
                PHOTOGRAPH,
                "Show where the model looked",
                "This model cannot exclude. Melanocytic nevus or melanoma. " +
                    "The likeliest of these is melanocytic nevus with 70.8%. " +
                    "Every other class is excluded. " +
                    "Up to 10% of each class’s photographs are wrongly excluded.",
                "Cannot be excluded",
                "melanocytic nevus, 70.8%, cannot be excluded",
                "melanoma, 14.8%, cannot be excluded",
                "Excluded",
                "benign keratosis, 9.4%, excluded",
                "basal cell carcinoma, 2.1%, excluded",
                "actinic keratosis, 1.2%, excluded",
                "vascular lesion, 0.9%, excluded",
                "dermatofibroma, 0.8%, excluded",
                NOTE,
            ),
            spoken(answered(StandInEngine.sets(0.1))),
        )

    private fun refusalIsRead() =
        assertEquals(
            listOf(
                PHOTOGRAPH,
                "This does not look like the photographs this model knows. " +
                    "So the model gives no answer. " +
                    "It knows photographs of one skin lesion through a dermoscope.",
                NOTE,
            ),
            spoken(refused()),
        )

    @Test fun `a set is read in its order`() = setIsRead()

    @Test fun `of a photograph that is refused no number is read`() = refusalIsRead()

    @Test
    @Config(qualifiers = "ar-ldrtl-w411dp-h891dp-xhdpi")
    fun `from right to left the same is read`() {
        setIsRead()
        refusalIsRead()
    }

    @Test
    fun `where the likeliest class is excluded it stands among the excluded`() {
        val said = spoken(answered(StandInEngine.STRICT))
        assertTrue("$said", "melanoma, 14.8%, cannot be excluded" in said)
        val excluded = said.dropWhile { it != "Excluded" }
        assertTrue("$said", "melanocytic nevus, 70.8%, excluded" in excluded)
        assertTrue("$said", said.any { "Melanocytic nevus is excluded, too: its 70.8%" in it })
    }

    @Test
    fun `none and all of the classes are not divided`() {
        for ((least, headline) in
            listOf(0.0 to "No class can be excluded", 0.9 to "None of the classes fits")) {
            val activity = answered(StandInEngine.sets(least))
            assertEquals(headline, activity.text(R.id.headline_text))
            val said = spoken(activity)
            assertTrue("$said", "All classes" in said && "melanoma, 14.8%" in said)
            assertFalse("$said", said.any { it.endsWith("excluded") })
        }
    }

    @Test
    fun `an answer is announced when it comes`() {
        val manager =
            RuntimeEnvironment.getApplication().getSystemService(AccessibilityManager::class.java)
        shadowOf(manager).setEnabled(true)
        fun announced() =
            shadowOf(manager)
                .sentAccessibilityEvents
                .filter { it.eventType == AccessibilityEvent.TYPE_ANNOUNCEMENT }
                .map { "${it.text.single()}" }
        val activity = answered(StandInEngine.sets(0.1))
        assertEquals(
            listOf("Result: this model cannot exclude melanocytic nevus or melanoma"),
            announced(),
        )
        assertEquals(
            View.ACCESSIBILITY_LIVE_REGION_POLITE,
            activity.findViewById<View>(R.id.message).accessibilityLiveRegion,
        )
        refused()
        assertEquals(
            "Result: this does not look like the photographs this model knows",
            announced().last(),
        )
    }

    @Test
    fun `headlines and groups are headings`() {
        val activity = answered(StandInEngine.sets(0.1))
        for (id in listOf(R.id.headline, R.id.classes_title, R.id.excluded_title))
            assertTrue(activity.findViewById<View>(id).isAccessibilityHeading)
    }

    private val long: Map<String, List<Any>>
        get() {
            val names = StandInEngine.LABELS.toMutableList()
            names[0] = "actinic keratosis or Bowen's disease"
            return StandInEngine.sets(0.009) + ("label_texts" to names)
        }

    private fun everyAnswer() =
        listOf(
            { answered(StandInEngine.sets(0.1)) },
            { answered(long) },
            { answered(StandInEngine.STRICT) },
            { answered(StandInEngine.sets(0.9)) },
            { answered(StandInEngine.sets(0.0)) },
            { refused() },
        )

    private fun nothingIsCut() {
        RuntimeEnvironment.setFontScale(2f) // as Android 14 does it: what is large grows less
        val cut = everyAnswer().flatMap { it().cutTexts() }.toMutableList()
        RuntimeEnvironment.setFontScale(1f)
        for (answer in everyAnswer()) { // as before: everything twice as large
            val activity = answer()
            shownViews(activity.findViewById(android.R.id.content))
                .filterIsInstance<TextView>()
                .forEach { it.setTextSize(TypedValue.COMPLEX_UNIT_PX, 2 * it.textSize) }
            layOut(activity)
            cut += activity.cutTexts()
        }
        assertEquals(emptyList<String>(), cut.distinct())
    }

    private fun layOut(activity: Activity) {
        val root = activity.window.decorView
        fun exactly(size: Int) = View.MeasureSpec.makeMeasureSpec(size, View.MeasureSpec.EXACTLY)
        root.measure(exactly(root.width), exactly(root.height))
        root.layout(0, 0, root.width, root.height)
    }

    @Test fun `nothing is cut in fonts twice as large`() = nothingIsCut()

    @Test
    @Config(qualifiers = "w891dp-h411dp-land-xhdpi")
    fun `nothing is cut in fonts twice as large, in landscape`() = nothingIsCut()

    private companion object {
        const val PHOTOGRAPH =
            "Your photograph. The frame marks the middle part that the model sees, " +
                "1200 by 960 pixels of 1200 by 1600."
        const val NOTE =
            "Validated on dermoscopy photographs of the data set in its card only. Not validated " +
                "on phone photographs, on skin conditions outside its classes, or on skin tones " +
                "and places that the data set lacks."
    }
}
