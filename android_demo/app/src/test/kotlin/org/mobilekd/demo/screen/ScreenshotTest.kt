package org.mobilekd.demo.screen

import android.content.Intent
import android.view.View
import android.widget.Switch
import org.junit.After
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.StandInEngine
import org.mobilekd.demo.model.EngineTrouble
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.ui.BenchmarkActivity
import org.mobilekd.demo.ui.CardActivity
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger

/** Every state as a picture for the docs; that each can be drawn in every form is the test. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = StageApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreenshotTest {
    @After
    fun reset() {
        StageApplication.engine = { StandInEngine() }
    }

    private fun main(intent: Intent = Intent()) = Robolectric.buildActivity(MainActivity::class.java, intent).shown()

    private fun answered(photograph: String = "lesion.jpg"): MainActivity =
        main(share(photograph)).also { activity -> waitFor("the answer") { activity.text(R.id.headline_text).isNotEmpty() } }

    private fun welcome(): MainActivity = main().also { activity -> waitFor("the welcome") { activity.text(R.id.message_title).startsWith("See") } }

    @Test
    fun `welcome in its forms`() {
        welcome().screenshot("welcome-light")
        RuntimeEnvironment.setQualifiers("+night")
        welcome().screenshot("welcome-dark")
        RuntimeEnvironment.setQualifiers("+land-notnight")
        welcome().screenshot("welcome-landscape")
        RuntimeEnvironment.setQualifiers("+port")
        RuntimeEnvironment.setFontScale(2f)
        welcome().screenshot("welcome-font2")
    }

    @Test
    fun `answer in its forms`() {
        answered().screenshot("answer-light")
        val activity = answered()
        activity.findViewById<Switch>(R.id.attention).isChecked = true
        activity.screenshot("answer-attention")
        RuntimeEnvironment.setQualifiers("+night")
        answered().screenshot("answer-dark")
        RuntimeEnvironment.setQualifiers("+land-notnight")
        answered().screenshot("answer-landscape")
        RuntimeEnvironment.setQualifiers("+port")
        RuntimeEnvironment.setFontScale(2f)
        answered().screenshot("answer-font2")
    }

    @Test
    @Config(qualifiers = "ar-ldrtl-w411dp-h891dp-xhdpi")
    fun `answer from right to left`() = answered().screenshot("answer-rtl")

    @Test
    fun `not sure, with a flawed photograph`() {
        StageApplication.engine = { StandInEngine { StandInEngine.UNSURE } }
        answered("dim.jpg").screenshot("not-sure-light")
        RuntimeEnvironment.setQualifiers("+night")
        answered("dim.jpg").screenshot("not-sure-dark")
    }

    @Test
    fun `working, stopped, and what can go wrong`() {
        val gate = CountDownLatch(1)
        val asked = AtomicInteger()
        StageApplication.engine = { StandInEngine { if (asked.incrementAndGet() > 1) gate.await(); StandInEngine.PROBABILITIES } }
        val working = main(share("lesion.jpg"))
        waitFor("the photograph") { working.findViewById<View>(R.id.photograph).isShown }
        working.screenshot("working-light")
        working.findViewById<View>(R.id.message_second).performClick()
        gate.countDown()
        working.screenshot("stopped-light")
        StageApplication.engine = { StandInEngine() }
        val failed = main(share("truncated.jpg"))
        waitFor("the sentence") { failed.text(R.id.message_title) == "That did not work" }
        failed.screenshot("failed-light")
        StageApplication.engine = { throw EngineTrouble("Failed to load program: the file is truncated") }
        val refused = main()
        waitFor("the refusal") { refused.text(R.id.message_title) == "This model cannot be used" }
        refused.screenshot("refused-light")
        RuntimeEnvironment.setQualifiers("+night")
        val dark = main()
        waitFor("the refusal") { dark.text(R.id.message_title) == "This model cannot be used" }
        dark.screenshot("refused-dark")
    }

    @Test
    fun `model card`() {
        val spec = Model.load(File("none")) { StandInEngine() }.spec
        fun card() = Robolectric.buildActivity(CardActivity::class.java, CardActivity.intent(RuntimeEnvironment.getApplication(), spec)).shown()
        card().screenshot("card-light")
        RuntimeEnvironment.setQualifiers("+night")
        card().screenshot("card-dark")
    }

    @Test
    fun `the model is loaded, a photograph is fetched`() {
        val gate = CountDownLatch(1)
        StageApplication.engine = { gate.await(); StandInEngine() }
        val starting = main()
        starting.screenshot("starting-light")
        gate.countDown()
        waitFor("the welcome") { starting.text(R.id.message_title).startsWith("See") }
        val reached = CountDownLatch(1)
        val far = lent("lesion.jpg")
        shadowOf(starting.contentResolver).registerInputStreamSupplier(far) { reached.await(); File(photographs, "lesion.jpg").inputStream() }
        val fetching = main(Intent(Intent.ACTION_SEND).setType("image/*").putExtra(Intent.EXTRA_STREAM, far))
        waitFor("the fetching") { fetching.text(R.id.message_title).startsWith("Looking") }
        fetching.screenshot("fetching-light")
        reached.countDown()
        waitFor("the answer") { fetching.text(R.id.headline_text).isNotEmpty() }
    }

    @Test
    fun `benchmark running, and of a phone that answers wrongly`() {
        fun started() = Robolectric.buildActivity(BenchmarkActivity::class.java).shown().apply { findViewById<View>(R.id.bench_run).performClick() }
        val gate = CountDownLatch(1)
        val asked = AtomicInteger()
        StageApplication.engine = { StandInEngine { if (asked.incrementAndGet() > 5) gate.await(); StandInEngine.PROBABILITIES } }
        val running = started()
        waitFor("the timing") { running.text(R.id.bench_stage).startsWith("Timing") }
        running.screenshot("benchmark-running-light")
        gate.countDown()
        StageApplication.engine = { StandInEngine { StandInEngine.UNSURE } }
        val wrong = started()
        waitFor("the verdict") { wrong.findViewById<View>(R.id.section_title) != null }
        wrong.screenshot("benchmark-wrong-light")
    }

    @Test
    fun `benchmark before and after`() {
        fun benchmark() = Robolectric.buildActivity(BenchmarkActivity::class.java).shown()
        benchmark().screenshot("benchmark-light")
        RuntimeEnvironment.setQualifiers("+night")
        val activity = benchmark()
        activity.findViewById<View>(R.id.bench_run).performClick()
        waitFor("the table") { activity.findViewById<View>(R.id.section_title) != null }
        activity.screenshot("benchmark-dark")
        File(activity.getExternalFilesDir(null), "benchmark.json").copyTo(File(screenshots, "benchmark.json"), overwrite = true)
    }
}
