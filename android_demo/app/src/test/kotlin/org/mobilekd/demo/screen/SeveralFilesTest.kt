package org.mobilekd.demo.screen

import android.view.View
import android.view.ViewGroup
import android.widget.ScrollView
import android.widget.TextView
import java.io.File
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.model.ExecuTorchEngine
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.ui.BenchmarkActivity
import org.mobilekd.demo.ui.CardActivity
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowBuild

/**
 * An app of three files: two for the CPU, of which the first is for XNNPACK, and one for Hexagon
 * whose delegate the runtime lacks. All are loaded by Android's own runtime; the phones are staged.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = PictureApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class SeveralFilesTest {
    @Before
    fun name() {
        ShadowBuild.setManufacturer("a desktop computer")
        ShadowBuild.setModel("(${System.getProperty("os.arch")}), no phone")
    }

    @After
    fun reset() {
        PictureApplication.open = ::ExecuTorchEngine
    }

    private fun chip(maker: String, model: String) {
        ShadowBuild.setSystemOnChipManufacturer(maker)
        ShadowBuild.setSystemOnChipModel(model)
    }

    private fun answered(): MainActivity =
        Robolectric.buildActivity(MainActivity::class.java, share("lesion.jpg")).shown().also {
            waitFor("the answer") { it.text(R.id.headline_text).isNotEmpty() }
        }

    /** Drawn from its end, where it says who answered. */
    private fun MainActivity.endScreenshot(name: String) {
        val scroll = findViewById<ScrollView>(R.id.scroll)
        scroll.scrollTo(0, scroll.getChildAt(0).height)
        screenshot(name)
    }

    private fun MainActivity.answeredBy(): List<String> = text(R.id.times).lines().drop(1)

    private fun shown(page: android.app.Activity, column: Int): Map<String, View> {
        val views: ViewGroup = page.findViewById(column)
        return (0 until views.childCount)
            .map { views.getChildAt(it) }
            .filter { it.findViewById<View>(R.id.section_title) != null }
            .associateBy { it.findViewById<TextView>(R.id.section_title).text.toString() }
    }

    private fun View.words(): String = findViewById<TextView>(R.id.section_text).text.toString()

    private fun rows(view: View): List<String> =
        shownViews(view).mapNotNull { it.contentDescription?.toString() }

    @Test
    fun `a phone with another chip is answered by the CPU and told why`() {
        chip("Google", "Tensor G3")
        val activity = answered()
        val (by, why) = activity.answeredBy()
        assertTrue(by, by.startsWith("Answered by: CPU (XNNPACK, "))
        assertEquals(
            "Not by Hexagon of the SM8650 (w8a16): The file is for the chip SM8650, and this" +
                " phone has Google Tensor G3.",
            why,
        )
        activity.endScreenshot("several-answer-light")
        shadowOf(activity).clickMenuItem(R.id.menu_card)
        val intent = shadowOf(activity).nextStartedActivity
        val card = Robolectric.buildActivity(CardActivity::class.java, intent).shown()
        val section = shown(card, R.id.column).getValue("Processor").words()
        assertTrue(section, section.startsWith("Answers come from: CPU (XNNPACK, "))
        assertTrue(section, section.endsWith(why))
        assertEquals(emptyList<String>(), activity.cutTexts())
    }

    @Test
    fun `the right chip without its delegate says what the runtime says`() {
        chip("QTI", "SM8650")
        val activity = answered()
        val (by, why) = activity.answeredBy()
        assertTrue(by, by.startsWith("Answered by: CPU (XNNPACK, "))
        val said =
            "Not by Hexagon of the SM8650 (w8a16): This app’s runtime cannot run the file on this" +
                " phone’s neural processor. It says: "
        assertTrue(why, why.startsWith(said) && why.length > said.length)
        activity.endScreenshot("several-fallback-light")
    }

    /** The file for the CPU stands in for one whose delegate loads: both are the same student. */
    private fun withDelegate(answer: (List<Output>) -> List<Output>) {
        PictureApplication.open = { file, threads ->
            if (file.name != HEXAGON) ExecuTorchEngine(file, threads)
            else {
                val engine = ExecuTorchEngine(File(file.parentFile, "artifact.pte"), threads)
                MeddledEngine(engine) { forward -> answer(forward()) }
            }
        }
    }

    @Test
    fun `the right chip with its delegate is answered by it once the golden set is`() {
        chip("QTI", "SM8650")
        answered() // copies the file for the CPU, which stands in
        withDelegate { it }
        assertEquals(listOf("Answered by: Hexagon of the SM8650 (w8a16)"), answered().answeredBy())
        withDelegate { outputs ->
            outputs.mapIndexed { index, output ->
                if (index == 0) Output(output.shape, output.values.reversedArray()) else output
            }
        }
        val (by, why) = answered().answeredBy()
        assertTrue(by, by.startsWith("Answered by: CPU (XNNPACK, "))
        assertTrue(why, why.contains("On this phone its answers to the golden set differ by up to"))
    }

    @Test
    fun `the benchmark shows the times of every file and why one has none`() {
        chip("QTI", "SM8650")
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).shown()
        activity.findViewById<View>(R.id.bench_run).performClick()
        waitFor("the table") { activity.findViewById<View>(R.id.section_title) != null }
        val sections = shown(activity, R.id.bench_results)
        val timed = sections.filterKeys { it.startsWith("CPU (") }
        assertEquals(2, timed.size)
        for ((title, card) in timed) {
            assertTrue(title, card.words().contains("answers equal"))
            assertTrue(title, rows(card).first().startsWith("1 thread: median "))
        }
        val hexagon = sections.getValue("Hexagon of the SM8650 (w8a16)")
        assertTrue(hexagon.words(), hexagon.words().startsWith("Not measured: This app’s runtime"))
        assertEquals(emptyList<String>(), rows(hexagon))
        val files = activity.getExternalFilesDir(null)!!.listFiles()!!.map { it.name }.sorted()
        assertEquals(2, files.count { it.startsWith("benchmark-") })
        for (name in files) File(activity.getExternalFilesDir(null), name)
            .copyTo(File(screenshots, name), overwrite = true)
        activity.screenshot("several-benchmark-light")
    }

    private companion object {
        const val HEXAGON = "artifact-3.pte"
    }
}
