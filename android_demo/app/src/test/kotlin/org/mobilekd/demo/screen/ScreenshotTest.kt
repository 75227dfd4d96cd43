package org.mobilekd.demo.screen

import android.content.Intent
import android.view.View
import android.widget.Switch
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.mobilekd.demo.R
import org.mobilekd.demo.model.ExecuTorchEngine
import org.mobilekd.demo.model.Model
import org.mobilekd.demo.model.ModelStore
import org.mobilekd.demo.model.Output
import org.mobilekd.demo.ui.BenchmarkActivity
import org.mobilekd.demo.ui.CardActivity
import org.mobilekd.demo.ui.MainActivity
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowBuild

/**
 * Every state as a picture for the docs; that each can be drawn in every form is the test. The
 * model, its answers and its times are real; only what a sound model never does is meddled with.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], application = PictureApplication::class, qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreenshotTest {
    /** No phone took these times, and the benchmark's picture says so. */
    @Before
    fun name() {
        ShadowBuild.setManufacturer("a desktop computer")
        ShadowBuild.setModel("(${System.getProperty("os.arch")}), no phone")
    }

    @After
    fun reset() {
        PictureApplication.open = ::ExecuTorchEngine
    }

    private fun meddle(meddle: (() -> List<Output>) -> List<Output>) {
        PictureApplication.open = { file, threads ->
            MeddledEngine(ExecuTorchEngine(file, threads), meddle = meddle)
        }
    }

    /** What a broken download leaves of a model. */
    private fun half(model: File): File =
        File(RuntimeEnvironment.getApplication().cacheDir, "half.pte").apply {
            writeBytes(model.readBytes().let { it.copyOf(it.size / 2) })
        }

    private fun main(intent: Intent = Intent()) =
        Robolectric.buildActivity(MainActivity::class.java, intent).shown()

    private fun answered(photograph: String = "lesion.jpg"): MainActivity =
        main(share(photograph)).also { activity ->
            waitFor("the answer") { activity.text(R.id.headline_text).isNotEmpty() }
        }

    private fun welcome(): MainActivity =
        main().also { activity ->
            waitFor("the welcome") { activity.text(R.id.message_title).startsWith("See") }
        }

    private fun card(): CardActivity {
        val application = RuntimeEnvironment.getApplication()
        val spec = Model.load(ModelStore(application).builtIn()).use { it.spec }
        return Robolectric.buildActivity(
                CardActivity::class.java,
                CardActivity.intent(application, spec),
            )
            .shown()
    }

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
    fun `welcome, answer and card from right to left`() {
        welcome().screenshot("welcome-rtl")
        answered().screenshot("answer-rtl")
        card().screenshot("card-rtl")
    }

    @Test
    fun `not sure, with a flawed photograph`() {
        val unsure = answered("unsure.jpg")
        assertEquals("Not sure", unsure.text(R.id.headline_text))
        assertTrue(unsure.findViewById<View>(R.id.flaws).isShown)
        unsure.screenshot("not-sure-light")
        RuntimeEnvironment.setQualifiers("+night")
        answered("unsure.jpg").screenshot("not-sure-dark")
    }

    @Test
    fun `working, stopped, and what can go wrong`() {
        val gate = CountDownLatch(1)
        val asked = AtomicInteger()
        meddle { forward ->
            if (asked.incrementAndGet() > 1) gate.await()
            forward()
        }
        val working = main(share("lesion.jpg"))
        waitFor("the photograph") { working.findViewById<View>(R.id.photograph).isShown }
        working.screenshot("working-light")
        working.findViewById<View>(R.id.message_second).performClick()
        gate.countDown()
        working.screenshot("stopped-light")
        PictureApplication.open = ::ExecuTorchEngine
        val failed = main(share("truncated.jpg"))
        waitFor("the sentence") { failed.text(R.id.message_title) == "That did not work" }
        failed.screenshot("failed-light")
        PictureApplication.open = { file, threads -> ExecuTorchEngine(half(file), threads) }
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
        card().screenshot("card-light")
        RuntimeEnvironment.setQualifiers("+night")
        card().screenshot("card-dark")
    }

    @Test
    fun `the model is loaded, a photograph is fetched`() {
        val gate = CountDownLatch(1)
        PictureApplication.open = { file, threads ->
            gate.await()
            ExecuTorchEngine(file, threads)
        }
        val starting = main()
        starting.screenshot("starting-light")
        gate.countDown()
        waitFor("the welcome") { starting.text(R.id.message_title).startsWith("See") }
        val reached = CountDownLatch(1)
        val far = lent("lesion.jpg")
        shadowOf(starting.contentResolver).registerInputStreamSupplier(far) {
            reached.await()
            File(photographs, "lesion.jpg").inputStream()
        }
        val fetching =
            main(Intent(Intent.ACTION_SEND).setType("image/*").putExtra(Intent.EXTRA_STREAM, far))
        waitFor("the fetching") { fetching.text(R.id.message_title).startsWith("Looking") }
        fetching.screenshot("fetching-light")
        reached.countDown()
        waitFor("the answer") { fetching.text(R.id.headline_text).isNotEmpty() }
    }

    @Test
    fun `benchmark running, and of a phone that answers wrongly`() {
        fun started() =
            Robolectric.buildActivity(BenchmarkActivity::class.java).shown().apply {
                findViewById<View>(R.id.bench_run).performClick()
            }
        val gate = CountDownLatch(1)
        val opened = AtomicInteger()
        PictureApplication.open = { file, threads ->
            if (opened.incrementAndGet() > 2)
                gate.await() // once to read the model, once for the golden set, then to time it
            ExecuTorchEngine(file, threads)
        }
        val running = started()
        waitFor("the timing") { running.text(R.id.bench_stage).startsWith("Timing") }
        running.screenshot("benchmark-running-light")
        gate.countDown()
        meddle { forward ->
            forward().mapIndexed { index, output ->
                if (index == 0) Output(output.shape, output.values.reversedArray()) else output
            }
        }
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
        File(activity.getExternalFilesDir(null), "benchmark.json")
            .copyTo(File(screenshots, "benchmark.json"), overwrite = true)
    }
}
