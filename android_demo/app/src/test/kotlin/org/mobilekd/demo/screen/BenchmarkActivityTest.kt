package org.mobilekd.demo.screen

import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.ui.BenchmarkActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowBuild

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
class BenchmarkActivityTest {
    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun measured(): BenchmarkActivity {
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).shown()
        activity.findViewById<View>(R.id.bench_run).performClick()
        waitFor("the results") { activity.findViewById<View>(R.id.section_title) != null }
        return activity
    }

    private fun all(view: View): List<View> =
        listOf(view) +
            if (view is ViewGroup) (0 until view.childCount).flatMap { all(view.getChildAt(it)) }
            else emptyList()

    private fun texts(activity: BenchmarkActivity) =
        all(activity.findViewById(R.id.bench_results)).mapNotNull {
            (it as? TextView)?.text?.toString()
        }

    private fun rows(activity: BenchmarkActivity) =
        all(activity.findViewById(R.id.bench_results)).mapNotNull {
            it.contentDescription?.toString()
        }

    @Test
    fun `one thread is one, and the raw samples are named without the phone's folders`() {
        val activity = measured()
        assertTrue(rows(activity).first(), rows(activity).first().startsWith("1 thread: median "))
        assertEquals(
            "The raw samples are in benchmark.json, among this app’s files.",
            texts(activity).last(),
        )
    }

    @Test
    @Config(qualifiers = "ar-ldrtl-w411dp-h891dp-xhdpi")
    fun `numerals and plurals are the sentences' own in another language too`() {
        val activity = measured()
        assertTrue(rows(activity).first(), rows(activity).first().startsWith("1 thread: median "))
        assertTrue(
            "${texts(activity)}",
            texts(activity).joinToString("").all { it.code < 0x0590 || it.code > 0x06FF },
        )
    }

    @Test
    fun `times are shown with the phone that took them`() {
        ShadowBuild.setManufacturer("Maker")
        ShadowBuild.setModel("Phone 7")
        assertTrue("${texts(measured())}", "Measured on Maker Phone 7" in texts(measured()))
    }

    @Test
    fun `a stopped run is out of the runtime before the next one is in`() {
        val gate = CountDownLatch(1)
        val inside = AtomicInteger()
        val most = AtomicInteger()
        StageApplication.engine = {
            StandInEngine {
                most.accumulateAndGet(inside.incrementAndGet(), ::maxOf)
                gate.await()
                inside.decrementAndGet()
                StandInEngine.PROBABILITIES
            }
        }
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).shown()
        val button = activity.findViewById<View>(R.id.bench_run)
        button.performClick()
        waitFor("the first run") { inside.get() == 1 }
        button.performClick()
        button.performClick()
        Thread.sleep(300) // time enough for the second to do harm
        gate.countDown()
        waitFor("the results") { activity.findViewById<View>(R.id.section_title) != null }
        assertEquals(1, most.get())
    }

    @Test
    fun `a phone that answers wrongly is told so and not timed`() {
        StageApplication.engine = { StandInEngine { StandInEngine.UNSURE } }
        val activity = measured()
        assertTrue(
            "${texts(activity)}",
            texts(activity).any { it.contains("This phone answers wrongly, so no time is shown.") },
        )
        assertEquals(emptyList<String>(), rows(activity))
    }
}
